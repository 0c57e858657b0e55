"""Each format says what the live model says, whatever the batch, or is refused and leaves nothing.

A model of each architecture is built once, and traced once: that, and PyTorch's process, cost most.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Outcome
from helpers import Child, one_line
from tiny import CONFIGS, VOCABULARY

from tfft.errors import ConfigError, ExportError, TfftError

# What the stack below can't do; see docs/formats.md.
REFUSED = {
    ("onnx", "deberta-v2"): "onnx was written and can't be run",
    ("tflite", "deberta-v2"): "TFLite can't do it: it has no tf.Log, tf.RealDiv",
}
SHAPES = ((1, 5), (3, 17), (8, 9))


def batches_of(live: Any) -> list[dict[str, np.ndarray]]:
    """Random tokens in batches of other sizes and lengths; but for the first row each padded."""
    random = np.random.default_rng(0)
    padding = live.tokenizer.pad_token_id
    batches = []
    for n_rows, length in SHAPES:
        ends = length - random.integers(0, length, n_rows)
        ends[0] = length
        mask = (np.arange(length) < ends[:, None]).astype(np.int32)
        ids = np.where(mask, random.integers(5, len(VOCABULARY), mask.shape), padding)
        kinds = mask * (np.arange(length) >= length // 2)
        every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
        batches.append({name: every[name].astype(np.int32) for name in live.features})
    return batches


@pytest.fixture(scope="module")
def live_of(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A Live by the name of its architecture."""
    made: dict[str, Any] = {}

    def live(kind: str) -> Any:
        if kind not in made:
            made[kind] = build(checkpoints / kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return live


def build(body: Path, folder: Path) -> Any:
    """The body under a fresh head of three labels, saved in `folder`."""
    from tfft import modeling, weights
    from tfft.backend import keras
    from tfft.export.formats.live import Live
    from tfft.pretrained import load_tokenizer, open_checkpoint
    from tfft.tasks import TASKS

    keras.utils.set_random_seed(0)
    task = TASKS["single_label"]
    checkpoint = open_checkpoint(str(body), task)
    tokenizer = load_tokenizer(checkpoint)
    loaded = modeling.load_model(
        checkpoint, task, label_names=("a", "b", "c"), pad_token_id=tokenizer.pad_token_id
    )
    weights.save_checkpoint(loaded, tokenizer, folder)
    known = loaded.model.input_signature
    features = tuple(name for name in tokenizer.model_input_names if name in known)
    return Live(loaded, tokenizer, features, folder)


@pytest.fixture(scope="module")
def bert(live_of: Callable[[str], Any]) -> Any:
    return live_of("bert")


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _one_child(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfft.conversion.run_child", child)
    from tfft.export.formats import pytorch  # by name `tfft.export` is the function

    monkeypatch.setattr(pytorch, "run_child", child)


def produce(name: str, live: Any, folder: Path, **options: Any) -> Any:
    from tfft.export.formats.produce import produce

    return produce(name, live, folder, batches_of(live), **options)


# Each architecture


# To PyTorch the others are converted in test_convert.py.
BY_FORMAT = {"torch": ("bert", "gpt2"), "onnx": CONFIGS, "tflite": CONFIGS}


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kinds in BY_FORMAT.items() for kind in kinds]
)
def test_it_says_what_the_live_model_says_or_is_refused(
    live_of: Callable[[str], Any], tmp_path: Path, name: str, kind: str
) -> None:
    live = live_of(kind)
    if why := REFUSED.get((name, kind)):
        with pytest.raises(ExportError) as caught:
            produce(name, live, tmp_path / "out")
        line = one_line(caught)
        assert kind in line
        assert why in line
        assert list(tmp_path.iterdir()) == []
        return
    check = produce(name, live, tmp_path / "out")
    assert check.n_texts == sum(n_rows for n_rows, _ in SHAPES)
    assert check.largest_logit > 0.1  # else any two would agree
    assert check.largest_difference <= 1e-5 * max(1.0, check.largest_logit)
    assert sorted(check.latency_ms) == ["1", "32", "8"]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["a", "b", "c"]
    assert (tmp_path / "out" / "tokenizer.json").exists()


# Of deberta-v2 the graph has branches.
@pytest.mark.parametrize(
    ("how", "kind"), [*(("int8", kind) for kind in CONFIGS), ("float16", "bert")]
)
def test_small_weights_say_nearly_what_the_live_model_says(
    live_of: Callable[[str], Any], kind: str, how: str
) -> None:
    from tfft.export.formats.produce import compared
    from tfft.export.formats.quantised import SmallModel

    live = live_of(kind)
    small = SmallModel(live, how)
    batches = batches_of(live)
    found = [small(batch).logits.numpy() for batch in batches]
    check = compared("saved_model", [live.logits(batch) for batch in batches], found, quantize=how)
    assert check.largest_difference > 1e-5  # they are small


