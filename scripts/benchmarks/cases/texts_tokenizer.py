"""The bundle's tokenizer alone: its part of the call."""

from __future__ import annotations

from typing import Any

from benchmarks.cases.calls import answer, read_texts
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    from tfft import served
    from tfft.backend import tf
    from tfft.config import RunConfig
    from tfft.export.tokenizer import open_tokenizer
    from tfft.progress import Progress

    saved = served.open_saved(job["model"], RunConfig.from_options({}), Progress())
    graph = open_tokenizer(saved.tokenizer, max_length=saved.max_length)
    tokens = tf.function(graph, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)

    def call(texts: list[str]) -> Any:
        return tf.nest.map_structure(lambda each: each.numpy(), tokens(tf.constant(texts)))

    answer(turn, read_texts(job), call, gives_scores=False)
