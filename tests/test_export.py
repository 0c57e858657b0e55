"""A bundle has what servers need, says what the live model says, and isn't left with a fault."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Outcome
from helpers import Told, one_line

import tfft
from tfft.config import ExportConfig, RunConfig
from tfft.errors import ConfigError, ExportError, ModelError
from tfft.export.bundle import Place, versions
from tfft.results import ExportResult

CLI = Callable[..., Outcome]
# The proof over 20,000 strings is the tokenizer's own test.
FEW = {"fuzz_texts": 120}


@dataclass(frozen=True)
class Exported:
    bundle: Path
    result: ExportResult
    live: Any
    graph: Any
    notes: list[str]


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The one export that the tests below read."""
    from tfft.export import assemble

    bundle = tmp_path_factory.mktemp("bundles") / "reviews"
    made: dict[str, Any] = {}
    told = Told()

    def kept(name: str) -> Callable[..., Any]:
        function = getattr(assemble, name)

        def call(*arguments: Any, **options: Any) -> Any:
            made[name] = function(*arguments, **options)
            return made[name]

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("ask", "open_tokenizer"):
            patch.setattr(assemble, name, kept(name))
        result = tfft.export(run, output=bundle, progress=told, **FEW)
    return Exported(bundle, result, made["ask"], made["open_tokenizer"], told.notes)


@pytest.fixture(scope="module")
def loaded(exported: Exported) -> Any:
    from tfft.backend import tf

    return tf.saved_model.load(str(exported.bundle / "1"))


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    """A SavedModel that a test may break."""
    return Path(shutil.copytree(exported.bundle / "1", tmp_path / "copied"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(each.relative_to(folder)): each.read_bytes()
        for each in sorted(folder.rglob("*"))
        if each.is_file()
    }


# What is in it


def test_a_bundle_has_what_a_server_and_its_users_look_for(exported: Exported) -> None:
    assert sorted(each.name for each in exported.bundle.iterdir()) == [
        "1",
        "README.md",
        "batching_parameters.txt",
        "check.json",
        "labels.json",
    ]
    assert json.loads((exported.bundle / "labels.json").read_text()) == ["0", "1"]
    page = (exported.bundle / "README.md").read_text()
    assert "v1/models/reviews:predict" in page
    assert "| `serving_default` | `text` string [batch] |" in page
    for told in exported.result.found["signatures"].values():
        assert told["outputs"] == {"label": ["string", [None]], "scores": ["float32", [None, 2]]}


def test_check_json_has_what_a_clean_process_found(exported: Exported) -> None:
    check = json.loads((exported.bundle / "check.json").read_text())
    assert check == json.loads(json.dumps(exported.result.to_json()))
    assert {"tfft", "transformers", "tf_keras"} <= set(check["absent"])
    assert check["ops_outside_core"] == []
    assert "MatMul" in check["ops"]
    assert set(check["answers"]) == {"serving_default", "tokens", "tokens_int64"}
    for answer in check["answers"].values():
        assert answer["n_texts"] > 21, "validation, and made-up texts"
        assert answer["largest_difference"] <= check["tolerance"] == 1e-5
        assert answer["empty"] == {"scores": [0, 2], "label": [0]}
    assert set(check["latency"]) == {
        *("cold_load_s", "first_call_s"),
        *(f"batch_{size}_ms" for size in (1, 8, 32)),
    }
    assert check["tokenizer"] == {
        "n_made_up": 120,
        "n_code_points": 1_112_064,
        "n_train": 45,
        "n_validation": 21,
    }


def test_raw_text_gets_what_predict_writes(
    exported: Exported, loaded: Any, run: Path, reviews: Path, tmp_path: Path
) -> None:
    import pandas as pd

    from tfft.backend import tf

    tfft.predict(run, data=str(reviews), output=tmp_path / "p.csv")
    predicted = pd.read_csv(tmp_path / "p.csv", dtype={"prediction": str})
    texts = pd.read_csv(reviews / "test.csv")["text"]
    answer = loaded.signatures["serving_default"](text=tf.constant(list(texts)))
    labels = [each.decode() for each in answer["label"].numpy()]
    assert labels == list(predicted["prediction"])
    # Float32, in batches of other shapes.
    np.testing.assert_allclose(
        answer["scores"], predicted[["probability_0", "probability_1"]], rtol=0, atol=1e-5
    )


def test_warmup_requests_are_ones_that_the_bundle_answers(exported: Exported, loaded: Any) -> None:
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    from tfft.backend import tf

    path = exported.bundle / "1" / "assets.extra" / "tf_serving_warmup_requests"
    asked = set()
    for record in tf.data.TFRecordDataset(str(path)):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(each)) for name, each in request.inputs.items()}
        answer = loaded.signatures[request.model_spec.signature_name](**inputs)
        asked.add((request.model_spec.signature_name, len(answer["label"])))
    names = ("serving_default", "tokens", "tokens_int64")
    assert asked == {(name, size) for name in names for size in (1, 8)}


