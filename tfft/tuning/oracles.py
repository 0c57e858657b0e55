"""Keras Tuner's oracles, which write down what they are asked and told, and begin again from that.

    oracle = open_oracle("random", dimensions, objective=..., seed=42, most_trials=8, record=record)
    trial = oracle.create_trial("tuner0")
    ...
    oracle.results          # every trial so far, as `results.Trial`

What they would write themselves (oracle.json in place, a folder for each trial) they don't.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from threadpoolctl import threadpool_limits

from tfft.backend import keras_tuner
from tfft.errors import ConfigError
from tfft.folders import shown
from tfft.progress import RUNNING
from tfft.results import Trial
from tfft.tasks import LOWER_IS_BETTER
from tfft.tuning.record import Record
from tfft.tuning.spaces import Dimension
from tfft.tuning.telling import told_apart

# Keras Tuner numbers trials with as many digits as their limit has: ours may be raised later.
_NUMBERS = 999_999
# It takes a seed of 0 for none.
_SEED_OF_NOUGHT = 2**31
_STATUS = {"COMPLETED": "completed", "RUNNING": RUNNING}

Listener = Callable[[Trial, Sequence[Trial]], None]


class _Recorded:
    """In front of an oracle: its calls one at a time, and their outcome in a record.

    Attributes:
        listener: told of each trial that begins or ends.
        is_late: whether no further trial shall begin.
        failure: what kept the record from being written, in whatever thread.
    """

    def set_up(
        self: Any, dimensions: Sequence[Dimension], record: Record, most_trials: int | None
    ) -> None:
        self._dimensions = {each.name: each for each in dimensions}
        self._record, self._most_trials = record, most_trials
        self._told: dict[str, dict[str, float]] = {}
        self._one_at_a_time = threading.RLock()
        self._replays = False
        self.listener: Listener = lambda trial, trials: None
        self.is_late: Callable[[], bool] = lambda: False
        self.failure: Exception | None = None

    def save(self) -> None:
        """Nothing: the record is all there is."""

    def _save_trial(self, trial: Any) -> None:
        """Nothing."""

    def create_trial(self: Any, tuner_id: str) -> Any:
        with self._one_at_a_time:
            if tuner_id in self.ongoing_trials:
                return self.ongoing_trials[tuner_id]
            is_full = self._most_trials is not None and len(self.trials) >= self._most_trials
            if (is_full or self._is_over()) and not self._retry_queue:
                trial = keras_tuner.engine.trial.Trial(self.get_space(), "", status="STOPPED")
                self.tuner_ids.discard(tuner_id)
            else:
                with threadpool_limits(1):  # a Gaussian process of ten points is slower in more
                    trial = super().create_trial(tuner_id)  # type: ignore[misc]
            if trial.status == "STOPPED" and self.ongoing_trials:
                trial.status = "IDLE"  # somebody has to be left, should one be given back
            if trial.status == "RUNNING":
                values = dict(trial.hyperparameters.values)
                self._note({"begin": tuner_id, "trial": trial.trial_id, "values": values})
                self._show(trial.trial_id)
            return trial

    def update_trial(self: Any, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Any:
        """Hands on the objective; the other figures are kept here."""
        self._told[trial_id] = {name: float(value) for name, value in metrics.items()}
        own = {self.objective.name: metrics[self.objective.name]}
        return super().update_trial(trial_id, own, step=step)  # type: ignore[misc]

    def end_trial(self: Any, trial: Any) -> None:
        with self._one_at_a_time:
            known = self.trials[trial.trial_id]
            if trial.trial_id not in {each.trial_id for each in self.ongoing_trials.values()}:
                return  # it was given to somebody else, who has ended it
            # What came through the protocol has 32 bits a number, and no room for texts.
            trial.hyperparameters = known.hyperparameters
            if trial.status != "COMPLETED":
                trial.message = trial.message or "on a worker, which has said why"
            super().end_trial(trial)  # type: ignore[misc]
            self._note(
                {
                    "end": trial.trial_id,
                    "status": trial.status,
                    "message": trial.message,
                    "told": self._told.get(trial.trial_id, {}),
                }
            )
            self._show(trial.trial_id)

    def give_back(self: Any, trial_id: str) -> None:
        """The trial of a worker that is gone goes to the next one that asks."""
        with self._one_at_a_time:
            for tuner_id, trial in list(self.ongoing_trials.items()):
                if trial.trial_id == trial_id:
                    del self.ongoing_trials[tuner_id]
                    self.tuner_ids.discard(tuner_id)
                    self._retry_queue.append(trial_id)
                    self._note({"back": trial_id})

    def replay(self: Any) -> None:
        """Comes to where the record ends; trials that were under way then are given back.

        Raises:
            ConfigError: the record isn't of this oracle.
        """
        self._replays = True
        try:
            for event in self._record.events:
                self._do_again(event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"{shown(self._record.path)}: isn't what this search would have come to ({error}); "
                "choose another --output, or --overwrite to search anew"
            ) from None
        finally:
            self._replays = False
        for trial in list(self.ongoing_trials.values()):
            self.give_back(trial.trial_id)

    @property
    def results(self: Any) -> tuple[Trial, ...]:
        """Every trial so far, in the order of their beginnings."""
        return tuple(map(self._result, self.start_order))

    def values(self: Any, codes: Mapping[str, Any]) -> dict[str, Any]:
        """What an oracle's values stand for, by option."""
        return {name: dimension.value(codes[name]) for name, dimension in self._dimensions.items()}

    def _is_over(self: Any) -> bool:
        return bool(self.trials) and not self._replays and self.is_late()

    def _do_again(self: Any, event: Mapping[str, Any]) -> None:
        if "begin" in event:
            trial = self.create_trial(event["begin"])
            if dict(trial.hyperparameters.values) != event["values"]:
                raise ValueError(f"trial {int(event['trial']) + 1} has other values")
        elif "back" in event:
            self.give_back(event["back"])
        else:
            trial_id, status = event["end"], event["status"]
            if status == "COMPLETED":
                self.update_trial(trial_id, event["told"])
            ended = keras_tuner.engine.trial.Trial(
                self.trials[trial_id].hyperparameters, trial_id, status, event["message"]
            )
            self.end_trial(ended)

    def _note(self: Any, event: dict[str, Any]) -> None:
        if self._replays:
            return
        try:
            self._record.add(event)
        except Exception as error:  # in a chief, this is a thread that nobody listens to
            self.failure = error
            raise

    def _show(self: Any, trial_id: str) -> None:
        if not self._replays:
            self.listener(self._result(trial_id), self.results)

    def _result(self: Any, trial_id: str) -> Trial:
        trial = self.trials[trial_id]
        figures, about = told_apart(self._told.get(trial_id, {}))
        is_done = trial.status == "COMPLETED"
        waits = trial_id in self._retry_queue
        return Trial(
            trial=int(trial_id) + 1,
            values=self.values(trial.hyperparameters.values),
            status="unfinished" if waits else _STATUS.get(trial.status, "failed"),
            score=float(trial.score) if is_done else None,
            epochs=int(about["epochs"]),
            best_epoch=int(about["best_epoch"]) if is_done else None,
            seconds=round(about["seconds"], 3),
            metrics=figures if is_done else {},
            message=trial.message,
        )


