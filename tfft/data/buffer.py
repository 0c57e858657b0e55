"""Rows in the order of their coming -> rows drawn at random from a buffer, each one once.

    buffer = Buffer(n_rows=10_000, batch_size=16, seed=42)
    for number, rows in enumerate(buffer.draws(tables)):    # pyarrow.Table, of whole batches
        ...

How the rows are cut into tables is of no matter to the order: the buffer is filled to the brim
before anything is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tfft.data.plan import WINDOW_BATCHES


@dataclass(frozen=True)
class Buffer:
    """How rows are held and drawn.

    Attributes:
        n_rows: that are held, a batch at least; the more, the farther a row may be moved.
        batch_size: the last draw alone need not be of whole batches.
    """

    n_rows: int
    batch_size: int
    seed: int

    @property
    def n_drawn(self) -> int:
        """Rows a draw: half of the buffer, or as many batches as are sorted together elsewhere."""
        return self.batch_size * min(max(self.n_rows // 2 // self.batch_size, 1), WINDOW_BATCHES)

    def draws(self, tables: Iterable[pa.Table], *, epoch: int = 0) -> Iterator[pa.Table]:
        """All rows of the tables, which have one schema, some at a time."""
        n_held = max(self.n_rows, self.n_drawn)
        held: pa.Table | None = None
        number = 0
        for table in tables:
            held = table if held is None else pa.concat_tables([held, table])
            while len(held) >= n_held:
                drawn, held = self._draw(held, n_held, epoch, number)
                number += 1
                yield drawn
        while held is not None and len(held):
            drawn, held = self._draw(held, n_held, epoch, number)
            number += 1
            yield drawn

    def _draw(
        self, held: pa.Table, n_held: int, epoch: int, number: int
    ) -> tuple[pa.Table, pa.Table]:
        """Some of the first `n_held` rows at random, and the others in their order."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch, 2, number]))
        drawn = generator.permutation(min(len(held), n_held))[: self.n_drawn]
        is_left = np.ones(len(held), dtype=bool)
        is_left[drawn] = False
        return held.take(drawn), held.take(np.flatnonzero(is_left))
