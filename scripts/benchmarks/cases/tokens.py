"""The tokens of both splits as arrays in a file, for an environment that has no transformers."""

from __future__ import annotations

import numpy as np
from datasets import load_dataset

from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    from tfft.backend import transformers

    turn.start()
    files = {name: f"{job['data']}/{name}.parquet" for name in ("train", "validation")}
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["model"])
    arrays: dict[str, np.ndarray] = {}
    for name, rows in load_dataset("parquet", data_files=files).items():
        tokenized = tokenizer(
            list(rows["text"]),
            return_tensors="np",
            padding=True,
            truncation=True,
            max_length=job["max_length"],
        )
        arrays |= {f"{name}_{feature}": array for feature, array in tokenized.items()}
        arrays[f"{name}_labels"] = np.asarray(rows["label"])
    np.savez(job["tokens"], **arrays)
    turn.tell(sizes=transformers.AutoConfig.from_pretrained(job["model"]).to_dict())
