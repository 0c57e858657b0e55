"""The config: what it takes, what it refuses and whose fault it says that is."""

from pathlib import Path
from typing import Any

import pytest
from helpers import one_line

from tfft.api import merge_options
from tfft.config import (
    SECTIONS,
    About,
    RunConfig,
    option_names,
    options_of,
    parse_assignment,
    parse_buckets,
    parse_class_weight,
    read_toml,
)
from tfft.errors import ConfigError

OPTIONS = [about for section in SECTIONS for about in options_of(section).values()]
# One value that isn't the default, for every option.
OTHERS: dict[str, Any] = {
    "data.source": 'a "quoted" name\\with\nlines, é and \x7f',
    "data.task": "multi_label",
    "data.text_column": ("premise", "hypothesis"),
    "data.label_column": ("toxic", "insult"),
    "data.label_delimiter": "; ",
    "data.train_split": "train_2",
    "data.validation_split": "dev",
    "data.drop_missing": True,
    "data.limit_train": 1,
    "data.limit_validation": 10**12,
    "data.max_length": 4,
    "data.loader": "prepare",
    "data.max_shapes": 3,
    "data.buckets": "32,64",
    "data.streaming": True,
    "data.shuffle_buffer": 3,
    "model.source": "org/name@revision",
    "model.reset_head": True,
    "model.threshold": 0.25,
    "train.framework": "pytorch",
    "train.epochs": 1,
    "train.steps": 7,
    "train.evaluate_every": 2,
    "train.batch_size": 12,
    "train.batch_tokens": 4096,
    "train.accumulate": 4,
    "train.precision": "bfloat16",
    "train.xla": True,
    "train.optimizer": "adamw",
    "train.learning_rate": 1e-300,
    "train.schedule": "cosine",
    "train.warmup": 0.25,
    "train.beta_1": 0.0,
    "train.beta_2": 0.5,
    "train.epsilon": 1e-7,
    "train.weight_decay": 0.0,
    "train.layer_decay": 0.5,
    "train.clip_norm": 1.0,
    "train.ema": 0.99,
    "train.freeze": "layers:3",
    "train.loss": "hinge",
    "train.class_weight": "no=1,yes=2.5",
    "train.label_smoothing": 0.1,
    "train.metric_for_best": "loss",
    "train.patience": 1,
    "train.strategy": "mirrored",
    "train.seed": 2**32 - 1,
}
# A loss of Keras leaves no place for the weights of multi_label, steps none for epochs, PyTorch for
# much; the others need buckets.
EXCLUDED = (
    *("train.framework", "train.loss", "train.epochs", "train.batch_tokens", "data.buckets"),
    "train.xla",
)
ALL_TOGETHER = {place: value for place, value in OTHERS.items() if place not in EXCLUDED}
ALL_TOGETHER["data.loader"] = "bucketed"
# What an option doesn't go without.
NEEDED: dict[str, dict[str, Any]] = {
    "train.weight_decay": {"train.optimizer": "adamw"},
    "data.streaming": {"train.steps": 7},
    "data.shuffle_buffer": {"train.steps": 7, "data.streaming": True},
}