def test_more_tokens_than_the_model_has_positions_for_are_refused(loaded: Any) -> None:
    from tfft.backend import tf

    many = tf.ones([1, 65], tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="64 tokens at most"):
        loaded.signatures["tokens"](input_ids=many, attention_mask=many, token_type_ids=many)


# Tasks


def servable(tiny: Path, task: str, names: tuple[str, ...], **options: Any) -> tuple[Any, Any]:
    """A fresh head as it would be saved, and the Keras model in it."""
    from tfft.export.signatures import Servable
    from tfft.tasks import TASKS

    model = tfft.build_model(str(tiny), task=task, label_names=names, num_labels=len(names))
    features = ("input_ids", "attention_mask")
    return Servable(model, TASKS[task], label_names=names, features=features, **options), model


@pytest.fixture
def tokens() -> dict[str, Any]:
    from tfft.backend import tf

    ids = np.random.default_rng(0).integers(5, 60, (7, 9))
    return {"input_ids": tf.constant(ids, tf.int32), "attention_mask": tf.ones([7, 9], tf.int32)}


def test_several_labels_come_as_predict_writes_them(tiny: Path, tokens: dict[str, Any]) -> None:
    from tfft.predictions import as_cell, predictions

    names = ('say "so"', "naïve", "c")
    made, model = servable(tiny, "multi_label", names, threshold=0.4)
    model.classifier.bias.assign([0.5, -0.5, -0.4])
    answer = made.functions["tokens"](tokens)
    logits = model(tokens).logits.numpy()
    table = predictions(range(7), logits, names, task="multi_label", threshold=0.4)
    written = [as_cell(each) for each in table["prediction"]]
    assert len(set(written)) > 1
    assert [each.decode() for each in answer["label"].numpy()] == written
    np.testing.assert_allclose(answer["scores"][:, 0], table[f"probability_{names[0]}"], atol=1e-6)


def test_regression_gives_a_value(tiny: Path, tokens: dict[str, Any]) -> None:
    made, model = servable(tiny, "regression", ("score",))
    answer = made.functions["tokens"](tokens)
    assert set(answer) == {"value"}
    np.testing.assert_allclose(answer["value"], model(tokens).logits[:, 0], atol=1e-6)


def test_pairs_have_a_second_text(tiny: Path, exported: Exported) -> None:
    from tfft.backend import tf, transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    made, model = servable(tiny, "single_label", ("a", "b"), tokenizer=exported.graph, n_texts=2)
    texts, pairs = ["the film was good", "a"], ["not bad", "the food was very very slow"]
    function = made.functions["serving_default"]
    answer = function(text=tf.constant(texts), text_pair=tf.constant(pairs))
    batch = tokenizer(texts, pairs, padding=True)
    logits = model({name: tf.constant(each) for name, each in batch.items()}).logits
    np.testing.assert_allclose(answer["scores"], tf.nn.softmax(logits), atol=1e-6)


@pytest.mark.parametrize("n_rows", [1, 9, 45])
def test_texts_of_unlike_lengths_keep_their_places(
    exported: Exported, loaded: Any, n_rows: int
) -> None:
    from tfft.backend import tf

    words = ("the", "film", "was", "so", "good", "and", "the", "food", "not", "bad", "at", "all")
    lengths = np.random.default_rng(n_rows).integers(0, len(words) + 1, n_rows)
    texts = [" ".join(words[:length]) for length in lengths]
    together = loaded.signatures["serving_default"](text=tf.constant(texts))
    tokens = exported.graph(tf.constant(texts))
    at_once = loaded.signatures["tokens"](**tokens)
    assert n_rows == 1 or np.ptp(at_once["scores"][:, 0]) > 1e-4
    np.testing.assert_allclose(together["scores"], at_once["scores"], rtol=0, atol=1e-6)
    assert list(together["label"].numpy()) == list(at_once["label"].numpy())


# Faults that are planted


