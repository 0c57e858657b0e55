"""A fit that is ready to begin, and what it leaves in its folder, whichever framework does it.

job = Job(config, prepared, encoded, "bucketed", 1605, progress, folder)
job.begin(device="CPU (x86_64)")                        # run.toml, manifest.json
trained = ...                                           # and folder.save_epoch(...)
return job.finish(trained, more, padding_fraction=0.04) # metrics.json, history.json, model/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tfft.config import RunConfig
from tfft.errors import listed
from tfft.folders import RunFolder, as_json
from tfft.metrics import Metrics, metrics_of
from tfft.progress import Progress
from tfft.provenance import manifest, resolve, run_toml
from tfft.ready import Prepared
from tfft.results import FitResult

if TYPE_CHECKING:
    from tfft.data.encode import Encoded
    from tfft.loop import Trained


@dataclass(frozen=True)
class Work:
    """What is to be trained, without a word of what becomes of it.

    Attributes:
        encoded: each split in tokens, `train` first.
        loader: by name; of transformers' Trainer, which has its own, `auto`.
        n_steps: of the whole run.
    """

    config: RunConfig
    prepared: Prepared
    encoded: Mapping[str, Encoded]
    loader: str
    n_steps: int
    progress: Progress

    @cached_property
    def metrics(self) -> Metrics:
        return metrics_of(self.prepared.task.name, threshold=self.config.model.threshold)

    def note_head(self, fresh: tuple[str, ...]) -> None:
        """Says where the head came from."""
        n_labels = len(self.prepared.examples.label_names)
        if fresh or self.config.model.reset_head:
            self.progress.note(f"head: a fresh one for {n_labels} label{'s' * (n_labels > 1)}")
            return
        learned = listed(self.prepared.checkpoint.label_names)
        self.progress.note(
            f"head: the checkpoint's own ({learned}) goes on learning; --reset-head starts anew"
        )


@dataclass(frozen=True)
class Job(Work):
    """What every framework is given: the work, and the folder that its result goes into."""

    folder: RunFolder

    def begin(
        self,
        *,
        device: str | list[str],
        n_replicas: int = 1,
        loss: Any = None,
        collate_fn: Any = None,
    ) -> None:
        """Writes what the run is made of; from here on an interrupted one stays.

        Args:
            device: the names of the GPUs, or what the CPU is.
            loss, collate_fn: the user's own, from Python.
        """
        prepared = self.prepared
        resolved = resolve(
            self.config, prepared.examples, self.loader, prepared.max_length, prepared.metric
        )
        about = manifest(
            self.config,
            prepared.checkpoint,
            prepared.examples,
            device=device,
            n_replicas=n_replicas,
        )
        self.folder.write(
            {
                "run.toml": run_toml(resolved, loss=loss, collate_fn=collate_fn),
                "manifest.json": as_json(about),
            }
        )
        self.folder.started = True

    def finish(
        self,
        trained: Trained,
        more: Mapping[str, Mapping[str, float]],
        *,
        padding_fraction: float,
    ) -> FitResult:
        """Writes what was measured, and gives the folder its name.

        Args:
            more: the best epoch's figures of further validation splits.
        """
        best = trained.best
        result = FitResult(
            task=self.prepared.task.name,
            data=self.config.data.source,
            model=self.config.model.source,
            validation={
                "loss": best.validation_loss,
                **best.metrics,
                "n_examples": len(self.encoded["validation"].lengths),
            },
            train={
                "loss": best.loss,
                "n_examples": trained.n_examples,
                "n_steps": trained.n_steps,
                "examples_per_s": trained.examples_per_s,
                "padding_fraction": padding_fraction,
                "seconds": trained.seconds,
            },
            best_epoch=trained.best_epoch,
            more_validation=more,
            history=trained.history,
            output=self.folder.path,
        )
        self.folder.write(
            {
                "metrics.json": as_json(result.to_json()),
                "history.json": as_json([record.to_json() for record in trained.history]),
            }
        )
        self.folder.finish()
        return result
