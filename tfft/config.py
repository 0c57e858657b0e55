"""What a run was asked to do: frozen, checked, the only home of a default.

    config = RunConfig.from_options({"data.source": "glue/cola", "train.epochs": 1})
    config.train.learning_rate       # 3e-05
    config.to_toml()                 # what run.toml holds; `read_toml` gives it back

A field of a section is an option everywhere: `epochs` in Python, `--epochs` on the command line,
`epochs` under `[train]` in a TOML, `train.epochs` for `--set`. Its help text, its range and its
choices stand beside it, once.
"""

from __future__ import annotations

import math
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from tfft.certificate import tolerances
from tfft.errors import ConfigError, listed, nearest
from tfft.tasks import LOSSES, METRIC_NAMES, TASKS

LOADERS = ("numpy", "prepare", "to_tf", "bucketed")
FRAMEWORKS = ("tensorflow", "pytorch", "trainer")
OPTIMIZERS = ("adam", "adamw")
STRATEGIES = ("auto", "none", "mirrored")
FORMATS = ("saved_model", "torch", "onnx", "tflite")
PRECISIONS = ("float32", "bfloat16", "float16")
SCHEDULES = ("constant", "linear", "cosine", "polynomial")
TUNERS = ("random", "bayesian", "hyperband", "grid", "range")
# The rate that `polynomial` ends with: transformers' lr_end.
POLYNOMIAL_END = 1e-7


def option(
    default: Any,
    help: str,  # noqa: A002 - the field's word for it, as click has it
    *,
    flag: str | None = None,
    metavar: str | None = None,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    maximum: float | None = None,
    most: int | None = None,
) -> Any:
    """A field with all that the command line and the checks need to know of it.

    Args:
        flag: its name as an option, where it isn't the field's own.
        metavar: what stands for its value in a help text.
        minimum, maximum: bounds, included.
        above, below: bounds, not included.
        most: how many values a field that takes several may have.
    """
    about = {
        "help": help,
        "flag": flag,
        "metavar": metavar,
        "choices": choices,
        "minimum": minimum,
        "above": above,
        "below": below,
        "maximum": maximum,
        "most": most,
    }
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class DataConfig:
    source: str = option(
        "",
        "A folder of train|validation|test files, one file (csv, tsv, jsonl, json, parquet), "
        "builtin/acceptability, glue/cola, or a hub id (org/name:config@revision).",
        flag="data",
    )
    task: str = option(
        "auto",
        "What to learn. auto takes it from the label: fractions, or a column named score, are "
        "regression; lists, several 0/1 columns and texts with a label_delimiter multi_label; the "
        "rest single_label.",
        choices=("auto", *TASKS),
    )
    text_column: tuple[str, ...] = option(
        (),
        "A column of text; give it twice for pairs. Default: found by name and type.",
        most=2,
    )
    label_column: tuple[str, ...] = option(
        (),
        "The column of the label; several 0/1 columns are the labels of multi_label. Default: "
        "found by name and type.",
    )
    label_delimiter: str | None = option(
        None,
        "What stands between the labels of a text like 'sports|politics'; giving it makes the "
        "task multi_label. Default, with multi_label: the first of | ; and comma that occurs.",
        metavar="TEXT",
    )
    train_split: str = option("train", "The split to train on.")
    validation_split: str = option(
        "validation", "The split to evaluate on; where there is none, a tenth of train."
    )
    drop_missing: bool = option(False, "Go on without the rows that lack a text or a label.")
    limit_train: int | None = option(
        None, "Train on N rows, taken by shuffle(seed).select(range(N)).", minimum=1
    )
    limit_validation: int | None = option(
        None, "Evaluate on N rows, taken by shuffle(seed).select(range(N)).", minimum=1
    )
    max_length: int | None = option(
        None,
        "Cut texts to this many tokens. Default: in evaluate and predict the run's, else what "
        "the model takes, 512 at most.",
        minimum=4,
    )
    loader: str = option(
        "auto",
        "numpy: one padded array. prepare: the model's prepare_tf_dataset. to_tf: "
        "to_tf_dataset. bucketed: batches of like lengths, straight from the tokens. auto: "
        "bucketed, but for tiny data numpy.",
        choices=("auto", *LOADERS),
    )
    max_shapes: int = option(24, "The most lengths that bucketed pads its batches to.", minimum=1)
    buckets: str | None = option(
        None,
        "The lengths that bucketed pads its batches to, such as 32,64,128. Default: those that pad "
        "least, max_shapes at most.",
        metavar="N,N,...",
    )
    streaming: bool = option(
        False,
        "Read the training rows as they are needed, and never hold or save them all; needs "
        "--steps. limit_train then takes the first N rows.",
    )
    shuffle_buffer: int | None = option(
        None,
        "The rows of a stream that are held to be drawn from at random. Default: 10,000.",
        minimum=1,
    )


