"""A checkpoint -> a compiled TFAutoModel.

    loaded = load_model(checkpoint, task, label_names=("no", "yes"))
    compile_model(loaded.model, task, config.train)
    losses = example_losses(loaded.model, task, "categorical_hinge")

What the checkpoint lacks (a fresh head) is made from Keras' seeded generators: set the seed first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tfft import depths, optimizers
from tfft.backend import keras, tf
from tfft.config import TrainConfig
from tfft.embeddings import moving_rows
from tfft.errors import ModelError, TrainingError, first_line
from tfft.loading import Filled, load
from tfft.naming import pytorch_name
from tfft.pretrained import Checkpoint
from tfft.schedules import warmup_steps
from tfft.tasks import Task

# (labels as the task has them, logits [batch, n_labels]) -> one loss a row, float32 [batch].
ExampleLosses = Callable[[Any, Any], Any]

# Losses of Keras that compare whole-number labels with logits; the others want them one-hot.
_SPARSE_LOSSES = frozenset({"sparse_categorical_crossentropy"})
# Losses that are defined on probabilities or margins, and so have no `from_logits`.
_ON_PROBABILITIES = frozenset({"kl_divergence", "mean_squared_error"})
_ON_MARGINS = frozenset({"categorical_hinge", "hinge", "squared_hinge"})


@dataclass(frozen=True)
class LoadedModel:
    """A built model, and what loading it told.

    Attributes:
        source_tensors: the checkpoint's tensors that went into it, by PyTorch's names.
        fresh: the tensors that it lacked, by PyTorch's names.
    """

    model: Any
    source_tensors: frozenset[str]
    fresh: tuple[str, ...]


def load_model(
    checkpoint: Checkpoint,
    task: Task,
    *,
    label_names: Sequence[str],
    reset_head: bool = False,
    pad_token_id: int | None = None,
) -> LoadedModel:
    """The checkpoint under the task's head.

    Raises:
        ModelError: the head has another number of labels, or the weights can't be read.
    """
    config = checkpoint.config_for(task, label_names, pad_token_id=pad_token_id)
    model, filled = open_model(checkpoint, task.auto_class, config)
    checkpoint.check_filled(
        len(label_names),
        mismatched=filled.mismatched,
        missing_in_body=_missing_in_body(model, filled.missing),
        reset_head=reset_head,
    )
    fresh = (*filled.missing, *filled.mismatched)
    _draw_head(model, None if reset_head else fresh)
    return LoadedModel(model, filled.used, fresh)


def open_model(checkpoint: Checkpoint, auto_class: str, config: Any) -> tuple[Any, Filled]:
    """The checkpoint in transformers' class, as it is.

    Raises:
        ModelError: its weights can't be read, or don't go with `config`.
    """
    try:
        model, filled = load(auto_class, config, checkpoint.weight_files)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{checkpoint.name}: can't be loaded: {first_line(error)}") from error
    _mend_padding_positions(model)
    return model, filled


def _missing_in_body(model: Any, missing: Sequence[str]) -> list[str]:
    """Of the tensors that the checkpoint lacks, those that a fresh head doesn't explain."""
    prefix = model.base_model_prefix
    body = {pytorch_name(each) for each in getattr(model, prefix).weights}
    # A pooler is of the body, but trained with a head.
    named = {name.removeprefix(f"{prefix}.") for name in body if "pooler" not in name}
    return [name for name in missing if name.removeprefix(f"{prefix}.") in named]


def _mend_padding_positions(model: Any) -> None:
    """RoBERTa's kin count positions from the padding id; transformers' TF layers take it for 1."""
    for layer in model._flatten_layers():
        if hasattr(layer, "padding_idx") and model.config.pad_token_id is not None:
            layer.padding_idx = model.config.pad_token_id


