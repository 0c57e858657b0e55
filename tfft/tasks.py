"""What each kind of head learns: one `Task` record a head.

    task = TASKS["single_label"]
    task.auto_class              # "TFAutoModelForSequenceClassification"
    task.default_metric("cola")  # "matthews_correlation"

Names only, so that the command line can read it without TensorFlow: `metrics.py` computes what
is named here, `modeling.py` builds it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One head.

    Attributes:
        auto_class: the `TFAutoModel...` class that builds it.
        architectures: the table in transformers that lists the architectures with such a head.
        metrics: every metric it can report; a set of two labels has `f1`, a larger one `f1_macro`.
    """

    name: str
    auto_class: str
    architectures: str
    metrics: tuple[str, ...]

    @property
    def head(self) -> str:
        """What a checkpoint's `architectures` end in where it has this head, in any framework."""
        return self.auto_class.removeprefix("TFAutoModel")

    def default_metric(self, glue_task: str | None) -> str:
        """The metric that chooses the best epoch: GLUE's first one where the data is GLUE's."""
        return GLUE_METRICS.get(glue_task or "", "accuracy")


# The first metric of each GLUE task in https://gluebenchmark.com/tasks that isn't accuracy's.
GLUE_METRICS = {"cola": "matthews_correlation"}

TASKS = {
    task.name: task
    for task in (
        Task(
            name="single_label",
            auto_class="TFAutoModelForSequenceClassification",
            architectures="TF_MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
            metrics=("accuracy", "f1", "f1_macro", "matthews_correlation"),
        ),
    )
}

METRIC_NAMES = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.metrics))
# Where less is better; of every other metric, more is.
LOWER_IS_BETTER = frozenset({"loss"})
