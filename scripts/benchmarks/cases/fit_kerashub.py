"""KerasHub on Keras 3: a BERT of the same sizes with random weights, for its speed alone.

Its presets come from Kaggle, which a benchmark can't count on; so the tokens are made by the
parent's side and every text is padded to the longest one, as with the tutorial's arrays.
"""

from __future__ import annotations

import numpy as np

from benchmarks.cases.counting import body_size, tokens_of
from benchmarks.cases.keras_fit import first_step, fit_arrays
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    import keras
    import keras_hub

    keras.utils.set_random_seed(job["seed"])
    turn.start()
    train, validation = (_arrays(job["tokens"], name) for name in ("train", "validation"))
    sizes = job["sizes"]
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=sizes["vocab_size"],
        num_layers=sizes["num_hidden_layers"],
        num_heads=sizes["num_attention_heads"],
        hidden_dim=sizes["hidden_size"],
        intermediate_dim=sizes["intermediate_size"],
        max_sequence_length=sizes["max_position_embeddings"],
    )
    logits = keras.layers.Dense(job["n_labels"])(backbone.output["pooled_output"])
    model = keras.Model(backbone.input, logits)
    model.compile(
        optimizer=keras.optimizers.Adam(job["learning_rate"]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    with turn.not_counted():
        shapes = {each.path: each.shape for each in model.trainable_variables}
        about = {
            "body_size": body_size(shapes),
            "train_tokens": tokens_of([({"attention_mask": train[0]["padding_mask"]},)]),
            "validation_tokens": tokens_of([({"attention_mask": validation[0]["padding_mask"]},)]),
        }
    callbacks = [first_step(keras.callbacks.Callback, turn, **about)]
    while True:
        fit_arrays(model, train, validation, batch_size=job["batch_size"], callbacks=callbacks)
        callbacks = []
        turn.tell(metrics={})  # random weights learn nothing worth a figure


def _arrays(path: str, name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    with np.load(path) as arrays:
        features = {
            "token_ids": arrays[f"{name}_input_ids"],
            "padding_mask": arrays[f"{name}_attention_mask"],
            "segment_ids": np.zeros_like(arrays[f"{name}_input_ids"]),
        }
        return features, arrays[f"{name}_labels"]
