"""One function a verb: a config -> files under the output folder, and a result.

    result = fit(config, output=Path("runs/cola-1"))
    evaluate("runs/cola-1", config, split="validation")
    predict("runs/cola-1", config, output=Path("predictions.csv"))
    convert("runs/cola-1", to="tensorflow", output=Path("cola-tf"))
    export("runs/cola-1", config, ExportConfig(), output=Path("bundles/cola"))

Everything is wired here and computed elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfft import backend, child, folders
from tfft.config import DataConfig, ExportConfig, ParityConfig, RunConfig, TuneConfig
from tfft.errors import ConfigError
from tfft.progress import Progress, shown_by
from tfft.pytorch.backend import check_installed
from tfft.ready import choose_batches, prepare, tokenise
from tfft.results import (
    ConvertResult,
    EvalResult,
    ExportResult,
    FitResult,
    FormatCheck,
    ParityResult,
    PlanResult,
    PredictResult,
    TuneResult,
)
from tfft.schedules import warmup_steps

# Where a comparison goes where nobody says otherwise.
PARITY_FILE = Path("parity.json")

if TYPE_CHECKING:
    from tfft.distribute import Devices


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

    Where this process has transformers open for another framework than the config's, a process of
    its own does it.

    Args:
        output: the run's folder; None takes `runs/<data>-<n>`.
        loss: a Keras loss of the user's own, instead of the task's and of `config.train.loss`.
        collate_fn: the user's own, for the loaders that collate.

    Raises:
        TfftError: says what to try; nothing is left behind unless an epoch was saved.
    """
    _check_data_named(config)
    _check_from_python(config, loss=loss, collate_fn=collate_fn)
    output = output or folders.default_output(config.data.source)
    progress = progress or Progress()
    if config.train.library == "pytorch":
        check_installed()
    if not backend.can_choose(config.train.library):
        if loss is not None or collate_fn is not None:
            backend.choose(config.train.library)  # refuses: they are objects of this process
        return child.fit(config, output=output, overwrite=overwrite, progress=progress)
    backend.choose(config.train.library)
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
    if backend.can_choose(config.train.library):  # else the checkpoint is read all the same
        backend.choose(config.train.library)
    from tfft import planning

    with shown_by(progress):
        return planning.plan(config, progress)


def _check_data_named(config: RunConfig) -> None:
    if not config.data.source:
        raise ConfigError("name the data to learn from with --data", options=["data.source"])


def _check_from_python(config: RunConfig, **given: Any) -> None:
    """Refuses objects of the user's own that the framework or the recipe has no place for."""
    train = config.train
    for name, value in given.items():
        if value is not None and train.library != "tensorflow":
            raise ConfigError(f"{name}= is for framework tensorflow, not {train.framework}")
    if given["loss"] is not None and train.label_smoothing:
        raise ConfigError("label_smoothing goes with the task's own loss, not loss=")


def _fit(
    config: RunConfig, folder: folders.RunFolder, *, loss: Any, collate_fn: Any, progress: Progress
) -> FitResult:
    prepared = prepare(config, progress)
    if loss is not None and config.train.class_weight and prepared.task.name == "multi_label":
        raise ConfigError("class_weight goes with the own loss of task multi_label, not loss=")
    # The best epoch's weights, the newest one's, and those being written.
    folder.need(3 * prepared.checkpoint.n_bytes)
    encoded = tokenise(prepared, progress)
    loader, n_steps = choose_batches(
        config, prepared, encoded, progress, collates=collate_fn is not None
    )
    warmup_steps(config.train, n_steps)  # refuses too long a one before anything heavy wakes

    progress.stage("loading the model")
    from tfft.job import Job

    job = Job(config, prepared, encoded, loader, n_steps, progress, folder)
    if config.train.framework == "pytorch":
        from tfft.pytorch import native

        return native.fit(job)
    if config.train.framework == "trainer":
        from tfft.pytorch import trainer

        return trainer.fit(job)
    from tfft import keras_fit

    return keras_fit.fit(job, loss=loss, collate_fn=collate_fn)


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
    backend.choose("tensorflow")
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
    backend.choose("tensorflow")
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


