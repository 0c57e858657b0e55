"""The fused optimizers against PyTorch's and Keras' own, on one sequence of gradients."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import python

from tfft.config import SCHEDULES

N_STEPS = 20
RATE = 0.05
# Beside the rate: what PyTorch calls lr, and the norm that clip_grad_norm_ gets.
CASES = {
    f"{name}, epsilon {epsilon:g}, clip {clip}": {
        "name": name,
        "numbers": {"beta_1": betas[0], "beta_2": betas[1], "epsilon": epsilon},
        "decay": 0.3 if name == "AdamW" else None,
        "clip": clip,
    }
    for name, (epsilon, betas), clip in product(
        ("Adam", "AdamW"), ((1e-2, (0.8, 0.95)), (1e-8, (0.9, 0.999))), (None, 2.0)
    )
}
SHAPES = {"kernel": (12, 3), "bias": (3,)}
# (steps of the run, warm-up, rate); one without room after the warm-up, one of a single step.
RUNS = ((40, 0, 3e-5), (40, 7, 0.01), (10, 10, 3e-5), (1, 0, 1.0))
# Each case's variables after each step, and each schedule's rates, by PyTorch.
TORCH = """
import json, sys, torch
from transformers import get_scheduler
asked = json.loads(open(sys.argv[1]).read())
def rate_of(optimizer):
    return optimizer.param_groups[0]["lr"]
told = {"weights": {}, "rates": []}
for case, about in asked["cases"].items():
    params = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in asked["start"].items()}
    n = about["numbers"]
    groups = [
        {"params": [value], "weight_decay": about["decay"] if name == "kernel" else 0.0}
        for name, value in params.items()
    ] if about["decay"] else list(params.values())
    optimizer = getattr(torch.optim, about["name"])(
        groups, lr=asked["rate"], betas=(n["beta_1"], n["beta_2"]), eps=n["epsilon"]
    )
    for gradients in asked["gradients"]:
        for name, value in params.items():
            value.grad = torch.tensor(gradients[name])
        if about["clip"]:
            torch.nn.utils.clip_grad_norm_(list(params.values()), about["clip"])
        optimizer.step()
    told["weights"][case] = {name: value.tolist() for name, value in params.items()}
for name, (n_steps, warmup, rate) in asked["schedules"]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    called = "constant_with_warmup" if name == "constant" else name
    scheduler = get_scheduler(called, optimizer, warmup, n_steps)
    rates = [rate_of(optimizer)]
    for _ in range(n_steps - 1):  # polynomial divides by 0 after a warm-up that is the whole run
        optimizer.step()
        scheduler.step()
        rates.append(rate_of(optimizer))
    told["rates"].append(rates)
