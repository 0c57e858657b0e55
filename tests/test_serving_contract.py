"""Bodies in, bodies out: TensorFlow Serving's REST contract without a server or TensorFlow."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfft.config import ServeConfig
from tfft.errors import ConfigError, ModelError, RequestError
from tfft.serving.bundle import open_bundle
from tfft.serving.contract import Call, read_call, write_answer, write_status
from tfft.serving.signatures import Signature, Tensor
from tfft.serving.tensors import to_array, to_values

TEXT = Tensor("string", (None,))
IDS = Tensor("int32", (None, None))
SIGNATURES = {
    "serving_default": Signature("serving_default", {"text": TEXT}, {}),
    "pairs": Signature("pairs", {"text": TEXT, "text_pair": TEXT}, {}),
    "tokens": Signature("tokens", {"input_ids": IDS, "attention_mask": IDS}, {}),
}


def read(document: Any, *, max_rows: int = 100) -> Call:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_call(body, SIGNATURES, max_rows=max_rows)


def refused(document: Any, **options: Any) -> str:
    with pytest.raises(RequestError) as caught:
        read(document, **options)
    assert caught.value.status == 400
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        {"instances": ["é", "b"]},
        {"instances": [{"text": "é"}, {"text": "b"}]},
        {"instances": [{"b64": base64.b64encode("é".encode()).decode()}, "b"]},
        {"inputs": ["é", "b"]},
        {"inputs": {"text": ["é", "b"]}},
        {"inputs": {"text": ["é", "b"]}, "signature_name": ""},
        {"inputs": {"text": ["é", "b"]}, "signature_name": "serving_default"},
    ],
)
def test_every_way_to_write_two_texts_is_the_same_call(document: Any) -> None:
    call = read(document)
    assert call.arrays["text"].tolist() == ["é".encode(), b"b"]
    assert call.n_rows == 2
    assert call.by_rows == ("instances" in document)


def test_rows_and_columns_of_several_inputs_are_the_same_call() -> None:
    rows = [
        {"input_ids": [1, 2], "attention_mask": [1, 1]},
        {"input_ids": [3, 4], "attention_mask": [1, 0]},
    ]
    columns = {"input_ids": [[1, 2], [3, 4]], "attention_mask": [[1, 1], [1, 0]]}
    by_rows = read({"signature_name": "tokens", "instances": rows}).arrays
    by_columns = read({"signature_name": "tokens", "inputs": columns}).arrays
    for name, values in columns.items():
        assert by_rows[name].dtype == np.int32
        assert by_rows[name].tolist() == by_columns[name].tolist() == values


def test_bytes_that_are_no_text_go_as_base64() -> None:
    call = read({"instances": [{"b64": base64.b64encode(b"\xff\x00").decode()}]})
    assert call.arrays["text"].tolist() == [b"\xff\x00"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"{instances", "isn't JSON"),
        (b'{"instances": ["\xff"]}', "isn't UTF-8"),
        (b'{"instances": ["\\ud800"]}', "surrogate"),
        (b"[1]", "isn't a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"instances": [' + b"9" * 5000 + b"]}", "isn't JSON"),
        (b"{}", "neither `instances` nor `inputs`"),
        (b'{"instances": []}', "`instances` is empty"),
        (b'{"inputs": []}', "`inputs` is empty"),
        (b'{"inputs": {}}', "lacks 'text'"),
        (b'{"instances": "a"}', "must be a list"),
        (b'{"instances": [1]}', "must have texts"),
        (b'{"instances": [null]}', "not null"),
        (b'{"instances": ["a", ["b"]]}', "a list where"),
        (b'{"instances": [["a"]]}', "a list of texts"),
        (b'{"inputs": "a"}', "a list of texts"),
        (b'{"instances": ["a", {"text": "b"}]}', "row 1 of `instances` is an object"),
        (b'{"instances": [{"text": "b"}, "a"]}', "row 1 of `instances` is no object"),
        (b'{"instances": [{"txt": "b"}]}', "did you mean 'text'?"),
        (b'{"instances": [{"text": "b", "more": 1}]}', "'more'"),
        (b'{"instances": [{"b64": "%"}]}', "isn't base64"),
        (b'{"instances": ["a"], "inputs": ["a"]}', "not both"),
        (b'{"instance": ["a"]}', "did you mean 'instances'?"),
        (b'{"signature_name": "token", "instances": ["a"]}', "did you mean 'tokens'?"),
        (b'{"signature_name": 3, "instances": ["a"]}', "must be a text"),
        (b'{"signature_name": "pairs", "instances": ["a"]}', "objects with text, text_pair"),
        (b'{"signature_name": "pairs", "inputs": ["a"]}', "an object with text, text_pair"),
        (b'{"signature_name": "pairs", "inputs": {"text": ["a"]}}', "lacks 'text_pair'"),
        (
            b'{"signature_name": "pairs", "inputs": {"text": ["a"], "text_pair": ["b", "c"]}}',
            "unlike numbers of rows: text 1, text_pair 2",
        ),
    ],
)
def test_what_is_wrong_with_a_body_is_said(body: bytes, told: str) -> None:
    assert told in refused(body)


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([[1, 2], [3]], "unlike lengths, 2 and 1"),
        ([[1, 2], 3], "a number where the first row has a list"),
        ([[1, [2]]], "a list where the first row has a value"),
        ([1, 2], "a list of lists of whole numbers"),
        ([[1.5]], "whole numbers, not a number (1.5)"),
        ([["1"]], "whole numbers, not a text"),
        ([[True]], "whole numbers, not a truth value"),
        ([[2**31]], "a number that int32 can't hold"),
    ],
)
def test_what_is_wrong_with_tokens_is_said(ids: Any, told: str) -> None:
    mask = [[1]] * len(ids)
    inputs = {"input_ids": ids, "attention_mask": mask}
    assert told in refused({"signature_name": "tokens", "inputs": inputs})


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_more_rows_than_allowed_are_refused(key: str) -> None:
    assert read({key: ["a"] * 3}, max_rows=3).n_rows == 3
    assert "the request has 4 rows, and 3 is the most" in refused({key: ["a"] * 4}, max_rows=3)


def test_a_float_too_large_for_float32_is_refused_and_nan_is_not() -> None:
    numbers = Tensor("float32", (None,))
    with pytest.raises(RequestError, match="float32 can't hold"):
        to_array([1e300], numbers, "x")
    assert math.isnan(to_array([float("nan"), 1], numbers, "x")[0])


OUTPUTS = {
    "label": np.array([b"bad", b"good"], object),
    "scores": np.array([[0.9, 0.1], [0.3, 0.7]], np.float32),
}


def test_several_outputs_are_answered_by_name_in_rows_and_columns() -> None:
    rows = json.loads(write_answer(read({"instances": ["a", "b"]}), OUTPUTS))
    assert rows == {
        "predictions": [
            {"label": "bad", "scores": [0.9, 0.1]},
            {"label": "good", "scores": [0.3, 0.7]},
        ]
    }
    columns = json.loads(write_answer(read({"inputs": ["a", "b"]}), OUTPUTS))
    assert columns == {"outputs": {"label": ["bad", "good"], "scores": [[0.9, 0.1], [0.3, 0.7]]}}


def test_the_name_of_a_single_output_is_left_out() -> None:
    outputs = {"value": np.array([0.5, 2.0], np.float32)}
    assert write_answer(read({"instances": ["a", "b"]}), outputs) == b'{"predictions":[0.5,2.0]}'
    assert write_answer(read({"inputs": ["a", "b"]}), outputs) == b'{"outputs":[0.5,2.0]}'


def test_an_output_that_has_no_rows_needs_the_column_format() -> None:
    outputs = {"total": np.array(3.0, np.float32)}
    assert write_answer(read({"inputs": ["a"]}), outputs) == b'{"outputs":3.0}'
    with pytest.raises(RequestError, match="ask with `inputs`"):
        write_answer(read({"instances": ["a"]}), outputs)


def test_bytes_come_back_as_base64_where_the_output_s_name_says_so() -> None:
    array = np.array([b"\xff"], object)
    assert to_values(array, "image_bytes") == [{"b64": "/w=="}]
    assert to_values(array, "label") == ["�"]


def test_the_state_is_told_in_tensorflow_serving_s_words() -> None:
    assert json.loads(write_status(7)) == {
        "model_version_status": [
            {
                "version": "7",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


def lay_out(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name / "variables").mkdir(parents=True)
        (folder / name / "saved_model.pb").write_bytes(b"")
    return folder


def test_the_newest_version_is_served(tmp_path: Path) -> None:
    bundle = open_bundle(lay_out(tmp_path / "films", "2", "0010", "9", "1.partial"))
    assert (bundle.name, bundle.version, bundle.path.name) == ("films", 10, "0010")
    assert bundle.label_names == ()


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1, 2]"])
def test_labels_that_cannot_be_read_are_done_without(text: str, tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "1")
    (folder / "1" / "assets.extra").mkdir()
    labels = folder / "1" / "assets.extra" / "labels.json"
    labels.write_text('["a", "b"]')
    assert open_bundle(folder).label_names == ("a", "b")
    labels.write_text(text)
    assert open_bundle(folder).label_names == ()


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    for folder, told in (
        (tmp_path / "none", "no such folder"),
        (tmp_path, "isn't a bundle"),
        (lay_out(tmp_path / "films", "1") / "1", "pass the folder above"),
    ):
        with pytest.raises(ModelError, match=told):
            open_bundle(folder)
    (tmp_path / "films" / "2").mkdir()
    with pytest.raises(ModelError, match="isn't a SavedModel"):
        open_bundle(tmp_path / "films")
    (tmp_path / "films" / "2" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ModelError, match="`variables` is missing"):
        open_bundle(tmp_path / "films")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"port": 70_000}, "port must be at most"),
        ({"max_batch": 0}, "max_batch must be at least 1"),
        ({"max_rows": 10, "max_waiting": 5}, "max_waiting 5 is below max_rows 10"),
        ({"no_batching": True, "batch_timeout_ms": 1.0}, "give one of them"),
        ({"name": "a/b"}, "without spaces, / and :"),
        ({"prot": 80}, "did you mean 'port'?"),
    ],
)
def test_options_that_cannot_be_are_usage_errors(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        ServeConfig.from_options(options)
    assert caught.value.options
