"""TensorFlow equals PyTorch, architecture by architecture; and what doesn't is caught.

All jobs, sound and broken ones, go through one child process, which imports torch once.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Outcome
from safetensors.numpy import load_file, save_file
from tiny import sentence

import tfft
from tfft.api import merge_parity
from tfft.certificate.certify import judge, record_tensorflow
from tfft.certificate.child import run_pytorch
from tfft.certificate.jobs import CHECKPOINT, TRAIN, Job, read_batches, write_batches
from tfft.certificate.start import write_start
from tfft.config import ParityConfig
from tfft.errors import TfftError
from tfft.progress import Progress
from tfft.ready import prepare, tokenise
from tfft.reports.parity import parity_page
from tfft.results import ParityResult

ARCHITECTURES = ("bert", "distilbert", "roberta", "electra", "albert", "mpnet", "deberta-v2")
TASKS = {
    **{kind: (kind, "reviews") for kind in ARCHITECTURES},
    "multi_label": ("bert", "topics.csv"),
    "regression": ("distilbert", "scores.csv"),
}
TOPICS = ("sports|politics", "politics", "arts|sports", "arts")


def swap_two_weights(folder: Path) -> None:
    path = folder / CHECKPOINT / "model.safetensors"
    tensors = load_file(path)
    one, other = (f"bert.encoder.layer.{number}.attention.self.query.weight" for number in (0, 1))
    tensors[one], tensors[other] = tensors[other], tensors[one]
    save_file(tensors, path, metadata={"format": "pt"})


def change_epsilon(folder: Path) -> None:
    """To what Keras' Adam has by default, and where it has it."""
    job = Job.read(folder)
    replace(job, train=replace(job.train, epsilon=1e-7), keras_epsilon=True).write(folder)


def change_layer_norm(folder: Path) -> None:
    _set_in_config(folder, layer_norm_eps=1e-5)


def leave_dropout_on(folder: Path) -> None:
    _set_in_config(folder, hidden_dropout_prob=0.1)


def shift_a_label(folder: Path) -> None:
    """Of one batch, the fourth: what comes before it is as it was."""
    batches = list(read_batches(folder / TRAIN))
    features, labels = batches[3]
    batches[3] = features, np.roll(labels, 1)
    write_batches(folder / TRAIN, batches)


def _set_in_config(folder: Path, **values: Any) -> None:
    path = folder / CHECKPOINT / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# What is planted in PyTorch's half, and the first stage that says so.
FAULTS: dict[Callable[[Path], None], str] = {
    swap_two_weights: "start",
    change_epsilon: "parameters after 1 step",
    change_layer_norm: "logits",
    leave_dropout_on: "gradients",
    shift_a_label: "parameters after 10 steps",
}


@pytest.fixture(scope="module")
def certified(
    checkpoints: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ParityResult]:
    """The results by architecture, by task, and by fault."""
    root = tmp_path_factory.mktemp("parity")
    write_tables(root)
    data = {"reviews": reviews, **{path.name: path for path in root.glob("*.csv")}}
    pairs = {}
    for name, (kind, source) in TASKS.items():
        folder = start(root / name, checkpoints / kind, data[source])
        pairs[name] = (folder, folder)
    for plant in FAULTS:
        broken = Path(shutil.copytree(root / "bert", root / plant.__name__))
        plant(broken)
        pairs[plant.__name__] = (root / "bert", broken)
    run_without_tensorflow([theirs for _, theirs in pairs.values()], root / "poison")
    tolerances = ParityConfig().tolerances
    return {name: judge(*pair, tolerances=tolerances) for name, pair in pairs.items()}


def write_tables(folder: Path) -> None:
    texts = [sentence(number)[0] for number in range(60)]
    topics = [f"{text},{TOPICS[number % 4]}" for number, text in enumerate(texts)]
    scores = [f"{text},{number % 11 / 2}" for number, text in enumerate(texts)]
    (folder / "topics.csv").write_text("\n".join(["text,topics", *topics]) + "\n")
    (folder / "scores.csv").write_text("\n".join(["text,score", *scores]) + "\n")


