"""transformers' Trainer, with or without `group_by_length`; evaluation each epoch, no saving."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from benchmarks.cases.fit_torch import about_torch, set_threads, tokenize
from benchmarks.cases.gpu import torch_peak
from benchmarks.cases.imports import import_torch_classes
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    import_torch_classes(job["model"])
    from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

    from tfft.metrics import single_label

    set_threads(job)
    with tempfile.TemporaryDirectory() as folder:
        turn.start()
        tokenized, collator, tokenizer = tokenize(job)
        arguments = TrainingArguments(
            output_dir=folder,
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            optim=job["optim"],
            group_by_length=job["grouped"],
            per_device_train_batch_size=job["batch_size"],
            per_device_eval_batch_size=job["batch_size"],
            learning_rate=job["learning_rate"],
            num_train_epochs=job["epochs"],
            seed=job["seed"],
            **job.get("arguments", {}),
        )
        model = AutoModelForSequenceClassification.from_pretrained(
            job["model"], num_labels=job["n_labels"]
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            data_collator=collator,
            train_dataset=tokenized["train"],
            eval_dataset=tokenized["validation"],
            processing_class=tokenizer,
            compute_metrics=lambda each: single_label(each.predictions, each.label_ids),
        )
        with turn.not_counted():
            about = about_torch(
                model, trainer.get_train_dataloader(), trainer.get_eval_dataloader()
            )
        trainer.add_callback(_told(turn, about))
        trainer.train()


def _told(turn: Turn, about: dict[str, Any]) -> Any:
    from transformers import TrainerCallback

    class Told(TrainerCallback):  # type: ignore[misc]
        """Stops after the first step and after each evaluation."""

        def __init__(self) -> None:
            self._fit_started = turn.seconds
            self._stepped = False
            self._started = self._asked = self._waited = 0.0

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self._started = self._asked = time.perf_counter()
            self._waited = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            # The batch is there by now.
            self._waited += time.perf_counter() - self._asked

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if not self._stepped:
                self._stepped = True
                turn.tell(fit_seconds=turn.seconds - self._fit_started, **about)
                self._started = time.perf_counter()
                self._waited = 0.0
            self._asked = time.perf_counter()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self._passed = time.perf_counter() - self._started

        def on_evaluate(self, *_: Any, metrics: dict[str, float], **__: Any) -> None:
            figures = {
                name.removeprefix("eval_"): value
                for name, value in metrics.items()
                if name.startswith("eval_")
            }
            turn.tell(metrics=figures, waits=self._waited / self._passed, **torch_peak())

    return Told()
