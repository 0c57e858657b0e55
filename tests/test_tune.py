"""A search: what it leaves, that it goes on where it was killed, and that workers share it."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Outcome
from helpers import Told, one_line

import tfft
from tfft.config import TuneConfig
from tfft.errors import ConfigError, TfftError, TrainingError
from tfft.progress import Progress, SearchView
from tfft.results import Trial, TuneResult
from tfft.tuning.record import Record
from tfft.tuning.spaces import Dimension, parse_spaces
from tfft.tuning.telling import EPOCHS, telling
from tfft.tuning.trying import Workshop

SEARCH: dict[str, Any] = {
    "learning_rate": (1e-4, 1e-1),
    "space": {"train.batch_size": [8, 16]},
    "max_trials": 3,
    "epochs": 2,
    "objective": "loss",
}
TUNERS = ("random", "bayesian", "hyperband", "grid")
# Tries out trials in a process that is killed in the one of that number.
KILLED = """
import json, os, signal, sys
import tfft
from tfft.tuning.trying import Workshop
options, last = json.loads(sys.argv[1]), int(sys.argv[2])
honest, n_begun = Workshop.try_out, 0
def try_out(self, *args, **kwargs):
    global n_begun
    n_begun += 1
    if n_begun == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(self, *args, **kwargs)
