"""A saved model, opened to be evaluated or to predict.

saved = open_saved("runs/cola-1", config, progress)
part, *_ = read_parts(saved, config, "validation", label_needed=True, progress=progress)
loaded = build(saved, devices, progress)
split = make_batches(saved, part, config, loaded, progress)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfft.config import RunConfig, check_for_task, read_toml
from tfft.errors import ModelError, listed
from tfft.folders import cache_folder
from tfft.progress import Progress
from tfft.ready import length_notes
from tfft.tasks import TASKS, Task

if TYPE_CHECKING:
    from tfft.data.encode import Encoded
    from tfft.data.examples import Learned, SplitRows
    from tfft.data.split import Split
    from tfft.distribute import Devices
    from tfft.modeling import LoadedModel
    from tfft.pretrained import Checkpoint


@dataclass(frozen=True)
class Saved:
    """A run's folder or a plain checkpoint, checked, but not built yet.

    Attributes:
        run: the config of the run that made it, or None of a plain checkpoint.
        threshold: of multi-label: as asked, else as in the run.
    """

    name: str
    task: Task
    checkpoint: Checkpoint
    tokenizer: Any
    learned: Learned
    max_length: int
    run: RunConfig | None
    threshold: float | None

    @property
    def loss(self) -> str | None:
        """The run's, where it has a name."""
        return None if self.run is None else self.run.train.loss


@dataclass(frozen=True)
class Part:
    """One split in tokens."""

    rows: SplitRows
    encoded: Encoded


def open_saved(model: str, config: RunConfig, progress: Progress) -> Saved:
    """Finds and checks it.

    Raises:
        ModelError: it isn't there, or has no trained head.
        ConfigError: an option that its task hasn't.
    """
    progress.stage("reading the checkpoint")
    from tfft.data.examples import Learned
    from tfft.pretrained import load_tokenizer, longest_tokens, open_checkpoint

    run = _run_config(model)
    checkpoint = open_checkpoint(
        model,
        TASKS["single_label"],  # their heads are all of one kind
        allow_pickle=config.model.allow_pickle,
    )
    task = _task_of(checkpoint)
    if not checkpoint.has_head(task):
        raise _no_head(model, listed(checkpoint.config.architectures))
    threshold, delimiter = config.model.threshold, config.data.label_delimiter
    check_for_task(task.name, {"model.threshold": threshold, "data.label_delimiter": delimiter})
    tokenizer = load_tokenizer(checkpoint)
    learned = Learned(task.name, checkpoint.label_names)
    asked = config.data.max_length
    if run is not None:
        learned = Learned(
            task.name,
            checkpoint.label_names,
            run.data,
            run.train.seed if _same_data(run, config) else None,
        )
        threshold = threshold or run.model.threshold
        asked = asked or run.data.max_length
    max_length = longest_tokens(checkpoint, tokenizer, asked)
    return Saved(model, task, checkpoint, tokenizer, learned, max_length, run, threshold)


def read_parts(
    saved: Saved, config: RunConfig, split: str | None, *, label_needed: bool, progress: Progress
) -> list[Part]:
    """The split's rows, read as the model learned to, and their tokens; of MNLI's two, both.

    Args:
        label_needed: to score them; where they are only predicted it is the one split.
    """
    progress.stage("reading the data")
    from tfft.data.encode import encode
    from tfft.data.examples import load_split, splits_to_score
    from tfft.data.sources import open_source

    source = open_source(config.data.source)
    for note in source.notes:
        progress.note(note)
    parts = []
    for name in splits_to_score(source, split) if split and label_needed else [split]:
        rows = load_split(
            source, config.data, name, learned=saved.learned, label_needed=label_needed
        )
        progress.stage("tokenising")
        encoded = encode(
            rows.rows, saved.tokenizer, max_length=saved.max_length, cache=cache_folder()
        )
        for note in (*rows.notes, *length_notes({rows.name: encoded}, saved.max_length)):
            progress.note(note)
        parts.append(Part(rows, encoded))
    return parts


def build(saved: Saved, devices: Devices, progress: Progress) -> LoadedModel:
    """The model with its trained head.

    Raises:
        ModelError: the weights can't be read, or the head's are missing.
    """
    progress.stage("loading the model")
    from tfft import modeling

    with devices.scope():
        loaded = modeling.load_model(
            saved.checkpoint,
            saved.task,
            label_names=saved.learned.label_names,
            pad_token_id=saved.tokenizer.pad_token_id,
        )
    if loaded.fresh:
        raise _no_head(saved.name, f"{listed(loaded.fresh, most=2)} are missing")
    return loaded


def make_batches(
    saved: Saved, part: Part, config: RunConfig, loaded: LoadedModel, progress: Progress
) -> Split:
    """The part's batches, in input order."""
    from tfft.data.choice import choose_loader
    from tfft.data.loaders import open_split

    encoded = part.encoded
    loader, why = choose_loader(config.data.loader, encoded.lengths, len(encoded.features))
    progress.note(f"loader: {loader}: {why}")
    return open_split(
        config,
        encoded,
        saved.tokenizer,
        loader=loader,
        shuffle=False,
        model=loaded.model,
        label_names=saved.learned.label_names,
    )


def _task_of(checkpoint: Checkpoint) -> Task:
    """As the checkpoint's config says; what says nothing is as transformers takes it."""
    for task in TASKS.values():
        if checkpoint.config.problem_type == task.problem_type:
            return task
    return TASKS["regression" if len(checkpoint.label_names) == 1 else "single_label"]


def _no_head(model: str, why: str) -> ModelError:
    return ModelError(
        f"{model}: has no trained head ({why}); fine-tune it first: tfft fit --model {model}"
    )


def _run_config(model: str) -> RunConfig | None:
    """The config of the run that `model` is the folder of, or None of a plain checkpoint."""
    path = Path(model).expanduser() / "run.toml"
    if not path.exists():
        return None
    return RunConfig.from_options(read_toml(path))


def _same_data(run: RunConfig, config: RunConfig) -> bool:
    from tfft.provenance import portable

    return portable(config.data.source) == run.data.source
