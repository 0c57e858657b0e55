"""What was measured, as frozen records that go to JSON and come back.

result.validation["matthews_correlation"]
json.dumps(result.to_json())            # what metrics.json holds
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """One epoch, or what was trained from one evaluation to the next: a line of history.json.

    Attributes:
        epoch: its number, from 1.
        loss: mean over the epoch's training rows, as they were when each was learned from.
        validation_loss: mean over the validation rows, after the epoch.
        seconds: wall time, evaluation included.
    """

    epoch: int
    loss: float
    validation_loss: float
    learning_rate: float
    metrics: Mapping[str, float]
    seconds: float

    def figure(self, name: str) -> float:
        """A metric's value, or the validation loss as `loss`."""
        return self.validation_loss if name == "loss" else self.metrics[name]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EpochRecord:
        own = {each.name for each in fields(cls)} - {"metrics"}
        metrics = {name: value for name, value in document.items() if name not in own}
        return cls(metrics=metrics, **{name: document[name] for name in own})

    def to_json(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "loss": self.loss,
            "validation_loss": self.validation_loss,
            "learning_rate": self.learning_rate,
            **self.metrics,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class FitResult:
    """A finished run: metrics.json, its history and where it lies.

    Attributes:
        validation: `loss`, the metrics and `n_examples`, of the epoch that was kept.
        train: `loss` (of that epoch), `n_examples` (rows an epoch), `n_steps` (of the run),
            `examples_per_s` (after the first step, without evaluation; None of a single step),
            `padding_fraction` (of a stream as its first rows have it), `seconds` (of the whole fit,
            evaluation included).
        more_validation: the same as `validation` of further splits, by name: of MNLI
            `validation_mismatched`.
        best_epoch: the epoch whose weights were kept, from 1.
        output: the run's folder.
    """

    task: str
    data: str
    model: str
    validation: Mapping[str, float]
    train: Mapping[str, float | None]
    best_epoch: int
    more_validation: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    history: tuple[EpochRecord, ...] = ()
    output: Path = field(default_factory=Path)

    @classmethod
    def read(cls, folder: Path) -> FitResult:
        """The result of the finished run in that folder."""
        document = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        own = {name: document.pop(name) for name in _OF_METRICS_JSON}
        records = tuple(map(EpochRecord.from_json, history))
        return cls(**own, more_validation=document, history=records, output=folder)

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "data": self.data,
            "model": self.model,
            "validation": dict(self.validation),
            **{name: dict(figures) for name, figures in self.more_validation.items()},
            "train": dict(self.train),
            "best_epoch": self.best_epoch,
        }


# What metrics.json holds beside further validation splits.
_OF_METRICS_JSON = ("task", "data", "model", "validation", "train", "best_epoch")


@dataclass(frozen=True)
class EvalResult:
    """One split's figures: `loss`, the metrics and `n_examples`.

    Attributes:
        more: the same of further splits, by name: of MNLI `validation_mismatched`.
    """

    task: str
    data: str
    model: str
    split: str
    figures: Mapping[str, float]
    more: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "data": self.data,
            "model": self.model,
            self.split: dict(self.figures),
            **{name: dict(figures) for name, figures in self.more.items()},
        }


@dataclass(frozen=True)
class PredictResult:
    """A written file of predictions.

    Attributes:
        n_rows: rows written, one an example, in input order.
        counts: rows by predicted label; of several labels a row counts for each, and of
            regression there are none.
    """

    data: str
    model: str
    split: str
    output: Path
    n_rows: int
    counts: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "model": self.model,
            "split": self.split,
            "output": str(self.output),
            "n_rows": self.n_rows,
            "counts": dict(self.counts),
        }


