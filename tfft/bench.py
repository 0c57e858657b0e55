"""A model in TensorFlow that is fit again and again, each time from the same start.

    bench = Bench(again=True, tokens=encoded["train"].tokens)
    bench.set_up(work)                  # reads the checkpoint
    trained = bench.fit(work, splits)   # traces the step
    bench.set_up(another)               # neither, where rate, decay, epochs or batch size differ
    trained = bench.fit(another, splits)

A fit begins with the weights, the optimizer and the random states that it would have in a process
of its own, so that the result is the same, number for number; 15 s of loading and tracing are
spent once. What is part of the traced step (the optimizer's kind, say) has it traced anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfft import depths, modeling, optimizers, precision, training, weights
from tfft.backend import keras
from tfft.config import TrainConfig
from tfft.data.split import Split
from tfft.distribute import Devices, open_devices
from tfft.embeddings import token_ids
from tfft.errors import ConfigError, listed
from tfft.job import Work
from tfft.loop import Engine, Trained
from tfft.modeling import ExampleLosses, LoadedModel
from tfft.naming import by_pytorch_name
from tfft.steps import draws_by_kernels

if TYPE_CHECKING:
    from tfft.data.tokens import Tokens

# What the loop alone goes by, and the numbers that are variables of the traced step.
_UNTRACED = (
    *("epochs", "steps", "evaluate_every", "patience", "metric_for_best"),
    *("batch_size", "batch_tokens", "learning_rate", "warmup", "weight_decay"),
)
# What another model is needed for.
_OF_THE_MODEL = ("freeze", "precision", "seed", "strategy")


class Bench:
    """The model and its graphs, of the last work.

    Args:
        again: keep what it takes to begin again.
        tokens: that all the works learn from; None takes those of the first one's train.

    Attributes:
        loaded, devices, losses: of the work that it is set up for.
    """

    loaded: LoadedModel
    devices: Devices
    losses: ExampleLosses

    def __init__(self, *, again: bool = False, tokens: Tokens | None = None) -> None:
        self._again, self._tokens = again, tokens
        self._model_key: Any = None
        self._step_key: Any = None
        self._engine: training.KerasEngine | None = None
        self._take_back: Callable[[], None] = lambda: None
        self._draws_by_kernels = False

    def set_up(self, work: Work, *, loss: Any = None) -> None:
        """Has the model ready for a fit of that work, as a new one would be.

        Args:
            loss: a Keras loss of the user's own.

        Raises:
            TfftError: the checkpoint, the devices or an option doesn't go with another.
        """
        config = work.config.train
        model_key = [getattr(config, name) for name in _OF_THE_MODEL]
        self.devices = _open_devices(work)
        step_key = (_traced(config), self.devices.n_cores)
        if model_key != self._model_key:
            self._forget()
            self._load(work)
            self._compile(work, loss)
            self._model_key, self._step_key = model_key, step_key
            return
        self._take_back()
        if step_key != self._step_key or config.xla:  # XLA's programs are of one split's shapes
            self._engine = None
            keras.utils.set_random_seed(config.seed)
            self._compile(work, loss)
            self._step_key = step_key
        elif self._draws_by_kernels:
            keras.utils.set_random_seed(config.seed)
        modeling.set_numbers(self.loaded.model, config, work.n_steps)

    def fit(
        self,
        work: Work,
        splits: Mapping[str, Split],
        *,
        after_epoch: Callable[[Any, bool], None] = lambda record, is_best: None,
        around: Callable[[training.KerasEngine], Engine] = lambda engine: engine,
    ) -> Trained:
        """Trains, as `training.fit` does it.

        Args:
            around: what stands between the loop and the engine.
        """
        config, model = work.config.train, self.loaded.model
        training_losses = _training_losses(work, self.losses)
        if self._engine is None:
            self._engine = training.make_engine(
                model,
                splits["train"],
                splits["validation"],
                losses=self.losses,
                training_losses=training_losses,
                config=config,
                devices=self.devices,
            )
            if self._again:
                self._take_back = _start_of(model)
                self._draws_by_kernels = draws_by_kernels(self._engine.train)
        self._engine.use(config)
        return training.fit(
            model,
            splits["train"],
            splits["validation"],
            losses=self.losses,
            training_losses=training_losses,
            metrics=work.metrics,
            metric_for_best=work.prepared.metric,
            config=config,
            devices=self.devices,
            progress=work.progress,
            after_epoch=after_epoch,
            engine=around(self._engine),
        )

    def _forget(self) -> None:
        """Lets go of a model before another one comes."""
        self._engine, self._take_back = None, lambda: None
        self.__dict__.pop("loaded", None)
        self.__dict__.pop("losses", None)

    def _load(self, work: Work) -> None:
        config, prepared = work.config, work.prepared
        with self.devices.scope(), precision.policy(config.train.precision):
            keras.utils.set_random_seed(config.train.seed)
            self.loaded = modeling.load_model(
                prepared.checkpoint,
                prepared.task,
                label_names=prepared.examples.label_names,
                reset_head=config.model.reset_head,
                pad_token_id=prepared.tokenizer.pad_token_id,
            )
        work.note_head(self.loaded.fresh)

    def _compile(self, work: Work, loss: Any) -> None:
        config, task, model = work.config.train, work.prepared.task, self.loaded.model
        with self.devices.scope(), precision.policy(config.precision):
            modeling.compile_model(
                model,
                task,
                config,
                loss=loss,
                n_steps=work.n_steps,
                token_ids=_token_ids(work, self.devices, self._tokens),
            )
        precision.check_model(model, config.precision)
        if config.freeze is not None:
            n_learning, n_frozen = depths.n_parameters(model)
            work.progress.note(f"freeze: {n_frozen:,} parameters are frozen, {n_learning:,} learn")
        weights.check_names(set(by_pytorch_name(model)), self.loaded)
        self.losses = modeling.example_losses(model, task, config.loss if loss is None else loss)


def _traced(config: TrainConfig) -> TrainConfig:
    """What of a config a traced step depends on."""
    has_schedule = config.schedule != "constant" or config.warmup > 0.0
    defaults = {name: getattr(TrainConfig, name) for name in _UNTRACED}
    return replace(config, **(defaults | {"warmup": float(has_schedule)}))


def _start_of(model: Any) -> Callable[[], None]:
    """Remembers a model that is traced and hasn't learned yet; what is returned takes it back."""
    variables = model.weights
    values = [each.numpy() for each in variables]
    states = [(each, each.numpy()) for each in _random_states(model)]
    optimizer = optimizers.begin_again(model)

    def take_back() -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        for variable, value in states:
            variable.assign(value)
        optimizer()

    return take_back


