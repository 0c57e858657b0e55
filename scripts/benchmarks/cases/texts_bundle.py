"""A bundle's newest version, loaded with TensorFlow alone, as its README has it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cases.calls import answer, read_texts
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    import tensorflow as tf

    newest = max((each for each in Path(job["bundle"]).iterdir() if each.name.isdigit()), key=_int)
    loaded = tf.saved_model.load(str(newest))
    serve = loaded.signatures["serving_default"]
    answer(turn, read_texts(job), lambda texts: serve(text=tf.constant(texts))["scores"].numpy())


def _int(path: Path) -> int:
    return int(path.name)
