"""One file of rows -> a table: csv, tsv, jsonl, json or parquet.

    table = read_file(Path("reviews.csv"))
    table.rows          # pyarrow.Table; an empty cell of a csv is null
    table.unusable      # columns that mix kinds -> the row that does, told when one is asked for
for part in read_chunks(Path("reviews.csv"), 1000): ...     # Tables, for what memory can't hold

Every cell of a csv or tsv stays a string, so a text that reads "null" or "007" is kept as it was
written; whoever needs a number converts it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tfft.data.cells import row_number, rows_from
from tfft.data.spill import on_disk
from tfft.errors import DataError, listed

# Rows converted to Arrow at a time, and moved to a mapped file: a large file isn't held in memory.
CHUNK_ROWS = 50_000
# From which a stream takes how its file is quoted.
SNIFFED_ROWS = 10_000

Result = TypeVar("Result")


@dataclass(frozen=True)
class Table:
    """A file's rows, and why some of its columns can't be used."""

    rows: pa.Table
    unusable: dict[str, str] = field(default_factory=dict)


def read_file(path: Path) -> Table:
    """Reads a file by its ending.

    Raises:
        DataError: an ending that isn't known; an empty file, or a header alone; a row that can't
            be parsed, named by its line; a text that isn't UTF-8.
    """
    _check_ending(path)
    with _told(path):
        table = READERS[path.suffix.lower()](path)
    if table.rows.num_rows == 0:
        raise _no_rows(path, table.rows.column_names)
    return table


def read_chunks(path: Path, n_rows: int, *, first_row: int = 0) -> Iterator[Table]:
    """The same rows, `n_rows` at a time, of which no more than two chunks are held.

    What `read_file` tells of the whole is told of less here: how a tsv is quoted of its first rows,
    and which columns mix kinds of each chunk by itself.

    Args:
        first_row: the number of the file's first row in the data, for messages.

    Raises:
        DataError: as `read_file`, once the rows before are out; or a json file, which is one value.
    """
    _check_ending(path)
    if path.suffix.lower() == ".json":
        raise DataError(
            f"{path}: a json file is read as a whole; to stream it, save it as jsonl (an object a "
            "line)"
        )
    with _told(path):
        if path.suffix.lower() == ".parquet":
            yield from _parquet_chunks(path, n_rows)
        else:
            yield from _text_chunks(path, n_rows, first_row)


def _text_chunks(path: Path, n_rows: int, first_row: int) -> Iterator[Table]:
    rows = _ROWS[path.suffix.lower()](path)
    names = next(rows, {})
    n_read = 0
    while chunk := list(islice(rows, n_rows)):
        names = dict.fromkeys((*names, *(name for row in chunk for name in row)))
        with rows_from(first_row + n_read):
            table = _collect(iter([names, *chunk]))
        n_read += len(chunk)
        yield table
    if n_read == 0:
        raise _no_rows(path, list(names))


def _parquet_chunks(path: Path, n_rows: int) -> Iterator[Table]:
    try:
        # Buffered ahead, a row group is held whole.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            _refuse_twice(path, file.schema_arrow.names)
            for batch in file.iter_batches(n_rows):
                yield Table(_plain(pa.Table.from_batches([batch], file.schema_arrow)))
            if file.metadata.num_rows == 0:
                raise _no_rows(path, file.schema_arrow.names)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a parquet file: {str(error).splitlines()[0]}") from None


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: expected a file of {listed(READERS)}, not '{path.suffix}'")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What may befall any file, as one line.

    Raises:
        DataError: it is empty, can't be read, or isn't UTF-8.
    """
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        yield
    except UnicodeDecodeError:
        raise DataError(f"{path}, {_undecodable(path)}; save the file as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None


def _no_rows(path: Path, names: list[str]) -> DataError:
    return DataError(f"{path}: has no rows{f', only columns: {listed(names)}' if names else ''}")


def _undecodable(path: Path) -> str:
    """The first line that isn't UTF-8; a decoder of chunks can't tell which."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number}: not UTF-8 (byte 0x{line[error.start]:02x})"
    return "not UTF-8"


def _read_csv(path: Path) -> Table:
    return _collect(_csv_rows(path))


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    return _delimited_rows(path, _sniff_delimiter(path))


def _sniff_delimiter(path: Path) -> str:
    """A comma, unless the header has none and has what spreadsheets elsewhere write."""
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    return next((each for each in (",", ";", "\t") if each in header), ",")


def _read_tsv(path: Path) -> Table:
    """Quotes are quotes where the file reads so, and else characters, as in GLUE's own tsv files.

    A quote left open would swallow the rows up to the next one: quoted cells may span lines only
    if nothing else makes sense of the file.
    """
    return _first_that_reads(lambda **ways: _collect(_delimited_rows(path, "\t", **ways)))


def _tsv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Read in the way that makes sense of the first rows: those behind them are never held."""

    def rows(**ways: bool) -> Iterator[dict[str, Any]]:
        for _ in islice(_delimited_rows(path, "\t", **ways), SNIFFED_ROWS):
            pass
        return _delimited_rows(path, "\t", **ways)

    return _first_that_reads(rows)


def _first_that_reads(read: Callable[..., Result]) -> Result:
    """What `read` makes of a tsv, by the first way of quoting that it doesn't refuse."""
    failures = []
    for quoted, multiline in ((True, False), (False, True), (True, True)):
        try:
            return read(quoted=quoted, multiline=multiline)
        except DataError as error:
            failures.append(error)
    raise failures[1]


def _delimited_rows(
    path: Path, delimiter: str, *, quoted: bool = True, multiline: bool = True
) -> Iterator[dict[str, Any]]:
    """Rows as column -> cell, an empty cell as None; the names come with every row."""
    # RFC 4180 allows texts of any length; Python's default refuses those above 128 KiB.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", newline="") as file:
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
        names: list[str] = []
        line = 1
        try:
            for cells in reader:
                if cells and not names:
                    names = _header(path, cells)
                    yield dict.fromkeys(names)
                elif cells:
                    if len(cells) != len(names):
                        raise DataError(
                            f"{path}, line {line}: {len(cells)} fields where the header has "
                            f"{len(names)} ({listed(names)})"
                        )
                    if not multiline and reader.line_num > line:
                        raise DataError(f"{path}, line {line}: a quoted field spans lines")
                    yield {name: cell or None for name, cell in zip(names, cells, strict=True)}
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: {error}; is a quote left open?") from None


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(cells)]
    _refuse_twice(path, names)
    return names