def _random_states(model: Any) -> list[Any]:
    """The variables that dropout draws from."""
    generators = (
        getattr(getattr(layer, "_random_generator", None), "_generator", None)
        for layer in model._flatten_layers()
    )
    return [each.state for each in generators if each is not None]


def _open_devices(work: Work) -> Devices:
    config = work.config.train
    devices = open_devices(
        config.strategy,
        batch_size=config.batch_size,
        accumulate=config.accumulate,
        shares_cores=not config.xla,
    )
    if config.xla and (devices.n_replicas > 1 or work.loader in ("prepare", "to_tf")):
        raise ConfigError(
            "xla is for one device and a loader of few lengths; try --strategy none, and --loader "
            "bucketed without a collate_fn"
        )
    if devices.n_replicas > 1:
        work.progress.note(f"devices: a replica on each of {listed(devices.names)}")
    if note := precision.check_devices(config.precision, devices.names):
        work.progress.note(note)
    return devices


def _token_ids(work: Work, devices: Devices, tokens: Tokens | None) -> np.ndarray | None:
    """The tokens that there are to learn from, where that is known and one device learns."""
    prepared = work.prepared
    if prepared.examples.stream is not None or devices.n_replicas > 1:
        return None
    size = prepared.checkpoint.config.vocab_size
    tokens = work.encoded["train"].tokens if tokens is None else tokens
    return token_ids(tokens, prepared.tokenizer, vocab_size=size)


def _training_losses(work: Work, losses: ExampleLosses) -> ExampleLosses:
    """What a row costs in training."""
    smoothing, task = work.config.train.label_smoothing, work.prepared.task
    training_losses = modeling.smoothed_losses(task, smoothing) if smoothing else losses
    if work.prepared.class_weights is None:
        return training_losses
    return modeling.weighted_losses(training_losses, task, work.prepared.class_weights)
