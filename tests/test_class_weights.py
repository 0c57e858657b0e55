"""What classes weigh: balanced as scikit-learn has it, or by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tfft.config import parse_class_weight
from tfft.data.class_weights import class_weights
from tfft.errors import ConfigError

CLASSES = np.array([0, 0, 0, 1])
SETS = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]], np.float32)


@pytest.mark.parametrize(
    ("spec", "labels", "names", "weights"),
    [
        # 4 rows / (2 classes * rows of the class)
        ("balanced", CLASSES, ("no", "yes"), [4 / 6, 4 / 2]),
        ("balanced", CLASSES, ("no", "yes", "unused"), [4 / 6, 4 / 2, 1.0]),
        # rows without / rows with; a label of every row, and one of none, weigh 1
        ("balanced", SETS, ("a", "b", "c"), [1.0, 1.0, 3.0]),
        ("yes=2.5", CLASSES, ("no", "yes"), [1.0, 2.5]),
        ("c=3, a=0.5", SETS, ("a", "b", "c"), [0.5, 1.0, 3.0]),
    ],
)
def test_weights_are_as_worked_out_by_hand(
    spec: str, labels: np.ndarray, names: tuple[str, ...], weights: list[float]
) -> None:
    found = class_weights(spec, labels, names)
    assert found.dtype == np.float32
    # 1e-7: float32 against Python's own numbers.
    np.testing.assert_allclose(found, weights, rtol=1e-7)


def test_a_class_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"names 'yess' \(did you mean 'yes'\?\)") as caught:
        class_weights("yess=2", CLASSES, ("no", "yes"))
    assert caught.value.options == (), "the data's fault, or a TOML's, as well as a flag's"


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("no=1,yes=2", {"no": 1.0, "yes": 2.0}),
        ("no=1 , yes=2", {"no": 1.0, "yes": 2.0}),
        ("yes, but=2,no=1e-3", {"yes, but": 2.0, "no": 1e-3}),
        ("a=b=2", {"a=b": 2.0}),
        ("balanced", None),
    ],
)
def test_weights_are_read_as_they_are_written(text: str, weights: Mapping[str, Any] | None) -> None:
    assert parse_class_weight(text) == weights
