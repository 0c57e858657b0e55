"""A checkpoint as it lies on disk, found and checked before TensorFlow wakes.

    checkpoint = open_checkpoint("builtin/minilm")
    checkpoint.folder               # where its files lie
    checkpoint.config               # transformers' config object
    tokenizer = load_tokenizer(checkpoint)

`source` is a folder, `builtin/minilm`, or a hub id, whose files are fetched (or found in the cache)
and from then on are a folder like any other.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from tfft import backend
from tfft.backend import transformers
from tfft.data.sources import nearest_path
from tfft.errors import ModelError, first_line, listed
from tfft.folders import cache_folder
from tfft.heads import HEADS, Head
from tfft.hub import PICKLES, SAFETENSORS, TF_WEIGHTS, UNPICKLE, fetch_model, weight_files
from tfft.minilm import minilm_folder
from tfft.tasks import Task
from tfft.tensors import has_names, open_tensors, read_header
from tfft.unpickling import unpickle

# Texts are cut here where neither the model nor the user says otherwise: attention is quadratic.
LONGEST_BY_DEFAULT = 512


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds a text model.

    Attributes:
        name: what the user gave, for messages.
        config: transformers' own, whose class says which architecture it is.
        unpickled: where the tensors of its pickle lie as safetensors; None where it is none.
    """

    name: str
    folder: Path
    config: Any
    unpickled: Path | None = None

    @property
    def weights_folder(self) -> Path:
        """Where its weights and its config lie, safe to be read."""
        return self.unpickled or self.folder

    @cached_property
    def weight_files(self) -> tuple[Path, ...]:
        """The files that the weights are read from, the shards of an index among them."""
        return weight_files(self.weights_folder)

    @cached_property
    def sha256(self) -> str:
        """Of the weight files, in their order; of a pickle, its own."""
        digest = hashlib.sha256()
        for path in weight_files(self.folder, allow_pickle=self.unpickled is not None):
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Of its head, by id; LABEL_0 and so on where nobody named them."""
        names = self.config.id2label
        return tuple(str(names[number]) for number in sorted(names))

    def has_head(self, task: Task) -> bool:
        """Whether it says that it was saved with such a head; True where it says nothing."""
        return any(name.endswith(task.head) for name in self.config.architectures or [task.head])

    def config_for(
        self, task: Task, label_names: Sequence[str], *, pad_token_id: int | None
    ) -> Any:
        """A config of its own, for that head; `pad_token_id` where it names none."""
        config = type(self.config).from_dict(self.config.to_dict())
        config.id2label = dict(enumerate(label_names))
        config.problem_type = task.problem_type
        config.label2id = {name: number for number, name in enumerate(label_names)}
        if config.pad_token_id is None:
            config.pad_token_id = pad_token_id
        return config

    def check_filled(
        self,
        n_labels: int,
        *,
        mismatched: Sequence[str],
        missing_in_body: Sequence[str],
        reset_head: bool,
    ) -> None:
        """What a framework found when it filled a model from it.

        Raises:
            ModelError: the head has another number of labels, or weights of the body are missing.
        """
        if mismatched and not reset_head:
            raise ModelError(
                f"{self.name}: the head has another number of labels than {n_labels} "
                f"({mismatched[0]} differs in shape); --reset-head starts from a fresh one"
            )
        if missing_in_body:
            raise ModelError(
                f"{self.name}: {len(missing_in_body)} weights of a {self.config.model_type} are "
                f"missing: {listed(missing_in_body, most=3)}"
            )

    def check_head(self, task: Task, label_names: Sequence[str]) -> None:
        """Refuses a trained head for another number of labels.

        Raises:
            ModelError: it has one; says how to start anew.
        """
        learned = self.label_names
        if self.config.architectures and self.has_head(task) and len(learned) != len(label_names):
            raise ModelError(
                f"{self.name}: the head has another number of labels: {len(learned)} "
                f"({listed(learned)}), where the data has {len(label_names)} "
                f"({listed(label_names)}); --reset-head starts from a fresh one"
            )

    @property
    def n_bytes(self) -> int:
        """What the weights take as float32; of TensorFlow's own format, as they are."""
        if self.n_parameters is not None:
            return 4 * self.n_parameters
        return sum(path.stat().st_size for path in self.weight_files)

    @cached_property
    def n_parameters(self) -> int | None:
        """How many numbers the safetensors hold; None of TensorFlow's own format."""
        shapes = [
            each["shape"]
            for path in self.weight_files
            if path.suffix == ".safetensors"
            for name, each in read_header(path).items()
            if name != "__metadata__"
        ]
        return sum(math.prod(shape) for shape in shapes) if shapes else None

    @property
    def most_tokens(self) -> int | None:
        """How many positions the model has for tokens; None where they are relative."""
        config = self.config
        positions = getattr(config, "max_position_embeddings", None)
        if positions is None or positions < 1:
            return None
        # RoBERTa and its kin count positions from the padding id on.
        if config.model_type in _POSITIONS_AFTER_PADDING:
            positions -= config.pad_token_id + 1
        return int(positions)

    def tensor_names(self) -> set[str] | None:
        """The names of the tensors, as PyTorch has them; None of TensorFlow's own formats."""
        if not self.weight_files or self.weight_files[0].name not in SAFETENSORS:
            return None
        names: set[str] = set()
        for path in self.weight_files:
            if path.suffix == ".safetensors":
                header = read_header(path)
                if header.pop("__metadata__", {}).get("format") == "tf":
                    return None
                names |= header.keys()
        return names


