"""An output folder appears whole or not at all, and nobody's work is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tfft.errors import ConfigError, DataError, TrainingError
from tfft.folders import RunFolder, default_output


def epoch(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.mkdir(parents=True)
        (path / "weights").write_text(name)

    return write


def finished(path: Path, name: str = "first") -> Path:
    with RunFolder.claim(path, overwrite=True) as folder:
        folder.save_epoch(1, is_best=True, write=epoch(name))
        folder.write({"manifest.json": "{}"})
        folder.finish()
    return path


def test_a_finished_folder_holds_the_best_epoch_as_its_model(tmp_path: Path) -> None:
    with RunFolder.claim(tmp_path / "run", overwrite=False) as folder:
        folder.save_epoch(1, is_best=True, write=epoch("one"))
        folder.save_epoch(2, is_best=True, write=epoch("two"))
        folder.save_epoch(3, is_best=False, write=epoch("three"))
        folder.finish()
    assert [each.name for each in tmp_path.iterdir()] == ["run"]
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["model"]
    assert (tmp_path / "run" / "model" / "weights").read_text() == "two"


def test_of_the_epochs_the_best_and_the_newest_stay(tmp_path: Path) -> None:
    with RunFolder.claim(tmp_path / "run", overwrite=False) as folder:
        for number, is_best in enumerate([True, True, False, False], start=1):
            folder.save_epoch(number, is_best=is_best, write=epoch(str(number)))
        kept = sorted(each.name for each in (folder.partial / "checkpoints").iterdir())
    assert kept == ["epoch-2", "epoch-4"]


def test_an_error_before_any_epoch_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"^bad$"),
        RunFolder.claim(tmp_path / "run", overwrite=False),
    ):
        raise DataError("bad")
    assert list(tmp_path.iterdir()) == []


def test_an_error_after_an_epoch_keeps_it_and_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(TrainingError, match=r"bad; saved so far: .*epoch-1"),
        RunFolder.claim(tmp_path / "run", overwrite=False) as folder,
    ):
        folder.save_epoch(1, is_best=True, write=epoch("one"))
        raise TrainingError("bad")
    assert (tmp_path / "run.partial" / "checkpoints" / "epoch-1" / "weights").exists()


def test_a_key_press_keeps_a_run_that_has_started(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt, match=r"run\.partial stays, without an epoch"),
        RunFolder.claim(tmp_path / "run", overwrite=False) as folder,
    ):
        folder.started = True
        folder.write({"run.toml": "x"})
        raise KeyboardInterrupt
    assert [each.name for each in (tmp_path / "run.partial").iterdir()] == ["run.toml"]


def test_what_a_run_without_an_epoch_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial" / "run.toml").write_text("old")
    assert finished(tmp_path / "run").is_dir()
    assert not (tmp_path / "run" / "run.toml").exists()


def test_epochs_of_an_interrupted_run_are_lost_only_on_demand(tmp_path: Path) -> None:
    saved = tmp_path / "run.partial" / "checkpoints" / "epoch-1"
    epoch("precious")(saved)
    with (
        pytest.raises(ConfigError, match="interrupted run"),
        RunFolder.claim(tmp_path / "run", overwrite=False),
    ):
        pass
    assert (saved / "weights").read_text() == "precious"
    finished(tmp_path / "run")
    assert not saved.exists()


def test_two_runs_never_write_one_folder(tmp_path: Path) -> None:
    with RunFolder.claim(tmp_path / "run", overwrite=False) as first:
        first.write({"mine": "first"})
        with (
            pytest.raises(ConfigError, match="another run"),
            RunFolder.claim(tmp_path / "run", overwrite=True),
        ):
            pass
        assert (first.partial / "mine").read_text() == "first"


def test_overwriting_replaces_only_when_the_new_run_is_done(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", "old")
    with pytest.raises(DataError), RunFolder.claim(run, overwrite=True):
        raise DataError("bad")
    assert (run / "model" / "weights").read_text() == "old"
    finished(run, "new")
    assert (run / "model" / "weights").read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_a_disk_that_fails_is_told_by_its_file(tmp_path: Path) -> None:
    with (
        pytest.raises(TrainingError, match=r"No space left on device \(/x/y\)"),
        RunFolder.claim(tmp_path / "run", overwrite=False),
    ):
        raise OSError(28, "No space left on device", "/x/y")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("glue/cola", "cola-1"),
        ("../data/reviews/", "reviews-1"),
        ("org/name:config@main", "config-1"),
        ("builtin/acceptability", "acceptability-1"),
    ],
)
def test_a_folder_s_name_comes_from_its_data(tmp_path: Path, data: str, name: str) -> None:
    assert default_output(data, root=tmp_path) == tmp_path / name


def test_a_file_s_ending_is_no_part_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "my reviews.csv").write_text("")
    assert default_output(str(tmp_path / "my reviews.csv")).name == "my-reviews-1"
