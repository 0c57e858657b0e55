"""A search from its first trial, or from where it was killed, to its winner.

    with folders.RunFolder.claim_again(output, overwrite=False, record=FILE) as folder:
        result = search(config, asked, folder, overwrite=False, progress=progress)

The validation split is scored once: by the winner, trained again on all of train.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tfft.config import RunConfig, TuneConfig
from tfft.errors import ConfigError, TfftError, TrainingError
from tfft.folders import RunFolder, shown
from tfft.progress import Progress, SearchView
from tfft.provenance import portable, resolve
from tfft.results import Confirmation, RangeResult, Trial, TuneResult
from tfft.tuning.confirming import confirm
from tfft.tuning.leaving import write_best, write_report, write_trials
from tfft.tuning.record import FILE, Record
from tfft.tuning.spaces import Dimension, check_spaces, config_with, parse_spaces
from tfft.tuning.trying import Workshop, open_workshop

DEFAULT_TRIALS = 10
# A search from the range test looks so far below and above its suggestion.
AROUND = 5.0
# A search goes on, and has the same result, where these are other than they were.
_FREE = ("max_trials", "max_minutes", "workers", "confirm")
BEST = "best"


def most_trials_of(asked: TuneConfig) -> int | None:
    has_its_own_end = asked.tuner in ("hyperband", "grid")
    return asked.max_trials or (None if has_its_own_end else DEFAULT_TRIALS)


def search(
    config: RunConfig,
    asked: TuneConfig,
    folder: RunFolder,
    *,
    overwrite: bool = False,
    progress: Progress,
    address: str | None = None,
) -> TuneResult:
    """Runs the trials that are left, trains the winner, and writes all that a search leaves.

    Args:
        overwrite: whether another search's folder may be emptied.
        address: `ip:port` to hand out trials at, to workers elsewhere; None has none there.

    Raises:
        TfftError: says what to try; what was searched so far stays.
    """
    started = time.perf_counter()
    dimensions, fixed = parse_spaces(asked)
    config = config_with(config, fixed)
    check_spaces(config, dimensions)
    record = _open_record(config, asked, folder, overwrite=overwrite)
    workshop = open_workshop(config, asked, progress)
    folder.need(3 * workshop.whole.checkpoint.n_bytes)
    _check_data(record, workshop)
    curve = _range_test(asked, dimensions, record, workshop, progress)
    result = TuneResult(
        task=workshop.whole.task.name,
        data=config.data.source,
        model=config.model.source,
        tuner=asked.tuner,
        objective=workshop.objective,
        held_out=0 if asked.tuner == "range" else workshop.n_held_out,
        trials=(),
        best=None,
        range=curve,
        output=folder.path,
    )
    if asked.tuner == "range":
        assert curve is not None  # noqa: S101
        suggested = config_with(config, {"learning_rate": curve.suggestion})
        resolved = resolve(
            suggested,
            workshop.whole.examples,
            workshop.loader,
            workshop.whole.max_length,
            workshop.objective,
        )
        write_best(folder.partial, resolved.to_toml())
    else:
        if curve is not None:
            dimensions = narrowed(dimensions, curve.suggestion)
        trials, best = _run_trials(
            asked, config, dimensions, record, workshop, folder, progress, address
        )
        result = replace(result, trials=trials, best=best)
        confirmation = _confirm(asked, trials, workshop, record, progress)
        winner = workshop.fit_winner(winning_config(config, best, workshop), folder.partial / BEST)
        result = replace(result, confirmation=confirmation, validation=winner.validation)
        write_best(folder.partial, (winner.output / "run.toml").read_text(encoding="utf-8"))
    result = replace(result, seconds=round(time.perf_counter() - started, 3))
    write_trials(folder.partial, result.trials)
    write_report(folder.partial, result)
    folder.finish()
    return result


def narrowed(dimensions: Sequence[Dimension], suggestion: float) -> tuple[Dimension, ...]:
    """The rate's range about what the range test suggests."""
    return tuple(
        each.narrowed(suggestion / AROUND, suggestion * AROUND)
        if each.name == "learning_rate"
        else each
        for each in dimensions
    )


def winning_config(config: RunConfig, best: Trial, workshop: Workshop) -> RunConfig:
    """The best trial's values, and as many epochs as were best; scored at the end alone.

    A schedule ends with the run, and a run of fewer epochs is another one: there all are trained.
    """
    won = config_with(config, best.values)
    train = replace(won.train, metric_for_best=workshop.objective)
    is_constant = train.schedule == "constant" and train.warmup == 0.0
    if train.steps is None and is_constant and best.best_epoch is not None:
        train = replace(train, epochs=best.best_epoch)
    won = replace(won, train=train)
    return replace(won, train=replace(train, evaluate_every=workshop.n_steps(won)))


def best_of(trials: Sequence[Trial], objective: str) -> Trial:
    """Raises:
    TrainingError: all of them failed.
    """
    best = SearchView(objective, None).best(trials)
    if best is None:
        why = next((each.message for each in reversed(trials) if each.message), "nothing was run")
        raise TrainingError(f"all {len(trials)} trials failed; the last: {why}")
    return best


