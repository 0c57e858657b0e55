"""The live model with small weights, compared with it before it goes into a bundle.

small = smaller(saved, loaded, texts, "int8")
small.model             # called as the live one is
small.check.metric_changes, small.apart
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfft.export.formats.deliver import questions_of
from tfft.export.formats.produce import compared
from tfft.export.formats.quantised import SmallModel
from tfft.export.live import answers_of, whole_floats
from tfft.export.texts import Texts
from tfft.modeling import LoadedModel
from tfft.results import FormatCheck
from tfft.served import Saved


@dataclass(frozen=True)
class Small:
    """A small model, and what its weights cost.

    Attributes:
        check: of its logits.
        apart: how far its scores, or of regression its values, are from the live model's at most.
    """

    model: SmallModel
    check: FormatCheck
    apart: float


def smaller(saved: Saved, loaded: LoadedModel, texts: Texts, how: str) -> Small:
    """Makes it, and asks both the validation texts and some made-up ones.

    Args:
        how: of `quantised.QUANTIZE`.

    Raises:
        ExportError: it can't be done for this architecture, or its logits are too far from the live
            model's.
    """
    questions = questions_of(saved, loaded, texts)
    model = SmallModel(questions.live, how)
    with whole_floats():
        expected = [questions.live.logits(batch) for batch in questions.batches]
        found = [model(batch).logits.numpy() for batch in questions.batches]
    check = compared("saved_model", expected, found, quantize=how, evaluate=questions.evaluate)
    before, after = (
        answers_of(np.concatenate(each), saved.task.name) for each in (expected, found)
    )
    return Small(model, check, float(np.abs(after - before).max()))
