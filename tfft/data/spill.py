"""Arrow arrays moved out of memory: into a file that is mapped and has no name any more.

    chunk = on_disk(pa.array(values))       # the same array; its pages are the kernel's to drop
    rows = data_set(pa.table(columns))      # a datasets.Dataset whose making copies nothing

So a file of any size is read with little memory of its own. The mapping keeps the file alive; it
is gone with the process, however that ends.
"""

from __future__ import annotations

import tempfile
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tfft.folders import cache_folder

if TYPE_CHECKING:
    from datasets import Dataset

# Eight bytes a row of so many are nothing beside TensorFlow's own.
LARGE_ROWS = 100_000


def on_disk(array: pa.Array) -> pa.Array:
    """The array in a mapped file; as it was, in memory, where no file can be written."""
    batch = pa.record_batch({"array": array})
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".spill") as file:
            with pa.OSFile(file.name, "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
                writer.write_batch(batch)
            with pa.memory_map(file.name) as mapped:
                return pa.ipc.open_file(mapped).get_batch(0).column(0)
    except OSError:
        return array


def kept(values: Any) -> Any:
    """A column of a table: what was computed for very many rows goes to the disk as well."""
    if isinstance(values, np.ndarray):
        values = pa.array(values)
    is_large = isinstance(values, pa.Array) and len(values) > LARGE_ROWS
    return on_disk(values) if is_large else values


def data_set(table: pa.Table) -> Dataset:
    """A data set over the table; left to itself `Dataset` hashes all of it, in a copy."""
    from datasets import Dataset

    return Dataset(table, fingerprint=uuid.uuid4().hex)
