"""Keras Tuner's loop over trials, around a function that fits.

    Tuner(oracle, workshop.try_out).search()

What ends a trial and not the search (a loss that is no number, a batch that doesn't fit) is the
trial's failure; everything else is raised, where Keras Tuner would note it and go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tfft.backend import keras_tuner
from tfft.errors import TfftError

# How long a tuner waits before it asks again, where others have to end their trials first.
IDLE_S = 0.2

# (trial, an oracle's values) -> what the oracle is told; raises TfftError where the trial fails.
TryOut = Callable[[str, Mapping[str, Any]], Mapping[str, float]]


class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs the trials that the oracle, here or in a chief, hands out."""

    def __init__(self, oracle: Any, try_out: TryOut) -> None:
        self._try_out = try_out
        self._why: str | None = None
        self._waits = False
        super().__init__(oracle)

    @property
    def project_dir(self) -> str:
        """Nowhere: a tuner has nothing of its own to keep."""
        return "/nonexistent"

    def save(self) -> None:
        pass

    def pre_create_trial(self) -> None:
        if self._waits:
            time.sleep(IDLE_S)
        self._waits = True

    def on_trial_begin(self, trial: Any) -> None:
        self._waits, self._why = False, None

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return dict(self._try_out(trial.trial_id, trial.hyperparameters.values))
        except TfftError as error:
            self._why = str(error)
            raise keras_tuner.errors.FailedTrialError(self._why) from error
        except Exception as error:
            raise keras_tuner.errors.FatalError(str(error)) from error

    def on_trial_end(self, trial: Any) -> None:
        trial.message = self._why or trial.message
        super().on_trial_end(trial)

    def search(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().search(*args, **kwargs)
        except keras_tuner.errors.FatalError as error:
            if error.__cause__ is not None:
                raise error.__cause__ from None
            raise
