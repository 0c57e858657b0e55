"""The rows of an embedding that a run can move: those of the tokens that occur in its data.

    ids = token_ids(encoded["train"].tokens, tokenizer, vocab_size=30522)
    rows = MovingRows(model.get_input_embeddings().weight, ids)
    rows.of(gradient)               # float32 [len(ids), width]
    with rows.taken() as own:       # a variable of these rows; they go back into the embedding
        ...

Half of MiniLM's numbers are its embedding, and CoLA has a sixth of its tokens. Adam moves a row
that has never had a gradient by exactly nought, so it needs neither its moments nor its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tfft.backend import tf

if TYPE_CHECKING:
    from tfft.data.tokens import Tokens

# Beyond this part of an embedding, taking the rows out and back costs what it saves.
MOST_WORTH_IT = 0.6
_AT_ONCE = 1 << 22


def token_ids(tokens: Tokens, tokenizer: Any, *, vocab_size: int) -> np.ndarray:
    """The ids of the tokens that occur, in order, and of every special one: int32 [n]."""
    occurs = np.zeros(vocab_size, dtype=bool)
    occurs[[each for each in tokenizer.all_special_ids if each < vocab_size]] = True
    ids = tokens.flat("input_ids")
    for start in range(0, len(ids), _AT_ONCE):
        occurs[ids[start : start + _AT_ONCE]] = True
    return np.flatnonzero(occurs).astype(np.int32)


def moving_rows(model: Any, ids: np.ndarray) -> MovingRows | None:
    """Of the model's input embedding; None where it is frozen, or where that wouldn't pay."""
    embedding = getattr(model.get_input_embeddings(), "weight", None)
    if embedding is None or not any(embedding is each for each in model.trainable_variables):
        return None
    if len(ids) > MOST_WORTH_IT * embedding.shape[0]:
        return None
    return MovingRows(embedding, ids)


class MovingRows:
    """The rows `ids` of a variable, which alone ever get a gradient.

    Args:
        ids: int32 [n], in order.
    """

    def __init__(self, variable: Any, ids: np.ndarray) -> None:
        self.variable = variable
        self.shape = (len(ids), *variable.shape[1:])
        places = np.full(variable.shape[0], -1, dtype=np.int32)
        places[ids] = np.arange(len(ids), dtype=np.int32)
        self._ids, self._places = tf.constant(ids), tf.constant(places)
        self._own = tf.Variable(tf.zeros(self.shape), trainable=False, name="moving_rows")

    def of(self, gradient: Any) -> Any:
        """The gradient of these rows, of one that comes as slices or whole: float32 [n, width].

        Raises:
            InvalidArgumentError: there are slices of another row.
        """
        if not isinstance(gradient, tf.IndexedSlices):
            return tf.gather(gradient, self._ids)
        places = tf.gather(self._places, gradient.indices)
        with tf.control_dependencies([tf.debugging.assert_non_negative(places)]):
            return tf.math.unsorted_segment_sum(gradient.values, places, self.shape[0])

    @contextmanager
    def taken(self) -> Iterator[Any]:
        """These rows as a variable, whose values are the embedding's when it is left."""
        self._own.assign(tf.gather(self.variable, self._ids))
        yield self._own
        self.variable.scatter_update(tf.IndexedSlices(self._own.read_value(), self._ids))
