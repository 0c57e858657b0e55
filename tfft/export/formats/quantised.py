"""A model with small weights, which become float32 where they are used.

    small = SmallModel(live, "int8")
    small({"input_ids": ids, "attention_mask": mask}).logits

A SavedModel of it is smaller, and no faster: the arithmetic stays float32. The operations are core
TensorFlow's, so that any server runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Called as the live model is, in a graph or not.

    They stay variables, though the graph was frozen to find them: in a graph whose weights are
    constants, TensorFlow's optimiser joins what it shouldn't (a MiniLM's logits moved by 0.04).

    Args:
        how: of `QUANTIZE`.

    Attributes:
        weights: the variables that a SavedModel has to keep.

    Raises:
        ExportError: the graph can't be frozen, or is beyond 2 GiB in float32.
    """

    def __init__(self, live: Live, how: str) -> None:
        frozen = _frozen(live)
        graph_def, values = rewritten(frozen.graph.as_graph_def(), how)
        self.weights = [tf.Variable(each, trainable=False) for each in values.values()]
        imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
        # The placeholders of the features are called as those.
        self._features = [each.op.name for each in frozen.inputs]
        (output,) = frozen.outputs
        feeds = [f"{name}:0" for name in (*self._features, *values)]
        self._graph = imported.prune(feeds, output.name)

    def __call__(self, features: Mapping[str, Any], *, training: bool = False) -> Output:
        """Takes each feature as int32 [batch, length]."""
        assert not training, "its weights don't learn"  # noqa: S101
        given = [tf.cast(features[name], tf.int32) for name in self._features]
        return Output(self._graph(*given, *(each.read_value() for each in self.weights)))


def _frozen(live: Live) -> Any:
    live.check_size("a graph with its weights in it")
    try:
        return convert_to_constants.convert_variables_to_constants_v2(
            live.graph.get_concrete_function(), lower_control_flow=False
        )
    except Exception as error:
        raise ExportError(f"{live.architecture}: can't be frozen: {first_line(error)}") from error
