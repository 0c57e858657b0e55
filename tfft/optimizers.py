"""PyTorch's Adam and AdamW, each variable updated by TensorFlow's one fused kernel.

    optimizer = Adam(3e-5)          # a keras.optimizers.Adam in all but speed and epsilon
    with averaged_weights(model):   # the moving averages, where the optimizer keeps them
        ...

Keras writes Adam out in a dozen operations that each read and write the whole variable: on two
cores that was a third of a step of MiniLM on short texts (0.48 s against 0.35 s, batch 16).
`ResourceApplyAdam` does it in one pass. Its epsilon is Adam's epsilon-hat, which is Keras' too; the
paper's own and PyTorch's, which is ours, comes of it by the factor sqrt(1 - beta_2^t).

    optimizer.move_rows(rows)       # of an embedding, the rows that can move at all
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from tfft.backend import keras, tf
from tfft.config import POLYNOMIAL_END
from tfft.embeddings import MovingRows


class _Fused:
    """Replaces the update of the variables; slots and moving averages stay Keras' own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rate_factors: dict[str, float] = {}
        self._moving: dict[str, MovingRows] = {}
        with tf.init_scope():  # a variable, so that the traced step serves other numbers too
            self._decay = tf.Variable(self.weight_decay or 0.0, dtype=tf.float64, trainable=False)

    def set_decay(self, weight_decay: float) -> None:
        """What AdamW takes off from now on, in a step that is traced already too."""
        self.weight_decay = weight_decay
        self._decay.assign(weight_decay)

    def _create_iteration_variable(self: Any) -> None:
        super()._create_iteration_variable()  # type: ignore[misc]
        # Keras counts the steps that float16 skips as well; to Adam and the schedule, as in
        # PyTorch, they never were.
        with tf.init_scope():
            self._n_updates = tf.Variable(
                0,
                name="n_updates",
                dtype=tf.int64,
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
        self._variables.append(self._n_updates)

    @property
    def n_updates(self: Any) -> Any:
        return self._n_updates

    def scale_rates(self: Any, factors: Iterable[tuple[Any, float]]) -> None:
        """Gives variables a rate of their own: so many times the optimizer's."""
        self._rate_factors = {self._var_key(each): factor for each, factor in factors}

    def move_rows(self: Any, rows: MovingRows) -> None:
        """Keeps the moments of these rows of an embedding alone; before the optimizer is built."""
        self._moving[self._var_key(rows.variable)] = rows

    def add_variable_from_reference(
        self: Any, model_variable: Any, variable_name: str, shape: Any = None, **options: Any
    ) -> Any:
        rows = self._moving.get(self._var_key(model_variable))
        if rows is not None and variable_name in ("m", "v"):
            shape = rows.shape
        return super().add_variable_from_reference(  # type: ignore[misc]
            model_variable, variable_name, shape, **options
        )

    def apply_gradients(self: Any, grads_and_vars: Iterable[Any], *args: Any, **kw: Any) -> Any:
        """Of an embedding whose rows are known, the gradient goes on as theirs."""
        pairs = []
        for gradient, variable in grads_and_vars:
            rows = self._moving.get(self._var_key(variable))
            own = rows is not None and gradient is not None
            pairs.append((rows.of(gradient) if own else gradient, variable))
        return super().apply_gradients(pairs, *args, **kw)  # type: ignore[misc]

    def _deduplicate_sparse_grad(self, gradients: Iterable[Any]) -> list[Any]:
        """As they are: slices are summed where they become a tensor."""
        return list(gradients)

    def _compute_current_learning_rate(self: Any) -> None:
        if isinstance(self._learning_rate, Schedule):
            self._current_learning_rate.assign(self._learning_rate(self._n_updates))

    def _clip_gradients(self: Any, gradients: Iterable[Any]) -> list[Any]:
        """By the norm over all of them, as torch.nn.utils.clip_grad_norm_ does."""
        if not self.global_clipnorm:
            return list(gradients)
        # The slices of a row that comes twice have to be summed before they are measured.
        dense = [tf.convert_to_tensor(each) for each in gradients]
        norm = tf.linalg.global_norm(dense)
        factor = tf.minimum(self.global_clipnorm / (norm + 1e-6), 1.0)
        return [each * factor for each in dense]

    def _apply_weight_decay(self, variables: Iterable[Any]) -> None:
        """Nothing: each variable's update does it, at the variable's own rate."""

    def _distributed_apply_gradients_fn(self: Any, strategy: Any, pairs: Any, **_: Any) -> Any:
        # Once a step, not for each of 200 variables. 1 - 0.999^t has three digits fewer in float32,
        # so it is computed in float64, of the beta that the kernel gets.
        step = tf.cast(self._n_updates + 1, tf.float64)
        betas = [tf.constant(each, tf.float32) for each in (self.beta_1, self.beta_2)]
        bias_1, bias_2 = (1.0 - tf.pow(tf.cast(each, tf.float64), step) for each in betas)
        rate = tf.cast(self.learning_rate, tf.float64)
        numbers = {
            "beta1": betas[0],
            "beta2": betas[1],
            # Nought, for the rate has both corrections already.
            "beta1_power": tf.constant(0.0),
            "beta2_power": tf.constant(0.0),
            "lr": tf.cast(rate * tf.sqrt(bias_2) / bias_1, tf.float32),
            "epsilon": tf.cast(self.epsilon * tf.sqrt(bias_2), tf.float32),
        }
        decay = tf.cast(rate * self._decay, tf.float32)

        def update(variable: Any, gradient: Any) -> None:
            self._update(variable, gradient, numbers, decay)

        for gradient, variable in pairs:
            strategy.extended.update(variable, update, args=(gradient,), group=False)
        if self.use_ema:
            self._update_model_variables_moving_average([variable for _, variable in pairs])
        self._n_updates.assign_add(1)
        return self.iterations.assign_add(1)

    def _update(
        self: Any, variable: Any, gradient: Any, numbers: dict[str, Any], decay: Any
    ) -> None:
        """One variable, float32; `decay` is what AdamW takes off at the whole rate."""
        key = self._var_key(variable)
        place, factor = self._index_dict[key], self._rate_factors.get(key, 1.0)
        if factor != 1.0:
            numbers, decay = numbers | {"lr": numbers["lr"] * factor}, decay * factor
        if self.weight_decay is not None and self._use_weight_decay(variable):
            variable.assign_sub(variable * decay)
        moving = self._moving.get(key)
        with nullcontext(variable) if moving is None else moving.taken() as own:
            tf.raw_ops.ResourceApplyAdam(
                var=own.handle,
                m=self._momentums[place].handle,
                v=self._velocities[place].handle,
                # An embedding's gradient comes as slices; Adam moves the other rows too.
                grad=tf.convert_to_tensor(gradient),
                **numbers,
            )


class Adam(_Fused, keras.optimizers.Adam):
    pass


class AdamW(_Fused, keras.optimizers.AdamW):
    pass


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of each step, as transformers' get_scheduler has it with its defaults.

    It grows from nought in a line over the warm-up, and goes on by `name`: `constant`, `linear` and
    `cosine` (half a wave) down to nought, `polynomial` (of power 1) down to 1e-7.
    """

    def __init__(self, name: str, learning_rate: float, *, warmup_steps: int, n_steps: int) -> None:
        super().__init__()
        self.name = name
        with tf.init_scope():
            self._numbers = tf.Variable(tf.zeros([3], tf.float64), trainable=False)
        self.set(learning_rate, warmup_steps=warmup_steps, n_steps=n_steps)

    def set(self, learning_rate: float, *, warmup_steps: int, n_steps: int) -> None:
        """Other numbers from now on, in a step that is traced already too."""
        self.learning_rate, self.warmup_steps, self.n_steps = learning_rate, warmup_steps, n_steps
        self._numbers.assign([learning_rate, warmup_steps, n_steps])

    def __call__(self, step: Any) -> Any:
        """Float32 []; `step` counts from 0."""
        step = tf.cast(step, tf.float64)
        learning_rate, warmup, n_steps = tf.unstack(tf.convert_to_tensor(self._numbers))
        n_after = tf.maximum(n_steps - warmup, 1.0)
        left = 1.0 - tf.clip_by_value((step - warmup) / n_after, 0.0, 1.0)
        after = {
            "constant": lambda: tf.ones_like(step),
            "linear": lambda: left,
            "cosine": lambda: 0.5 * (1.0 - tf.cos(math.pi * left)),
            "polynomial": lambda: left + (1.0 - left) * POLYNOMIAL_END / learning_rate,
        }[self.name]()
        factor = tf.where(step < warmup, step / tf.maximum(warmup, 1.0), after)
        return tf.cast(learning_rate * factor, tf.float32)

    def get_config(self) -> dict[str, Any]:
        names = ("name", "learning_rate", "warmup_steps", "n_steps")
        return {name: getattr(self, name) for name in names}


def begin_again(model: Any) -> Callable[[], None]:
    """Remembers a built optimizer as it is before its first step.

    Returns:
        What takes it back there, once the model's weights are.
    """
    optimizer, weights = model.optimizer, model.trainable_variables
    variables = list(optimizer.variables)
    # Slots begin with noughts; beside them stand counters, rates and float16's loss scale.
    kept = [each.numpy() if each.shape.num_elements() == 1 else None for each in variables]

    def take_back() -> None:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(tf.zeros_like(variable) if value is None else value)
        inner = unwrapped(optimizer)
        if getattr(inner, "use_ema", False):
            averages = inner._model_variables_moving_average
            for average, weight in zip(averages, weights, strict=True):
                average.assign(weight)

    return take_back


def unwrapped(optimizer: Any) -> Any:
    """The optimizer itself, where Keras has wrapped it for float16's loss scale."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def n_skipped(optimizer: Any) -> int:
    """Steps so far that updated nothing, since float16's gradients overflowed."""
    inner = unwrapped(optimizer)
    return 0 if inner is optimizer else int(inner.iterations) - int(inner.n_updates)


@contextmanager
def averaged_weights(model: Any) -> Iterator[None]:
    """In here the model has the averages of its weights, if its optimizer keeps them."""
    optimizer = unwrapped(model.optimizer)
    if not getattr(optimizer, "use_ema", False):
        yield
        return
    weights = model.trainable_variables
    kept = [tf.identity(each) for each in weights]
    optimizer.finalize_variable_values(weights)
    try:
        yield
    finally:
        for weight, value in zip(weights, kept, strict=True):
            weight.assign(value)