def refusal(options: dict[str, Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_options(options)
    one_line(caught)
    return caught.value


def toml(folder: Path, content: str | bytes) -> Path:
    path = folder / "run.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def value_at(config: RunConfig, place: str) -> Any:
    section, name = place.split(".")
    return getattr(getattr(config, section), name)


def test_every_option_has_a_value_here_that_is_not_its_default() -> None:
    assert {about.place: about.default for about in OPTIONS}.keys() == OTHERS.keys()
    assert [about.place for about in OPTIONS if about.default == OTHERS[about.place]] == []


@pytest.mark.parametrize("about", OPTIONS, ids=lambda about: about.place)
def test_an_option_has_a_help_text_that_is_a_sentence(about: About) -> None:
    assert about.help[0].isupper() or about.help.startswith("numpy")
    assert about.help.endswith(".")


def test_no_two_options_have_one_name() -> None:
    assert len(option_names()) == len(OPTIONS)
    assert set(option_names().values()) == {about.place for about in OPTIONS}


@pytest.mark.parametrize("place", OTHERS)
def test_an_option_reaches_its_place(place: str) -> None:
    config = RunConfig.from_options({**NEEDED.get(place, {}), place: OTHERS[place]})
    assert value_at(config, place) == OTHERS[place]


@pytest.mark.parametrize(
    "options",
    [{}, ALL_TOGETHER, *({**NEEDED.get(place, {}), place: OTHERS[place]} for place in OTHERS)],
    ids=["defaults", "all", *OTHERS],
)
def test_a_config_that_is_written_is_read_as_the_same(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    config = RunConfig.from_options(options)
    assert RunConfig.from_options(read_toml(toml(tmp_path, config.to_toml()))) == config


def test_the_default_model_goes_with_the_data() -> None:
    sources = ["glue/cola", "builtin/acceptability", ""]
    models = [RunConfig.from_options({"data.source": each}).model.source for each in sources]
    assert models == ["bert-base-cased", "builtin/minilm", "bert-base-cased"]


def test_adamw_decays_unless_told_otherwise() -> None:
    assert RunConfig.from_options({"train.optimizer": "adamw"}).train.weight_decay == 0.01
    assert RunConfig.from_options({}).train.weight_decay is None


def test_a_whole_number_will_do_for_a_number() -> None:
    rate = RunConfig.from_options({"train.learning_rate": 1}).train.learning_rate
    assert isinstance(rate, float)


@pytest.mark.parametrize("place", ["data.buckets", "train.batch_tokens"])
@pytest.mark.parametrize("loader", [{}, {"data.loader": "auto"}, {"data.loader": "bucketed"}])
def test_what_is_for_buckets_takes_the_bucketed_loader(place: str, loader: dict[str, str]) -> None:
    assert RunConfig.from_options({place: OTHERS[place], **loader}).data.loader == "bucketed"
    error = refusal({place: OTHERS[place], "data.loader": "numpy"})
    assert set(error.options) == {place, "data.loader"}


def test_a_step_is_measured_in_rows_or_in_tokens() -> None:
    error = refusal({"train.batch_tokens": 4096, "train.batch_size": 16})
    assert "batch_tokens stands in the place of batch_size" in str(error)


def test_buckets_are_chosen_or_named() -> None:
    assert set(refusal({"data.buckets": "32,64", "data.max_shapes": 3}).options) == {
        "data.buckets",
        "data.max_shapes",
    }


@pytest.mark.parametrize("text", ["", "a", "32,", "32 64", "0,8", "-3", "1.5"])
def test_buckets_that_are_no_lengths_are_refused(text: str) -> None:
    assert "whole numbers above 0" in str(refusal({"data.buckets": text}))


def test_buckets_are_read_in_order() -> None:
    assert parse_buckets("128, 32,64,32") == (32, 64, 128)


def test_one_text_column_needs_no_list() -> None:
    assert RunConfig.from_options({"data.text_column": "review"}).data.text_column == ("review",)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("train.epochs", "3", "a whole number"),
        ("train.epochs", 3.0, "a whole number"),
        ("train.epochs", True, "a whole number"),
        ("train.epochs", None, "a whole number"),
        ("train.learning_rate", "fast", "a number"),
        ("train.learning_rate", True, "a number"),
        ("data.drop_missing", 1, "true or false"),
        ("data.drop_missing", "yes", "true or false"),
        ("data.label_column", 5, "a text or a list of"),
        ("data.source", ["a"], "a text"),
        ("data.text_column", [1], "a text or a list of"),
        ("data.limit_train", "all", "a whole number"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(place: str, value: Any, expected: str) -> None:
    error = refusal({place: value})
    name = next(name for name, each in option_names().items() if each == place)
    assert str(error).startswith(f"{name} must be {expected}")
    assert str(error).endswith(f"not {value!r}")
    assert error.options == (place,)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("train.epochs", 0, "at least 1"),
        ("train.batch_size", -16, "at least 1"),
        ("train.learning_rate", 0.0, "above 0"),
        ("train.learning_rate", float("nan"), "a finite number"),
        ("train.learning_rate", float("inf"), "a finite number"),
        ("train.learning_rate", float("-inf"), "a finite number"),
        ("train.beta_1", 1.0, "below 1"),
        ("train.beta_2", -0.1, "at least 0"),
        ("train.epsilon", 0, "above 0"),
        ("train.weight_decay", -1e-9, "at least 0"),
        ("train.weight_decay", float("nan"), "a finite number"),
        ("train.seed", -1, "at least 0"),
        ("train.seed", 2**32, "below"),
        ("train.patience", 0, "at least 1"),
        ("train.accumulate", 0, "at least 1"),
        ("train.warmup", -0.1, "at least 0"),
        ("train.layer_decay", 0.0, "above 0"),
        ("train.layer_decay", 1.01, "at most 1"),
        ("train.clip_norm", 0.0, "above 0"),
        ("train.ema", 0.0, "above 0"),
        ("train.ema", 1.0, "below 1"),
        ("train.label_smoothing", 1.0, "below 1"),
        ("data.limit_train", 0, "at least 1"),
        ("data.limit_validation", 0, "at least 1"),
        ("data.max_length", 3, "at least 4"),
        ("data.text_column", ["a", "b", "c"], "at most 2"),
    ],
)
def test_a_value_out_of_range_is_refused(place: str, value: Any, expected: str) -> None:
    error = refusal({place: value})
    assert f"must be {expected}" in str(error)
    assert error.options == (place,)


@pytest.mark.parametrize("place", [about.place for about in OPTIONS if about.choices])
def test_what_is_no_choice_is_refused_with_the_nearest(place: str) -> None:
    choice = OTHERS[place]
    error = refusal({place: f"{choice}x"})
    assert f"did you mean '{choice}'?" in str(error)
    assert error.options == (place,)


@pytest.mark.parametrize(
    ("options", "at_fault"),
    [
        ({"train.weight_decay": 0.1}, {"train.weight_decay", "train.optimizer"}),
        (
            {"train.weight_decay": 0.1, "train.optimizer": "adam"},
            {"train.weight_decay", "train.optimizer"},
        ),
        ({"data.text_column": ["a", "a"]}, {"data.text_column"}),
        (
            {"data.text_column": "a", "data.label_column": "a"},
            {"data.text_column", "data.label_column"},
        ),
        ({"data.label_column": ["a", "a"]}, {"data.label_column"}),
        (
            {"data.label_column": ["a", "b"], "data.task": "regression"},
            {"data.label_column", "data.task"},
        ),
        (
            {"model.threshold": 0.3, "data.task": "single_label"},
            {"model.threshold", "data.task"},
        ),
        (
            {"data.label_delimiter": ";", "data.task": "single_label"},
            {"data.label_delimiter", "data.task"},
        ),
        (
            {"train.class_weight": "balanced", "data.task": "regression"},
            {"train.class_weight", "data.task"},
        ),
        (
            {
                "train.class_weight": "balanced",
                "train.loss": "hinge",
                "data.task": "multi_label",
            },
            {"train.class_weight", "data.task"},
        ),
        ({"train.loss": "huber", "data.task": "single_label"}, {"train.loss", "data.task"}),
        (
            {"train.metric_for_best": "pearson", "data.task": "multi_label"},
            {"train.metric_for_best", "data.task"},
        ),
        (
            {"train.batch_size": 10, "train.accumulate": 4},
            {"train.batch_size", "train.accumulate"},
        ),
        ({"train.accumulate": 3}, {"train.batch_size", "train.accumulate"}),
        ({"train.warmup": 1.5}, {"train.warmup"}),
        (
            {"train.schedule": "polynomial", "train.learning_rate": 1e-7},
            {"train.schedule", "train.learning_rate"},
        ),
        (
            {"train.label_smoothing": 0.1, "train.loss": "hinge"},
            {"train.label_smoothing", "train.loss"},
        ),
        (
            {"train.label_smoothing": 0.1, "data.task": "regression"},
            {"train.label_smoothing", "data.task"},
        ),
        (
            {"train.freeze": "all-but-head", "train.layer_decay": 0.9},
            {"train.freeze", "train.layer_decay"},
        ),
        ({"train.freeze": "layers:0"}, {"train.freeze"}),
        ({"train.freeze": "layers"}, {"train.freeze"}),
        ({"train.freeze": "head"}, {"train.freeze"}),
        ({"train.class_weight": "no=0"}, {"train.class_weight"}),
        ({"train.class_weight": "no=1,no=2"}, {"train.class_weight"}),
        ({"train.class_weight": "heavy"}, {"train.class_weight"}),
        ({"train.class_weight": "=1"}, {"train.class_weight"}),
        ({"train.class_weight": "no=nan"}, {"train.class_weight"}),
        ({"train.steps": 9, "train.epochs": 3}, {"train.steps", "train.epochs"}),
        ({"data.streaming": True}, {"data.streaming", "train.steps"}),
        ({"data.streaming": True, "train.epochs": 3}, {"data.streaming", "train.steps"}),
        (
            {"data.streaming": True, "train.steps": 9, "data.loader": "numpy"},
            {"data.streaming", "data.loader"},
        ),
        ({"data.shuffle_buffer": 9}, {"data.shuffle_buffer"}),
        ({"data.validation_split": "train"}, {"data.train_split", "data.validation_split"}),
        ({"data.train_split": "validation"}, {"data.train_split", "data.validation_split"}),
    ],
)
def test_a_contradiction_is_refused_with_the_options_at_fault(
    options: dict[str, Any], at_fault: set[str]
) -> None:
    assert set(refusal(options).options) == at_fault


def test_an_unknown_option_of_a_section_is_refused_with_the_nearest() -> None:
    error = refusal({"train.epoch": 1})
    assert "unknown option 'train.epoch' (did you mean 'epochs'?); [train] has framework, " in str(
        error
    )
    assert error.options == ("train.epoch",)


# --- TOML ---


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[train]\nepoch = 1\n", "unknown option 'train.epoch' (did you mean 'epochs'?)"),
        ("[trian]\nepochs = 1\n", "unknown section 'trian' (did you mean 'train'?)"),
        ("epochs = 1\n", "unknown section 'epochs'"),
        ("train = 1\n", "unknown section 'train'"),
        ("[[train]]\nepochs = 1\n", "unknown section 'train'"),
        ("[train\n", "not TOML"),
        ("[train]\nepochs = 1\nepochs = 2\n", "not TOML"),
        (b"[data]\nsource = 'caf\xe9'\n", "can't be read"),
        ("[train]\nepochs = '1'\n", "epochs must be a whole number, not '1'"),
        ("[train]\nepochs = true\n", "epochs must be a whole number, not True"),
        ("[train]\nlearning_rate = nan\n", "learning_rate must be a finite number, not nan"),
        ("[train]\nlearning_rate = -1.0\n", "learning_rate must be above 0"),
        ("[train]\nloss = 'hing'\n", "did you mean 'hinge'?"),
        ("[train]\nweight_decay = 0.1\n", "weight_decay needs optimizer adamw"),
        ("[data]\ntext_column = ['a', 'b', 'c']\n", "at most 2"),
    ],
)
def test_a_tomls_error_names_the_file_and_no_flag(
    tmp_path: Path, content: str | bytes, told: str
) -> None:
    path = toml(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        merge_options({"data": "glue/cola"}, config=path)
    message = one_line(caught)
    assert message.startswith(f"{path}: ")
    assert told in message
    assert caught.value.options == ()


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_toml_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        merge_options({}, config=tmp_path / name)
    assert str(tmp_path / name) in one_line(caught)


def test_a_flag_goes_before_an_assignment_before_a_toml_before_the_default(tmp_path: Path) -> None:
    path = toml(tmp_path, "[train]\nepochs = 5\nbatch_size = 6\nseed = 7\n")
    merged = merge_options(
        {"epochs": 1}, assignments=("train.epochs=2", "train.batch_size=3"), config=path
    ).train
    assert (merged.epochs, merged.batch_size, merged.seed, merged.learning_rate) == (1, 3, 7, 3e-5)


def test_steps_go_before_a_tomls_epochs_and_epochs_before_its_steps(tmp_path: Path) -> None:
    path = toml(tmp_path, "[train]\nepochs = 5\n")
    assert merge_options({"steps": 9}, config=path).train.steps == 9
    path = toml(tmp_path, RunConfig.from_options({"train.steps": 9}).to_toml())
    assert merge_options({}, config=path).train.steps == 9
    assert merge_options({"epochs": 2}, config=path).train.epochs == 2


def test_a_flag_mends_what_is_wrong_in_a_toml(tmp_path: Path) -> None:
    path = toml(tmp_path, "[train]\nepochs = 0\n")
    assert merge_options({"epochs": 1}, config=path).train.epochs == 1


def test_a_flag_that_contradicts_a_toml_is_at_fault(tmp_path: Path) -> None:
    path = toml(tmp_path, "[train]\noptimizer = 'adamw'\nweight_decay = 0.1\n")
    with pytest.raises(ConfigError) as caught:
        merge_options({"optimizer": "adam"}, config=path)
    assert "train.optimizer" in caught.value.options


@pytest.mark.parametrize("beside", ["", "[train]\nseed = 1\n"])
def test_a_flags_error_beside_a_good_toml_is_the_flags(tmp_path: Path, beside: str) -> None:
    with pytest.raises(ConfigError) as caught:
        merge_options({"epochs": 0}, config=toml(tmp_path, beside))
    assert caught.value.options == ("train.epochs",)


def test_an_unknown_keyword_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        merge_options({"learning_rat": 1e-3})
    assert "unknown option 'learning_rat' (did you mean 'learning_rate'?)" in one_line(caught)
    assert caught.value.options == ("learning_rat",)


# --- --set ---


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("train.epochs=1", "train.epochs", 1),
        (" train.epochs = 1 ", "train.epochs", 1),
        ("train.learning_rate=3e-5", "train.learning_rate", 3e-5),
        ("data.drop_missing=true", "data.drop_missing", True),
        ("data.source=glue/cola", "data.source", "glue/cola"),
        ("data.source='1'", "data.source", "1"),
        ("data.source=a=b", "data.source", "a=b"),
        ('data.text_column=["a", "b"]', "data.text_column", ["a", "b"]),
        ("data.label_column=", "data.label_column", ""),
    ],
)
def test_an_assignment_is_read_as_toml_reads_it_else_as_a_text(
    text: str, name: str, value: Any
) -> None:
    assert parse_assignment(text) == (name, value)


