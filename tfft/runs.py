"""One function a verb: a config -> files under the output folder, and a result.

    result = fit(config, output=Path("runs/cola-1"))
    evaluate("runs/cola-1", config, split="validation")
    predict("runs/cola-1", config, output=Path("predictions.csv"))

Everything is wired here and computed elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfft import folders
from tfft.config import DataConfig, ParityConfig, RunConfig
from tfft.errors import ConfigError, listed
from tfft.progress import Progress, shown_by
from tfft.pytorch.backend import check_installed
from tfft.ready import Prepared, prepare, tokenise
from tfft.results import EvalResult, FitResult, ParityResult, PlanResult, PredictResult
from tfft.schedules import warmup_steps

# Where a comparison goes where nobody says otherwise.
PARITY_FILE = Path("parity.json")

if TYPE_CHECKING:
    from tfft.data.encode import Encoded
    from tfft.data.split import Split
    from tfft.distribute import Devices
    from tfft.modeling import LoadedModel
    from tfft.training import Trained


def fit(
    config: RunConfig,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    loss: Any = None,
    collate_fn: Any = None,
    progress: Progress | None = None,
) -> FitResult:
    """Trains, evaluates after each epoch (or `evaluate_every` steps), and keeps the best one.

    Args:
        output: the run's folder; None takes `runs/<data>-<n>`.
        loss: a Keras loss of the user's own, instead of the task's and of `config.train.loss`.
        collate_fn: the user's own, for the loaders that collate.

    Raises:
        TfftError: says what to try; nothing is left behind unless an epoch was saved.
    """
    _check_data_named(config)
    output = output or folders.default_output(config.data.source)
    progress = progress or Progress()
    with (
        shown_by(progress),
        folders.RunFolder.claim(output, overwrite=overwrite) as folder,
    ):
        return _fit(config, folder, loss=loss, collate_fn=collate_fn, progress=progress)


def plan(config: RunConfig, *, progress: Progress | None = None) -> PlanResult:
    """What `fit` would do with this config; nothing is trained or written.

    Raises:
        TfftError: as the fit would, but for what only building the model tells: a head of another
            size, too few rows a batch for the devices.
    """
    _check_data_named(config)
    progress = progress or Progress()
    progress.stage("reading the data")
    from tfft import planning

    with shown_by(progress):
        return planning.plan(config, progress)


def _check_data_named(config: RunConfig) -> None:
    if not config.data.source:
        raise ConfigError("name the data to learn from with --data", options=["data.source"])


def _fit(
    config: RunConfig, folder: folders.RunFolder, *, loss: Any, collate_fn: Any, progress: Progress
) -> FitResult:
    prepared = prepare(config, progress)
    if loss is not None and config.train.class_weight and prepared.task.name == "multi_label":
        raise ConfigError("class_weight goes with the own loss of task multi_label, not loss=")
    if loss is not None and config.train.label_smoothing:
        raise ConfigError("label_smoothing goes with the task's own loss, not loss=")
    # The best epoch's weights, the newest one's, and those being written.
    folder.need(3 * prepared.checkpoint.n_bytes)
    encoded = tokenise(prepared, progress)
    loader, n_steps = _choose_batches(config, prepared, encoded, collate_fn, progress)
    warmup_steps(config.train, n_steps)  # refuses too long a one before anything heavy wakes

    progress.stage("loading the model")
    from tfft import depths, modeling, precision, training, weights
    from tfft.metrics import metrics_of
    from tfft.provenance import manifest, resolve, run_toml

    devices = _open_devices(config)
    if config.train.xla and (devices.n_replicas > 1 or loader in ("prepare", "to_tf")):
        raise ConfigError(
            "xla is for one device and a loader of few lengths; try --strategy none, and --loader "
            "bucketed without a collate_fn"
        )
    if devices.n_replicas > 1:
        progress.note(f"devices: a replica on each of {listed(devices.names)}")
    if note := precision.check_devices(config.train.precision, devices.names):
        progress.note(note)
    with devices.scope(), precision.policy(config.train.precision):
        loaded = _load_model(config, prepared, progress)
        modeling.compile_model(
            loaded.model, prepared.task, config.train, loss=loss, n_steps=n_steps
        )
    precision.check_model(loaded.model, config.train.precision)
    if config.train.freeze is not None:
        n_learning, n_frozen = depths.n_parameters(loaded.model)
        progress.note(f"freeze: {n_frozen:,} parameters are frozen, {n_learning:,} learn")
    weights.check_names(set(weights.by_pytorch_name(loaded.model)), loaded)
    splits = _make_splits(config, prepared, encoded, loader, loaded, collate_fn)
    resolved = resolve(
        config, prepared.examples, splits["train"].loader, prepared.max_length, prepared.metric
    )
    folder.write(
        {
            "run.toml": run_toml(resolved, loss=loss, collate_fn=collate_fn),
            "manifest.json": _json(
                manifest(config, prepared.checkpoint, prepared.examples, devices)
            ),
        }
    )
    folder.started = True

    chosen = loss if loss is not None else config.train.loss
    losses = modeling.example_losses(loaded.model, prepared.task, chosen)
    training_losses = losses
    if config.train.label_smoothing:
        training_losses = modeling.smoothed_losses(prepared.task, config.train.label_smoothing)
    if prepared.class_weights is not None:
        training_losses = modeling.weighted_losses(
            training_losses, prepared.task, prepared.class_weights
        )
    metrics = metrics_of(prepared.task.name, threshold=config.model.threshold)
    more: dict[str, Mapping[str, float]] = {}

    def after_epoch(record: Any, is_best: bool) -> None:
        folder.save_epoch(
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
                progress=progress,
                name=f"epoch {record.epoch}, {name}",
            )
            more[name] = scores.figures(metrics)

    trained = training.fit(
        loaded.model,
        splits["train"],
        splits["validation"],
        losses=losses,
        training_losses=training_losses,
        metrics=metrics,
        metric_for_best=prepared.metric,
        config=config.train,
        devices=devices,
        progress=progress,
        after_epoch=after_epoch,
    )
    result = _fit_result(config, prepared.task.name, trained, splits, more, folder.path)
    folder.write(
        {
            "metrics.json": _json(result.to_json()),
            "history.json": _json([record.to_json() for record in trained.history]),
        }
    )
    folder.finish()
    return result


def _load_model(config: RunConfig, prepared: Prepared, progress: Progress) -> LoadedModel:
    from tfft import modeling
    from tfft.backend import keras

    names = prepared.examples.label_names
    keras.utils.set_random_seed(config.train.seed)
    loaded = modeling.load_model(
        prepared.checkpoint,
        prepared.task,
        label_names=names,
        reset_head=config.model.reset_head,
        pad_token_id=prepared.tokenizer.pad_token_id,
    )
    if loaded.fresh or config.model.reset_head:
        progress.note(f"head: a fresh one for {len(names)} label{'s' * (len(names) > 1)}")
    else:
        learned = listed(prepared.checkpoint.label_names)
        progress.note(
            f"head: the checkpoint's own ({learned}) goes on learning; --reset-head starts anew"
        )
    return loaded


def _choose_batches(
    config: RunConfig,
    prepared: Prepared,
    encoded: Mapping[str, Encoded],
    collate_fn: Any,
    progress: Progress,
) -> tuple[str, int]:
    """The loader, and how many steps the run has."""
    from tfft.data.choice import choose_loader, plan_batches

    train = encoded["train"]
    loader, why = choose_loader(
        config.data.loader,
        train.lengths,
        len(train.features),
        collates=collate_fn is not None,
        streams=prepared.examples.stream is not None,
    )
    progress.note(f"loader: {loader}: {why}")
    plan = plan_batches(config, train.lengths, loader=loader, shuffle=True)
    return loader, plan.total_steps(config.train)


def _make_splits(
    config: RunConfig,
    prepared: Prepared,
    encoded: Mapping[str, Encoded],
    loader: str,
    loaded: LoadedModel,
    collate_fn: Any,
) -> dict[str, Split]:
    from tfft.data.loaders import open_split, open_stream

    stream = prepared.examples.stream
    splits = {
        name: open_split(
            config,
            each,
            prepared.tokenizer,
            loader=loader,
            shuffle=name == "train",
            model=loaded.model,
            label_names=prepared.examples.label_names,
            collate_fn=collate_fn,
        )
        for name, each in encoded.items()
        if name != "train" or stream is None
    }
    if stream is not None:
        splits["train"] = open_stream(
            config,
            stream,
            prepared.tokenizer,
            encoded["train"],
            max_length=prepared.max_length,
            label_names=prepared.examples.label_names,
        )
    return splits


def evaluate(
    model: str,
    config: RunConfig,
    *,
    split: str = DataConfig.validation_split,
    progress: Progress | None = None,
) -> EvalResult:
    """The metrics of a saved run or checkpoint on a split that has labels; of MNLI on both.

    Args:
        config: its data, and how to run: batch size, strategy, threshold.
    """
    progress = progress or Progress()
    from tfft import served

    with shown_by(progress):
        saved = served.open_saved(model, config, progress)
        parts = served.read_parts(saved, config, split, label_needed=True, progress=progress)
    from tfft import modeling, training
    from tfft.metrics import metrics_of

    devices = _open_devices(config)
    loaded = served.build(saved, devices, progress)
    figures = {}
    for part in parts:
        scores = training.evaluate(
            loaded.model,
            served.make_batches(saved, part, config, loaded, progress),
            losses=modeling.example_losses(loaded.model, saved.task, saved.loss),
            devices=devices,
            progress=progress,
        )
        metrics = metrics_of(saved.task.name, threshold=saved.threshold)
        figures[part.rows.name] = scores.figures(metrics)
    first, *others = figures
    return EvalResult(
        saved.task.name,
        config.data.source,
        model,
        first,
        figures[first],
        {name: figures[name] for name in others},
    )


def predict(
    model: str,
    config: RunConfig,
    *,
    output: Path,
    split: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PredictResult:
    """Writes one row an example, in input order: id, prediction, score, probability_<label>.

    Args:
        config: its data, and how to run: batch size, strategy, threshold.
    """
    from tfft import predictions, served

    progress = progress or Progress()
    predictions.check_output(output, overwrite=overwrite)
    with shown_by(progress):
        saved = served.open_saved(model, config, progress)
        [part] = served.read_parts(saved, config, split, label_needed=False, progress=progress)
    from tfft import training

    devices = _open_devices(config)
    loaded = served.build(saved, devices, progress)
    batches = served.make_batches(saved, part, config, loaded, progress)
    logits = training.predict(loaded.model, batches, devices=devices, progress=progress)
    names, task = saved.learned.label_names, saved.task.name
    table = predictions.predictions(
        list(part.rows.rows["id"]), logits, names, task=task, threshold=saved.threshold
    )
    predictions.write(table, output)
    counts = {} if task == "regression" else predictions.counts(table["prediction"], names)
    return PredictResult(config.data.source, model, part.rows.name, output, len(logits), counts)


def parity(
    config: RunConfig,
    asked: ParityConfig,
    *,
    output: Path = PARITY_FILE,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ParityResult:
    """Takes the same steps in TensorFlow and in PyTorch, and writes how far they are apart.

    Args:
        output: parity.json, by any name; the page lies beside it.

    Returns:
        The result, which may say that they differ: nothing is raised for that.
    """
    _check_data_named(config)
    page = output.with_suffix(".html")
    for path, ending in ((output, ".json"), (page, ".html")):
        folders.check_file(path, endings=(ending,), overwrite=overwrite)
    check_installed()
    progress = progress or Progress()
    with shown_by(progress):
        from tfft.certificate.certify import certify

        result = replace(certify(config, asked, progress=progress), output=output)
    from tfft.reports.parity import parity_page

    folders.write_file(output, _json(result.to_json()))
    folders.write_file(page, parity_page(result))
    return result


def _open_devices(config: RunConfig) -> Devices:
    from tfft.distribute import open_devices

    return open_devices(
        config.train.strategy,
        batch_size=config.train.batch_size,
        accumulate=config.train.accumulate,
    )


def _fit_result(
    config: RunConfig,
    task: str,
    trained: Trained,
    splits: Mapping[str, Split],
    more: Mapping[str, Mapping[str, float]],
    output: Path,
) -> FitResult:
    best = trained.best
    return FitResult(
        task=task,
        data=config.data.source,
        model=config.model.source,
        validation={
            "loss": best.validation_loss,
            **best.metrics,
            "n_examples": splits["validation"].n_examples,
        },
        train={
            "loss": best.loss,
            "n_examples": trained.n_examples,
            "n_steps": trained.n_steps,
            "examples_per_s": trained.examples_per_s,
            "padding_fraction": splits["train"].padding_fraction,
            "seconds": trained.seconds,
        },
        best_epoch=trained.best_epoch,
        more_validation=more,
        history=trained.history,
        output=output,
    )


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
