"""Ids of texts -> what the model reads: cut, set between special tokens, padded; in a graph.

assembly = Assembly(components, max_length=128)
features = assembly([(ids, row_splits)])        # a pair has two
features["input_ids"]           # int32 [n_rows, longest]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfft.backend import tf
from tfft.export.components import Components, Piece, n_special


class Assembly:
    """Args: max_length: tokens of a row, special ones included."""

    def __init__(self, components: Components, *, max_length: int) -> None:
        self._components = components
        self._max_length = max_length

    def __call__(self, texts: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
        """Args: texts: ids and row splits of the first text and, of pairs, the second: int32."""
        parts = self._components
        template = parts.single if len(texts) == 1 else parts.pair
        room = self._max_length - n_special(template)
        lengths = cut([splits[1:] - splits[:-1] for _, splits in texts], room)
        return _layout(template, texts, lengths, parts)


def cut(lengths: Sequence[Any], room: int) -> list[Any]:
    """How many tokens of each text stay, as `longest_first` has it: int32 [n_rows] each.

    The fast tokenizer's rule to the letter: the longer text is cut to what the shorter leaves;
    where that isn't enough, both get half, and an odd one goes to the longer, or to the second.
    """
    if len(lengths) == 1:
        return [tf.minimum(lengths[0], room)]
    first, second = lengths
    shorter, longer = tf.minimum(first, second), tf.maximum(first, second)
    rest = tf.maximum(shorter, room - shorter)
    is_halved = shorter + rest > room
    shorter_cut = tf.where(is_halved, room // 2, shorter)
    longer_cut = tf.where(is_halved, room - room // 2, tf.minimum(longer, rest))
    is_swapped, fits = first > second, first + second <= room
    return [
        tf.where(fits, first, tf.where(is_swapped, longer_cut, shorter_cut)),
        tf.where(fits, second, tf.where(is_swapped, shorter_cut, longer_cut)),
    ]


def _layout(
    template: Sequence[Piece],
    texts: Sequence[tuple[Any, Any]],
    lengths: Sequence[Any],
    parts: Components,
) -> dict[str, Any]:
    """Each place of each row belongs to a piece, or to the padding after the last one."""
    ids = tf.concat([*(each for each, _ in texts), _specials(template, parts.pad_id)], 0)
    n_before = [0, *(tf.size(each) for each, _ in texts)]
    special = sum(n_before)
    columns, starts, text = [], [], 0
    zeros = tf.zeros_like(lengths[0])
    for piece in template:
        if piece.text:
            columns.append(lengths[text])
            starts.append(texts[text][1][:-1] + n_before[text])
            text += 1
        else:
            columns.append(zeros + len(piece.ids))
            starts.append(zeros + special)
            special += len(piece.ids)
    ends = tf.cumsum(tf.stack(columns, axis=1), axis=1)
    n_tokens = ends[:, -1]
    places = tf.range(tf.reduce_max(tf.concat([[0], n_tokens], 0)))
    piece = tf.reduce_sum(tf.cast(places[None, :, None] >= ends[:, None], tf.int32), axis=2)
    shifts = tf.stack(starts, axis=1) - (ends - tf.stack(columns, axis=1))
    # Of the padding it is set below.
    shifts = tf.concat([shifts, zeros[:, None]], axis=1)
    index = places + tf.gather(shifts, piece, axis=1, batch_dims=1)
    is_token = piece < len(template)
    types = np.array([*(each.type_id for each in template), parts.pad_type_id], np.int32)
    made = {
        "input_ids": tf.gather(ids, tf.where(is_token, index, tf.size(ids) - 1)),
        "token_type_ids": tf.gather(types, piece),
        "attention_mask": tf.cast(is_token, tf.int32),
    }
    return {name: made[name] for name in parts.features}


def _specials(template: Sequence[Piece], pad_id: int) -> np.ndarray:
    return np.array([*(number for each in template for number in each.ids), pad_id], np.int32)