@dataclass(frozen=True)
class ModelConfig:
    source: str = option(
        "",
        "A folder, builtin/minilm, or a hub id (org/name@revision). "
        "Default: builtin/minilm with builtin data, else bert-base-cased.",
        flag="model",
    )
    reset_head: bool = option(False, "Start from a fresh head, whatever the checkpoint has.")
    allow_pickle: bool = option(
        False,
        "Take the tensors of a pickle (pytorch_model.bin), read by PyTorch's weights_only in a "
        "process of its own; else pickles are refused.",
    )
    threshold: float | None = option(
        None,
        "The probability from which multi_label gives a label. Default: in evaluate and predict "
        "the run's, else 0.5.",
        above=0.0,
        below=1.0,
    )


@dataclass(frozen=True)
class TrainConfig:
    framework: str = option(
        "tensorflow",
        "What trains: tensorflow, a loop of PyTorch's, or transformers' Trainer; the last two need "
        'pip install "tfft[torch]".',
        choices=FRAMEWORKS,
    )
    epochs: int = option(3, "Passes over the training rows.", minimum=1)
    steps: int | None = option(
        None, "Train for N batches, in as many passes as that takes, instead of epochs.", minimum=1
    )
    evaluate_every: int | None = option(
        None,
        "Evaluate after each N steps, and at the end. Default: after each pass; of a stream ten "
        "times in all, but at least 100 steps apart.",
        minimum=1,
    )
    batch_size: int = option(16, "Rows a step, over all devices.", minimum=1)
    batch_tokens: int | None = option(
        None,
        "Tokens a step, padding included, in the place of batch_size: more rows where they are "
        "short. For the bucketed loader.",
        minimum=1,
    )
    accumulate: int = option(
        1,
        "Feed each batch in N parts, summing their gradients: the same step in less memory.",
        minimum=1,
    )
    precision: str = option(
        "float32",
        "What the layers compute in; weights, loss and the saved model stay float32. float16 "
        "needs a GPU.",
        choices=PRECISIONS,
    )
    xla: bool = option(
        False,
        "Compile the step with XLA: a program for each length that batches are padded to, at the "
        "first batch of it. For one device, and the loaders bucketed and numpy.",
    )
    optimizer: str = option("adam", "The optimizer.", choices=OPTIMIZERS)
    learning_rate: float = option(
        3e-5, "The optimizer's rate; with a schedule, its highest.", above=0.0
    )
    schedule: str = option(
        "constant",
        "How the rate goes on after the warm-up: as it is, or down to nought over the run, as "
        "transformers has it.",
        choices=SCHEDULES,
    )
    warmup: float = option(
        0.0,
        "Let the rate grow from nought over N steps; below 1, over that part of all steps.",
        metavar="N",
        minimum=0.0,
    )
    beta_1: float = option(0.9, "Adam's decay of the first moment.", minimum=0.0, below=1.0)
    beta_2: float = option(0.999, "Adam's decay of the second moment.", minimum=0.0, below=1.0)
    epsilon: float = option(1e-8, "Adam's epsilon, as PyTorch defines it.", above=0.0)
    weight_decay: float | None = option(
        None, "AdamW's decay of all but biases and LayerNorm. Default: 0.01.", minimum=0.0
    )
    layer_decay: float = option(
        1.0,
        "The rate of each layer as a part of the one above it; the head has the whole rate.",
        above=0.0,
        maximum=1.0,
    )
    clip_norm: float | None = option(
        None, "Scale the gradients down to this norm over all of them. Default: never.", above=0.0
    )
    ema: float | None = option(
        None,
        "Evaluate and save a moving average of the weights, X of which stays at each step.",
        above=0.0,
        below=1.0,
    )
    freeze: str | None = option(
        None,
        "What doesn't learn: the embeddings, they and the first N layers, or all but the head.",
        metavar="embeddings|layers:N|all-but-head",
    )
    loss: str | None = option(
        None, "A loss of Keras by name, instead of the task's own.", choices=LOSSES
    )
    class_weight: str | None = option(
        None,
        "Weights of the classes in the training loss: balanced, or NAME=W,... (a class that isn't "
        "named weighs 1). Of multi_label, a weight counts in the rows that have the label.",
        metavar="balanced|NAME=W,...",
    )
    label_smoothing: float = option(
        0.0,
        "Spread this part of each label evenly over all of them, in the training loss.",
        minimum=0.0,
        below=1.0,
    )
    metric_for_best: str | None = option(
        None,
        "The validation figure that chooses the epoch to keep. Default: the task's.",
        choices=("loss", *METRIC_NAMES),
    )
    patience: int | None = option(
        None, "Stop after N epochs without a better one. Default: never.", minimum=1
    )
    strategy: str = option(
        "auto",
        "Devices: none takes one, mirrored all GPUs, auto mirrored where there are several GPUs.",
        choices=STRATEGIES,
    )
    seed: int = option(
        42, "Seeds the new head, the order of rows and dropout.", minimum=0, below=2**32
    )

    @property
    def library(self) -> str:
        """What the framework runs on: `tensorflow` or `pytorch`."""
        return "tensorflow" if self.framework == "tensorflow" else "pytorch"


