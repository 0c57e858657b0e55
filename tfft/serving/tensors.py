"""JSON's values as arrays, and arrays as JSON's values.

to_array(["a film", {"b64": "YQ=="}], Tensor("string", (None,)), "text")   # object [2] of bytes
to_values(np.array([[0.1, 0.9]], np.float32))                              # [[0.1, 0.9]]
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfft.errors import RequestError
from tfft.serving.signatures import Tensor

_BYTES_SUFFIX = "_bytes"  # TensorFlow Serving's mark of an output that is no text
_KINDS = {
    str: "a text",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    type(None): "null",
    list: "a list",
    dict: "an object",
}


def to_array(values: Any, tensor: Tensor, where: str) -> np.ndarray:
    """A (nested) list as an array of the tensor's type and rank.

    Args:
        where: what a message calls it.

    Returns:
        Texts as an object array of bytes.

    Raises:
        RequestError: a value of another type, lists of unlike lengths, another depth.
    """
    shape = tuple(_lengths(values))
    _check_shape(shape, tensor, where)
    flat = list(_leaves(values, shape, where))
    if tensor.dtype == "string":
        array = np.empty(len(flat), object)
        array[:] = [_to_bytes(value, where) for value in flat]
        return array.reshape(shape)
    return _to_numbers(flat, tensor.dtype, where).reshape(shape)


def _lengths(values: Any) -> Iterator[int]:
    """Of the first list at each depth."""
    while isinstance(values, list):
        yield len(values)
        if not values:
            return
        values = values[0]


def _check_shape(shape: tuple[int, ...], tensor: Tensor, where: str) -> None:
    if tensor.shape is None:
        return
    # An empty list says nothing of what would lie in it.
    if len(shape) > len(tensor.shape) or (len(shape) < len(tensor.shape) and 0 not in shape):
        raise RequestError(
            f"`{where}` must be {_nested(len(tensor.shape))} {_wanted(tensor.dtype)}, not "
            f"{_nested(len(shape))} them"
        )
    for depth, (length, wanted) in enumerate(zip(shape, tensor.shape, strict=False)):
        if wanted is not None and length != wanted:
            raise RequestError(
                f"`{where}` has {length} values at depth {depth}, and the signature takes {wanted}"
            )


def _nested(depth: int) -> str:
    return (
        ("one of", "a list of", "a list of lists of")[depth] if depth < 3 else f"{depth} lists of"
    )


def _leaves(values: Any, shape: tuple[int, ...], where: str) -> Iterator[Any]:
    """The values at the bottom, where every list has the length of the first of its depth."""
    if not shape:
        if isinstance(values, list):
            raise RequestError(f"`{where}` has a list where the first row has a value")
        yield values
        return
    if not isinstance(values, list):
        raise RequestError(f"`{where}` has {_kind(values)} where the first row has a list")
    if len(values) != shape[0]:
        raise RequestError(
            f"`{where}` has rows of unlike lengths, {shape[0]} and {len(values)}; pad them"
        )
    if len(shape) == 1 and not any(type(each) is list for each in values):
        yield from values
        return
    for each in values:
        yield from _leaves(each, shape[1:], where)


def _to_bytes(value: Any, where: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise RequestError(f"`{where}` has half a surrogate pair: not a text") from None
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise RequestError(f"`{where}` has a `b64` that isn't base64") from None
    raise RequestError(
        f'`{where}` must have texts (or {{"b64": ...}}), not {_kind(value)}{_shown(value)}'
    )


def _to_numbers(flat: list[Any], dtype: str, where: str) -> np.ndarray:
    kinds: dict[str, tuple[type, ...]] = {"f": (int, float), "b": (bool,)}
    wanted = kinds.get(np.dtype(dtype).kind, (int,))
    for value in flat:
        if type(value) not in wanted:
            raise RequestError(
                f"`{where}` must have {_wanted(dtype)}, not {_kind(value)}{_shown(value)}"
            )
    try:
        if np.dtype(dtype).kind != "f":
            return np.array(flat, dtype)
        with np.errstate(over="raise"):
            return np.array(flat, np.float64).astype(dtype)
    except (OverflowError, FloatingPointError):
        raise RequestError(f"`{where}` has a number that {dtype} can't hold") from None


def _wanted(dtype: str) -> str:
    if dtype == "string":
        return "texts"
    kind = np.dtype(dtype).kind
    return {"f": "numbers", "b": "truth values"}.get(kind, "whole numbers")


def _kind(value: Any) -> str:
    return _KINDS[type(value)]


def _shown(value: Any) -> str:
    return f" ({value!r})" if isinstance(value, int | float) else ""


def to_values(array: np.ndarray, name: str = "") -> Any:
    """As JSON takes it: texts as texts, and float32 in as few digits as tell it apart.

    Args:
        name: the output's; one that ends in `_bytes` is given as base64.
    """
    if array.dtype.kind in "OSU":
        return _each(array, _as_base64 if name.endswith(_BYTES_SUFFIX) else _as_text)
    if array.dtype.kind == "f":
        # 0.1 as float32 is 0.10000000149 to Python's float.
        return _each(array, lambda value: float(str(value)))
    return array.tolist()


def _each(array: np.ndarray, change: Any) -> Any:
    changed = np.empty(array.size, object)
    changed[:] = [change(value) for value in array.ravel()]
    return changed.reshape(array.shape).tolist()


def _as_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _as_base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}
