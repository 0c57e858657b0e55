"""The installed packages against the ranges in tfft's own metadata, without importing any.

    check_packages()       # a finding a requirement, and one for each fault deeper down
    check_extras()         # gpu, torch, ...: what is not installed is optional

`lookup` tells what a package's metadata says, `module` which file an import of it would read.
"""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tfft import minilm
from tfft.doctor.findings import Finding, State
from tfft.errors import listed

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

# Why a version outside the range won't do, where its users keep asking.
REASONS = {
    "transformers": {
        ">=4.55,<5": "it can't load the checkpoints that PyTorch saved",
        ">=5": "it has no TensorFlow classes",
    },
}
# These refuse their own import where what they ask for is out of range; others may still work.
STRICT = ("transformers",)
# Modules whose name isn't their package's with underscores.
MODULES = {"scikit-learn": "sklearn"}


@dataclass(frozen=True)
class Distribution:
    """What a package's metadata says.

    Attributes:
        requires: its requirements as they are written, markers and all.
        folder: where its modules should lie; None of one that is installed editable.
    """

    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    python: str = ""
    folder: Path | None = None


Lookup = Callable[[str], Distribution | None]
ModuleFinder = Callable[[str], Path | None]


def installed(name: str) -> Distribution | None:
    """The metadata of an installed package."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    about = found.metadata
    if "Version" not in about:  # what is left of a package that was removed by half
        return None
    is_editable = '"editable": true' in (found.read_text("direct_url.json") or "")
    return Distribution(
        version=about["Version"],
        requires=tuple(found.requires or ()),
        extras=tuple(about.get_all("Provides-Extra") or ()),
        python=about["Requires-Python"] if "Requires-Python" in about else "",  # noqa: SIM401
        folder=None if is_editable else Path(str(found.locate_file(""))),
    )


def find_module(name: str) -> Path | None:
    """The file that `import name` would read; None where it would fail."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def check_python(lookup: Lookup = installed) -> list[Finding]:
    about = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    own = lookup("tfft")
    if own is not None and own.python and _has_packaging():
        from packaging.specifiers import SpecifierSet

        wanted = SpecifierSet(own.python)
        if not _fits(platform.python_version(), wanted):
            return [Finding("python", "Python", "error", f"{about}; needs {_written(wanted)}")]
    if platform.system() != "Linux":
        return [Finding("python", "Python", "warning", f"{about}; tfft is tested on Linux alone")]
    return [Finding("python", "Python", "ok", about)]


def check_packages(lookup: Lookup = installed, module: ModuleFinder = find_module) -> list[Finding]:
    """One finding for each package that tfft asks for, then the faults of what those ask for."""
    if not _has_packaging():
        message = "missing; without it no version can be compared"
        return [Finding("packages", "packaging", "error", message, "pip install packaging")]
    own = lookup("tfft")
    if own is None:
        message = "not installed, so what it needs is unknown; in its source folder:"
        return [Finding("packages", "tfft", "error", message, "pip install -e .")]
    wanted = list(_requirements(own))
    findings = [_check_package(each, lookup, module) for each in wanted]
    faulty = {each.name for each in findings if each.state != "ok"}
    return [*findings, *_check_deeper(wanted, lookup, faulty)]


def _check_package(wanted: Requirement, lookup: Lookup, module: ModuleFinder) -> Finding:
    told = partial(Finding, "packages", wanted.name)
    command = _pip(wanted, lookup)
    found = lookup(wanted.name)
    if found is None:
        return told("error", f"missing{_why_keras_2(wanted, lookup)}", command)
    version = found.version
    if not _fits(version, wanted.specifier):
        reason = _reason(wanted.name, version)
        return told("error", f"{version}, needs {_written(wanted.specifier)}{reason}", command)
    tensorflow = lookup("tensorflow")
    if wanted.name == "tf-keras" and tensorflow and not _in_step(version, tensorflow.version):
        message = f"{version}, but TensorFlow is {tensorflow.version}: they go in step"
        return told("error", message, command)
    path = module(MODULES.get(wanted.name, wanted.name.replace("-", "_")))
    if path is None:
        command = f"pip install --force-reinstall --no-deps {wanted.name}=={version}"
        return told("error", f"{version}, but its module can't be found", command)
    if found.folder and not _lies_in(path, found.folder):
        return told("warning", f"{version}, but {path} goes before it; look at PYTHONPATH")
    return told("ok", version)


