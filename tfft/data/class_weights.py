"""What each class weighs in the training loss.

    weights = class_weights("balanced", labels, ("no", "yes"))      # float32 [n_labels]

Of single labels a row's loss is multiplied by its class' weight. Of multi-label a label's loss is
where the row has the label, as with `pos_weight` of PyTorch's BCEWithLogitsLoss. The mean is over
rows all the same, as Keras has it: a heavy row is not divided away by its own weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from tfft.config import parse_class_weight
from tfft.errors import ConfigError, listed, nearest


def class_weights(spec: str, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """By `spec`, which is `balanced` or NAME=W,...: float32 [n_labels].

    `balanced` is scikit-learn's for classes, n_rows / (n_classes * rows of the class), and the rows
    without over the rows with for each of several labels. A class without a row weighs 1.

    Args:
        labels: class ids [n_rows], or 0 and 1 [n_rows, n_labels], of the training rows.

    Raises:
        ConfigError: `spec` names a class that isn't there.
    """
    weights = np.ones(len(names), dtype=np.float32)
    named = parse_class_weight(spec)
    if named is not None:
        for name, weight in named.items():
            if name not in names:
                raise ConfigError(
                    f"class_weight names '{name}'{nearest(name, names)}, which is no class; there "
                    f"are {listed(names)}"
                )
            weights[names.index(name)] = weight
    elif labels.ndim == 2:
        n_with = labels.sum(axis=0)
        weights[n_with > 0] = (len(labels) - n_with[n_with > 0]) / n_with[n_with > 0]
        # A label that every row has would weigh nothing, and never be learned.
        weights[n_with == len(labels)] = 1.0
    else:
        present = np.unique(labels)
        weights[present] = compute_class_weight("balanced", classes=present, y=labels)
    return weights
