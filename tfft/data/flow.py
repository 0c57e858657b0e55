"""A stream of rows -> `Split`: batches of like lengths, of which nothing is kept.

    split = from_stream(chunks, tokenizer, plan, buffer_rows=10_000, max_length=128)
    split.n_steps               # as many as the run takes of it

A chunk is tokenised at once, its rows are drawn from a shuffle buffer, and those of a draw are
sorted, cut and padded as `bucketed` does it. The order is a function of (rows, seed) alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfft.backend import tf
from tfft.data.buckets import AHEAD
from tfft.data.buffer import Buffer
from tfft.data.cells import column_of
from tfft.data.encode import Encoded
from tfft.data.padding import Padding
from tfft.data.parcels import parcels
from tfft.data.plan import BatchPlan, BucketPlan, choose_widths, padding_of
from tfft.data.split import Split, lean_options
from tfft.data.targets import from_arrow
from tfft.data.tokens import Tokens
from tfft.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

# Steps whose rows are known afterwards: more than are made ahead of the one that is taken.
REMEMBERED = 16 * AHEAD


@dataclass(frozen=True)
class FlowSplit(Split):
    """The first `n_steps` batches of a stream.

    Attributes:
        padding_fraction: as measured on the first rows.
        recent: (epoch, step, rows) of the batches that were made last.
    """

    recent: deque[tuple[int, int, np.ndarray]] = field(default_factory=deque)

    @property
    def is_counted(self) -> bool:
        """The last batch may be a smaller one, if it is the stream's last too."""
        return False

    def source_rows(self, epoch: int, step: int) -> np.ndarray:
        """The rows of one of the last batches; none of one long gone."""
        known = (rows for *place, rows in [*self.recent] if place == [epoch, step])
        return next(known, np.zeros(0, dtype=np.int64))


def from_stream(
    chunks: Callable[[], Iterator[Dataset]],
    tokenizer: Any,
    first: Encoded,
    *,
    n_steps: int,
    batch_size: int,
    seed: int,
    buffer_rows: int,
    max_length: int,
    max_shapes: int,
    buckets: tuple[int, ...] | None = None,
    label_names: tuple[str, ...] = (),
) -> FlowSplit:
    """`n_steps` batches of the stream.

    Args:
        chunks: the rows as they come, `text`, [`text_pair`], `label` and `row`, from the first on
            each time.
        first: the first of them in tokens, which tell what widths batches are padded to.
        max_length: tokens a text may have, and the widest that a batch is padded to.
        buckets: the widths, in the place of those chosen.

    Iterating over an epoch raises DataError where a row can't be read, or where the stream ends
    before its `n_steps`, once the batches before are out.

    Raises:
        DataError: the buckets can't hold a text of `max_length`.
    """
    widths = buckets or _widths(first.lengths, max_length=max_length, max_shapes=max_shapes)
    if widths[-1] < max_length:
        raise DataError(
            f"the buckets hold {widths[-1]} tokens at most, and a text of the stream may have "
            f"{max_length}; add a bucket of {max_length}, or cut with --max-length {widths[-1]}"
        )
    buffer = Buffer(buffer_rows, batch_size, seed)
    plan = BatchPlan(n_steps * batch_size, batch_size, seed, shuffle=True)
    recent: deque[tuple[int, int, np.ndarray]] = deque(maxlen=REMEMBERED)
    names = first.features
    padding = Padding.of(tokenizer, names)
    tokens = {name: tf.TensorSpec([None, None], tf.int32) for name in names}
    labels = first.labels
    assert labels is not None  # noqa: S101
    spec = (tokens, tf.TensorSpec([None, *labels.shape[1:]], labels.dtype))

    def batches(epoch: int) -> Iterator[Any]:
        n_made = n_rows = 0
        tables = (_tokens(rows, tokenizer, names, max_length=max_length) for rows in chunks())
        for number, drawn in enumerate(buffer.draws(tables, epoch=epoch)):
            for rows, batch in _padded(drawn, padding, plan, widths, number):
                recent.append((epoch, n_made, rows))
                n_made, n_rows = n_made + 1, n_rows + len(rows)
                yield batch
                if n_made == n_steps:
                    return
        raise DataError(
            f"the stream ended after {n_rows:,} training rows, step {n_made:,} of {n_steps:,}; "
            f"try --steps {n_made}, or go without --streaming, which takes the rows as often as "
            "needed"
        )

    def epoch(number: int) -> Iterator[Any]:
        """What fails in a thread of TensorFlow's comes out of it as a text: it is raised here."""
        failures: list[Exception] = []

        def fed() -> Iterator[Any]:
            try:
                yield from batches(number)
            except Exception as error:
                failures.append(error)

        stream = tf.data.Dataset.from_generator(fed, output_signature=spec)
        yield from stream.prefetch(AHEAD).with_options(lean_options())
        if failures:
            raise failures[0]

    return FlowSplit(
        epoch=epoch,
        plan=plan,
        element_spec=spec,
        padding_fraction=padding_of(first.lengths, _bucketed(plan, first.lengths, widths)),
        row_numbers=np.zeros(0, dtype=np.int64),
        label_names=label_names,
        loader="bucketed",
        recent=recent,
    )


def _widths(lengths: np.ndarray, *, max_length: int, max_shapes: int) -> tuple[int, ...]:
    """Those that pad these lengths least, and the one that takes whatever may come."""
    chosen = choose_widths(lengths, max_shapes - 1) if max_shapes > 1 else ()
    return tuple(sorted({*chosen, max_length}))


def _bucketed(plan: BatchPlan, lengths: np.ndarray, widths: tuple[int, ...]) -> BucketPlan:
    """Of these rows alone."""
    return BucketPlan(
        len(lengths), plan.batch_size, plan.seed, shuffle=True, lengths=lengths, widths=widths
    )


def _tokens(rows: Dataset, tokenizer: Any, names: list[str], *, max_length: int) -> pa.Table:
    """The tokenizer's columns, lists of int32, and `label` and `row` as they were."""
    pairs = rows["text_pair"][:] if "text_pair" in rows.column_names else None
    encoding = tokenizer(rows["text"][:], pairs, truncation=True, max_length=max_length)
    # Its offsets are of 64 bits: a large buffer's tokens may be more than 32 can count.
    kind = pa.large_list(pa.int32())
    columns = {name: pa.array(encoding[name], kind) for name in names}
    return pa.table({**columns, "label": column_of(rows, "label"), "row": column_of(rows, "row")})


def _padded(
    drawn: pa.Table,
    padding: Padding,
    plan: BatchPlan,
    widths: tuple[int, ...],
    number: int,
) -> Iterator[tuple[np.ndarray, Any]]:
    """The batches of the draw of that number, each with the numbers of its rows."""
    encoded = _joined(drawn, tuple(padding.fills))
    bucketed = _bucketed(plan, encoded.lengths, widths)
    made = parcels(encoded, padding, bucketed, epoch=number)
    batches = (batch for parcel in made for batch in parcel.batches())
    for rows, batch in zip(bucketed.batches(number), batches, strict=True):
        yield encoded.rows[rows], batch


def _joined(drawn: pa.Table, names: tuple[str, ...]) -> Encoded:
    """A draw's rows, each feature end to end."""
    lengths = np.asarray(pc.list_value_length(drawn[names[0]]), dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    values = {
        name: pa.chunked_array([each.flatten() for each in drawn[name].chunks]).to_numpy()
        for name in names
    }
    tokens = Tokens(names, starts, values, constants={})
    return Encoded(tokens, from_arrow(drawn["label"]), 0, np.asarray(drawn["row"]))
