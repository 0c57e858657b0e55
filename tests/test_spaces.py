"""What a search is over, read from options; and its record, curve and confirmation, without TF."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Outcome
from helpers import one_line

from tfft.api import merge_tune
from tfft.config import TUNABLE, RunConfig, TuneConfig
from tfft.errors import ConfigError, TrainingError
from tfft.results import Trial
from tfft.tuning.confirming import compare
from tfft.tuning.leaving import trials_csv
from tfft.tuning.record import Record
from tfft.tuning.rising import has_diverged, read_curve, rising_rates
from tfft.tuning.roles import role
from tfft.tuning.spaces import Dimension, config_with, parse_spaces, written

# What is given -> what the line must say.
MISTAKES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "low above high": ({"learning_rate": "1e-3:1e-6"}, ("LOW below HIGH", "1e-3:1e-6")),
    "low equal to high": ({"learning_rate": "1e-3:1e-3"}, ("LOW below HIGH",)),
    "a rate of nought": ({"learning_rate": "0:1e-3"}, ("learning_rate", "above 0", "0.0")),
    "a negative rate": ({"learning_rate": "-1e-5:1e-3"}, ("above 0", "-1e-05")),
    "a rate that is a word": ({"learning_rate": "low:high"}, ("a number", "'low'")),
    "an infinite rate": ({"learning_rate": "1e-5:inf"}, ("finite",)),
    "an end that is none": (
        {"space": ["train.clip_norm=none:1"]},
        ("clip_norm", "LOW below HIGH"),
    ),
    "an empty end": ({"learning_rate": "1e-5:"}, ("empty",)),
    "three ends": ({"learning_rate": "1e-5:1e-4:1e-3"}, ("LOW:HIGH",)),
    "a misspelt option": (
        {"space": ["train.batch_sise=8,16"]},
        ("'train.batch_sise'", "did you mean 'train.batch_size'"),
    ),
    "an option without its section": (
        {"space": ["batch_size=8,16"]},
        ("train.batch_size, not batch_size",),
    ),
    "an option that isn't tunable": (
        {"space": ["data.max_length=64,128"]},
        ("data.max_length can't be searched", "train.batch_size"),
    ),
    "a space without values": ({"space": ["train.batch_size"]}, ("section.option=a,b,c",)),
    "a value of another type": ({"space": ["train.batch_size=8,many"]}, ("whole number", "many")),
    "a value out of range": ({"space": ["train.beta_1=0.9:1.0"]}, ("below 1",)),
    "an unknown choice": ({"space": ["train.optimizer=adam,sgd"]}, ("adam", "'sgd'")),
    "a value twice": ({"space": ["train.batch_size=8,8"]}, ("twice",)),
    "an option twice": (
        {"space": ["train.batch_size=8,16", "train.batch_size=16,32"]},
        ("batch_size is given twice",),
    ),
    "the rate as a space too": ({"space": ["train.learning_rate=1e-5,1e-4"]}, ("twice",)),
    "no logarithm": (
        {"space": ["train.warmup=0.0:0.5:log"]},
        ("no logarithm", "linear"),
    ),
    "nothing to search": ({"learning_rate": "3e-5"}, ("nothing to search",)),
    "a decay without AdamW": (
        {"space": ["train.weight_decay=0.0:0.1"]},
        ("a trial with learning_rate 1e-06, weight_decay 0", "adamw"),
    ),
    "no trials": ({"max_trials": 0}, ("max_trials must be at least 1",)),
    "no minutes": ({"max_minutes": 0.0}, ("max_minutes must be above 0",)),
    "no workers": ({"workers": 0}, ("workers must be at least 1",)),
    "one seed": ({"confirm": 1}, ("2 seeds or more",)),
    "an unknown tuner": ({"tuner": "randm"}, ("did you mean 'random'",)),
    "an unknown objective": ({"objective": "acuracy"}, ("did you mean 'accuracy'",)),
    "a range test of a list": (
        {"tuner": "range", "learning_rate": "1e-5,1e-4"},
        ("LOW:HIGH", "range test"),
    ),
    "a range test with a space": (
        {"tuner": "range", "space": ["train.batch_size=8,16"]},
        ("space is for a search",),
    ),
    "an option of fit alone": ({"metric_for_best": "loss"}, ("unknown option",)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_space_that_makes_no_sense_is_a_usage_error(mistake: str) -> None:
    options, told = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        merge_tune({"data": "d.csv", **options})
    message = one_line(caught)
    assert caught.value.options
    for part in told:
        assert part in message


def test_a_mistake_on_the_command_line_exits_with_2(
    tfft_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    arguments = ("tune", "--data", "d.csv", "--output", tmp_path / "out")
    for more in (("--learning-rate", "1e-3:1e-6"), ("--max-trials", "0"), ("--space", "x=1,2")):
        outcome = tfft_cli(*arguments, *more)
        assert outcome.code == 2
        assert outcome.err.strip().splitlines()[-1].startswith("Error: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", TUNABLE)
def test_every_tunable_option_is_one_and_takes_a_list(place: str) -> None:
    value = {
        "train.optimizer": "adamw",
        "train.schedule": "linear",
        "train.freeze": "embeddings",
        "train.epochs": 2,
        "train.steps": 50,
        "train.batch_size": 8,
        "train.batch_tokens": 99,
    }.get(place, 0.5)
    asked = TuneConfig(space=(f"{place}={value}",) * (place != "train.learning_rate"))
    config, fixed = RunConfig.from_options({"data.source": "d", "train.optimizer": "adamw"}), {}
    if place != "train.learning_rate":
        _, fixed = parse_spaces(asked)
    name = place.removeprefix("train.")
    changed = config_with(config, fixed or {name: value})
    assert getattr(changed.train, name) == value


def test_a_range_of_whole_numbers_or_by_the_logarithm_and_a_list_with_none() -> None:
    asked = TuneConfig(
        learning_rate="1e-5:1e-3",
        space=("train.epochs=1:4", "train.clip_norm=none,1", "train.warmup=0:0.2"),
    )
    rate, epochs, clip, warmup = parse_spaces(asked)[0]
    assert (rate.log, warmup.log) == (True, False)
    assert epochs.whole
    assert epochs.value(2.0) == 2
    assert clip.values == (None, 1.0)
    assert rate.gridded().values == (1e-5, 3.162e-5, 1e-4, 3.162e-4, 1e-3)
    assert epochs.gridded().values == (1, 2, 3, 4)


def test_a_value_survives_the_protocol_s_32_bits() -> None:
    dimension = Dimension("learning_rate", low=1e-6, high=1e-3, log=True)
    for code in (1.23456789e-5, 9.99951e-4, 1e-6):
        assert dimension.value(float(np.float32(code))) == dimension.value(code)


def test_python_s_lists_pairs_and_numbers_are_written_as_the_command_line_has_them() -> None:
    assert written([8, 16]) == "8,16"
    assert written((1e-5, 1e-3)) == "1e-05:0.001"
    assert written([None, 1.0]) == "none,1.0"
    assert written("adam,adamw") == "adam,adamw"


def test_steps_go_before_the_config_s_epochs() -> None:
    config = config_with(RunConfig.from_options({"data.source": "d"}), {"steps": 40})
    assert config.train.steps == 40
    assert config_with(config, {"learning_rate": 1e-4}).train.steps == 40


def test_a_record_that_is_of_another_search_or_broken_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "oracle.json"
    record = Record.open(path, {"train.epochs": 3})
    record.add({"begin": "tuner0"})
    assert Record.open(path, {"train.epochs": 3}).events == [{"begin": "tuner0"}]
    with pytest.raises(ConfigError, match=r"another search \(train.epochs 3 there, 2 here\)"):
        Record.open(path, {"train.epochs": 2})
    whole = path.read_text()
    for broken in (whole[: len(whole) // 2], "[]", '{"format": 1}', ""):
        path.write_text(broken)
        with pytest.raises(ConfigError, match=r"oracle.json: can't be read.*trials.json") as caught:
            Record.open(path, {"train.epochs": 3})
        one_line(caught)
        assert path.read_text() == broken


def curve_of(losses: Callable[[np.ndarray], np.ndarray]) -> Any:
    rates = rising_rates(1e-6, 1e-1, n_steps=200)
    noise = np.random.default_rng(0).normal(0.0, 0.05, len(rates))
    return read_curve(rates, losses(np.log10(rates)) + noise)


def test_the_range_test_suggests_where_the_loss_falls_steepest() -> None:
    # Down by a sigmoid about 1e-4, and up again beyond 1e-2.
    curve = curve_of(
        lambda exponents: (
            0.7
            - 0.5 / (1.0 + np.exp(-4.0 * (exponents + 4.0)))
            + 3.0 * np.maximum(exponents + 2, 0)
        )
    )
    assert 3e-5 < curve.suggestion < 3e-4
    assert len(curve.smoothed) == len(curve.losses) == 200
    assert np.ptp(curve.smoothed[:20]) < 0.1  # the noise is gone


def test_a_range_test_that_only_rises_or_diverges_at_once_says_so() -> None:
    with pytest.raises(TrainingError, match="falls nowhere"):
        curve_of(lambda exponents: 6.0 + exponents)
    with pytest.raises(TrainingError, match="after 3 of 50 steps"):
        read_curve(rising_rates(1e-6, 1.0, n_steps=50), np.ones(3))


def test_a_run_has_diverged_when_its_loss_is_far_above_its_lowest() -> None:
    assert not has_diverged([0.7] * 40)
    assert not has_diverged([0.7] * 20 + [5.0])  # one batch says nothing
    assert has_diverged([0.7] * 20 + [5.0] * 10)


def test_a_lead_is_of_the_means_and_the_spread_of_the_seeds() -> None:
    lead, spread = compare([0.5, 0.6], [0.4, 0.5], lower_is_better=False)
    assert lead == pytest.approx(0.1)
    assert spread == pytest.approx(np.std([0.5, 0.6], ddof=1))
    assert compare([0.5, 0.6], [0.4, 0.5], lower_is_better=True)[0] == pytest.approx(-0.1)


def test_the_csv_has_a_column_for_each_option_and_quotes_what_needs_it() -> None:
    trials = [
        Trial(1, {"learning_rate": 1e-5, "schedule": "linear"}, "completed", 0.5, 3, 2, 1.5),
        Trial(2, {"learning_rate": 1e-2, "schedule": "cosine"}, "failed", message="nan, at once"),
    ]
    header, first, second = trials_csv(trials).splitlines()
    assert header.startswith("trial,learning_rate,schedule,status,score")
    assert first == "1,1e-05,linear,completed,0.5,3,2,1.5,"
    assert second == '2,0.01,cosine,failed,,0,,0.0,"nan, at once"'


def test_the_role_is_what_keras_tuner_s_variables_say() -> None:
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": "8000"}
    assert role({}).address is None
    assert not role({**address, "KERASTUNER_TUNER_ID": "chief"}).is_worker
    assert role({**address, "KERASTUNER_TUNER_ID": "worker0"}).is_worker
    with pytest.raises(ConfigError, match="KERASTUNER_TUNER_ID isn't set"):
        role(address)
    with pytest.raises(ConfigError, match="must be a port"):
        role({**address, "KERASTUNER_ORACLE_PORT": "http", "KERASTUNER_TUNER_ID": "chief"})


def test_a_record_is_json_without_a_number_that_isn_t_one(tmp_path: Path) -> None:
    record = Record.open(tmp_path / "oracle.json", {})
    record.add({"told": {"loss": 0.1 + 0.2}})
    assert json.loads(record.path.read_text())["events"][0]["told"]["loss"] == 0.1 + 0.2