@dataclass(frozen=True)
class RunConfig:
    """All that `tfft fit` needs; build it with `from_options`, which fills the derived defaults."""

    data: DataConfig
    model: ModelConfig
    train: TrainConfig

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> RunConfig:
        """The checked config of `section.field` -> value; what isn't named has its default.

        Raises:
            ConfigError: an option is unknown, of the wrong type, out of range, or contradicts
                another; its `options` name those at fault.
        """
        checked = {name: _checked(name, value) for name, value in options.items()}
        _check_together(checked)
        for name, value in _derived_defaults(checked).items():
            if checked.get(name) in (None, "", "auto"):
                checked[name] = value
        return cls(
            **{section: kind(**_of_section(checked, section)) for section, kind in SECTIONS.items()}
        )

    def as_options(self) -> dict[str, Any]:
        """`section.field` -> value, as `from_options` takes them."""
        return {
            f"{name}.{each.name}": getattr(getattr(self, name), each.name)
            for name in SECTIONS
            for each in fields(getattr(self, name))
        }

    def to_toml(self) -> str:
        import tomlkit  # here: `tfft doctor` has to start without it

        document = tomlkit.document()
        document.add(tomlkit.comment("The run's resolved config. This does the same run again:"))
        document.add(tomlkit.comment("    tfft fit --config run.toml"))
        for name in SECTIONS:
            section, table = getattr(self, name), tomlkit.table()
            for each in fields(section):
                value = getattr(section, each.name)
                contradicted = (each.name == "epochs" and self.train.steps is not None) or (
                    each.name == "batch_size" and self.train.batch_tokens is not None
                )
                if value is not None and not contradicted:
                    table.add(each.name, list(value) if isinstance(value, tuple) else value)
            document.add(name, table)
        return tomlkit.dumps(document)


SECTIONS: dict[str, type[Any]] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}


@dataclass(frozen=True)
class ParityConfig:
    """What `tfft parity` is asked beside the run's own config; no part of a run.toml."""

    recipe: str = option(
        "same",
        "same: one recipe in both, without dropout. tutorial: each framework's own, as the "
        "tutorials have it, and what each difference between them does to the loss.",
        choices=("same", "tutorial"),
    )
    steps: int = option(20, "Compare the parameters after 1, 10 and N steps.", minimum=1)
    epochs: int = option(
        1, "Compare the metrics on validation after N passes over the training rows.", minimum=1
    )
    device: str = option(
        "cpu",
        "Where both compute; a GPU without TensorFloat-32.",
        choices=("cpu", "gpu"),
    )
    tolerance_logits: float = option(
        tolerances.LOGITS, "Of the first batch's logits and loss.", above=0.0
    )
    tolerance_gradients: float = option(
        tolerances.GRADIENTS, "Of each gradient, a part of its tensor's largest.", above=0.0
    )
    tolerance_parameters: float = option(
        tolerances.PARAMETERS, "Of each parameter after the steps.", above=0.0
    )
    tolerance_loss: float = option(
        tolerances.LOSS, "Of the loss of each of the first steps.", above=0.0
    )
    tolerance_metric: float = option(tolerances.METRIC, "Of each metric on validation.", above=0.0)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> ParityConfig:
        """Of field -> value.

        Raises:
            ConfigError: as `RunConfig.from_options`.
        """
        return _of_verb(cls, "parity", options)

    @property
    def tolerances(self) -> dict[str, float]:
        """By what they are of: `logits`, `gradients`, `parameters`, `loss`, `metric`."""
        prefix = "tolerance_"
        names = (each.name for each in fields(self) if each.name.startswith(prefix))
        return {name.removeprefix(prefix): getattr(self, name) for name in names}


@dataclass(frozen=True)
class TuneConfig:
    """What `tfft tune` is asked beside the run's own config; no part of a run.toml."""

    learning_rate: str = option(
        "1e-6:1e-3",
        "The rates to search, by their logarithm. A list names them, a single one fixes it.",
        metavar="LOW:HIGH",
    )
    space: tuple[str, ...] = option(
        (),
        "Another training option to search: a list, or a range (of its logarithm with :log at the "
        "end), such as train.batch_size=8,16,32. Give it once for each.",
        metavar="SECTION.OPTION=A,B,...|LOW:HIGH",
    )
    tuner: str = option(
        "random",
        "How trials are chosen. range is no search: one short run with the rate rising, and the "
        "rate that its losses suggest.",
        choices=TUNERS,
    )
    objective: str | None = option(
        None,
        "What makes a trial the best: a metric or loss, measured on a tenth of train that no "
        "trial learns from. Default: the task's metric.",
        choices=("loss", *METRIC_NAMES),
    )
    max_trials: int | None = option(
        None, "Trials at most. Default: 10; of hyperband and grid, all that they have.", minimum=1
    )
    max_minutes: float | None = option(None, "Begin no trial after N minutes.", above=0.0)
    from_range: bool = option(
        False, "Do the range test first, and search about the rate that it suggests."
    )
    workers: int = option(1, "Processes on this machine that share the trials.", minimum=1)
    confirm: int = option(0, "Train the two best trials again, with N other seeds each.", minimum=0)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> TuneConfig:
        """Of field -> value.

        Raises:
            ConfigError: as `RunConfig.from_options`.
        """
        asked = _of_verb(cls, "tune", options)
        if asked.tuner == "range" and (more := [n for n in _OF_A_SEARCH if n in options]):
            raise ConfigError(
                f"{more[0]} is for a search, and tuner range runs none", options=["tuner", more[0]]
            )
        if asked.confirm == 1:
            raise ConfigError(
                "confirm needs 2 seeds or more: one of them has no spread", options=["confirm"]
            )
        return asked