@pytest.mark.parametrize("text", ["train.epochs", "=1", "", "epochs=1", "train.epoch=1", "a.b=1"])
def test_an_assignment_to_no_option_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_assignment(text)
    assert one_line(caught)


@pytest.mark.parametrize("text", ["train.epochs=many", "train.epochs=true", "train.epoch=1"])
def test_an_assignment_that_is_wrong_is_the_flags_fault(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        merge_options({}, assignments=(text,))
    assert caught.value.options


def test_a_list_option_takes_a_text_or_a_list_of_texts_alone() -> None:
    assert RunConfig.from_options({"data.text_column": "a"}).data.text_column == ("a",)
    for value in (5, False, {"a": 1}, [1]):
        with pytest.raises(ConfigError, match="text_column must be a text or a list of texts"):
            RunConfig.from_options({"data.text_column": value})


def test_a_number_beyond_all_floats_is_refused() -> None:
    with pytest.raises(ConfigError, match="finite"):
        RunConfig.from_options({"train.learning_rate": 10**400})


def test_set_keeps_a_text_that_reads_as_a_number() -> None:
    assert parse_assignment("data.source=1") == ("data.source", "1")
    assert parse_assignment("train.seed=1\nx=2")[1] != 1


def test_a_class_s_name_may_hold_a_comma() -> None:
    assert parse_class_weight("yes, but=2,no=1") == {"yes, but": 2.0, "no": 1.0}
    assert parse_class_weight("Balanced") is None
