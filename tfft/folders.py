"""An output folder that appears whole or not at all.

    with RunFolder.claim(Path("runs/cola-1"), overwrite=False) as folder:
        folder.save_epoch(1, is_best=True, write=lambda path: ...)
        folder.finish({"metrics.json": "..."})      # `runs/cola-1.partial` becomes `runs/cola-1`

While a run works, everything lies in `DIR.partial`. An error removes it, unless an epoch was saved.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tfft.errors import ConfigError, TfftError, TrainingError, listed

# What a folder has that a verb of ours wrote.
MARKS = ("manifest.json", "conversion.json", "best.toml")
# What a search has tried.
TRIALS = "trials.json"
# Room beside the weights for the tokenizer and the reports.
SPARE_BYTES = 16 * 2**20


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where tokens are kept: `TFFT_CACHE`, else `tfft` in the user's cache."""
    if chosen := environ.get("TFFT_CACHE"):
        return Path(chosen).expanduser()
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tfft"


@dataclass
class RunFolder:
    """A folder in the making.

    Attributes:
        path: what it will be called.
        partial: where it lies until then.
        saved: the epochs' checkpoints that lie in it, the best and the newest.
    """

    path: Path
    partial: Path
    saved: dict[int, Path] = field(default_factory=dict)
    best_epoch: int | None = None
    started: bool = False

    @classmethod
    @contextmanager
    def claim(cls, path: Path, *, overwrite: bool) -> Iterator[RunFolder]:
        """Makes `DIR.partial`, held against other runs until the block ends.

        Raises:
            ConfigError: DIR exists, or can't be written, or another run is writing it.
            TrainingError: the disk failed in the block.
        """
        path = Path(os.path.abspath(path))
        _check_free(path, overwrite=overwrite)
        partial = path.with_name(path.name + ".partial")
        made = _make(partial)
        with _locked(partial):
            if not made:
                _clear(partial, overwrite=overwrite)
            folder = cls(path, partial)
            try:
                yield folder
            except KeyboardInterrupt:
                folder._leave(keep=folder.started)
                told = folder._told() or ", without an epoch: none was done"
                left = f"{shown(partial)} stays{told}" if folder.started else ""
                raise KeyboardInterrupt(left) from None
            except OSError as error:
                folder._leave(keep=bool(folder.saved))
                raise TrainingError(f"{_why(error)}{folder._told()}") from error
            except BaseException as error:
                folder._leave(keep=bool(folder.saved))
                if isinstance(error, TfftError) and folder.saved:
                    raise type(error)(f"{error}{folder._told()}") from error
                raise

    @classmethod
    @contextmanager
    def claim_again(cls, path: Path, *, overwrite: bool, record: str) -> Iterator[RunFolder]:
        """The same for work that goes on where it was killed: `DIR.partial` stays as it lies.

        Args:
            record: the file in it that the work is taken up from; a folder that lacks it is new,
                and goes with an error.
        """
        path = Path(os.path.abspath(path))
        _check_free(path, overwrite=overwrite)
        partial = path.with_name(path.name + ".partial")
        made = _make(partial)
        with _locked(partial):
            if not made and not (partial / record).exists():
                _clear(partial, overwrite=overwrite)
            folder = cls(path, partial)
            goes_on = f"{shown(partial)} stays, and the same command goes on with it"
            try:
                yield folder
            except KeyboardInterrupt:
                kept = folder._leave(keep=(partial / record).exists())
                raise KeyboardInterrupt(goes_on if kept else "") from None
            except OSError as error:
                kept = folder._leave(keep=(partial / record).exists())
                told = f"; {goes_on}" if kept else ""
                raise TrainingError(f"{_why(error)}{told}") from error
            except BaseException:
                folder._leave(keep=(partial / record).exists())
                raise

    def clear(self) -> None:
        """Empties it, whatever lies there."""
        _clear(self.partial, overwrite=True)

    def need(self, n_bytes: int) -> None:
        """Refuses to start what the disk can't hold.

        Raises:
            ConfigError: fewer than `n_bytes` and some spare are free.
        """
        free = shutil.disk_usage(self.partial).free
        if free < n_bytes + SPARE_BYTES:
            raise ConfigError(
                f"{shown(self.path)}: the disk has {free / 2**20:,.0f} MiB free, the run needs "
                f"about {(n_bytes + SPARE_BYTES) / 2**20:,.0f}; choose another --output"
            )

    def save_epoch(self, epoch: int, *, is_best: bool, write: Callable[[Path], None]) -> None:
        """Saves an epoch's checkpoint; of the earlier ones only the best stays."""
        path = self.partial / "checkpoints" / f"epoch-{epoch}"
        unfinished = path.with_name(path.name + ".tmp")
        try:
            write(unfinished)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        unfinished.rename(path)
        self.saved[epoch] = path
        if is_best:
            self.best_epoch = epoch
        for old in [each for each in self.saved if each not in (epoch, self.best_epoch)]:
            shutil.rmtree(self.saved.pop(old))

    def write(self, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            (self.partial / name).write_text(text, encoding="utf-8")

    def finish(self) -> None:
        """The best epoch's checkpoint becomes `model/`, and the folder gets its name."""
        if self.best_epoch is not None:
            self.saved[self.best_epoch].rename(self.partial / "model")
            shutil.rmtree(self.partial / "checkpoints")
        (self.partial / _LOCK).unlink()
        old = self.path.with_name(self.path.name + ".old")
        if self.path.exists():
            self.path.rename(old)
        self.partial.rename(self.path)
        shutil.rmtree(old, ignore_errors=True)

    def _leave(self, *, keep: bool) -> bool:
        if keep:
            (self.partial / _LOCK).unlink(missing_ok=True)
        else:
            shutil.rmtree(self.partial, ignore_errors=True)
        return keep

    def _told(self) -> str:
        if not self.saved:
            return ""
        return f"; saved so far: {', '.join(map(shown, self.saved.values()))}"


def check_file(path: Path, *, endings: Sequence[str], overwrite: bool) -> None:
    """Refuses a file that can't be written, or that would be lost.

    Raises:
        ConfigError: another ending; the file exists; its folder doesn't, or takes no file.
    """
    if path.suffix.lower() not in endings:
        raise ConfigError(f"{path}: expected an ending of {listed(endings)}", options=["output"])
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists; choose another --output, or --overwrite it")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: no folder {path.absolute().parent}; make it first")
    try:  # rather than after minutes of work
        tempfile.TemporaryFile(dir=path.absolute().parent).close()
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"{path}: can't be written: {why}; choose another --output") from None