def open_oracle(
    kind: str,
    dimensions: Sequence[Dimension],
    *,
    objective: str,
    seed: int,
    most_trials: int | None,
    most_epochs: int,
    record: Record,
) -> Any:
    """The oracle of that name, new.

    Args:
        most_epochs: of a trial of hyperband.
    """
    oracles = keras_tuner.oracles
    numbers: dict[str, Any] = {}
    if kind == "bayesian":
        # Its default of 3 a dimension may be all that a short search has.
        n_random = max(3 * len(dimensions), 3)
        numbers["num_initial_points"] = min(n_random, max((most_trials or n_random) // 2, 2))
    elif kind == "hyperband":
        numbers["max_epochs"] = most_epochs
    base = {
        "random": oracles.RandomSearchOracle,
        "bayesian": oracles.BayesianOptimizationOracle,
        "hyperband": oracles.HyperbandOracle,
        "grid": oracles.GridSearchOracle,
    }[kind]
    recorded: Any = type(f"Recorded{base.__name__}", (_Recorded, base), {})
    direction = "min" if objective in LOWER_IS_BETTER else "max"
    oracle = recorded(
        objective=keras_tuner.Objective(objective, direction),
        hyperparameters=_space(dimensions, gridded=kind == "grid"),
        seed=seed or _SEED_OF_NOUGHT,
        # Failures are counted by us, and reported: a rate that diverges is no crash.
        max_consecutive_failed_trials=_NUMBERS,
        **numbers,
    )
    oracle.max_trials = _NUMBERS
    oracle.verbose = 0
    oracle.set_up(dimensions, record, most_trials)
    return oracle


def _space(dimensions: Sequence[Dimension], *, gridded: bool) -> Any:
    space = keras_tuner.HyperParameters()
    for each in dimensions:
        if each.values:
            space.Choice(each.name, list(range(len(each.values))))
        elif gridded:
            space.Choice(each.name, list(each.gridded().values))
        else:
            sampling = "log" if each.log else "linear"
            if each.whole:
                space.Int(each.name, int(each.low), int(each.high), sampling=sampling)
            else:
                space.Float(each.name, each.low, each.high, sampling=sampling)
    return space
