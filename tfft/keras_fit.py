"""A fit in TensorFlow: the model, its batches and the loop, wired for `runs.fit`.

result = fit(job, loss=None, collate_fn=None)
trained = try_out(work, bench)      # on a bench that has fit before; nothing is saved
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfft import training, weights
from tfft.bench import Bench
from tfft.data.loaders import open_split, open_stream
from tfft.data.split import Split
from tfft.distribute import device_names
from tfft.job import Job, Work
from tfft.loop import Trained
from tfft.results import FitResult


def fit(
    job: Job, *, loss: Any = None, collate_fn: Any = None, bench: Bench | None = None
) -> FitResult:
    """Trains, evaluates and saves, as `runs.fit` says.

    Args:
        bench: one that has fit before; None has the model loaded.
    """
    prepared = job.prepared
    bench = bench or Bench()
    bench.set_up(job, loss=loss)
    splits = make_splits(job, bench, collate_fn)
    job.begin(
        device=device_names(), n_replicas=bench.devices.n_replicas, loss=loss, collate_fn=collate_fn
    )
    more: dict[str, Mapping[str, float]] = {}

    def after_epoch(record: Any, is_best: bool) -> None:
        job.folder.save_epoch(
            record.epoch,
            is_best=is_best,
            write=lambda path: weights.save_checkpoint(bench.loaded, prepared.tokenizer, path),
        )
        for name in prepared.examples.more_validation if is_best else ():
            scores = training.evaluate(
                bench.loaded.model,
                splits[name],
                losses=bench.losses,
                devices=bench.devices,
                progress=job.progress,
                name=f"epoch {record.epoch}, {name}",
            )
            more[name] = scores.figures(job.metrics)

    trained = bench.fit(job, splits, after_epoch=after_epoch)
    return job.finish(trained, more, padding_fraction=splits["train"].padding_fraction)


def try_out(work: Work, bench: Bench, **more: Any) -> Trained:
    """Trains and evaluates, and saves nothing; the rest is for `bench.fit`."""
    bench.set_up(work)
    return bench.fit(work, make_splits(work, bench), **more)


def make_splits(work: Work, bench: Bench, collate_fn: Any = None) -> dict[str, Split]:
    config, prepared = work.config, work.prepared
    names, stream = prepared.examples.label_names, prepared.examples.stream
    splits = {
        name: open_split(
            config,
            each,
            prepared.tokenizer,
            loader=work.loader,
            shuffle=name == "train",
            model=bench.loaded.model,
            label_names=names,
            collate_fn=collate_fn,
        )
        for name, each in work.encoded.items()
        if name != "train" or stream is None
    }
    if stream is not None:
        splits["train"] = open_stream(
            config,
            stream,
            prepared.tokenizer,
            work.encoded["train"],
            max_length=prepared.max_length,
            label_names=names,
        )
    return splits
