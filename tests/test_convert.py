"""A converted checkpoint is the same model; every saved form is read; what isn't whole is named.

PyTorch's side is one process for the whole file: importing torch costs seconds.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from conftest import Outcome
from helpers import Child, one_line
from safetensors.numpy import load_file, save_file
from tiny import make_forms

import tfft
from tfft.errors import ModelError, TfftError
from tfft.pretrained import head_of, open_checkpoint
from tfft.tasks import TASKS
from tfft.tensors import open_tensors

KINDS = ("bert", "distilbert", "roberta", "electra", "albert", "mpnet", "deberta-v2")
HEADS = ("ForQuestionAnswering", "ForMaskedLM", "")
CLASSIFIER = TASKS["single_label"]


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    make_forms(folder, *KINDS)
    return folder


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _one_child(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfft.conversion.run_child", child)
    monkeypatch.setattr("tfft.unpickling.run_child", child)


def stored(folder: Path) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for path in folder.glob("*.safetensors"):
        tensors |= load_file(path)
    return tensors


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def load(folder: Path, **options: Any) -> Any:
    from tfft import modeling

    checkpoint = open_checkpoint(str(folder), None, **options)
    head = head_of(checkpoint, None)
    return modeling.open_model(checkpoint, head.auto_class, checkpoint.config)


def in_pytorch_s_words(folder: Path, **options: Any) -> dict[str, np.ndarray]:
    """A checkpoint as TensorFlow has it, and every tensor of it."""
    from tfft.weights import to_pytorch

    model, filled = load(folder, **options)
    assert (filled.missing, filled.mismatched, filled.unused) == ((), (), ())
    return to_pytorch(model)


def assert_equal(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for name, each in theirs.items():
        np.testing.assert_array_equal(ours[name], each, err_msg=name)


# There and back


@pytest.mark.parametrize("name", [*KINDS, *(f"bert-{head}" for head in HEADS)])
def test_there_and_back_is_the_identity(forms: Path, tmp_path: Path, name: str) -> None:
    there = tfft.convert(forms / name, to="tensorflow", output=tmp_path / "tf")
    back = tfft.convert(tmp_path / "tf", to="pytorch", output=tmp_path / "pt")
    assert_equal(stored(tmp_path / "pt"), stored(forms / name))
    for result in (there, back):
        assert result.largest_difference is not None
        assert result.largest_difference <= 1e-5 * max(1.0, result.largest_output)
        assert result.largest_output > 0.1, "outputs near nought would hide a fault"
        assert result.n_tensors == len(stored(forms / name))
    for folder in ("tf", "pt"):
        assert (tmp_path / folder / "vocab.txt").exists()
        config = json.loads((tmp_path / folder / "config.json").read_text())
        assert config["architectures"] == [there.architecture]
        assert config["torch_dtype"] == "float32"
        written = json.loads((tmp_path / folder / "conversion.json").read_text())
        assert written["largest_difference"] is not None
        assert written["packages"]["torch"]


def test_keras_own_files_of_weights_are_a_source(forms: Path, tmp_path: Path) -> None:
    model, _ = load(forms / "distilbert")
    for name in ("model.weights.h5", "weights.h5"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir(parents=True)
        model.save_weights(str(folder / name))
        shutil.copy(forms / "distilbert" / "config.json", folder)
        assert_equal(in_pytorch_s_words(folder), stored(forms / "distilbert"))
    change_config(tmp_path / "model", n_layers=1)
    with pytest.raises(ModelError, match=r"model.weights.h5: not the weights of this TFDistilBert"):
        load(tmp_path / "model")


@pytest.mark.parametrize("safe", [False, True], ids=["h5", "safetensors"])
@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "5KB"}], ids=["single", "sharded"])
def test_what_transformers_saves_of_a_tensorflow_model_is_read(
    forms: Path, tmp_path: Path, safe: bool, shards: dict[str, str]
) -> None:
    model, _ = load(forms / "bert")
    model.save_pretrained(tmp_path, safe_serialization=safe, **shards)
    assert len(list(tmp_path.glob("*model*"))) > (5 if shards else 0)
    assert_equal(in_pytorch_s_words(tmp_path), stored(forms / "bert"))


# What PyTorch saved


@pytest.mark.parametrize("sharded", ["", "-sharded"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_each_form_of_safetensors_becomes_float32(forms: Path, dtype: str, sharded: str) -> None:
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    rounded = {
        name: each.astype(kind).astype(np.float32) for name, each in stored(forms / "bert").items()
    }
    found = in_pytorch_s_words(forms / f"{dtype}{sharded}")
    assert_equal(found, rounded)
    assert {each.dtype for each in found.values()} == {np.dtype(np.float32)}


def test_a_run_from_bfloat16_says_that_its_weights_are_float32(
    forms: Path, tmp_path: Path, reviews: Path, tfft_cli: Callable[..., Outcome]
) -> None:
    """Transformers 5 would load them in the floats that the config names."""
    outcome = tfft_cli(
        "fit", "--data", reviews, "--model", forms / "bfloat16-sharded", "--epochs", 1,
        "--output", tmp_path / "run",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "run/model/config.json").read_text())["torch_dtype"] == "float32"


def test_safetensors_without_metadata_are_pytorch_s(forms: Path, tmp_path: Path) -> None:
    shutil.copy(forms / "bert" / "config.json", tmp_path)
    save_file(stored(forms / "bert"), tmp_path / "model.safetensors")
    assert_equal(in_pytorch_s_words(tmp_path), stored(forms / "bert"))


def lose(folder: Path, name: str) -> None:
    """Takes a tensor out of its shard."""
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        if tensors.pop(name, None) is not None:
            save_file(tensors, path, metadata={"format": "pt"})


def quantise(folder: Path) -> None:
    tensors = stored(folder)
    tensors["classifier.weight"] = tensors["classifier.weight"].astype(np.int8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def misname(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["classifier.bias"] = "../elsewhere.safetensors"
    (folder / INDEX).write_text(json.dumps(index))


SHARD = "model-00002-of-00007.safetensors"
INDEX = "model.safetensors.index.json"
SHARDED_FAULTS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "a shard cut short": (
        lambda at: shorten(at / SHARD),
        (SHARD, "corrupt safetensors", "its header says"),
    ),
    "a shard that is missing": (
        lambda at: (at / SHARD).unlink(),
        (SHARD, "no such file", "index.json names"),
    ),
    "a shard without a tensor of the index": (
        lambda at: lose(at, "classifier.bias"),
        ("index.json: classifier.bias isn't in",),
    ),
    "an index cut short": (lambda at: shorten(at / INDEX), (INDEX, "corrupt index")),
    "an index that leads elsewhere": (misname, (INDEX, "corrupt index")),
}
SINGLE_FAULTS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "a quantised tensor": (quantise, ("classifier.weight is of I8", "quantised")),
    "a tensor that is missing": (
        lambda at: lose(at, "bert.pooler.dense.bias"),
        ("bert.pooler.dense.bias", "missing"),
    ),
    "another shape": (
        lambda at: change_config(at, intermediate_size=16),
        ("another shape", "intermediate.dense.weight"),
    ),
    "no architectures": (
        lambda at: change_config(at, architectures=None),
        ("--head", "question_answering"),
    ),
    "no such class in TensorFlow": (
        lambda at: change_config(at, architectures=["BertLMHeadModel"]),
        ("no BertLMHeadModel", "TFBertForMaskedLM"),
    ),
    "no such architecture in TensorFlow": (
        lambda at: change_config(at, model_type="modernbert"),
        ("'modernbert'", "nearest", "is bert"),
    ),
}
FAULTS = {
    **{name: ("float32-sharded", *each) for name, each in SHARDED_FAULTS.items()},
    **{name: ("float32", *each) for name, each in SINGLE_FAULTS.items()},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_whole_is_named(forms: Path, tmp_path: Path, fault: str) -> None:
    name, spoil, told = FAULTS[fault]
    folder = Path(shutil.copytree(forms / name, tmp_path / "source"))
    spoil(folder)
    with pytest.raises(ModelError) as caught:
        tfft.convert(folder, to="tensorflow", output=tmp_path / "out")
    line = one_line(caught)
    assert all(each in line for each in told), line
    assert [each.name for each in tmp_path.iterdir()] == ["source"]


def test_what_an_h5_lacks_is_named(forms: Path, tmp_path: Path) -> None:
    """Transformers fills it with random numbers and says nothing."""
    import h5py

    model, _ = load(forms / "bert")
    model.save_pretrained(tmp_path)
    with h5py.File(tmp_path / "tf_model.h5", "a") as file:
        (own_name,) = file["bert"]
        del file["bert"][own_name]["bert/encoder/layer_._0/attention/self/query/kernel:0"]
    _, filled = load(tmp_path)
    assert filled.missing == ("bert.encoder.layer.0.attention.self.query.weight",)
    shorten(tmp_path / "tf_model.h5")
    with pytest.raises(ModelError, match="corrupt h5 file"):
        open_checkpoint(str(tmp_path), CLASSIFIER)


def test_a_body_alone_is_no_head(forms: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"2 tensors .*classifier.weight, classifier.bias"):
        tfft.convert(
            forms / "bert-", to="pytorch", output=tmp_path / "out", head="sequence_classification"
        )


def test_tensors_that_the_class_has_no_place_for_are_named(forms: Path, tmp_path: Path) -> None:
    result = tfft.convert(forms / "bert", to="tensorflow", output=tmp_path / "out", head="base")
    assert result.left_out == ("classifier.bias", "classifier.weight")
    assert result.architecture == "BertModel"


# The comparison


def test_a_difference_of_the_logits_is_an_error(
    forms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft import conversion

    def off(model: Any, batches: Any) -> Any:
        outputs = given(model, batches)
        outputs[1]["logits"][2, 0] += 1e-3
        return outputs

    given = conversion._tensorflow_outputs
    monkeypatch.setattr(conversion, "_tensorflow_outputs", off)
    with pytest.raises(ModelError, match=r"differ by 0.001 .*tolerance 1e-05"):
        tfft.convert(forms / "bert", to="tensorflow", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_swapped_tensors_are_an_error(
    forms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft import weights

    def swapped(model: Any) -> dict[str, np.ndarray]:
        tensors = given(model)
        one, other = (
            f"bert.encoder.layer.1.attention.self.{each}.weight" for each in ("query", "key")
        )
        tensors[one], tensors[other] = tensors[other], tensors[one]
        return tensors

    given = weights.to_pytorch
    monkeypatch.setattr(weights, "to_pytorch", swapped)
    with pytest.raises(ModelError, match=r"attention.self.query.weight came back as another"):
        tfft.convert(forms / "bert", to="pytorch", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_parameter_that_one_side_lacks_is_an_error(
    forms: Path, tmp_path: Path, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_more(module: str, job: Mapping[str, Any]) -> dict[str, Any]:
        told = child(module, job)
        return told | {"parameters": [*told["parameters"], ["classifier.scale", "classifier.tied"]]}

    monkeypatch.setattr("tfft.conversion.run_child", one_more)
    with pytest.raises(ModelError, match=r"TensorFlow lacks tensors .*: classifier.scale"):
        tfft.convert(forms / "bert", to="tensorflow", output=tmp_path / "out")


def test_a_parameter_that_pytorch_lacks_is_an_error(
    forms: Path, tmp_path: Path, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_less(module: str, job: Mapping[str, Any]) -> dict[str, Any]:
        told = child(module, job)
        kept = [names for names in told["parameters"] if "classifier.bias" not in names]
        return told | {"parameters": kept}

    monkeypatch.setattr("tfft.conversion.run_child", one_less)
    with pytest.raises(ModelError, match=r"PyTorch lacks tensors .*: classifier.bias"):
        tfft.convert(forms / "bert", to="tensorflow", output=tmp_path / "out")


def test_without_torch_the_result_says_what_was_not_compared(
    forms: Path, tmp_path: Path, tfft_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfft.conversion.find_spec", lambda name: None)
    outcome = tfft_cli("convert", forms / "bert", "--to", "pytorch", "--output", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "PyTorch isn't installed" in outcome.out
    assert "the logits weren't" in outcome.out
    written = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert written["largest_difference"] is None


# The folder


def test_the_command_prints_what_it_compared_and_replaces_its_own_folders_alone(
    forms: Path, tmp_path: Path, tfft_cli: Callable[..., Outcome]
) -> None:
    command = ("convert", forms / "bert", "--to", "tensorflow", "--output", tmp_path / "out")
    first = tfft_cli(*command, "--json")
    assert first.code == 0, first.err
    assert json.loads(first.out)["largest_difference"] < 1e-5
    again = tfft_cli(*command)
    assert again.code == 1
    assert "exists" in again.err
    replaced = tfft_cli(*command, "--overwrite")
    assert replaced.code == 0, replaced.err
    assert "TensorFlow's and PyTorch's differ by" in replaced.out
    (tmp_path / "out" / "conversion.json").unlink()
    foreign = tfft_cli(*command, "--overwrite")
    assert foreign.code == 1
    assert "isn't a folder that tfft wrote" in foreign.err


def test_the_source_is_never_replaced(run: Path, tfft_cli: Callable[..., Outcome]) -> None:
    outcome = tfft_cli(
        "convert", run / "model", "--to", "tensorflow", "--output", run, "--overwrite"
    )
    assert outcome.code == 1
    assert "holds the source itself" in outcome.err
    assert (run / "model" / "model.safetensors").exists()


# Pickles


@pytest.mark.parametrize("name", ["pickle", "pickle-sharded"])
def test_a_pickle_s_tensors_are_taken_where_they_are_asked_for(forms: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"a pickle \(pytorch_model.bin.*--allow-pickle"):
        open_checkpoint(str(forms / name), CLASSIFIER)
    assert_equal(in_pytorch_s_words(forms / name, allow_pickle=True), stored(forms / "bert"))
    checkpoint = open_checkpoint(str(forms / name), CLASSIFIER, allow_pickle=True)
    assert checkpoint.sha256 != open_checkpoint(str(checkpoint.weights_folder), CLASSIFIER).sha256


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil-was-here",)


def as_torch_saves(thing: Any) -> bytes:
    """PyTorch's old format: a magic number, a version, the machine, the thing, its storages."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {}, thing, [])
    return b"".join(pickle.dumps(each, protocol=2) for each in parts)