# What `--tuner range`, which runs no trials, has no use for.
_OF_A_SEARCH = (
    *("space", "objective", "max_trials", "max_minutes", "from_range", "workers", "confirm"),
)


@dataclass(frozen=True)
class ExportConfig:
    """What `tfft export` is asked beside its data; no part of a run.toml."""

    format: str = option(
        "saved_model",
        "saved_model: a bundle that takes raw text. torch, onnx and tflite take tokens; the "
        "tokenizer lies beside.",
        choices=FORMATS,
    )
    quantize: str | None = option(
        None,
        "Make the weights of a saved_model or a tflite smaller; the change of the validation "
        "metrics is told.",
        choices=("int8", "float16"),
    )
    version: int | None = option(
        None, "The version's number. Default: one more than the bundle's last.", minimum=1
    )
    limit_train: int = option(
        100_000, "Prove the tokenizer on at most N of the training texts.", minimum=1
    )
    limit_validation: int = option(
        2_000, "Compare the scores of at most N validation texts.", minimum=1
    )
    fuzz_texts: int = option(20_000, "Prove the tokenizer on N made-up texts, too.", minimum=1)
    seed: int = option(42, "Seeds the made-up texts.", minimum=0, below=2**32)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> ExportConfig:
        """Of field -> value.

        Raises:
            ConfigError: as `RunConfig.from_options`.
        """
        return _of_verb(cls, "export", options)


@dataclass(frozen=True)
class ServeConfig:
    """What `tfft serve` is asked; no part of a run.toml."""

    host: str = option(
        "127.0.0.1",
        "The address to listen on. Any other than 127.0.0.1 lets other machines in, and nobody is "
        "asked who they are.",
        metavar="ADDRESS",
    )
    port: int = option(
        8501, "The port to listen on; 0 takes one that is free.", minimum=0, maximum=65535
    )
    name: str | None = option(
        None, "The model's name in /v1/models/NAME. Default: the name of BUNDLE's folder."
    )
    max_batch: int = option(
        16,
        "The most rows that go through the model together; larger requests go in parts.",
        minimum=1,
    )
    batch_timeout_ms: float = option(
        5.0,
        "The longest that a request waits for others to go through the model with it. A client "
        "that is alone doesn't wait.",
        minimum=0.0,
        maximum=10_000.0,
    )
    no_batching: bool = option(False, "Have each request go through the model alone.")
    max_rows: int = option(1024, "The most rows that a request may have.", minimum=1)
    max_waiting: int = option(
        4096, "The most rows that may be under way; requests beyond get 503.", minimum=1
    )
    max_body_mib: float = option(
        8.0, "The longest body of a request, in MiB.", above=0.0, maximum=1024.0
    )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> ServeConfig:
        """Of field -> value.

        Raises:
            ConfigError: as `RunConfig.from_options`.
        """
        config = _of_verb(cls, "serve", options)
        if config.max_waiting < config.max_rows:
            raise ConfigError(
                f"max_waiting {config.max_waiting} is below max_rows {config.max_rows}: no such "
                "request could be answered",
                options=["serve.max_waiting", "serve.max_rows"],
            )
        if config.no_batching and "batch_timeout_ms" in options:
            raise ConfigError(
                "batch_timeout_ms is how long requests wait for each other, and no_batching has "
                "none wait; give one of them",
                options=["serve.no_batching", "serve.batch_timeout_ms"],
            )
        if config.name is not None and not re.fullmatch(r"[^/:\s]+", config.name):
            raise ConfigError(
                f"name must be a text without spaces, / and :, not {config.name!r}",
                options=["serve.name"],
            )
        return config


Of = TypeVar("Of")
# Every kind of option, those of a single verb too.
_KINDS = {
    **SECTIONS,
    "parity": ParityConfig,
    "tune": TuneConfig,
    "export": ExportConfig,
    "serve": ServeConfig,
}


