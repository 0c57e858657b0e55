"""One file of rows: what is read, and what is refused with its line."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import one_line, rows, write_csv, write_jsonl

from tfft.data.files import CHUNK_ROWS, read_file
from tfft.errors import DataError


def read(path: Path, content: str | bytes) -> list[dict[str, Any]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(path).rows.to_pylist()


def refusal(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        read_file(path)
    message = one_line(caught)
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbftext,label\na,1\nb,0\n",
        b"text,label\r\na,1\r\nb,0\r\n",
        b"text,label\ra,1\rb,0\r",
        b"text;label\na;1\nb;0\n",
        b"text\tlabel\na\t1\nb\t0\n",
        b"\n\ntext,label\na,1\n\nb,0\n\n",
        b" text , label\na,1\nb,0",
        b'"text","label"\n"a","1"\n"b","0"\n',
    ],
    ids=["bom", "crlf", "cr", "semicolon", "tab", "blank lines", "padded header", "quoted"],
)
def test_a_csv_is_read_however_it_was_saved(tmp_path: Path, content: bytes) -> None:
    expected = [{"text": "a", "label": "1"}, {"text": "b", "label": "0"}]
    assert read(tmp_path / "a.csv", content) == expected


def test_a_quoted_cell_may_hold_newlines_commas_and_quotes(tmp_path: Path) -> None:
    content = 'text,label\n"a\nb, ""c""",1\nit "was",0\n'
    texts = [row["text"] for row in read(tmp_path / "a.csv", content)]
    assert texts == ['a\nb, "c"', 'it "was"']


@pytest.mark.parametrize("text", ["null", "NA", "nan", "None", "007", "1e5", "true", " a "])
def test_a_text_that_reads_null_or_a_number_stays_as_written(tmp_path: Path, text: str) -> None:
    for name, content in (
        ("a.csv", f"text\n{text}\n"),
        ("a.tsv", f"text\tlabel\n{text}\t1\n"),
        ("a.jsonl", json.dumps({"text": text})),
    ):
        assert read(tmp_path / name, content)[0]["text"] == text


def test_an_empty_cell_is_missing(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", 'text,label\n,1\n"",0\n') == [
        {"text": None, "label": "1"},
        {"text": None, "label": "0"},
    ]


def test_a_cell_may_be_longer_than_the_csv_modules_limit(tmp_path: Path) -> None:
    text = "x" * 200_000
    assert read(tmp_path / "a.csv", f"text,label\n{text},1\n")[0]["text"] == text


def test_an_ending_may_be_in_capitals(tmp_path: Path) -> None:
    assert read(tmp_path / "A.CSV", "text,label\na,1\n") == [{"text": "a", "label": "1"}]


def test_stray_quotes_of_a_tsv_are_characters_as_in_glue(tmp_path: Path) -> None:
    content = 'text\tlabel\n"open\t1\nplain\t0\nclose"\t1\n'
    texts = [row["text"] for row in read(tmp_path / "a.tsv", content)]
    assert texts == ['"open', "plain", 'close"']


def test_balanced_quotes_of_a_tsv_are_quotes(tmp_path: Path) -> None:
    texts = [r["text"] for r in read(tmp_path / "a.tsv", 'text\tlabel\n"a ""b"""\t1\nc\t0\n')]
    assert texts == ['a "b"', "c"]


def test_a_quoted_cell_of_a_tsv_may_span_lines_where_nothing_else_fits(tmp_path: Path) -> None:
    texts = [row["text"] for row in read(tmp_path / "a.tsv", 'text\tlabel\n"a\nb"\t1\nc\t0\n')]
    assert texts == ["a\nb", "c"]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(rows(2)),
        json.dumps({"version": "1", "data": rows(2)}),
        "".join(f"{json.dumps(row)}\n" for row in rows(2)),
        "\ufeff" + json.dumps(rows(2), indent=1),
    ],
    ids=["list", "nested", "lines", "bom"],
)
def test_a_json_is_a_list_of_objects_or_holds_one_or_lines(tmp_path: Path, content: str) -> None:
    assert read(tmp_path / "a.json", content) == rows(2)


def test_lines_of_json_may_differ_in_their_keys(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}, {"text": "b", "label": 1}, {"x": 2.5}])
    assert read_file(path).rows.to_pylist() == [
        {"text": "a", "label": None, "x": None},
        {"text": "b", "label": 1, "x": None},
        {"text": None, "label": None, "x": 2.5},
    ]


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    content = json.dumps({"text": "a\u2028b\x85c"}, ensure_ascii=False)
    assert read(tmp_path / "a.jsonl", content) == [{"text": "a\u2028b\x85c"}]


def test_a_column_that_starts_late_keeps_its_rows_across_chunks(tmp_path: Path) -> None:
    n_rows = CHUNK_ROWS + 10
    table = [{"text": f"{n}"} | ({"late": n} if n == n_rows - 2 else {}) for n in range(n_rows)]
    late = read_file(write_jsonl(tmp_path / "a.jsonl", table)).rows["late"].to_pylist()
    assert len(late) == n_rows
    assert [(row, value) for row, value in enumerate(late) if value is not None] == [
        (n_rows - 2, n_rows - 2)
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["a", "b", 5], "row 2 holds a number (5) where most rows hold a text"),
        ([5, "a", "b"], "row 0 holds a number (5) where most rows hold a text"),
        ([1, 2, True], "row 2 holds true or false (True) where most rows hold a number"),
        (["a", "\ud800"], "row 1 holds half a character"),
        ([1, 2**70], "can't be held as one type"),
        ([[1], ["a"]], "can't be held as one type"),
    ],
)
def test_a_column_of_mixed_kinds_is_kept_apart_with_its_odd_row(
    tmp_path: Path, values: list[Any], told: str
) -> None:
    table = [{"odd": value, "text": "t"} for value in values]
    result = read_file(write_jsonl(tmp_path / "a.jsonl", table))
    assert told in result.unusable["odd"]
    assert result.rows["odd"].null_count == len(values)
    assert result.rows["text"].to_pylist() == ["t"] * len(values)