def start(folder: Path, model: Path, data: Path) -> Path:
    """The folder with the job and TensorFlow's half."""
    more = {"label_delimiter": "|"} if data.name == "topics.csv" else {}
    config, asked = merge_parity({"data": str(data), "model": str(model), "batch_size": 8, **more})
    progress = Progress()
    prepared = prepare(config, progress)
    write_start(config, asked, prepared, tokenise(prepared, progress), folder)
    record_tensorflow(folder, progress)
    return folder


def run_without_tensorflow(folders: list[Path], poison: Path) -> None:
    """Nor with it: importing TensorFlow ends the process."""
    for name in ("tensorflow", "tf_keras"):
        (poison / name).mkdir(parents=True)
        (poison / name / "__init__.py").write_text(f"raise SystemExit('{name} was imported')")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(poison), *([before] if before else [])])
    try:
        run_pytorch(folders)
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


@pytest.mark.parametrize("name", TASKS)
def test_tensorflow_equals_pytorch(certified: dict[str, ParityResult], name: str) -> None:
    result = certified[name]
    assert result.passed, result.verdict
    assert [each.name for each in result.stages if each.name != "gradients of nought"] == [
        *("start", "hidden states", "logits", "loss", "gradients"),
        *(f"parameters after {steps}" for steps in ("1 step", "10 steps", "20 steps")),
        *("losses of 20 steps", "metrics"),
    ]


@pytest.mark.parametrize("is_read", [False, True])
def test_what_one_side_has_alone_is_told_and_a_fault_where_it_is_read(is_read: bool) -> None:
    from tfft.certificate.compare import _start

    ours: Any = SimpleNamespace(
        told={
            "start": {"head.weight": "a", "pooler.weight": "b"},
            "unread": [] if is_read else ["pooler.weight"],
        }
    )
    theirs: Any = SimpleNamespace(told={"start": {"head.weight": "a"}, "unread": []})
    start = _start(ours, theirs)
    assert start.passed != is_read
    assert start.where.startswith("pooler.weight (in TensorFlow alone")
    assert _start(ours, ours).where == ""


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_compared_is_not_nought(certified: dict[str, ParityResult], name: str) -> None:
    result = certified[name]
    learning = [each for each in result.tensors if not each.is_exact_zero]
    assert len(learning) > 20
    assert max(each.largest_gradient for each in learning) > 1e-3
    assert len(set(result.losses["pytorch"])) == 20


def test_a_bias_of_keys_has_no_gradient_in_exact_arithmetic(
    certified: dict[str, ParityResult],
) -> None:
    assert certified["bert"].exact_zeros == tuple(
        f"bert.encoder.layer.{number}.attention.self.key.bias" for number in (0, 1)
    )


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_caught(
    certified: dict[str, ParityResult], plant: Callable[[Path], None]
) -> None:
    result = certified[plant.__name__]
    assert not result.passed
    first = next(stage.name for stage in result.stages if not stage.passed)
    assert first == FAULTS[plant]
    assert result.verdict.startswith(f"{first}: ")


def test_swapped_weights_are_named(certified: dict[str, ParityResult]) -> None:
    verdict = certified["swap_two_weights"].verdict
    assert "layer.0.attention.self.query.weight" in verdict
    assert "layer.1.attention.self.query.weight" in verdict


def test_what_layer_parted_first_is_told(certified: dict[str, ParityResult]) -> None:
    hidden = next(
        stage for stage in certified["swap_two_weights"].stages if stage.name == "hidden states"
    )
    assert hidden.where == "layer 1"


