"""TFLite (LiteRT): `model.tflite`, in its own operations alone.

    write(live, Path("out"), quantize="int8")
    logits = read(Path("out"))          # tf.lite.Interpreter
    logits({"input_ids": ids, "attention_mask": mask})

The signature `serving_default` takes int32 [batch, length] each; both are resized by
`resize_tensor_input`. `quantize` is of the weights: "int8" (dynamic range: the matrix products are
of int8 too, activations are quantised call by call) or "float16".
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tfft.backend import silent_stderr, tf
from tfft.errors import ExportError, first_line, listed
from tfft.export.formats.live import Batch, Live

FILE = "model.tflite"
# From this distance on all are in MPNet's last bucket: `max_distance` of transformers.
_FARTHEST = 128


def write(live: Live, folder: Path, *, quantize: str | None = None) -> None:
    """Converts.

    Raises:
        ExportError: the architecture uses an operation that TFLite lacks; names it.
    """
    live.check_size("a TFLite file")
    with _tabled_distances(live.model) as changed:
        graph = live.trace() if changed else live.graph
    weights = tf.Module()  # the model itself would be traced again, call by call of Keras
    weights.all = live.model.weights
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [graph.get_concrete_function()], weights
    )
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        with silent_stderr():  # MLIR's notes, a screen each
            content = converter.convert()
    except Exception as error:
        raise ExportError(_refusal(live.architecture, error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(content)
    live.save_beside(folder)


def read(folder: Path) -> Callable[[Batch], np.ndarray]:
    """The file in an interpreter that is resized where a batch has another shape."""
    with silent_stderr(), warnings.catch_warnings():
        # TensorFlow has it still, and announces another package.
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(
            str(folder / FILE), num_threads=len(os.sched_getaffinity(0))
        )
        interpreter.allocate_tensors()  # XNNPACK says here that it is there
    runner = interpreter.get_signature_runner("serving_default")
    features = sorted(runner.get_input_details())

    def logits(batch: Batch) -> np.ndarray:
        found = runner(**{name: batch[name].astype(np.int32) for name in features})["logits"]
        return np.array(found)

    return logits


def _refusal(architecture: str, error: Exception) -> str:
    lines = str(error).splitlines()
    missing = sorted({line.split("'")[1] for line in lines if "is neither a custom op" in line})
    why = f"it has no {listed(missing)}" if missing else first_line(error)
    return f"{architecture}: TFLite can't do it: {why}; --format saved_model or torch can"


@contextmanager
def _tabled_distances(model: Any) -> Iterator[bool]:
    """Has MPNet look up the buckets of its distances, where it computes them in float64.

    TFLite has no logarithm and no quotient in float64. The table is filled by that same function.

    Yields:
        Whether there is such a layer.
    """
    layers = [
        each for each in model._flatten_layers() if hasattr(each, "_relative_position_bucket")
    ]
    for layer in layers:
        layer._relative_position_bucket = _table_of(layer._relative_position_bucket)
    try:
        yield bool(layers)
    finally:
        for layer in layers:
            del layer._relative_position_bucket  # the class has the original


def _table_of(bucket: Callable[..., Any]) -> Callable[..., Any]:
    def look_up(distance: Any, **how: Any) -> Any:
        with tf.init_scope():
            table = bucket(tf.range(-_FARTHEST, _FARTHEST + 1), **how).numpy()
        return tf.gather(table, tf.clip_by_value(distance, -_FARTHEST, _FARTHEST) + _FARTHEST)

    return look_up
