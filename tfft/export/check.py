"""A clean process loads what was saved, and what it found is judged.

    found = check(folder, live, signatures=("serving_default", "tokens"))
    found["latency"]["batch_1_ms"]      # all of it goes into check.json

`checker.py` is that process: Python and TensorFlow, and no way to import anything else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfft.errors import ExportError, listed
from tfft.export import checker
from tfft.export.live import Live
from tfft.export.signatures import TEXT_SIGNATURE

TOLERANCE = 1e-5
"""How far a bundle's scores may be from the live model's.

Both compute in float32 on the same weights, in batches of other shapes, whose sums round otherwise:
a fine-tuned MiniLM's scores differ by 3e-7, a wrong token's by 1e-3 and more. Of regression it is
a part of the largest number where that is above 1.
"""

# What would give the child another Keras, another Python path, or all of a GPU's memory.
_NOT_HANDED_ON = ("TF_USE_LEGACY_KERAS", "USE_TF", "USE_TORCH")


def tolerance_of(live: Live, apart: float) -> float:
    """How far the numbers may be from the live model's, of which small weights are `apart`."""
    return TOLERANCE * live.scale + apart


def check(
    folder: Path, live: Live, *, signatures: Sequence[str], apart: float = 0.0
) -> dict[str, Any]:
    """What the clean process found of the SavedModel in `folder`.

    Args:
        apart: how far small weights take its numbers from the live model's.

    Raises:
        ExportError: the process broke off, or found what may not be; says which.
    """
    job = {"saved_model": str(folder), "signatures": list(signatures), **live.to_json()}
    found = _run(job)
    judge(found, live, signatures, apart=apart)
    return found


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: text for name, text in os.environ.items() if name not in _NOT_HANDED_ON}
    with TemporaryDirectory(prefix="tfft-check-") as scratch:
        asked, answer = Path(scratch, "job.json"), Path(scratch, "answer.json")
        asked.write_text(json.dumps(job), encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-I", checker.__file__, str(asked), str(answer)],
            env={**kept, "TF_FORCE_GPU_ALLOW_GROWTH": "true", "TF_CPP_MIN_LOG_LEVEL": "3"},
            cwd=scratch,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode < 0:
            raise ExportError(
                f"the process that checks the bundle was killed (signal {-done.returncode}), most "
                "likely for want of memory; nothing was written"
            )
        if done.returncode or not answer.exists():
            lines = [each.strip() for each in done.stderr.splitlines() if each.strip()]
            why = lines[-1][:300] if lines else f"exit code {done.returncode}"
            raise ExportError(
                f"the bundle can't be used with TensorFlow alone: {why}; nothing was written"
            )
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def judge(
    found: Mapping[str, Any], live: Live, signatures: Sequence[str], *, apart: float = 0.0
) -> None:
    """Refuses what isn't as it has to be.

    Raises:
        ExportError: names the first fault.
    """

    def refuse(what: str) -> ExportError:
        return ExportError(f"the check failed, nothing was written: {what}")

    if present := set(checker.ABSENT) - set(found["absent"]):
        raise refuse(f"the clean process could import {listed(sorted(present))}")
    if outside := found["ops_outside_core"]:
        raise refuse(f"ops that TensorFlow itself lacks: {listed(outside)}")
    if lacking := [name for name in signatures if name not in found["signatures"]]:
        raise refuse(f"the signature {lacking[0]} is missing")
    answers = found["answers"]
    tolerance = tolerance_of(live, apart)
    faults = {name: _apart(answers[name], tolerance) for name in signatures}
    tokens_agree = not any(faults[name] for name in signatures if name != TEXT_SIGNATURE)
    for name in signatures:
        if faults[name]:
            why = ""
            if name == TEXT_SIGNATURE and tokens_agree:
                why = "; those from tokens agree, so that the tokenizer in the graph is another one"
            of = live.told(answers[name].get("row", 0))
            raise refuse(f"{name}: {faults[name]}{why} ({of})")
        if other := answers[name]["other_label"]:
            raise refuse(
                f"{name}: the label is '{other['label']}' where the live model says "
                f"'{other['expected']}' and the scores agree: the label names are another's or in "
                f"another order ({live.told(other['row'])})"
            )
        if wrong := {k: each for k, each in answers[name]["empty"].items() if each[0] != 0}:
            raise refuse(f"{name}: an empty batch has an answer: {listed(wrong)}")


def _apart(answer: Mapping[str, Any], tolerance: float) -> str:
    """What is too far apart, or nothing."""
    if shapes := answer.get("shape"):
        return f"the answers are {shapes[0]}, the live model's {shapes[1]}"
    difference = answer["largest_difference"]
    if difference is None:
        return "some numbers are none (NaN)"
    if difference > tolerance:
        return (
            f"the numbers differ from the live model's by {difference:.2g} (the tolerance is "
            f"{tolerance:.2g})"
        )
    return ""
