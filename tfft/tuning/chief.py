"""Trials for several workers, by Keras Tuner's protocol; what becomes of those of a dead one.

    hand_out(oracle, address="10.0.0.1:8000", config=config, asked=asked)

Keras Tuner's chief waits for ever for a worker that was killed. Here a worker asks for its trial
now and then (`GetTrial`, which the protocol has): one that has been silent for `LEASE_S`, or whose
process has ended, gives its trial back, and the next worker that asks has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tfft.config import RunConfig, TuneConfig
from tfft.errors import ConfigError, TrainingError
from tfft.tuning import crew

if TYPE_CHECKING:
    from tfft.tuning.crew import Crew

# A worker gives a sign of life every 2 s while it trains; Python may be busy for a while.
LEASE_S = 60.0
# How long a chief waits for a first worker, or for another one after the last.
PATIENCE_S = 1800.0
LOOK_S = 0.2


def hand_out(
    oracle: Any,
    *,
    address: str | None,
    config: RunConfig,
    asked: TuneConfig,
) -> None:
    """Serves until all trials are done.

    Args:
        address: `ip:port` that workers elsewhere know; None starts `asked.workers` of them here.

    Raises:
        ConfigError: nothing can listen at that address.
        TrainingError: no worker is left, or none came.
    """
    servicer = _servicer(oracle)
    with _listening(servicer, address or "127.0.0.1:0") as port:
        if address is not None:
            _watch(oracle, servicer, lambda: None)
            return
        with crew.started(asked.workers, port=port, config=config, asked=asked) as workers:
            _watch(oracle, servicer, lambda: _bury(workers, servicer))


def _servicer(oracle: Any) -> Any:
    """Keras Tuner's, which remembers when it last heard of each worker and trial."""
    from keras_tuner.src.distribute import oracle_chief

    class Servicer(oracle_chief.OracleServicer):
        def __init__(self) -> None:
            super().__init__(oracle)
            self.heard: dict[str, float] = {}  # by trial
            self.last = time.monotonic()

        def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's
            self.last = time.monotonic()
            response = super().CreateTrial(request, context)
            self.heard[response.trial.trial_id] = self.last
            return response

        def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
            self.last = self.heard[request.trial_id] = time.monotonic()
            return super().GetTrial(request, context)

        def lose(self, tuner_id: str) -> None:
            """That worker has ended, whatever it was doing."""
            trial = oracle.ongoing_trials.get(tuner_id)
            if trial is not None:
                oracle.give_back(trial.trial_id)
            oracle.tuner_ids.discard(tuner_id)

    return Servicer()


@contextmanager
def _listening(servicer: Any, address: str) -> Iterator[int]:
    """The port.

    Raises:
        ConfigError: it is taken, or isn't this machine's.
    """
    import grpc
    from keras_tuner.src import protos

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        raise ConfigError(
            f"nothing can listen at {address}; try another KERASTUNER_ORACLE_PORT, and an IP of "
            "this machine"
        )
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=1.0)


def _watch(oracle: Any, servicer: Any, look: Callable[[], None]) -> None:
    """Until the oracle has no more trials and every worker knows, or is gone."""
    stopped_at = None
    while True:
        time.sleep(LOOK_S)
        if oracle.failure is not None:
            raise oracle.failure
        now = time.monotonic()
        for tuner_id, trial in list(oracle.ongoing_trials.items()):
            if now - servicer.heard.setdefault(trial.trial_id, now) > LEASE_S:
                servicer.lose(tuner_id)
        if servicer.stop_triggered and not oracle.ongoing_trials:
            stopped_at = stopped_at or now
            if not oracle.tuner_ids or now - stopped_at > LEASE_S:
                return
        else:
            stopped_at = None
            look()
            if now - servicer.last > PATIENCE_S:
                raise TrainingError(
                    f"no worker has asked for a trial for {PATIENCE_S / 60:.0f} minutes; start "
                    "one, and this command again, which goes on"
                )


def _bury(workers: Crew, servicer: Any) -> None:
    """Takes the trials of processes that have ended.

    Raises:
        TfftError: all of them have; says what the last one said.
    """
    for tuner_id in workers.ended():
        servicer.lose(tuner_id)
    if not workers.alive():
        raise workers.last_words()
