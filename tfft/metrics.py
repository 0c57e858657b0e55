"""The figures of a validation split, by scikit-learn, under GLUE's names.

single_label(logits, labels)    # {"accuracy": 0.81, "f1": 0.87, "matthews_correlation": 0.52}
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


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
        "matthews_correlation": matthews_corrcoef(labels, predicted),
    }
    return {name: float(value) for name, value in figures.items()}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities: float64 [n_rows, n_labels], each row's sum 1."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
