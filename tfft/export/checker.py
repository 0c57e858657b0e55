"""Loads a SavedModel with TensorFlow alone, and measures how far it is from the expected answers.

    python -I checker.py JOB.json ANSWER.json

A program of its own, started by `check.py`: nothing can be imported but Python's own library,
TensorFlow and what TensorFlow asks for. It measures, and judges nothing.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

BATCH_SIZES = (1, 8, 32)
# What must not be there: the check would prove nothing of a server.
ABSENT = ("tfft", "transformers", "tokenizers", "tf_keras", "tensorflow_text", "torch")
# Ops that call back into the Python process that made them.
OF_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
WARM_CALLS, WARM_S = 50, 2.0  # a batch size is called so often, or so long


class TensorFlowAlone(MetaPathFinder):
    """Finds nothing, and lets nobody after it look for other packages than TensorFlow's."""

    def __init__(self) -> None:
        wanted = _with_what_they_need("tensorflow")
        self._known = {
            module
            for module, packages in metadata.packages_distributions().items()
            if wanted & {_normal(each) for each in packages}
        }

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        top = fullname.partition(".")[0]
        of_python = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
        if not of_python and top not in self._known:
            raise ModuleNotFoundError(f"{fullname} is no part of TensorFlow", name=fullname)


def _with_what_they_need(*packages: str) -> set[str]:
    found: set[str] = set()
    queue = [_normal(each) for each in packages]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        queue += [_normal(each) for each in needed if "extra ==" not in each]
    return found


def _normal(requirement: str) -> str:
    """`Keras_Preprocessing >=1.1; python_version < "3"` -> keras-preprocessing."""
    name = re.match(r"[\w.-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""


def absent() -> list[str]:
    """The packages that can't be imported here, each tried."""
    refused = []
    for name in ABSENT:
        try:
            __import__(name)
        except ImportError:
            refused.append(name)
    return refused


def ops_of(folder: Path) -> tuple[list[str], list[str]]:
    """The ops in the SavedModel's graph and functions, and those that TensorFlow itself lacks.

    Nothing but TensorFlow has been imported, so that its registry holds the core ops alone.
    """
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    ops, own = set(), set()
    for graph in saved.meta_graphs:
        library = graph.graph_def.library.function
        own |= {each.signature.name for each in library}
        ops |= {node.op for node in graph.graph_def.node}
        ops |= {node.op for each in library for node in each.node_def}
    ops -= own
    outside = [op for op in ops if op in OF_PYTHON or op_def_registry.get(op) is None]
    return sorted(ops), sorted(outside)


class Caller:
    """Calls the signatures with the job's texts and tokens."""

    def __init__(self, job: Mapping[str, Any], signatures: Mapping[str, Any]) -> None:
        self.job, self.signatures = job, signatures

    def call(self, name: str, rows: Sequence[int]) -> dict[str, Any]:
        """The signature's answer to these rows of the job, as arrays."""
        import tensorflow as tf

        takes = self.signatures[name].structured_input_signature[1]
        inputs = {
            column: tf.constant(
                self._column(column, rows), spec.dtype, None if rows else [0] * spec.shape.rank
            )
            for column, spec in takes.items()
        }
        return {key: each.numpy() for key, each in self.signatures[name](**inputs).items()}

    def _column(self, column: str, rows: Sequence[int]) -> list[Any]:
        if column in self.job["texts"]:
            texts = self.job["texts"][column]
            return [texts[row].encode() for row in rows]
        tokens = [self.job["tokens"][column][row] for row in rows]
        longest = max(map(len, tokens), default=0)
        padding = self.job["padding"].get(column, 0)
        return [each + [padding] * (longest - len(each)) for each in tokens]


def compare(caller: Caller, name: str) -> dict[str, Any]:
    """The largest difference of a signature's numbers from the expected, and the first other label.

    Rows whose label hangs on a rounding aren't asked for it.
    """
    import numpy as np

    expected = caller.job["expected"]
    key = "value" if "value" in expected else "scores"
    numbers = np.asarray(expected[key], np.float64)
    largest, where, other = 0.0, 0, None
    for rows in _batches(range(len(numbers)), max(BATCH_SIZES)):
        given = caller.call(name, rows)
        if given[key].shape != numbers[rows].shape:
            return {"shape": [list(given[key].shape), list(numbers[rows].shape)]}
        apart = np.abs(given[key] - numbers[rows]).reshape(len(rows), -1).max(axis=1)
        apart = np.nan_to_num(apart, nan=np.inf)
        if apart.max() > largest:
            largest, where = float(apart.max()), rows[int(apart.argmax())]
        for row, label in zip(rows, given.get("label", ()), strict=False):
            is_other = label.decode() != expected["label"][row]
            if other is None and expected["is_certain"][row] and is_other:
                other = {"row": row, "label": label.decode(), "expected": expected["label"][row]}
    return {
        "n_texts": len(numbers),
        "largest_difference": largest if np.isfinite(largest) else None,
        "row": where,
        "other_label": other,
        "empty": {k: list(each.shape) for k, each in caller.call(name, []).items()},
    }


def latency(caller: Caller, name: str) -> dict[str, float]:
    """Milliseconds of a warm call by batch size, the median."""
    n_rows = len(caller.job["tokens"]["input_ids"])
    told = {}
    for size in BATCH_SIZES:
        rows = [row % n_rows for row in range(size)]
        times: list[float] = []
        caller.call(name, rows)
        began = time.perf_counter()
        while len(times) < WARM_CALLS and time.perf_counter() - began < WARM_S:
            started = time.perf_counter()
            caller.call(name, rows)
            times.append(time.perf_counter() - started)
        told[f"batch_{size}_ms"] = round(1e3 * sorted(times)[len(times) // 2], 3)
    return told


def described(function: Any) -> dict[str, Any]:
    """A signature's inputs and outputs: dtype and shape by name, None where it is open."""

    def of(specs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        return {key: [spec.dtype.name, spec.shape.as_list()] for key, spec in sorted(specs)}

    return {
        "inputs": of(function.structured_input_signature[1].items()),
        "outputs": of(function.structured_outputs.items()),
    }


def check(job: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What was found, part by part: what comes later may break off."""
    sys.meta_path.insert(0, TensorFlowAlone())
    yield "absent", absent()
    import tensorflow as tf

    yield "tensorflow", tf.version.VERSION
    yield "device", _device(tf)
    folder = Path(job["saved_model"])
    ops, outside = ops_of(folder)
    yield "ops", ops
    yield "ops_outside_core", outside
    if outside:
        return
    started = time.perf_counter()
    loaded = tf.saved_model.load(str(folder))
    caller = Caller(job, dict(loaded.signatures))
    seconds = {"cold_load_s": round(time.perf_counter() - started, 3)}
    names = [name for name in job["signatures"] if name in caller.signatures]
    yield "signatures", {name: described(caller.signatures[name]) for name in names}
    started = time.perf_counter()
    caller.call(names[0], [0])
    seconds["first_call_s"] = round(time.perf_counter() - started, 3)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield "answers", {name: compare(caller, name) for name in names}
    tf.config.experimental.enable_tensor_float_32_execution(True)
    yield "latency", {**seconds, **latency(caller, names[0])}


def _device(tf: Any) -> str:
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    return f"{kind}, {len(os.sched_getaffinity(0))} cores"


def _batches(rows: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield list(rows[start : start + size])


def main(job_file: str, answer_file: str) -> None:
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    answer: dict[str, Any] = {}
    for part, found in check(job):
        answer[part] = found
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