def _open_record(
    config: RunConfig, asked: TuneConfig, folder: RunFolder, *, overwrite: bool
) -> Record:
    path = folder.partial / FILE
    try:
        return Record.open(path, _identity(config, asked))
    except ConfigError:
        if not overwrite:
            raise
        folder.clear()
        return Record.open(path, _identity(config, asked))


def _identity(config: RunConfig, asked: TuneConfig) -> dict[str, Any]:
    """All that the trials and their scores depend on."""
    options = config.as_options()
    for place in ("data.source", "model.source"):
        options[place] = portable(options[place])
    of_tune = {name: value for name, value in vars(asked).items() if name not in _FREE}
    return {**of_tune, **options}


def _check_data(record: Record, workshop: Workshop) -> None:
    """Raises:
    ConfigError: the data or the checkpoint isn't what it was when the search began.
    """
    examples, checkpoint = workshop.whole.examples, workshop.whole.checkpoint
    about = {"data": examples.fingerprint, "checkpoint": checkpoint.sha256}
    known = record.more.get("made_of")
    if known is None:
        record.keep("made_of", about)
    elif known != about:
        changed = next(name for name in about if known.get(name) != about[name])
        raise ConfigError(
            f"{shown(record.path.parent)} holds a search over another state of the {changed}; "
            "choose another --output, or --overwrite it"
        )


def _range_test(
    asked: TuneConfig,
    dimensions: Sequence[Dimension],
    record: Record,
    workshop: Workshop,
    progress: Progress,
) -> RangeResult | None:
    if asked.tuner != "range" and not asked.from_range:
        return None
    if (known := record.more.get("range")) is not None:
        return RangeResult.from_json(known)
    rate = next(each for each in dimensions if each.name == "learning_rate")
    curve = workshop.test_range(rate.low, rate.high)
    record.keep("range", curve.to_json())
    progress.note(f"range test: the loss falls steepest at a rate of {curve.suggestion:g}")
    return curve


def _run_trials(
    asked: TuneConfig,
    config: RunConfig,
    dimensions: Sequence[Dimension],
    record: Record,
    workshop: Workshop,
    folder: RunFolder,
    progress: Progress,
    address: str | None,
) -> tuple[tuple[Trial, ...], Trial]:
    """All trials, and the best one."""
    from tfft.tuning.oracles import open_oracle

    view = SearchView(workshop.objective, most_trials_of(asked))
    oracle = open_oracle(
        asked.tuner,
        dimensions,
        objective=workshop.objective,
        seed=config.train.seed,
        most_trials=view.n_trials,
        most_epochs=config.train.epochs,
        record=record,
    )
    oracle.replay()
    if n_known := sum(each.status != "unfinished" for each in oracle.results):
        progress.note(f"going on: {n_known} trials are done already")
    oracle.is_late = _clock(asked.max_minutes, oracle.results)

    def show(changed: Trial, so_far: Sequence[Trial]) -> None:
        write_trials(folder.partial, so_far)
        progress.trial(changed, so_far, view)

    oracle.listener = show
    write_trials(folder.partial, oracle.results)
    if address is not None or asked.workers > 1:
        from tfft.tuning.chief import hand_out

        hand_out(oracle, address=address, config=config, asked=asked)
    else:
        run_here(oracle, workshop, dimensions)
    trials = oracle.results
    return trials, best_of(trials, workshop.objective)


def run_here(
    oracle: Any,
    workshop: Workshop,
    dimensions: Sequence[Dimension],
    *,
    begun: Callable[[str], None] = lambda trial_id: None,
    failed: Callable[[str, TfftError], None] = lambda name, error: None,
) -> None:
    """Runs trials in this process until there are none left.

    Args:
        begun, failed: told of each trial that begins, or fails.
    """
    from tfft.tuning.tuner import Tuner

    def try_out(trial_id: str, codes: Mapping[str, Any]) -> Mapping[str, float]:
        begun(trial_id)
        values = {each.name: each.value(codes[each.name]) for each in dimensions}
        name = f"trial {int(trial_id) + 1}"
        try:
            return workshop.try_out(values, codes, name=name)
        except TfftError as error:
            failed(name, error)
            raise

    Tuner(oracle, try_out).search()


def _clock(max_minutes: float | None, done: Sequence[Trial]) -> Callable[[], bool]:
    """Whether the time is up, that of the trials which are done already included."""
    if max_minutes is None:
        return lambda: False
    until = time.monotonic() + 60.0 * max_minutes - sum(each.seconds for each in done)
    return lambda: time.monotonic() > until


def _confirm(
    asked: TuneConfig,
    trials: Sequence[Trial],
    workshop: Workshop,
    record: Record,
    progress: Progress,
) -> Confirmation | None:
    if not asked.confirm:
        return None
    return confirm(trials, asked.confirm, workshop, record, progress)