print(json.dumps(told))
"""
SCHEDULED = [(name, run) for name in SCHEDULES for run in RUNS]


def gradients() -> list[dict[str, np.ndarray]]:
    """Of unlike sizes: some are clipped, some are near epsilon."""
    random = np.random.default_rng(0)
    sizes = 10.0 ** random.integers(-3, 2, size=N_STEPS)
    return [
        {
            name: (size * random.normal(size=shape)).astype(np.float32)
            for name, shape in SHAPES.items()
        }
        for size in sizes
    ]


START = {
    name: np.random.default_rng(1).normal(size=shape).astype(np.float32)
    for name, shape in SHAPES.items()
}
GRADIENTS = gradients()


@pytest.fixture(scope="module")
def by_pytorch(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("torch") / "asked.json"
    lists = [{name: each.tolist() for name, each in step.items()} for step in GRADIENTS]
    asked = {
        "cases": CASES,
        "rate": RATE,
        "start": {name: each.tolist() for name, each in START.items()},
        "gradients": lists,
        "schedules": SCHEDULED,
    }
    path.write_text(json.dumps(asked))
    return json.loads(python(TORCH, str(path), torch=True))


def optimizer_of(case: dict[str, Any]) -> Any:
    from tfft import optimizers

    numbers = {"learning_rate": RATE, "global_clipnorm": case["clip"], **case["numbers"]}
    if case["name"] == "Adam":
        return optimizers.Adam(**numbers)
    optimizer = optimizers.AdamW(weight_decay=case["decay"], **numbers)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_equal_pytorch(case: str, by_pytorch: Any) -> None:
    from tfft.backend import tf

    variables = {name: tf.Variable(value, name=name) for name, value in START.items()}
    optimizer = optimizer_of(CASES[case])
    for step in GRADIENTS:
        optimizer.apply_gradients(
            [(tf.constant(step[name]), variable) for name, variable in variables.items()]
        )
    for name, variable in variables.items():
        theirs = np.asarray(by_pytorch["weights"][case][name], np.float32)
        # 1e-6 of the weights, which are of size 1: float32 in another order of operations.
        np.testing.assert_allclose(variable.numpy(), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("number", "scheduled"), enumerate(SCHEDULED), ids=[f"{n} {run}" for n, run in SCHEDULED]
)
def test_a_schedule_is_transformers_at_every_step(
    number: int, scheduled: tuple[str, tuple[int, int, float]], by_pytorch: Any
) -> None:
    from tfft.optimizers import Schedule

    name, (n_steps, warmup, rate) = scheduled
    schedule = Schedule(name, rate, warmup_steps=warmup, n_steps=n_steps)
    ours = [float(schedule(step)) for step in range(n_steps)]
    # 1e-7: float32 against float64.
    np.testing.assert_allclose(ours, by_pytorch["rates"][number], rtol=1e-7, atol=1e-12)


def run(optimizer: Any, *, sparse: bool) -> np.ndarray:
    """A [12, 3] variable after the steps; sparse ones touch 4 rows, one of them twice."""
    from tfft.backend import tf

    random = np.random.default_rng(0)
    variable = tf.Variable(random.normal(size=(12, 3)).astype(np.float32), name="kernel")
    for _ in range(N_STEPS):
        values = random.normal(size=(5, 3) if sparse else (12, 3)).astype(np.float32)
        gradient: Any = tf.constant(values)
        if sparse:
            rows = random.choice(12, 4, replace=False)
            gradient = tf.IndexedSlices(gradient, tf.constant([*rows, rows[0]]), [12, 3])
        optimizer.apply_gradients([(gradient, variable)])
    return variable.numpy()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_with_an_epsilon_too_small_to_count_steps_equal_keras(name: str, sparse: bool) -> None:
    from tfft import optimizers
    from tfft.backend import keras

    numbers = {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-12}
    ours, theirs = (
        run(getattr(home, name)(**numbers), sparse=sparse)
        for home in (optimizers, keras.optimizers)
    )
    # 2e-6: float32 in another order of operations, and Keras' bias correction is float32 too.
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-6)


def test_slices_of_one_row_are_summed_before_the_norm_is_taken() -> None:
    from tfft import optimizers
    from tfft.backend import tf

    slices = tf.IndexedSlices(tf.constant([[3.0], [-3.0], [4.0]]), tf.constant([0, 0, 1]), [3, 1])
    optimizer = optimizers.Adam(global_clipnorm=2.0)
    [clipped] = optimizer._clip_gradients([slices])
    np.testing.assert_allclose(clipped.numpy(), [[0.0], [2.0], [0.0]], rtol=1e-6)


def test_a_variable_s_own_rate_multiplies_its_step_and_its_decay() -> None:
    from tfft import optimizers
    from tfft.backend import tf

    low, whole = tf.Variable([1.0, -2.0]), tf.Variable([1.0, -2.0])
    optimizer = optimizers.AdamW(0.1, weight_decay=0.5, epsilon=1e-8)
    optimizer.scale_rates([(low, 0.25)])
    optimizer.apply_gradients([(tf.constant([3.0, -4.0]), each) for each in (low, whole)])
    # Adam's first step is the gradient's sign.
    for variable, rate in ((low, 0.025), (whole, 0.1)):
        expected = np.asarray([1.0, -2.0]) * (1 - 0.5 * rate) - rate * np.asarray([1.0, -1.0])
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


class Holder:
    """As much of a model as an optimizer needs."""

    def __init__(self, variables: list[Any], optimizer: Any) -> None:
        self.trainable_variables, self.optimizer = variables, optimizer


def test_the_average_is_taken_after_every_step_and_lent_for_a_while() -> None:
    from tfft import optimizers
    from tfft.backend import tf

    decay, variable = 0.8, tf.Variable([1.0, 2.0])
    optimizer = optimizers.Adam(0.1, use_ema=True, ema_momentum=decay)
    average = variable.numpy()
    for number in range(4):
        optimizer.apply_gradients([(tf.constant([1.0, 0.5 - number]), variable)])
        average = decay * average + (1 - decay) * variable.numpy()
    raw = variable.numpy()
    with optimizers.averaged_weights(Holder([variable], optimizer)):
        np.testing.assert_allclose(variable.numpy(), average, rtol=1e-6)
    np.testing.assert_array_equal(variable.numpy(), raw)
    assert np.abs(raw - average).max() > 0.01


def everything() -> tuple[Any, Any]:
    """A variable, and an optimizer with all that an optimizer here may carry."""
    from tfft import optimizers
    from tfft.backend import keras, tf

    variable = tf.Variable([1.0, 2.0], name="kernel")
    optimizer = optimizers.AdamW(
        optimizers.Schedule("linear", 0.1, warmup_steps=2, n_steps=12),
        weight_decay=0.1,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=0.9,
    )
    optimizer.scale_rates([(variable, 0.5)])
    scaled = keras.mixed_precision.LossScaleOptimizer(
        optimizer, initial_scale=8.0, dynamic_growth_steps=3
    )
    scaled.build([variable])
    return variable, scaled


def step(variable: Any, optimizer: Any, *gradients: float) -> None:
    """Steps with these gradients, which the loss scale has multiplied."""
    from tfft.backend import tf

    for each in gradients:
        scaled = tf.constant([each, 0.5 - each]) * optimizer.loss_scale
        optimizer.get_scaled_loss(tf.constant(1.0))
        optimizer.apply_gradients(
            list(zip(optimizer.get_unscaled_gradients([scaled]), [variable], strict=True))
        )


def state_of(variable: Any, optimizer: Any) -> list[np.ndarray]:
    from tfft.optimizers import unwrapped

    inner = unwrapped(optimizer)
    scale = (optimizer.loss_scale, optimizer.dynamic_counter)
    kept = (variable, *inner.variables, inner.learning_rate, inner.n_updates, *scale)
    return [each.numpy() for each in kept]


def test_the_state_is_saved_and_restored_whole(tmp_path: Path) -> None:
    from tfft.backend import tf

    variable, optimizer = everything()
    step(variable, optimizer, 1.0, np.inf, 0.3, 0.2)
    path = tf.train.Checkpoint(v=variable, o=optimizer).save(str(tmp_path / "state"))
    step(variable, optimizer, 0.7, 0.1, -0.4)

    again, again_optimizer = everything()
    tf.train.Checkpoint(v=again, o=again_optimizer).restore(path).assert_consumed()
    step(again, again_optimizer, 0.7, 0.1, -0.4)
    ours, theirs = state_of(again, again_optimizer), state_of(variable, optimizer)
    for mine, yours in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_a_gradient_that_overflows_changes_the_loss_scale_and_nothing_else() -> None:
    from tfft.optimizers import n_skipped, unwrapped

    variable, optimizer = everything()
    step(variable, optimizer, 1.0, 0.5)
    before, n_updates = state_of(variable, optimizer), int(unwrapped(optimizer).n_updates)
    iterations = next(
        place for place, each in enumerate(before) if each.dtype == np.int64 and each == n_updates
    )
    step(variable, optimizer, np.nan)
    after = state_of(variable, optimizer)
    *same_before, scale, _ = before
    *same_after, scale_after, counter = after
    for place, (first, second) in enumerate(zip(same_before, same_after, strict=True)):
        if place != iterations:  # Keras counts the step; what Adam and the schedule count is ours
            np.testing.assert_array_equal(first, second)
    assert (float(scale), float(scale_after), int(counter)) == (8.0, 4.0, 0)
    assert n_skipped(optimizer) == 1


def test_a_loss_scale_grows_after_enough_good_steps() -> None:
    variable, optimizer = everything()
    step(variable, optimizer, 1.0, 0.5, 0.2)
    assert float(optimizer.loss_scale) == 16.0


def test_scaled_steps_are_those_without_a_scale() -> None:
    from tfft.backend import tf
    from tfft.optimizers import unwrapped

    scaled, optimizer = everything()
    step(scaled, optimizer, 1.0, np.inf, 0.5, 0.2)
    plain, other = everything()
    for each in (1.0, 0.5, 0.2):
        unwrapped(other).apply_gradients([(tf.constant([each, 0.5 - each]), plain)])
    np.testing.assert_array_equal(scaled.numpy(), plain.numpy())
