"""The machine: processors, memory, GPUs, disk, and the folders that are written to.

machine = look_at_machine(Path())
check_devices(machine, seen, os.environ, has_gpu_extra=False)
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tfft.doctor.findings import Finding
from tfft.doctor.probe import Seen
from tfft.folders import cache_folder

GIB = 2**30
# BERT-base in float32 is 0.4 GiB: its weights, gradients and Adam's two moments take four of them,
# an epoch's checkpoint another on the disk.
LEAST_MEMORY_BYTES = 2 * GIB
LEAST_DISK_BYTES = 2 * GIB
DEFAULT_ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True)
class Machine:
    """What was seen without TensorFlow.

    Attributes:
        memory_bytes: what a new process can have; None where the system doesn't say.
        gpus: NVIDIA's, as the driver tells them, with their memory where it does.
    """

    n_cpus: int
    memory_bytes: int | None
    disk_bytes: int
    gpus: tuple[str, ...] = ()


def look_at_machine(folder: Path) -> Machine:
    return Machine(
        n_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cpus(),
        memory_bytes=_available_memory(),
        disk_bytes=shutil.disk_usage(folder).free,
        gpus=_nvidia_gpus(),
    )


def check_devices(
    machine: Machine, seen: Seen, environ: Mapping[str, str], *, has_gpu_extra: bool
) -> list[Finding]:
    findings = [Finding("devices", "CPU", "ok", _count(machine.n_cpus, "core"))]
    memory = machine.memory_bytes
    if memory is not None:
        is_low = memory < LEAST_MEMORY_BYTES
        told = f"{memory / GIB:.1f} GiB free"
        told += "; BERT-base and its optimizer take 2 GiB" if is_low else ""
        findings.append(Finding("devices", "memory", "warning" if is_low else "ok", told))
    if not machine.gpus:
        told = ", ".join(seen.gpus) if seen.gpus else "none; runs use the CPU"
        return [*findings, Finding("devices", "GPU", "ok", told)]
    return [*findings, _check_gpus(machine, seen, environ, has_gpu_extra=has_gpu_extra)]


def _check_gpus(
    machine: Machine, seen: Seen, environ: Mapping[str, str], *, has_gpu_extra: bool
) -> Finding:
    """The driver sees some; does TensorFlow?"""
    there = "; ".join(machine.gpus)
    if seen.gpus:
        told = f"{there}; TensorFlow sees {len(seen.gpus)} of {len(machine.gpus)}"
        return Finding("devices", "GPU", "ok", told)
    if seen.gpus is None:
        return Finding("devices", "GPU", "note", f"{there}; TensorFlow could not be asked")
    unseen = f"{there}; TensorFlow doesn't see it"
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.split(",")[0].strip() in ("", "-1"):
        why = f"CUDA_VISIBLE_DEVICES='{visible}' hides it"
        command = "unset CUDA_VISIBLE_DEVICES"
    elif not has_gpu_extra:
        why, command = "CUDA's libraries aren't installed", "pip install 'tfft[gpu]'"
    else:
        why = "CUDA's libraries are installed, so the driver may be too old"
        command = "nvidia-smi"
    return Finding("devices", "GPU", "warning", f"{unseen}: {why}", command)


def check_files(machine: Machine, environ: Mapping[str, str], folder: Path) -> list[Finding]:
    """The current folder, where runs go, and the two caches."""
    is_low = machine.disk_bytes < LEAST_DISK_BYTES
    told = f"{machine.disk_bytes / GIB:.1f} GiB free"
    told += "; a run of BERT-base takes up to 2 GiB" if is_low else ""
    findings = [Finding("files", "disk here", "warning" if is_low else "ok", told)]
    if not _is_writable(folder):
        findings.append(
            Finding("files", "this folder", "warning", "not writable; runs need --output elsewhere")
        )
    for name, path in cache_folders(environ).items():
        if _is_writable(path):
            findings.append(Finding("files", name, "ok", str(path)))
        else:
            told = f"{path} can't be written to: nothing can be fetched from the hub"
            command = "export HF_HOME=/a/folder/of/yours"
            findings.append(Finding("files", name, "warning", told, command))
    tokens = cache_folder(environ)
    if _is_writable(tokens):
        findings.append(Finding("files", "token cache", "ok", str(tokens)))
    else:
        told = f"{tokens} can't be written to: each run tokenises anew and holds all in memory"
        command = "export TFFT_CACHE=/a/folder/of/yours"
        findings.append(Finding("files", "token cache", "warning", told, command))
    return findings


def cache_folders(environ: Mapping[str, str]) -> dict[str, Path]:
    """Where huggingface_hub and datasets keep what they fetched; the rules are theirs."""
    home = environ.get("HF_HOME") or os.path.join(
        environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    hub = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    paths = {
        "hub cache": hub or os.path.join(home, "hub"),
        "data cache": environ.get("HF_DATASETS_CACHE") or os.path.join(home, "datasets"),
    }
    return {name: Path(path).expanduser() for name, path in paths.items()}


def check_hub(environ: Mapping[str, str]) -> list[Finding]:
    """Which hub will be asked; never the token, nor a password in the address."""
    endpoint = environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT)
    token = "HF_TOKEN is set" if environ.get("HF_TOKEN") else "HF_TOKEN is not set"
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        told = f"HF_ENDPOINT is no address of the form {DEFAULT_ENDPOINT}; {token}"
        return [Finding("hub", "endpoint", "warning", told, "unset HF_ENDPOINT")]
    return [Finding("hub", "endpoint", "ok", f"{without_password(endpoint)}; {token}")]


def without_password(address: str) -> str:
    scheme, mark, rest = address.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _nvidia_gpus() -> tuple[str, ...]:
    query = "--query-gpu=name,memory.total"
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        try:
            done = subprocess.run(  # noqa: S603
                [tool, query, "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=5,  # as long as TensorFlow's import, beside which it runs
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            done = None
        if done is not None and done.returncode == 0 and done.stdout.strip():
            return tuple(line.strip() for line in done.stdout.strip().splitlines())
    folders = sorted(Path("/proc/driver/nvidia/gpus").glob("*"))
    devices = sorted(Path("/dev").glob("nvidia[0-9]*"))
    return tuple(f"an NVIDIA GPU ({each.name})" for each in folders or devices)


def _available_memory() -> int | None:
    """The system's, or what is left of a container's share if that is less."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = dict(line.split(":", 1) for line in lines)
        available = int(table["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no share, or `max`
        return available
    return min(available, max(limit - used, 0))


def _is_writable(path: Path) -> bool:
    """It, or the nearest folder above it that exists, where it would be made."""
    nearest = path.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _cpus() -> int:
    return os.cpu_count() or 1


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
