"""Two recordings side by side: what differs, by how much, and where first.

    tensors = compare_tensors(tensorflow, pytorch, job)
    stages = compare(tensorflow, pytorch, tensors, job, tolerances)
    beyond(stages)      # "gradients: bert.pooler.dense.weight differs by ..." or None

NumPy alone: no framework is needed to read what they computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from tfft.certificate.jobs import PYTORCH, TENSORFLOW, Job
from tfft.certificate.recordings import Recording, Tensors
from tfft.certificate.tolerances import EXACT_ZERO, EXACT_ZERO_NOISE, GRADIENT_FLOOR
from tfft.errors import listed
from tfft.results import ParityStage, ParityTensor

# (where, largest difference, mean difference, tolerance), in the order in which they come about.
Line = tuple[str, float, float, float]


def compare(
    tensorflow: Recording,
    pytorch: Recording,
    tensors: Sequence[ParityTensor],
    features: Mapping[str, np.ndarray],
    job: Job,
    tolerances: Mapping[str, float],
    metrics: Mapping[str, Mapping[str, float]],
) -> Iterator[ParityStage]:
    """Each stage, in the order in which a difference would show.

    Args:
        features: of the first batch.
        tolerances: `logits`, `gradients`, `parameters`, `loss` and `metric`.
        metrics: framework -> metric -> figure, on validation.
    """
    yield _start(tensorflow, pytorch)
    yield _hidden(tensorflow, pytorch, features, tolerances["logits"])
    yield _stage("logits", [_line("", *_both("logits", tensorflow, pytorch), tolerances["logits"])])
    first = abs(tensorflow.told["first_loss"] - pytorch.told["first_loss"])
    yield _stage("loss", [("", first, first, tolerances["logits"])])
    if not job.drops:
        yield from _gradients(tensors, tolerances["gradients"])
        for step in job.snapshots:
            yield _parameters(step, tensors, job, tolerances["parameters"])
    yield from _curves(tensorflow, pytorch, job, tolerances["loss"])
    lines = []
    for name, figure in metrics[PYTORCH].items():
        apart = abs(metrics[TENSORFLOW][name] - figure)
        lines.append((name, apart, apart, tolerances["metric"]))
    stage = _stage("metrics", lines)
    yield _told(stage) if job.drops else stage


def beyond(stages: Sequence[ParityStage]) -> str | None:
    """One line about the first stage beyond its tolerance, and what of it was the first."""
    unfit = next((stage for stage in stages if not stage.passed), None)
    if unfit is None:
        return None
    if unfit.name == "start":
        return f"start: the two didn't begin with the same {unfit.where}"
    told = f"{unfit.name}: the largest difference is {unfit.difference:.1e}"
    if unfit.where:
        told += f", of {unfit.where}"
    told += f", where {unfit.tolerance:.0e} is the most"
    if unfit.first_beyond:
        return f"{told}; the first beyond it: {unfit.first_beyond}"
    layers = next(stage for stage in stages if stage.name == "hidden states")
    return f"{told}; of the layers the first beyond it, or the farthest: {layers.where}"


def compare_tensors(tensorflow: Recording, pytorch: Recording, job: Job) -> list[ParityTensor]:
    """Every tensor's gradient and values, in the model's order, one tensor held at a time."""
    with ExitStack() as stack:

        def opened(name: str, *more: int) -> tuple[Tensors, Tensors]:
            both = (getattr(each, name)(*more) for each in (tensorflow, pytorch))
            one, other = (stack.enter_context(each) for each in both)
            return one, other

        gradients = opened("gradients")
        exact = stack.enter_context(pytorch.exact_gradients())
        snapshots = {step: opened("parameters", step) for step in job.snapshots}
        # PyTorch tells its tensors in the order in which its layers were made: from below.
        names = [name for name in pytorch.told["start"] if name in tensorflow.told["start"]]
        largest = max(float(np.abs(exact[name]).max()) for name in names)
        return [_tensor(name, gradients, exact[name], snapshots, largest) for name in names]


def _tensor(
    name: str,
    gradients: tuple[Tensors, Tensors],
    exact: np.ndarray,
    snapshots: Mapping[int, tuple[Tensors, Tensors]],
    largest_of_all: float,
) -> ParityTensor:
    ours, theirs = (each[name] for each in gradients)
    difference = np.abs(ours - theirs)
    size, exact_size = float(np.abs(theirs).max()), float(np.abs(exact).max())
    far = {
        side: _part(float(np.abs(each - exact).max()), exact_size)
        for side, each in ((TENSORFLOW, ours), (PYTORCH, theirs))
    }
    return ParityTensor(
        name=name,
        shape=exact.shape,
        gradient=float(difference.max()),
        gradient_relative=_part(float(difference.max()), size),
        gradient_mean_relative=_part(float(difference.mean()), float(np.abs(theirs).mean())),
        largest_gradient=size,
        from_exact=far,
        is_exact_zero=exact_size <= EXACT_ZERO * largest_of_all,
        parameters={
            str(step): float(np.abs(one[name] - other[name]).max())
            for step, (one, other) in snapshots.items()
        },
    )


def _part(difference: float, size: float) -> float:
    """Nought of nought; a difference from nothing is all of it."""
    return difference / size if size else float(difference > 0.0)


def _start(tensorflow: Recording, pytorch: Recording) -> ParityStage:
    """Whether both began with the same numbers under the same names.

    What one has alone and doesn't read is told, and no fault.
    """
    ours, theirs = tensorflow.told["start"], pytorch.told["start"]
    names = list(dict.fromkeys([*theirs, *ours]))
    unlike: list[str] = []
    idle: list[str] = []
    for name in names:
        if name in ours and name in theirs:
            unlike += [name] * (ours[name] != theirs[name])
            continue
        side, one = ("TensorFlow", tensorflow) if name in ours else ("PyTorch", pytorch)
        is_idle = name in one.told["unread"]
        (idle if is_idle else unlike).append(f"{name} (in {side} alone{', unread' * is_idle})")
    share = len(unlike) / len(names)
    where = listed(unlike or idle, most=3)
    return ParityStage("start", share, share, 0.0, where, where if unlike else None)


def _hidden(
    tensorflow: Recording,
    pytorch: Recording,
    features: Mapping[str, np.ndarray],
    tolerance: float,
) -> ParityStage:
    """What each layer gives, of tokens that are no padding: told, to say where logits part."""
    lines = []
    is_token = features["attention_mask"].astype(bool)
    for name in pytorch.first:
        if name.startswith("hidden/") and name in tensorflow.first:
            ours, theirs = (each[is_token] for each in _both(name, tensorflow, pytorch))
            number = int(name.partition("/")[2])
            where = f"layer {number}" if number else "embeddings"
            lines.append(_line(where, ours, theirs, tolerance))
    return _told(_stage("hidden states", lines))


def _gradients(tensors: Sequence[ParityTensor], tolerance: float) -> Iterator[ParityStage]:
    """As parts of each tensor's largest number; of noughts, of the largest of all.

    The floor is added to what each may be.
    """
    largest = max(each.largest_gradient for each in tensors)
    lines: dict[bool, list[Line]] = {False: [], True: []}
    for each in tensors:
        size = largest if each.is_exact_zero else each.largest_gradient
        part = _part(each.gradient, size)
        mean = part if each.is_exact_zero else each.gradient_mean_relative
        limit = EXACT_ZERO_NOISE if each.is_exact_zero else tolerance
        if size:
            limit += GRADIENT_FLOOR / size
        lines[each.is_exact_zero].append((each.name, part, mean, limit))
    yield replace(_stage("gradients", lines[False]), tolerance=tolerance)
    if lines[True]:
        stage = _stage("gradients of nought", lines[True])
        yield replace(stage, tolerance=EXACT_ZERO_NOISE)


def _parameters(
    step: int, tensors: Sequence[ParityTensor], job: Job, tolerance: float
) -> ParityStage:
    """All tensors but those that chance moves, which are held to how far it can."""
    name = f"parameters after {step} step{'s' * (step > 1)}"
    chance = 2.0 * step * job.train.learning_rate + tolerance
    apart = [(each, each.parameters[str(step)]) for each in tensors]
    stage = _stage(name, [(t.name, d, d, tolerance) for t, d in apart if not t.is_exact_zero])
    strayed = [(t.name, d) for t, d in apart if t.is_exact_zero and not d <= chance]
    if strayed and stage.passed:
        where, difference = strayed[0]
        return ParityStage(name, difference, stage.mean, chance, where, where)
    return stage


def _curves(
    tensorflow: Recording, pytorch: Recording, job: Job, tolerance: float
) -> Iterator[ParityStage]:
    """The first steps judged, where dropout is off; the whole run told."""
    apart = np.abs(tensorflow.losses - pytorch.losses).tolist()
    lines = [(f"step {number}", each, each, tolerance) for number, each in enumerate(apart, 1)]
    n_judged = max(job.snapshots)
    if not job.drops:
        yield _stage(f"losses of {n_judged} steps", lines[:n_judged])
    if job.drops or len(lines) > n_judged:
        yield _told(_stage(f"losses of all {len(lines)} steps", lines))


def _both(name: str, tensorflow: Recording, pytorch: Recording) -> tuple[np.ndarray, np.ndarray]:
    return tensorflow.first[name], pytorch.first[name]


def _line(where: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> Line:
    apart = np.abs(ours.astype(np.float64) - theirs)
    return where, float(apart.max()), float(apart.mean()), tolerance


def _stage(name: str, lines: Sequence[Line]) -> ParityStage:
    """The line that comes nearest to its tolerance, or is farthest beyond it, stands for all.

    What is no number is beyond every tolerance.
    """
    worst = max(lines, key=lambda line: np.nan_to_num(line[1], nan=np.inf) / line[3])
    unfit = [where for where, difference, _, limit in lines if not difference <= limit]
    mean = float(np.mean([line[2] for line in lines]))
    return ParityStage(name, worst[1], mean, worst[3], worst[0], unfit[0] if unfit else None)


def _told(stage: ParityStage) -> ParityStage:
    where = stage.first_beyond or stage.where
    return ParityStage(stage.name, stage.difference, stage.mean, None, where)
