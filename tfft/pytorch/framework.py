"""PyTorch's half of a comparison; the twin of `tfft/certificate/tensorflow.py`.

framework = PyTorch(folder, job)
record(framework, job, folder, "pytorch")
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tfft.certificate.jobs import CHECKPOINT, Job
from tfft.certificate.recordings import Forward
from tfft.errors import ConfigError
from tfft.pretrained import open_checkpoint
from tfft.pytorch.backend import torch
from tfft.pytorch.modeling import example_losses, load_model
from tfft.pytorch.optimizers import make_optimizer
from tfft.tasks import TASKS


class PyTorch:
    """A model built from the job's checkpoint, and what is done with it."""

    def __init__(self, folder: Path, job: Job) -> None:
        task = TASKS[job.task]
        checkpoint = open_checkpoint(str(job.inputs(folder) / CHECKPOINT), task)
        self._device = _device(job.device)
        model = load_model(
            checkpoint, task, label_names=job.label_names, pad_token_id=job.pad_token_id
        ).model
        self._model = model.to(self._device)
        self._job, self._losses, self._n_steps = job, example_losses(task), 0
        self._optimizer, self._schedule = make_optimizer(self._model, job.train, job.n_steps)
        # Of dropout: nothing else is left to chance.
        torch.manual_seed(job.train.seed)

    def forward(self, features: Mapping[str, np.ndarray], labels: np.ndarray) -> Forward:
        self._model.eval()
        with torch.no_grad():
            outputs = self._model(**self._moved(features), output_hidden_states=True)
            loss = self._mean_loss(outputs, labels)
        return Forward(
            loss=float(loss),
            logits=outputs.logits.cpu().numpy(),
            hidden=tuple(each.cpu().numpy() for each in outputs.hidden_states or ()),
        )

    def gradients(
        self, features: Mapping[str, np.ndarray], labels: np.ndarray
    ) -> dict[str, np.ndarray]:
        self._model.train()
        return self._gradients(self._model, features, labels)

    def exact_gradients(
        self, features: Mapping[str, np.ndarray], labels: np.ndarray
    ) -> dict[str, np.ndarray]:
        """As float64 has them, without dropout; the model is of float64 from then on."""
        return self._gradients(self._model.double().eval(), features, labels)

    def _gradients(
        self, model: Any, features: Mapping[str, np.ndarray], labels: np.ndarray
    ) -> dict[str, np.ndarray]:
        model.zero_grad()
        self._mean_loss(model(**self._moved(features)), labels).backward()
        found = {
            name: (torch.zeros_like(each) if each.grad is None else each.grad).cpu().numpy().copy()
            for name, each in model.named_parameters()
        }
        model.zero_grad()
        return found

    def _mean_loss(self, outputs: Any, labels: np.ndarray) -> Any:
        return self._losses(torch.from_numpy(labels).to(self._device), outputs.logits).mean()

    def train_step(self, features: Mapping[str, np.ndarray], labels: np.ndarray) -> float:
        self._model.train()
        self._n_steps += 1
        train = self._job.train
        self._optimizer.zero_grad()
        loss = self._mean_loss(self._model(**self._moved(features)), labels)
        loss.backward()
        if train.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), train.clip_norm)
        if self._job.keras_epsilon:
            # Keras adds it to a second moment that isn't corrected yet.
            for group in self._optimizer.param_groups:
                group["eps"] = train.epsilon / (1.0 - train.beta_2**self._n_steps) ** 0.5
        self._optimizer.step()
        self._schedule.step()
        return float(loss)

    def parameters(self) -> dict[str, np.ndarray]:
        return {
            name: each.detach().cpu().numpy().copy()
            for name, each in self._model.named_parameters()
        }

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("torch", "transformers")}

    def _moved(self, features: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {
            name: torch.from_numpy(each).long().to(self._device) for name, each in features.items()
        }


def _device(name: str) -> Any:
    """The CPU or the first GPU; torch's own default keeps float32 products whole there.

    Raises:
        ConfigError: there is no GPU.
    """
    if name == "gpu" and not torch.cuda.is_available():
        raise ConfigError("PyTorch finds no GPU; --device cpu needs none")
    return torch.device("cuda" if name == "gpu" else "cpu")
