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
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tfft import backend
from tfft.backend import transformers
from tfft.data.sources import nearest_path
from tfft.errors import ModelError, first_line, listed
from tfft.hub import PICKLES, SAFETENSORS, TF_WEIGHTS, fetch_model, weight_files
from tfft.minilm import minilm_folder
from tfft.tasks import Task

# Texts are cut here where neither the model nor the user says otherwise: attention is quadratic.
LONGEST_BY_DEFAULT = 512


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds a text model.

    Attributes:
        name: what the user gave, for messages.
        config: transformers' own, whose class says which architecture it is.
    """

    name: str
    folder: Path
    config: Any

    @cached_property
    def weight_files(self) -> tuple[Path, ...]:
        """The files that the weights are read from, the shards of an index among them."""
        return weight_files(self.folder)

    @cached_property
    def sha256(self) -> str:
        """Of the weight files, in their order."""
        digest = hashlib.sha256()
        for path in self.weight_files:
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
        return sum(path.stat().st_size for path in self.weight_files)

    @cached_property
    def n_parameters(self) -> int | None:
        """How many numbers the safetensors hold; None of TensorFlow's own format."""
        shapes = [
            each["shape"]
            for path in self.weight_files
            if path.suffix == ".safetensors"
            for name, each in _read_header(path).items()
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
                header = _read_header(path)
                if header.pop("__metadata__", {}).get("format") == "tf":
                    return None
                names |= header.keys()
        return names


_POSITIONS_AFTER_PADDING = frozenset(
    {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "longformer", "mpnet"}
)


def open_checkpoint(source: str, task: Task) -> Checkpoint:
    """Finds a checkpoint and checks that `task` can be fine-tuned from it.

    Raises:
        ModelError: nothing of that name; no weights, or only a pickle's; a broken file; an
            architecture without such a head.
    """
    folder = _find_folder(source)
    checkpoint = Checkpoint(source, folder, _load_config(source, folder))
    _check_architecture(checkpoint, task)
    _check_weights(checkpoint)
    return checkpoint


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


def _find_folder(source: str) -> Path:
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
    return fetch_model(source, hint=hint)


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


def _check_architecture(checkpoint: Checkpoint, task: Task) -> None:
    is_pytorch = backend.chosen() == "pytorch"
    table, auto_class = task.architectures, task.auto_class
    if is_pytorch:
        table, auto_class = table.removeprefix("TF_"), task.pytorch_class
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
            f"{checkpoint.name}: '{kind}' has no {auto_class}; architectures that have one: "
            f"{listed(sorted(known), most=60)}"
        )


def _check_weights(checkpoint: Checkpoint) -> None:
    if not checkpoint.weight_files:
        pickles = [name for name in PICKLES if (checkpoint.folder / name).exists()]
        if pickles:
            raise ModelError(
                f"{checkpoint.name}: the weights are a pickle ({pickles[0]}), which can run any "
                "code when it is read; save them with save_pretrained(safe_serialization=True)"
            )
        raise ModelError(
            f"{checkpoint.name}: no weights; expected {SAFETENSORS[0]} or {TF_WEIGHTS[0]} in "
            f"{checkpoint.folder}"
        )
    for path in checkpoint.weight_files:
        if not path.exists():
            raise ModelError(f"{checkpoint.name}: {path.name} is missing")
        if path.suffix == ".safetensors":
            _read_header(path)


def _read_header(path: Path) -> dict[str, Any]:
    """A safetensors file's table of contents: 8 bytes of its length, then JSON, then the tensors.

    Raises:
        ModelError: the file is cut short, or isn't one.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError("its header is longer than the file")
            header: dict[str, Any] = json.loads(file.read(length))
        ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
        if 8 + length + max(ends, default=0) != size:
            raise ValueError(f"{size} bytes, its header says {8 + length + max(ends, default=0)}")
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(
            f"{path}: a corrupt safetensors file ({first_line(error)}); fetch it again"
        ) from None
    return header
