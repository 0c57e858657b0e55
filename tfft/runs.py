"""One function a verb: a config -> files under the output folder, and a result.

    result = fit(config, output=Path("runs/cola-1"))
    evaluate("runs/cola-1", DataConfig(source="glue/cola"), split="validation")
    predict("runs/cola-1", DataConfig(source="new.csv"), output=Path("predictions.csv"))

Everything is wired here and computed elsewhere.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfft import folders
from tfft.config import DataConfig, RunConfig, read_toml
from tfft.errors import ConfigError, DataError, ModelError, listed
from tfft.progress import Progress
from tfft.results import EvalResult, FitResult, PredictResult
from tfft.tasks import TASKS

if TYPE_CHECKING:
    from tfft.data.encode import Encoded
    from tfft.data.examples import Examples, SplitRows
    from tfft.data.split import Split
    from tfft.modeling import LoadedModel
    from tfft.pretrained import Checkpoint
    from tfft.training import Trained

# Packages whose version can change a figure.
RECORDED_PACKAGES = (
    *("tfft", "tensorflow", "tf-keras", "transformers", "tokenizers", "datasets", "numpy"),
    *("scikit-learn", "safetensors"),
)
PREDICTION_WRITERS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def fit(
    config: RunConfig,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    loss: Any = None,
    collate_fn: Any = None,
    progress: Progress | None = None,
) -> FitResult:
    """Trains, evaluates after each epoch, and keeps the best one.

    Args:
        output: the run's folder; None takes `runs/<data>-<n>`.
        loss: a Keras loss of the user's own, instead of the model's and of `config.train.loss`.
        collate_fn: the user's own, for the loaders that collate.

    Raises:
        TfftError: says what to try; nothing is left behind unless an epoch was saved.
    """
    if not config.data.source:
        raise ConfigError("name the data to learn from with --data", options=["data.source"])
    output = output or folders.default_output(config.data.source)
    progress = progress or Progress()
    with folders.RunFolder.claim(output, overwrite=overwrite) as folder:
        return _fit(config, folder, loss=loss, collate_fn=collate_fn, progress=progress)


def _fit(
    config: RunConfig, folder: folders.RunFolder, *, loss: Any, collate_fn: Any, progress: Progress
) -> FitResult:
    progress.stage("reading the data")
    from tfft.data.examples import load_training

    examples = load_training(config.data, seed=config.train.seed)
    task = TASKS[examples.task]
    metric = _metric_for_best(config, examples)
    for note in examples.notes:
        progress.note(note)

    progress.stage("reading the checkpoint")
    from tfft.pretrained import load_tokenizer, longest_tokens, open_checkpoint

    checkpoint = open_checkpoint(config.model.source, task)
    tokenizer = load_tokenizer(checkpoint)
    max_length = longest_tokens(checkpoint, tokenizer, config.data.max_length)
    # The best epoch's weights, the newest one's, and those being written.
    folder.need(3 * checkpoint.n_bytes)

    progress.stage("tokenising")
    from tfft.data.encode import encode

    encoded = {
        "train": encode(examples.train, tokenizer, max_length=max_length),
        "validation": encode(examples.validation, tokenizer, max_length=max_length),
    }
    for note in _length_notes(encoded, max_length):
        progress.note(note)

    progress.stage("loading the model")
    from tfft import modeling, training, weights
    from tfft.backend import keras
    from tfft.data.loaders import choose_loader, make_split
    from tfft.data.plan import BatchPlan
    from tfft.metrics import single_label

    loader, why = choose_loader(
        config.data.loader, encoded["train"], collates=collate_fn is not None
    )
    progress.note(f"loader: {loader}: {why}")
    keras.utils.set_random_seed(config.train.seed)
    loaded = modeling.load_model(
        checkpoint,
        task,
        label_names=examples.label_names,
        reset_head=config.model.reset_head,
        pad_token_id=tokenizer.pad_token_id,
    )
    _note_head(loaded, checkpoint, examples.label_names, progress)
    weights.check_names(set(weights.to_pytorch(loaded.model)), loaded)
    modeling.compile_model(loaded.model, config.train, loss=loss)
    splits = {
        name: make_split(
            each,
            tokenizer,
            BatchPlan(
                n_examples=len(each.lengths),
                batch_size=config.train.batch_size,
                seed=config.train.seed,
                shuffle=name == "train",
            ),
            loader=loader,
            model=loaded.model,
            label_names=examples.label_names,
            collate_fn=collate_fn,
        )
        for name, each in encoded.items()
    }
    resolved = _resolve(config, examples, loader=loader, max_length=max_length, metric=metric)
    folder.write({"run.toml": _run_toml(resolved, loss=loss, collate_fn=collate_fn)})
    folder.write({"manifest.json": _json(_manifest(config, checkpoint, examples))})
    folder.started = True

    trained = training.fit(
        loaded.model,
        splits["train"],
        splits["validation"],
        losses=modeling.example_losses(
            loaded.model, loss if loss is not None else config.train.loss
        ),
        metrics=single_label,
        metric_for_best=metric,
        config=config.train,
        progress=progress,
        after_epoch=lambda record, is_best: folder.save_epoch(
            record.epoch,
            is_best=is_best,
            write=lambda path: weights.save_checkpoint(loaded, tokenizer, path),
        ),
    )
    result = _fit_result(config, task.name, trained, splits, folder.path)
    folder.write(
        {
            "metrics.json": _json(result.to_json()),
            "history.json": _json([record.to_json() for record in trained.history]),
        }
    )
    folder.finish()
    return result


def evaluate(
    model: str,
    data: DataConfig,
    *,
    split: str = DataConfig.validation_split,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> EvalResult:
    """The metrics of a saved run or checkpoint on a split that has labels."""
    progress = progress or Progress()
    served = _open_served(model, data, split, batch_size, label_needed=True, progress=progress)
    from tfft import modeling, training
    from tfft.metrics import single_label

    scores = training.evaluate(
        served.loaded.model,
        served.split,
        losses=modeling.example_losses(served.loaded.model, served.loss),
        progress=progress,
    )
    figures = {
        "loss": scores.loss,
        **single_label(scores.logits, scores.labels),
        "n_examples": len(scores.labels),
    }
    return EvalResult("single_label", data.source, model, served.rows.name, figures)


def predict(
    model: str,
    data: DataConfig,
    *,
    output: Path,
    split: str | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PredictResult:
    """Writes one row an example, in input order: id, prediction, score, probability_<label>."""
    progress = progress or Progress()
    if output.suffix.lower() not in PREDICTION_WRITERS:
        raise ConfigError(
            f"{output}: expected an ending of {listed(PREDICTION_WRITERS)}", options=["output"]
        )
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists; choose another --output, or --overwrite it")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"{output}: no folder {output.absolute().parent}; make it first")
    served = _open_served(model, data, split, batch_size, label_needed=False, progress=progress)
    from tfft import training
    from tfft.metrics import softmax

    logits = training.predict(served.loaded.model, served.split, progress=progress)
    names = served.label_names
    probabilities = softmax(logits)
    chosen = probabilities.argmax(axis=-1)
    columns: dict[str, Any] = {
        "id": list(served.rows.rows["id"]),
        "prediction": [names[each] for each in chosen],
        "score": probabilities.max(axis=-1),
    }
    columns |= {f"probability_{name}": probabilities[:, i] for i, name in enumerate(names)}
    _write_predictions(columns, output)
    counts = {name: int((chosen == number).sum()) for number, name in enumerate(names)}
    return PredictResult(data.source, model, served.rows.name, output, len(chosen), counts)


@dataclass(frozen=True)
class _Served:
    """A saved model and a split in its tokens."""

    loaded: LoadedModel
    label_names: tuple[str, ...]
    rows: SplitRows
    split: Split
    loss: str | None


def _open_served(
    model: str,
    data: DataConfig,
    split: str | None,
    batch_size: int,
    *,
    label_needed: bool,
    progress: Progress,
) -> _Served:
    progress.stage("reading the checkpoint")
    from tfft.pretrained import load_tokenizer, longest_tokens, open_checkpoint

    task = TASKS["single_label"]
    run = _run_config(model)
    checkpoint = open_checkpoint(model, task)
    if not any(name.endswith(task.head) for name in checkpoint.config.architectures or [task.head]):
        raise _no_head(model, listed(checkpoint.config.architectures))
    tokenizer = load_tokenizer(checkpoint)
    label_names = _label_names(checkpoint)

    progress.stage("reading the data")
    from tfft.data.encode import encode
    from tfft.data.examples import load_split

    rows = load_split(
        data,
        split,
        label_names=label_names,
        label_needed=label_needed,
        preferred=None if run is None else run.data,
        held_out_seed=run.train.seed if run is not None and _same_data(run.data, data) else None,
    )
    for note in rows.notes:
        progress.note(note)
    asked = data.max_length or (run.data.max_length if run is not None else None)
    max_length = longest_tokens(checkpoint, tokenizer, asked)
    progress.stage("tokenising")
    encoded = encode(rows.rows, tokenizer, max_length=max_length)
    for note in _length_notes({rows.name: encoded}, max_length):
        progress.note(note)

    progress.stage("loading the model")
    from tfft import modeling
    from tfft.data.loaders import choose_loader, make_split
    from tfft.data.plan import BatchPlan

    loaded = modeling.load_model(
        checkpoint, task, label_names=label_names, pad_token_id=tokenizer.pad_token_id
    )
    if loaded.fresh:
        raise _no_head(model, f"{listed(loaded.fresh, most=2)} are missing")
    loader, why = choose_loader(data.loader, encoded)
    progress.note(f"loader: {loader}: {why}")
    plan = BatchPlan(n_examples=len(encoded.lengths), batch_size=batch_size)
    made = make_split(
        encoded, tokenizer, plan, loader=loader, model=loaded.model, label_names=label_names
    )
    return _Served(loaded, label_names, rows, made, None if run is None else run.train.loss)


def _no_head(model: str, why: str) -> ModelError:
    return ModelError(
        f"{model}: has no trained head ({why}); fine-tune it first: tfft fit --model {model}"
    )


def _metric_for_best(config: RunConfig, examples: Examples) -> str:
    task = TASKS[examples.task]
    metric = config.train.metric_for_best or task.default_metric(examples.glue_task)
    missing = "f1" if len(examples.label_names) > 2 else "f1_macro"
    if metric == missing:
        reported = [name for name in task.metrics if name != missing]
        raise ConfigError(
            f"metric_for_best {metric} is not reported with {len(examples.label_names)} labels; "
            f"there are loss, {listed(reported)}"
        )
    return metric


def _length_notes(encoded: Mapping[str, Encoded], max_length: int) -> list[str]:
    return [
        f"lengths: {each.n_cut:,} of {len(each.lengths):,} {name} texts are longer than "
        f"{max_length} tokens and were cut"
        for name, each in encoded.items()
        if each.n_cut
    ]


def _note_head(
    loaded: LoadedModel, checkpoint: Checkpoint, label_names: Sequence[str], progress: Progress
) -> None:
    if loaded.fresh:
        progress.note(f"head: a fresh one for {len(label_names)} labels")
        return
    learned = [checkpoint.config.id2label.get(each) for each in range(len(label_names))]
    progress.note(
        f"head: the checkpoint's own ({listed(learned)}) goes on learning; --reset-head starts anew"
    )


def _resolve(
    config: RunConfig, examples: Examples, *, loader: str, max_length: int, metric: str
) -> RunConfig:
    """The config with what was found in the place of what was left open."""
    data = replace(
        config.data,
        source=_portable(config.data.source),
        task=examples.task,
        text_column=examples.columns.texts,
        label_column=examples.columns.label,
        loader=loader,
        max_length=max_length,
    )
    model = replace(config.model, source=_portable(config.model.source))
    return replace(
        config, data=data, model=model, train=replace(config.train, metric_for_best=metric)
    )


def _portable(source: str) -> str:
    """A path that holds from any folder; other names as they are."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def _run_toml(resolved: RunConfig, *, loss: Any, collate_fn: Any) -> str:
    given = [
        f"# {name}: {getattr(each, '__name__', type(each).__name__)}, from Python; give it again\n"
        for name, each in (("loss", loss), ("collate_fn", collate_fn))
        if each is not None
    ]
    return "".join(given) + resolved.to_toml()


