"""What stands between this machine and a run, each with the line that mends it.

    report = examine()
    report.is_ready                                   # nothing needed is missing or broken
    for finding in report.to_mend:
        finding.name, finding.message, finding.command

It has to answer where tfft itself can't run: packages are known by their metadata, and TensorFlow
is imported in a process of its own, which may die.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tfft import minilm
from tfft.doctor.environment import check_environment
from tfft.doctor.findings import Finding, Report
from tfft.doctor.machine import check_devices, check_files, check_hub, look_at_machine
from tfft.doctor.packages import (
    Lookup,
    ModuleFinder,
    check_extras,
    check_minilm,
    check_packages,
    check_python,
    find_module,
    installed,
)
from tfft.doctor.probe import Probe, check_imports

__all__ = ["Finding", "Report", "examine"]


def examine(
    environ: Mapping[str, str] = os.environ,
    *,
    folder: Path = Path(),
    lookup: Lookup = installed,
    module: ModuleFinder = find_module,
) -> Report:
    """Looks at everything but the network; takes as long as one import of TensorFlow.

    Args:
        folder: where runs are written; its disk is looked at.
        lookup: a package's name -> what its metadata says.
        module: a module's name -> the file that an import would read.
    """
    has_tensorflow = module("tensorflow") is not None
    has_keras_2 = module("tf_keras") is not None
    # Without tf-keras this makes TensorFlow's import fail: that is told, and TensorFlow asked.
    spared = () if has_keras_2 else ("TF_USE_LEGACY_KERAS",)
    seeing = {name: value for name, value in environ.items() if name not in spared}
    # The rest is looked at meanwhile.
    with Probe(seeing, keras=has_keras_2) if has_tensorflow else Probe.skipped() as probe:
        packages = check_packages(lookup, module)
        extras = check_extras(lookup)
        weights = check_minilm(minilm.installed_folder())
        machine = look_at_machine(folder)
        files = check_files(machine, environ, folder)
        seen = probe.result()
    has_gpu_extra = any(each.name == "gpu" and each.state == "ok" for each in extras)
    return Report(
        (
            *check_python(lookup),
            *packages,
            *extras,
            *weights,
            *check_imports(seen, lookup),
            *check_devices(machine, seen, environ, has_gpu_extra=has_gpu_extra),
            *files,
            *check_hub(environ),
            *check_environment(
                environ,
                has_keras_2=has_keras_2,
                has_gpus=bool(machine.gpus),
                xla_fault=seen.faults.get("xla"),
                module=module,
            ),
        )
    )
