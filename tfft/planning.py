"""What a fit would do, found out without training and without TensorFlow.

result = plan(config, progress)
result.labels, result.lengths, result.memory_bytes      # a PlanResult, as --dry-run prints it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfft.config import RunConfig
from tfft.data.choice import array_cost, choose_for, plan_batches
from tfft.data.encode import token_lengths
from tfft.data.examples import labels_of
from tfft.data.plan import batch_widths, padding_of
from tfft.metrics import metrics_of
from tfft.progress import Progress
from tfft.ready import Prepared, prepare
from tfft.results import PlanResult
from tfft.schedules import warmup_steps

if TYPE_CHECKING:
    from datasets import Dataset

    from tfft.pretrained import Checkpoint

QUANTILES = (0.5, 0.9, 0.99, 1.0)
# Weights, gradients, and Adam's two moments, float32 each.
BYTES_A_PARAMETER = 16
# A layer keeps s*b*h*(34 + 5*a*s/h) bytes for the backward pass where numbers take 2 bytes
# (Korthikanti et al. 2022, equation 1); float32 takes twice that, and TensorFlow some more for
# what it is just computing. MiniLM, 16 texts a step, took 2.1 GiB beside TensorFlow's own 0.8 with
# 256 tokens, where this says 1.9, and 4.6 with 512 tokens, where this says 5.1.
BYTES_A_HIDDEN, BYTES_A_SCORE = 34, 5
FLOAT32, WORKSPACE = 2, 1.2


def plan(config: RunConfig, progress: Progress) -> PlanResult:
    """Reads the data and the checkpoint, measures every text, and adds it up.

    Raises:
        TfftError: as the fit would, but for what only building the model tells: a head of another
            size, too few rows a batch for the devices.
    """
    prepared = prepare(config, progress)
    examples, longest = prepared.examples, prepared.max_length
    progress.stage("measuring the texts")
    whole = {
        name: token_lengths(rows, prepared.tokenizer) for name, rows in examples.splits.items()
    }
    cut = {name: np.minimum(lengths, longest) for name, lengths in whole.items()}
    n_features = len(prepared.tokenizer.model_input_names)
    streams = examples.stream is not None
    loader, why = choose_for(config, cut["train"], n_features, streams=streams)
    batches = plan_batches(config, cut["train"], loader=loader, shuffle=True)
    n_steps = batches.total_steps(config.train)
    warmup_steps(config.train, n_steps)  # refuses too long a one
    if loader == "numpy":
        n_bytes, padding = array_cost(cut["train"], n_features)
        shapes = np.array([[batches.batch_size, cut["train"].max()]])
    else:
        _, bounds = batches.layout(0)
        n_bytes, padding = 0, padding_of(cut["train"], batches)
        shapes = np.stack([np.diff(bounds), batch_widths(cut["train"], batches)], axis=1)
    shapes[:, 0] = -(-shapes[:, 0] // config.train.accumulate)
    return PlanResult(
        task=examples.task,
        data=config.data.source,
        model=config.model.source,
        framework=config.train.framework,
        text_columns=examples.columns.texts,
        label_columns=examples.columns.labels,
        notes=examples.notes,
        labels=_label_counts(prepared),
        n_examples={name: len(rows) for name, rows in examples.splits.items()},
        constant=_constant(config, prepared),
        loader=loader,
        loader_why=why,
        max_length=longest,
        lengths={
            f"{quantile:g}": int(np.quantile(whole["train"], quantile, method="inverted_cdf"))
            for quantile in QUANTILES
        },
        n_cut={name: int((lengths > longest).sum()) for name, lengths in whole.items()},
        padding_fraction=padding,
        n_steps=n_steps,
        epochs=config.train.epochs if config.train.steps is None else None,
        streaming=streams,
        batch_size=config.train.batch_size,
        metric_for_best=prepared.metric,
        memory_bytes=n_bytes + _memory(prepared.checkpoint, shapes),
    )


def _label_counts(prepared: Prepared) -> dict[str, dict[str, int]]:
    """Rows by label and split; of regression nothing is counted."""
    if prepared.task.name == "regression":
        return {}
    names = prepared.examples.label_names
    counted = {name: _counts(rows, len(names)) for name, rows in prepared.examples.splits.items()}
    return {
        label: {name: int(counts[place]) for name, counts in counted.items()}
        for place, label in enumerate(names)
    }


def _counts(rows: Dataset, n_labels: int) -> np.ndarray:
    labels = labels_of(rows)
    return labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=n_labels)


def _constant(config: RunConfig, prepared: Prepared) -> dict[str, Any]:
    """What the best constant guess, learned from train, gets on validation."""
    train, labels = (
        labels_of(rows) for rows in (prepared.examples.train, prepared.examples.validation)
    )
    names = prepared.examples.label_names
    if prepared.task.name == "regression":
        guess: Any = float(train.mean())
        logits = np.full((len(labels), 1), guess)
    elif prepared.task.name == "multi_label":
        shares = train.mean(axis=0)
        # Each label by itself where most rows have it; else the commonest, which is worth more.
        given = shares > 0.5 if (shares > 0.5).any() else shares == shares.max()
        guess = [name for name, each in zip(names, given, strict=True) if each]
        logits = np.tile(np.where(given, np.inf, -np.inf), (len(labels), 1))
    else:
        place = int(np.bincount(train, minlength=len(names)).argmax())
        guess = names[place]
        logits = np.tile(np.eye(len(names))[place], (len(labels), 1))
    figures = metrics_of(prepared.task.name, threshold=config.model.threshold)(logits, labels)
    return {"prediction": guess, **figures}


def _memory(checkpoint: Checkpoint, shapes: np.ndarray) -> int:
    """Bytes of a step: the model with its optimizer, and what its layers keep of the rows that
    take most of it at once.

    Args:
        shapes: rows at once and tokens a row of the batches: int64 [n_batches, 2].
    """
    config = checkpoint.config
    layers, heads, hidden = (
        getattr(config, name)
        for name in ("num_hidden_layers", "num_attention_heads", "hidden_size")
    )
    parameters = checkpoint.n_parameters or 0
    n_rows, n_tokens = shapes.T
    by_batch = n_rows * n_tokens * (BYTES_A_HIDDEN * hidden + BYTES_A_SCORE * heads * n_tokens)
    kept = int(by_batch.max())
    return int(BYTES_A_PARAMETER * parameters + FLOAT32 * WORKSPACE * layers * kept)
