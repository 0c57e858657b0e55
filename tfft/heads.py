"""The heads that `tfft convert` knows, beside the one that tfft trains.

    HEADS["masked_lm"].auto_class       # "TFAutoModelForMaskedLM"

Names only, as in `tasks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

FRAMEWORKS = ("pytorch", "tensorflow")


@dataclass(frozen=True)
class Head:
    """One of them.

    Attributes:
        auto_class: the `TFAutoModel...` class that builds it.
        architectures: the table in transformers that lists the architectures with such a head.
    """

    name: str
    auto_class: str
    architectures: str

    @property
    def pytorch_class(self) -> str:
        return self.auto_class.removeprefix("TF")


def _head(name: str, auto_class: str, table: str) -> Head:
    return Head(name, f"TFAutoModel{auto_class}", f"TF_MODEL_{table}MAPPING_NAMES")


# In the order in which a class is looked for: BERT's class of pretraining is in one table alone,
# DistilBERT's, which has none of its own, in two.
HEADS = {
    each.name: each
    for each in (
        _head(
            "sequence_classification", "ForSequenceClassification", "FOR_SEQUENCE_CLASSIFICATION_"
        ),
        _head("token_classification", "ForTokenClassification", "FOR_TOKEN_CLASSIFICATION_"),
        _head("question_answering", "ForQuestionAnswering", "FOR_QUESTION_ANSWERING_"),
        _head("masked_lm", "ForMaskedLM", "FOR_MASKED_LM_"),
        _head("pretraining", "ForPreTraining", "FOR_PRETRAINING_"),
        _head("base", "", ""),
    )
}
