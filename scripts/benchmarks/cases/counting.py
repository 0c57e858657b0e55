"""How much arithmetic a path does: its tokens and the weights that they go through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def tokens_of(batches: Iterable[Any]) -> dict[str, int]:
    """The tokens that one pass feeds the model, padding included, and how many of them are real.

    Args:
        batches: of features, or (features, labels).
    """
    padded = real = 0
    for batch in batches:
        features: Mapping[str, Any] = batch[0] if isinstance(batch, tuple | list) else batch
        mask = np.asarray(features["attention_mask"])
        padded, real = padded + mask.size, real + int(mask.sum())
    return {"padded": padded, "real": real}


def body_size(shapes: Mapping[str, Iterable[int]]) -> int:
    """Parameters without the embeddings', which are looked up and not multiplied.

    Args:
        shapes: every weight's, by name.
    """
    return sum(int(np.prod(list(shape))) for name, shape in shapes.items() if "embed" not in name)