def _manifest(config: RunConfig, checkpoint: Checkpoint, examples: Examples) -> dict[str, Any]:
    from tfft.backend import tf

    gpus = [
        tf.config.experimental.get_device_details(each).get("device_name", each.name)
        for each in tf.config.list_physical_devices("GPU")
    ]
    return {
        "packages": {name: _version(name) for name in RECORDED_PACKAGES},
        "python": platform.python_version(),
        "device": gpus or f"CPU ({platform.machine()})",
        "seed": config.train.seed,
        "data": {
            "fingerprint": examples.fingerprint,
            "n_train": len(examples.train),
            "n_validation": len(examples.validation),
        },
        "label_names": list(examples.label_names),
        "checkpoint": {"name": checkpoint.name, "sha256": checkpoint.sha256},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _fit_result(
    config: RunConfig, task: str, trained: Trained, splits: Mapping[str, Split], output: Path
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
        history=trained.history,
        output=output,
    )


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _run_config(model: str) -> RunConfig | None:
    """The config of the run that `model` is the folder of, or None of a plain checkpoint."""
    path = Path(model).expanduser() / "run.toml"
    if not path.exists():
        return None
    return RunConfig.from_options(read_toml(path))


def _same_data(learned: DataConfig, asked: DataConfig) -> bool:
    return _portable(asked.source) == learned.source


def _label_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    names = checkpoint.config.id2label
    return tuple(str(names[number]) for number in sorted(names))


def _write_predictions(columns: Mapping[str, Sequence[Any]], output: Path) -> None:
    """Writes beside `output` first, so that a full disk leaves no half of it."""
    import pandas as pd

    frame = pd.DataFrame(columns)
    unfinished = output.with_name(f".{output.name}.partial")
    ending = output.suffix.lower()
    try:
        if ending in (".csv", ".tsv"):
            frame.to_csv(unfinished, index=False, sep="\t" if ending == ".tsv" else ",")
        elif ending == ".parquet":
            frame.to_parquet(unfinished, index=False)
        else:
            frame.to_json(unfinished, orient="records", lines=ending == ".jsonl", force_ascii=False)
        unfinished.replace(output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DataError(f"{output}: can't be written: {error.strerror or error}") from error
