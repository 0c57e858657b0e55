"""The tutorial's native PyTorch loop: a DataLoader, AdamW, a linear schedule."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from datasets import load_dataset

from benchmarks.cases.counting import body_size, tokens_of
from benchmarks.cases.gpu import torch_peak
from benchmarks.cases.imports import import_torch_classes
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    import_torch_classes(job["model"])
    import torch
    from torch.optim import AdamW
    from torch.utils.data import DataLoader
    from transformers import AutoModelForSequenceClassification, get_scheduler

    from tfft.metrics import single_label

    set_threads(job)
    torch.manual_seed(job["seed"])
    turn.start()
    tokenized, collator, _ = tokenize(job)
    loaders = {
        name: DataLoader(
            tokenized[name],
            shuffle=name == "train",
            batch_size=job["batch_size"],
            collate_fn=collator,
        )
        for name in ("train", "validation")
    }
    model = AutoModelForSequenceClassification.from_pretrained(
        job["model"], num_labels=job["n_labels"]
    )
    optimizer = AdamW(model.parameters(), lr=job["learning_rate"])
    scheduler = get_scheduler(
        name="linear",
        optimizer=optimizer,
        num_warmup_steps=0,
        num_training_steps=job["epochs"] * len(loaders["train"]),
    )
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    model.to(device)

    with turn.not_counted():
        about = about_torch(model, loaders["train"], loaders["validation"])
    fit_started, stepped = turn.seconds, False
    for _ in range(job["epochs"]):
        waited, started = 0.0, time.perf_counter()
        model.train()
        asked = time.perf_counter()
        for batch in loaders["train"]:
            waited += time.perf_counter() - asked
            batch = {k: v.to(device) for k, v in batch.items()}
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            if not stepped:
                stepped = True
                loss.item()  # waits for the device
                turn.tell(fit_seconds=turn.seconds - fit_started, **about)
                waited, started = 0.0, time.perf_counter()
            asked = time.perf_counter()
        passed = time.perf_counter() - started
        model.eval()
        logits, labels = [], []
        for batch in loaders["validation"]:
            batch = {k: v.to(device) for k, v in batch.items()}
            with torch.no_grad():
                outputs = model(**batch)
            logits.append(outputs.logits.cpu().numpy())
            labels.append(batch["labels"].cpu().numpy())
        metrics = single_label(np.concatenate(logits), np.concatenate(labels))
        turn.tell(metrics=metrics, waits=waited / passed, **torch_peak())


def tokenize(job: Job) -> tuple[Any, Any, Any]:
    """The tokens of both splits, the collator and the tokenizer."""
    from transformers import AutoTokenizer, DataCollatorWithPadding

    files = {name: f"{job['data']}/{name}.parquet" for name in ("train", "validation")}
    dataset = load_dataset("parquet", data_files=files)
    tokenizer = AutoTokenizer.from_pretrained(job["model"])

    def tokenize_function(examples: dict[str, Any]) -> Any:
        return tokenizer(examples["text"], truncation=True, max_length=job["max_length"])

    tokenized = dataset.map(tokenize_function, batched=True)
    tokenized = tokenized.remove_columns(["text"]).rename_column("label", "labels")
    tokenized.set_format("torch")
    return tokenized, DataCollatorWithPadding(tokenizer=tokenizer), tokenizer


def set_threads(job: Job) -> None:
    import torch

    if job.get("threads"):
        torch.set_num_threads(job["threads"])


def about_torch(model: Any, train: Any, validation: Any) -> dict[str, Any]:
    shapes = {name: each.shape for name, each in model.named_parameters() if each.requires_grad}
    return {
        "body_size": body_size(shapes),
        "train_tokens": tokens_of(_on_cpu(train)),
        "validation_tokens": tokens_of(_on_cpu(validation)),
    }


def _on_cpu(batches: Any) -> Any:
    return ({"attention_mask": each["attention_mask"].cpu()} for each in batches)
