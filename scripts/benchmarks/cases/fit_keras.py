"""The tutorial's own Keras code, with NumPy arrays or `prepare_tf_dataset`; nothing of tfft's.

As it writes it, but for the batch size, `truncation` (its texts must fit the model) and validation
data. With `autotune` false the same, with tf.data's autotune switched off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import load_dataset

from benchmarks.cases.counting import body_size, tokens_of
from benchmarks.cases.gpu import tensorflow_peak
from benchmarks.cases.imports import as_tensorflow_is_by_default, import_tf_classes
from benchmarks.cases.keras_fit import first_step, fit_arrays
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    as_tensorflow_is_by_default()
    import_tf_classes(job["model"])
    from tfft.backend import keras, transformers
    from tfft.metrics import single_label

    keras.utils.set_random_seed(job["seed"])
    turn.start()
    files = {name: f"{job['data']}/{name}.parquet" for name in ("train", "validation")}
    dataset = load_dataset("parquet", data_files=files)
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["model"])
    model = transformers.TFAutoModelForSequenceClassification.from_pretrained(
        job["model"], num_labels=job["n_labels"]
    )
    make = {"numpy": _with_numpy, "prepare": _with_prepare}[job["loader"]]
    train, validation, count = make(job, dataset, tokenizer, model)
    model.compile(optimizer=keras.optimizers.Adam(job["learning_rate"]))  # No loss argument!

    with turn.not_counted():
        about = {
            "body_size": body_size({each.name: each.shape for each in model.trainable_variables}),
            "train_tokens": count(train),
            "validation_tokens": count(validation),
        }
        labels = np.asarray(dataset["validation"]["label"])
        features = validation[0] if isinstance(validation, tuple) else validation

    callbacks = [first_step(keras.callbacks.Callback, turn, **about)]
    while True:
        # One call an epoch, as a user does: pausing within one would leave an iterator of tf.data
        # waiting for its autotune thread, which is the very thing that is measured.
        if isinstance(train, tuple):
            fit_arrays(model, train, validation, batch_size=job["batch_size"], callbacks=callbacks)
        else:
            model.fit(train, validation_data=validation, verbose=0, callbacks=callbacks)
        callbacks = []
        with turn.not_counted():
            logits = model.predict(features, verbose=0).logits
            metrics = single_label(logits, labels)
        turn.tell(metrics=metrics, **tensorflow_peak())


def _with_numpy(job: Job, dataset: Any, tokenizer: Any, model: Any) -> tuple[Any, Any, Any]:
    def arrays(name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
        tokenized = tokenizer(
            list(dataset[name]["text"]),
            return_tensors="np",
            padding=True,
            truncation=True,
            max_length=job["max_length"],
        )
        return dict(tokenized), np.array(dataset[name]["label"])

    train, validation = arrays("train"), arrays("validation")
    if job["autotune"]:
        return train, validation, lambda part: tokens_of([part])
    from tfft.backend import tf

    def batches(part: Any, *, shuffle: bool) -> Any:
        rows = tf.data.Dataset.from_tensor_slices(part)
        rows = rows.shuffle(len(part[1])) if shuffle else rows
        return without_autotune(rows.batch(job["batch_size"]))

    return batches(train, shuffle=True), batches(validation, shuffle=False), tokens_of


def _with_prepare(job: Job, dataset: Any, tokenizer: Any, model: Any) -> tuple[Any, Any, Any]:
    def tokenize(data: dict[str, Any]) -> Any:
        return tokenizer(data["text"], truncation=True, max_length=job["max_length"])

    tokenized = dataset.map(tokenize).rename_column("label", "labels")

    def batches(name: str, *, shuffle: bool) -> Any:
        made = model.prepare_tf_dataset(
            tokenized[name], batch_size=job["batch_size"], shuffle=shuffle, tokenizer=tokenizer
        )
        return made if job["autotune"] else without_autotune(made)

    return batches("train", shuffle=True), batches("validation", shuffle=False), tokens_of


def without_autotune(dataset: Any) -> Any:
    from tfft.backend import tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