_POSITIONS_AFTER_PADDING = frozenset(
    {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "longformer", "mpnet"}
)


def open_checkpoint(source: str, task: Task | None, *, allow_pickle: bool = False) -> Checkpoint:
    """Finds a checkpoint and checks that `task` can be fine-tuned from it.

    Args:
        task: None asks for no head, nor whether TensorFlow has the architecture.
        allow_pickle: take the tensors of a pickle where there are no other weights.

    Raises:
        ModelError: nothing of that name; no weights, or only a pickle's; a broken file; an
            architecture without such a head.
    """
    folder = _find_folder(source, allow_pickle=allow_pickle)
    checkpoint = Checkpoint(source, folder, _load_config(source, folder))
    if task is not None:
        check_architecture(checkpoint, task)
    if allow_pickle and not checkpoint.weight_files:
        checkpoint = replace(checkpoint, unpickled=unpickle(folder, cache=cache_folder()))
    _check_weights(checkpoint)
    return checkpoint


def head_of(checkpoint: Checkpoint, asked: str | None) -> Head:
    """The head that the checkpoint's config names, or that was asked for.

    Raises:
        ModelError: TensorFlow has no such class; names the nearest architecture that has one.
    """
    if asked is not None:
        head = HEADS[asked]
        check_architecture(checkpoint, head)
        return head
    kind, named = checkpoint.config.model_type, checkpoint.config.architectures or []
    check_architecture(checkpoint, HEADS["base"])
    for head in HEADS.values():
        if f"TF{_plain(named)}" == _table(head).get(kind):
            return head
    if not named:
        raise ModelError(
            f"{checkpoint.name}: its config.json names no architectures, so say which head it has: "
            f"--head {'|'.join(HEADS)}"
        )
    raise ModelError(
        f"{checkpoint.name}: TensorFlow has no {_plain(named)}; it has "
        f"{listed(_table(head)[kind] for head in HEADS.values() if kind in _table(head))}; "
        "--head chooses one of them"
    )


def _plain(architectures: list[str]) -> str:
    return architectures[0].removeprefix("TF") if architectures else ""


def _table(head: Head) -> Mapping[str, str]:
    from transformers.models.auto import modeling_tf_auto

    table: Mapping[str, str] = getattr(modeling_tf_auto, head.architectures)
    return table


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The fast tokenizer beside the weights, with a padding token.

    Raises:
        ModelError: there is none.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(checkpoint.folder), use_fast=True, trust_remote_code=False
        )
    except Exception as error:
        raise ModelError(
            f"{checkpoint.name}: the tokenizer can't be loaded ({first_line(error)}); "
            "tokenizer.json or vocab.txt should lie beside the weights"
        ) from error
    # A folder without any tokenizer file gives one with nothing but special tokens.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"{checkpoint.name}: no tokenizer; copy tokenizer.json, tokenizer_config.json and the "
            "vocabulary from the checkpoint that it was trained from"
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(f"{checkpoint.name}: the tokenizer has no token to pad with")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def longest_tokens(checkpoint: Checkpoint, tokenizer: Any, asked: int | None) -> int:
    """How many tokens a text may have, special ones included.

    Raises:
        ModelError: more were asked for than the model has positions.
    """
    most = checkpoint.most_tokens
    if asked is not None:
        if most is not None and asked > most:
            raise ModelError(
                f"{checkpoint.name}: --max-length {asked} is beyond the model's {most} positions; "
                f"give {most} or less"
            )
        return asked
    limits = [LONGEST_BY_DEFAULT, int(tokenizer.model_max_length)]
    return min(*limits, most) if most is not None else min(limits)