@dataclass(frozen=True)
class PlanResult:
    """What a fit would do: `tfft fit --dry-run`.

    Attributes:
        labels: rows by label and split; empty of regression.
        n_examples: rows by split; of a stream those that it begins with, as in all other figures
            of train.
        constant: the constant guess that the training rows suggest, and its figures on validation.
        loader_why: why this loader.
        lengths: tokens of the training texts by quantile, before anything is cut; "1" the longest.
        n_cut: texts longer than `max_length`, by split.
        padding_fraction: the part of the training tokens that would be padding.
        n_steps: of the whole run.
        epochs: None where steps were asked for.
        streaming: whether train is a stream.
        memory_bytes: an estimate of what a step needs beside TensorFlow itself.
    """

    task: str
    data: str
    model: str
    framework: str
    text_columns: tuple[str, ...]
    label_columns: tuple[str, ...]
    notes: tuple[str, ...]
    labels: Mapping[str, Mapping[str, int]]
    n_examples: Mapping[str, int]
    constant: Mapping[str, Any]
    loader: str
    loader_why: str
    max_length: int
    lengths: Mapping[str, int]
    n_cut: Mapping[str, int]
    padding_fraction: float
    n_steps: int
    epochs: int | None
    batch_size: int
    metric_for_best: str
    memory_bytes: int
    streaming: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ConvertResult:
    """A converted checkpoint, and what was compared before it was called done.

    Attributes:
        to: `pytorch` or `tensorflow`.
        left_out: the source's tensors that this class has no place for in either framework.
        n_sequences: texts of random tokens that both frameworks were given.
        largest_output, largest_difference: of what they said to them; None where torch isn't
            installed: then names, shapes and what TensorFlow reads again were compared alone.
        tolerance: of the difference, as a part of the largest output where that is above 1.
        sha256: of the `source`, and of each written file.
    """

    source: str
    to: str
    architecture: str
    n_tensors: int
    n_parameters: int
    left_out: tuple[str, ...]
    n_sequences: int
    largest_output: float | None
    largest_difference: float | None
    tolerance: float
    sha256: Mapping[str, str]
    output: Path = field(default_factory=Path)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "output": str(self.output)}


@dataclass(frozen=True)
class FormatCheck:
    """An exported format, read again and compared with the live model.

    Attributes:
        quantize: what its weights are, or None: float32.
        n_texts: whose logits were compared.
        tolerance: of the difference.
        live_metrics, metrics: the live model's and the format's on the same texts; empty where
            those have no labels.
        n_bytes: of the file with the weights.
        latency_ms: of one warm call, by batch size, the texts as long as the longest compared.
    """

    format: str
    quantize: str | None
    n_texts: int
    largest_logit: float
    largest_difference: float
    tolerance: float
    live_metrics: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    n_bytes: int = 0
    latency_ms: Mapping[str, float] = field(default_factory=dict)

    def measured(self, n_bytes: int, latency_ms: Mapping[int, float]) -> FormatCheck:
        """The same with its size and its speed."""
        by_size = {str(size): each for size, each in latency_ms.items()}
        return replace(self, n_bytes=n_bytes, latency_ms=by_size)

    @property
    def metric_changes(self) -> Mapping[str, float]:
        """What the format adds to each of the live model's metrics."""
        return {name: self.metrics[name] - each for name, each in self.live_metrics.items()}

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "metric_changes": dict(self.metric_changes)}


@dataclass(frozen=True)
class ParityStage:
    """One thing that TensorFlow and PyTorch were compared in.

    Attributes:
        difference: the largest, absolute; of `gradients` a part of the tensor's largest number.
        mean: of the differences, likewise.
        tolerance: what it may be; None where it is told and not judged.
        where: the tensor or the step that has the largest.
        first_beyond: the first tensor or step beyond the tolerance, in the model's order; None
            where there is none.
    """

    name: str
    difference: float
    mean: float
    tolerance: float | None
    where: str = ""
    first_beyond: str | None = None

    @property
    def passed(self) -> bool:
        return self.first_beyond is None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True)
