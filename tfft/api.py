"""What `import tfft` offers: the verbs as functions, and the Keras objects behind them.

    import tfft
    result = tfft.fit(data="glue/cola", model="bert-base-cased", output="runs/cola", epochs=3)

The options are those of the command line, by the same names (`help(tfft.fit)` lists them).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfft import runs
from tfft.certificate.recipes import NAMED
from tfft.config import (
    About,
    DataConfig,
    ExportConfig,
    ParityConfig,
    RunConfig,
    ServeConfig,
    TuneConfig,
    build_options,
    choose_options,
    evaluate_options,
    export_options,
    option_names,
    options_of,
    parity_options,
    parse_assignment,
    predict_options,
    read_toml,
    tune_options,
)
from tfft.errors import ConfigError, listed, nearest
from tfft.folders import cache_folder
from tfft.heads import FRAMEWORKS, HEADS
from tfft.progress import Progress
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
from tfft.tuning import spaces


def fit(
    *,
    output: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    loss: Any = None,
    collate_fn: Callable[..., Any] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> FitResult:
    """Fine-tunes, evaluates after each epoch, and saves the best one.

    Args:
        output: the run's folder; by default `runs/<data>-<n>`.
        config: a run.toml; the options given beside it go first.
        overwrite: replace the folder if it is there.
        loss: a Keras loss by name, or one of your own: a `keras.losses.Loss`, or a function of
            (labels, logits [batch, n_labels]), the labels [batch] class ids, [batch, n_labels] 0
            and 1 of multi_label, [batch, 1] numbers of regression. By default the task's own.
        collate_fn: from a list of rows to NumPy arrays, in the place of the tokenizer's padding.
        progress: shown what happens; by default the logger `tfft` is told.
        **options: every option of `tfft fit`, such as `data`, `model`, `epochs`, `batch_size`;
            `class_weight` may be a dict too.

    Raises:
        TfftError: says what was expected, what came and what to try.
    """
    if isinstance(loss, str):
        options["loss"], loss = loss, None
    if isinstance(weights := options.get("class_weight"), Mapping):
        options["class_weight"] = ",".join(f"{name}={weight}" for name, weight in weights.items())
    return runs.fit(
        merge_options(options, config=config),
        output=None if output is None else Path(output),
        overwrite=overwrite,
        loss=loss,
        collate_fn=collate_fn,
        progress=progress,
    )


def plan(
    *,
    config: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> PlanResult:
    """What `fit` would do with these options: `tfft fit --dry-run`. Nothing is trained or written.

    Raises:
        TfftError: as `fit` would, but for what only building the model tells: a head of another
            size, too few rows a batch for the devices.
    """
    return runs.plan(merge_options(options, config=config), progress=progress)


def evaluate(
    model: str | os.PathLike[str],
    *,
    data: str,
    split: str = DataConfig.validation_split,
    progress: Progress | None = None,
    **options: Any,
) -> EvalResult:
    """The metrics of a run's folder or a checkpoint on a split that has labels.

    Args:
        **options: `text_column`, `label_column`, `max_length`, `loader`, `batch_size`, `strategy`,
            `threshold` ...
    """
    config = merge_options({"data": data, **options}, among=evaluate_options())
    return runs.evaluate(os.fspath(model), config, split=split, progress=progress)


def predict(
    model: str | os.PathLike[str],
    *,
    data: str,
    output: str | os.PathLike[str],
    split: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> PredictResult:
    """Writes a file with one row an example; `split` is `test` where there is one.

    Args:
        **options: `text_column`, `max_length`, `loader`, `batch_size`, `strategy`, `threshold` ...
    """
    config = merge_options({"data": data, **options}, among=predict_options())
    return runs.predict(
        os.fspath(model),
        config,
        output=Path(output),
        split=split,
        overwrite=overwrite,
        progress=progress,
    )


def convert(
    source: str | os.PathLike[str],
    *,
    to: str,
    output: str | os.PathLike[str],
    head: str | None = None,
    allow_pickle: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ConvertResult:
    """The same model for the other framework, compared before it is called done.

    Args:
        source: a run's folder, a checkpoint of either framework, or a hub id.
        to: `pytorch` writes model.safetensors, `tensorflow` tf_model.h5.
        head: the class to take it for, where the source's config doesn't say: `base`, `masked_lm`,
            `question_answering` ...
        allow_pickle: take the tensors of a pickle where there are no other weights.

    Raises:
        TfftError: one side lacks a tensor, or the two differ; nothing is left behind.
    """
    for name, value, known in (("to", to, FRAMEWORKS), ("head", head, HEADS)):
        if value is not None and value not in known:
            raise ConfigError(f"{name} must be one of {listed(known)}, not {value!r}")
    return runs.convert(
        os.fspath(source),
        to=to,
        output=Path(output),
        head=head,
        allow_pickle=allow_pickle,
        overwrite=overwrite,
        progress=progress,
    )


def export(
    model: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    progress: Progress | None = None,
    **options: Any,
) -> ExportResult | FormatCheck:
    """A SavedModel that takes raw text, as a version of the bundle `output`; or another format.

    Args:
        model: a run's folder, a checkpoint with a trained head, or a hub id.
        **options: `format`, `version`, `data`, `text_column`, `limit_validation`, `fuzz_texts` ...

    Raises:
        TfftError: it can't be exported, or what was written isn't the same model: the folder is
            left as it was.
    """
    config, asked = merge_export(options)
    return runs.export(os.fspath(model), config, asked, output=Path(output), progress=progress)


def parity(
    *,
    data: str,
    output: str | os.PathLike[str] = runs.PARITY_FILE,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> ParityResult:
    """Takes the same steps in TensorFlow and in PyTorch; `result.passed` says whether they agree.

    Args:
        output: parity.json, by any name; a page with the curves comes beside it.
        **options: `model`, `batch_size`, `learning_rate` ..., and `steps`, `epochs`, `recipe`,
            `device`, `tolerance_logits` ...

    Raises:
        TfftError: there is nothing to compare; that the frameworks differ is no error.
    """
    config, asked = merge_parity({"data": data, **options})
    return runs.parity(config, asked, output=Path(output), overwrite=overwrite, progress=progress)


def serve(
    bundle: str | os.PathLike[str],
    *,
    ready: Callable[[str], None] | None = None,
    **options: Any,
) -> None:
    """Puts a bundle behind HTTP until SIGTERM or Ctrl-C.

    Args:
        bundle: what `tfft export` wrote.
        ready: told what is served and where, once it is; by default the logger `tfft` is.
        **options: every option of `tfft serve`: `port`, `host`, `max_batch` ...

    Raises:
        TfftError: there is nothing to serve, or nowhere.
    """
    from tfft.serving import server

    config = ServeConfig.from_options(options)
    server.serve(Path(bundle), config, ready=ready or Progress().note)


def tune(
    *,
    data: str,
    output: str | os.PathLike[str],
    learning_rate: str | float | Sequence[float] | None = None,
    space: Mapping[str, Any] | Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> TuneResult:
    """Searches the learning rate and other training options, and trains the winner.

    Args:
        output: the search's folder. Where an earlier call was killed, the same one goes on.
        learning_rate: `"1e-6:1e-3"`, a tuple (low, high), a list of rates, or one.
        space: `{"train.batch_size": [8, 16], "train.weight_decay": (0.0, 0.1)}`: a list of values,
            or a range; or texts, as `--space` has them.
        overwrite: replace the folder if it is there, and another search's that was interrupted.
        **options: `model`, `epochs`, `patience`, `seed` ..., and `tuner`, `objective`,
            `max_trials`, `max_minutes`, `from_range`, `workers`, `confirm`.

    Raises:
        TfftError: says what to try; what was searched so far stays.
    """
    given: dict[str, Any] = {"data": data, **options}
    if learning_rate is not None:
        given["learning_rate"] = spaces.written(learning_rate)
    if space:
        texts = space
        if isinstance(space, Mapping):
            texts = [f"{name}={spaces.written(values)}" for name, values in space.items()]
        given["space"] = texts
    config, asked = merge_tune(given)
    return runs.tune(config, asked, output=Path(output), overwrite=overwrite, progress=progress)


def load_data(
    data: str,
    *,
    tokenizer: Any,
    padding: bool | str = True,
    collate_fn: Callable[..., Any] | None = None,
    model: Any = None,
    **options: Any,
) -> tuple[Any, Any]:
    """The train and validation `Split`s: `.dataset` for `model.fit`.

    `build_model` takes their `.label_names` and `.task`.

    Args:
        tokenizer: a tokenizer, or the checkpoint that has it.
        padding: True pads to the longest text (of the split in arrays, of the batch in streams),
            "max_length" pads every text to `max_length`.
        collate_fn: from a list of rows to NumPy arrays, in the place of the tokenizer's padding.
        model: needed by `loader="prepare"`, whose `prepare_tf_dataset` it is.
        **options: `loader`, `batch_size`, `max_length`, `limit_train`, `text_column`, `seed` ...
    """
    config = merge_options({"data": data, **options})
    if padding not in (True, "max_length"):
        raise ConfigError(f"padding must be True or 'max_length', not {padding!r}")
    if config.data.streaming:
        raise ConfigError("load_data gives whole splits; tfft.fit takes streaming")
    from tfft.data.choice import choose_loader
    from tfft.data.encode import encode
    from tfft.data.examples import load_training
    from tfft.data.loaders import open_split

    examples = load_training(config.data, seed=config.train.seed)
    tokenizer, max_length = _open_tokenizer(tokenizer, config)
    train, validation = (
        encode(rows, tokenizer, max_length=max_length, cache=cache_folder())
        for rows in (examples.train, examples.validation)
    )
    loader, _ = choose_loader(
        config.data.loader, train.lengths, len(train.features), collates=collate_fn is not None
    )

    def split(encoded: Any, *, shuffle: bool) -> Any:
        made = open_split(
            config,
            encoded,
            tokenizer,
            loader=loader,
            shuffle=shuffle,
            model=model,
            label_names=examples.label_names,
            length=max_length if padding == "max_length" else None,
            collate_fn=collate_fn,
        )
        return replace(made, task=examples.task)

    return split(train, shuffle=True), split(validation, shuffle=False)


def build_model(
    model: str,
    *,
    label_names: tuple[str, ...] | list[str] | None = None,
    num_labels: int | None = None,
    task: str = "single_label",
    loss: Any = None,
    optimizer: Any = None,
    reset_head: bool = False,
    **options: Any,
) -> Any:
    """A TFAutoModel, compiled with its task's own loss and `Adam(3e-5)`.

    Args:
        label_names: the classes by id, as `train.label_names` has them; by default `num_labels` of
            them (2, and 1 of regression), called LABEL_0 and so on.
        task: `single_label`, `multi_label` or `regression`.
        loss: a Keras loss by name, or one of your own; None takes the model's.
        optimizer: a Keras optimizer of your own.
        **options: `seed`, `freeze`, and the optimizer's: `learning_rate`, `epsilon`,
            `weight_decay`, `clip_norm`, `layer_decay` ...

    Raises:
        ConfigError: an option that Keras' own `fit` can't honour, such as `ema`.
    """
    _check_for_keras(options, optimizer)
    if isinstance(optimizer, str):
        options["optimizer"], optimizer = optimizer, None
    if isinstance(loss, str):
        options["loss"], loss = loss, None
    config = merge_options({"model": model, "task": task, **options})
    if task == "auto":
        raise ConfigError("task must be named here: single_label, multi_label or regression")
    from tfft import backend

    backend.choose("tensorflow")
    from tfft import modeling
    from tfft.backend import keras
    from tfft.pretrained import load_tokenizer, open_checkpoint
    from tfft.tasks import TASKS

    head = TASKS[task]
    checkpoint = open_checkpoint(config.model.source, head, allow_pickle=config.model.allow_pickle)
    keras.utils.set_random_seed(config.train.seed)
    n_labels = num_labels or (1 if task == "regression" else 2)
    loaded = modeling.load_model(
        checkpoint,
        head,
        label_names=label_names or [f"LABEL_{number}" for number in range(n_labels)],
        reset_head=reset_head,
        pad_token_id=load_tokenizer(checkpoint).pad_token_id,
    )
    modeling.compile_model(loaded.model, head, config.train, loss=loss, optimizer=optimizer)
    return loaded.model


def _check_for_keras(options: Mapping[str, Any], optimizer: Any) -> None:
    """Refuses what a compiled model wouldn't take along into Keras' own `fit`."""
    for name in options:
        if name in choose_options("data", "train") and name not in build_options():
            raise ConfigError(
                f"{name} is for tfft.fit: Keras' own fit wouldn't honour it; build_model takes "
                f"{listed(build_options())}",
                options=[name],
            )
        of_optimizer = name in build_options() and name not in ("seed", "freeze", "loss")
        if of_optimizer and not isinstance(optimizer, str | None):
            raise ConfigError(f"{name} goes with tfft's optimizers, not with one of your own")


def merge_options(
    options: Mapping[str, Any],
    *,
    config: str | os.PathLike[str] | None = None,
    assignments: tuple[str, ...] = (),
    among: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The options by their flags' names, over `--set`, over a TOML, over the defaults.

    Args:
        among: the names that the caller takes; None takes all.

    Raises:
        ConfigError: an option is unknown, wrong, or contradicts another; where the TOML is at
            fault, its path is named and `options` is empty.
    """
    places = option_names()
    known = places if among is None else among
    for name in options:
        if name not in known:
            raise ConfigError(
                f"unknown option '{name}'{nearest(name, known)}; there are "
                f"{listed(known, most=40)}",
                options=[name],
            )
    given = dict(parse_assignment(each) for each in assignments)
    given |= {places[name]: value for name, value in options.items()}
    if config is None:
        return RunConfig.from_options(given)
    from_file = read_toml(Path(config))
    for one, other in (("train.steps", "train.epochs"), ("train.epochs", "train.steps")):
        if one in given:  # goes before the file's other way to say how long
            from_file.pop(other, None)
    try:
        return RunConfig.from_options({**from_file, **given})
    except ConfigError as error:
        if set(error.options) & set(given):
            raise
        raise ConfigError(f"{config}: {error}") from None


