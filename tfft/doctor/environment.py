"""The environment variables that bite, and those that would but that tfft sets aside.

    check_environment({"HF_HUB_OFFLINE": "1"}, has_keras_2=True)

Each was tried, or read in the code that reads it. A variable that does no harm is passed over.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path

from tfft.doctor.findings import Finding, State
from tfft.doctor.machine import without_password
from tfft.doctor.packages import ModuleFinder, find_module

# What `tfft.backend` sets before its first import, whatever stood there.
SET_BY_TFFT = {"USE_TORCH": "0", "USE_TF": "1", "TF_USE_LEGACY_KERAS": "1"}
TRUE = ("1", "ON", "YES", "TRUE")  # as the hub's libraries read them, in capitals
LOCAL = "127.0.0.1"


def check_environment(
    environ: Mapping[str, str],
    *,
    has_keras_2: bool,
    has_gpus: bool = False,
    xla_fault: str | None = None,
    module: ModuleFinder = find_module,
) -> list[Finding]:
    """One finding for each variable that does something to a run.

    Args:
        has_keras_2: tf-keras can be imported.
        xla_fault: what XLA said of XLA_FLAGS; None where it took them.
    """
    return [
        *_set_aside(environ, has_keras_2=has_keras_2),
        *_tensorflow(environ, has_gpus=has_gpus, xla_fault=xla_fault),
        *_offline(environ),
        *_proxies(environ, module),
        *_downloads(environ, module),
    ]


def _finding(name: str, state: State, message: str, command: str | None = None) -> Finding:
    return Finding("environment", name, state, message, command)


def _set_aside(environ: Mapping[str, str], *, has_keras_2: bool) -> Iterator[Finding]:
    for name, own in SET_BY_TFFT.items():
        value = environ.get(name)
        if name == "TF_USE_LEGACY_KERAS" and not has_keras_2:
            # As TensorFlow reads it; tfft leaves it alone where it can only do harm.
            if value in ("1", "true", "True"):
                told = f"set to {value} without tf-keras: TensorFlow's import fails"
                yield _finding(name, "warning", told, f"unset {name}")
        elif value is not None and value != own:
            yield _finding(name, "note", f"set to '{value}'; tfft sets it aside")
    if "KERAS_BACKEND" in environ:
        told = f"set to '{environ['KERAS_BACKEND']}'; Keras 3 alone reads it, and tfft uses Keras 2"
        yield _finding("KERAS_BACKEND", "note", told)


def _tensorflow(
    environ: Mapping[str, str], *, has_gpus: bool, xla_fault: str | None
) -> Iterator[Finding]:
    if "TF_CONFIG" in environ:
        yield _finding("TF_CONFIG", "warning", _cluster(environ["TF_CONFIG"]), "unset TF_CONFIG")
    if xla_fault:
        told = f"a program that XLA compiles fails with it: {xla_fault}"
        yield _finding("XLA_FLAGS", "warning", told, "unset XLA_FLAGS")
    growth = environ.get("TF_FORCE_GPU_ALLOW_GROWTH")
    if has_gpus and growth is not None and growth not in ("true", "false"):
        told = f"'{growth}' is not understood: TensorFlow takes all of the GPU's memory"
        command = "export TF_FORCE_GPU_ALLOW_GROWTH=true"
        yield _finding("TF_FORCE_GPU_ALLOW_GROWTH", "warning", told, command)


def _cluster(text: str) -> str:
    try:
        config = json.loads(text)
        workers = config.get("cluster", {}).get("worker", [])
    except (ValueError, AttributeError):
        return "not a JSON object: TensorFlow's strategies fail on it"
    return f"it names a cluster of {len(workers)} workers; a run on one machine wants none"


def _offline(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name, what in (
        ("HF_HUB_OFFLINE", "models and data"),
        ("TRANSFORMERS_OFFLINE", "models and data"),
        ("HF_DATASETS_OFFLINE", "data"),
    ):
        # The hub's client reads its own variable first, and the other where that is empty.
        is_read = name != "TRANSFORMERS_OFFLINE" or not environ.get("HF_HUB_OFFLINE")
        if is_read and environ.get(name, "").upper() in TRUE:
            told = f"set: {what} of the hub come from the cache alone"
            yield _finding(name, "warning", told, f"unset {name}")


def _proxies(environ: Mapping[str, str], module: ModuleFinder) -> Iterator[Finding]:
    # In lower case they go first, as curl, urllib and requests have it.
    by_scheme = {
        name.lower(): (name, value)
        for name, value in sorted(environ.items())
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy") and value
    }
    for name, value in by_scheme.values():
        if value.startswith("socks") and module("socks") is None:
            told = f"{without_password(value)}: what talks to the hub needs PySocks for it"
            yield _finding(name, "warning", told, "pip install pysocks")
    exempt = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if by_scheme and not _is_exempt(LOCAL, exempt):
        names = ", ".join(name for name, _ in by_scheme.values())
        address = without_password(next(iter(by_scheme.values()))[1])
        told = f"{address}: even a server on this machine is asked through it"
        value = ",".join([*filter(None, exempt.replace(" ", "").split(",")), LOCAL, "localhost"])
        yield _finding(names, "warning", told, f"export no_proxy={shlex.quote(value)}")


def _is_exempt(host: str, exempt: str) -> bool:
    """As requests reads no_proxy: an address (none with a port), a range, or `*` for all."""
    if exempt.strip() == "*":
        return True
    for each in exempt.replace(" ", "").split(","):
        if each == host:
            return True
        try:
            if "/" in each and ip_address(host) in ip_network(each, strict=False):
                return True
        except ValueError:
            continue
    return False


def _downloads(environ: Mapping[str, str], module: ModuleFinder) -> Iterator[Finding]:
    fast = "HF_HUB_ENABLE_HF_TRANSFER"
    if environ.get(fast, "").upper() in TRUE and module("hf_transfer") is None:
        told = "set without hf_transfer: downloads from the hub fail"
        yield _finding(fast, "warning", told, "pip install hf_transfer")
    # requests reads the second where the first is empty.
    bundles = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if environ.get(name)]
    for name in bundles[:1]:
        if not Path(environ[name]).exists():
            told = f"{environ[name]} doesn't exist: nothing can be fetched"
            yield _finding(name, "warning", told, f"unset {name}")
