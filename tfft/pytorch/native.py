"""A fit in PyTorch's own words: a DataLoader, an optimizer, and a loop over batches.

    result = fit(job)

The same rows in the same batches, the same recipe and the same folder as TensorFlow's
`tfft/keras_fit.py`; the loop around the step is `tfft/loop.py` for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from tfft import loop
from tfft.config import TrainConfig
from tfft.folders import os_errors
from tfft.job import Job
from tfft.pytorch.backend import torch
from tfft.pytorch.batches import open_batches
from tfft.pytorch.devices import check_precision, choose_device, device_names, memory
from tfft.pytorch.modeling import ExampleLosses, example_losses, load_model, logits_of
from tfft.pytorch.optimizers import make_optimizer
from tfft.results import FitResult


def fit(job: Job) -> FitResult:
    """Trains, evaluates and saves, as `runs.fit` says.

    Raises:
        TfftError: as in TensorFlow.
    """
    config, prepared = job.config, job.prepared
    model, device = build(job)
    splits = {
        name: open_batches(
            config, each, prepared.tokenizer, loader=job.loader, shuffle=name == "train"
        )
        for name, each in job.encoded.items()
    }
    job.begin(device=device_names(device))
    engine = TorchEngine(
        model,
        example_losses(prepared.task),
        training_losses(job),
        config.train,
        n_steps=job.n_steps,
        device=device,
    )
    more: dict[str, Mapping[str, float]] = {}

    def after_epoch(record: Any, is_best: bool) -> None:
        job.folder.save_epoch(
            record.epoch,
            is_best=is_best,
            write=lambda path: save(model, prepared.tokenizer, path),
        )
        for name in prepared.examples.more_validation if is_best else ():
            scores = loop.score(engine, splits[name], f"epoch {record.epoch}, {name}", job.progress)
            more[name] = scores.figures(job.metrics)

    trained = loop.fit(
        engine,
        splits["train"],
        splits["validation"],
        metrics=job.metrics,
        metric_for_best=prepared.metric,
        config=config.train,
        progress=job.progress,
        after_epoch=after_epoch,
    )
    return job.finish(trained, more, padding_fraction=splits["train"].padding_fraction)


def build(job: Job) -> tuple[Any, Any]:
    """The job's model on its device."""
    config, prepared = job.config, job.prepared
    device = choose_device()
    check_precision(device, config.train.precision)
    torch.manual_seed(config.train.seed)
    loaded = load_model(
        prepared.checkpoint,
        prepared.task,
        label_names=prepared.examples.label_names,
        reset_head=config.model.reset_head,
        pad_token_id=prepared.tokenizer.pad_token_id,
    )
    job.note_head(loaded.fresh)
    return loaded.model.to(device), device


def training_losses(job: Job) -> ExampleLosses:
    return example_losses(
        job.prepared.task,
        smoothing=job.config.train.label_smoothing,
        weights=job.prepared.class_weights,
    )


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes a folder that AutoModel* and TFAutoModel* both load as it is.

    Raises:
        OSError: it can't be written.
    """
    with os_errors(folder):
        # One file whatever its size, as TensorFlow's runs have it.
        model.save_pretrained(folder, safe_serialization=True, max_shard_size=2**50)
        tokenizer.save_pretrained(folder)


class TorchScorer:
    """What PyTorch says of a batch: `loop.Scorer`."""

    def __init__(
        self, model: Any, losses: ExampleLosses, config: TrainConfig, *, device: Any
    ) -> None:
        self.model, self.config, self.device = model, config, device
        self._losses = losses

    @torch.no_grad()
    def score(self, features: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.model.eval()
        logits = self._logits(features)
        by_row = self._losses(labels.to(self.device), logits)
        return by_row.cpu().numpy(), logits.cpu().numpy(), labels.numpy()

    def _logits(self, features: Mapping[str, Any]) -> Any:
        there = {name: each.to(self.device) for name, each in features.items()}
        is_mixed = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_mixed):
            return logits_of(self.model, there)

    def memory(self, split: Any, *, training: bool) -> AbstractContextManager[None]:
        return memory(split, training=self.config if training else None)


class TorchEngine(TorchScorer):
    """And how it learns from one: `loop.Engine`."""

    def __init__(
        self,
        model: Any,
        losses: ExampleLosses,
        training_losses: ExampleLosses,
        config: TrainConfig,
        *,
        n_steps: int,
        device: Any,
    ) -> None:
        super().__init__(model, losses, config, device=device)
        self._training_losses = training_losses
        self._optimizer, self._schedule = make_optimizer(model, config, n_steps)
        self._rate = config.learning_rate

    def train(self, features: Any, labels: Any) -> tuple[Any, int]:
        """One step, its rows fed in `accumulate` parts whose gradients sum up."""
        self.model.train()
        self._optimizer.zero_grad()
        n_rows, loss = len(labels), torch.zeros((), device=self.device)
        at_once = -(-n_rows // self.config.accumulate)
        for start in range(0, n_rows, at_once):
            rows = slice(start, start + at_once)
            logits = self._logits({name: each[rows] for name, each in features.items()})
            by_row = self._training_losses(labels[rows].to(self.device), logits)
            part = by_row.sum() / n_rows
            part.backward()
            loss += part.detach()
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self._rate = self._schedule.get_last_lr()[0]
        self._optimizer.step()
        self._schedule.step()
        return loss, n_rows

    def learning_rate(self) -> float:
        return float(self._rate)

    def averaged(self) -> AbstractContextManager[None]:
        """The weights as they are."""
        return nullcontext()

    def notes(self, name: str, n_steps: int) -> Sequence[str]:
        return ()