def _of_verb(kind: type[Of], verb: str, options: Mapping[str, Any]) -> Of:
    """A single verb's own config, of field -> value."""
    abouts = options_of(verb)
    for name in options:
        if name not in abouts:
            raise ConfigError(
                f"unknown option '{name}'{nearest(name, abouts)}; there are {listed(abouts)}",
                options=[f"{verb}.{name}"],
            )
    return kind(**{name: _fitted(abouts[name], value) for name, value in options.items()})


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML's options as `section.field` -> value, the names checked, the values not yet.

    Raises:
        ConfigError: no such file, not TOML, or a name that isn't an option.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    options: dict[str, Any] = {}
    for section, table in document.items():
        if section not in SECTIONS or not isinstance(table, dict):
            raise ConfigError(
                f"{path}: unknown section '{section}'{nearest(section, SECTIONS)}; "
                f"there are {listed(SECTIONS)}"
            )
        options |= {f"{section}.{name}": value for name, value in table.items()}
    for name in options:
        try:
            _about(name)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return options


def parse_assignment(text: str) -> tuple[str, Any]:
    """`train.epochs=1` as its name and its value, read as TOML reads values (else a string)."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ConfigError(f"'{text}' is not of the form section.option=value", options=[text])
    about = _about(name)
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return name, value
    # What reads as a number may be a text; a line end is no way to smuggle more in.
    is_text = about.type is str and not isinstance(parsed["value"], str | list)
    return name, value if is_text or len(parsed) > 1 else parsed["value"]


def parse_class_weight(text: str) -> Mapping[str, float] | None:
    """`no=1,yes=2.5` -> {"no": 1.0, "yes": 2.5}; None for `balanced`.

    Raises:
        ConfigError: neither; or a weight that isn't a number above 0.
    """
    if text.strip().lower() == "balanced":
        return None

    def refuse(what: str) -> ConfigError:
        return ConfigError(
            f"class_weight must be balanced or NAME=W,...: {what}", options=["train.class_weight"]
        )

    weights: dict[str, float] = {}
    # A name may hold a comma: what ends in a number is a pair, the rest is part of the next name.
    for pair in re.split(r"(?<=\d)\s*,", text):
        name, equals, number = pair.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        name = name.strip()
        if not equals or not name or not math.isfinite(weight) or weight <= 0.0:
            raise refuse(f"'{pair.strip()}' is no NAME=W with a W above 0")
        if name in weights:
            raise refuse(f"'{name}' comes twice")
        weights[name] = weight
    return weights


def parse_buckets(text: str) -> tuple[int, ...]:
    """`32,64,128` -> (32, 64, 128), ascending.

    Raises:
        ConfigError: not whole numbers above 0.
    """
    try:
        widths = sorted({int(each) for each in text.split(",")})
    except ValueError:
        widths = []
    if not widths or widths[0] < 1:
        raise ConfigError(
            f"buckets must be whole numbers above 0, such as 32,64,128, not {text!r}",
            options=["data.buckets"],
        )
    return tuple(widths)


def parse_freeze(text: str | None) -> tuple[str | None, int]:
    """`layers:6` -> ("layers", 6); `embeddings` and `all-but-head` come with a 0.

    Raises:
        ConfigError: none of them.
    """
    if text in (None, "embeddings", "all-but-head"):
        return text, 0
    found = re.fullmatch(r"layers:([1-9]\d{0,3})", text or "")
    if found is None:
        raise ConfigError(
            f"freeze must be embeddings, layers:N with an N of 1 or more, or all-but-head, not "
            f"{text!r}",
            options=["train.freeze"],
        )
    return "layers", int(found[1])


def check_for_task(task: str, options: Mapping[str, Any]) -> None:
    """Refuses options (`section.field` -> value) that a task hasn't.

    Raises:
        ConfigError: names the option, and what the task has instead.
    """

    def refuse(place: str, why: str) -> ConfigError:
        return ConfigError(f"{_called(place)} {why}", options=[place, "data.task"])

    if len(options.get("data.label_column", ())) > 1 and task != "multi_label":
        raise refuse("data.label_column", f"is one column for task {task}")
    for place in ("model.threshold", "data.label_delimiter"):
        if options.get(place) is not None and task != "multi_label":
            raise refuse(place, f"is for task multi_label, not {task}")
    if options.get("train.class_weight") is not None and task == "regression":
        raise refuse("train.class_weight", "is for classes, and task regression has none")
    if task == "multi_label" and {"train.class_weight", "train.loss"} <= {
        name for name, value in options.items() if value is not None
    }:
        raise refuse("train.class_weight", "goes with the own loss of task multi_label, not --loss")
    if options.get("train.label_smoothing") and task == "regression":
        raise refuse("train.label_smoothing", "is for labels, and task regression has none")
    loss, losses = options.get("train.loss"), TASKS[task].losses
    if loss is not None and loss not in losses:
        raise refuse("train.loss", f"{loss} isn't one for task {task}; there are {listed(losses)}")
    metric, metrics = options.get("train.metric_for_best"), ("loss", *TASKS[task].metrics)
    if metric is not None and metric not in metrics:
        raise refuse(
            "train.metric_for_best",
            f"{metric} is not reported with task {task}; there are {listed(metrics)}",
        )


def option_names() -> dict[str, str]:
    """Each option as its callers name it -> its place: `epochs` -> `train.epochs`."""
    return {
        each.metadata["flag"] or each.name: f"{section}.{each.name}"
        for section, kind in SECTIONS.items()
        for each in fields(kind)
    }


def choose_options(*wanted: str, leave_out: tuple[str, ...] = ()) -> dict[str, About]:
    """Options by the names that their callers use: of whole sections, or `section.field` alone."""
    called = {place: name for name, place in option_names().items()}
    chosen: dict[str, About] = {}
    for each in wanted:
        section, _, field_name = each.partition(".")
        abouts = options_of(section)
        for about in [abouts[field_name]] if field_name else abouts.values():
            if called[about.place] not in leave_out:
                chosen[called[about.place]] = about
    return chosen


# What a saved model knows, and nobody has to say again where it is evaluated or predicts.
_LEARNED = (
    *("task", "train_split", "validation_split", "limit_train"),
    *("streaming", "shuffle_buffer"),
)
_RUNNING = ("model.allow_pickle", "model.threshold", "train.batch_size", "train.strategy")


# What a model takes along into Keras' own `fit`; the rest is done by our loop alone.
_COMPILED = (
    *("optimizer", "learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay"),
    *("layer_decay", "clip_norm", "freeze", "loss", "seed"),
)


def build_options() -> dict[str, About]:
    return choose_options("model.allow_pickle", *(f"train.{name}" for name in _COMPILED))


def evaluate_options() -> dict[str, About]:
    return choose_options("data", *_RUNNING, leave_out=_LEARNED)


# What both frameworks' loops take, and what doesn't change the comparison.
_COMPARED = (
    *("batch_size", "batch_tokens", "optimizer", "learning_rate", "schedule", "warmup"),
    *("beta_1", "beta_2", "epsilon", "weight_decay", "clip_norm", "seed"),
)


def parity_options() -> dict[str, About]:
    """Those of a run that both frameworks take, and those of parity itself."""
    of_run = choose_options(
        *("data", "model", *(f"train.{name}" for name in _COMPARED)),
        leave_out=("streaming", "shuffle_buffer"),
    )
    return of_run | options_of("parity")


def export_options() -> dict[str, About]:
    """What to prove a bundle with, how the saved model is read, and those of export itself."""
    of_saved = choose_options(
        *("data.source", "data.text_column", "data.max_length"),
        *("model.threshold", "model.allow_pickle"),
    )
    return of_saved | options_of("export")


# Training options that a search may take for a dimension of its own: those that change what is
# learned, and leave the data, the devices and the figures as they are.
TUNABLE = tuple(
    f"train.{name}"
    for name in (
        *("learning_rate", "epochs", "steps", "batch_size", "batch_tokens", "optimizer"),
        *("schedule", "warmup", "beta_1", "beta_2", "epsilon", "weight_decay", "layer_decay"),
        *("clip_norm", "ema", "freeze", "label_smoothing"),
    )
)


def tune_options() -> dict[str, About]:
    """Those of a run, and those of tune itself; the objective stands for `metric_for_best`."""
    left_out = ("streaming", "shuffle_buffer", "framework", "learning_rate", "metric_for_best")
    of_run = choose_options("data", "model", "train", leave_out=(*left_out, "evaluate_every"))
    return of_run | options_of("tune")


def predict_options() -> dict[str, About]:
    labels = ("label_column", "label_delimiter", "limit_validation")
    return choose_options("data", *_RUNNING, leave_out=(*_LEARNED, *labels))


@dataclass(frozen=True)
class About:
    """One option, as the checks and the command line need to know it."""

    place: str
    type: type[Any]
    many: bool
    default: Any
    help: str
    metavar: str | None
    choices: tuple[str, ...] | None
    minimum: float | None
    above: float | None
    below: float | None
    maximum: float | None
    most: int | None


@cache
def options_of(section: str) -> dict[str, About]:
    """A section's options, by field name."""
    kind = _KINDS[section]
    hints = get_type_hints(kind)
    return {each.name: _describe(section, each, hints[each.name]) for each in fields(kind)}