def _refuse_twice(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names {listed(twice)} more than once; rename one")


def _read_jsonl(path: Path) -> Table:
    return _collect(_json_lines(path))


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    yield {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            if line.lstrip().startswith("["):
                raise DataError(
                    f"{path}, line {number}: expected an object {{...}}, not {line.strip():.60}; "
                    "a list of objects goes into a .json file"
                )
            row = _parse_json(line.strip(), f"{path}, line {number}")
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: expected an object, not {row!r:.60}")
            yield row


def _parse_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if error.lineno > 1 else ""
        raise DataError(f"{where}{line}: not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise DataError(f"{where}: nested too deeply") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise DataError(f"{where}: {error}") from None


def _read_json(path: Path) -> Table:
    """A list of objects, an object that holds one, or lines of objects."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        document = _parse_json(text, str(path))
    except DataError as error:
        if "Extra data" in str(error):
            return _read_jsonl(path)
        raise
    rows = document
    if isinstance(document, dict):
        nested = [value for value in document.values() if isinstance(value, list | dict)]
        lists = [value for value in nested if value and isinstance(value, list)]
        rows = lists[0] if len(lists) == 1 else None if nested else [document]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            f'{path}: expected one list of objects, [{{...}}, {{...}}] or {{"data": [{{...}}]}}'
        )
    return _collect(iter([{}, *rows]))


def _read_parquet(path: Path) -> Table:
    try:
        _refuse_twice(path, pq.read_schema(path).names)
        rows = _read_batches(pq.ParquetFile(path))
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a parquet file: {str(error).splitlines()[0]}") from None
    return Table(_plain(rows))


def _plain(rows: pa.Table) -> pa.Table:
    """What some writers call a string, few functions take."""
    plain = [
        each.with_type(pa.string()) if pa.types.is_string_view(each.type) else each
        for each in rows.schema
    ]
    return rows.cast(pa.schema(plain))


def _read_batches(file: pq.ParquetFile) -> pa.Table:
    """All rows; of a large file with what is read moved out of memory on the way."""
    if file.metadata.num_rows <= CHUNK_ROWS:
        return file.read()
    batches = [
        pa.RecordBatch.from_arrays([on_disk(each) for each in batch.columns], schema=batch.schema)
        for batch in file.iter_batches(CHUNK_ROWS)
    ]
    return pa.Table.from_batches(batches)


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
_ROWS = {".csv": _csv_rows, ".tsv": _tsv_rows, ".jsonl": _json_lines}


def _collect(rows: Iterator[dict[str, Any]]) -> Table:
    """Rows -> Arrow. The first one only names columns; later ones may add more."""
    columns = {name: _Column() for name in next(rows, {})}
    n_rows = 0
    for n_rows, row in enumerate(rows, start=1):
        for name, value in row.items():
            if value is not None:
                column = columns.get(name) or columns.setdefault(name, _Column())
                column.put(n_rows - 1, value)
            elif name not in columns:
                columns[name] = _Column()
    arrays, unusable = {}, {}
    for name, column in columns.items():
        arrays[name], problem = column.finish(n_rows)
        if problem is not None:
            unusable[name] = problem
    return Table(pa.table(arrays), unusable)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a text" if isinstance(value, str) else f"a {type(value).__name__}"


class _Column:
    """One column under construction: whole chunks as Arrow, the rest as Python objects."""

    def __init__(self) -> None:
        self._chunks: list[pa.Array] = []
        self._pending: list[Any] = []
        self._n_rows = 0
        self._kinds: dict[str, list[Any]] = {}  # kind -> [rows that hold it, first row, its value]
        self._failure: str | None = None

    def put(self, row: int, value: Any) -> None:
        kind = _kind(value)
        seen = self._kinds.get(kind)
        if seen is None:
            self._kinds[kind] = [1, row, value]
        else:
            seen[0] += 1
        if len(self._kinds) > 1 or self._failure:  # of no use any more: keep no more of it
            return
        self._fill(row)
        self._pending.append(value)
        self._n_rows += 1

    def finish(self, n_rows: int) -> tuple[pa.ChunkedArray, str | None]:
        """The column, or nulls and why it can't be had."""
        problem = self._odd_row()
        if problem is None:
            self._fill(n_rows)
            self._flush()
            problem = self._failure
        tables = [pa.table({"column": chunk}) for chunk in self._chunks]
        if problem is None and tables:
            try:
                return pa.concat_tables(tables, promote_options="permissive")["column"], None
            except pa.ArrowException as error:
                problem = _no_one_type(error)
        return pa.chunked_array([pa.nulls(n_rows)]), problem

    def _odd_row(self) -> str | None:
        """Which row differs in kind from most others, or None."""
        if len(self._kinds) < 2:
            return None
        (usual, _), *_, (odd, (_, row, value)) = sorted(
            self._kinds.items(), key=lambda item: item[1][0], reverse=True
        )
        return f"row {row_number(row)} holds {odd} ({value!r:.60}) where most rows hold {usual}"

    def _fill(self, row: int) -> None:
        """Nones for the rows since the last value."""
        while self._n_rows < row:
            missing = min(row - self._n_rows, CHUNK_ROWS)
            self._pending.extend([None] * missing)
            self._n_rows += missing
            if len(self._pending) >= CHUNK_ROWS:
                self._flush()
        if len(self._pending) >= CHUNK_ROWS:
            self._flush()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        try:
            if pending:
                chunk = pa.array(pending)
                # A small file stays in memory: it is one chunk.
                self._chunks.append(on_disk(chunk) if len(chunk) >= CHUNK_ROWS else chunk)
        except (pa.ArrowException, OverflowError) as error:
            self._failure = _no_one_type(error)
        except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair
            row = self._n_rows - len(pending) + pending.index(error.object)
            self._failure = (
                f"row {row_number(row)} holds half a character ({error.object[error.start]!r})"
            )


def _no_one_type(error: Exception) -> str:
    return f"can't be held as one type: {str(error).splitlines()[0]}"
