"""Bundles as `tfft export` writes them, of a tiny model made by hand.

    make_bundle(folder / "films")               # films/1, texts and tokens -> scores, label
    make_bundle(folder / "pairs", pairs=True)   # text, text_pair

A text's score is its length: who knows the text knows the answer, whoever else was in the batch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

LABELS = ("bad", "good & <b>cheap</b>")
TOKENS = ("input_ids", "attention_mask")
VOCABULARY = 10


def score(text: str | bytes, text_pair: str | bytes = b"") -> float:
    """Of the second label: the length of the text, and of the second ten times, as a part of 1."""
    first, second = (
        len(each.encode() if isinstance(each, str) else each) for each in (text, text_pair)
    )
    n = np.float32(first + 10 * second)
    return float(n / (n + np.float32(10)))


def make_bundle(
    folder: Path, *, version: int = 1, pairs: bool = False, kind: str = "classes"
) -> Path:
    """`folder/<version>`; with labels.json where it has classes.

    Args:
        kind: `classes`, `regression`, or `tokens`, which takes no texts.
    """
    from tfft.backend import tf

    class Tiny(tf.Module):
        """Has a variable, so that what is loaded must be kept."""

        def __init__(self) -> None:
            super().__init__()
            self.table = tf.Variable(tf.range(VOCABULARY, dtype=tf.float32))

        def answer(self, n: Any) -> dict[str, Any]:
            second = n / (n + 10.0)
            if kind == "regression":
                return {"value": second}
            scores = tf.stack([1.0 - second, second], axis=1)
            return {"scores": scores, "label": tf.gather(tf.constant(LABELS), tf.argmax(scores, 1))}

        @tf.function(autograph=False)
        def of_text(self, text: Any) -> dict[str, Any]:
            return self.answer(length(text))

        @tf.function(autograph=False)
        def of_pair(self, text: Any, text_pair: Any) -> dict[str, Any]:
            return self.answer(length(text) + 10.0 * length(text_pair))

        @tf.function(autograph=False)
        def of_tokens(self, input_ids: Any, attention_mask: Any) -> dict[str, Any]:
            # On a CPU gather refuses an id that isn't in the table.
            values = tf.gather(self.table, input_ids) * tf.cast(attention_mask, tf.float32)
            return self.answer(tf.reduce_sum(values, axis=1))

    def length(text: Any) -> Any:
        return tf.cast(tf.strings.length(text), tf.float32)

    def strings(name: str) -> Any:
        return tf.TensorSpec([None], tf.string, name)

    model = Tiny()
    tokens = model.of_tokens.get_concrete_function(
        *(tf.TensorSpec([None, None], tf.int32, name) for name in TOKENS)
    )
    texts = (
        model.of_pair.get_concrete_function(strings("text"), strings("text_pair"))
        if pairs
        else model.of_text.get_concrete_function(strings("text"))
    )
    signatures = {"serving_default": tokens if kind == "tokens" else texts, "tokens": tokens}
    path = folder / str(version)
    tf.saved_model.save(model, str(path), signatures=signatures)
    if kind == "classes":
        (path / "assets.extra").mkdir()
        (path / "assets.extra" / "labels.json").write_text(json.dumps(LABELS))
    return folder
