"""A model as a server calls it: its signatures, with the labels and the longest length inside.

    servable = Servable(model, task, label_names=("no", "yes"), features=graph.features,
                        tokenizer=graph, n_texts=1)
    servable.save(Path("bundle/1"))

| signature | takes | |
| --- | --- | --- |
| `serving_default` | `text`, of pairs `text_pair` | string [batch] |
| `tokens` | `input_ids`, `attention_mask` ... | int32 [batch, length] |
| `tokens_int64` | the same | int64 [batch, length] |

Each gives `scores` float32 [batch, labels] and `label` string [batch] (of multi-label a JSON list,
as `tfft predict` writes it), or of regression `value` float32 [batch]. Batch and length are open,
and an empty batch has an empty answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfft.backend import tf
from tfft.metrics import THRESHOLD
from tfft.steps import as_graph
from tfft.tasks import Task

# A batch of texts goes through in parts of like lengths: so many at most, of so many rows at least.
MOST_PARTS, LEAST_ROWS = 4, 8

TEXT_SIGNATURE = "serving_default"
TOKEN_SIGNATURES = {"tokens": "int32", "tokens_int64": "int64"}
TEXTS = ("text", "text_pair")


class Servable(tf.Module):
    """What is saved: the model's variables, the tokenizer's tables and the functions over both.

    Args:
        features: the model's inputs by name, as the tokenizer makes them.
        tokenizer: a GraphTokenizer; None leaves `serving_default` out.
        n_texts: 1, or 2 of pairs.
        most_tokens: the most that the model has positions for; None where there is no limit.
        threshold: of multi-label, the probability from which a label is given.
    """

    def __init__(
        self,
        model: Any,
        task: Task,
        *,
        label_names: Sequence[str],
        features: Sequence[str],
        tokenizer: Any = None,
        n_texts: int = 1,
        most_tokens: int | None = None,
        threshold: float | None = None,
    ) -> None:
        super().__init__(name="servable")
        self.tokenizer = tokenizer
        # The Keras model itself would be saved with all its layers' own functions.
        self.model_variables = list(model.weights)
        forward = _forward(model, most_tokens)
        answer = _answers(task, label_names, THRESHOLD if threshold is None else threshold)

        def from_tokens(features: Mapping[str, Any]) -> dict[str, Any]:
            whole = {name: tf.cast(each, tf.int32) for name, each in features.items()}
            return answer(forward(whole))

        self.functions = {
            name: as_graph(from_tokens, [_token_specs(features, dtype)])
            for name, dtype in TOKEN_SIGNATURES.items()
        }
        if tokenizer is not None:

            def from_texts(*texts: Any) -> dict[str, Any]:
                return answer(_by_length(forward)(tokenizer(*texts)))

            specs = [tf.TensorSpec([None], tf.string, name=name) for name in TEXTS[:n_texts]]
            self.functions[TEXT_SIGNATURE] = as_graph(_named(from_texts, n_texts), specs)

    def save(self, folder: Path) -> None:
        """Writes the SavedModel."""
        tf.saved_model.save(self, str(folder), signatures=dict(self.functions))


def _token_specs(features: Sequence[str], dtype: str) -> dict[str, Any]:
    return {name: tf.TensorSpec([None, None], dtype, name=name) for name in features}


def _named(function: Callable[..., Any], n_texts: int) -> Callable[..., Any]:
    """The function with arguments by the names of a signature's inputs."""
    if n_texts == 1:
        return lambda text: function(text)
    return lambda text, text_pair: function(text, text_pair)


def _forward(model: Any, most_tokens: int | None) -> Callable[[Mapping[str, Any]], Any]:
    """Token columns int32 [batch, length] -> logits float32 [batch, labels].

    No kernel has to bear a batch without rows, which attention's can't: it gets a row of nothing,
    whose logits are left out again.
    """

    def forward(features: Mapping[str, Any]) -> Any:
        n_rows, length = tf.unstack(tf.shape(features["input_ids"]))
        checks = []
        if most_tokens is not None:
            checks = [
                tf.debugging.assert_less_equal(
                    length, most_tokens, message=f"the model takes {most_tokens} tokens at most"
                )
            ]
        with tf.control_dependencies(checks):
            paddings = [[0, tf.maximum(0, 1 - n_rows)], [0, tf.maximum(0, 1 - length)]]
        filled = {name: tf.pad(each, paddings) for name, each in features.items()}
        return tf.cast(model(filled, training=False).logits, tf.float32)[:n_rows]

    return forward


def _by_length(forward: Callable[..., Any]) -> Callable[[Mapping[str, Any]], Any]:
    """`forward`, with the rows in parts of like lengths, each as long as its own longest row.

    Half of what a batch of 32 unlike texts feeds is padding, and the parts are independent: a
    MiniLM took 90 ms for 32 texts of CoLA so, and 124 for all at once, on two cores.

    Args:
        forward: of features int32 [rows, length], padded at the end -> float32 [rows, labels].
    """

    def in_parts(features: Mapping[str, Any]) -> Any:
        if "attention_mask" not in features:
            return forward(features)
        lengths = tf.reduce_sum(features["attention_mask"], axis=1)
        n_rows, order = tf.size(lengths), tf.argsort(lengths)
        most = tf.maximum(LEAST_ROWS, -(-n_rows // MOST_PARTS))
        n_parts = tf.maximum(1, -(-n_rows // most))  # no rows are a part, too
        n_labels = []

        def add(number: Any, parts: Any) -> tuple[Any, Any]:
            rows = order[number * most : (number + 1) * most]
            longest = tf.reduce_max(tf.concat([[0], tf.gather(lengths, rows)], 0))
            part = {name: tf.gather(each, rows)[:, :longest] for name, each in features.items()}
            logits = forward(part)
            n_labels.append(logits.shape[1])
            return number + 1, parts.write(number, logits)

        parts = tf.TensorArray(tf.float32, n_parts, element_shape=[None, None], infer_shape=False)
        _, parts = tf.while_loop(
            lambda number, _: number < n_parts, add, (0, parts), parallel_iterations=MOST_PARTS
        )
        logits = tf.gather(parts.concat(), tf.math.invert_permutation(order))
        return tf.ensure_shape(logits, [None, n_labels[0]])

    return in_parts


def _answers(
    task: Task, label_names: Sequence[str], threshold: float
) -> Callable[[Any], dict[str, Any]]:
    """Logits float32 [batch, labels] -> what a signature gives."""
    if task.name == "regression":
        return lambda logits: {"value": logits[:, 0]}

    def single_label(logits: Any) -> dict[str, Any]:
        label = tf.gather(tf.constant(list(label_names)), tf.argmax(logits, axis=-1))
        return {"scores": tf.nn.softmax(logits), "label": label}

    def multi_label(logits: Any) -> dict[str, Any]:
        scores = tf.sigmoid(logits)
        return {"scores": scores, "label": _json_lists(scores >= threshold, label_names)}

    return multi_label if task.name == "multi_label" else single_label


def _json_lists(given: Any, label_names: Sequence[str]) -> Any:
    """The names of each row's labels as a JSON list, as `tfft predict` writes it: string [batch].

    Args:
        given: bool [batch, labels].
    """
    quoted = tf.constant([json.dumps(name, ensure_ascii=False) for name in label_names])
    names = tf.ragged.boolean_mask(tf.broadcast_to(quoted, tf.shape(given)), given)
    return "[" + tf.strings.reduce_join(names, axis=-1, separator=", ") + "]"
