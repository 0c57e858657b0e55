"""What a shell sees: help, streams, exit codes, and a run that is interrupted."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome
from tiny import python, write_reviews

from tfft.config import SECTIONS, option_names, options_of

CLI = Callable[..., Outcome]
TFFT = (sys.executable, "-m", "tfft")


def test_help_names_the_verbs_and_wakes_nothing_heavy() -> None:
    code = """
import sys
from tfft.cli import main
for arguments in (["--help"], ["fit", "--help"], ["--version"]):
    try:
        main(arguments)
    except SystemExit as stop:
        assert stop.code == 0
print(sorted({"tensorflow", "datasets", "transformers", "numpy", "rich"} & set(sys.modules)))
"""
    out = python(code)
    assert all(verb in out for verb in ("fit", "evaluate", "predict"))
    assert out.splitlines()[-1] == "[]"


def test_every_option_is_a_flag_with_its_help(tfft_cli: CLI) -> None:
    shown = " ".join(tfft_cli("fit", "--help").out.split())
    places = {place: name for name, place in option_names().items()}
    for section in SECTIONS:
        for about in options_of(section).values():
            assert f"--{places[about.place].replace('_', '-')} " in shown
            assert about.help.split(".")[0].split(" ")[0] in shown
            assert about.help


def test_python_m_tfft_is_tfft() -> None:
    done = subprocess.run([*TFFT, "--help"], capture_output=True, text=True, check=True)
    assert "evaluate" in done.stdout


def test_results_go_to_standard_output_and_the_rest_to_standard_error(
    tfft_cli: CLI, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    outcome = tfft_cli(
        "fit", "--data", reviews, "--model", tiny, "--output", tmp_path / "out",
        "--set", "train.epochs=1", "--limit-train", 20, "--json",
    )  # fmt: skip
    metrics = json.loads(outcome.out)
    assert metrics == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["train"]["n_examples"] == 20
    lines = outcome.err.splitlines()
    assert lines[0] == "columns: text text, label label (2 classes: 0, 1)"
    assert [line.split()[0] for line in lines] == ["columns:", "loader:", "head:", "epoch"]


def test_flags_go_before_set_and_set_before_the_toml(
    tfft_cli: CLI, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    toml = tmp_path / "run.toml"
    toml.write_text(
        f'[data]\nsource = "{reviews}"\n[model]\nsource = "{tiny}"\n'
        "[train]\nepochs = 3\nbatch_size = 4\nseed = 5\n"
    )
    outcome = tfft_cli(
        "fit", "--config", toml, "--set", "train.epochs=2", "--set", "train.batch_size=8",
        "--epochs", 1, "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    assert json.loads(outcome.out)["train"]["n_steps"] == 6  # 45 rows by 8, once
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["seed"] == 5


def test_without_output_runs_are_numbered(
    tfft_cli: CLI, reviews: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "reviews-1").mkdir(parents=True)
    outcome = tfft_cli("fit", "--data", reviews, "--model", tiny, "--epochs", 1)
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "best epoch 1, saved in runs/reviews-2"
    assert (tmp_path / "runs" / "reviews-2" / "metrics.json").exists()


def test_an_interrupted_run_keeps_its_epoch_and_says_so(tiny: Path, tmp_path: Path) -> None:
    data = write_reviews(tmp_path / "data", n_train=2000)
    output = tmp_path / "out"
    process = subprocess.Popen(
        [*TFFT, "fit", "--data", data, "--model", tiny, "--epochs", "500", "--output", output],
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in a shell's background, it would be inherited as ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1/"):
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    last = rest.strip().splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert "out.partial/checkpoints/epoch-" in last
    assert "Traceback" not in rest
    assert not output.exists()
    saved = sorted((tmp_path / "out.partial" / "checkpoints").iterdir())
    assert (saved[0] / "model.safetensors").exists()
    again = subprocess.run(
        [*TFFT, "fit", "--data", data, "--output", output],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1
    assert "interrupted run" in again.stderr
    assert saved[0].exists()


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("tfft.data.encode.join", "nothing was saved"),
        ("tfft.loop._train_until", "out.partial stays, without an epoch: none was done"),
        ("tfft.loop.score", "out.partial stays, without an epoch: none was done"),
    ],
    ids=["tokenising", "the first steps", "evaluation"],
)
def test_a_key_press_before_an_epoch_says_what_is_left(
    where: str,
    told: str,
    tfft_cli: CLI,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    data = write_reviews(tmp_path / "my data")
    monkeypatch.setenv("TFFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(where, pressed)
    outcome = tfft_cli("fit", "--data", "my data", "--model", tiny, "--output", "out")
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1] == f"interrupted: {told}"
    assert not (tmp_path / "out").exists()
    if told == "nothing was saved":
        assert not (tmp_path / "out.partial").exists()
        assert not [each for each in (tmp_path / "cache" / "tokens").iterdir() if each.is_dir()]
    else:  # with the config, whose paths hold from any folder
        resolved = tomllib.loads((tmp_path / "out.partial" / "run.toml").read_text())
        assert resolved["data"]["source"] == str(data)


def test_a_terminal_sees_a_live_bar(tiny: Path, tmp_path: Path) -> None:
    data = write_reviews(tmp_path / "data", n_train=2000)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            *TFFT,
            "fit",
            "--data",
            data,
            "--model",
            tiny,
            "--epochs",
            "1",
            "--output",
            tmp_path / "o",
        ],
        stderr=theirs,
        stdout=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    seen = b""
    started = time.monotonic()
    while time.monotonic() - started < 120:
        try:
            block = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        seen += block
    assert process.wait(timeout=60) == 0
    text = seen.decode(errors="replace")
    assert "loading the model ..." in text
    assert "examples/s" in text
    assert "2000/2000" in text
    assert "epoch 1/1  loss" in text
