"""One function a verb: a config -> files under the output folder, and a result.

    result = fit(config, output=Path("runs/cola-1"))
    evaluate("runs/cola-1", DataConfig(source="glue/cola"), split="validation")
    predict("runs/cola-1", DataConfig(source="new.csv"), output=Path("predictions.csv"))

Everything is wired here and computed elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfft import folders
from tfft.config import DataConfig, RunConfig, TrainConfig, read_toml
from tfft.errors import ConfigError, ModelError, listed
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
    ready = _make_ready(config, progress)
    # The best epoch's weights, the newest one's, and those being written.
    folder.need(3 * ready.checkpoint.n_bytes)

    progress.stage("loading the model")
    from tfft import modeling, training, weights
    from tfft.metrics import single_label
    from tfft.provenance import manifest, resolve, run_toml

    loaded = _load_model(config, ready, progress)
    weights.check_names(set(weights.by_pytorch_name(loaded.model)), loaded)
    modeling.compile_model(loaded.model, config.train, loss=loss)
    splits = _make_splits(config, ready, loaded, collate_fn, progress)
    resolved = resolve(
        config, ready.examples, splits["train"].loader, ready.max_length, ready.metric
    )
    folder.write(
        {
            "run.toml": run_toml(resolved, loss=loss, collate_fn=collate_fn),
            "manifest.json": _json(manifest(config, ready.checkpoint, ready.examples)),
        }
    )
    folder.started = True

    trained = training.fit(
        loaded.model,
        splits["train"],
        splits["validation"],
        losses=modeling.example_losses(
            loaded.model, loss if loss is not None else config.train.loss
        ),
        metrics=single_label,
        metric_for_best=ready.metric,
        config=config.train,
        progress=progress,
        after_epoch=lambda record, is_best: folder.save_epoch(
            record.epoch,
            is_best=is_best,
            write=lambda path: weights.save_checkpoint(loaded, ready.tokenizer, path),
        ),
    )
    result = _fit_result(config, ready.examples.task, trained, splits, folder.path)
    folder.write(
        {
            "metrics.json": _json(result.to_json()),
            "history.json": _json([record.to_json() for record in trained.history]),
        }
    )
    folder.finish()
    return result


@dataclass(frozen=True)
class _Ready:
    """All that a fit needs and that could be checked without TensorFlow."""

    examples: Examples
    checkpoint: Checkpoint
    tokenizer: Any
    max_length: int
    train: Encoded
    validation: Encoded
    metric: str


def _make_ready(config: RunConfig, progress: Progress) -> _Ready:
    progress.stage("reading the data")
    from tfft.data.examples import load_training

    examples = load_training(config.data, seed=config.train.seed)
    metric = _metric_for_best(config, examples)
    for note in examples.notes:
        progress.note(note)

    progress.stage("reading the checkpoint")
    from tfft.pretrained import load_tokenizer, longest_tokens, open_checkpoint

    checkpoint = open_checkpoint(config.model.source, TASKS[examples.task])
    tokenizer = load_tokenizer(checkpoint)
    max_length = longest_tokens(checkpoint, tokenizer, config.data.max_length)

    progress.stage("tokenising")
    from tfft.data.encode import encode

    train = encode(examples.train, tokenizer, max_length=max_length)
    validation = encode(examples.validation, tokenizer, max_length=max_length)
    for note in _length_notes({"train": train, "validation": validation}, max_length):
        progress.note(note)
    return _Ready(examples, checkpoint, tokenizer, max_length, train, validation, metric)


def _load_model(config: RunConfig, ready: _Ready, progress: Progress) -> LoadedModel:
    from tfft import modeling
    from tfft.backend import keras

    names = ready.examples.label_names
    keras.utils.set_random_seed(config.train.seed)
    loaded = modeling.load_model(
        ready.checkpoint,
        TASKS[ready.examples.task],
        label_names=names,
        reset_head=config.model.reset_head,
        pad_token_id=ready.tokenizer.pad_token_id,
    )
    if loaded.fresh or config.model.reset_head:
        progress.note(f"head: a fresh one for {len(names)} labels")
    else:
        learned = [ready.checkpoint.config.id2label.get(number) for number in range(len(names))]
        progress.note(
            f"head: the checkpoint's own ({listed(learned)}) goes on learning; --reset-head "
            "starts anew"
        )
    return loaded


def _make_splits(
    config: RunConfig, ready: _Ready, loaded: LoadedModel, collate_fn: Any, progress: Progress
) -> dict[str, Split]:
    from tfft.data.loaders import choose_loader, make_split
    from tfft.data.plan import BatchPlan

    loader, why = choose_loader(config.data.loader, ready.train, collates=collate_fn is not None)
    progress.note(f"loader: {loader}: {why}")

    def split(encoded: Encoded, *, shuffle: bool) -> Split:
        return make_split(
            encoded,
            ready.tokenizer,
            BatchPlan(len(encoded.lengths), config.train.batch_size, config.train.seed, shuffle),
            loader=loader,
            model=loaded.model,
            label_names=ready.examples.label_names,
            collate_fn=collate_fn,
        )

    return {
        "train": split(ready.train, shuffle=True),
        "validation": split(ready.validation, shuffle=False),
    }


def evaluate(
    model: str,
    data: DataConfig,
    *,
    split: str = DataConfig.validation_split,
    batch_size: int = TrainConfig.batch_size,
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
    batch_size: int = TrainConfig.batch_size,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PredictResult:
    """Writes one row an example, in input order: id, prediction, score, probability_<label>."""
    from tfft import predictions

    progress = progress or Progress()
    predictions.check_output(output, overwrite=overwrite)
    served = _open_served(model, data, split, batch_size, label_needed=False, progress=progress)
    from tfft import training

    logits = training.predict(served.loaded.model, served.split, progress=progress)
    table = predictions.predictions(list(served.rows.rows["id"]), logits, served.label_names)
    predictions.write(table, output)
    counts = {name: table["prediction"].count(name) for name in served.label_names}
    return PredictResult(data.source, model, served.rows.name, output, len(logits), counts)


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
    from tfft.provenance import portable

    return portable(asked.source) == learned.source


def _label_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    names = checkpoint.config.id2label
    return tuple(str(names[number]) for number in sorted(names))
