"""What the layers compute in, and whether a device and a model can.

    check_devices("float16", devices.names)     # refuses it on a CPU
    with policy("bfloat16"):
        model = ...                             # layers in bfloat16, variables in float32
    check_model(model, "bfloat16")

Keras takes the precision from a policy of the whole process; here it holds inside `policy` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfft.backend import keras, tf
from tfft.errors import ModelError, TrainingError, first_line

_POLICIES = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
# The compute capability from which a GPU has units for it (CUDA C programming guide, table
# "Tensor cores"); below, it is emulated or missing.
_CAPABILITIES = {"bfloat16": (8, 0), "float16": (7, 0)}
_SLOW = "precision: this CPU has no units for bfloat16: steps take about twice float32's time"
_CPU_INFO = Path("/proc/cpuinfo")


@contextmanager
def policy(precision: str) -> Iterator[None]:
    """Layers that are made in here compute in `precision`."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(_POLICIES.get(precision, precision))
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def check_devices(precision: str, names: Sequence[str]) -> str | None:
    """What there is to say of `precision` on these devices, by TensorFlow's names for them.

    Raises:
        TrainingError: one of them lacks it.
    """
    if precision == "float32":
        return None
    if not any("GPU" in name for name in names):
        if precision == "float16":
            raise TrainingError("float16 needs a GPU; try bfloat16 or float32")
        return None if _cpu_has_bfloat16() else _SLOW
    needed = _CAPABILITIES[precision]
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        found = details.get("compute_capability")
        if found is not None and tuple(found) < needed:
            raise TrainingError(
                f"{precision} needs a GPU of compute capability {needed[0]}.{needed[1]}, and "
                f"{details.get('device_name', gpu.name)} has {found[0]}.{found[1]}; try "
                f"{'float16 or ' if precision == 'bfloat16' and found >= (7, 0) else ''}float32"
            )
    return None


def _cpu_has_bfloat16() -> bool:
    try:
        told = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: nobody knows
        return False
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(told.split()))


def check_model(model: Any, precision: str) -> None:
    """Takes a step's gradients of a model that was made in `precision`, and drops them.

    Raises:
        ModelError: its architecture can't.
    """
    if precision == "float32":
        return
    name = model.config.model_type
    try:
        with tf.GradientTape() as tape:
            logits = tf.cast(model(model.dummy_inputs, training=False).logits, tf.float32)
        gradients = tape.gradient(logits, model.trainable_variables)
    except Exception as error:
        raise ModelError(
            f"{name} can't compute in {precision} ({first_line(error)[:120]}); try float32"
        ) from error
    known = [each for each in gradients if each is not None]
    if not (known and bool(tf.reduce_all(tf.math.is_finite(logits)))):
        raise ModelError(f"{name} gives logits that are no numbers in {precision}; try float32")
