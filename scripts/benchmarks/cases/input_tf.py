"""Batches made and thrown away: tfft's loaders, and the tutorial's `prepare_tf_dataset`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from datasets import load_dataset

from benchmarks.cases.counting import tokens_of
from benchmarks.cases.fit_keras import without_autotune
from benchmarks.cases.rates import rate
from benchmarks.worker import Job, Turn

LOADERS = ("bucketed", "numpy", "to_tf", "prepare")


def run(job: Job, turn: Turn) -> None:
    import tfft

    model = tfft.build_model(job["model"], num_labels=job["n_labels"], reset_head=True)
    epochs: dict[str, Callable[[int], Any]] = {}
    for loader in LOADERS:
        train, _ = tfft.load_data(
            job["data"],
            tokenizer=job["model"],
            model=model,
            loader=loader,
            batch_size=job["batch_size"],
            max_length=job["max_length"],
        )
        # As `tfft fit` takes it.
        epochs[f"tfft-{loader}"] = train.epoch
        if loader == "bucketed":
            # As `model.fit` takes it: each iteration is the next epoch.
            epochs["tfft-bucketed-dataset"] = partial(_same, train.dataset)
    tutorial = _tutorial(job, model)
    epochs["tutorial-prepare"] = partial(_same, tutorial)
    epochs["tutorial-prepare-no-autotune"] = partial(_same, without_autotune(tutorial))
    tokens = {name: tokens_of(epoch(0)) for name, epoch in epochs.items()}
    command = turn.tell(names=list(epochs), tokens=tokens)
    while True:
        command = turn.tell(rate=rate(epochs[command["go"]], at_least_s=job["at_least_s"]))


def _same(dataset: Any, _: int) -> Any:
    return dataset


def _tutorial(job: Job, model: Any) -> Any:
    from tfft.backend import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(job["model"])

    def tokenize(data: dict[str, Any]) -> Any:
        return tokenizer(data["text"], truncation=True, max_length=job["max_length"])

    rows = load_dataset("parquet", data_files=f"{job['data']}/train.parquet")["train"]
    rows = rows.map(tokenize).rename_column("label", "labels")
    return model.prepare_tf_dataset(
        rows, batch_size=job["batch_size"], shuffle=True, tokenizer=tokenizer
    )
