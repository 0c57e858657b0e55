"""One step of each task against NumPy: the loss, and what the head's bias moves by.

A step of plain gradient descent at rate 1 moves the bias by its gradient, which has a closed form.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from tiny import python, sentence

from tfft.config import TrainConfig
from tfft.data.encode import encode
from tfft.data.loaders import make_split
from tfft.data.plan import BatchPlan
from tfft.data.targets import as_arrow
from tfft.metrics import metrics_of, sigmoid, softmax
from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.progress import Progress
from tfft.tasks import TASKS

N_ROWS = 7
WEIGHTS = np.array([0.5, 1.0, 3.0], np.float32)
CLASSES = np.array([0, 1, 2, 2, 1, 0, 2])
SETS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 1, 1], [0, 1, 0], [0, 0, 1]])
NUMBERS = np.array([0.5, -1.0, 2.5, 0.0, 1.0, 4.5, 3.0])


def cross_entropy(logits: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row_weights = weights[CLASSES]
    probabilities, true = softmax(logits), np.eye(3)[CLASSES]
    losses = -row_weights * np.log(probabilities[np.arange(N_ROWS), CLASSES])
    return losses, row_weights[:, None] * (probabilities - true)


def binary_cross_entropy(logits: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities = sigmoid(logits)
    losses = -weights * SETS * np.log(probabilities) - (1 - SETS) * np.log(1 - probabilities)
    gradients = (1 - SETS) * probabilities - weights * SETS * (1 - probabilities)
    return losses.mean(axis=1), gradients / 3


def squared_error(logits: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    errors = logits - NUMBERS[:, None]
    return errors[:, 0] ** 2, 2 * errors


@dataclass(frozen=True)
class Case:
    """`formula(logits, weights)`: a loss a row, and its gradient by the logits [n_rows, n]."""

    task: str
    values: np.ndarray
    formula: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    weights: np.ndarray | None = None


SETS_AS_FLOATS, NUMBERS_AS_FLOATS = SETS.astype(np.float32), NUMBERS.astype(np.float32)
CASES = {
    "single_label": Case("single_label", CLASSES, cross_entropy),
    "single_label, weighted": Case("single_label", CLASSES, cross_entropy, WEIGHTS),
    "multi_label": Case("multi_label", SETS_AS_FLOATS, binary_cross_entropy),
    "multi_label, weighted": Case("multi_label", SETS_AS_FLOATS, binary_cross_entropy, WEIGHTS),
    "regression": Case("regression", NUMBERS_AS_FLOATS, squared_error),
}


@dataclass(frozen=True)
class Stepped:
    logits: np.ndarray
    loss: float
    validation_loss: float
    bias_moved_by: np.ndarray
    keras_loss: float


def step_once(tiny: Path, case: Case) -> Stepped:
    from tfft import modeling, training
    from tfft.backend import keras

    task = TASKS[case.task]
    checkpoint = open_checkpoint(str(tiny), task)
    checkpoint.config.hidden_dropout_prob = 0.0
    checkpoint.config.attention_probs_dropout_prob = 0.0
    names = ("score",) if case.task == "regression" else ("a", "b", "c")
    keras.utils.set_random_seed(3)
    model = modeling.load_model(checkpoint, task, label_names=names).model
    modeling.compile_model(
        model, task, TrainConfig(), optimizer=keras.optimizers.SGD(learning_rate=1.0)
    )
    rows = Dataset(
        pa.table(
            {
                "text": [sentence(number)[0] for number in range(N_ROWS)],
                "label": as_arrow(case.values),
                "row": np.arange(N_ROWS),
            }
        )
    )
    tokenizer = load_tokenizer(checkpoint)
    encoded = encode(rows, tokenizer, max_length=64)
    split = make_split(encoded, tokenizer, BatchPlan(N_ROWS, N_ROWS), loader="numpy")
    losses = modeling.example_losses(model, task)
    weighted = losses
    if case.weights is not None:
        weighted = modeling.weighted_losses(losses, task, case.weights)
    before = training.evaluate(model, split, losses=losses, progress=Progress())
    keras_loss = model.evaluate(split.dataset, verbose=0)[0]
    bias = model.classifier.bias
    first = bias.numpy()
    trained = training.fit(
        model,
        split,
        split,
        losses=losses,
        training_losses=weighted,
        metrics=metrics_of(case.task),
        metric_for_best="loss",
        config=TrainConfig(epochs=1),
        progress=Progress(),
    )
    return Stepped(before.logits, trained.best.loss, before.loss, first - bias.numpy(), keras_loss)


@pytest.fixture(scope="module", params=CASES)
def stepped(request: pytest.FixtureRequest, tiny: Path) -> tuple[Case, Stepped]:
    case = CASES[request.param]
    return case, step_once(tiny, case)


# 1e-5 everywhere: float32 against float64, over sums of 21 numbers at most.
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def test_the_loss_of_a_step_is_the_formula_s_mean_over_rows(
    stepped: tuple[Case, Stepped],
) -> None:
    case, step = stepped
    weights = np.ones(3) if case.weights is None else case.weights
    losses, _ = case.formula(step.logits, weights)
    np.testing.assert_allclose(step.loss, losses.mean(), **CLOSE)


def test_the_head_s_bias_moves_by_the_mean_of_the_gradients(
    stepped: tuple[Case, Stepped],
) -> None:
    case, step = stepped
    weights = np.ones(3) if case.weights is None else case.weights
    _, gradients = case.formula(step.logits, weights)
    np.testing.assert_allclose(step.bias_moved_by, gradients.mean(axis=0), **CLOSE)


def test_weights_are_of_training_alone_and_keras_evaluates_the_same_loss(
    stepped: tuple[Case, Stepped],
) -> None:
    case, step = stepped
    losses, _ = case.formula(step.logits, np.ones(3))
    np.testing.assert_allclose(step.validation_loss, losses.mean(), **CLOSE)
    np.testing.assert_allclose(step.keras_loss, losses.mean(), **CLOSE)


SMOOTHING = 0.3
TORCH = """
import json, sys, torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
logits, classes, sets, weights = (torch.tensor(each) for each in json.loads(sys.argv[1]))
smoothing = float(sys.argv[2])
soft = sets * (1 - smoothing) + smoothing / 2
print(json.dumps([
    cross_entropy(logits, classes, label_smoothing=smoothing, reduction="none").tolist(),
    binary_cross_entropy_with_logits(logits, soft, reduction="none").mean(-1).tolist(),
    binary_cross_entropy_with_logits(
        logits, soft, pos_weight=weights, reduction="none").mean(-1).tolist(),
]))
"""


def test_smoothed_losses_are_pytorch_s_row_by_row_and_take_weights() -> None:
    from tfft import modeling

    logits = np.random.default_rng(0).normal(size=(N_ROWS, 3)).astype(np.float32)
    lists = [each.tolist() for each in (logits, CLASSES, SETS_AS_FLOATS, WEIGHTS)]
    torchs = json.loads(python(TORCH, json.dumps(lists), str(SMOOTHING), torch=True))
    single, multi = TASKS["single_label"], TASKS["multi_label"]
    of_classes, of_sets = (modeling.smoothed_losses(each, SMOOTHING) for each in (single, multi))
    logs = np.log(softmax(logits))
    by_hand = -(1 - SMOOTHING) * logs[np.arange(N_ROWS), CLASSES] - SMOOTHING * logs.mean(axis=1)
    ours = of_classes(CLASSES, logits)
    # 1e-5: float32 in another order of operations.
    np.testing.assert_allclose(ours, by_hand, rtol=1e-5)
    np.testing.assert_allclose(ours, torchs[0], rtol=1e-5)
    weighted = modeling.weighted_losses(of_classes, single, WEIGHTS)
    np.testing.assert_allclose(weighted(CLASSES, logits), by_hand * WEIGHTS[CLASSES], rtol=1e-5)
    np.testing.assert_allclose(of_sets(SETS_AS_FLOATS, logits), torchs[1], rtol=1e-5)
    weighted = modeling.weighted_losses(of_sets, multi, WEIGHTS)
    np.testing.assert_allclose(weighted(SETS_AS_FLOATS, logits), torchs[2], rtol=1e-5)


LOSSES_OF_TASKS = [
    (task, name) for task in ("multi_label", "regression") for name in TASKS[task].losses
]


@pytest.mark.parametrize(("task", "name"), LOSSES_OF_TASKS)
def test_a_named_loss_is_its_formula_row_by_row(task: str, name: str) -> None:
    from tfft import modeling

    logits = np.random.default_rng(0).normal(size=(N_ROWS, 1 if task == "regression" else 3))
    signs, errors = 2 * SETS - 1, NUMBERS - logits[:, 0]
    probabilities = sigmoid(logits)
    of_truth = np.where(SETS == 1, probabilities, 1 - probabilities)
    margins = np.maximum(1 - signs * logits, 0) if task == "multi_label" else None
    expected: Any = {
        "binary_crossentropy": lambda: -np.log(of_truth).mean(axis=1),
        "binary_focal_crossentropy": lambda: (-((1 - of_truth) ** 2) * np.log(of_truth)).mean(
            axis=1
        ),
        "hinge": lambda: margins.mean(axis=1),
        "squared_hinge": lambda: (margins**2).mean(axis=1),
        "mean_squared_error": lambda: errors**2,
        "mean_absolute_error": lambda: np.abs(errors),
        "huber": lambda: np.where(np.abs(errors) <= 1, errors**2 / 2, np.abs(errors) - 0.5),
        "log_cosh": lambda: np.log(np.cosh(errors)),
    }[name]()
    values = SETS_AS_FLOATS if task == "multi_label" else NUMBERS_AS_FLOATS
    ours = modeling.example_losses(None, TASKS[task], name)(values, logits.astype(np.float32))
    # 1e-5: float32, and Keras clips probabilities at 1e-7.
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-5)
