"""The native loop's DataLoader, its batches thrown away."""

from __future__ import annotations

from benchmarks.cases.counting import tokens_of
from benchmarks.cases.fit_torch import set_threads, tokenize
from benchmarks.cases.rates import rate
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    import torch
    from torch.utils.data import DataLoader

    set_threads(job)
    torch.manual_seed(job["seed"])
    tokenized, collator, _ = tokenize(job)
    loader = DataLoader(
        tokenized["train"], shuffle=True, batch_size=job["batch_size"], collate_fn=collator
    )
    turn.tell(names=["pytorch-native"], tokens={"pytorch-native": tokens_of(loader)})
    while True:
        turn.tell(rate=rate(lambda _: loader, at_least_s=job["at_least_s"]))
