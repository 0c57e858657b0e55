"""Checkpoints come in whole, losses are those that were named, and the head is what was asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny import python

from tfft.config import TrainConfig
from tfft.errors import ModelError
from tfft.pretrained import load_tokenizer, longest_tokens, open_checkpoint
from tfft.tasks import TASKS

TASK = TASKS["single_label"]
KINDS = ("bert", "distilbert", "roberta", "electra", "albert", "mpnet", "deberta-v2", "gpt2")
IDS = [[2, 6, 7, 8, 9, 3], [2, 10, 3, 0, 0, 0]]


def load(folder: Path, *, seed: int = 1, **options: Any) -> Any:
    from tfft import modeling
    from tfft.backend import keras

    keras.utils.set_random_seed(seed)
    checkpoint = open_checkpoint(str(folder), TASK)
    names = options.pop("label_names", ("no", "yes"))
    return modeling.load_model(checkpoint, TASK, label_names=names, pad_token_id=0, **options)


def logits_of(model: Any) -> np.ndarray:
    ids = np.asarray(IDS)
    return model({"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}).logits.numpy()


@pytest.fixture(scope="module")
def saved(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each architecture with a fresh head, saved by us: its folder and TensorFlow's logits."""
    from tfft.weights import save_checkpoint

    folder = tmp_path_factory.mktemp("saved")
    logits = {}
    for kind in KINDS:
        loaded = load(checkpoints / kind)
        save_checkpoint(
            loaded, load_tokenizer(open_checkpoint(str(checkpoints / kind), TASK)), folder / kind
        )
        logits[kind] = logits_of(loaded.model)
    code = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification as Auto
ids = torch.tensor(json.loads(sys.argv[2]))
for kind in sys.argv[3:]:
    model, info = Auto.from_pretrained(f"{sys.argv[1]}/{kind}", output_loading_info=True)
    logits = model.eval()(input_ids=ids, attention_mask=(ids > 0).long()).logits
    print(json.dumps([kind, logits.tolist(), sorted(info["missing_keys"])]))
"""
    lines = python(code, str(folder), json.dumps(IDS), *KINDS, torch=True).splitlines()
    theirs = {kind: (np.asarray(value), missing) for kind, value, missing in map(json.loads, lines)}
    return {"folder": folder, "tensorflow": logits, "pytorch": theirs}


@pytest.mark.parametrize("kind", KINDS)
def test_pytorch_reads_what_we_save_and_says_the_same(saved: dict[str, Any], kind: str) -> None:
    theirs, missing = saved["pytorch"][kind]
    assert missing == []
    # 1e-5: float32 through two layers; two swapped weights differ by 0.1 or more.
    np.testing.assert_allclose(theirs, saved["tensorflow"][kind], atol=1e-5)
    assert np.ptp(theirs) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_save_loads_again_without_a_fresh_tensor(saved: dict[str, Any], kind: str) -> None:
    again = load(saved["folder"] / kind)
    assert again.fresh == ()
    np.testing.assert_array_equal(logits_of(again.model), saved["tensorflow"][kind])


def test_a_checkpoint_that_pytorch_saved_comes_in_whole(tiny: Path) -> None:
    """Transformers 4.55 to 4.57 fail here: huggingface/transformers#40028."""
    loaded = load(tiny)
    stored = load_file(tiny / "model.safetensors")
    assert loaded.fresh == ("classifier.weight", "classifier.bias")
    embeddings = loaded.model.bert.embeddings.weight.numpy()
    np.testing.assert_array_equal(embeddings, stored["embeddings.word_embeddings.weight"])


def test_an_architecture_whose_names_do_not_map_is_refused(tiny: Path) -> None:
    import dataclasses

    from tfft.weights import check_names, to_pytorch

    loaded = load(tiny)
    names = set(to_pytorch(loaded.model))
    check_names(names, loaded)
    with pytest.raises(ModelError, match=r"bert: .*lost: .*query"):
        check_names({name.replace("query", "q") for name in names}, loaded)
    more = dataclasses.replace(loaded, fresh=())
    with pytest.raises(ModelError, match=r"new: classifier"):
        check_names(names, more)


