"""A fit in TensorFlow: the model, its batches and the loop, wired for `runs.fit`.

result = fit(job, loss=None, collate_fn=None)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfft import depths, modeling, precision, training, weights
from tfft.backend import keras
from tfft.data.loaders import open_split, open_stream
from tfft.data.split import Split
from tfft.distribute import Devices, device_names, open_devices
from tfft.errors import ConfigError, listed
from tfft.job import Job
from tfft.modeling import ExampleLosses, LoadedModel
from tfft.results import FitResult


def fit(job: Job, *, loss: Any = None, collate_fn: Any = None) -> FitResult:
    """Trains, evaluates and saves, as `runs.fit` says."""
    config, prepared = job.config, job.prepared
    devices = _open_devices(job)
    with devices.scope(), precision.policy(config.train.precision):
        loaded = _load_model(job)
        modeling.compile_model(
            loaded.model, prepared.task, config.train, loss=loss, n_steps=job.n_steps
        )
    precision.check_model(loaded.model, config.train.precision)
    if config.train.freeze is not None:
        n_learning, n_frozen = depths.n_parameters(loaded.model)
        job.progress.note(f"freeze: {n_frozen:,} parameters are frozen, {n_learning:,} learn")
    weights.check_names(set(weights.by_pytorch_name(loaded.model)), loaded)
    splits = _make_splits(job, loaded, collate_fn)
    job.begin(
        device=device_names(), n_replicas=devices.n_replicas, loss=loss, collate_fn=collate_fn
    )

    losses, training_losses = _losses(job, loaded, loss)
    more: dict[str, Mapping[str, float]] = {}

    def after_epoch(record: Any, is_best: bool) -> None:
        job.folder.save_epoch(
            record.epoch,
            is_best=is_best,
            write=lambda path: weights.save_checkpoint(loaded, prepared.tokenizer, path),
        )
        for name in prepared.examples.more_validation if is_best else ():
            scores = training.evaluate(
                loaded.model,
                splits[name],
                losses=losses,
                devices=devices,
                progress=job.progress,
                name=f"epoch {record.epoch}, {name}",
            )
            more[name] = scores.figures(job.metrics)

    trained = training.fit(
        loaded.model,
        splits["train"],
        splits["validation"],
        losses=losses,
        training_losses=training_losses,
        metrics=job.metrics,
        metric_for_best=prepared.metric,
        config=config.train,
        devices=devices,
        progress=job.progress,
        after_epoch=after_epoch,
    )
    return job.finish(trained, more, padding_fraction=splits["train"].padding_fraction)


def _open_devices(job: Job) -> Devices:
    config = job.config.train
    devices = open_devices(
        config.strategy, batch_size=config.batch_size, accumulate=config.accumulate
    )
    if config.xla and (devices.n_replicas > 1 or job.loader in ("prepare", "to_tf")):
        raise ConfigError(
            "xla is for one device and a loader of few lengths; try --strategy none, and --loader "
            "bucketed without a collate_fn"
        )
    if devices.n_replicas > 1:
        job.progress.note(f"devices: a replica on each of {listed(devices.names)}")
    if note := precision.check_devices(config.precision, devices.names):
        job.progress.note(note)
    return devices


def _load_model(job: Job) -> LoadedModel:
    config, prepared = job.config, job.prepared
    keras.utils.set_random_seed(config.train.seed)
    loaded = modeling.load_model(
        prepared.checkpoint,
        prepared.task,
        label_names=prepared.examples.label_names,
        reset_head=config.model.reset_head,
        pad_token_id=prepared.tokenizer.pad_token_id,
    )
    job.note_head(loaded.fresh)
    return loaded


def _losses(job: Job, loaded: LoadedModel, loss: Any) -> tuple[ExampleLosses, ExampleLosses]:
    """What a row costs in evaluation, and in training."""
    config, task = job.config.train, job.prepared.task
    losses = modeling.example_losses(loaded.model, task, config.loss if loss is None else loss)
    training_losses = losses
    if config.label_smoothing:
        training_losses = modeling.smoothed_losses(task, config.label_smoothing)
    if job.prepared.class_weights is not None:
        training_losses = modeling.weighted_losses(
            training_losses, task, job.prepared.class_weights
        )
    return losses, training_losses


def _make_splits(job: Job, loaded: LoadedModel, collate_fn: Any) -> dict[str, Split]:
    config, prepared = job.config, job.prepared
    names, stream = prepared.examples.label_names, prepared.examples.stream
    splits = {
        name: open_split(
            config,
            each,
            prepared.tokenizer,
            loader=job.loader,
            shuffle=name == "train",
            model=loaded.model,
            label_names=names,
            collate_fn=collate_fn,
        )
        for name, each in job.encoded.items()
        if name != "train" or stream is None
    }
    if stream is not None:
        splits["train"] = open_stream(
            config,
            stream,
            prepared.tokenizer,
            job.encoded["train"],
            max_length=prepared.max_length,
            label_names=names,
        )
    return splits