@pytest.mark.parametrize("how", ["int8", "float16"])
def test_tflite_s_weights_are_quantised(bert: Any, tmp_path: Path, how: str) -> None:
    whole = produce("tflite", bert, tmp_path / "whole")
    check = produce("tflite", bert, tmp_path / "small", quantize=how)
    assert check.quantize == how
    assert check.n_bytes < whole.n_bytes
    assert check.largest_difference > whole.largest_difference


# The files as their users take them


def test_onnx_names_its_axes_and_takes_int64(bert: Any, tmp_path: Path) -> None:
    import onnxruntime

    produce("onnx", bert, tmp_path / "out")
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    for each in session.get_inputs():
        assert (each.type, each.shape) == ("tensor(int64)", ["batch", "length"])
    assert {each.name for each in session.get_inputs()} == set(bert.features)
    [output] = session.get_outputs()
    assert (output.name, output.shape) == ("logits", ["batch", 3])


def test_tflite_s_inputs_are_resized_in_batch_and_length(bert: Any, tmp_path: Path) -> None:
    from tfft.backend import tf

    produce("tflite", bert, tmp_path / "out")
    interpreter = tf.lite.Interpreter(str(tmp_path / "out" / "model.tflite"))
    batches = batches_of(bert)
    for batch in (*batches, batches[0]):
        for each in interpreter.get_input_details():
            interpreter.resize_tensor_input(each["index"], batch["input_ids"].shape)
        interpreter.allocate_tensors()
        for each in interpreter.get_input_details():
            [name] = [name for name in bert.features if name in each["name"]]
            interpreter.set_tensor(each["index"], batch[name])
        interpreter.invoke()
        [output] = interpreter.get_output_details()
        found = interpreter.get_tensor(output["index"])
        # float32 in another order: 1e-5 as in conversion.TOLERANCE.
        np.testing.assert_allclose(found, bert.logits(batch), atol=1e-5)


@pytest.mark.parametrize("how", ["int8", "float16"])
def test_a_small_saved_model_keeps_its_weights_as_small_variables(
    bert: Any, tmp_path: Path, how: str
) -> None:
    from tfft.backend import tf
    from tfft.export.formats.quantised import SmallModel

    small = SmallModel(bert, how)
    module = tf.Module()
    module.weights = small.weights
    signature = tf.function(
        lambda batch: {"logits": small(batch).logits}, input_signature=[bert.spec(tf.int32)]
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"tokens": signature})
    loaded = tf.saved_model.load(str(tmp_path)).signatures["tokens"]
    for batch in batches_of(bert):
        given = {name: tf.constant(each) for name, each in batch.items()}
        # The same numbers; the sums may be in another order.
        np.testing.assert_allclose(
            loaded(**given)["logits"], small(batch).logits.numpy(), atol=1e-5
        )
    sizes = {"int8": 0, "float16": 0, "float32": 0}
    for each in small.weights:
        sizes[each.dtype.name] += int(np.prod(each.shape))
    matrices = [each for each in bert.model.weights if each.shape.rank > 1]
    of_matrices = sum(int(np.prod(each.shape)) for each in matrices)
    # The classifier's and the token types' are too small to be worth it.
    assert sizes[how] > 0.95 * of_matrices
    assert sizes["float32"] < 0.25 * of_matrices


def test_no_weight_is_a_constant_of_the_graph(bert: Any) -> None:
    """Where they are, TensorFlow's optimiser joins layers into others that say something else."""
    from tfft.export.formats.quantised import SmallModel

    graph = SmallModel(bert, "float16")._graph.graph
    constants = [each for each in graph.get_operations() if each.type == "Const"]
    assert constants
    for each in constants:
        [output] = each.outputs
        assert output.dtype != "float32" or output.shape.num_elements() == 1, each.name


# The check


def test_the_metrics_of_both_are_stated(bert: Any, tmp_path: Path) -> None:
    from tfft.metrics import metrics_of

    labels = np.arange(sum(n_rows for n_rows, _ in SHAPES)) % 3
    check = produce(
        "tflite",
        bert,
        tmp_path / "out",
        quantize="int8",
        evaluate=lambda logits: metrics_of("single_label")(np.concatenate(logits), labels),
    )
    told = check.to_json()
    assert told["metrics"].keys() == told["live_metrics"].keys() == told["metric_changes"].keys()
    for name, change in told["metric_changes"].items():
        assert change == told["metrics"][name] - told["live_metrics"][name]