class ParityTensor:
    """What became of one tensor in both, named as PyTorch names it.

    Attributes:
        gradient: largest difference, absolute, of the first batch's gradient.
        gradient_relative: the same as a part of the gradient's largest number.
        gradient_mean_relative: the mean difference as a part of the gradient's mean size.
        largest_gradient: the largest number of it in PyTorch.
        from_exact: how far TensorFlow and PyTorch are each from the gradient in float64, as a part
            of its largest number.
        is_exact_zero: whether the gradient is nought in exact arithmetic: there only absolute
            figures mean anything.
        parameters: the largest difference of the values, by the step after which.
    """

    name: str
    shape: tuple[int, ...]
    gradient: float
    gradient_relative: float
    gradient_mean_relative: float
    largest_gradient: float
    from_exact: Mapping[str, float]
    is_exact_zero: bool
    parameters: Mapping[str, float]


@dataclass(frozen=True)
class RecipeEffect:
    """What one difference between the tutorials' recipes does to the loss, in PyTorch.

    Attributes:
        name: what is changed, of TensorFlow's recipe alone.
        change: from what to what.
        loss: mean training loss over the last tenth of the steps.
        validation_loss: after all of them.
        effect: by how much the change moves `validation_loss`.
    """

    name: str
    change: str
    loss: float
    validation_loss: float
    effect: float


@dataclass(frozen=True)
class ParityResult:
    """The certificate: parity.json.

    Attributes:
        stages: in the order in which a difference would show.
        tensors: in the model's order; empty where dropout was on.
        losses: framework -> the loss of each step.
        validation: framework -> `loss` and the metrics after the epochs.
        n_steps: of the run, which `epochs` or `steps` made so long, whichever is longer.
        effects: of `recipe` tutorial, the differences between the recipes, one by one.
        hashes: sha256 of the checkpoint's weights that both loaded, and of the batches.
        verdict: one line.
    """

    task: str
    data: str
    model: str
    architecture: str
    recipe: str
    steps: int
    epochs: int
    n_steps: int
    stages: tuple[ParityStage, ...]
    tensors: tuple[ParityTensor, ...]
    losses: Mapping[str, tuple[float, ...]]
    validation: Mapping[str, Mapping[str, float]]
    effects: tuple[RecipeEffect, ...]
    tolerances: Mapping[str, float]
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    verdict: str
    output: Path = field(default_factory=Path)

    @property
    def passed(self) -> bool:
        return all(stage.passed for stage in self.stages)

    @property
    def exact_zeros(self) -> tuple[str, ...]:
        """The tensors whose gradient is nought in exact arithmetic."""
        return tuple(each.name for each in self.tensors if each.is_exact_zero)

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        del values["output"]
        return {
            "passed": self.passed,
            **values,
            "stages": [stage.to_json() for stage in self.stages],
            "exact_zeros": list(self.exact_zeros),
        }


@dataclass(frozen=True)
class ExportResult:
    """A version of a bundle, and what was found of it: check.json.

    Attributes:
        labels: by the column of `scores`; empty of regression.
        threshold: of multi-label, the probability from which a label is given.
        why_no_text: why no signature takes texts; None where one does.
        tokenizer: the texts whose tokens in the graph are the live tokenizer's, to the last:
            `n_made_up` and, of the data, `n_train` and `n_validation`, and `n_code_points` that it
            was checked over; None where no signature takes texts.
        data: what the last two came from; None where it couldn't be read.
        tolerance: of the scores; with small weights what those change is in it.
        n_bytes: of the SavedModel.
        found: by the clean process: `signatures`, `answers` (the largest difference from the live
            model's), `ops`, `latency`, `tensorflow`, `device` ...
        small: what small weights change; None where they are float32.
        output: the bundle's folder.
    """

    source: str
    version: int
    task: str
    labels: tuple[str, ...]
    max_length: int
    threshold: float | None
    why_no_text: str | None
    tokenizer: Mapping[str, int] | None
    data: str | None
    tolerance: float
    n_bytes: int
    found: Mapping[str, Any]
    small: FormatCheck | None = None
    output: Path = field(default_factory=Path)

    @property
    def largest_difference(self) -> float:
        """From the live model's scores, over all signatures."""
        return max(each["largest_difference"] for each in self.found["answers"].values())

    @property
    def latency(self) -> Mapping[str, float]:
        """Seconds to load and of the first call, milliseconds of a warm one by batch size."""
        latency: Mapping[str, float] = self.found["latency"]
        return latency

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        found = values.pop("found")
        del values["output"], values["small"]
        small: dict[str, Any] = {"quantize": None}
        if self.small is not None:
            names = ("largest_logit", "live_metrics", "metrics", "metric_changes")
            told = self.small.to_json()
            small = {
                "quantize": self.small.quantize,
                "largest_logit_difference": self.small.largest_difference,
                "logit_tolerance": self.small.tolerance,
                **{name: told[name] for name in names},
            }
        return {"passed": True, **values, **small, **found}


