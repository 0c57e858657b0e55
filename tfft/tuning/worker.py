"""A worker: it asks the chief for trials, runs them, and shows that it lives.

work_for("127.0.0.1:40123", config, asked, progress)        # within `tfft tune`
python -m tfft.tuning.worker search.json 0 2                # one of --workers, on those cores
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tfft.config import RunConfig, TuneConfig
from tfft.errors import TfftError, TrainingError
from tfft.progress import Progress
from tfft.results import TuneResult
from tfft.tuning.crew import from_document
from tfft.tuning.record import Record
from tfft.tuning.spaces import config_with, parse_spaces

# How long a chief may take to be there, or to answer.
REACH_S = 120.0
# A sign of life while a trial runs, and how many may go unanswered.
BEAT_S, MOST_MISSED = 2.0, 10


def work_for(address: str, config: RunConfig, asked: TuneConfig, progress: Progress) -> TuneResult:
    """Runs trials until the chief has none left.

    Raises:
        TrainingError: the chief can't be reached, or went away.
    """
    from tfft.tuning.search import most_trials_of, run_here
    from tfft.tuning.trying import open_workshop

    dimensions, fixed = parse_spaces(asked)
    config = config_with(config, fixed)
    _reach(address)
    workshop = open_workshop(config, asked, progress)
    from tfft.tuning.oracles import open_oracle

    oracle = open_oracle(
        asked.tuner,
        dimensions,
        objective=workshop.objective,
        seed=config.train.seed,
        most_trials=most_trials_of(asked),
        most_epochs=config.train.epochs,
        record=Record(Path("nowhere"), {}),
    )

    def failed(name: str, error: TfftError) -> None:
        progress.waiting(f"{name} failed: {error}")

    with _alive(address) as beat:
        run_here(oracle, workshop, dimensions, begun=beat.of, failed=failed)
    return TuneResult(
        task=workshop.whole.task.name,
        data=config.data.source,
        model=config.model.source,
        tuner=asked.tuner,
        objective=workshop.objective,
        held_out=workshop.n_held_out,
        trials=(),
        best=None,
    )


def _reach(address: str) -> None:
    import grpc

    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=REACH_S)
        except grpc.FutureTimeoutError:
            raise _unreachable(address) from None


def _unreachable(address: str) -> TrainingError:
    return TrainingError(
        f"the chief at {address} can't be reached; start it with KERASTUNER_TUNER_ID=chief and the "
        "same KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT"
    )


class _Beat:
    """Asks the chief for the trial under way, now and then.

    Attributes:
        lost: whether the chief has been silent for too long.
    """

    def __init__(self, address: str) -> None:
        import grpc
        from keras_tuner.src import protos

        self._channel = grpc.insecure_channel(address)
        self._stub = protos.get_service_grpc().OracleStub(self._channel)
        self._request = protos.get_service().GetTrialRequest
        self._errors = grpc.RpcError
        self._over, self._trial = threading.Event(), ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.lost = False
        self._thread.start()

    def of(self, trial_id: str) -> None:
        """That trial is under way."""
        self._trial = trial_id

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._channel.close()

    def _run(self) -> None:
        missed = 0
        while not self._over.wait(BEAT_S):
            if not self._trial:
                continue
            try:
                self._stub.GetTrial(self._request(trial_id=self._trial), timeout=BEAT_S)
                missed = 0
            except self._errors:
                missed += 1
            if missed > MOST_MISSED:
                self.lost = True
                os.kill(os.getpid(), signal.SIGINT)  # out of a trial that nobody waits for
                return


@contextmanager
def _alive(address: str) -> Iterator[_Beat]:
    """Raises:
    TrainingError: the chief went away.
    """
    import grpc
    from keras_tuner.src.distribute import oracle_client

    oracle_client.TIMEOUT = REACH_S
    beat = _Beat(address)
    try:
        yield beat
    except (KeyboardInterrupt, grpc.RpcError) as error:
        if isinstance(error, KeyboardInterrupt) and not beat.lost:
            raise
        raise _unreachable(address) from None
    finally:
        with suppress(KeyboardInterrupt):
            beat.stop()


def main(arguments: list[str]) -> int:
    """One of `--workers`: what it has to say goes to standard error, its last line to the chief."""
    path, *cores = arguments
    if cores:
        os.sched_setaffinity(0, map(int, cores))
    signal.signal(signal.SIGTERM, _end)
    document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    config, asked = from_document(document)
    address = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
    try:
        work_for(address, config, asked, Progress())
    except TfftError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
