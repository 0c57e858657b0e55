"""One loader on one file: tokens, every batch of an epoch read, then steps; memory after each."""

from __future__ import annotations

from benchmarks.machine import status
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    import tfft

    turn.start()
    built = tfft.build_model(job["model"])
    turn.tell(anonymous=status("RssAnon"))
    train, _ = tfft.load_data(
        job["data"],
        tokenizer=job["model"],
        model=built,
        loader=job["loader"],
        max_length=job["max_length"],
    )
    turn.tell(anonymous=status("RssAnon"))
    n_read = 0
    for batch in train.epoch(0):
        n_read += int(batch[1].shape[0])
    assert n_read == train.n_examples
    turn.tell(anonymous=status("RssAnon"), n_read=n_read)
    built.fit(train.dataset.take(job["n_steps"]), verbose=0)
    turn.tell(anonymous=status("RssAnon"))
