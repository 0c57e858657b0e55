"""Training on a stream: the same rows whatever the source, each once, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Outcome
from helpers import one_line, write_csv, write_jsonl
from hub import Hub, card, parquet
from tiny import python, sentence

import tfft
from tfft.config import DataConfig
from tfft.data import examples as examples_module
from tfft.data import files, sources
from tfft.data.buffer import Buffer
from tfft.data.encode import encode
from tfft.data.examples import Examples, load_training
from tfft.errors import DataError
from tfft.pretrained import load_tokenizer, open_checkpoint
from tfft.tasks import TASKS

CLI = Callable[..., Outcome]
N_ROWS = 120
N_HELD_OUT = 4  # a tenth of the rows that are looked at
N_TRAIN = N_ROWS - N_HELD_OUT


@pytest.fixture(autouse=True)
def short_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that are longer than what is looked at, and of several chunks, with few rows."""
    monkeypatch.setattr(sources, "PREFIX_ROWS", 40)
    monkeypatch.setattr(files, "SNIFFED_ROWS", 40)
    monkeypatch.setattr(examples_module, "PREFIX_ROWS", 40)
    monkeypatch.setattr(examples_module, "CHUNK_ROWS", 25)


def table(n_rows: int = N_ROWS) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in map(sentence, range(n_rows))]


def load(source: object, **options: Any) -> Examples:
    return load_training(DataConfig(source=str(source), streaming=True, **options), seed=1)


def streamed(examples: Examples) -> list[tuple[str, Any, int]]:
    """Text, label and number of all rows of the stream."""
    assert examples.stream is not None
    return [
        (row["text"], row["label"], row["row"]) for rows in examples.stream() for row in list(rows)
    ]


def refusal(examples: Examples) -> str:
    with pytest.raises(DataError) as caught:
        streamed(examples)
    return one_line(caught)