def _describe(section: str, each: Any, hint: Any) -> About:
    many = get_origin(hint) is tuple
    if many:
        hint = get_args(hint)[0]
    elif get_origin(hint) is UnionType:
        hint = next(part for part in get_args(hint) if part is not type(None))
    about = {key: value for key, value in each.metadata.items() if key != "flag"}
    return About(
        place=f"{section}.{each.name}", type=hint, many=many, default=each.default, **about
    )


def _about(name: str) -> About:
    section, _, field_name = name.partition(".")
    if section not in SECTIONS:
        raise ConfigError(
            f"unknown option '{name}'{nearest(name, option_names().values())}", options=[name]
        )
    try:
        return options_of(section)[field_name]
    except KeyError:
        names = options_of(section)
        raise ConfigError(
            f"unknown option '{name}'{nearest(field_name, names)}; [{section}] has {listed(names)}",
            options=[name],
        ) from None


def _checked(name: str, value: Any) -> Any:
    return _fitted(_about(name), value)


def _fitted(about: About, value: Any) -> Any:
    """`value` as the option's own type and within its bounds."""
    name = about.place

    def refuse(expected: str) -> ConfigError:
        return ConfigError(f"{_called(name)} must be {expected}, not {value!r}", options=[name])

    if about.many:
        values = (value,) if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
            raise refuse("a text or a list of texts")
        values = tuple(values)
        if about.most is not None and len(values) > about.most:
            raise refuse(f"at most {about.most} values")
        return values
    if value is None and about.default is None:
        return None
    if about.type is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < sys.float_info.max else math.inf
    # bool is an int to Python, not to anyone who writes `epochs = true`.
    if not isinstance(value, about.type) or (isinstance(value, bool) and about.type is not bool):
        raise refuse(_words(about.type))
    if about.choices and value not in about.choices:
        raise refuse(f"one of {listed(about.choices, most=20)}{nearest(value, about.choices)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise refuse("a finite number")
    if about.minimum is not None and value < about.minimum:
        raise refuse(f"at least {about.minimum}")
    if about.above is not None and value <= about.above:
        raise refuse(f"above {about.above:g}")
    if about.below is not None and value >= about.below:
        raise refuse(f"below {about.below:g}")
    if about.maximum is not None and value > about.maximum:
        raise refuse(f"at most {about.maximum:g}")
    return value


def _called(place: str) -> str:
    """An option's place -> what its users call it: `data.source` -> `data`."""
    names = {each: name for name, each in option_names().items()}
    return names.get(place, place.partition(".")[2])


def _words(kind: type[Any]) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]