def convert(
    source: str,
    *,
    to: str,
    output: Path,
    head: str | None = None,
    allow_pickle: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ConvertResult:
    """A folder with the same model for the other framework, compared before it is called done.

    Args:
        to: `pytorch` or `tensorflow`.
        head: of `heads.HEADS`; None takes the one that the source's config names.

    Raises:
        TfftError: one side lacks a tensor, or the two differ; nothing is left behind.
    """
    progress = progress or Progress()
    if Path(source).expanduser().resolve().is_relative_to(output.resolve()):
        raise ConfigError(f"{output} holds the source itself; choose another --output")
    with (
        shown_by(progress),
        folders.RunFolder.claim(output, overwrite=overwrite) as folder,
    ):
        progress.stage("reading the checkpoint")
        from tfft.pretrained import head_of, open_checkpoint

        checkpoint = open_checkpoint(source, None, allow_pickle=allow_pickle)
        chosen = head_of(checkpoint, head)
        folder.need(2 * checkpoint.n_bytes)
        from tfft import conversion
        from tfft.provenance import RECORDED_PACKAGES, versions

        result = conversion.convert(
            checkpoint, chosen, to=to, folder=folder.partial, progress=progress
        )
        result = replace(result, output=folder.path)
        packages = versions(RECORDED_PACKAGES["convert"])
        folder.write(
            {"conversion.json": folders.as_json({**result.to_json(), "packages": packages})}
        )
        folder.finish()
    return result


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
    backend.choose("tensorflow")
    progress = progress or Progress()
    with shown_by(progress):
        from tfft.certificate.certify import certify

        result = replace(certify(config, asked, progress=progress), output=output)
    from tfft.reports.parity import parity_page

    folders.write_file(output, folders.as_json(result.to_json()))
    folders.write_file(page, parity_page(result))
    return result


def export(
    model: str,
    config: RunConfig,
    asked: ExportConfig,
    *,
    output: Path,
    progress: Progress | None = None,
) -> ExportResult | FormatCheck:
    """A version of a bundle: a SavedModel that takes raw text, checked before it is called done.

    Or the folder of another format, with what was found of it.

    Args:
        config: data to prove it with, where the run's isn't to be taken; how to read the model.
        output: the bundle's folder, new or with older versions.

    Raises:
        TfftError: the model can't be exported, or what was written isn't the same model; the folder
            is left as it was.
    """
    backend.choose("tensorflow")
    progress = progress or Progress()
    if asked.format != "saved_model":
        return _export_format(model, config, asked, output=output, progress=progress)
    from tfft.export.bundle import Place

    with shown_by(progress), Place.claim(output, version=asked.version) as place:
        from tfft import served

        saved = served.open_saved(model, config, progress)
        from tfft.export import warmup
        from tfft.export.assemble import assemble

        warmup.check_installed()
        return assemble(
            saved, place, config, asked, devices=_open_devices(config), progress=progress
        )


def _export_format(
    model: str, config: RunConfig, asked: ExportConfig, *, output: Path, progress: Progress
) -> FormatCheck:
    if asked.version is not None:
        raise ConfigError(
            f"version goes with format saved_model, not {asked.format}", options=["export.version"]
        )
    if output.exists():
        raise ConfigError(f"{output} exists; choose another --output")
    with (
        shown_by(progress),
        folders.RunFolder.claim(output, overwrite=False) as folder,
    ):
        from tfft import served

        saved = served.open_saved(model, config, progress)
        folder.need(2 * saved.checkpoint.n_bytes)
        from tfft.export.formats.deliver import deliver

        devices = _open_devices(config)
        check = deliver(saved, folder.partial, config, asked, devices=devices, progress=progress)
        about = {"passed": True, "source": model, "labels": list(saved.learned.label_names)}
        about |= {"task": saved.task.name, "max_length": saved.max_length}
        folder.write({"check.json": folders.as_json({**about, **check.to_json()})})
        folder.finish()
    return check


def tune(
    config: RunConfig,
    asked: TuneConfig,
    *,
    output: Path,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TuneResult:
    """Searches training options by the objective on a tenth of train, and trains the winner.

    As a chief or a worker, where Keras Tuner's variables make this process one.

    Args:
        output: the search's folder; where `DIR.partial` holds this very search, it goes on.

    Returns:
        Of a worker, which writes nothing, a result without a folder.

    Raises:
        TfftError: says what to try; what was searched so far stays, but for a search that hadn't
            begun.
    """
    _check_data_named(config)
    backend.check_installed("keras_tuner")
    backend.choose("tensorflow")
    progress = progress or Progress()
    from tfft.tuning import roles, search
    from tfft.tuning.record import FILE

    role = roles.role()
    roles.check_goes_with(role, asked)
    with shown_by(progress):
        if role.is_worker and role.address is not None:
            from tfft.tuning.worker import work_for

            return work_for(role.address, config, asked, progress)
        with folders.RunFolder.claim_again(output, overwrite=overwrite, record=FILE) as folder:
            return search.search(
                config,
                asked,
                folder,
                overwrite=overwrite,
                progress=progress,
                address=role.address,
            )


def _open_devices(config: RunConfig) -> Devices:
    from tfft.distribute import open_devices

    return open_devices(
        config.train.strategy,
        batch_size=config.train.batch_size,
        accumulate=config.train.accumulate,
    )
