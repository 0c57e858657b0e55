"""Tiny random checkpoints, saved by PyTorch itself in a process of its own, and tiny data.

    make_checkpoints(folder, "bert", "roberta")     # folder/bert, folder/roberta
    write_reviews(folder / "reviews")

tfft's own processes hide torch from transformers, so PyTorch's side always runs as a child.
"""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
CONFIGS = {
    "bert": {**SIZES, "max_position_embeddings": 64},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "roberta": {**SIZES, "max_position_embeddings": 66, "pad_token_id": 0},
    "electra": {**SIZES, "embedding_size": 8},
    "albert": {**SIZES, "embedding_size": 8},
    "mpnet": SIZES,
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "deberta-v2": {
        **SIZES,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
    },
}
CLASSIFIER = "ForSequenceClassification"
WORDS = [
    "good",
    "bad",
    "film",
    "food",
    "slow",
    "great",
    "awful",
    "the",
    "a",
    "was",
    "very",
    "not",
    "it",
    "i",
]
_VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *WORDS,
    *string.ascii_lowercase,
    *string.digits,
    *(f"##{each}" for each in string.ascii_lowercase + string.digits),
    *".,!?'-",
]
VOCABULARY = list(dict.fromkeys(_VOCABULARY))


def python(code: str, *arguments: str, torch: bool = False, timeout_s: float = 300) -> str:
    """Runs `code` in a fresh interpreter, transformers' torch side on or off; its output."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("USE_TF", "USE_TORCH", "TF_USE_LEGACY_KERAS")
    }
    if torch:
        environment |= {"USE_TF": "0", "USE_TORCH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def make_checkpoints(folder: Path, *kinds: str) -> None:
    """A torch-saved body without a head, and a tokenizer, in `folder/KIND` for each kind."""
    _in_pytorch("save", folder, *kinds)


def _in_pytorch(function: str, folder: Path, *kinds: str) -> None:
    """Calls a function of this module in a child."""
    begin = "import sys; sys.path.insert(0, sys.argv[1]); import tiny"
    code = f"{begin}; tiny.{function}(*sys.argv[2:])"
    python(code, str(Path(__file__).parent), str(folder), *kinds, torch=True)


def save(folder: str, *kinds: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModel, BertTokenizerFast

    torch.manual_seed(0)
    for kind in kinds:
        path = Path(folder, kind)
        config = AutoConfig.for_model(kind, vocab_size=len(VOCABULARY), **CONFIGS[kind])
        # Weights of 0.02 leave every logit near nought, and a fault unseen.
        config.initializer_range = 0.5
        AutoModel.from_config(config).save_pretrained(path)
        (path / "vocab.txt").write_text("\n".join(VOCABULARY))
        BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)


def make_forms(folder: Path, *kinds: str) -> None:
    """What PyTorch saves of models with heads, in `folder`; see `save_forms`."""
    _in_pytorch("save_forms", folder, *kinds)


def save_forms(folder: str, *kinds: str) -> None:
    """A classifier of each kind; of BERT other heads too, and the classifier in every form.

    `KIND`; `bert-HEAD`; `float16`, `bfloat16`, `float32` and `pickle`, each single and `-sharded`.
    """
    import torch
    import transformers
    from transformers import AutoConfig

    def save_one(name: str, kind: str, auto_class: str, dtype: str = "float32", **how: Any) -> None:
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, vocab_size=len(VOCABULARY), **CONFIGS[kind])
        config.initializer_range = 0.5
        model = getattr(transformers, f"AutoModel{auto_class}").from_config(config)
        path = Path(folder, name)
        model.to(getattr(torch, dtype)).save_pretrained(path, **how)
        (path / "vocab.txt").write_text("\n".join(VOCABULARY))

    for kind in kinds:
        save_one(kind, kind, CLASSIFIER)
    for head in ("ForQuestionAnswering", "ForMaskedLM", ""):
        save_one(f"bert-{head}", "bert", head)
    for suffix, how in (("", {}), ("-sharded", {"max_shard_size": "5KB"})):
        for dtype in ("float32", "float16", "bfloat16"):
            save_one(f"{dtype}{suffix}", "bert", CLASSIFIER, dtype, **how)
        save_one(f"pickle{suffix}", "bert", CLASSIFIER, safe_serialization=False, **how)


def sentence(number: int) -> tuple[str, str]:
    """A text of 3 to 12 words and the label that it has."""
    is_good = number % 3 != 0
    padding = " very" * (number % 9)
    return f"the film was{padding} {'good' if is_good else 'bad'} {number}", str(int(is_good))


def write_reviews(folder: Path, *, n_train: int = 45, n_validation: int = 21) -> Path:
    """A folder of train.csv, validation.jsonl and an unlabelled test.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    train = [f'"{text}",{label}' for text, label in map(sentence, range(n_train))]
    (folder / "train.csv").write_text("\n".join(["text,label", *train]) + "\n")
    held_out = map(sentence, range(100, 100 + n_validation))
    lines = [json.dumps({"text": text, "label": int(label)}) for text, label in held_out]
    (folder / "validation.jsonl").write_text("\n".join(lines) + "\n")
    rows = [f'{number + 7},"{sentence(number)[0]}",-1' for number in range(200, 209)]
    (folder / "test.csv").write_text("\n".join(["idx,text,label", *rows]) + "\n")
    return folder