def test_a_head_of_another_size_is_refused_unless_reset(saved: dict[str, Any]) -> None:
    folder = saved["folder"] / "bert"
    with pytest.raises(ModelError, match=r"another number of labels.*--reset-head"):
        load(folder, label_names=("a", "b", "c"))
    model = load(folder, label_names=("a", "b", "c"), reset_head=True).model
    assert logits_of(model).shape == (2, 3)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_reset_head_starts_a_head_of_the_same_size_afresh(saved: dict[str, Any]) -> None:
    kept = load(saved["folder"] / "bert").model
    fresh = load(saved["folder"] / "bert", reset_head=True, seed=2).model
    assert np.abs(kept.classifier.kernel.numpy() - fresh.classifier.kernel.numpy()).max() > 1e-3
    body = "bert/encoder/layer_._0/attention/self/query/kernel"
    kept_body, fresh_body = (
        next(each for each in model.weights if body in each.name) for model in (kept, fresh)
    )
    np.testing.assert_array_equal(kept_body, fresh_body)


def test_a_fresh_head_is_drawn_as_pytorch_draws_it(tiny: Path) -> None:
    names = [str(number) for number in range(300)]
    first, again, other = (
        load(tiny, label_names=names, seed=seed).model.classifier for seed in (1, 1, 2)
    )
    kernel = first.kernel.numpy()
    # 4,800 draws with a deviation of 0.5: its own error is 1 %, so 5 % is far out.
    assert kernel.std() == pytest.approx(0.5, rel=0.05)
    assert np.abs(kernel).max() > 3 * 0.5, "a truncated distribution ends at two deviations"
    assert not first.bias.numpy().any()
    np.testing.assert_array_equal(kernel, again.kernel.numpy())
    assert np.abs(kernel - other.kernel.numpy()).max() > 0.1


def numpy_loss(name: str, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Each loss of labels by its textbook formula; of class ids, or of 0 and 1 for each label."""
    one_hot = np.eye(logits.shape[1])[labels] if labels.ndim == 1 else labels
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    sigmoid = 1 / (1 + np.exp(-logits))
    chosen = (softmax * one_hot).sum(-1)
    cross = -(one_hot * np.log(sigmoid) + (1 - one_hot) * np.log(1 - sigmoid))
    right = np.where(one_hot == 1, sigmoid, 1 - sigmoid)
    sign = 2 * one_hot - 1  # Keras turns 0/1 into -1/1 for hinge
    negative = ((1 - one_hot) * logits).max(-1)
    return {
        "sparse_categorical_crossentropy": lambda: -np.log(chosen),
        "categorical_crossentropy": lambda: -np.log(chosen),
        # alpha 0.25 and gamma 2: Keras' defaults, from Lin et al. 2017.
        "categorical_focal_crossentropy": lambda: -0.25 * (1 - chosen) ** 2 * np.log(chosen),
        "binary_crossentropy": lambda: cross.mean(-1),
        "binary_focal_crossentropy": lambda: ((1 - right) ** 2 * cross).mean(-1),
        "categorical_hinge": lambda: np.maximum(0, 1 + negative - (one_hot * logits).sum(-1)),
        "hinge": lambda: np.maximum(0, 1 - sign * logits).mean(-1),
        "squared_hinge": lambda: (np.maximum(0, 1 - sign * logits) ** 2).mean(-1),
        "kl_divergence": lambda: -np.log(chosen),
        "mean_squared_error": lambda: ((softmax - one_hot) ** 2).mean(-1),
    }[name]()


def numpy_error(name: str, numbers: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Each loss of numbers by its textbook formula."""
    error = predicted[:, 0] - numbers
    size = np.abs(error)
    return {
        "mean_squared_error": error**2,
        "mean_absolute_error": size,
        "huber": np.where(size <= 1.0, 0.5 * error**2, size - 0.5),  # delta 1: Keras' default
        "log_cosh": np.log(np.cosh(error)),
    }[name]


LABELS = {
    "single_label": np.asarray([2, 0, 1, 1]),
    "multi_label": np.asarray([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], np.float32),
    "regression": np.asarray([0.3, -1.0, 4.0, 0.1], np.float32),
}


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task in TASKS for name in TASKS[task].losses]
)
def test_a_named_loss_is_its_formula_row_by_row(task: str, name: str) -> None:
    from tfft import modeling

    n_outputs = 1 if task == "regression" else 3
    logits = np.random.default_rng(0).normal(size=(4, n_outputs)).astype(np.float32)
    ours = modeling.example_losses(None, TASKS[task], name)(LABELS[task], logits).numpy()
    formula = numpy_error if task == "regression" else numpy_loss
    # 1e-5: float32, and Keras clips probabilities at 1e-7.
    np.testing.assert_allclose(ours, formula(name, LABELS[task], logits), rtol=1e-5, atol=1e-5)