def test_whole_numbers_and_fractions_are_one_kind(tmp_path: Path) -> None:
    result = read_file(write_jsonl(tmp_path / "a.jsonl", [{"x": 1}, {"x": 2.5}]))
    assert result.unusable == {}
    assert result.rows["x"].to_pylist() == [1.0, 2.5]


def test_a_parquet_is_read_and_its_string_views_are_strings(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array(["a"], pa.string_view())}), tmp_path / "a.parquet")
    assert read_file(tmp_path / "a.parquet").rows.schema.field("text").type == pa.string()


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_an_empty_file_is_refused(tmp_path: Path, ending: str) -> None:
    assert "the file is empty" in refusal(tmp_path / f"a.{ending}", "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "\n\n"),
        ("a.csv", b"\xef\xbb\xbf"),
        ("a.tsv", "\n"),
        ("a.jsonl", "\n \n"),
        ("a.json", "[]"),
        ("a.json", "{}"),
    ],
)
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert refusal(tmp_path / name, content).endswith("has no rows")


@pytest.mark.parametrize(("name", "sep"), [("a.csv", ","), ("a.tsv", "\t")])
def test_a_header_alone_is_refused_with_its_columns(tmp_path: Path, name: str, sep: str) -> None:
    message = refusal(tmp_path / name, f"text{sep}label\n")
    assert "no rows, only columns: text, label" in message


def test_a_parquet_of_no_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no rows, only columns: text"):
        read_file(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "text,label\na,1\nb,c,0\n", "line 3: 3 fields where the header has 2"),
        ("a.csv", "text,label\na,1\nb\n", "line 3: 1 fields where the header has 2"),
        ("a.csv", 'text,label\n"a\nb",1\nc\n', "line 4: 1 fields"),
        ("a.csv", 'text,label\na,1\n"b,0\nc,1\n', "line 3: "),
        ("a.csv", 'text,label\n"a" b,1\n', "line 2: "),
        ("a.tsv", "text\tlabel\na\t1\nb\n", "line 3: 1 fields where the header has 2"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": "b"\n', "line 3: not JSON"),
        ("a.jsonl", '{"text": "a"}\n3\n', "line 2: expected an object, not 3"),
        ("a.jsonl", '[{"text": "a"}]\n', "a list of objects goes into a .json file"),
        ("a.jsonl", '[\n {"text": "a"}\n]\n', "a list of objects goes into a .json file"),
        ("a.jsonl", '{"text": ' + "[" * 100_000, "line 1: nested too deeply"),
        ("a.jsonl", '{"text": ' + "9" * 5000 + "}", "line 1: "),
        ("a.json", '[{"text": "a"},\n {"text": }]', "line 2: not JSON"),
        ("a.json", '{"text": "a"}\n{"text": }\n', "line 2: not JSON"),
        ("a.json", "3", "expected one list of objects"),
        ("a.json", '[["a", 1]]', "expected one list of objects"),
        ("a.json", '{"text": {"0": "a"}, "label": {"0": 1}}', "expected one list of objects"),
        ("a.json", '{"text": ["a"], "label": [1]}', "expected one list of objects"),
        ("a.parquet", "hello", "not a parquet file"),
        ("a.parquet", "PAR1xxxxPAR1", "not a parquet file"),
    ],
)
def test_what_cannot_be_parsed_is_refused_with_its_line(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    assert told in refusal(tmp_path / name, content)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path, name: str) -> None:
    sep = "," if name == "a.csv" else "\t"
    content = f"text{sep}label{sep} text\na{sep}1{sep}b\n"
    assert "names text more than once" in refusal(tmp_path / name, content)


def test_a_parquet_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="names text more than once"):
        read_file(tmp_path / "a.parquet")


@pytest.mark.parametrize("n_rows_before", [0, 20_000])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_what_is_not_utf8_is_refused_with_its_line(
    tmp_path: Path, ending: str, n_rows_before: int
) -> None:
    sep = "," if ending == "csv" else "\t"
    content = f"text{sep}label\n" + f"plain{sep}1\n" * n_rows_before
    message = refusal(tmp_path / f"a.{ending}", content.encode() + b"caf\xe9" + sep.encode() + b"1")
    assert f"line {n_rows_before + 2}: not UTF-8 (byte 0xe9); save the file as UTF-8" in message


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_that_is_not_utf8_is_refused(tmp_path: Path, name: str) -> None:
    assert "line 1: not UTF-8" in refusal(tmp_path / name, b'{"text": "caf\xe9"}')


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv.gz", "a", "a.txt"])
def test_an_unknown_ending_is_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    assert ".csv, .tsv, .jsonl, .json, .parquet" in refusal(tmp_path / name, "text,label\na,1\n")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError) as caught:
        read_file(tmp_path / "a.csv")
    assert "can't be read" in one_line(caught)


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [{"": 0, "text": "a"}])
    assert read_file(path).rows.column_names == ["column_0", "text"]
