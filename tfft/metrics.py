"""The figures of a validation split, by scikit-learn and scipy, under GLUE's names.

figures = metrics_of("single_label")
figures(logits, labels)    # {"accuracy": 0.81, "f1": 0.87, "matthews_correlation": 0.52}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from scipy.special import expit
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

# (logits, labels) -> the metrics by name.
Metrics = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]

# From this probability on a multi-label model gives a label, where nobody says otherwise.
THRESHOLD = 0.5


def metrics_of(task: str, *, threshold: float | None = None) -> Metrics:
    """The task's metrics.

    Args:
        threshold: of multi-label, the probability from which a label is given.
    """
    if task == "multi_label":
        return partial(multi_label, threshold=THRESHOLD if threshold is None else threshold)
    return {"single_label": single_label, "regression": regression}[task]


def single_label(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Of logits float [n_rows, n_labels] against class ids int [n_rows].

    `f1` is that of class 1 where there are two classes, as GLUE has it; with more classes there
    is `f1_macro` instead, their plain mean.
    """
    predicted = logits.argmax(axis=-1)
    n_labels = logits.shape[-1]
    if n_labels == 2:
        f1 = {"f1": f1_score(labels, predicted, zero_division=0.0)}
    else:
        f1 = {
            "f1_macro": f1_score(
                labels, predicted, labels=range(n_labels), average="macro", zero_division=0.0
            )
        }
    figures = {
        "accuracy": accuracy_score(labels, predicted),
        **f1,
        # 0 where all are of one class, of which scikit-learn warns.
        "matthews_correlation": matthews_corrcoef(labels, predicted)
        if np.ptp(np.append(labels, predicted))
        else 0.0,
    }
    return {name: float(value) for name, value in figures.items()}


def multi_label(logits: np.ndarray, labels: np.ndarray, *, threshold: float) -> dict[str, float]:
    """Of logits float [n_rows, n_labels] against 0/1 [n_rows, n_labels].

    `f1` is micro-averaged, over all rows and labels at once; `accuracy` counts the rows whose set
    of labels is right as a whole.
    """
    predicted, labels = above(logits, threshold), labels.astype(bool)
    figures = {
        "f1": f1_score(labels, predicted, average="micro", zero_division=0.0),
        "f1_macro": f1_score(labels, predicted, average="macro", zero_division=0.0),
        "accuracy": (predicted == labels).all(axis=-1).mean(),
    }
    return {name: float(value) for name, value in figures.items()}


def regression(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Of predictions float [n_rows, 1] against numbers float [n_rows].

    Where either side is constant there is no correlation to tell: 0, as scikit-learn has it for
    `matthews_correlation`.
    """
    predicted, labels = logits.reshape(-1).astype(np.float64), labels.astype(np.float64)
    if len(labels) < 2 or np.ptp(predicted) == 0.0 or np.ptp(labels) == 0.0:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": float(pearsonr(predicted, labels).statistic),
        "spearman": float(spearmanr(predicted, labels).statistic),
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities: float64 [n_rows, n_labels], each row's sum 1."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Independent probabilities: float64 [n_rows, n_labels]."""
    return np.asarray(expit(logits.astype(np.float64)))


def above(logits: np.ndarray, threshold: float) -> np.ndarray:
    """Which labels are given: bool [n_rows, n_labels]."""
    return sigmoid(logits) >= threshold