def test_the_model_s_own_loss_is_cross_entropy_row_by_row(tiny: Path) -> None:
    from tfft import modeling
    from tfft.backend import tf

    labels, logits = np.asarray([1, 0]), np.asarray([[0.3, -1.0], [2.0, 1.0]], np.float32)
    losses = modeling.example_losses(load(tiny).model, TASK)
    ours = losses(tf.constant(labels), tf.constant(logits)).numpy()
    expected = numpy_loss("sparse_categorical_crossentropy", labels, logits)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_the_optimizer_has_the_config_s_numbers(tiny: Path) -> None:
    from tfft import modeling

    optimizer = modeling.make_optimizer(
        TrainConfig(learning_rate=0.2, beta_1=0.5, beta_2=0.6, epsilon=1e-3, clip_norm=0.7, ema=0.8)
    ).get_config()
    assert optimizer["learning_rate"] == pytest.approx(0.2)
    assert (optimizer["beta_1"], optimizer["beta_2"], optimizer["epsilon"]) == (0.5, 0.6, 1e-3)
    assert (optimizer["global_clipnorm"], optimizer["use_ema"], optimizer["ema_momentum"]) == (
        0.7,
        True,
        0.8,
    )


def test_the_defaults_are_the_tutorial_s_adam() -> None:
    from tfft import modeling
    from tfft.backend import keras

    optimizer = modeling.make_optimizer(TrainConfig())
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert optimizer.get_config()["learning_rate"] == pytest.approx(3e-5)


def test_positions_limit_the_length(tiny: Path, checkpoints: Path) -> None:
    checkpoint = open_checkpoint(str(tiny), TASK)
    tokenizer = load_tokenizer(checkpoint)
    assert longest_tokens(checkpoint, tokenizer, None) == 64
    with pytest.raises(ModelError, match="beyond the model's 64 positions"):
        longest_tokens(checkpoint, tokenizer, 65)
    roberta = open_checkpoint(str(checkpoints / "roberta"), TASK)
    assert roberta.most_tokens == 65  # 66, less the padding id and one


def test_a_cut_file_of_weights_is_corrupt(own_tiny: Path) -> None:
    weights = own_tiny / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="corrupt safetensors"):
        open_checkpoint(str(own_tiny), TASK)


def test_weights_of_another_model_are_refused(own_tiny: Path) -> None:
    save_file({"x": np.zeros(3)}, own_tiny / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="weights of a bert are missing: "):
        load(own_tiny)


def test_the_hash_is_that_of_the_file(tiny: Path, tmp_path: Path) -> None:
    import hashlib

    expected = hashlib.sha256((tiny / "model.safetensors").read_bytes()).hexdigest()
    assert open_checkpoint(str(tiny), TASK).sha256 == expected
    assert shutil.copytree(tiny, tmp_path / "copy").is_dir()
    assert open_checkpoint(str(tmp_path / "copy"), TASK).sha256 == expected