Workshop.try_out = try_out
options["learning_rate"] = tuple(options["learning_rate"])
tfft.tune(**options)
"""


@pytest.fixture(scope="module")
def options(tiny: Path, reviews: Path) -> dict[str, Any]:
    return {"data": str(reviews), "model": str(tiny), **SEARCH}


@pytest.fixture(scope="module")
def searched(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    """One that nothing disturbed."""
    return tfft.tune(output=tmp_path_factory.mktemp("searches") / "whole", **options)


def same(trials: tuple[Trial, ...]) -> list[dict[str, Any]]:
    """All but the time that they took."""
    return [each.to_json() | {"seconds": 0} for each in trials]


def test_a_search_leaves_its_trials_the_winner_and_its_config(searched: TuneResult) -> None:
    folder = searched.output
    trials = json.loads((folder / "trials.json").read_text())
    assert [each["trial"] for each in trials] == [1, 2, 3]
    assert {each["status"] for each in trials} == {"completed"}
    assert searched.best is not None
    assert searched.best.score == min(each["score"] for each in trials)
    with (folder / "trials.csv").open() as rows:
        table = list(csv.DictReader(rows))
    assert [float(row["score"]) for row in table] == [each["score"] for each in trials]
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 2  # the score against the rate, and against the batch's size
    assert "learning_rate" in page
    assert searched.held_out == 4  # a tenth of 45 rows


def test_the_only_weights_on_disk_are_the_winner_s(searched: TuneResult) -> None:
    found = [each.relative_to(searched.output) for each in searched.output.rglob("*.safetensors")]
    assert found == [Path("best/model/model.safetensors")]


def test_the_winner_is_scored_on_validation_once(searched: TuneResult) -> None:
    history = json.loads((searched.output / "best" / "history.json").read_text())
    assert len(history) == 1
    metrics = json.loads((searched.output / "best" / "metrics.json").read_text())
    assert metrics["validation"] == searched.validation
    assert metrics["validation"]["n_examples"] == 21
    assert metrics["train"]["n_examples"] == 45


def test_best_toml_does_the_winner_s_run_again(searched: TuneResult, tmp_path: Path) -> None:
    again = tfft.fit(config=searched.output / "best.toml", output=tmp_path / "again")
    assert again.validation == searched.validation


def test_a_search_killed_in_its_third_trial_goes_on_to_the_same_result(
    options: dict[str, Any],
    searched: TuneResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps({**options, "output": str(output)}), "3"],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert len(json.loads((tmp_path / "out.partial" / "trials.json").read_text())) == 3
    begun: list[str] = []
    honest = Workshop.try_out

    def counted(self: Workshop, *args: Any, name: str) -> dict[str, float]:
        begun.append(name)
        return honest(self, *args, name=name)

    monkeypatch.setattr(Workshop, "try_out", counted)
    told = Told()
    result = tfft.tune(output=output, progress=told, **options)
    assert begun == ["trial 3"]
    assert "going on: 2 trials are done already" in told.notes
    assert same(result.trials) == same(searched.trials)
    assert result.validation == searched.validation
    assert not (tmp_path / "out.partial").exists()


def test_another_search_s_folder_and_a_broken_record_are_refused_and_stay(
    options: dict[str, Any], tmp_path: Path
) -> None:
    partial = tmp_path / "out.partial"
    partial.mkdir()
    path = partial / "oracle.json"
    path.write_text('{"format": 1, "search": {"tuner": "grid"}, "more": {}, "events": []}')
    with pytest.raises(ConfigError, match="holds another search"):
        tfft.tune(output=tmp_path / "out", **options)
    path.write_text('{"format": 1, "sea')
    with pytest.raises(ConfigError, match=r"oracle.json: can't be read") as caught:
        tfft.tune(output=tmp_path / "out", **options)
    one_line(caught)
    assert path.read_text() == '{"format": 1, "sea'
    path.rename(partial / "trials.json")
    with pytest.raises(ConfigError, match="holds the trials of an interrupted search"):
        tfft.tune(output=tmp_path / "out", **options)
    assert (partial / "trials.json").exists()


def test_an_objective_that_the_task_doesn_t_report_is_told_with_those_that_it_does(
    options: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"objective pearson.*loss, accuracy, f1,") as caught:
        tfft.tune(output=tmp_path / "out", **{**options, "objective": "pearson"})
    one_line(caught)
    assert not list(tmp_path.iterdir())


def test_a_finished_search_s_folder_is_refused_without_overwrite(
    options: dict[str, Any], searched: TuneResult
) -> None:
    with pytest.raises(ConfigError, match="exists"):
        tfft.tune(output=searched.output, **options)


def test_a_trial_that_diverges_has_failed_and_the_search_goes_on(
    options: dict[str, Any], tfft_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    arguments = ("--data", options["data"], "--model", options["model"], "--epochs", 1)
    outcome = tfft_cli(
        "tune",
        *(*arguments, "--output", tmp_path / "out", "--tuner", "grid", "--confirm", 2),
        *("--learning-rate", "1e30,1e-3,2e-3", "--batch-size", 8, "--objective", "loss"),
    )
    assert outcome.code == 0, outcome.err
    first, *others = json.loads((tmp_path / "out" / "trials.json").read_text())
    assert (first["status"], first["score"]) == ("failed", None)
    assert "the loss is" in first["message"]
    assert {each["status"] for each in others} == {"completed"}
    lines = outcome.err.splitlines()
    assert any(re.match(r"trial 1  learning_rate 1e\+30  failed: the loss is", e) for e in lines)
    assert "leads trial" in outcome.out
    assert "over 2 seeds" in outcome.out
    hopeless = ("--output", tmp_path / "none", "--learning-rate", "1e30,1e31", "--tuner", "grid")
    outcome = tfft_cli("tune", *arguments, *hopeless)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith("error: all 2 trials failed; the last: the loss")


def test_a_range_test_suggests_a_rate_and_draws_its_curve(
    options: dict[str, Any], tfft_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    arguments = ("--data", options["data"], "--model", options["model"], "--tuner", "range")
    rates = ("--learning-rate", "1e-5:1.0", "--batch-size", 8)
    outcome = tfft_cli("tune", *arguments, *rates, "--output", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    suggested = json.loads(outcome.out)["suggestion"]
    assert 1e-5 < suggested < 1.0
    toml = (tmp_path / "out" / "best.toml").read_text()
    assert f"learning_rate = {suggested}" in toml
    assert "suggested:" in (tmp_path / "out" / "report.html").read_text()


def test_workers_of_both_kinds_and_workers_without_trials_are_refused(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TUNER_ID", "chief"), ("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "9")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    with pytest.raises(ConfigError, match="workers 2 starts a chief of its own"):
        tfft.tune(output=tmp_path / "out", workers=2, **options)
    with pytest.raises(ConfigError, match="range test has no trials to share"):
        tfft.tune(
            data=options["data"], model=options["model"], output=tmp_path / "out", tuner="range"
        )
    assert not list(tmp_path.iterdir())


def test_keras_tuner_is_asked_for_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfft.backend.find_spec", lambda name: None)
    with pytest.raises(TfftError, match=r'pip install "tfft\[tune\]"'):
        tfft.tune(data="no such file", output=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def score_of(values: Mapping[str, Any]) -> float:
    """The best rate is 1e-4, the best size 16."""
    import math

    return -((math.log10(values["learning_rate"]) + 4.0) ** 2) - abs(values["batch_size"] - 16) / 9


def spaces() -> tuple[Dimension, ...]:
    asked = TuneConfig(learning_rate="1e-6:1e-2", space=("train.batch_size=8,16,32",))
    return parse_spaces(asked)[0]


def open_one(kind: str, path: Path, **more: Any) -> Any:
    from tfft.tuning.oracles import open_oracle

    about = {"objective": "accuracy", "seed": 0, "most_trials": 9, "most_epochs": 9, **more}
    return open_oracle(kind, spaces(), record=Record.open(path, {}), **about)


def try_all(oracle: Any, *, stop_after: int | None = None) -> None:
    """Trials whose scores are a formula; of every fifth one there is none."""
    from tfft.tuning.tuner import Tuner

    def try_out(trial_id: str, codes: Mapping[str, Any]) -> Mapping[str, float]:
        if int(trial_id) == stop_after:
            raise KeyboardInterrupt
        if int(trial_id) % 5 == 3:
            raise TrainingError("the loss is nan")
        about = {"epochs": 3, "best_epoch": 2, "seconds": 0.1}
        return telling({"accuracy": score_of(oracle.values(codes))}, about)

    Tuner(oracle, try_out).search()


@pytest.mark.parametrize("kind", TUNERS)
def test_every_oracle_goes_on_from_its_record_as_if_nothing_had_been(
    kind: str, tmp_path: Path
) -> None:
    # A Gaussian process takes a second or more a trial, from the second half on.
    n_trials, stops = (6, (4,)) if kind == "bayesian" else (9, (1, 4, 7))
    whole = open_one(kind, tmp_path / "whole.json", most_trials=n_trials)
    try_all(whole)
    assert len(whole.results) == n_trials
    for stop in stops:
        path = tmp_path / f"{stop}.json"
        with pytest.raises(KeyboardInterrupt):
            try_all(open_one(kind, path, most_trials=n_trials), stop_after=stop)
        resumed = open_one(kind, path, most_trials=n_trials)
        resumed.replay()
        assert [each.status for each in resumed.results][stop] == "unfinished"
        try_all(resumed)
        assert resumed.results == whole.results
    assert {each.status for each in whole.results} == {"completed", "failed"}


def test_a_seed_of_nought_is_one_and_others_search_elsewhere(tmp_path: Path) -> None:
    def values(name: str, seed: int) -> list[Any]:
        oracle = open_one("random", tmp_path / name, seed=seed)
        try_all(oracle)
        return [each.values for each in oracle.results]

    assert values("a", 0) == values("b", 0) != values("c", 1)


def test_more_trials_can_be_asked_for_later(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    try_all(open_one("random", path, most_trials=4))
    longer = open_one("random", path, most_trials=11)
    longer.replay()
    try_all(longer)
    assert len(longer.results) == 11


def test_no_trial_begins_when_the_time_is_up_but_for_the_first(tmp_path: Path) -> None:
    oracle = open_one("random", tmp_path / "record.json")
    oracle.is_late = lambda: True
    try_all(oracle)
    assert len(oracle.results) == 1


def test_hyperband_s_trials_have_rounds_of_more_and_more_epochs(tmp_path: Path) -> None:
    oracle = open_one("hyperband", tmp_path / "record.json", most_trials=None)
    try_all(oracle)
    epochs = [each.hyperparameters.values[EPOCHS] for each in oracle.trials.values()]
    assert set(epochs) == {1, 3, 9}
    assert epochs.count(1) > epochs.count(3) > 0


def test_a_record_of_other_values_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    try_all(open_one("random", path, most_trials=2))
    document = json.loads(path.read_text())
    document["events"][0]["values"]["learning_rate"] *= 2
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="trial 1 has other values") as caught:
        open_one("random", path).replay()
    one_line(caught)


def test_a_search_that_can_t_write_its_record_ends(tmp_path: Path) -> None:
    oracle = open_one("random", tmp_path / "gone" / "record.json")
    with pytest.raises(TfftError, match="can't be written"):
        try_all(oracle)


@pytest.fixture
def chief(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """One that listens on 127.0.0.1, in a thread, for 9 trials."""
    import socket

    from tfft.tuning import chief as module

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(module, "LEASE_S", 1.5)
    oracle = open_one("random", tmp_path / "chief.json")
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            module.hand_out(oracle, address=f"127.0.0.1:{port}", config=None, asked=None)  # type: ignore[arg-type]
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return SimpleNamespace(
        oracle=oracle, address=f"127.0.0.1:{port}", port=port, thread=thread, failures=failures
    )


def client(chief: SimpleNamespace, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    from keras_tuner.src.distribute import oracle_client

    monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(chief.port))
    return oracle_client.OracleClient(chief.oracle)


def test_a_silent_worker_s_trial_goes_to_another_and_the_chief_ends(
    chief: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, alive = (client(chief, name, monkeypatch) for name in ("worker0", "worker1"))
    lost = dead.create_trial("worker0").trial_id
    done = []
    while (trial := alive.create_trial("worker1")).status != "STOPPED":
        if trial.status == "IDLE":  # until the lease of the lost one runs out
            time.sleep(0.2)
            continue
        figures = {"accuracy": score_of(chief.oracle.values(trial.hyperparameters.values))}
        about = {"epochs": 1, "best_epoch": 1, "seconds": 0.0}
        alive.update_trial(trial.trial_id, telling(figures, about))
        trial.status = "COMPLETED"
        alive.end_trial(trial)
        done.append(trial.trial_id)
    chief.thread.join(timeout=20)
    assert not chief.thread.is_alive()
    assert not chief.failures
    assert sorted(done) == sorted(set(done))
    assert done[-1] == lost
    assert {each.status for each in chief.oracle.results} == {"completed"}


def test_a_chief_whose_port_is_taken_says_so(chief: SimpleNamespace, tmp_path: Path) -> None:
    from tfft.tuning.chief import hand_out

    oracle = open_one("random", tmp_path / "second.json")
    with pytest.raises(ConfigError, match=r"nothing can listen at 8\.8\.8\.8:1") as caught:
        hand_out(oracle, address="8.8.8.8:1", config=None, asked=None)  # type: ignore[arg-type]
    one_line(caught)


def test_a_chief_that_isn_t_there_is_one_line(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfft.tuning.worker.REACH_S", 0.5)
    for name, value in (("TUNER_ID", "worker0"), ("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "9")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    with pytest.raises(TrainingError, match=r"chief at 127\.0\.0\.1:9 can't be reached") as caught:
        tfft.tune(output=tmp_path / "out", **options)
    one_line(caught)
    assert not list(tmp_path.iterdir())


def test_two_workers_share_a_search_and_one_that_is_killed_gives_its_trial_back(
    options: dict[str, Any],
    searched: TuneResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfft.tuning import crew

    victims: list[int] = []

    class Killer(Progress):
        """Kills the worker of the first trial once it has begun."""

        def trial(self, changed: Trial, so_far: Any, search: SearchView) -> None:
            if not victims:
                process = crews[0].processes[self.worker()]
                victims.append(process.pid)
                os.kill(process.pid, signal.SIGKILL)

        def worker(self) -> str:
            events = json.loads((tmp_path / "out.partial" / "oracle.json").read_text())["events"]
            return events[0]["begin"]

    crews: list[crew.Crew] = []
    honest = crew.Crew

    def noted(*args: Any) -> crew.Crew:
        crews.append(honest(*args))
        return crews[-1]

    monkeypatch.setattr(crew, "Crew", noted)
    result = tfft.tune(output=tmp_path / "out", workers=2, progress=Killer(), **options)
    assert len(victims) == 1
    events = json.loads((tmp_path / "out" / "oracle.json").read_text())["events"]
    ended = [each["end"] for each in events if "end" in each]
    assert len(ended) == len(set(ended)) == 3
    assert sum("back" in each for each in events) == 1
    assert [each.values for each in result.trials] == [each.values for each in searched.trials]


def test_the_live_table_has_every_trial_and_marks_the_best() -> None:
    import io

    from rich.console import Console

    from tfft.cli.show import LiveProgress

    written = io.StringIO()
    live = LiveProgress(Console(file=written, force_terminal=True, width=100))
    trials = [
        Trial(1, {"learning_rate": 1e-5}, "completed", 0.5, 3, 2, 10.0),
        Trial(2, {"learning_rate": 1e-2}, "failed", message="the loss is nan; try"),
        Trial(3, {"learning_rate": 1e-4}, "running"),
    ]
    live.trial(trials[2], trials, SearchView("accuracy", 3))
    with live.steps("trial 3, epoch 1/3", 16) as step:
        step(16, 0.5)
    live.close()
    shown = written.getvalue()
    for part in ("0.5000", "best", "failed: the loss is nan", "running", "epoch 1/3"):
        assert part in shown


def test_keras_tuner_s_own_search_drives_a_compiled_model(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    from tfft.backend import keras_tuner

    train, validation = tfft.load_data(str(reviews), tokenizer=str(tiny), batch_size=16)

    def build(hp: Any) -> Any:
        rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
        return tfft.build_model(str(tiny), label_names=train.label_names, learning_rate=rate)

    tuner = keras_tuner.RandomSearch(
        build, objective="val_loss", max_trials=2, seed=1, directory=tmp_path
    )
    tuner.search(train.dataset, validation_data=validation.dataset, epochs=1, verbose=0)
    assert 1e-4 <= tuner.get_best_hyperparameters()[0]["learning_rate"] <= 1e-2