@pytest.fixture
def given(certified: dict[str, ParityResult], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has `tfft parity` find a result made above."""

    def give(name: str) -> None:
        def found(*_: Any, **__: Any) -> ParityResult:
            return replace(certified[name], data="<script>reviews", model="bert")

        monkeypatch.setattr("tfft.certificate.certify.certify", found)

    return give


def test_a_difference_ends_with_exit_code_1_and_its_tensor(
    given: Any, tfft_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    given("swap_two_weights")
    output = tmp_path / "parity.json"
    outcome = tfft_cli("parity", "--data", "builtin/acceptability", "--output", output)
    assert outcome.code == 1
    [line] = [each for each in outcome.err.splitlines() if each.startswith("error")]
    assert "layer.0.attention.self.query.weight" in line
    written = json.loads(output.read_text())
    assert not written["passed"]
    assert "differs" in output.with_suffix(".html").read_text()


def test_agreement_ends_with_exit_code_0(
    given: Any, tfft_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    given("bert")
    output = tmp_path / "parity.json"
    outcome = tfft_cli("parity", "--data", "builtin/acceptability", "--output", output)
    assert outcome.code == 0
    assert "TensorFlow and PyTorch agree" in outcome.out
    written = json.loads(output.read_text())
    assert written["passed"]
    assert written["tolerances"]["logits"] == 1e-5
    assert set(written["hashes"]) == {"checkpoint", "train_batches", "validation_batches"}
    assert {"torch", "tensorflow", "transformers"} <= set(written["versions"])


def test_the_page_escapes_what_comes_from_data(certified: dict[str, ParityResult]) -> None:
    page = parity_page(replace(certified["bert"], data="<script>alert(1)</script>"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == 2


def test_the_tutorials_recipes_are_told_apart_one_change_at_a_time(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    result = tfft.parity(
        data=str(reviews),
        model=str(tiny),
        recipe="tutorial",
        steps=4,
        batch_size=8,
        output=tmp_path / "parity.json",
    )
    assert result.passed, result.verdict  # the start is the same, whatever comes after
    effects = {each.name: each.effect for each in result.effects}
    assert list(effects) == [
        *("TensorFlow's recipe", "optimizer", "epsilon", "learning rate", "schedule"),
        *("dropout", "PyTorch's recipe"),
    ]
    assert effects.pop("TensorFlow's recipe") == 0.0
    assert all(effects.values())
    assert (tmp_path / "parity.html").read_text().count("<svg") == 2


def test_a_recipe_of_one_s_own_is_none_of_the_tutorials(tfft_cli: Callable[..., Outcome]) -> None:
    outcome = tfft_cli(
        *("parity", "--data", "builtin/acceptability"),
        *("--recipe", "tutorial", "--learning-rate", "1e-4"),
    )
    assert outcome.code == 2
    assert "recipe tutorial says itself what learning_rate is" in outcome.err


@pytest.mark.parametrize("text", ["much", "nan", "0"])
def test_a_tolerance_that_is_no_number_is_a_usage_error(
    tfft_cli: Callable[..., Outcome], text: str
) -> None:
    outcome = tfft_cli("parity", "--data", "builtin/acceptability", "--tolerance-logits", text)
    assert outcome.code == 2
    assert "tolerance" in outcome.err


def test_without_torch_it_says_what_to_install(
    tfft_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tfft.pytorch.backend.find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    outcome = tfft_cli("parity", "--data", "builtin/acceptability")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "tfft[torch]" in outcome.err


def test_what_was_measured_is_not_overwritten(
    tfft_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parity.html").touch()
    outcome = tfft_cli("parity", "--data", "builtin/acceptability")
    assert outcome.code == 1
    assert "parity.html exists; choose another --output" in outcome.err


def test_a_child_that_dies_has_its_last_line_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tfft.certificate.child.MODULE", "tfft.nowhere")
    with pytest.raises(TfftError, match=r"PyTorch.s process failed: .* tfft\.nowhere"):
        run_pytorch([tmp_path])


def test_a_gpu_that_is_not_there_is_refused() -> None:
    from tfft.backend import tf
    from tfft.certificate.tensorflow import on_device

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is one")
    with pytest.raises(TfftError, match="TensorFlow finds no GPU"), on_device("gpu"):
        pass
