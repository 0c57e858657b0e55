"""Whether the best trial's lead is more than chance: `--confirm N`.

    confirmation = confirm(trials, 3, workshop, record, progress)
    confirmation.lead, confirmation.spread, confirmation.is_larger

The best two trials are trained again with N other seeds (another head, order and dropout, the same
rows). The lead is that of their means, the spread what a seed alone does to a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfft.errors import TfftError
from tfft.progress import Progress
from tfft.results import Confirmation, Trial
from tfft.tasks import LOWER_IS_BETTER
from tfft.tuning.record import Record

if TYPE_CHECKING:
    from tfft.tuning.trying import Workshop


def confirm(
    trials: Sequence[Trial], n_seeds: int, workshop: Workshop, record: Record, progress: Progress
) -> Confirmation | None:
    """Trains them; what a killed search has trained already isn't trained again.

    Returns:
        None where fewer than two trials have a score.

    Raises:
        TfftError: one of the fits failed.
    """
    lower = workshop.objective in LOWER_IS_BETTER
    scored = [each for each in trials if each.score is not None]
    ranked = sorted(scored, key=lambda each: (each.score or 0.0) * (1.0 if lower else -1.0))[:2]
    if len(ranked) < 2:
        progress.note("confirm: only one trial has a score; there is nothing to compare it with")
        return None
    first, second = ranked
    seeds = [(workshop.config.train.seed + 1 + number) % 2**32 for number in range(n_seeds)]
    known = dict(record.more.get("confirm", {}))
    for seed in seeds:  # a seed has the model loaded anew: both trials go through it
        for trial in ranked:
            place = f"{trial.trial}/{seed}"
            if place in known:
                continue
            name = f"confirming trial {trial.trial}, seed {seed}"
            try:
                known[place] = workshop.score(trial.values, seed=seed, name=name)
            except TfftError as error:
                raise type(error)(f"{name}: {error}") from error
            record.keep("confirm", known)
    scores = {each.trial: tuple(known[f"{each.trial}/{seed}"] for seed in seeds) for each in ranked}
    lead, spread = compare(scores[first.trial], scores[second.trial], lower_is_better=lower)
    return Confirmation(
        trials=(first.trial, second.trial),
        seeds=tuple(seeds),
        scores=scores,
        lead=lead,
        spread=spread,
        is_larger=lead > spread,
    )


def compare(
    first: Sequence[float], second: Sequence[float], *, lower_is_better: bool
) -> tuple[float, float]:
    """The lead of the first, and the spread of both: the root of their mean variance.

    Args:
        first, second: two scores or more, each.
    """
    lead = float(np.mean(first) - np.mean(second)) * (-1.0 if lower_is_better else 1.0)
    return lead, float(np.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / 2))
