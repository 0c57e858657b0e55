"""A fit by transformers' Trainer, given our model, optimizer, loss and figures.

    result = fit(job)

Trainer draws its own order of rows, at random by the config's seed, and pads each batch to its
longest text; the rest of the recipe, the choice of the best epoch and the folder are those of every
framework. Trainer itself prints, reports and saves nothing.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

import numpy as np

from tfft import loop
from tfft.errors import TfftError, TrainingError
from tfft.job import Job
from tfft.progress import Step
from tfft.pytorch.backend import torch, transformers
from tfft.pytorch.batches import Batches, open_batches
from tfft.pytorch.devices import device_names, memory
from tfft.pytorch.modeling import ExampleLosses, example_losses
from tfft.pytorch.native import TorchScorer, build, save, training_losses
from tfft.pytorch.optimizers import make_optimizer
from tfft.results import EpochRecord, FitResult


def fit(job: Job) -> FitResult:
    """Trains, evaluates and saves, as `runs.fit` says.

    Raises:
        TfftError: accelerate is missing, which Trainer needs; or as in TensorFlow.
    """
    if find_spec("accelerate") is None:
        raise TfftError('Trainer needs accelerate, which comes with pip install "tfft[torch]"')
    model, device = build(job)
    job.begin(device=device_names(device))
    splits = {
        name: open_batches(
            job.config, each, job.prepared.tokenizer, loader=job.loader, shuffle=False
        )
        for name, each in job.encoded.items()
    }
    cost = _Cost(model, training_losses(job))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as bars:
        watch = _Watch(job, model, device, cost, splits, bars)
        trainer = transformers.Trainer(
            model=model,
            args=_arguments(job, scratch, device),
            data_collator=transformers.DataCollatorWithPadding(job.prepared.tokenizer),
            train_dataset=job.encoded["train"].dataset,
            eval_dataset=job.encoded["validation"].dataset,
            compute_loss_func=cost,
            compute_metrics=watch.figures,
            optimizers=make_optimizer(model, job.config.train, job.n_steps),
            callbacks=[watch],
        )
        trainer.remove_callback(transformers.PrinterCallback)  # prints to standard output
        with memory(splits["train"], training=job.config.train):
            trainer.train()
    trained = watch.history.trained(watch.clock, splits["train"].n_examples)
    return job.finish(trained, watch.more, padding_fraction=cost.padding_fraction)


def _arguments(job: Job, scratch: str, device: Any) -> Any:
    config = job.config.train
    arguments = transformers.TrainingArguments(
        output_dir=scratch,
        num_train_epochs=config.epochs,
        max_steps=config.steps or -1,
        per_device_train_batch_size=config.batch_size // config.accumulate,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulate,
        max_grad_norm=config.clip_norm or 0.0,
        bf16=config.precision == "bfloat16",
        use_cpu=device.type == "cpu",
        seed=config.seed,
        eval_strategy="no",  # when, the watch says
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # else it multiplies the batch by all GPUs
    return arguments


class _Cost:
    """The loss of a batch, in training of its part of a step: Trainer's `compute_loss_func`.

    Attributes:
        n_rows, total: of the step so far, and the sum of their losses as the step weighs them.
    """

    def __init__(self, model: Any, losses: ExampleLosses) -> None:
        self._model, self._losses = model, losses
        self.n_rows, self.total = 0, 0.0
        self._n_tokens = self._n_real = 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def __call__(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        by_row = self._losses(labels, outputs.logits.float())
        if not self._model.training:
            return by_row.mean()
        # Trainer counts labels, of which a row of multi_label has several.
        n_rows = len(labels) if num_items_in_batch is None else num_items_in_batch
        if num_items_in_batch is not None and labels.ndim == 2:
            n_rows = num_items_in_batch / labels.shape[1]
        loss = by_row.sum() / n_rows
        self.n_rows, self.total = self.n_rows + len(labels), self.total + float(loss.detach())
        return loss

    def taken(self) -> tuple[int, float]:
        """The rows of the step that is done, and its mean loss."""
        told = self.n_rows, self.total
        self.n_rows, self.total = 0, 0.0
        return told

    def _count(self, model: Any, _: Any, features: Mapping[str, Any]) -> None:
        if model.training:
            self._n_tokens += features["attention_mask"].numel()
            self._n_real += int(features["attention_mask"].sum())

    @property
    def padding_fraction(self) -> float:
        """The part of the tokens that were learned from that was padding."""
        return 1.0 - self._n_real / self._n_tokens


class _Watch(transformers.TrainerCallback):
    """Shows what Trainer does, and keeps of it what a run keeps."""

    def __init__(
        self,
        job: Job,
        model: Any,
        device: Any,
        cost: _Cost,
        splits: Mapping[str, Batches],
        bars: ExitStack,
    ) -> None:
        config = job.config.train
        self.history = loop.History(job.prepared.metric, config.patience)
        self.clock = loop.Clock()
        self.more: dict[str, Mapping[str, float]] = {}
        self._job, self._model, self._cost = job, model, cost
        self._splits, self._bars = splits, bars
        self._losses = example_losses(job.prepared.task)
        self._scorer = TorchScorer(model, self._losses, config, device=device)
        self._stops = loop.stops_of(config, splits["train"].plan)
        self._scores: loop.Scores | None = None
        self._rate = config.learning_rate
        self._total, self._n_seen = 0.0, 0
        self._show: Step = lambda done, loss: None
        self._started = self._step_started = 0.0

    @property
    def _name(self) -> str:
        return f"epoch {len(self.history.records) + 1}/{len(self._stops)}"

    @property
    def _stop(self) -> int:
        """The step after which it is evaluated next."""
        return self._stops[len(self.history.records)]

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._begin()

    def _begin(self) -> None:
        """The steps up to the next evaluation."""
        self._total, self._n_seen = 0.0, 0
        self._started = self._step_started = time.perf_counter()
        plan, done = self._splits["train"].plan, self.clock.n_steps
        n_rows = plan.n_rows(self._stop) - plan.n_rows(done)
        self._show = self._bars.enter_context(self._job.progress.steps(self._name, n_rows))

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, lr_scheduler: Any, **_: Any
    ) -> None:
        self._rate = lr_scheduler.get_last_lr()[0]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        n_rows, loss = self._cost.taken()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at {self._name}, step {state.global_step}; try a lower "
                "--learning-rate"
            )
        self._total, self._n_seen = self._total + loss * n_rows, self._n_seen + n_rows
        now = time.perf_counter()
        self.clock.step(n_rows, now - self._step_started)
        self._step_started = now
        self._show(n_rows, loss)
        if state.global_step == self._stop:
            control.should_evaluate = True
            self._begin_validation()

    def _begin_validation(self) -> None:
        self._bars.close()
        self._show = self._bars.enter_context(
            self._job.progress.steps(
                f"{self._name}, validation", self._splits["validation"].n_examples
            )
        )

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._show(args.per_device_eval_batch_size, None)

    def figures(self, prediction: Any) -> dict[str, float]:
        """Trainer's `compute_metrics`: our own figures, the loss as a mean over rows."""
        logits = prediction.predictions
        logits = np.asarray(logits[0] if isinstance(logits, tuple) else logits, np.float32)
        labels = prediction.label_ids
        by_row = self._losses(torch.from_numpy(labels), torch.from_numpy(logits)).numpy()
        self._scores = loop.scores_of(
            by_row, logits, labels, self._splits["validation"], f"{self._name}, validation"
        )
        return {"validation_loss": self._scores.loss, **self._job.metrics(logits, labels)}

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bars.close()
        assert self._scores is not None  # noqa: S101 - compute_metrics has been called
        scores, job = self._scores, self._job
        record = EpochRecord(
            epoch=len(self.history.records) + 1,
            loss=self._total / self._n_seen,
            validation_loss=scores.loss,
            learning_rate=float(self._rate),
            metrics=job.metrics(scores.logits, scores.labels),
            seconds=time.perf_counter() - self._started,
        )
        is_best = self.history.add(record)
        job.folder.save_epoch(
            record.epoch,
            is_best=is_best,
            write=lambda path: save(self._model, job.prepared.tokenizer, path),
        )
        for name in job.prepared.examples.more_validation if is_best else ():
            told = f"epoch {record.epoch}, {name}"
            more = loop.score(self._scorer, self._splits[name], told, job.progress)
            self.more[name] = more.figures(job.metrics)
        job.progress.epoch(record, len(self._stops))
        if over := self.history.why_over():
            job.progress.note(over)
            control.should_training_stop = True
        elif state.global_step < self._stops[-1]:
            self._begin()