def test_a_shifted_label_name_is_found(exported: Exported, copied: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    from tfft.export.check import check

    path = copied / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    [graph] = saved.meta_graphs
    nodes = [node for each in graph.graph_def.library.function for node in each.node_def]
    shifted = 0
    for node in nodes:
        # Looking for an attribute that a node lacks would give it one.
        values = node.attr["value"].tensor.string_val if node.op == "Const" else []
        if list(values) == [b"0", b"1"]:
            values[:] = [b"1", b"0"]
            shifted += 1
    assert shifted
    path.write_bytes(saved.SerializeToString())
    with pytest.raises(ExportError) as caught:
        check(copied, exported.live, signatures=list(exported.result.found["signatures"]))
    message = one_line(caught)
    assert "the label is '" in message
    assert "label names" in message


FAULTS = {
    "a wrong vocabulary row": lambda words: [*words[:5], words[6], words[5], *words[7:]],
    "a lost accent rule": lambda words: words,
}


@pytest.fixture(params=FAULTS)
def faulty(
    request: pytest.FixtureRequest, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A graph of another tokenizer than the model's goes into the bundle."""
    from tfft.backend import transformers
    from tfft.export import assemble

    words = list(json.loads((run / "model/tokenizer.json").read_text())["model"]["vocab"])
    (tmp_path / "vocab.txt").write_text("\n".join(FAULTS[request.param](words)))
    options = {"strip_accents": False} if "accent" in request.param else {}
    other = transformers.BertTokenizerFast(str(tmp_path / "vocab.txt"), **options)
    right, prove = assemble.open_tokenizer, assemble.prove
    monkeypatch.setattr(
        assemble, "open_tokenizer", lambda tokenizer, **options: right(other, **options)
    )
    # The texts alone have to show it: all of Unicode takes half a minute.
    fewer = {"every_code_point": False}
    monkeypatch.setattr(
        assemble, "prove", lambda *texts, **options: prove(*texts, **options | fewer)
    )
    return str(request.param)


@pytest.mark.parametrize("faulty", ["a lost accent rule"], indirect=True)
def test_another_tokenizer_in_the_graph_is_found(faulty: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        tfft.export(run, output=tmp_path / "bundle", **FEW)
    message = one_line(caught)
    assert "the graph gives other input_ids for '" in message
    assert not (tmp_path / "bundle").exists()


def test_the_clean_process_finds_it_too(
    faulty: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft.export import assemble
    from tfft.export.identity import Identity

    monkeypatch.setattr(
        assemble, "prove", lambda graph, tokenizer, *texts, **options: Identity(1, 1, 0)
    )
    with pytest.raises(ExportError, match="the tokenizer in the graph is another one"):
        tfft.export(run, output=tmp_path / "bundle", **FEW)
    assert not (tmp_path / "bundle").exists()


def test_an_op_of_python_s_is_none_of_tensorflow_s(tmp_path: Path) -> None:
    from tfft.backend import tf
    from tfft.export.checker import ops_of

    module = tf.Module()
    module.call = tf.function(
        lambda text: tf.py_function(lambda each: each, [text], tf.string),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    tf.saved_model.save(module, str(tmp_path))
    assert ops_of(tmp_path)[1] == ["EagerPyFunc"]


def found(**changed: Any) -> dict[str, Any]:
    from tfft.export.checker import ABSENT

    answer = {
        "largest_difference": 1e-7,
        "row": 0,
        "other_label": None,
        "empty": {"scores": [0, 2]},
    }
    return {
        "absent": list(ABSENT),
        "ops_outside_core": [],
        "signatures": {"tokens": {}},
        "answers": {"tokens": answer | changed.pop("answer", {})},
    } | changed


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"absent": ["tfft"]}, "could import"),
        ({"ops_outside_core": ["FastBertNormalize"]}, "FastBertNormalize"),
        ({"signatures": {}}, "the signature tokens is missing"),
        ({"answer": {"largest_difference": 2e-5}}, "differ from the live model's by 2e-05"),
        ({"answer": {"largest_difference": None}}, "NaN"),
        ({"answer": {"shape": [[1, 3], [1, 2]]}}, "[1, 3]"),
        ({"answer": {"empty": {"scores": [1, 2]}}}, "empty batch"),
    ],
)
def test_each_fault_is_named(changed: dict[str, Any], told: str) -> None:
    from tfft.export.check import judge
    from tfft.export.live import Live

    live = Live({"text": ["so"]}, {"input_ids": [[1]]}, {}, {"scores": [[0.5, 0.5]]}, 1.0)
    judge(found(), live, ["tokens"])
    with pytest.raises(ExportError) as caught:
        judge(found(**changed), live, ["tokens"])
    assert told in one_line(caught)


# Small weights


@pytest.fixture(scope="module")
def proved(exported: Exported) -> Callable[[pytest.MonkeyPatch], None]:
    """Takes the tokenizer that `exported` has proved."""
    from tfft.export import assemble

    def patched(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(assemble, "_tokenizer", lambda *_: (exported.graph, {"n_made_up": 1}, None))

    return patched


@pytest.fixture(scope="module")
def small(
    run: Path, proved: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    bundle = tmp_path_factory.mktemp("bundles") / "small"
    with pytest.MonkeyPatch.context() as patch:
        proved(patch)
        result = tfft.export(run, output=bundle, quantize="int8", **FEW)
    return Exported(bundle, result, None, None, [])


def test_small_weights_make_a_smaller_bundle_and_say_what_they_change(
    small: Exported, exported: Exported, run: Path
) -> None:
    check = json.loads((small.bundle / "check.json").read_text())
    whole = json.loads((exported.bundle / "check.json").read_text())
    assert (check["quantize"], whole["quantize"]) == ("int8", None)
    assert check["n_bytes"] < whole["n_bytes"]
    assert 1e-5 < check["largest_logit_difference"] <= check["logit_tolerance"]
    validation = json.loads((run / "metrics.json").read_text())["validation"]
    assert check["live_metrics"]["accuracy"] == pytest.approx(validation["accuracy"])
    assert set(check["metric_changes"]) == set(check["live_metrics"])
    # Each signature is as far from the live model as the model that was compared in this process.
    for answer in check["answers"].values():
        assert answer["largest_difference"] == pytest.approx(check["tolerance"] - 1e-5, abs=1e-5)


def test_the_command_tells_what_small_weights_change(small: Exported) -> None:
    from tfft.cli.export import _lines

    told = "\n".join(_lines(small.result))
    assert "what int8 changes: " in told
    assert "accuracy" in told
    assert " MB)" in told


def test_the_readme_tells_what_small_weights_change(small: Exported, exported: Exported) -> None:
    page = (small.bundle / "README.md").read_text()
    before, after = (
        told["accuracy"] for told in (small.result.small.live_metrics, small.result.small.metrics)
    )
    assert "Its weights are int8: logits differ by up to" in page
    assert f"accuracy {before:.4f} -> {after:.4f}" in page
    assert "weights" not in (exported.bundle / "README.md").read_text()


def test_small_weights_that_say_something_else_are_refused(
    proved: Callable[..., None], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft.export.formats import smaller

    class Broken(smaller.SmallModel):
        def __call__(self, features: Any, *, training: bool = False) -> Any:
            output = super().__call__(features, training=training)
            return replace(output, logits=output.logits + 1.0)

    proved(monkeypatch)
    monkeypatch.setattr(smaller, "SmallModel", Broken)
    with pytest.raises(ExportError, match="its logits differ from the live model's") as caught:
        tfft.export(run, output=tmp_path / "bundle", quantize="int8", **FEW)
    one_line(caught)
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_further_away_than_its_small_weights_is_refused() -> None:
    from tfft.export.check import judge
    from tfft.export.live import Live

    live = Live({"text": ["so"]}, {"input_ids": [[1]]}, {}, {"scores": [[0.5, 0.5]]}, 1.0)
    at = found(answer={"largest_difference": 0.02})
    judge(at, live, ["tokens"], apart=0.02)
    with pytest.raises(ExportError, match=r"differ from the live model's by 0\.02"):
        judge(at, live, ["tokens"], apart=0.019)


# Tokenizers that can't be put into the graph


@pytest.fixture(scope="module")
def without_text(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    from tfft.export import assemble

    def refuse(tokenizer: Any, **options: Any) -> None:
        raise ExportError("model Unigram isn't reproduced")

    bundle, told = tmp_path_factory.mktemp("bundles") / "tokens", Told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "open_tokenizer", refuse)
        result = tfft.export(run, output=bundle, progress=told, **FEW)
    return Exported(bundle, result, None, None, told.notes)


def test_without_a_tokenizer_in_the_graph_the_bundle_takes_tokens_alone(
    without_text: Exported,
) -> None:
    assert list(without_text.result.found["signatures"]) == ["tokens", "tokens_int64"]
    assert any("Unigram" in note and "tokens alone" in note for note in without_text.notes)
    page = (without_text.bundle / "README.md").read_text()
    assert "There is no signature for texts (model Unigram isn't reproduced)" in page
    assert '"signature_name": "tokens"' in page


# Versions, and what is left behind


@pytest.fixture
def broken_check(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[BaseException], None]]:
    """Everything before the check is left out, and the check raises."""
    from tfft.export import assemble

    def breaks_with(error: BaseException) -> None:
        def stand_in(saved: Any, place: Place, *arguments: Any, **options: Any) -> None:
            place.saved_model.mkdir()
            (place.saved_model / "saved_model.pb").write_bytes(b"half")
            raise error

        monkeypatch.setattr(assemble, "assemble", stand_in)

    return breaks_with


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ExportError("the check failed"), ExportError),
        (OSError(errno.ENOSPC, "No space left on device"), ExportError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
    ],
)
def test_a_failure_leaves_the_bundle_as_it_was(
    error: BaseException,
    raised: type[BaseException],
    broken_check: Callable[[BaseException], None],
    exported: Exported,
    run: Path,
    tmp_path: Path,
) -> None:
    broken_check(error)
    bundle = Path(shutil.copytree(exported.bundle, tmp_path / "older"))
    before = contents(bundle)
    for output in (bundle, tmp_path / "new"):
        with pytest.raises(raised):
            tfft.export(run, output=output)
    assert contents(bundle) == before
    assert [each.name for each in tmp_path.iterdir()] == ["older"]


def test_a_version_is_added_beside_the_others(exported: Exported, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(exported.bundle, tmp_path / "bundle"))
    older = contents(bundle / "1")
    with Place.claim(bundle, version=None) as place:
        assert place.version == 2
        place.saved_model.mkdir()
        (place.saved_model / "saved_model.pb").write_bytes(b"new")
        place.finish({"check.json": "{}"})
    assert versions(bundle) == [1, 2]
    assert contents(bundle / "1") == older
    assert contents(bundle / "2") == {"saved_model.pb": b"new"}
    assert (bundle / "check.json").read_text() == "{}"
    assert (bundle / "README.md").exists()
    assert not list(bundle.glob("*.partial"))


def test_what_a_killed_export_left_is_no_version(tmp_path: Path) -> None:
    (tmp_path / "1.partial").mkdir()
    with Place.claim(tmp_path, version=None) as place:
        assert place.version == 1


def test_a_version_that_exists_is_refused(exported: Exported, run: Path, tfft_cli: CLI) -> None:
    before = contents(exported.bundle)
    outcome = tfft_cli("export", run, "--output", exported.bundle, "--version", 1)
    assert outcome.code == 1
    assert "has a version 1; leave --version out to take 2" in outcome.err
    assert contents(exported.bundle) == before


def test_a_folder_with_something_else_in_it_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="something else"):
        tfft.export(run, output=run)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        tfft.export(run, output=tmp_path / "file")