def merge_export(options: Mapping[str, Any]) -> tuple[RunConfig, ExportConfig]:
    """The options of `tfft export` as those of its data and model, and its own.

    Raises:
        ConfigError: an option is unknown, or wrong.
    """
    own = options_of("export")
    asked = ExportConfig.from_options({k: v for k, v in options.items() if k in own})
    of_run = {name: value for name, value in options.items() if name not in own}
    return merge_options(of_run, among=export_options()), asked


def merge_parity(options: Mapping[str, Any]) -> tuple[RunConfig, ParityConfig]:
    """The options of `tfft parity` as the run's and its own.

    Raises:
        ConfigError: an option is unknown, wrong, or contradicts another.
    """
    own = options_of("parity")
    asked = ParityConfig.from_options({k: v for k, v in options.items() if k in own})
    of_run = {name: value for name, value in options.items() if name not in own}
    if asked.recipe == "tutorial" and (named := [name for name in NAMED if name in of_run]):
        raise ConfigError(
            f"recipe tutorial says itself what {named[0]} is; leave one of them out",
            options=["recipe", named[0]],
        )
    known = {name: about for name, about in parity_options().items() if name not in own}
    return merge_options(of_run, among=known), asked


def merge_tune(options: Mapping[str, Any]) -> tuple[RunConfig, TuneConfig]:
    """The options of `tfft tune` as the run's and its own.

    Raises:
        ConfigError: an option is unknown, wrong, or contradicts another.
    """
    own = options_of("tune")
    asked = TuneConfig.from_options({k: v for k, v in options.items() if k in own})
    of_run = {name: value for name, value in options.items() if name not in own}
    known = {name: about for name, about in tune_options().items() if name not in own}
    config = merge_options(of_run, among=known)
    dimensions, fixed = spaces.parse_spaces(asked)
    spaces.check_spaces(spaces.config_with(config, fixed), dimensions)
    return config, asked