def write_as(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"data.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=30)
    elif kind == "jsonl":
        write_jsonl(path, rows)
    else:
        write_csv(path, rows, sep="\t" if kind == "tsv" else ",")
    return path


# What comes


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_file_s_rows_come_once_each_in_their_order(kind: str, tmp_path: Path) -> None:
    examples = load(write_as(tmp_path, kind, table()))
    expected = [(*sentence(n), n) for n in range(N_HELD_OUT, N_ROWS)]
    assert [(text, str(label), row) for text, label, row in streamed(examples)] == expected
    assert examples.validation["row"][:] == list(range(N_HELD_OUT))
    assert examples.n_rows == {"train": None, "validation": N_HELD_OUT}


def test_every_pass_over_a_stream_begins_anew(tmp_path: Path) -> None:
    examples = load(write_as(tmp_path, "csv", table()))
    assert streamed(examples) == streamed(examples)


def test_a_folder_s_shards_come_one_after_the_other(tmp_path: Path) -> None:
    for shard in range(3):
        rows = [{"text": f"text {shard} {n}", "label": n % 2} for n in range(30)]
        write_csv(tmp_path / f"train-0000{shard}-of-00003.csv", rows)
    write_csv(tmp_path / "dev.csv", table(9))
    (tmp_path / "test.csv").write_text("never read")
    examples = load(tmp_path)
    assert [row for *_, row in streamed(examples)] == list(range(90))
    assert len(examples.validation) == 9


def test_a_saved_data_set_streams_with_its_class_names(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset

    rows = Dataset.from_dict({"text": ["a", "b"] * 50, "label": [1, 0] * 50})
    rows.cast_column("label", ClassLabel(names=["no", "yes", "maybe"])).save_to_disk(tmp_path)
    examples = load(tmp_path)
    assert examples.label_names == ("no", "yes", "maybe")
    assert len(streamed(examples)) == 96


def test_the_data_s_own_validation_is_read_whole(reviews: Path) -> None:
    examples = load(reviews)
    assert len(examples.validation) == 21
    assert [row for *_, row in streamed(examples)] == list(range(45))


def test_a_limit_takes_the_first_rows(tmp_path: Path) -> None:
    examples = load(write_as(tmp_path, "csv", table()), limit_train=60, limit_validation=2)
    assert [row for *_, row in streamed(examples)] == list(range(N_HELD_OUT, N_HELD_OUT + 60))
    assert len(examples.validation) == 2


def test_rows_that_lack_a_text_are_left_out_where_that_is_asked(tmp_path: Path) -> None:
    rows = table()
    for place in range(75, 102):  # a chunk has none left
        rows[place]["text"] = ""
    path = write_as(tmp_path, "csv", rows)
    kept = [row for *_, row in streamed(load(path, drop_missing=True))]
    assert kept == [*range(N_HELD_OUT, 75), *range(102, N_ROWS)]
    assert "25 of 25 rows lack a text in 'text' (rows 75, 76" in refusal(load(path))


def test_labels_follow_the_order_of_a_head(tmp_path: Path) -> None:
    examples = load(write_as(tmp_path, "csv", table()))
    other = examples_module.in_order_of(examples, ("1", "0"))
    labels = [label for _, label, _ in streamed(examples)]
    assert [label for _, label, _ in streamed(other)] == [1 - label for label in labels]


def test_fractions_and_lists_are_read_as_in_whole_data(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "score": n / 7} for n in range(N_ROWS)]
    examples = load(write_as(tmp_path, "jsonl", rows))
    assert examples.task == "regression"
    assert streamed(examples)[-1][1] == pytest.approx(119 / 7)
    rows = [{"text": f"text {n}", "labels": ["a"] * (n % 2) + ["b"]} for n in range(N_ROWS)]
    examples = load(write_as(tmp_path, "jsonl", rows))
    assert examples.task == "multi_label"
    assert streamed(examples)[-1][1] == [1.0, 1.0]


# What goes wrong on the way


def test_a_label_that_turns_up_later_is_named_with_its_row(tmp_path: Path) -> None:
    rows = table()
    rows[87]["label"] = "maybe"
    message = refusal(load(write_as(tmp_path, "csv", rows)))
    assert "'maybe' (first in row 87)" in message
    assert "expected 0, 1" in message
    assert "--streaming" in message


@pytest.mark.parametrize(
    ("kind", "line", "told"),
    [
        ("csv", "a,b,c", "line 122: 3 fields where the header has 2"),
        ("tsv", "a\tb\tc", "line 122: 3 fields"),
        ("jsonl", "{oops", "line 121: not JSON"),
        ("jsonl", '{"text": 5, "label": 1}', "row 120"),
        ("csv", "a,\ud800", "line 122: not UTF-8"),
    ],
)
def test_a_broken_line_is_named(kind: str, line: str, told: str, tmp_path: Path) -> None:
    path = write_as(tmp_path, kind, table())
    with path.open("ab") as file:
        file.write(f"{line}\n".encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError) as caught:
        streamed(load(path))
    assert told in one_line(caught)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("d.csv", "", "the file is empty"),
        ("d.csv", "text,label\n", "no rows"),
        ("d.json", '[{"text": "a", "label": 1}]', "jsonl"),
        ("d.parquet", "PAR1 and no more", "not a parquet file"),
        ("d.csv", "text,other\n" + "a,b\n" * 9, "which column holds the label"),
        ("d.csv", "text,label\n" + "a,1\n" * 90 + "b,0\n", "its first 40 rows"),
    ],
)
def test_what_no_stream_can_be_made_of_is_told_at_once(
    name: str, content: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        load(tmp_path / name)
    assert told in one_line(caught)


# The hub


def add_to(hub: Hub, *, n_rows: int = N_ROWS) -> None:
    rows = [{"text": text, "label": int(label)} for text, label in map(sentence, range(n_rows))]
    splits = {"train": "data/train-*", "dev": "data/dev-*", "test": "data/test-*"}
    files = {f"data/{split}-00000-of-00001.parquet": parquet(rows) for split in splits}
    hub.add_data("org/name", {"README.md": card({"default": splits}), **files})


def test_a_data_set_of_the_hub_streams_and_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    add_to(hub)
    examples = load("org/name")
    assert [text for text, *_ in streamed(examples)] == [sentence(n)[0] for n in range(N_ROWS)]
    assert len(examples.validation) == N_ROWS
    kept = [each for each in (tmp_path / "home").rglob("*") if each.is_file()]
    assert not [each for each in kept if each.suffix in (".arrow", ".parquet")]


def test_a_csv_of_the_hub_streams(hub: Hub) -> None:
    rows = "".join(f"{text},{label}\n" for text, label in map(sentence, range(N_ROWS)))
    hub.add_data("org/name", {"train.csv": f"text,label\n{rows}".encode()})
    assert len(streamed(load("org/name"))) == N_TRAIN


def test_a_transfer_that_breaks_off_once_goes_on(hub: Hub) -> None:
    add_to(hub)
    examples = load("org/name")
    hub.fail("GET /cdn/", times=2, cut_after=100)
    assert len(streamed(examples)) == N_ROWS


def test_a_hub_that_stays_away_is_told_in_one_line(hub: Hub) -> None:
    add_to(hub)
    examples = load("org/name")
    hub.fail("GET .*(cdn|resolve)", status=503)
    message = refusal(examples)
    assert "503" in message
    assert "after row 0" in message
    hub.faults.clear()
    hub.fail("GET /cdn/", cut_after=100)
    assert "4 times in a row; try again later" in refusal(examples)


def test_what_the_cache_has_streams_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config
    from huggingface_hub import constants

    add_to(hub)
    sources.open_source("org/name")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert len(streamed(load("org/name"))) == N_ROWS


# The order


def numbers(tables: Iterator[pa.Table]) -> list[list[int]]:
    return [each["row"].to_pylist() for each in tables]


def cut(n_rows: int, size: int) -> Iterator[pa.Table]:
    whole = pa.table({"row": np.arange(n_rows)})
    return (whole[start : start + size] for start in range(0, n_rows, size))


@pytest.mark.parametrize("n_rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("held", [1, 8, 100, 5000])
def test_a_buffer_gives_each_row_once_and_whole_batches_but_for_the_last(
    held: int, n_rows: int
) -> None:
    draws = numbers(Buffer(held, batch_size=8, seed=3).draws(cut(n_rows, 30)))
    assert sorted(row for rows in draws for row in rows) == list(range(n_rows))
    assert all(len(rows) % 8 == 0 for rows in draws[:-1])


def test_a_buffer_s_order_is_of_the_seed_and_not_of_how_the_rows_come() -> None:
    one = numbers(Buffer(100, 8, seed=3).draws(cut(1000, 30)))
    assert numbers(Buffer(100, 8, seed=3).draws(cut(1000, 1000))) == one
    assert numbers(Buffer(100, 8, seed=4).draws(cut(1000, 30))) != one
    assert numbers(Buffer(100, 8, seed=3).draws(cut(1000, 30), epoch=1)) != one


def test_no_row_is_drawn_before_the_buffer_holds_it() -> None:
    drawn = [row for rows in numbers(Buffer(100, 8, seed=3).draws(cut(1000, 30))) for row in rows]
    assert all(row < place + 100 for place, row in enumerate(drawn))


# The batches


def split_of(examples: Examples, tiny: Path, *, n_steps: int, seed: int = 1, **more: Any) -> Any:
    from tfft.data.flow import from_stream

    tokenizer = load_tokenizer(open_checkpoint(str(tiny), TASKS["single_label"]))
    first = encode(examples.train, tokenizer, max_length=16)
    options = {"batch_size": 8, "buffer_rows": 50, "max_length": 16, "max_shapes": 4}
    assert examples.stream is not None
    return from_stream(
        examples.stream, tokenizer, first, n_steps=n_steps, seed=seed, **(options | more)
    )


def batches_of(split: Any) -> list[tuple[list[list[int]], list[int]]]:
    return [
        (features["input_ids"].numpy().tolist(), labels.numpy().tolist())
        for features, labels in split.epoch(0)
    ]


def test_the_same_seed_gives_the_same_batches(tmp_path: Path, tiny: Path) -> None:
    examples = load(write_as(tmp_path, "csv", table()))
    first, again, other = (
        batches_of(split_of(examples, tiny, n_steps=14, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_batches_have_every_row_of_the_stream_once_each_with_its_label(
    tmp_path: Path, tiny: Path
) -> None:
    examples = load(write_as(tmp_path, "csv", table()))
    split = split_of(examples, tiny, n_steps=15)  # 116 rows: the last batch has four
    rows: list[int] = []
    labels: list[int] = []
    for step, (_, in_batch) in enumerate(split.epoch(0)):
        rows += split.source_rows(0, step).tolist()
        labels += in_batch.numpy().tolist()
    assert sorted(rows) == list(range(N_HELD_OUT, N_ROWS))
    assert [str(label) for label in labels] == [sentence(row)[1] for row in rows]


def test_batches_are_padded_to_few_widths_that_hold_whatever_comes(
    tmp_path: Path, tiny: Path
) -> None:
    rows = table()
    rows[100]["text"] = "good " * 50
    split = split_of(load(write_as(tmp_path, "csv", rows)), tiny, n_steps=15)
    widths = {features["input_ids"].shape[1] for features, _ in split.epoch(0)}
    assert max(widths) == 16
    assert len(widths) <= 4
    assert 0.0 <= split.padding_fraction < 0.5


def test_buckets_must_hold_whatever_may_come(tmp_path: Path, tiny: Path) -> None:
    examples = load(write_as(tmp_path, "csv", table()))
    with pytest.raises(DataError) as caught:
        split_of(examples, tiny, n_steps=15, buckets=(8, 15))
    assert "hold 15 tokens at most" in (message := one_line(caught))
    assert "may have 16; add a bucket of 16, or cut with --max-length 15" in message
    split = split_of(examples, tiny, n_steps=15, buckets=(8, 16))
    assert {features["input_ids"].shape[1] for features, _ in split.epoch(0)} <= {8, 16}


def test_a_stream_that_ends_too_soon_says_so_after_its_last_batch(
    tmp_path: Path, tiny: Path
) -> None:
    split = split_of(load(write_as(tmp_path, "csv", table())), tiny, n_steps=40)
    seen = []
    with pytest.raises(DataError) as caught:
        seen.extend(len(labels) for _, labels in split.epoch(0))
    assert sum(seen) == N_TRAIN
    message = one_line(caught)
    assert "after 116 training rows, step 15 of 40" in message
    assert "--steps 15" in message


def test_keras_own_fit_takes_a_stream(tmp_path: Path, tiny: Path) -> None:
    split = split_of(load(write_as(tmp_path, "csv", table())), tiny, n_steps=5)
    model = tfft.build_model(str(tiny))
    assert len(model.fit(split.dataset, epochs=2, verbose=0).history["loss"]) == 2


# Whole runs


def fit(tfft_cli: CLI, tiny: Path, data: object, output: Path, *more: object) -> Outcome:
    common = ("--data", data, "--model", tiny, "--output", output, "--batch-size", 8)
    return tfft_cli("fit", *common, *more)


def test_a_stream_is_learned_and_the_run_can_be_made_again(tmp_path: Path, tiny: Path) -> None:
    data = write_as(tmp_path, "csv", table())
    options: dict[str, Any] = {"shuffle_buffer": 30, "learning_rate": 3e-3, "batch_size": 8}
    result = tfft.fit(
        data=str(data),
        model=str(tiny),
        output=tmp_path / "run",
        streaming=True,
        steps=10,
        evaluate_every=4,
        **options,
    )
    assert [record.epoch for record in result.history] == [1, 2, 3]
    assert result.train["n_steps"] == 10
    assert result.train["n_examples"] == 80
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["data"]["n_train"] is None
    again = tfft.fit(config=tmp_path / "run" / "run.toml", output=tmp_path / "again")
    # One seed on one machine: all that may differ is the order of a sum.
    assert dict(again.validation) == pytest.approx(dict(result.validation), abs=1e-6)
    scored = tfft.evaluate(tmp_path / "run", data=str(data))
    assert dict(scored.figures) == pytest.approx(dict(result.validation), abs=1e-6)


def test_a_stream_that_ends_loses_nothing_and_knows_how_long_it_was(
    tfft_cli: CLI, tiny: Path, tmp_path: Path
) -> None:
    data, output = write_as(tmp_path, "csv", table()), tmp_path / "run"
    outcome = fit(tfft_cli, tiny, data, output, "--streaming", "--steps", 100)
    assert outcome.code == 1
    last = outcome.err.strip().splitlines()[-1]
    assert "step 15 of 100" in last
    saved = tmp_path / "run.partial" / "checkpoints" / "epoch-1"
    assert str(saved) in last
    assert tfft.evaluate(saved, data=str(data)).figures["n_examples"] == N_ROWS
    # As many as it has: the last batch has four rows.
    whole = fit(tfft_cli, tiny, data, tmp_path / "whole", "--streaming", "--steps", 15, "--json")
    assert json.loads(whole.out)["train"]["n_examples"] == N_TRAIN


def test_what_was_learned_before_a_broken_line_is_kept(
    tfft_cli: CLI, tiny: Path, tmp_path: Path
) -> None:
    data = write_as(tmp_path, "jsonl", table())
    with data.open("a") as file:
        file.write("{oops\n")
    outcome = fit(
        tfft_cli, tiny, data, tmp_path / "run", "--streaming", "--steps", 100, "--shuffle-buffer", 8
    )
    assert outcome.code == 1
    last = outcome.err.strip().splitlines()[-1]
    assert "line 121: not JSON" in last
    assert "saved so far" in last
    assert (tmp_path / "run.partial" / "checkpoints" / "epoch-1" / "model.safetensors").exists()


def test_a_loss_that_is_no_number_names_the_rows_of_the_stream(tmp_path: Path, tiny: Path) -> None:
    from tfft.backend import tf

    with pytest.raises(tfft.TrainingError, match="step 1, on the rows") as caught:
        tfft.fit(
            data=str(write_as(tmp_path, "csv", table())),
            model=str(tiny),
            output=tmp_path / "run",
            streaming=True,
            steps=5,
            batch_size=8,
            loss=lambda labels, logits: tf.fill(tf.shape(labels), float("nan")) + logits[:, 0],
        )
    rows = str(caught.value).partition("on the rows ")[2].partition(" (counted")[0].split(", ")
    assert len(rows) == 8


@pytest.mark.parametrize(
    "more",
    [
        ("--streaming",),
        ("--streaming", "--steps", 5, "--epochs", 1),
        ("--streaming", "--steps", 5, "--loader", "numpy"),
        ("--shuffle-buffer", 5),
        ("--steps", 5, "--epochs", 1),
        ("--steps", 0),
    ],
)
def test_what_contradicts_itself_is_a_usage_error(
    more: tuple[object, ...], tfft_cli: CLI, tiny: Path, tmp_path: Path
) -> None:
    data = write_as(tmp_path, "csv", table())
    assert fit(tfft_cli, tiny, data, tmp_path / "run", *more).code == 2


def test_a_dry_run_tells_what_the_first_rows_tell(
    tfft_cli: CLI, tiny: Path, tmp_path: Path
) -> None:
    data = write_as(tmp_path, "csv", table())
    arguments = ("--streaming", "--steps", 14, "--class-weight", "balanced", "--dry-run")
    outcome = fit(tfft_cli, tiny, data, tmp_path / "run", *arguments)
    assert outcome.code == 0, outcome.err
    assert "train 36, validation 4 (a stream" in outcome.out
    assert "class weights (of 36 rows)" in outcome.err
    plan = json.loads(fit(tfft_cli, tiny, data, tmp_path / "run", *arguments, "--json").out)
    assert (plan["n_steps"], plan["epochs"], plan["streaming"]) == (14, None, True)


@pytest.mark.parametrize("task", ["multi_label", "regression", "pairs"])
def test_every_task_learns_from_a_stream(task: str, tiny: Path, tmp_path: Path) -> None:
    rows = [
        {
            "sentence1": sentence(n)[0],
            "sentence2": "it was good",
            "label": {"multi_label": ["a"] * (n % 2) + ["b"], "regression": n / 7, "pairs": n % 2}[
                task
            ],
        }
        for n in range(N_ROWS)
    ]
    result = tfft.fit(
        data=str(write_jsonl(tmp_path / "data.jsonl", rows)),
        model=str(tiny),
        output=tmp_path / "run",
        streaming=True,
        steps=6,
        batch_size=8,
    )
    assert result.task == {"pairs": "single_label"}.get(task, task)
    assert np.isfinite(result.validation["loss"])


def test_two_replicas_learn_from_a_stream_what_one_device_does(tiny: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    code = """
import json, shutil, sys
from pathlib import Path
from tfft.backend import tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tfft
data, model, output = sys.argv[1:]
shutil.copytree(model, f"{output}-model")
config = Path(f"{output}-model", "config.json")
config.write_text(json.dumps(json.loads(config.read_text())
    | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}))
print(json.dumps([tfft.fit(data=data, model=f"{output}-model", output=f"{output}-{strategy}",
    strategy=strategy, streaming=True, steps=5, batch_size=9).validation["loss"]
    for strategy in ("none", "mirrored")]))
"""
    data = write_as(tmp_path, "csv", table())
    one, two = json.loads(python(code, str(data), str(tiny), str(checkpoint)).splitlines()[-1])
    # 1e-5: float32 sums in another order, over five steps.
    assert two == pytest.approx(one, abs=1e-5)
