"""The benchmark's arithmetic, its tables, and its children."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import Measured, Settings
from benchmarks.data import GENERATED, write_reviews, write_rows
from benchmarks.figures import Figure, paired_ratio, seconds_to, show, show_spread, table
from benchmarks.paths import ENVIRON, PATHS, QUICK
from benchmarks.processes import Child, ChildError
from benchmarks.report import gflops, markdown, stage_seconds
from benchmarks.steps import parts_of

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench"
TOKENS = {"padded": 1000, "real": 750}


def test_a_figure_is_the_median_with_its_spread() -> None:
    assert Figure.of([3.0, None, 1.0, 8.0]) == Figure(median=3.0, least=1.0, most=8.0, n=3)
    assert Figure.of([None]) is None
    assert show(Figure.of([1234.56, 1.0, 2000.0])) == "1,234.6"
    assert show(None) == "–"
    assert show_spread(Figure.of([1.0, 2.0])) == "1.0 to 2.0"
    assert show_spread(Figure.of([1.0])) == "–"


def test_a_ratio_is_taken_within_a_round() -> None:
    # The second round was ten times slower for both: it says the same as the first.
    assert paired_ratio([2.0, 20.0], [1.0, 10.0]) == Figure(2.0, 2.0, 2.0, 2)
    assert paired_ratio([2.0, None], [1.0, 1.0, 1.0]) == Figure(2.0, 2.0, 2.0, 1)
    assert paired_ratio([], [1.0]) is None


def test_the_seconds_to_a_quality_are_those_of_all_epochs_up_to_it() -> None:
    assert seconds_to(0.3, [0.1, 0.3, 0.2], [10.0, 5.0, 5.0]) == 15.0
    assert seconds_to(0.4, [0.1, 0.3, None], [10.0, 5.0, 5.0]) is None


def test_a_stage_lasts_until_the_next_one_begins() -> None:
    stages = [("reading", 0.0), ("tokenising", 2.0)]
    assert stage_seconds(stages, 5.0) == [("reading", 2.0), ("tokenising", 3.0)]


def test_a_table_is_aligned_markdown() -> None:
    assert table(("path", "s"), [("a", "1.5"), ("longer", "10.0")]).splitlines() == [
        "| path   |    s |",
        "|--------|-----:|",
        "| a      |  1.5 |",
        "| longer | 10.0 |",
    ]


def measured(**figures: Any) -> dict[str, Any]:
    about = {"body_size": 10**6, "train_tokens": TOKENS, "validation_tokens": TOKENS}
    return vars(Measured(about=about)) | {"epochs": [], "first_epoch": 1.0} | figures


def test_arithmetic_is_six_products_a_trained_token_and_two_an_evaluated_one() -> None:
    # (6 + 2) * 1,000 tokens * 1 million weights in 2 seconds.
    assert gflops(measured(epochs=[2.0])) == pytest.approx(4.0)
    assert gflops(measured()) is None


def test_the_report_says_what_failed_and_how_much_faster_the_chosen_path_is() -> None:
    ours = measured(
        starts=[3.0],
        fits=[1.0],
        epochs=[2.0, 4.0],
        waits=[0.01, 0.02],
        metrics=[{"matthews_correlation": each} for each in (0.1, 0.3, 0.2)],
        stages=[("tokenising", 0.0)],
        stages_again=[("tokenising", 0.0)],
        agains=[2.0],
    )
    theirs = measured(starts=[5.0], fits=[2.0], epochs=[6.0, 12.0])
    document = {
        "machine": {
            "cpu": "a CPU",
            "cores": 2,
            "gpus": [],
            "memory_gib": 8.0,
            "load_average": 1.9,
            "python": "3.11",
            "versions": {"numpy": "2"},
        },
        "settings": vars(Settings(data=("cola",))),
        "probe": {
            "threads": {"torch": None},
            "peak_gflops": 8.0,
            "tried": {"torch": {"default": {"gflops": 8.0}}},
        },
        "data": {
            "cola": {
                "rows": {"n_train": 100, "n_validation": 10},
                "input": {
                    "tfft-bucketed": {"rates": [400.0], "tokens": TOKENS},
                    "tfft-prepare": {"rates": [20.0], "tokens": TOKENS},
                },
                "paths": {
                    "tfft-bucketed": ours,
                    "trainer": theirs,
                    "keras-hub": measured(about={}, why_not="not installed"),
                },
            }
        },
        "seconds": 9.0,
    }
    text = markdown(document)
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line[0:1] == "|"}
    assert "20.00×" in text  # input alone, against tfft-prepare
    assert "3.00× (3.00 to 3.00)" in text
    assert rows["tfft-bucketed"].rstrip("| ").endswith("6.0")  # 3 + 1 + 2 seconds to 0.25
    assert "- keras-hub: not installed" in text
    assert "the machine was busy" in text


def test_what_a_step_has_beyond_its_parts_is_its_rest() -> None:
    names = ("Keras' Adam", "tfft's Adam")
    one = {"forward": 1.0, "forward and backward": 3.0}
    one |= {f"optimizer, {name}": 1.0 for name in names}
    one |= {f"whole step, {name}": 4.5 for name in names}
    parts = parts_of([one])
    assert parts["rest, tfft's Adam"] == Figure(0.5, 0.5, 0.5, 1)
    assert parts["backward alone"] == Figure(2.0, 2.0, 2.0, 1)


def test_every_path_has_its_case_and_its_environment() -> None:
    cases = SCRIPT.parent / "benchmarks" / "cases"
    for path in PATHS.values():
        assert (cases / f"{path.case}.py").is_file()
        assert path.framework in ENVIRON
    assert set(QUICK) <= set(PATHS)


def test_generated_texts_are_long_ones_and_always_the_same(tmp_path: Path) -> None:
    first, again = (write_reviews(tmp_path / name, 50).read_text() for name in ("a", "b"))
    assert first == again
    rows = write_rows(GENERATED, tmp_path / "rows", n_train=40, n_validation=8, seed=1)
    assert (rows.n_train, rows.n_validation, rows.n_labels) == (40, 8, 2)


@pytest.mark.parametrize(("seconds", "why"), [(None, "no_such_case"), (0.0, "no time left")])
def test_a_child_that_fails_or_is_late_says_so(
    tmp_path: Path, seconds: float | None, why: str
) -> None:
    deadline = None if seconds is None else time.monotonic() + seconds
    with (
        Child.start("no_such_case", {}, log=tmp_path / "log", deadline=deadline) as child,
        pytest.raises(ChildError, match=why),
    ):
        child.hear()


@pytest.mark.slow
def test_the_benchmark_runs_and_writes_both_tables(
    reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    sizes = ("--rows", "32", "--eval-rows", "16", "--rounds", "1", "--threads", "1")
    sizes += ("--max-length", "64")
    paths = ("tfft-bucketed", "trainer-grouped-fused", "keras-hub")
    chosen = [word for path in paths for word in ("--path", path)]
    done = subprocess.run(
        [
            *(sys.executable, SCRIPT, "--data", reviews, "--model", tiny, "--output", tmp_path),
            *(*sizes, *chosen),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "bench.md").read_text() in done.stdout
    document = json.loads((tmp_path / "bench.json").read_text())
    [data] = document["data"].values()
    assert data["input"]["tfft-bucketed"]["rates"]
    for path in paths[:2]:
        assert data["paths"][path]["epochs"], data["paths"][path]["why_not"]
    assert "--kerashub" in data["paths"]["keras-hub"]["why_not"]
