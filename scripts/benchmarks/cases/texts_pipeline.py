"""transformers' own pipeline, of PyTorch or of TensorFlow, as its documentation has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.cases.calls import answer, read_texts
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    from transformers import pipeline

    model = Path(job["model"])
    folder = str(model / "model" if (model / "model").is_dir() else model)
    loaded: Any = _tensorflow(job["model"]) if job["framework"] == "tf" else folder
    pipe = pipeline(
        "text-classification", loaded, tokenizer=folder, framework=job["framework"], device=-1
    )
    names = list(pipe.model.config.id2label.values())

    def call(texts: list[str]) -> Any:
        options = {"batch_size": len(texts), "truncation": True, "top_k": None}
        told = [{each["label"]: each["score"] for each in row} for row in pipe(texts, **options)]
        return [[row[name] for name in names] for row in told]

    answer(turn, read_texts(job), call)


def _tensorflow(model: str) -> Any:
    """By tfft: transformers' TF classes can't load what PyTorch saved."""
    from tfft import served
    from tfft.config import RunConfig
    from tfft.distribute import ONE_DEVICE
    from tfft.progress import Progress

    saved = served.open_saved(model, RunConfig.from_options({}), Progress())
    return served.build(saved, ONE_DEVICE, Progress()).model