def as_json(document: Any) -> str:
    """As it goes into a file: no NaN, which isn't JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_file(path: Path, text: str) -> None:
    """Writes beside `path` first, so that a full disk leaves no half of it.

    Raises:
        TfftError: it can't be written.
    """
    unfinished = path.with_name(f".{path.name}.partial")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise TfftError(f"{path}: can't be written: {_why(error)}") from error


def default_output(data: str, *, root: Path = Path("runs")) -> Path:
    """`runs/<data>-<n>` with the first n that is free."""
    name = re.sub(r"[^\w.-]+", "-", data.split("@")[0].rstrip("/").replace(":", "/").split("/")[-1])
    name = Path(name).stem if Path(data).is_file() else name
    taken = {each.name.removesuffix(".partial") for each in root.iterdir()} if root.is_dir() else ()
    number = 1
    while f"{name}-{number}" in taken:
        number += 1
    return root / f"{name}-{number}"


_LOCK = ".lock"


def _check_free(path: Path, *, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise ConfigError(f"{shown(path)} exists; choose another --output, or --overwrite it")
    ours = path.is_dir() and any((path / each).exists() for each in MARKS)
    if not ours and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(
            f"{shown(path)} isn't a folder that tfft wrote; --overwrite replaces those alone"
        )


def _make(partial: Path) -> bool:
    """Makes the folder and its parents; False where it lay there already."""
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except OSError as error:
        if partial.is_dir():
            return False
        raise ConfigError(f"{shown(partial)}: can't be made: {_why(error)}") from None
    return True


@contextmanager
def _locked(partial: Path) -> Iterator[IO[str]]:
    try:
        lock = (partial / _LOCK).open("w")
    except OSError as error:
        raise ConfigError(f"{shown(partial)}: can't be written: {_why(error)}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{shown(partial)}: another run is writing there") from None
        yield lock


def _clear(partial: Path, *, overwrite: bool) -> None:
    """Empties what an earlier run left, unless it has an epoch or trials nobody asked to lose."""
    if (partial / TRIALS).exists() and not overwrite:
        raise ConfigError(
            f"{shown(partial)} holds the trials of an interrupted search; tfft tune goes on with "
            "it where its oracle.json is there too; choose another --output, or --overwrite"
        )
    checkpoints = partial / "checkpoints"
    if checkpoints.is_dir() and any(checkpoints.iterdir()) and not overwrite:
        raise ConfigError(
            f"{shown(partial)} holds the epochs of an interrupted run; use or remove them, "
            "choose another --output, or --overwrite"
        )
    for each in partial.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
        elif each.name != _LOCK:
            each.unlink()


def shown(path: Path) -> str:
    """Relative to here where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _why(error: OSError) -> str:
    return f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")


@contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """What the disk says as an OSError: safetensors and tokenizers raise their own kinds for it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        told = re.search(r"\(os error (\d+)\)|code: (\d+)", str(error))
        if told is None:
            raise
        number = int(told[1] or told[2])
        raise OSError(number, os.strerror(number), str(path)) from error