@pytest.mark.parametrize("name", ["torch", "onnx", "tflite"])
def test_what_says_something_else_is_refused_and_removed(
    bert: Any, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft.export.formats import produce as module

    about = module.FORMATS[name]

    def off(*given: Any) -> Any:
        logits, latency_ms = about.run(*given)
        logits[1][2, 0] += 1e-3
        return logits, latency_ms

    monkeypatch.setitem(module.FORMATS, name, replace(about, run=off))  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=rf"{name}: its logits differ .* by 0.001") as caught:
        produce(name, bert, tmp_path / "out")
    one_line(caught)
    assert list(tmp_path.iterdir()) == []


def test_no_number_is_no_agreement() -> None:
    from tfft.export.formats.produce import compared

    with pytest.raises(ExportError, match="differ from the live model's by"):
        compared("onnx", [np.zeros((2, 3))], [np.full((2, 3), np.nan)], quantize="int8")


def test_an_operation_that_onnx_lacks_is_named(
    bert: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tf2onnx logs an error, and writes a file that nothing can run."""
    import tf2onnx

    def without_handlers(*given: Any, custom_op_handlers: Any, **options: Any) -> Any:
        return convert(*given, **options)

    convert = tf2onnx.convert.from_function
    monkeypatch.setattr(tf2onnx.convert, "from_function", without_handlers)
    with pytest.raises(ExportError, match=r"bert: ONNX has no operation for .* Erfc; --format"):
        produce("onnx", bert, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["onnx", "tflite"])
def test_what_a_file_can_t_hold_is_refused(
    bert: Any, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft.export.formats import live

    monkeypatch.setattr(live, "MOST_BYTES", 1000)
    with pytest.raises(ExportError, match="holds 2 GiB at most") as caught:
        produce(name, bert, tmp_path / "out")
    one_line(caught)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_quantize_is_refused_where_a_format_has_none(bert: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"format saved_model, tflite, not {name}"):
        produce(name, bert, tmp_path / "out", quantize="int8")


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_a_missing_package_says_what_to_install(
    bert: Any, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft.export.formats import onnx
    from tfft.pytorch import backend

    for module in (backend, onnx):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(TfftError, match=rf'pip install "tfft\[{name}\]"'):
        produce(name, bert, tmp_path / "out")


# Small weights


def test_a_column_s_int8_are_within_half_a_step_of_it() -> None:
    from tfft.export.formats.rewriting import _int8

    weight = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32) * 10.0 ** np.arange(7)
    weight[:, 3] = 0.0
    small, scale = _int8(weight, 1)
    assert (small.dtype, scale.shape) == (np.int8, (1, 7))
    largest = np.abs(weight).max(axis=0)
    assert (np.abs(small * scale - weight).max(axis=0) <= 0.5001 * largest / 127).all()


def test_what_float16_can_t_hold_stays_float32(bert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfft.export.formats import rewriting
    from tfft.export.formats.quantised import SmallModel

    monkeypatch.setattr(rewriting, "_LARGEST_FLOAT16", 0.0)
    small = SmallModel(bert, "float16")
    batch = batches_of(bert)[1]
    np.testing.assert_allclose(small(batch).logits.numpy(), bert.logits(batch), atol=1e-5)


# The command


def test_a_run_becomes_a_tflite_with_its_check(
    run: Path, tmp_path: Path, tfft_cli: Callable[..., Outcome]
) -> None:
    command = ("export", run, "--output", tmp_path / "out", "--fuzz-texts", 50)
    outcome = tfft_cli(*command, "--format", "tflite", "--quantize", "int8")
    assert outcome.code == 0, outcome.err
    assert "tflite (int8)" in outcome.out
    assert "accuracy" in outcome.out
    check = json.loads((tmp_path / "out" / "check.json").read_text())
    assert check["passed"]
    validation = json.loads((run / "metrics.json").read_text())["validation"]
    # The live model's are the run's own: the labels stand beside their texts.
    assert check["live_metrics"]["accuracy"] == pytest.approx(validation["accuracy"])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out"]
    again = tfft_cli(*command, "--format", "onnx")
    assert (again.code, "exists" in again.err) == (1, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--format", "onnx", "--quantize", "int8"), "goes with format"),
        (("--format", "torch", "--quantize", "float16"), "goes with format"),
        (("--format", "torch", "--version", 3), "version goes with format saved_model"),
    ],
)
def test_options_of_another_format_are_refused(
    run: Path,
    tmp_path: Path,
    tfft_cli: Callable[..., Outcome],
    options: tuple[object, ...],
    told: str,
) -> None:
    outcome = tfft_cli("export", run, "--output", tmp_path / "out", *options)
    assert outcome.code in (1, 2)
    assert told in outcome.err
    assert list(tmp_path.iterdir()) == []
