"""A model with small weights, which become float32 where they are used.

    small = SmallModel(live, "int8")
    small({"input_ids": ids, "attention_mask": mask}).logits

A SavedModel of it is smaller, and no faster: the arithmetic stays float32. The operations are core
TensorFlow's, so that any server runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tfft.backend import convert_to_constants, tf
from tfft.errors import ExportError, first_line
from tfft.export.formats.live import Live
from tfft.export.formats.rewriting import rewritten

QUANTIZE = ("int8", "float16")


@dataclass(frozen=True)
class Output:
    logits: Any  # float32 [batch, labels]


class SmallModel:
    """Called as the live model is, in a graph or not; its weights are constants of its own graph.

    Args:
        how: of `QUANTIZE`.

    Raises:
        ExportError: the graph can't be frozen, or is beyond 2 GiB in float32.
    """

    def __init__(self, live: Live, how: str) -> None:
        self.weights: list[Any] = []  # no variables to be saved
        self._logits = _small_graph(live, how)

    def __call__(self, features: Mapping[str, Any], *, training: bool = False) -> Output:
        """Takes each feature as int32 [batch, length]."""
        assert not training, "its weights are constants"  # noqa: S101
        return Output(self._logits(features))


def _small_graph(live: Live, how: str) -> Callable[[Mapping[str, Any]], Any]:
    live.check_size("a graph with its weights in it")
    try:
        frozen = convert_to_constants.convert_variables_to_constants_v2(
            live.graph.get_concrete_function(), lower_control_flow=False
        )
    except Exception as error:
        raise ExportError(f"{live.architecture}: can't be frozen: {first_line(error)}") from error
    graph_def = rewritten(frozen.graph.as_graph_def(), how)
    imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    (output,) = frozen.outputs
    names = [each.op.name for each in frozen.inputs]  # placeholders are called as their features
    pruned = imported.prune([f"{name}:0" for name in names], output.name)
    return lambda features: pruned(*(tf.cast(features[name], tf.int32) for name in names))
