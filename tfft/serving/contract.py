"""TensorFlow Serving's REST contract: a body as a call of a signature, and its answer as a body.

    call = read_call(body, signatures)           # of {"instances": ["a film"]} or {"inputs": ...}
    write_answer(call, {"scores": ..., "label": ...})

As tensorflow.org/tfx/serving/api_rest has it; the messages are ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.errors import RequestError, listed, nearest
from tfft.serving.signatures import DEFAULT, Signature
from tfft.serving.tensors import to_array, to_values

JSON = "application/json"
_KEYS = ("signature_name", "instances", "inputs")


@dataclass(frozen=True)
class Call:
    """What a client asks for, as a signature takes it.

    Attributes:
        by_rows: whether it came as `instances`, and is answered as `predictions`.
        arrays: by input; the first axis is the rows.
    """

    signature: Signature
    by_rows: bool
    arrays: Mapping[str, np.ndarray]
    n_rows: int


def read_call(body: bytes, signatures: Mapping[str, Signature], *, max_rows: int) -> Call:
    """What a client asks for.

    Raises:
        RequestError: says what is wrong with the body.
    """
    document = _parse(body)
    for key in document:
        if key not in _KEYS:
            raise RequestError(f"unknown key '{key}'{nearest(key, _KEYS)}; {_expected()}")
    signature = _choose(document.get("signature_name"), signatures)
    if "instances" in document and "inputs" in document:
        raise RequestError("a request has `instances` or `inputs`, not both")
    if "instances" in document:
        columns = _columns_of_rows(document["instances"], signature, max_rows)
    elif "inputs" in document:
        columns = _columns(document["inputs"], signature)
    else:
        raise RequestError(f"neither `instances` nor `inputs` came; {_expected()}")
    arrays = {
        name: to_array(columns[name], tensor, name) for name, tensor in signature.inputs.items()
    }
    return Call(signature, "instances" in document, arrays, _count_rows(arrays, max_rows))


def _parse(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise RequestError(f"the body is empty; {_expected()}")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RequestError(
            f"the body isn't UTF-8 (byte {error.start}); bytes that are no text go as "
            '{"b64": ...}'
        ) from None
    try:
        document = json.loads(text)
    except RecursionError:
        raise RequestError("the body's lists are nested too deeply") from None
    except ValueError as error:
        raise RequestError(f"the body isn't JSON: {error}") from None
    if not isinstance(document, dict):
        raise RequestError(f"the body isn't a JSON object; {_expected()}")
    return document


def _expected() -> str:
    return 'expected {"instances": [...]} or {"inputs": ...}'


def _choose(name: Any, signatures: Mapping[str, Signature]) -> Signature:
    if name is None or name == "":
        name = DEFAULT
    if not isinstance(name, str):
        raise RequestError("`signature_name` must be a text")
    try:
        return signatures[name]
    except KeyError:
        raise RequestError(
            f"there is no signature '{name[:80]}'{nearest(name[:80], signatures)}; there are "
            f"{listed(signatures)}"
        ) from None


def _columns_of_rows(rows: Any, signature: Signature, max_rows: int) -> Mapping[str, list[Any]]:
    """The row format: a list of values, or of objects with a value for each input."""
    if not isinstance(rows, list):
        raise RequestError("`instances` must be a list, with an example in each place")
    if not rows:
        raise RequestError("`instances` is empty: there is nothing to predict")
    _check_rows(len(rows), max_rows)
    names = list(signature.inputs)
    if not _is_named(rows[0]):
        if len(names) > 1:
            raise RequestError(
                f"`instances` must be a list of objects with {listed(names)}: signature "
                f"'{signature.name}' takes {len(names)} inputs"
            )
        for number, row in enumerate(rows):
            if _is_named(row):
                raise RequestError(f"row {number} of `instances` is an object, the first is none")
        return {names[0]: rows}
    for number, row in enumerate(rows):
        if not _is_named(row):
            raise RequestError(f"row {number} of `instances` is no object, the first is one")
        _check_names(row, signature, f"row {number} of `instances`")
    return {name: [row[name] for row in rows] for name in names}


def _columns(inputs: Any, signature: Signature) -> Mapping[str, Any]:
    """The column format: an input's values, or an object with those of each."""
    if _is_named(inputs):
        _check_names(inputs, signature, "`inputs`")
        columns: dict[str, Any] = inputs
        return columns
    if len(signature.inputs) > 1:
        raise RequestError(
            f"`inputs` must be an object with {listed(signature.inputs)}: signature "
            f"'{signature.name}' takes {len(signature.inputs)} inputs"
        )
    return {next(iter(signature.inputs)): inputs}


def _is_named(value: Any) -> bool:
    """An object of inputs by name; `{"b64": ...}` is a value."""
    return isinstance(value, dict) and set(value) != {"b64"}


def _check_names(given: Mapping[str, Any], signature: Signature, where: str) -> None:
    for name in given:
        if name not in signature.inputs:
            raise RequestError(
                f"{where} has '{name[:80]}'{nearest(name[:80], signature.inputs)}, and signature "
                f"'{signature.name}' takes {listed(signature.inputs)}"
            )
    for name in signature.inputs:
        if name not in given:
            raise RequestError(f"{where} lacks '{name}'")


def _count_rows(arrays: Mapping[str, np.ndarray], max_rows: int) -> int:
    counts = {name: len(array) if array.ndim else 1 for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        told = listed(f"{name} {count}" for name, count in counts.items())
        raise RequestError(f"the inputs have unlike numbers of rows: {told}")
    n_rows = next(iter(counts.values()))
    if not n_rows:
        raise RequestError("`inputs` is empty: there is nothing to predict")
    _check_rows(n_rows, max_rows)
    return n_rows


def _check_rows(n_rows: int, max_rows: int) -> None:
    if n_rows > max_rows:
        raise RequestError(
            f"the request has {n_rows:,} rows, and {max_rows:,} is the most; send them in parts"
        )


def write_answer(call: Call, outputs: Mapping[str, np.ndarray]) -> bytes:
    """`predictions` by rows or `outputs` by columns; the name of a single output is left out.

    Raises:
        RequestError: asked by rows of outputs that haven't one for each.
    """
    values = {name: to_values(array, name) for name, array in outputs.items()}
    if not call.by_rows:
        return _encode({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    for name, array in outputs.items():
        if not array.ndim or len(array) != call.n_rows:
            raise RequestError(
                f"output '{name}' of signature '{call.signature.name}' hasn't a row for each of "
                "`instances`; ask with `inputs`"
            )
    if len(values) == 1:
        return _encode({"predictions": next(iter(values.values()))})
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return _encode({"predictions": rows})


def write_error(message: str) -> bytes:
    return _encode({"error": message})


def write_status(version: int) -> bytes:
    """Of GET /v1/models/NAME: one version, and it is there."""
    status = {"error_code": "OK", "error_message": ""}
    each = {"version": str(version), "state": "AVAILABLE", "status": status}
    return _encode({"model_version_status": [each]})


def write_metadata(name: str, version: int, signatures: Mapping[str, Any]) -> bytes:
    """Of GET /v1/models/NAME/metadata.

    Args:
        signatures: each SignatureDef as JSON has it.
    """
    spec = {"name": name, "signature_name": "", "version": str(version)}
    # The doubled name is TensorFlow Serving's: a map in a message of the same name.
    definition = {"signature_def": {"signature_def": signatures}}
    return _encode({"model_spec": spec, "metadata": definition})


def _encode(document: Any) -> bytes:
    # NaN and Infinity go as such: the contract allows them.
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