def _find_folder(source: str, *, allow_pickle: bool) -> Path:
    path = Path(source).expanduser()
    if source == "builtin/minilm":
        return minilm_folder()
    if source.startswith("builtin/"):
        raise ModelError(f"{source}: embedded is builtin/minilm")
    if path.is_dir():
        # A run's folder holds the model in `model/`.
        inner = path / "model"
        return inner if (inner / "config.json").exists() else path
    if path.exists():
        raise ModelError(f"{source}: a checkpoint is a folder, this is a file; name its folder")
    hint = nearest_path(path)
    if source.startswith(("/", "./", "../", "~")) or source.partition("@")[0].count("/") > 1:
        raise ModelError(f"{source}: no such folder{hint}")
    return fetch_model(source, hint=hint, allow_pickle=allow_pickle)


def _load_config(source: str, folder: Path) -> Any:
    path = folder / "config.json"
    if not path.exists():
        found = sorted(each.name for each in folder.iterdir())
        if saved := sorted(folder.glob("checkpoints/epoch-*/config.json")):
            raise ModelError(
                f"{source}: an interrupted run; name one of its checkpoints, such as "
                f"{saved[-1].parent}"
            )
        raise ModelError(
            f"{source}: not a checkpoint: no config.json, only {listed(found) or 'nothing'}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("model_type") is None:
            raise ModelError(f"{source}: config.json names no model_type")
        return transformers.AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{source}: config.json can't be read: {first_line(error)}") from error


def check_architecture(checkpoint: Checkpoint, head: Task | Head) -> None:
    """Refuses an architecture that has no such head in this process' framework.

    Raises:
        ModelError: says which is nearest among those that have one.
    """
    is_pytorch = backend.chosen() == "pytorch"
    table, auto_class = head.architectures, head.auto_class
    if is_pytorch:
        table, auto_class = table.removeprefix("TF_"), head.pytorch_class
    try:
        if is_pytorch:
            from transformers.models.auto import modeling_auto as classes
        else:
            from transformers.models.auto import modeling_tf_auto as classes
    except ImportError:
        raise ModelError(
            f"transformers {transformers.__version__} has no {backend.chosen()} classes; tfft "
            "doctor says what to install"
        ) from None
    known: Mapping[str, str] = getattr(classes, table)
    kind = checkpoint.config.model_type
    if kind not in known:
        raise ModelError(
            f"{checkpoint.name}: '{kind}' has no {auto_class}{_nearest_architecture(kind, known)}; "
            f"architectures that have one: {listed(sorted(known), most=60)}"
        )


def _nearest_architecture(kind: str, known: Iterable[str]) -> str:
    """A relative by its name: modernbert is a bert, xlm-roberta-xl an xlm-roberta."""
    inside = sorted((each for each in known if each in kind), key=len)
    close = inside[-1:] or get_close_matches(kind, known, n=1, cutoff=0.5)
    return f"; the nearest that has one is {close[0]}" if close else ""


def _check_weights(checkpoint: Checkpoint) -> None:
    if not checkpoint.weight_files:
        pickles = [name for name in PICKLES if (checkpoint.folder / name).exists()]
        if pickles:
            raise ModelError(
                f"{checkpoint.name}: the weights are a pickle ({pickles[0]}), which can run any "
                "code when it is read; save them with save_pretrained(safe_serialization=True), "
                f"or {UNPICKLE}"
            )
        several = sorted(each.name for each in checkpoint.folder.glob("*.h5"))
        raise ModelError(
            f"{checkpoint.name}: no weights; expected {SAFETENSORS[0]}, {TF_WEIGHTS[0]} or a "
            f"single .h5 in {checkpoint.folder}" + (f", not {listed(several)}" if several else "")
        )
    if checkpoint.weight_files[0].suffix != ".h5" or has_names(checkpoint.weight_files[0]):
        open_tensors(checkpoint.weight_files)
