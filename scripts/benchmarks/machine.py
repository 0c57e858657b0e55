"""What a benchmark ran on; asks no framework, so that the parent stays light.

about()     # {"cpu": "AMD EPYC", "cores": 2, "gpus": [], "memory_gib": 23.4, "versions": {...}}
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    *("tfft", "tensorflow", "tf_keras", "transformers", "datasets", "numpy"),
    *("torch", "accelerate"),
)


def about() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": n_cores(),
        "gpus": gpus(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := version_of(name))},
    }


def n_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def gpus() -> list[str]:
    """Their names and memory, as the driver tells them."""
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def status(name: str, pid: int | str = "self") -> float:
    """A line of /proc/PID/status, in MiB; 0 of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(each.split()[1]) / 1024 for each in lines if each.startswith(name)), 0.0)
