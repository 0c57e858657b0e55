"""What Keras 2 and Keras 3 have in common: one call of `model.fit`, stopped at its first step.

callbacks = [first_step(keras.callbacks.Callback, turn, **about)]
fit_arrays(model, train, validation, batch_size=16, callbacks=callbacks)
"""

from __future__ import annotations

from typing import Any

from benchmarks.worker import Turn


def first_step(callback: Any, turn: Turn, **about: Any) -> Any:
    """A Keras callback that tells how long it took from here to the end of the first step."""
    started = turn.seconds

    class FirstStep(callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 0:
                turn.tell(fit_seconds=turn.seconds - started, **about)

    return FirstStep()


def fit_arrays(
    model: Any, train: Any, validation: Any, *, batch_size: int, callbacks: list[Any]
) -> None:
    """One epoch over (features, labels)."""
    model.fit(
        *train,
        batch_size=batch_size,
        validation_data=validation,
        validation_batch_size=batch_size,
        verbose=0,
        callbacks=callbacks,
    )
