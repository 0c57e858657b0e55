"""What a search leaves beside `best/`: trials.json, trials.csv, best.toml, report.html.

write_trials(folder, trials)        # after each trial too, for whoever looks in
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from tfft.folders import TRIALS, as_json, write_file
from tfft.results import Trial, TuneResult


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Raises:
    TfftError: it can't be written.
    """
    write_file(folder / TRIALS, as_json([each.to_json() for each in trials]))
    write_file(folder / "trials.csv", trials_csv(trials))


def trials_csv(trials: Sequence[Trial]) -> str:
    """A row a trial: what was tried, its score, how long it took and what became of it."""
    options = list(dict.fromkeys(name for each in trials for name in each.values))
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    about = ("status", "score", "epochs", "best_epoch", "seconds", "message")
    table.writerow(["trial", *options, *about])
    for each in trials:
        values = [each.values.get(name) for name in options]
        table.writerow([each.trial, *values, *(getattr(each, name) for name in about)])
    return written.getvalue()


def write_best(folder: Path, run_toml: str) -> None:
    """The winner's config, which `tfft fit --config` runs."""
    write_file(folder / "best.toml", run_toml.replace("--config run.toml", "--config best.toml"))


def write_report(folder: Path, result: TuneResult) -> None:
    from tfft.reports.tuning import tuning_page

    write_file(folder / "report.html", tuning_page(result))
