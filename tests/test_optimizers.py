"""The fused optimizers against Keras' own, on one sequence of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

N_STEPS = 20


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
def test_twenty_steps_equal_keras(name: str, sparse: bool) -> None:
    from tfft import optimizers
    from tfft.backend import keras

    numbers = {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}
    ours, theirs = (
        run(getattr(home, name)(**numbers), sparse=sparse)
        for home in (optimizers, keras.optimizers)
    )
    # 1e-6 relative: float32 in another order of operations.
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_the_state_is_saved_and_restored_whole(tmp_path: Any) -> None:
    from tfft import optimizers
    from tfft.backend import tf

    def fresh() -> tuple[Any, Any]:
        variable = tf.Variable([1.0, 2.0])
        optimizer = optimizers.Adam(0.1)
        optimizer.build([variable])
        return variable, optimizer

    def step(variable: Any, optimizer: Any, times: int) -> None:
        for each in range(times):
            optimizer.apply_gradients([(tf.constant([1.0, 0.5 - each]), variable)])

    variable, optimizer = fresh()
    step(variable, optimizer, 3)
    path = tf.train.Checkpoint(v=variable, o=optimizer).save(str(tmp_path / "state"))
    step(variable, optimizer, 2)

    again, again_optimizer = fresh()
    tf.train.Checkpoint(v=again, o=again_optimizer).restore(path).assert_consumed()
    step(again, again_optimizer, 2)
    np.testing.assert_array_equal(again.numpy(), variable.numpy())
