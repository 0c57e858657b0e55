"""A bundle's SavedModel in memory: its signatures, and calls of them. No transformers.

model = load_model(bundle)
model.signatures["serving_default"].inputs           # {"text": Tensor("string", (None,))}
model.run("serving_default", {"text": texts})        # {"scores": [batch, labels], "label": ...}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfft.backend import saved_model_pb2, tf
from tfft.errors import ModelError, RequestError, first_line
from tfft.serving.bundle import Bundle
from tfft.serving.signatures import DEFAULT, Signature, Tensor

# A signature that is no entry for requests: variables' initialisers, as TensorFlow marks it.
_HIDDEN = "__saved_model_"
# What the first call of a signature is given, in each axis that may have any length.
_WARM_LENGTH = 4


def share_cores(n_cores: int) -> int:
    """How many calls go at once; each gets its part of the cores.

    Two calls on a thread each answer 600 short texts a second where one after the other on two
    threads answers 335 (MiniLM, two AVX2 cores, batches of 8 and 16): the operations are too short
    to be shared out.
    """
    n_calls = min(n_cores, 4)
    # Where TensorFlow has begun in this process, its threads are what they are.
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(max(1, n_cores // n_calls))
    return n_calls


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Model:
    """A loaded SavedModel.

    Attributes:
        signature_defs: as protobuf's JSON has them, for /metadata.
    """

    signatures: Mapping[str, Signature]
    signature_defs: Mapping[str, Any]
    _functions: Mapping[str, Any] = field(repr=False)
    # The signatures hold no reference to the variables that they read.
    _loaded: Any = field(repr=False)

    def run(self, name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls a signature.

        Raises:
            RequestError: TensorFlow refuses the values, or can't compute with them.
        """
        inputs = self.signatures[name].inputs
        try:
            tensors = {
                key: tf.constant(
                    array.tolist() if array.dtype == object else array,
                    shape=array.shape,
                    dtype=inputs[key].dtype,
                )
                for key, array in arrays.items()
            }
            outputs = self._functions[name](**tensors)
            return {key: value.numpy() for key, value in sorted(outputs.items())}
        except tf.errors.OpError as error:
            at_fault = isinstance(error, tf.errors.InvalidArgumentError)
            raise RequestError(
                f"the model can't take this: {_told(error)}", status=400 if at_fault else 500
            ) from error

    def warm_up(self) -> None:
        """Calls each signature once: its first call takes a second or more.

        Raises:
            ModelError: a signature's call fails.
        """
        for name, signature in self.signatures.items():
            arrays = {key: _some(tensor) for key, tensor in signature.inputs.items()}
            try:
                self.run(name, arrays)
            except RequestError as error:
                raise ModelError(f"signature '{name}' fails on its first call: {error}") from error


def load_model(bundle: Bundle) -> Model:
    """Reads the SavedModel and its signatures.

    Raises:
        ModelError: this TensorFlow can't load it, or it has no default signature.
    """
    definitions = _read_definitions(bundle)
    try:
        loaded = tf.saved_model.load(str(bundle.path))
        functions = dict(loaded.signatures)
    except Exception as error:  # the loader raises whatever the broken file leads it to
        raise ModelError(
            f"{bundle.path} can't be loaded ({first_line(error)}); export it again"
        ) from error
    shown = {name: each for name, each in definitions.items() if name in functions}
    if DEFAULT not in shown:
        raise ModelError(f"{bundle.path} has no signature '{DEFAULT}'; export it again")
    signatures = {
        name: Signature(name, _tensors(each.inputs), _tensors(each.outputs))
        for name, each in shown.items()
    }
    definitions = {name: _as_json(each) for name, each in shown.items()}
    return Model(signatures, definitions, functions, loaded)


def _read_definitions(bundle: Bundle) -> dict[str, Any]:
    """The SignatureDefs that `saved_model.pb` has: the loaded functions don't tell them whole."""
    path = bundle.path / "saved_model.pb"
    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError is of a module that TensorFlow chooses
        raise ModelError(f"{path} can't be read ({first_line(error)}); export it again") from error
    graphs = [each for each in proto.meta_graphs if "serve" in each.meta_info_def.tags]
    if not graphs:
        raise ModelError(f"{path} has no graph to serve; export it again")
    return {
        name: each
        for name, each in sorted(graphs[0].signature_def.items())
        if not name.startswith(_HIDDEN) and each.inputs
    }


def _tensors(infos: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        name: Tensor(tf.dtypes.as_dtype(info.dtype).name, _shape(info.tensor_shape))
        for name, info in sorted(infos.items())
    }


def _shape(proto: Any) -> tuple[int | None, ...] | None:
    if proto.unknown_rank:
        return None
    return tuple(None if each.size < 0 else each.size for each in proto.dim)


def _as_json(definition: Any) -> Any:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(
        definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _some(tensor: Tensor) -> np.ndarray:
    """Values that any signature should take: texts, and numbers of 1."""
    first, *rest = tensor.shape if tensor.shape else (None,)
    shape = (first or 1, *(each or _WARM_LENGTH for each in rest))
    if tensor.dtype == "string":
        return np.full(shape, b"a first call", object)
    return np.ones(shape, tensor.dtype)


def _told(error: Any) -> str:
    """What TensorFlow says, without where in its graph: the last line before `[[{{node ...`."""
    words: str = (error.message or type(error).__name__).split("\n\t [[")[0]
    return words.split(" [Op:")[0].strip().splitlines()[-1].strip()[:300]
