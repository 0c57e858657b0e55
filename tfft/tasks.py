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
        problem_type: transformers' word for it, in a checkpoint's config.
        metrics: every metric it can report; of single labels, a set of two classes has `f1`, a
            larger one `f1_macro`.
        first_metric: the one that chooses the best epoch where GLUE has no other.
        losses: the losses of Keras that compare its labels with its logits.
    """

    name: str
    auto_class: str
    architectures: str
    problem_type: str
    metrics: tuple[str, ...]
    first_metric: str
    losses: tuple[str, ...]

    @property
    def pytorch_class(self) -> str:
        """The `AutoModel...` class that builds it in PyTorch."""
        return self.auto_class.removeprefix("TF")

    @property
    def head(self) -> str:
        """What a checkpoint's `architectures` end in where it has this head, in any framework."""
        return self.auto_class.removeprefix("TFAutoModel")

    def default_metric(self, glue_task: str | None) -> str:
        """The metric that chooses the best epoch: GLUE's first one where the data is GLUE's."""
        return GLUE_METRICS.get(glue_task or "", self.first_metric)


# The first metric of each GLUE task in https://gluebenchmark.com/tasks that isn't its task's own.
GLUE_METRICS = {"cola": "matthews_correlation"}

_SEQUENCE = {
    "auto_class": "TFAutoModelForSequenceClassification",
    "architectures": "TF_MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
}

TASKS = {
    task.name: task
    for task in (
        Task(
            name="single_label",
            problem_type="single_label_classification",
            metrics=("accuracy", "f1", "f1_macro", "matthews_correlation"),
            first_metric="accuracy",
            losses=(
                "sparse_categorical_crossentropy",
                "categorical_crossentropy",
                "categorical_focal_crossentropy",
                "binary_crossentropy",
                "binary_focal_crossentropy",
                "categorical_hinge",
                "hinge",
                "squared_hinge",
                "kl_divergence",
                "mean_squared_error",
            ),
            **_SEQUENCE,
        ),
        Task(
            name="multi_label",
            problem_type="multi_label_classification",
            metrics=("f1", "f1_macro", "accuracy"),
            first_metric="f1",
            losses=("binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge"),
            **_SEQUENCE,
        ),
        Task(
            name="regression",
            problem_type="regression",
            metrics=("pearson", "spearman"),
            first_metric="pearson",
            losses=("mean_squared_error", "mean_absolute_error", "huber", "log_cosh"),
            **_SEQUENCE,
        ),
    )
}

METRIC_NAMES = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.metrics))
# Losses of Keras, by Keras' own names.
LOSSES = tuple(dict.fromkeys(name for task in TASKS.values() for name in task.losses))
# Where less is better; of every other metric, more is.
LOWER_IS_BETTER = frozenset({"loss"})