def _check_together(options: Mapping[str, Any]) -> None:
    """Refuses options that contradict each other."""

    def refuse(message: str, *names: str) -> None:
        raise ConfigError(message, options=names)

    if options.get("train.weight_decay") is not None and (
        options.get("train.optimizer", "adam") != "adamw"
    ):
        refuse(
            "weight_decay needs optimizer adamw; adam has no decay",
            "train.weight_decay",
            "train.optimizer",
        )
    if options.get("train.batch_tokens") is not None and "train.batch_size" in options:
        refuse(
            "batch_tokens stands in the place of batch_size; give one of them",
            "train.batch_tokens",
            "train.batch_size",
        )
    loader = options.get("data.loader", "auto")
    if options.get("train.xla"):
        if loader in ("prepare", "to_tf"):
            refuse(
                f"xla compiles a program for each length, and loader {loader} pads to any; take "
                "bucketed",
                "train.xla",
                "data.loader",
            )
        if options.get("train.strategy") == "mirrored":
            refuse("xla is for one device; take strategy none", "train.xla", "train.strategy")
    for place in ("train.batch_tokens", "data.buckets"):
        if options.get(place) is not None and loader not in ("auto", "bucketed"):
            refuse(f"{_called(place)} is for loader bucketed, not {loader}", place, "data.loader")
    if (buckets := options.get("data.buckets")) is not None:
        parse_buckets(buckets)
        if "data.max_shapes" in options and options["data.max_shapes"] != DataConfig.max_shapes:
            refuse(
                "buckets names the lengths, and max_shapes has them chosen; give one of them",
                "data.buckets",
                "data.max_shapes",
            )
    _check_recipe(options, refuse)
    _check_framework(options, refuse)
    texts = options.get("data.text_column", ())
    if len(set(texts)) < len(texts):
        refuse(f"text_column names '{texts[0]}' twice", "data.text_column")
    labels = options.get("data.label_column", ())
    if len(set(labels)) < len(labels):
        refuse("label_column names a column twice", "data.label_column")
    if both := set(texts) & set(labels):
        refuse(
            f"'{both.pop()}' is named as text_column and as label_column",
            "data.text_column",
            "data.label_column",
        )
    if options.get("train.steps") is not None and "train.epochs" in options:
        refuse(
            "steps and epochs each say how long to train; give one of them",
            "train.steps",
            "train.epochs",
        )
    _check_stream(options, refuse)
    if (weights := options.get("train.class_weight")) is not None:
        parse_class_weight(weights)
    if (task := options.get("data.task", "auto")) != "auto":
        check_for_task(task, options)
    train, validation = (
        options.get(f"data.{name}_split", name) for name in ("train", "validation")
    )
    if train == validation:
        refuse(
            f"train_split and validation_split are both '{train}': a model isn't evaluated on "
            "the rows it learned",
            "data.train_split",
            "data.validation_split",
        )


