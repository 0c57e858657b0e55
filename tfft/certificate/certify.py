"""The certificate: one start, two recordings, and what sets them apart.

result = certify(config, asked, progress=progress)
result.passed, result.verdict

While it works, a folder holds the checkpoint and, of each framework, its gradients and its
parameters at three steps: some ten times the weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from tfft.certificate import recipes
from tfft.certificate.child import run_pytorch
from tfft.certificate.compare import beyond, compare, compare_tensors
from tfft.certificate.jobs import (
    CHECKPOINT,
    PYTORCH,
    TENSORFLOW,
    TRAIN,
    VALIDATION,
    Job,
    read_batches,
    sha256_of,
)
from tfft.certificate.recordings import Recording, record
from tfft.certificate.start import write_start
from tfft.certificate.tensorflow import TensorFlow, on_device
from tfft.config import ParityConfig, RunConfig, TrainConfig
from tfft.errors import ConfigError
from tfft.folders import SPARE_BYTES
from tfft.metrics import metrics_of
from tfft.pretrained import Checkpoint, open_checkpoint
from tfft.progress import Progress
from tfft.ready import prepare, tokenise
from tfft.results import ParityResult, ParityStage, RecipeEffect
from tfft.tasks import TASKS

# The start; of each framework a gradient and three times the parameters; the exact gradient.
N_COPIES = 1 + 2 * 4 + 1


def certify(config: RunConfig, asked: ParityConfig, *, progress: Progress) -> ParityResult:
    """Runs both frameworks, PyTorch in a child process, and compares.

    Raises:
        TfftError: as `fit`; the disk hasn't the room; PyTorch's process failed.
    """
    prepared = prepare(config, progress)
    encoded = tokenise(prepared, progress)
    with TemporaryDirectory(prefix="tfft-parity-") as scratch:
        folder = Path(scratch, "same")
        _check_room(scratch, N_COPIES * _n_bytes(prepared.checkpoint))
        recipe = recipes.of_tensorflow(config.train) if asked.recipe == "tutorial" else None
        progress.stage("loading the model")
        with on_device(asked.device):
            job = write_start(config, asked, prepared, encoded, folder, recipe=recipe)
            record_tensorflow(folder, progress)
        theirs, ways = folder, dict[str, Path]()
        if recipe is not None:
            theirs = folder.with_name("theirs")
            other = recipes.of_pytorch(config.train)
            _with_recipe(job, other, job.n_steps).write(theirs)
            ways = _write_ways(job, config.train, asked.steps, folder.parent)
        record_pytorch([theirs, *ways.values()], progress)
        result = judge(
            folder,
            theirs,
            tolerances=asked.tolerances,
            threshold=config.model.threshold,
            effects=_effects(config.train, ways),
        )
    return replace(
        result,
        data=config.data.source,
        model=config.model.source,
        recipe=asked.recipe,
        epochs=asked.epochs,
    )


def record_tensorflow(folder: Path, progress: Progress) -> None:
    job = Job.read(folder)
    framework = TensorFlow(folder, job)
    with progress.steps("TensorFlow", _n_rows(folder, job)) as step:
        record(framework, job, folder, TENSORFLOW, after_step=step)


def record_pytorch(folders: Sequence[Path], progress: Progress) -> None:
    """The jobs of these folders, in one process."""
    n_rows = sum(_n_rows(folder, Job.read(folder)) for folder in folders)
    with progress.steps("PyTorch", n_rows) as step:
        run_pytorch(folders, on_step=lambda _, n_rows, loss: step(n_rows, loss))


def judge(
    ours: Path,
    theirs: Path,
    *,
    tolerances: Mapping[str, float],
    threshold: float | None = None,
    effects: Sequence[RecipeEffect] = (),
) -> ParityResult:
    """Compares what TensorFlow recorded in one job's folder with PyTorch's in another, or the same.

    Returns:
        The result without what its caller knows: data, model and recipe by their names.
    """
    job = Job.read(ours)
    inputs = job.inputs(ours)
    tensorflow, pytorch = Recording(ours / TENSORFLOW), Recording(theirs / PYTORCH)
    tensors = [] if job.drops else compare_tensors(tensorflow, pytorch, job)
    metrics = metrics_of(job.task, threshold=threshold)
    sides = {TENSORFLOW: tensorflow, PYTORCH: pytorch}
    figures = {name: dict(metrics(*each.validation)) for name, each in sides.items()}
    features, _ = next(read_batches(inputs / TRAIN))
    stages = tuple(compare(tensorflow, pytorch, tensors, features, job, tolerances, figures))
    checkpoint = open_checkpoint(str(inputs / CHECKPOINT), TASKS[job.task])
    return ParityResult(
        task=job.task,
        data="",
        model="",
        architecture=checkpoint.config.model_type,
        recipe="same",
        steps=max(job.snapshots),
        epochs=job.train.epochs,
        n_steps=job.n_steps,
        stages=stages,
        tensors=tuple(tensors),
        losses={name: tuple(each.told["losses"]) for name, each in sides.items()},
        validation={
            name: {"loss": each.told["validation_loss"], **figures[name]}
            for name, each in sides.items()
        },
        effects=tuple(effects),
        tolerances=dict(tolerances),
        versions={k: v for each in sides.values() for k, v in each.told["versions"].items()},
        hashes={
            "checkpoint": checkpoint.sha256,
            "train_batches": sha256_of(inputs / TRAIN),
            "validation_batches": sha256_of(inputs / VALIDATION),
        },
        verdict=beyond(stages) or _agreement(stages, is_start_alone=job.drops),
    )


def _agreement(stages: Sequence[ParityStage], *, is_start_alone: bool) -> str:
    judged = (f"{stage.name} {stage.difference:.1e}" for stage in stages if stage.tolerance)
    told = f"largest differences: {', '.join(judged)}"
    if is_start_alone:
        return f"the start agrees ({told}); from there on each goes by its own recipe"
    return f"TensorFlow and PyTorch agree; {told}"


def _n_bytes(checkpoint: Checkpoint) -> int:
    """In float32, whatever the checkpoint is in."""
    return 4 * checkpoint.n_parameters if checkpoint.n_parameters else checkpoint.n_bytes


def _check_room(scratch: str, n_bytes: int) -> None:
    """Refuses to start what the disk can't hold.

    Raises:
        ConfigError: too little is free.
    """
    free = shutil.disk_usage(scratch).free
    if free < n_bytes + SPARE_BYTES:
        raise ConfigError(
            f"{Path(scratch).parent} has {free / 2**20:,.0f} MiB free, and the comparison needs "
            f"about {(n_bytes + SPARE_BYTES) / 2**20:,.0f}; set TMPDIR to a folder that has them"
        )


def _n_rows(folder: Path, job: Job) -> int:
    """That the job's steps take."""
    batches = read_batches(job.inputs(folder) / TRAIN)
    return sum(len(labels) for _, labels in islice(batches, job.n_steps))


