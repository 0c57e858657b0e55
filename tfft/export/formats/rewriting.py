"""A frozen graph with the weights of its products and look-ups in int8 or float16.

    graph_def, values = rewritten(graph_def, "int8")

Its constants become placeholders for those values. A matrix has a scale a column, by which the
product is multiplied; a table of embeddings one a row, so that only the rows that a batch asks for
become float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfft.backend import tf

# Integers of 8 bits without -128, which has no counterpart above.
_LARGEST_INT8 = 127
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
# Smaller tensors stay float32: biases, norms and the like.
_LEAST_VALUES = 256

Users = Mapping[str, Sequence[Any]]  # a node's name -> the nodes that take what it gives


def rewritten(graph_def: Any, how: str) -> tuple[Any, dict[str, np.ndarray]]:
    """A copy in which `how`, "int8" or "float16", stands for each weight that allows it.

    Those that something else than a product or a look-up takes stay float32, as do those beyond
    what float16 holds.

    Returns:
        The graph; and what its new placeholders are fed, by their names.
    """
    users, by_name = _users(graph_def), {node.name: node for node in graph_def.node}
    replaced: dict[str, list[Any]] = {}  # a node's name -> what stands for it
    fed: dict[str, np.ndarray] = {}
    for constant in graph_def.node:
        weight = _weight(constant)
        if weight is None:
            continue
        passed, takers = _takers(constant.name, users)
        axis = _scaled_axis(takers, {constant.name, *passed}, by_name)
        is_matrix = weight.ndim == 2 and weight.size >= _LEAST_VALUES
        if axis is None or not is_matrix or not _fits(weight, how):
            fed[constant.name] = weight
            replaced[constant.name] = [_placeholder(constant.name, weight)]
            continue
        small, scale = _int8(weight, axis) if how == "int8" else (weight.astype(np.float16), None)
        stored = _Stored(f"{constant.name}/{how}", small.dtype, scale is not None)
        values: dict[str, np.ndarray] = {stored.name: small}
        if stored.scale is not None and scale is not None:
            values[stored.scale] = scale
        fed |= values
        replaced[constant.name] = [_placeholder(*each) for each in values.items()]
        replaced |= {name: [] for name in passed}
        for taker in takers:
            make = stored.product if taker.op == "MatMul" else stored.rows
            replaced[taker.name] = list(make(taker))
    return _with(graph_def, replaced), fed


def _users(graph_def: Any) -> Users:
    users: dict[str, list[Any]] = {}
    for node in graph_def.node:
        for name in node.input:
            users.setdefault(name.partition(":")[0], []).append(node)  # "^name" is no use of it
    return users


def _weight(node: Any) -> np.ndarray | None:
    """Its values, where it is a constant of several numbers in float32."""
    if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
        return None
    values = np.asarray(tf.make_ndarray(node.attr["value"].tensor))
    return values if values.size > 1 else None


def _fits(weight: np.ndarray, how: str) -> bool:
    return how != "float16" or bool(np.abs(weight).max() <= _LARGEST_FLOAT16)


def _takers(name: str, users: Users) -> tuple[list[str], list[Any]]:
    """The names of the Identities that hand it on, and the nodes that take it."""
    passed, takers = [], []
    for user in users.get(name, ()):
        if user.op == "Identity":
            further, own = _takers(user.name, users)
            passed += [user.name, *further]
            takers += own
        else:
            takers.append(user)
    return passed, takers


def _scaled_axis(takers: Sequence[Any], names: set[str], by_name: Mapping[str, Any]) -> int | None:
    """The axis that has a scale each: 1 of a product's matrix, 0 of a table; None of others."""

    def is_product(node: Any) -> bool:
        return (
            node.op == "MatMul"
            and node.input[0] not in names
            and node.input[1] in names
            and not node.attr["transpose_b"].b
        )

    def is_look_up(node: Any) -> bool:
        if node.op != "GatherV2" or node.input[0] not in names:
            return False
        axis = by_name[node.input[2]]
        return axis.op == "Const" and not tf.make_ndarray(axis.attr["value"].tensor).any()

    if takers and all(map(is_product, takers)):
        return 1
    return 0 if takers and all(map(is_look_up, takers)) else None


def _int8(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers, and what they are multiplied by: float32 [1, columns] or [rows, 1]."""
    largest = np.abs(weight).max(axis=1 - axis, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0).astype(np.float32) / _LARGEST_INT8
    return np.rint(weight / scale).astype(np.int8), scale


class _Stored:
    """A small weight in the graph, and the nodes that take it."""

    def __init__(self, name: str, dtype: Any, has_scale: bool) -> None:
        self.name, self.scale = name, f"{name}/scale" if has_scale else None
        self.type = tf.as_dtype(dtype).as_datatype_enum

    def product(self, node: Any) -> Iterator[Any]:
        """X @ float32(small), times the scale of each column."""
        yield self._cast(f"{node.name}/float32", self.name)
        own = _copy(node, f"{node.name}/product" if self.scale else node.name)
        own.input[1] = f"{node.name}/float32"
        yield own
        if self.scale:
            yield _multiply(node.name, own.name, self.scale)

    def rows(self, node: Any) -> Iterator[Any]:
        """float32(small[ids]), times the scales of those rows."""
        own = _copy(node, f"{node.name}/small")
        own.input[0], own.attr["Tparams"].type = self.name, self.type
        yield own
        cast = f"{node.name}/float32" if self.scale else node.name
        yield self._cast(cast, own.name)
        if self.scale:
            scales = _copy(node, f"{node.name}/scale")
            scales.input[0] = self.scale
            yield scales
            yield _multiply(node.name, cast, scales.name)

    def _cast(self, name: str, given: str) -> Any:
        node = _node("Cast", name, given)
        node.attr["SrcT"].type = self.type
        node.attr["DstT"].type = tf.float32.as_datatype_enum
        return node


def _node(op: str, name: str, *inputs: str) -> Any:
    return tf.compat.v1.NodeDef(op=op, name=name, input=inputs)


def _placeholder(name: str, values: Any) -> Any:
    node = _node("Placeholder", name)
    node.attr["dtype"].type = tf.as_dtype(values.dtype).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(values.shape).as_proto())
    return node


def _multiply(name: str, one: str, other: str) -> Any:
    node = _node("Mul", name, one, other)
    node.attr["T"].type = tf.float32.as_datatype_enum
    return node


def _copy(node: Any, name: str) -> Any:
    made = tf.compat.v1.NodeDef()
    made.CopyFrom(node)
    made.name = name
    return made


def _with(graph_def: Any, replaced: Mapping[str, Sequence[Any]]) -> Any:
    made = tf.compat.v1.GraphDef(library=graph_def.library, versions=graph_def.versions)
    for node in graph_def.node:
        made.node.extend(replaced.get(node.name, [node]))
    kept = {node.name for node in made.node}
    for node in made.node:  # nothing waits for what is gone
        inputs = [each for each in node.input if each[0] != "^" or each[1:] in kept]
        node.ClearField("input")
        node.input.extend(inputs)
    return made