def test_a_pickle_that_asks_for_more_than_tensors_is_refused(
    forms: Path, tmp_path: Path, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(forms / "pickle" / "config.json", tmp_path)
    path = tmp_path / "pytorch_model.bin"
    for content, told in (
        (as_torch_saves({"classifier.weight": Evil()}), r"refused: .* for posix.mkdir"),
        (as_torch_saves([1]), "holds a list, expected tensors"),
        (as_torch_saves({"epoch": 3}), "epoch is a int, expected a tensor"),
        (b"garbage", "corrupt pickle"),
        ((forms / "pickle" / "pytorch_model.bin").read_bytes()[:-100], "corrupt pickle"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=told) as caught:
            open_checkpoint(str(tmp_path), CLASSIFIER, allow_pickle=True)
        one_line(caught)
    assert not Path("evil-was-here").exists()


def test_a_pickle_without_torch_says_what_to_install(
    forms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfft import unpickling
    from tfft.pytorch import backend, children

    monkeypatch.setattr(unpickling, "run_child", children.run_child)
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    monkeypatch.setenv("TFFT_CACHE", str(tmp_path))
    with pytest.raises(TfftError, match=r'pip install "tfft\[torch\]"'):
        open_checkpoint(str(forms / "pickle"), CLASSIFIER, allow_pickle=True)


def test_every_verb_with_a_model_takes_a_pickle(
    forms: Path, tmp_path: Path, reviews: Path, tfft_cli: Callable[..., Outcome]
) -> None:
    common = ("--data", reviews, "--allow-pickle")
    predicted = tmp_path / "p.csv"
    for command in (
        ("fit", "--model", forms / "pickle", "--dry-run", *common),
        ("evaluate", forms / "pickle", *common),
        ("predict", forms / "pickle", "--output", predicted, *common),
    ):
        outcome = tfft_cli(*command)
        assert outcome.code == 0, outcome.err
    assert predicted.exists()


def test_a_header_s_contents_are_those_of_the_file(forms: Path) -> None:
    tensors = open_tensors((forms / "float16" / "model.safetensors",))
    assert tensors.layout == "pytorch"
    assert tensors.shapes["classifier.weight"] == (2, 16)
    assert tensors.read("classifier.weight").dtype == np.float32