def _check_deeper(
    wanted: Iterable[Requirement], lookup: Lookup, faulty: set[str]
) -> Iterator[Finding]:
    """What the packages ask for themselves, all the way down; faults alone, each once."""
    faulty = set(faulty)
    queue = deque(each for each in wanted if each.name not in faulty)
    walked: set[tuple[str, frozenset[str]]] = set()
    while queue:
        parent = queue.popleft()
        found = lookup(parent.name)
        mark = (parent.name, frozenset(parent.extras))
        if found is None or mark in walked:
            continue
        walked.add(mark)
        for each in _requirements(found, tuple(parent.extras)):
            queue.append(each)
            below = lookup(each.name)
            if each.name in faulty or (below and _fits(below.version, each.specifier)):
                continue
            faulty.add(each.name)
            state: State = "error" if parent.name in STRICT else "warning"
            range_ = _written(each.specifier) or "it"
            message = f"{below.version if below else 'missing'}; {parent.name} asks for {range_}"
            yield Finding("packages", each.name, state, message, _pip(each, lookup))


def check_extras(lookup: Lookup = installed) -> list[Finding]:
    """One finding for each extra: ok, or what of it isn't there."""
    own = lookup("tfft")
    if own is None or not _has_packaging():
        return []
    needed = {str(each) for each in _requirements(own)}
    findings = []
    for extra in own.extras:
        wanted = [each for each in _requirements(own, (extra,)) if str(each) not in needed]
        found, faults = [], []
        for each in wanted:
            below = lookup(each.name)
            faults += _faults(each, lookup)
            if below is not None:
                found.append(f"{each.name} {below.version}")
        state: State = "optional" if faults else "ok"
        message = f"not installed: {listed(faults, most=3)}" if faults else ", ".join(found)
        command = f"pip install 'tfft[{extra}]'" if faults else None
        findings.append(Finding("extras", extra, state, message, command))
    return findings


def _faults(wanted: Requirement, lookup: Lookup) -> list[str]:
    """What is missing or out of range of one requirement and of the extras that it names."""
    found = lookup(wanted.name)
    if found is None:
        return [wanted.name]
    if not _fits(found.version, wanted.specifier):
        return [f"{wanted.name}{_written(wanted.specifier)} ({found.version} is there)"]
    if not wanted.extras:
        return []
    plain = {str(each) for each in _requirements(found)}
    below = _requirements(found, tuple(wanted.extras))
    return [fault for each in below if str(each) not in plain for fault in _faults(each, lookup)]


def check_minilm(folder: Path | None) -> list[Finding]:
    name = "builtin/minilm"
    if folder is None:
        return [Finding("model", name, "optional", "not installed", minilm.INSTALL)]
    fault = minilm.weights_fault(folder)
    if fault:
        return [Finding("model", name, "error", fault, minilm.REINSTALL)]
    return [Finding("model", name, "ok", "all-MiniLM-L6-v2, its weights are the hub's")]


def _requirements(found: Distribution, extras: tuple[str, ...] = ()) -> Iterator[Requirement]:
    """Those that hold on this machine, with these extras."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for text in found.requires:
        try:
            requirement = Requirement(text)
            requirement.name = canonicalize_name(requirement.name)
        except InvalidRequirement:
            continue  # of old metadata; pip passes over it too
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": each}) for each in ("", *extras)):
            yield requirement


def _fits(version: str, wanted: SpecifierSet) -> bool:
    from packaging.version import InvalidVersion

    try:
        return wanted.contains(version, prereleases=True)
    except InvalidVersion:
        return False


def _reason(name: str, version: str) -> str:
    from packaging.specifiers import SpecifierSet

    for versions, reason in REASONS.get(name, {}).items():
        if _fits(version, SpecifierSet(versions)):
            return f": {reason}"
    return ""


def _why_keras_2(wanted: Requirement, lookup: Lookup) -> str:
    if wanted.name != "tf-keras":
        return ""
    keras = lookup("keras")
    alone = f"; Keras {keras.version} won't do" if keras else ""
    return f": transformers' TF classes need Keras 2{alone}"


def _pip(wanted: Requirement, lookup: Lookup) -> str:
    """The line that installs it; tf-keras in step with the TensorFlow that is there."""
    versions = _written(wanted.specifier)
    tensorflow = lookup("tensorflow")
    if wanted.name == "tf-keras" and tensorflow and _fits(tensorflow.version, wanted.specifier):
        versions = f"=={_minor(tensorflow.version)}.*"
    return f"pip install '{wanted.name}{versions}'"


def _written(wanted: SpecifierSet) -> str:
    """`>=4.50,<4.55`, the lower end first."""
    return ",".join(sorted(map(str, wanted), reverse=True))


def _in_step(one: str, other: str) -> bool:
    return _minor(one) == _minor(other)


def _minor(version: str) -> str:
    """`2.21` of `2.21.0`."""
    return ".".join(version.split(".")[:2])


def _lies_in(path: Path, folder: Path) -> bool:
    """As it is written or as it resolves: some installers fill site-packages with links."""
    return path.is_relative_to(folder) or path.resolve().is_relative_to(folder.resolve())


def _has_packaging() -> bool:
    return find_spec("packaging") is not None