def _open_tokenizer(tokenizer: Any, config: RunConfig) -> tuple[Any, int]:
    """The tokenizer, and how many tokens a text may have."""
    from tfft.pretrained import (
        LONGEST_BY_DEFAULT,
        load_tokenizer,
        longest_tokens,
        open_checkpoint,
    )
    from tfft.tasks import TASKS

    if not isinstance(tokenizer, str | os.PathLike):
        longest = min(int(tokenizer.model_max_length), LONGEST_BY_DEFAULT)
        return tokenizer, config.data.max_length or longest
    checkpoint = open_checkpoint(os.fspath(tokenizer), TASKS["single_label"])
    loaded = load_tokenizer(checkpoint)
    return loaded, longest_tokens(checkpoint, loaded, config.data.max_length)


def _show_options(function: Any, options: Mapping[str, About]) -> None:
    """Gives `**options` their names in the function's signature, for `help` and completion."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=about.default)
        for name, about in options.items()
        if name not in signature.parameters
    ]
    function.__signature__ = signature.replace(parameters=[*own, *more])


_show_options(fit, choose_options("data", "model", "train"))
_show_options(plan, choose_options("data", "model", "train"))
_show_options(evaluate, evaluate_options())
_show_options(predict, predict_options())
_show_options(export, export_options())
_show_options(parity, parity_options())
_show_options(serve, options_of("serve"))
_show_options(tune, tune_options())
_show_options(load_data, choose_options("data", "train"))
_show_options(build_model, build_options())
