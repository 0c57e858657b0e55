"""A fit in a process of its own, where this one has transformers open for another framework.

    result = fit(config, output=Path("runs/cola-1"), overwrite=False, progress=progress)

What the child says, line by line, goes to `progress`; its result is read from the run's folder.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tfft.config import RunConfig
from tfft.errors import ConfigError, TfftError
from tfft.progress import Progress
from tfft.results import FitResult

USAGE_ERROR, INTERRUPTED = 2, 130


def fit(config: RunConfig, *, output: Path, overwrite: bool, progress: Progress) -> FitResult:
    """`python -m tfft fit` with this config.

    Raises:
        TfftError: what the child said last.
    """
    framework = config.train.framework
    progress.note(f"framework: {framework}, in a process of its own")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.toml")
        path.write_text(config.to_toml(), encoding="utf-8")
        command = [sys.executable, "-m", "tfft", "fit", "--config", str(path)]
        command += ["--output", str(output), *(["--overwrite"] if overwrite else [])]
        with _started(command) as child:
            try:
                last = _told_by(child, progress)
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)
                last = _told_by(child, progress)
    if child.returncode == 0:
        return FitResult.read(output.absolute())
    told = last.partition(": ")[2] or last
    if child.returncode == INTERRUPTED:
        raise KeyboardInterrupt(told)
    if child.returncode == USAGE_ERROR:
        raise ConfigError(told)
    raise TfftError(told or f"the process of framework {framework} ended ({child.returncode})")


def _started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own command line
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C reaches it through us, and once
    )


def _told_by(child: subprocess.Popen[str], progress: Progress) -> str:
    """Hands on its lines until it ends; the last one."""
    last = ""
    for line in child.stderr or ():
        last = line.strip() or last
        if not last.lower().startswith(("error:", "interrupted:", "usage:")):
            progress.note(last)
    return last
