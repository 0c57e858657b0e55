"""A bundle: numbered versions of a SavedModel as TensorFlow Serving lays them out.

    with Place.claim(Path("bundle"), version=None) as place:
        tf.saved_model.save(..., place.saved_model)
        place.finish({"check.json": "..."})

    bundle/
      1/                          the SavedModel
      README.md, check.json, labels.json, batching_parameters.txt     of the newest version

A version is made beside its place and renamed: a server that watches the folder sees it whole, and
a failure leaves the folder as it was, to the last file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfft.errors import ConfigError, ExportError, TrainingError
from tfft.folders import RunFolder, shown

CHECK = "check.json"


@dataclass(frozen=True)
class Place:
    """Where a version will lie, and where it lies until then.

    Attributes:
        bundle: the folder of all versions.
        version: the new one's number.
    """

    bundle: Path
    version: int
    _folder: RunFolder

    @property
    def saved_model(self) -> Path:
        """Where the SavedModel is written."""
        return self._folder.partial / "saved_model"

    @property
    def n_bytes(self) -> int:
        """Of all files of the SavedModel."""
        files = (each for each in self.saved_model.rglob("*") if each.is_file())
        return sum(each.stat().st_size for each in files)

    @classmethod
    @contextmanager
    def claim(cls, bundle: Path, *, version: int | None) -> Iterator[Place]:
        """Holds the version against other exports until the block ends.

        Args:
            version: None takes one more than the last.

        Raises:
            ConfigError: the version exists; the folder is none, or holds something else, or can't
                be written.
            ExportError: the disk failed in the block.
        """
        bundle = Path(os.path.abspath(bundle))
        existed = bundle.exists()
        number = _free_version(bundle, version)
        try:
            with RunFolder.claim(bundle / str(number), overwrite=False) as folder:
                yield cls(bundle, number, folder)
        except TrainingError as error:  # what `claim` makes of a full disk
            raise ExportError(f"{shown(bundle)}: {error}; nothing was written") from error
        finally:
            if not existed and bundle.is_dir() and not any(bundle.iterdir()):
                bundle.rmdir()

    def need(self, n_bytes: int) -> None:
        """Refuses to start what the disk can't hold.

        Raises:
            ConfigError: fewer than `n_bytes` and some spare are free.
        """
        self._folder.need(n_bytes)

    def finish(self, texts: Mapping[str, str]) -> None:
        """The version gets its name, and the bundle these files."""
        partial = self._folder.partial
        self._folder.write(texts)
        self.saved_model.rename(self._folder.path)
        for name in texts:
            (partial / name).replace(self.bundle / name)
        shutil.rmtree(partial)


def versions(bundle: Path) -> list[int]:
    """Those that are there, in order."""
    if not bundle.is_dir():
        return []
    return sorted(int(each.name) for each in bundle.iterdir() if _is_version(each))


def _is_version(path: Path) -> bool:
    return path.is_dir() and path.name.isascii() and path.name.isdecimal()


def _free_version(bundle: Path, version: int | None) -> int:
    if bundle.exists() and not bundle.is_dir():
        raise ConfigError(f"{shown(bundle)} is a file; a bundle is a folder")
    there = versions(bundle)
    if bundle.is_dir() and not there and any(_visible(bundle)):
        raise ConfigError(
            f"{shown(bundle)} holds something else than a bundle's versions; choose another "
            "--output"
        )
    if version is None:
        return max(there, default=0) + 1
    if version in there:
        raise ConfigError(
            f"{shown(bundle)} has a version {version}; leave --version out to take "
            f"{max(there) + 1}, or choose another",
        )
    return version


def _visible(bundle: Path) -> Iterator[Path]:
    """What isn't left from an export that was killed."""
    return (each for each in bundle.iterdir() if not each.name.endswith(".partial"))