def _check_stream(options: Mapping[str, Any], refuse: Callable[..., None]) -> None:
    if not options.get("data.streaming"):
        if options.get("data.shuffle_buffer") is not None:
            refuse("shuffle_buffer is of a stream; it needs streaming", "data.shuffle_buffer")
        return
    if options.get("train.steps") is None:
        refuse(
            "streaming needs steps: nobody knows how long a stream is",
            "data.streaming",
            "train.steps",
        )
    if options.get("train.batch_tokens") is not None:
        refuse(
            "batch_tokens needs all rows at hand; a stream takes batch_size",
            "train.batch_tokens",
            "data.streaming",
        )
    if (loader := options.get("data.loader", "auto")) not in ("auto", "bucketed"):
        refuse(
            f"loader {loader} needs all rows at hand; streaming goes with bucketed",
            "data.streaming",
            "data.loader",
        )


# Options that a framework hasn't, with the values of them that it has all the same.
_PYTORCH_TAKES: dict[str, tuple[Any, ...]] = {
    "data.loader": ("auto", "numpy", "bucketed"),
    "data.streaming": (False,),
    "train.precision": ("float32", "bfloat16"),
    "train.xla": (False,),
    "train.layer_decay": (1.0,),
    "train.ema": (None,),
    "train.freeze": (None,),
    "train.loss": (None,),
    "train.strategy": ("auto", "none"),
}
# Trainer makes its batches itself.
_TRAINER_TAKES = _PYTORCH_TAKES | {
    "data.loader": ("auto",),
    "data.max_shapes": (DataConfig.max_shapes,),
    "data.buckets": (None,),
    "train.batch_tokens": (None,),
}
_TAKES = {"tensorflow": {}, "pytorch": _PYTORCH_TAKES, "trainer": _TRAINER_TAKES}


def _check_framework(options: Mapping[str, Any], refuse: Callable[..., None]) -> None:
    """Refuses options that the framework hasn't."""
    framework = options.get("train.framework", TrainConfig.framework)
    for place, values in _TAKES[framework].items():
        value = options.get(place, values[0])
        if value in values:
            continue
        called = _called(place)
        others = [each for each in values if isinstance(each, str)]
        told = f"{called} {value}" if others else called
        instead = f"there are {listed(others)}" if others else "leave it out"
        refuse(
            f"{told} isn't there with framework {framework}; {instead}, or take framework "
            "tensorflow",
            place,
            "train.framework",
        )


def _check_recipe(options: Mapping[str, Any], refuse: Callable[..., None]) -> None:
    """Refuses options of training that contradict each other."""

    def chosen(name: str) -> Any:
        return options.get(f"train.{name}", options_of("train")[name].default)

    if chosen("batch_tokens") is None and chosen("batch_size") % chosen("accumulate"):
        refuse(
            f"batch_size {chosen('batch_size')} can't be fed in accumulate {chosen('accumulate')} "
            "equal parts",
            "train.batch_size",
            "train.accumulate",
        )
    if (warmup := chosen("warmup")) >= 1.0 and not warmup.is_integer():
        refuse(
            f"warmup must be a whole number of steps, or a part of them below 1, not {warmup:g}",
            "train.warmup",
        )
    if chosen("schedule") == "polynomial" and chosen("learning_rate") <= POLYNOMIAL_END:
        refuse(
            f"schedule polynomial ends with a rate of {POLYNOMIAL_END:g}, and learning_rate is "
            f"{chosen('learning_rate'):g}",
            "train.schedule",
            "train.learning_rate",
        )
    if chosen("label_smoothing") and chosen("loss") is not None:
        refuse(
            "label_smoothing goes with the task's own loss, not --loss",
            "train.label_smoothing",
            "train.loss",
        )
    part, _ = parse_freeze(chosen("freeze"))
    if part == "all-but-head" and chosen("layer_decay") < 1.0:
        refuse(
            "layer_decay is for layers that learn, and freeze all-but-head leaves none",
            "train.layer_decay",
            "train.freeze",
        )


def _derived_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults that depend on another option."""
    builtin = str(options.get("data.source", "")).startswith("builtin/")
    derived: dict[str, Any] = {
        "model.source": "builtin/minilm" if builtin else "bert-base-cased",
    }
    if options.get("train.optimizer") == "adamw":
        derived["train.weight_decay"] = 0.01  # torch.optim.AdamW's default
    asks_for_buckets = {"train.batch_tokens", "data.buckets"} & {
        name for name, value in options.items() if value is not None
    }
    if asks_for_buckets:
        derived["data.loader"] = "bucketed"
    if options.get("data.streaming"):
        derived["data.shuffle_buffer"] = 10_000
        derived["train.evaluate_every"] = max(100, -(-options["train.steps"] // 10))
    return derived


def _of_section(options: Mapping[str, Any], section: str) -> dict[str, Any]:
    prefix = f"{section}."
    return {
        name.removeprefix(prefix): value
        for name, value in options.items()
        if name.startswith(prefix)
    }
