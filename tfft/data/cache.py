"""Tokens that are kept on disk, so that a second run on the same texts starts at once.

    tokens, n_cut = load_or_make(folders.cache_folder(), key, make)

An entry is a folder of its own, written aside and renamed when it is whole: what is there is
complete. Its checksum is verified all the same, since a disk can lie. Two runs that want the same
entry make it once, the second waits. Where the cache can't be written, a run does without.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout

from tfft.data import tokens as token_file
from tfft.data.tokens import Tokens
from tfft.errors import first_line
from tfft.progress import current

# Rises when what is kept, or how, changes.
FORMAT = 1
# Whose version can change the tokens.
TOKENIZING_PACKAGES = ("tokenizers", "transformers")
# Entries that nobody has used for so long are removed when another is written.
KEPT_DAYS = 30

# The tokens, and how many rows were cut; made in the scratch folder, or in memory without one.
Make = Callable[[Path | None], tuple[Tokens, int]]


class _UnusableError(Exception):
    """An entry is there, but broken or of another version; its text says which."""


def load_or_make(root: Path, key: str, make: Make) -> tuple[Tokens, int]:
    """The entry of that key, made where there is none that can be used."""
    entry = root / "tokens" / key
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with _alone(entry):
            try:
                if (found := _read(entry)) is not None:
                    return found
            except _UnusableError as problem:
                current().note(f"cache: {entry} {problem}; the texts are tokenised again")
            _write(entry, make)
            _forget_old(entry.parent)
            return _read(entry, verify=False) or make(None)
    except (OSError, _UnusableError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        current().note(f"cache: {root} can't be used ({why}); the tokens stay in memory")
        return make(None)


@contextmanager
def _alone(entry: Path) -> Iterator[None]:
    """Holds the entry's lock; says so where another run has it."""
    lock = FileLock(entry.with_name(f"{entry.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        current().waiting("another run is tokenising the same texts; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _read(entry: Path, *, verify: bool = True) -> tuple[Tokens, int] | None:
    """The entry's tokens; None where there is no entry.

    Raises:
        _UnusableError: there is one that can't be taken.
    """
    if not entry.exists():
        return None
    try:
        about = json.loads((entry / "about.json").read_text())
        made_by, n_bytes, n_cut = about["made_by"], about["n_bytes"], int(about["n_cut"])
        path = entry / "tokens.arrow"
        if made_by != _made_by():
            raise _UnusableError(
                f"was written by {_listed(made_by)}, this is {_listed(_made_by())}"
            )
        if path.stat().st_size != n_bytes or (verify and _checksum(path) != about["crc32"]):
            raise _UnusableError("is corrupt (its checksum differs)")
        tokens = token_file.read(path)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise _UnusableError(f"is corrupt ({first_line(error)[:120]})") from None
    os.utime(entry)  # it is in use: not to be forgotten
    return tokens, n_cut


def _write(entry: Path, make: Make) -> None:
    """Raises: OSError; nothing is left behind then."""
    with tempfile.TemporaryDirectory(
        dir=entry.parent, prefix=f"{entry.name}.", suffix=".partial"
    ) as folder:
        scratch, ready = Path(folder) / "scratch", Path(folder) / "ready"
        scratch.mkdir()
        ready.mkdir()
        made, n_cut = make(scratch)
        path = ready / "tokens.arrow"
        token_file.write(made, path)
        about = {
            "made_by": _made_by(),
            "n_bytes": path.stat().st_size,
            "crc32": _checksum(path),
            "n_cut": n_cut,
        }
        (ready / "about.json").write_text(json.dumps(about))
        if entry.exists():
            shutil.rmtree(entry)
        ready.rename(entry)


def _made_by() -> dict[str, str]:
    versions = {name: metadata.version(name) for name in TOKENIZING_PACKAGES}
    return {"tfft's format": str(FORMAT), **versions}


def _listed(made_by: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in made_by.items())


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _forget_old(folder: Path) -> None:
    """Removes entries, and what a killed run left, that nobody has used for `KEPT_DAYS`."""
    oldest = time.time() - KEPT_DAYS * 86_400
    for each in folder.iterdir():
        if each.is_dir() and each.stat().st_mtime < oldest:
            shutil.rmtree(each, ignore_errors=True)
            each.with_name(f"{each.name}.lock").unlink(missing_ok=True)