def test_a_folder_that_holds_no_run_is_refused(reviews: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        tfft.export(reviews, output=tmp_path / "bundle")
    with pytest.raises(ModelError, match="no trained head"):
        tfft.export(tiny, output=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_missing_tokenizer_is_refused(run: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(run / "model", tmp_path / "model"))
    for each in model.glob("*token*"):
        each.unlink()
    (model / "vocab.txt").unlink(missing_ok=True)
    with pytest.raises(ModelError, match="tokenizer"):
        tfft.export(model, output=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", "was killed (signal 9)"),
        ("raise ValueError('no such op')", "ValueError: no such op"),
    ],
)
def test_a_clean_process_that_breaks_off_is_told(
    code: str, told: str, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft.export import checker
    from tfft.export.check import check

    script = tmp_path / "checker.py"
    script.write_text(code)
    monkeypatch.setattr(checker, "__file__", str(script))
    with pytest.raises(ExportError) as caught:
        check(exported.bundle / "1", exported.live, signatures=["tokens"])
    assert told in one_line(caught)


def test_a_run_whose_data_is_gone_is_proved_with_made_up_texts(run: Path, tmp_path: Path) -> None:
    from tfft.export.texts import read_texts
    from tfft.served import open_saved

    told, config = Told(), RunConfig.from_options({})
    saved = open_saved(str(run), config, told)
    gone = replace(saved.run, data=replace(saved.run.data, source=str(tmp_path / "gone.csv")))
    texts = read_texts(replace(saved, run=gone), config, ExportConfig(fuzz_texts=50), told)
    assert texts.data is None
    assert len(texts.fuzz["text"]) == 50
    assert 20 < len(texts.compared["text"]) <= 50
    [note] = [each for each in told.notes if "gone.csv" in each]
    assert "--data" in note


def test_without_tensorflow_serving_s_records_the_line_that_installs_them_is_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft.export import warmup

    monkeypatch.setattr(warmup, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"tfft\[export\]"):
        tfft.export(run, output=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