def _draw_head(model: Any, fresh: Sequence[str] | None) -> None:
    """Draws the head's dense layers, all of them or those that were `fresh`, as PyTorch does.

    A normal distribution of `initializer_range` (Keras cuts it off at two deviations), and no bias:
    a run starts from the same distribution in both frameworks.
    """
    body = getattr(model, model.base_model_prefix)
    in_body = {id(layer) for layer in body._flatten_layers()}
    spread = getattr(model.config, "initializer_range", 0.02)
    for layer in model._flatten_layers():
        if id(layer) in in_body or not isinstance(layer, keras.layers.Dense):
            continue
        if fresh is not None and pytorch_name(layer.kernel) not in fresh:
            continue
        layer.kernel.assign(tf.random.normal(layer.kernel.shape, stddev=spread))
        if layer.bias is not None:
            layer.bias.assign(tf.zeros_like(layer.bias))


def compile_model(
    model: Any,
    task: Task,
    config: TrainConfig,
    *,
    loss: Any = None,
    optimizer: Any = None,
    n_steps: int | None = None,
    token_ids: Any = None,
) -> None:
    """Freezes what shall not learn, and compiles.

    Args:
        loss: instead of the task's own and of `config.loss`.
        optimizer: instead of what `config` says.
        n_steps: of the whole run, which a schedule and a warm-up have to know.
        token_ids: int32 [n], the only ones that the model will learn from, where that is known.

    Raises:
        ModelError: the architecture has no such layers to freeze, or to learn more slowly.
    """
    if config.freeze is not None:
        depths.freeze(model, config.freeze)
    made = make_optimizer(config, n_steps) if optimizer is None else optimizer
    if optimizer is None and config.layer_decay < 1.0:
        made.scale_rates(depths.rate_factors(model, config.layer_decay))
    rows = None if token_ids is None else moving_rows(model, token_ids)
    if optimizer is None and rows is not None:
        made.move_rows(rows)
    chosen = loss if loss is not None else config.loss
    if chosen is None and task.name == "multi_label":
        chosen = multi_label_loss
    model.compile(
        optimizer=made,
        # "auto" is the model's own, by transformers.
        loss="auto" if chosen is None else _as_keras_loss(chosen, task),
        metrics=_KERAS_METRICS[task.name](),
    )


# For the progress bar of `model.fit`; ours come from metrics.py. Logits above 0 are beyond 0.5.
_KERAS_METRICS: Mapping[str, Callable[[], list[Any]]] = {
    "single_label": lambda: ["accuracy"],
    "multi_label": lambda: [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
    "regression": lambda: ["mean_absolute_error"],
}


def make_optimizer(config: TrainConfig, n_steps: int | None = None) -> Any:
    numbers = {
        "learning_rate": _learning_rate(config, n_steps),
        "beta_1": config.beta_1,
        "beta_2": config.beta_2,
        "epsilon": config.epsilon,
        "global_clipnorm": config.clip_norm,
        "use_ema": config.ema is not None,
        "ema_momentum": config.ema or 0.0,
    }
    if config.optimizer == "adam":
        return optimizers.Adam(**numbers)
    optimizer = optimizers.AdamW(weight_decay=config.weight_decay, **numbers)
    # A LayerNorm has many names (LayerNorm, sa_layer_norm, ln_1), and always a gamma and a beta.
    optimizer.exclude_from_weight_decay(var_names=["bias", "/gamma", "/beta"])
    return optimizer


def set_numbers(model: Any, config: TrainConfig, n_steps: int) -> None:
    """Gives a compiled model's optimizer the rate and the decay of another run of its kind.

    Args:
        config: differs from what it was compiled for in these alone.
        n_steps: of that run.
    """
    optimizer = optimizers.unwrapped(model.optimizer)
    if isinstance(optimizer._learning_rate, optimizers.Schedule):
        optimizer._learning_rate.set(
            config.learning_rate, warmup_steps=warmup_steps(config, n_steps), n_steps=n_steps
        )
    else:
        optimizer.learning_rate = config.learning_rate
    if config.weight_decay is not None:
        optimizer.set_decay(config.weight_decay)


def _learning_rate(config: TrainConfig, n_steps: int | None) -> Any:
    """A number where it is constant, which the optimizer then lets anyone set."""
    if config.schedule == "constant" and not config.warmup:
        return config.learning_rate
    assert n_steps is not None, "a schedule needs the number of steps"  # noqa: S101
    return optimizers.Schedule(
        config.schedule,
        config.learning_rate,
        warmup_steps=warmup_steps(config, n_steps),
        n_steps=n_steps,
    )


def example_losses(model: Any, task: Task, loss: Any = None) -> ExampleLosses:
    """What a row costs: the task's own loss, one of Keras by name, or the user's own.

    A row each, rather than a batch's mean: whoever sums up divides by the rows that it means.
    """
    if loss is not None:
        own = _by_row(_as_keras_loss(loss, task))
        if task.name == "regression":  # Keras compares [batch, 1] with [batch, 1]
            return lambda labels, logits: own(tf.reshape(labels, [-1, 1]), logits)
        return own
    if task.name == "multi_label":
        return multi_label_loss
    return lambda labels, logits: model.hf_compute_loss(labels, logits)


def multi_label_loss(
    labels: Any, logits: Any, *, positive_weights: Any = 1.0, smoothing: float = 0.0
) -> Any:
    """Sigmoid cross-entropy, mean over the labels: float32 [batch].

    As PyTorch's BCEWithLogitsLoss, which transformers has there; its TF classes ignore the task and
    take the labels for class ids.

    Args:
        smoothing: the part of each 0 and 1 that becomes 1/2, as in Keras' BinaryCrossentropy.
    """
    targets = tf.cast(labels, logits.dtype) * (1.0 - smoothing) + smoothing / 2
    return tf.reduce_mean(
        tf.nn.weighted_cross_entropy_with_logits(
            labels=targets,
            logits=logits,
            pos_weight=tf.cast(positive_weights, logits.dtype),
        ),
        axis=-1,
    )


def smoothed_losses(task: Task, smoothing: float) -> ExampleLosses:
    """The task's own loss with `smoothing` of each label spread evenly over all of them."""
    if task.name == "multi_label":
        return partial(multi_label_loss, smoothing=smoothing)

    def cross_entropy(labels: Any, logits: Any) -> Any:
        n_labels = logits.shape[-1]
        even, off = smoothing / n_labels, 1.0 - smoothing
        targets = tf.one_hot(labels, n_labels, on_value=off + even, off_value=even)
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)

    return cross_entropy


