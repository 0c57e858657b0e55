"""Figures against their definitions, and the cases where a definition divides by nought."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from tfft.metrics import above, metrics_of, sigmoid, softmax
from tfft.tasks import TASKS

GENERATOR = np.random.default_rng(0)


def one_hot(classes: list[int], n_labels: int) -> np.ndarray:
    return np.eye(n_labels, dtype=np.float32)[classes]


def f1(true: np.ndarray, predicted: np.ndarray) -> float:
    both, either = (true & predicted).sum(), true.sum() + predicted.sum()
    return 2 * both / either if either else 0.0


def test_two_classes_have_f1_of_class_1_and_more_have_their_mean() -> None:
    labels = np.array([0, 1, 1, 0, 1])
    two = metrics_of("single_label")(one_hot([0, 1, 0, 1, 1], 2), labels)
    # 2 true positives, 1 false one, 1 missed; mcc = (2*1 - 1*1) / sqrt(3*3*2*2)
    assert two == pytest.approx({"accuracy": 0.6, "f1": 4 / 6, "matthews_correlation": 1 / 6})
    three = metrics_of("single_label")(one_hot([0, 1, 0, 2, 1], 3), labels)
    assert three["f1_macro"] == pytest.approx((0.5 + 4 / 5 + 0.0) / 3)
    assert "f1" not in three


def test_multi_label_figures_are_their_definitions() -> None:
    logits = GENERATOR.normal(size=(50, 4))
    labels = (GENERATOR.random((50, 4)) < 0.4).astype(np.float32)
    figures = metrics_of("multi_label")(logits, labels)
    true, given = labels == 1.0, logits >= 0.0
    assert figures == pytest.approx(
        {
            "f1": f1(true, given),
            "f1_macro": np.mean([f1(true[:, n], given[:, n]) for n in range(4)]),
            "accuracy": (true == given).all(axis=1).mean(),
        }
    )


def test_the_threshold_is_of_the_probability_and_counts_itself() -> None:
    logits = np.array([[-1.0, 0.0, 1.0]])
    assert above(logits, 0.5).tolist() == [[False, True, True]]
    assert above(logits, float(sigmoid(np.array(1.0)))).tolist() == [[False, False, True]]
    labels = np.array([[0.0, 0.0, 1.0]])
    assert metrics_of("multi_label", threshold=0.7)(logits, labels)["accuracy"] == 1.0
    assert metrics_of("multi_label")(logits, labels)["accuracy"] == 0.0


def test_regression_figures_are_their_definitions() -> None:
    predicted, labels = GENERATOR.normal(size=(30, 1)), GENERATOR.normal(size=30)
    figures = metrics_of("regression")(predicted, labels)
    ranks = [values.argsort().argsort() for values in (predicted[:, 0], labels)]
    assert figures == pytest.approx(
        {
            "pearson": np.corrcoef(predicted[:, 0], labels)[0, 1],
            "spearman": np.corrcoef(*ranks)[0, 1],
        }
    )


@pytest.mark.parametrize(
    ("task", "logits", "labels"),
    [
        ("single_label", one_hot([0, 0, 0], 2), np.array([0, 0, 0])),
        ("single_label", one_hot([1, 1, 1], 2), np.array([1, 1, 1])),
        ("single_label", one_hot([0], 3), np.array([2])),
        ("multi_label", np.full((2, 3), -9.0), np.zeros((2, 3))),
        ("multi_label", np.full((1, 3), 9.0), np.array([[1.0, 1.0, 0.0]])),
        ("regression", np.full((3, 1), 0.7), np.array([0.1, 0.2, 0.3])),
        ("regression", np.array([[0.1], [0.2]]), np.array([0.5, 0.5])),
        ("regression", np.array([[0.1]]), np.array([0.5])),
    ],
)
def test_figures_are_finite_and_quiet_where_there_is_nothing_to_tell(
    task: str, logits: Any, labels: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = metrics_of(task)(logits, labels)
    assert all(np.isfinite(value) for value in figures.values())
    assert set(figures) <= set(TASKS[task].metrics)


def test_probabilities_hold_out_at_large_logits() -> None:
    large = np.array([[1e4, -1e4], [0.0, 0.0]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert softmax(large).tolist() == [[1.0, 0.0], [0.5, 0.5]]
        assert sigmoid(large).tolist() == [[1.0, 0.0], [0.5, 0.5]]