@dataclass(frozen=True)
class RangeResult:
    """The curve of a range test.

    Attributes:
        learning_rates, losses: of each step, until the run diverged or the range ended.
        smoothed: the losses without what is chance.
        suggestion: the rate at the steepest descent.
    """

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RangeResult:
        curves = {name: tuple(document[name]) for name in ("learning_rates", "losses", "smoothed")}
        return cls(**curves, suggestion=document["suggestion"])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Trial:
    """One trial of a search: an object of trials.json, a row of trials.csv.

    Attributes:
        trial: its number, from 1, in the order of their beginnings.
        values: what was tried, by option.
        status: `completed`, `failed` or, where the search ended before it did, `unfinished`.
        score: the objective of its best epoch, on the rows that were held out.
        epochs: it was trained for.
        best_epoch: whose score it is, from 1.
        seconds: that it took.
        metrics: all figures of the best epoch, on the rows that were held out.
        message: why it failed.
    """

    trial: int
    values: Mapping[str, Any]
    status: str
    score: float | None = None
    epochs: int = 0
    best_epoch: int | None = None
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Confirmation:
    """The two best trials, each trained again with other seeds.

    Attributes:
        trials: their numbers, the better one first.
        seeds: with which.
        scores: by trial, one a seed.
        lead: of the first one's mean over the second one's, in the objective's good direction.
        spread: standard deviation of a trial's scores from seed to seed, both pooled.
        is_larger: whether the lead is larger than the spread.
    """

    trials: tuple[int, int]
    seeds: tuple[int, ...]
    scores: Mapping[int, tuple[float, ...]]
    lead: float
    spread: float
    is_larger: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TuneResult:
    """A finished search, or range test.

    Attributes:
        objective: the figure that ranks the trials.
        held_out: rows of train that the objective was measured on; none of a range test.
        best: the best trial; None of a range test.
        validation: the figures of the winner, trained on all of train, on the validation split.
        range: the range test's curve, where one was run.
        confirmation: where one was asked for.
        output: the folder: `best/`, trials.json, trials.csv, best.toml, report.html.
    """

    task: str
    data: str
    model: str
    tuner: str
    objective: str
    held_out: int
    trials: tuple[Trial, ...]
    best: Trial | None
    validation: Mapping[str, float] = field(default_factory=dict)
    range: RangeResult | None = None
    confirmation: Confirmation | None = None
    seconds: float = 0.0
    output: Path = field(default_factory=Path)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it: without the range test's curve."""
        return {
            "task": self.task,
            "data": self.data,
            "model": self.model,
            "tuner": self.tuner,
            "objective": self.objective,
            "held_out": self.held_out,
            "suggestion": None if self.range is None else self.range.suggestion,
            "best": None if self.best is None else self.best.to_json(),
            "validation": dict(self.validation),
            "confirmation": None if self.confirmation is None else self.confirmation.to_json(),
            "trials": [each.to_json() for each in self.trials],
            "seconds": self.seconds,
        }