def weighted_losses(losses: Callable[..., Any], task: Task, weights: Any) -> ExampleLosses:
    """A task's own `losses`, smoothed or not, by weights of classes.

    Args:
        weights: float32 [n_labels], as `data/class_weights.py` has them.
    """
    if task.name == "multi_label":
        return partial(losses, positive_weights=weights)
    return lambda labels, logits: losses(labels, logits) * tf.gather(tf.constant(weights), labels)


def _as_keras_loss(loss: Any, task: Task) -> Any:
    return _named_loss(loss, task) if isinstance(loss, str) else loss


def _named_loss(name: str, task: Task) -> Callable[[Any, Any], Any]:
    """Keras' function of that name, fed the task's labels and logits."""
    function = getattr(keras.losses, name)
    if task.name == "regression":
        return lambda labels, logits: function(tf.reshape(labels, [-1, 1]), logits)

    def loss(labels: Any, logits: Any) -> Any:
        if name in _SPARSE_LOSSES:
            return function(labels, logits, from_logits=True)
        if task.name == "single_label":
            ids = tf.cast(tf.reshape(labels, [-1]), tf.int32)
            labels = tf.one_hot(ids, tf.shape(logits)[-1])
        if name in _ON_PROBABILITIES:
            return function(labels, tf.nn.softmax(logits))
        if name in _ON_MARGINS:
            return function(labels, logits)
        return function(labels, logits, from_logits=True)

    return loss


def _by_row(loss: Any) -> ExampleLosses:
    # A Loss object's own __call__ would average over the batch; its `call` does not.
    function = loss.call if isinstance(loss, keras.losses.Loss) else loss

    def by_row(labels: Any, logits: Any) -> Any:
        values = tf.convert_to_tensor(function(labels, logits))
        if values.shape.rank == 0:  # already a mean: each row's share of it is the mean itself
            return tf.fill([tf.shape(logits)[0]], values)
        if values.shape.rank == 1:
            return values
        if values.shape.rank is None:
            raise TrainingError(
                "the loss gives a tensor of unknown rank; one value a row is needed"
            )
        return tf.reduce_mean(values, axis=list(range(1, values.shape.rank)))

    return by_row
