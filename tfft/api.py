"""What `import tfft` offers: the verbs as functions, and the Keras objects behind them.

    import tfft
    result = tfft.fit(data="glue/cola", model="bert-base-cased", output="runs/cola", epochs=3)

The options are those of the command line, by the same names (`help(tfft.fit)` lists them).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfft import runs
from tfft.config import (
    DataConfig,
    RunConfig,
    TrainConfig,
    option_names,
    options_of,
    parse_assignment,
    read_toml,
)
from tfft.errors import ConfigError, listed, nearest
from tfft.progress import Progress
from tfft.results import EvalResult, FitResult, PredictResult


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
            (labels [batch], logits [batch, n_labels]). By default the model's own.
        collate_fn: from a list of rows to NumPy arrays, in the place of the tokenizer's padding.
        progress: shown what happens; by default the logger `tfft` is told.
        **options: every option of `tfft fit`, such as `data`, `model`, `epochs`, `batch_size`.

    Raises:
        TfftError: says what was expected, what came and what to try.
    """
    if isinstance(loss, str):
        options["loss"], loss = loss, None
    return runs.fit(
        merge_options(options, config=config),
        output=None if output is None else Path(output),
        overwrite=overwrite,
        loss=loss,
        collate_fn=collate_fn,
        progress=progress,
    )


def evaluate(
    model: str | os.PathLike[str],
    *,
    data: str,
    split: str = DataConfig.validation_split,
    batch_size: int = TrainConfig.batch_size,
    progress: Progress | None = None,
    **options: Any,
) -> EvalResult:
    """The metrics of a run's folder or a checkpoint on a split that has labels.

    Args:
        **options: of the data: `text_column`, `label_column`, `max_length`, `loader` ...
    """
    config = merge_options({"data": data, "batch_size": batch_size, **options})
    return runs.evaluate(
        os.fspath(model), config.data, split=split, batch_size=batch_size, progress=progress
    )


def predict(
    model: str | os.PathLike[str],
    *,
    data: str,
    output: str | os.PathLike[str],
    split: str | None = None,
    batch_size: int = TrainConfig.batch_size,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> PredictResult:
    """Writes a file with one row an example; `split` is `test` where there is one.

    Args:
        **options: of the data: `text_column`, `max_length`, `loader` ...
    """
    config = merge_options({"data": data, "batch_size": batch_size, **options})
    return runs.predict(
        os.fspath(model),
        config.data,
        output=Path(output),
        split=split,
        batch_size=batch_size,
        overwrite=overwrite,
        progress=progress,
    )


def load_data(
    data: str,
    *,
    tokenizer: Any,
    padding: bool | str = True,
    collate_fn: Callable[..., Any] | None = None,
    model: Any = None,
    **options: Any,
) -> tuple[Any, Any]:
    """The train and validation `Split`s: `.dataset` for `model.fit`, `.label_names` for the head.

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
    from tfft.data.encode import encode
    from tfft.data.examples import load_training
    from tfft.data.loaders import choose_loader, make_split
    from tfft.data.plan import BatchPlan

    examples = load_training(config.data, seed=config.train.seed)
    tokenizer, max_length = _open_tokenizer(tokenizer, config)
    train = encode(examples.train, tokenizer, max_length=max_length)
    validation = encode(examples.validation, tokenizer, max_length=max_length)
    loader, _ = choose_loader(config.data.loader, train, collates=collate_fn is not None)

    def split(encoded: Any, *, shuffle: bool) -> Any:
        plan = BatchPlan(
            len(encoded.lengths), config.train.batch_size, config.train.seed, shuffle=shuffle
        )
        return make_split(
            encoded,
            tokenizer,
            plan,
            loader=loader,
            model=model,
            label_names=examples.label_names,
            length=max_length if padding == "max_length" else None,
            collate_fn=collate_fn,
        )

    return split(train, shuffle=True), split(validation, shuffle=False)


def build_model(
    model: str,
    *,
    label_names: tuple[str, ...] | list[str] | None = None,
    num_labels: int = 2,
    loss: Any = None,
    optimizer: Any = None,
    reset_head: bool = False,
    **options: Any,
) -> Any:
    """A TFAutoModel, compiled with its own loss and `Adam(3e-5)`.

    Args:
        label_names: the classes by id, as `train.label_names` has them; by default `num_labels` of
            them, called LABEL_0 and so on.
        loss: a Keras loss by name, or one of your own; None takes the model's.
        optimizer: a Keras optimizer of your own.
        **options: `seed`, and the optimizer's: `learning_rate`, `epsilon`, `weight_decay` ...
    """
    if isinstance(optimizer, str):
        options["optimizer"], optimizer = optimizer, None
    if isinstance(loss, str):
        options["loss"], loss = loss, None
    config = merge_options({"model": model, **options})
    from tfft import modeling
    from tfft.backend import keras
    from tfft.pretrained import load_tokenizer, open_checkpoint
    from tfft.tasks import TASKS

    task = TASKS["single_label"]
    checkpoint = open_checkpoint(config.model.source, task)
    keras.utils.set_random_seed(config.train.seed)
    loaded = modeling.load_model(
        checkpoint,
        task,
        label_names=label_names or [f"LABEL_{number}" for number in range(num_labels)],
        reset_head=reset_head,
        pad_token_id=load_tokenizer(checkpoint).pad_token_id,
    )
    modeling.compile_model(loaded.model, config.train, loss=loss, optimizer=optimizer)
    return loaded.model


def merge_options(
    options: Mapping[str, Any],
    *,
    config: str | os.PathLike[str] | None = None,
    assignments: tuple[str, ...] = (),
) -> RunConfig:
    """The options by their flags' names, over `--set`, over a TOML, over the defaults.

    Raises:
        ConfigError: an option is unknown, wrong, or contradicts another; where the TOML is at
            fault, its path is named and `options` is empty.
    """
    places = option_names()
    for name in options:
        if name not in places:
            raise ConfigError(
                f"unknown option '{name}'{nearest(name, places)}; there are "
                f"{listed(places, most=40)}",
                options=[name],
            )
    given = dict(parse_assignment(each) for each in assignments)
    given |= {places[name]: value for name, value in options.items()}
    if config is None:
        return RunConfig.from_options(given)
    from_file = read_toml(Path(config))
    try:
        return RunConfig.from_options({**from_file, **given})
    except ConfigError as error:
        if set(error.options) & set(given):
            raise
        raise ConfigError(f"{config}: {error}") from None


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


def _show_options(function: Any, sections: tuple[str, ...]) -> None:
    """Gives `**options` their names in the function's signature, for `help` and completion."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    names = {place: name for name, place in option_names().items()}
    more = [
        inspect.Parameter(names[about.place], inspect.Parameter.KEYWORD_ONLY, default=about.default)
        for section in sections
        for about in options_of(section).values()
        if names[about.place] not in signature.parameters
    ]
    function.__signature__ = signature.replace(parameters=[*own, *more])


_show_options(fit, ("data", "model", "train"))
_show_options(evaluate, ("data",))
_show_options(predict, ("data",))
_show_options(load_data, ("data", "train"))
_show_options(build_model, ("train",))
