"""One file of rows -> a table: csv, tsv, jsonl, json or parquet.

    table = read_file(Path("reviews.csv"))
    table.rows          # pyarrow.Table; an empty cell of a csv is null
    table.unusable      # columns that mix kinds -> the row that does, told when one is asked for

Every cell of a csv or tsv stays a string, so a text that reads "null" or "007" is kept as it was
written; whoever needs a number converts it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tfft.errors import DataError, listed

# Rows converted to Arrow at a time, so that a large file isn't held as Python objects.
CHUNK_ROWS = 50_000


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
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path}: expected a file of {listed(READERS)}, not '{path.suffix}'")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        table = read(path)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    if table.rows.num_rows == 0:
        raise DataError(f"{path}: has no rows, only columns: {listed(table.rows.column_names)}")
    return table


def _read_delimited(path: Path, delimiter: str) -> Table:
    # RFC 4180 allows texts of any length; Python's default refuses those above 128 KiB.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    return _collect(_delimited_rows(path, delimiter))


def _read_csv(path: Path) -> Table:
    return _read_delimited(path, _sniff_delimiter(path))


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
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    failures = []
    for quoted, multiline in ((True, False), (False, True), (True, True)):
        try:
            return _collect(_delimited_rows(path, "\t", quoted=quoted, multiline=multiline))
        except DataError as error:
            failures.append(error)
    raise failures[1]


def _delimited_rows(
    path: Path, delimiter: str, *, quoted: bool = True, multiline: bool = True
) -> Iterator[dict[str, Any]]:
    """Rows as column -> cell, an empty cell as None; the names come with every row."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
        names: list[str] = []
        line = 1
        try:
            for cells in reader:
                if not names:
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
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names {listed(twice)} more than once")
    return names


def _read_jsonl(path: Path) -> Table:
    return _collect(_json_lines(path))


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    yield {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{path}, line {number}: not JSON: {error.msg} (column {error.colno})"
                ) from None
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: expected an object, not {row!r:.60}")
            yield row


def _read_json(path: Path) -> Table:
    """A list of objects, an object that holds one, or lines of objects."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return _read_jsonl(path)
        raise DataError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    rows = document
    if isinstance(document, dict):
        lists = [value for value in document.values() if isinstance(value, list)]
        rows = lists[0] if len(lists) == 1 else [document]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: expected a list of objects, such as [{{...}}, {{...}}]")
    return _collect(iter([{}, *rows]))


def _read_parquet(path: Path) -> Table:
    try:
        return Table(pq.read_table(path))
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a parquet file: {str(error).splitlines()[0]}") from None


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


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
        if (problem := column.problem()) is not None:
            unusable[name] = problem
            arrays[name] = pa.nulls(n_rows)
            continue
        try:
            arrays[name] = column.finish(n_rows)
        except (pa.ArrowException, OverflowError) as error:
            unusable[name] = f"can't be held as one type: {str(error).splitlines()[0]}"
            arrays[name] = pa.nulls(n_rows)
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

    def put(self, row: int, value: Any) -> None:
        kind = _kind(value)
        seen = self._kinds.get(kind)
        if seen is None:
            self._kinds[kind] = [1, row, value]
        else:
            seen[0] += 1
        if len(self._kinds) > 1:  # of no use any more: keep no more of it
            return
        self._fill(row)
        self._pending.append(value)
        self._n_rows += 1

    def problem(self) -> str | None:
        """Which row differs in kind from most others, or None."""
        if len(self._kinds) < 2:
            return None
        (usual, _), *_, (odd, (_, row, value)) = sorted(
            self._kinds.items(), key=lambda item: item[1][0], reverse=True
        )
        return f"row {row} holds {odd} ({value!r:.60}) where most rows hold {usual}"

    def finish(self, n_rows: int) -> pa.ChunkedArray:
        self._fill(n_rows)
        self._flush()
        tables = [pa.table({"column": chunk}) for chunk in self._chunks]
        if not tables:
            return pa.chunked_array([pa.nulls(n_rows)])
        return pa.concat_tables(tables, promote_options="permissive")["column"]

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
        if self._pending:
            self._chunks.append(pa.array(self._pending))
            self._pending = []
