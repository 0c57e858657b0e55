"""A checkpoint of one framework for the other, and the evidence that it is the same model.

    result = convert(checkpoint, head, to="pytorch", folder=Path("out.partial"))
    result.largest_difference       # of the logits, TensorFlow's and PyTorch's

What was written is read again by transformers' own classes: each tensor must be the same to the
bit, each of PyTorch's parameters have its counterpart, and both models say the same to the same
tokens. Where torch isn't installed, the result says that this last part is missing.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tfft import weights
from tfft.backend import transformers
from tfft.errors import ModelError, first_line, listed
from tfft.heads import Head
from tfft.modeling import LoadedModel, open_model
from tfft.naming import by_pytorch_name
from tfft.pretrained import Checkpoint
from tfft.progress import Progress
from tfft.pytorch.children import run_child
from tfft.results import ConvertResult
from tfft.weights import NOT_WEIGHTS

TOLERANCE = 1e-5
"""How far the outputs may be apart, as a part of the largest where that is above 1.

Both frameworks compute in float32 and sum up in another order, each rounding 6e-8 of a number: a
fine-tuned MiniLM's logits differ by 1e-6, two swapped tensors by 0.1 and more.
"""

Batch = dict[str, np.ndarray]  # of inputs or outputs

# Rows a batch, and their lengths: alone, odd, and beyond what a vector register takes.
N_ROWS = 4
LENGTHS = (2, 7, 16, 45)
# What lies beside the weights and belongs to whoever uses them.
TOKENIZER_FILES = (
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("vocab.*", "merges.txt", "*.model", "*.bpe", "*.codes", "*.tiktoken"),
)


def convert(
    checkpoint: Checkpoint, head: Head, *, to: str, folder: Path, progress: Progress
) -> ConvertResult:
    """Writes config, weights and tokenizer files into `folder`, and compares.

    Args:
        to: `pytorch` writes model.safetensors, `tensorflow` tf_model.h5.

    Raises:
        ModelError: one side lacks a tensor, or the two differ; says which and by how much.
    """
    progress.stage("loading the model")
    loaded, unused = _load(checkpoint, head)
    progress.stage("writing the weights")
    _write(checkpoint, loaded, folder, to=to)
    progress.stage("reading it again")
    _check_read_again(loaded.model, head, folder)

    batches = _batches(loaded.model, longest=checkpoint.most_tokens)
    largest = difference = None
    if find_spec("torch") is not None:
        progress.stage("comparing with PyTorch")
        ours = _tensorflow_outputs(loaded.model, batches)
        theirs, told = _pytorch_outputs(checkpoint, loaded, head, folder, batches, to=to)
        unused -= _check_names(loaded.model, told)
        largest, difference = _compare(ours, theirs, batches)
    named = by_pytorch_name(loaded.model)
    return ConvertResult(
        source=checkpoint.name,
        to=to,
        architecture=type(loaded.model).__name__.removeprefix("TF"),
        n_tensors=len(named),
        n_parameters=sum(int(np.prod(each.shape)) for each, _ in named.values()),
        left_out=tuple(sorted(unused)),
        n_sequences=sum(len(each["input_ids"]) for each in batches),
        largest_output=largest,
        largest_difference=difference,
        tolerance=TOLERANCE,
        sha256={"source": checkpoint.sha256, **_hashes(folder)},
    )


def _load(checkpoint: Checkpoint, head: Head) -> tuple[LoadedModel, set[str]]:
    """The whole model, and the names of the tensors that it has no place for."""
    config = type(checkpoint.config).from_dict(checkpoint.config.to_dict())
    config.torch_dtype = "float32"  # whatever the source's
    model, filled = open_model(checkpoint, head.auto_class, config)
    if lacking := (*filled.missing, *filled.mismatched):
        raise ModelError(
            f"{checkpoint.name}: {len(lacking)} tensors of a {type(model).__name__} are missing or "
            f"of another shape: {listed(lacking, most=3)}; --head chooses another class"
        )
    prefix = f"{model.base_model_prefix}."
    unused = {name for name in filled.unused if name.removeprefix(prefix) not in NOT_WEIGHTS}
    return LoadedModel(model, filled.used, ()), unused


def _write(checkpoint: Checkpoint, loaded: LoadedModel, folder: Path, *, to: str) -> None:
    if to == "pytorch":
        weights.save_model(loaded, folder)
    else:
        loaded.model.save_pretrained(folder)
    for pattern in TOKENIZER_FILES:
        for path in checkpoint.folder.glob(pattern):
            shutil.copy(path, folder)


def _check_read_again(model: Any, head: Head, folder: Path) -> None:
    """Reads the folder as a user of transformers would, and compares each tensor to the bit."""
    try:
        again = getattr(transformers, head.auto_class).from_pretrained(str(folder))
    except Exception as error:
        raise ModelError(f"what was written can't be read: {first_line(error)}") from error
    read = by_pytorch_name(again)
    for name, (weight, _) in by_pytorch_name(model).items():
        if name not in read or not np.array_equal(weight.numpy(), read[name][0].numpy()):
            raise ModelError(
                f"{model.config.model_type}: {name} came back as another tensor than was written; "
                "this architecture can't be converted"
            )


def _batches(model: Any, *, longest: int | None, seed: int = 0) -> list[Batch]:
    """Random tokens of several lengths, most rows with padding: int64 [rows, length] each."""
    random, config = np.random.default_rng(seed), model.config
    padding = config.pad_token_id
    tokens = np.setdiff1d(np.arange(config.vocab_size), [] if padding is None else [padding])
    batches: list[Batch] = []
    for length in sorted({min(each, longest or each) for each in LENGTHS}):
        ends = length - random.integers(0, length, N_ROWS)
        ends[0] = length
        if padding is None:  # some heads then take a row at a time
            ends = ends[:1]
        mask = (np.arange(length) < ends[:, None]).astype(np.int64)
        ids = np.where(mask, random.choice(tokens, size=mask.shape), padding or 0)
        batch = {"input_ids": ids, "attention_mask": mask}
        if getattr(config, "type_vocab_size", 0) > 1 and "token_type_ids" in model.input_signature:
            batch["token_type_ids"] = mask * (np.arange(length) >= length // 2)
        batches.append(batch)
    return batches


def _tensorflow_outputs(model: Any, batches: Sequence[Batch]) -> list[Batch]:
    return [
        {
            name: value.numpy()
            for name, value in model(dict(batch), training=False).items()
            if hasattr(value, "numpy")
        }
        for batch in batches
    ]


def _pytorch_outputs(
    checkpoint: Checkpoint,
    loaded: LoadedModel,
    head: Head,
    written: Path,
    batches: Sequence[Batch],
    *,
    to: str,
) -> tuple[list[Batch], Mapping[str, Any]]:
    """What PyTorch says to the batches, and what it told of the names.

    PyTorch reads what was written for it; else the source, where PyTorch saved that; else the same
    tensors under its names.
    """
    with TemporaryDirectory() as scratch:
        folder = written
        if to != "pytorch":
            folder = checkpoint.weights_folder
            if checkpoint.tensor_names() is None:
                folder = Path(scratch, "model")
                weights.save_model(loaded, folder)
        inputs, outputs = Path(scratch, "inputs"), Path(scratch, "outputs")
        flat = {
            f"{number}/{name}": np.ascontiguousarray(each)
            for number, batch in enumerate(batches)
            for name, each in batch.items()
        }
        save_file(flat, str(inputs))
        job = {
            "folder": str(folder),
            "auto_class": head.pytorch_class,
            "batches": str(inputs),
            "outputs": str(outputs),
        }
        told = run_child("tfft.pytorch.outputs", job)
        found: list[Batch] = [{} for _ in batches]
        for place, each in load_file(str(outputs)).items():
            number, _, name = place.partition("/")
            found[int(number)][name] = each
    return found, told


def _check_names(model: Any, told: Mapping[str, Any]) -> set[str]:
    """Compares TensorFlow's tensors with PyTorch's parameters.

    Returns:
        PyTorch's names of tensors that are tied to another one: they aren't lost.

    Raises:
        ModelError: one side lacks some; names the first.
    """
    ours, kind = set(by_pytorch_name(model)), type(model).__name__.removeprefix("TF")
    groups: list[list[str]] = told["parameters"]
    theirs = {name for group in groups for name in group}
    lacking = sorted(group[0] for group in groups if not ours & set(group))
    if lacking or told["missing"]:
        raise ModelError(
            f"{kind}: TensorFlow lacks tensors that PyTorch has: "
            f"{listed(lacking or told['missing'], most=3)}"
        )
    if strange := sorted(ours - theirs):
        raise ModelError(
            f"{kind}: PyTorch lacks tensors that TensorFlow has: {listed(strange, most=3)}"
        )
    return theirs


def _compare(
    ours: Sequence[Batch],
    theirs: Sequence[Batch],
    batches: Sequence[Batch],
) -> tuple[float, float]:
    """The largest output and the largest difference; what stands at padding is nobody's output.

    Raises:
        ModelError: they are too far apart.
    """
    largest = difference = 0.0
    for our, their, batch in zip(ours, theirs, batches, strict=True):
        mask = batch["attention_mask"].astype(bool)
        shared = our.keys() & their.keys()
        if not shared:
            raise ModelError(
                f"TensorFlow gives {listed(our)} and PyTorch {listed(their)}: no output in common"
            )
        for name in shared:
            one, other = our[name], their[name]
            if one.shape != other.shape:
                raise ModelError(
                    f"{name}: TensorFlow's are {one.shape}, PyTorch's {other.shape} for one batch"
                )
            if one.shape[:2] == mask.shape:
                one, other = one[mask], other[mask]
            largest = max(largest, float(np.abs(one).max()))
            # NaN is no number that is larger than another.
            difference = float(
                np.fmax(difference, np.nan_to_num(np.abs(one - other), nan=np.inf).max())
            )
    if not difference <= TOLERANCE * max(1.0, largest):
        raise ModelError(
            f"TensorFlow's outputs and PyTorch's differ by {difference:.2g} (the largest output is "
            f"{largest:.3g}, the tolerance {TOLERANCE:g} of it): nothing was written"
        )
    return largest, difference


def _hashes(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.h5")]):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
