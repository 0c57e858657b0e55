"""TensorFlow's half of a comparison: the very step that `tfft fit` takes.

framework = TensorFlow(folder, job)
record(framework, job, folder, "tensorflow")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tfft import modeling
from tfft.backend import keras, tf
from tfft.certificate.jobs import CHECKPOINT, TRAIN, Job, read_batches
from tfft.certificate.recordings import Forward
from tfft.distribute import open_devices
from tfft.errors import ConfigError
from tfft.pretrained import open_checkpoint
from tfft.steps import make_train_step
from tfft.tasks import TASKS
from tfft.weights import to_pytorch


class TensorFlow:
    """A model built from the job's checkpoint, and what is done with it."""

    def __init__(self, folder: Path, job: Job) -> None:
        task = TASKS[job.task]
        checkpoint = open_checkpoint(str(job.inputs(folder) / CHECKPOINT), task)
        keras.utils.set_random_seed(job.train.seed)
        self._model = modeling.load_model(
            checkpoint, task, label_names=job.label_names, pad_token_id=job.pad_token_id
        ).model
        optimizer = None
        if job.keras_epsilon:
            train = job.train
            optimizer = keras.optimizers.Adam(
                train.learning_rate, train.beta_1, train.beta_2, epsilon=train.epsilon
            )
        batches = read_batches(job.inputs(folder) / TRAIN)
        occur = np.unique(np.concatenate([each["input_ids"].ravel() for each, _ in batches]))
        modeling.compile_model(
            self._model,
            task,
            job.train,
            optimizer=optimizer,
            n_steps=job.n_steps,
            token_ids=occur.astype(np.int32),
        )
        self._devices = open_devices("none", batch_size=job.train.batch_size)
        self._losses = modeling.example_losses(self._model, task)
        self._seed = job.train.seed
        self._step: Callable[..., Any] | None = None

    def forward(self, features: Mapping[str, np.ndarray], labels: np.ndarray) -> Forward:
        outputs = self._model(_tensors(features), training=False, output_hidden_states=True)
        return Forward(
            loss=float(self._mean_loss(outputs, labels)),
            logits=outputs.logits.numpy(),
            hidden=tuple(each.numpy() for each in outputs.hidden_states or ()),
        )

    def gradients(
        self, features: Mapping[str, np.ndarray], labels: np.ndarray
    ) -> dict[str, np.ndarray]:
        weights = self._model.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            loss = self._mean_loss(self._model(_tensors(features), training=True), labels)
        found = tape.gradient(loss, weights)
        by_weight = {
            weight.ref(): tf.convert_to_tensor(each).numpy()
            for weight, each in zip(weights, found, strict=True)
            if each is not None
        }
        return to_pytorch(
            self._model,
            lambda weight: by_weight.get(weight.ref(), np.zeros(weight.shape, np.float32)),
        )

    def _mean_loss(self, outputs: Any, labels: np.ndarray) -> Any:
        logits = tf.cast(outputs.logits, tf.float32)
        return tf.reduce_mean(self._losses(tf.constant(labels), logits))

    def train_step(self, features: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
        batch = _tensors(features), tf.constant(labels)
        if self._step is None:
            self._model.optimizer.build(self._model.trainable_variables)
            spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, batch)
            self._step = make_train_step(
                self._model, self._losses, spec, self._devices, seed=self._seed
            )
        return float(self._step(*batch)[0])

    def parameters(self) -> dict[str, np.ndarray]:
        return to_pytorch(self._model)

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("tensorflow", "tf-keras", "transformers")}


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """In here TensorFlow computes there, in whole float32.

    Raises:
        ConfigError: there is no GPU.
    """
    if device == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise ConfigError(
            "TensorFlow finds no GPU; tfft doctor says what is missing, --device cpu needs none"
        )
    rounds = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        with tf.device("/GPU:0" if device == "gpu" else "/CPU:0"):
            yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(rounds)


def _tensors(features: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: tf.constant(each) for name, each in features.items()}
