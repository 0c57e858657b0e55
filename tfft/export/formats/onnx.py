"""ONNX, by tf2onnx: `model.onnx`, with the names and dtypes that onnxruntime's users expect.

    write(live, Path("out"))
    logits = read(Path("out"))          # onnxruntime
    logits({"input_ids": ids, "attention_mask": mask})

Inputs are int64 [batch, length], the output `logits` is float32 [batch, labels]; `config.json` and
the tokenizer's files lie beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tfft.backend import silent_stderr, tf
from tfft.errors import ExportError, TfftError, first_line, listed
from tfft.export.formats.live import Batch, Live

FILE = "model.onnx"
PACKAGES = ("onnx", "onnxruntime", "tf2onnx")
# The newest that tf2onnx writes; each onnxruntime since 1.14 reads it.
OPSET = 18


def check_installed() -> None:
    """Looks whether ONNX's packages are there, without importing them.

    Raises:
        TfftError: one isn't.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise TfftError(
            f'{listed(missing)} isn\'t installed; ONNX comes with pip install "tfft[onnx]"'
        )


def write(live: Live, folder: Path, *, quantize: str | None = None) -> None:
    """Converts, and refuses what ONNX has no words for.

    Raises:
        ExportError: the architecture uses an operation that ONNX or tf2onnx lacks.
    """
    assert quantize is None, "the registry says that this format isn't quantised"  # noqa: S101
    live.check_size("an ONNX file")
    import onnx

    proto = _converted(live)
    _check_known(proto, live.architecture)
    _name_axes(proto)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:
        raise ExportError(
            f"{live.architecture}: tf2onnx writes an invalid file: {first_line(error)}"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(proto.SerializeToString())
    live.save_beside(folder)


def read(folder: Path) -> Callable[[Batch], np.ndarray]:
    """The file in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised as well
    session = onnxruntime.InferenceSession(
        str(folder / FILE), options, providers=["CPUExecutionProvider"]
    )

    def logits(batch: Batch) -> np.ndarray:
        given = {each.name: batch[each.name].astype(np.int64) for each in session.get_inputs()}
        (found,) = session.run(["logits"], given)
        return np.asarray(found)

    return logits


def _converted(live: Live) -> Any:
    import tf2onnx

    # PyTorch's users, and tokenizers, have int64.
    def logits(batch: Mapping[str, Any]) -> Any:
        return live.graph({name: tf.cast(each, tf.int32) for name, each in batch.items()})

    spec = live.spec(tf.int64)
    graph = tf.function(logits, input_signature=[spec], autograph=False)
    try:
        with _silent(), silent_stderr():
            proto, _ = tf2onnx.convert.from_function(
                graph, input_signature=[spec], opset=OPSET, custom_op_handlers={"Erfc": (_erfc, [])}
            )
    except Exception as error:
        raise ExportError(
            f"{live.architecture}: tf2onnx can't convert it: {first_line(error)}"
        ) from error
    return proto


def _erfc(context: Any, node: Any, name: str, _: Any) -> None:
    """1 - erf(x): tf2onnx has no Erfc, which is how gelu comes out, and ONNX has Erf."""
    (x,), (out,) = node.input, node.output
    about = {"shapes": node.output_shapes, "dtypes": node.output_dtypes}
    context.remove_node(node.name)
    erf = context.make_node("Erf", [x], name=f"{name}_erf", **about)
    one = context.make_const(f"{name}_one", np.ones((), np.float32))
    context.make_node("Sub", [one.output[0], erf.output[0]], outputs=[out], name=name, **about)


def _check_known(proto: Any, architecture: str) -> None:
    """Tf2onnx logs what it doesn't know, and writes it all the same."""
    from onnx import defs

    strange = {
        node.op_type
        for node in _nodes(proto.graph)
        if node.domain or not defs.has(node.op_type, max_inclusive_version=OPSET)
    }
    if strange:
        raise ExportError(
            f"{architecture}: ONNX has no operation for TensorFlow's {listed(sorted(strange))}; "
            "--format torch or saved_model can have it"
        )


def _nodes(graph: Any) -> Iterator[Any]:
    """Those in branches and loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _name_axes(proto: Any) -> None:
    """Says `batch` and `length` where tf2onnx counts what it doesn't know."""
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, ("batch", "length"), strict=True):
            if not axis.dim_value:
                axis.dim_param = name


@contextmanager
def _silent() -> Iterator[None]:
    """Tf2onnx tells its progress and its errors to the log; `_check_known` raises the latter."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