def _with_recipe(job: Job, recipe: recipes.Recipe, n_steps: int) -> Job:
    return replace(
        job,
        train=replace(recipe.train, epochs=job.train.epochs),
        keras_epsilon=recipe.keras_epsilon,
        n_steps=n_steps,
        of="../same",
    )


def _write_ways(job: Job, train: TrainConfig, steps: int, parent: Path) -> dict[str, Path]:
    """A job for each way between the recipes: name -> its folder."""
    folders = {}
    for number, (name, _, recipe) in enumerate(recipes.ways(train)):
        folders[name] = parent / f"way-{number}"
        short = replace(_with_recipe(job, recipe, steps), validate_after=steps, snapshots=(steps,))
        short.write(folders[name])
    return folders


def _effects(train: TrainConfig, ways: Mapping[str, Path]) -> list[RecipeEffect]:
    """What each way gave, against the first: TensorFlow's recipe as it is."""
    effects: list[RecipeEffect] = []
    for name, change, _ in recipes.ways(train) if ways else ():
        told = Recording(ways[name] / PYTORCH).told
        losses, validation_loss = told["losses"], told["validation_loss"]
        base = effects[0].validation_loss if effects else validation_loss
        last = losses[-max(1, len(losses) // 10) :]
        effects.append(
            RecipeEffect(
                name, change, sum(last) / len(last), validation_loss, validation_loss - base
            )
        )
    return effects
