"""Writes a format, reads it again, and compares it with the live model before it is called done.

    check = produce("tflite", live, Path("out.partial"), batches, quantize="int8")
    check.largest_difference, check.n_bytes, check.latency_ms["8"]

One that differs, or can't be done for the architecture, is an error, and leaves nothing behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfft.conversion import TOLERANCE
from tfft.errors import ConfigError, ExportError, TfftError, first_line, listed
from tfft.export.formats import onnx, pytorch, tflite
from tfft.export.formats.latency import median_ms, timed_batches
from tfft.export.formats.live import Batch, Live
from tfft.pytorch.backend import check_installed
from tfft.results import FormatCheck

TOLERANCES = {None: TOLERANCE, "float16": 0.01, "int8": 0.25}
"""How far the logits may be from the live model's, as a part of the largest where that is above 1.

In float32 only the order of the sums differs. float16 has 11 bits of each weight, int8 8: there the
bound finds what is broken, and how good the format is the metrics say. A MiniLM fine-tuned on CoLA
differs by 0.002 of its largest in float16 and by 0.13 in TFLite's int8.
"""

# The logits of batches, float32 [batch, labels] each; and ms a call by batch size.
Ran = tuple[list[np.ndarray], dict[int, float]]
# Logits of all batches, in order -> metrics by name.
Evaluate = Callable[[Sequence[np.ndarray]], Mapping[str, float]]


@dataclass(frozen=True)
class Format:
    """How a format is written, and read again.

    Attributes:
        file: the one that has the weights.
        write: (live, folder, quantize=...) -> None.
        run: (folder, batches, batches to be timed by size) -> what it says, and how fast.
        quantize: what its weights may be, beside float32.
        check_installed: raises where a package is missing.
    """

    file: str
    write: Callable[..., None]
    run: Callable[[Path, Sequence[Batch], Mapping[int, Batch]], Ran]
    quantize: tuple[str, ...] = ()
    check_installed: Callable[[], None] = lambda: None


def _in_process(read: Callable[[Path], Callable[[Batch], np.ndarray]]) -> Callable[..., Ran]:
    def run(folder: Path, batches: Sequence[Batch], timed: Mapping[int, Batch]) -> Ran:
        logits = read(folder)
        latency_ms = {
            size: median_ms(lambda each=batch: logits(each))  # type: ignore[misc]
            for size, batch in timed.items()
        }
        return [logits(batch) for batch in batches], latency_ms

    return run


FORMATS: Mapping[str, Format] = {
    "torch": Format(pytorch.FILE, pytorch.write, pytorch.run, check_installed=check_installed),
    "onnx": Format(
        onnx.FILE, onnx.write, _in_process(onnx.read), check_installed=onnx.check_installed
    ),
    "tflite": Format(
        tflite.FILE, tflite.write, _in_process(tflite.read), quantize=("int8", "float16")
    ),
}


def check_asked(name: str, quantize: str | None) -> None:
    """Refuses what can't be, before anything is loaded.

    Raises:
        ConfigError: the format isn't quantised.
        TfftError: it needs a package that isn't installed.
    """
    if quantize is not None and quantize not in FORMATS[name].quantize:
        formats = (each for each, about in FORMATS.items() if quantize in about.quantize)
        able = ["saved_model", *formats]
        raise ConfigError(
            f"quantize {quantize} goes with format {listed(able)}, not {name}",
            options=["export.quantize"],
        )
    FORMATS[name].check_installed()


def produce(
    name: str,
    live: Live,
    folder: Path,
    batches: Sequence[Batch],
    *,
    quantize: str | None = None,
    evaluate: Evaluate | None = None,
) -> FormatCheck:
    """Makes `folder`, and says how far what is in it is from the live model.

    Args:
        name: of `FORMATS`.
        batches: what both are asked; one at least.
        evaluate: the metrics of such logits, where the texts have labels.

    Raises:
        ExportError: the format can't be done for this architecture, or differs.
    """
    check_asked(name, quantize)
    about = FORMATS[name]
    try:
        about.write(live, folder, quantize=quantize)
        found, latency_ms = _run(about, name, live, folder, batches)
        n_bytes = (folder / about.file).stat().st_size
        expected = [live.logits(batch) for batch in batches]
        check = compared(name, expected, found, quantize=quantize, evaluate=evaluate)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return check.measured(n_bytes, latency_ms)


def _run(about: Format, name: str, live: Live, folder: Path, batches: Sequence[Batch]) -> Ran:
    most = max(batches, key=lambda each: each["input_ids"].shape[1])
    try:
        return about.run(folder, batches, timed_batches(most))
    except (TfftError, OSError):
        raise
    except Exception as error:
        raise ExportError(
            f"{live.architecture}: {name} was written and can't be run: {first_line(error)}; "
            "--format saved_model or torch can be"
        ) from error


def compared(
    name: str,
    expected: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    *,
    quantize: str | None = None,
    evaluate: Evaluate | None = None,
) -> FormatCheck:
    """How far the logits are apart.

    Raises:
        ExportError: too far.
    """
    ours, theirs = np.concatenate(expected), np.concatenate(found)
    if ours.shape != theirs.shape:
        raise ExportError(f"{name}: its logits are {theirs.shape}, the live model's {ours.shape}")
    largest = float(np.abs(ours).max())
    # NaN is no number that is larger than another.
    difference = float(np.nan_to_num(np.abs(ours - theirs), nan=np.inf).max())
    tolerance = TOLERANCES[quantize] * max(1.0, largest)
    if not difference <= tolerance:
        raise ExportError(
            f"{name}: its logits differ from the live model's by {difference:.2g} (the largest is "
            f"{largest:.3g}, the tolerance {tolerance:.2g}): nothing was written"
        )
    return FormatCheck(
        format=name,
        quantize=quantize,
        n_texts=len(ours),
        largest_logit=largest,
        largest_difference=difference,
        tolerance=tolerance,
        live_metrics={} if evaluate is None else evaluate(expected),
        metrics={} if evaluate is None else evaluate(found),
    )
