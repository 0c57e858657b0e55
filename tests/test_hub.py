"""The hub, its moods and the cache, against one of our own on 127.0.0.1."""

import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import one_line
from hub import TOKEN, Hub, card, live_in, parquet

from tfft import transfers
from tfft.data.sources import Source, open_source
from tfft.errors import DataError, ModelError
from tfft.hub import fetch_model

REVIEWS = [{"sentence": f"text {n}", "label": n % 2, "idx": n} for n in range(12)]
CARD = card({each: {"train": f"{each}/train-*", "test": f"{each}/test-*"} for each in ("en", "fr")})


def reviews(*, n_rows: int = 12) -> dict[str, bytes]:
    """Two configs of two splits."""
    files = {
        f"{config}/{split}-00000-of-00001.parquet": parquet(REVIEWS[:n_rows])
        for config in ("en", "fr")
        for split in ("train", "test")
    }
    return {"README.md": CARD, **files}


def one_config(*, n_rows: int = 12) -> dict[str, bytes]:
    return {
        "README.md": card({"default": {"train": "data/train-*"}}),
        "data/train-00000-of-00001.parquet": parquet(REVIEWS[:n_rows]),
    }


# A checkpoint as far as fetching goes; nobody opens it.
WEIGHTS = bytes(range(256)) * 4000
FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": WEIGHTS}


def data_refusal(name: str) -> str:
    with pytest.raises(DataError) as caught:
        open_source(name)
    return one_line(caught)


def model_refusal(name: str) -> str:
    with pytest.raises(ModelError) as caught:
        fetch_model(name)
    return one_line(caught)


# Whatever the hub does, it does to both.
REFUSALS: dict[str, Callable[[str], str]] = {"data": data_refusal, "model": model_refusal}
both = pytest.mark.parametrize("kind", list(REFUSALS))


def add(hub: Hub, kind: str, **options: Any) -> None:
    if kind == "data":
        hub.add_data("org/name", one_config(), **options)
    else:
        hub.add_model("org/name", FILES, **options)


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def lose_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Nobody listens from here on; the cache stays. Its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    live_in(tmp_path / "home", f"http://{address}", monkeypatch)
    return address


def n_rows(source: Source) -> int:
    return len(source.splits["train"])


# What is fetched


def test_a_data_set_comes_by_config_and_revision(hub: Hub) -> None:
    repository = hub.add_data("org/name", reviews())
    repository.commit(reviews(n_rows=5), revision="refs/pr/1")
    old = repository.commit(reviews(n_rows=3), revision="v1")
    assert n_rows(open_source("org/name:fr")) == 12
    assert n_rows(open_source("org/name:fr@refs/pr/1")) == 5
    assert n_rows(open_source("org/name:fr@v1")) == 3
    assert n_rows(open_source(f"org/name:fr@{old}")) == 3
    assert set(open_source("org/name:en").splits) == {"train", "test"}
    assert hub.asked("GET .*resolve.*/en/|GET /cdn/") >= 1


def test_a_glue_task_is_a_config_of_its_repository(hub: Hub) -> None:
    files = {"README.md": card({"cola": {"train": "cola/train-*"}})}
    hub.add_data("nyu-mll/glue", files | {"cola/train-00000-of-00001.parquet": parquet(REVIEWS)})
    source = open_source("glue/cola")
    assert source.splits["train"]["sentence"][3] == "text 3"
    assert source.glue_task == "cola"


def test_class_names_of_a_card_are_the_labels_names(hub: Hub) -> None:
    names = ("entailment", "neutral", "contradiction")
    table = [{"premise": "a", "hypothesis": "b", "label": n % 3} for n in range(6)]
    files = {"README.md": card({"mnli": {"train": "mnli/train-*"}}, labels=names)}
    hub.add_data("nyu-mll/glue", files | {"mnli/train-00000-of-00001.parquet": parquet(table)})
    assert tuple(open_source("glue/mnli").splits["train"].features["label"].names) == names


def test_data_without_a_card_is_read_by_its_files_names(hub: Hub) -> None:
    hub.add_data("org/name", {"data/train.csv": b"text,label\na,1\nb,0\n"})
    assert n_rows(open_source("org/name")) == 2


def test_a_local_folder_is_never_taken_for_a_data_set_of_the_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = tmp_path / "nyu-mll" / "glue"
    here.mkdir(parents=True)
    (here / "train.csv").write_text("text,label\nmine,1\n")
    files = {"README.md": card({"cola": {"train": "cola/train-*"}})}
    hub.add_data("nyu-mll/glue", files | {"cola/train-00000-of-00001.parquet": parquet(REVIEWS)})
    assert n_rows(open_source("glue/cola")) == 12


def test_of_a_model_only_what_is_needed_is_fetched(hub: Hub) -> None:
    others = ("tf_model.h5", "flax_model.msgpack", "pytorch_model.bin", "model.fp16.safetensors")
    more = dict.fromkeys(
        (
            *others,
            "pytorch_model.bin.index.json",
            "onnx/model.onnx",
            "onnx/config.json",
            "modeling.py",
            "README.md",
        ),
        b"x",
    )
    hub.add_model("org/name", FILES | more | {"vocab.txt": b"a"})
    folder = fetch_model("org/name")
    assert {each.name for each in folder.iterdir()} == set(FILES) | {"vocab.txt"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_shards_are_fetched_with_their_index(hub: Hub) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": WEIGHTS[n:] for n in (1, 2)}
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    small = {"config.json": b"{}", "model.safetensors.index.json": index}
    hub.add_model("org/name", {**small, **shards, "pytorch_model-00001-of-00002.bin": b"x"})
    assert {each.name for each in fetch_model("org/name").iterdir()} == {*small, *shards}


def test_tensorflow_weights_are_fetched_where_there_are_no_others(hub: Hub) -> None:
    hub.add_model("org/name", {"config.json": b"{}", "tf_model.h5": b"h5", "model.onnx": b"x"})
    folder = fetch_model("org/name")
    assert {each.name for each in folder.iterdir()} == {"config.json", "tf_model.h5"}


@both
def test_a_renamed_repository_is_followed(hub: Hub, kind: str) -> None:
    add(hub, kind)
    hub.rename("models" if kind == "model" else "datasets", "org/name", "other/called")
    if kind == "model":
        assert (fetch_model("org/name") / "model.safetensors").read_bytes() == WEIGHTS
    else:
        assert n_rows(open_source("org/name")) == 12


def test_a_model_comes_by_its_revision(hub: Hub) -> None:
    repository = hub.add_model("org/name", FILES)
    repository.commit(FILES | {"model.safetensors": b"new"}, revision="refs/pr/2")
    assert (fetch_model("org/name@refs/pr/2") / "model.safetensors").read_bytes() == b"new"


def test_only_pickled_weights_are_refused_unfetched(hub: Hub) -> None:
    hub.add_model("org/name", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    assert "the weights are a pickle (pytorch_model.bin)" in model_refusal("org/name")
    assert not hub.asked("resolve.*bin")


def test_pickled_weights_are_fetched_where_they_are_asked_for(hub: Hub) -> None:
    shards = dict.fromkeys((f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)), b"x")
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    pickled = {"config.json": b"{}", "pytorch_model.bin.index.json": index, **shards}
    hub.add_model("org/name", pickled)
    folder = fetch_model("org/name", allow_pickle=True)
    assert {each.name for each in folder.iterdir()} == set(pickled)
    hub.add_model("org/safe", pickled | FILES)
    names = {each.name for each in fetch_model("org/safe", allow_pickle=True).iterdir()}
    assert names == set(FILES)


def test_a_repository_without_a_config_is_no_checkpoint(hub: Hub) -> None:
    hub.add_model("org/name", {"README.md": b"#", "model.safetensors": WEIGHTS})
    assert "no config.json, only README.md, model.safetensors" in model_refusal("org/name")


# What can't be had


@both
def test_what_the_hub_lacks_is_refused_with_the_nearest_path(
    hub: Hub, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    name = "reveiws"
    if kind == "data":
        message = data_refusal(name)
    else:
        from tfft.pretrained import open_checkpoint
        from tfft.tasks import TASKS

        with pytest.raises(ModelError) as caught:
            open_checkpoint(name, TASKS["single_label"])
        message = one_line(caught)
    assert "no such path (did you mean 'reviews'?), and the hub has no such" in message
    assert message.endswith("or it is private: set HF_TOKEN")


@both
def test_a_private_repository_needs_the_token(
    hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, kind, private=True)
    assert REFUSALS[kind]("org/name").endswith("or it is private: set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch_model("org/name") if kind == "model" else open_source("org/name")
    assert set(hub.tokens) == {f"Bearer {TOKEN}"}
    # Where large files lie is another's server.
    assert hub.asked("GET /cdn/")
    assert hub.strangers == []


@both
def test_a_wrong_token_is_refused_and_not_shown(
    hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, kind)
    monkeypatch.setenv("HF_TOKEN", "hf_mistyped")
    message = REFUSALS[kind]("org/name")
    assert "refuses the token" in message
    assert "check HF_TOKEN" in message
    assert "mistyped" not in message


@both
def test_a_token_that_comes_back_in_an_answer_is_not_shown(
    hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, kind)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.fail("/api/", status=403, headers={"X-Error-Message": f"{TOKEN} may not read this"})
    assert REFUSALS[kind]("org/name") == "org/name: the hub answers 403: *** may not read this"


@both
def test_a_token_that_no_header_takes_is_not_shown(
    hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, kind)
    monkeypatch.setenv("HF_TOKEN", "hf_tw\u20ac")
    message = REFUSALS[kind]("org/name")
    assert "the token has characters that no token has; check HF_TOKEN" in message
    assert "\u20ac" not in message


@both
@pytest.mark.parametrize("has_token", [False, True])
def test_a_gated_repository_asks_to_accept_its_terms(
    hub: Hub, kind: str, has_token: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, kind, gated=True)
    if has_token:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    message = REFUSALS[kind]("org/name")
    assert "gated" in message
    assert "accept its terms on its page" in message
    assert ("then set HF_TOKEN" in message) != has_token


@both
def test_a_revision_that_is_not_there_is_refused(hub: Hub, kind: str) -> None:
    add(hub, kind)
    assert REFUSALS[kind]("org/name@v9") == "org/name@v9: org/name has no revision 'v9'"


def test_a_revision_that_is_not_there_is_not_another_one_from_the_cache(hub: Hub) -> None:
    add(hub, "data")
    open_source("org/name")
    assert "no revision 'v9'" in data_refusal("org/name@v9")


@pytest.mark.parametrize("name", ["org/-name", "a--b", "x" * 120])
def test_what_can_be_no_hub_id_is_refused(hub: Hub, name: str) -> None:
    assert "not a hub's id" in model_refusal(name)
    assert "not a hub's id" in data_refusal(name)
    assert hub.log == []


def test_a_config_that_is_missing_is_asked_for_with_those_there_are(hub: Hub) -> None:
    hub.add_data("org/name", reviews())
    assert data_refusal("org/name") == "org/name: name a config, org/name:NAME, one of en, fr"


def test_an_unknown_config_is_refused_with_the_nearest(hub: Hub) -> None:
    hub.add_data("org/name", reviews())
    message = data_refusal("org/name:eng")
    assert message == "org/name:eng: no config 'eng' (did you mean 'en'?); there are en, fr"


def test_data_that_needs_a_script_is_refused_unfetched(hub: Hub) -> None:
    hub.add_data("org/name", {"name.py": b"raise SystemExit"})
    assert "org/name@refs/convert/parquet" in data_refusal("org/name")
    assert not hub.asked("name.py")


def test_a_repository_without_data_is_refused(hub: Hub) -> None:
    hub.add_data("org/name", {"README.md": b"# nothing", "notes.xyz": b"a"})
    assert "no files that can be read as data" in data_refusal("org/name")


def test_files_that_are_not_what_they_are_called_are_refused(hub: Hub) -> None:
    files = one_config()
    hub.add_data("org/name", files | {"data/train-00000-of-00001.parquet": b"not one"})
    assert "can't be read" in data_refusal("org/name")


# A hub in a bad mood


@both
@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("where", ["/api/", "HEAD", "GET /cdn/", "tree|tokenizer"])
def test_what_passes_is_waited_for_out_loud(
    hub: Hub, kind: str, status: int, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    add(hub, kind)
    hub.fail(where, status=status, times=2)
    assert fetch_model("org/name") if kind == "model" else n_rows(open_source("org/name")) == 12
    told = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert [each.partition(";")[0] for each in told] == 2 * [told[0].partition(";")[0]]
    assert re.match(rf"hub: the hub answers {status} \(.*\); trying again in 0 s \(1 of", told[0])


@both
@pytest.mark.parametrize("where", ["/api/", "GET /cdn/"])
def test_what_does_not_pass_is_told_after_four_tries(hub: Hub, kind: str, where: str) -> None:
    add(hub, kind)
    hub.fail(where, status=503)
    message = REFUSALS[kind]("org/name")
    assert "the hub answers 503 (Service Unavailable), 4 times in a row" in message
    assert hub.asked(where) == 4


@both
def test_a_hub_that_wants_a_short_rest_gets_it(
    hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(transfers.time, "sleep", slept.append)
    add(hub, kind)
    hub.fail("/api/", status=429, times=1, headers={"Retry-After": "17"})
    hub.fail("HEAD", status=429, times=1, headers={"RateLimit": '"resolvers";r=0;t=23'})
    assert fetch_model("org/name") if kind == "model" else open_source("org/name")
    assert slept == [17, 23]


@both
def test_a_hub_that_wants_a_long_rest_is_told_of_at_once(
    hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers.time, "sleep", lambda _: pytest.fail("waits"))
    add(hub, kind)
    hub.fail("/api/", status=429, headers={"Retry-After": "300"})
    assert "wants 300 s of rest; try again then, or set HF_TOKEN" in REFUSALS[kind]("org/name")
    assert hub.asked("/api/") == 1


def test_a_transfer_that_breaks_off_goes_on_from_there(hub: Hub) -> None:
    hub.add_model("org/name", FILES)
    hub.fail("GET /cdn/", cut_after=300_000, times=2)
    assert (fetch_model("org/name") / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked("GET /cdn/") == 3
    starts = [int(each) for each in hub.ranges]
    assert starts[0] > 0
    assert starts[1] > starts[0]


def test_a_transfer_that_falls_silent_goes_on_from_there(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.add_model("org/name", FILES)
    # It would drop long after everyone has gone home.
    hub.fail("GET /cdn/", cut_after=300_000, stall_s=60.0, times=1)
    assert (fetch_model("org/name") / "model.safetensors").read_bytes() == WEIGHTS
    assert len(hub.ranges) == 1


def test_many_files_come_whole_past_failures(hub: Hub) -> None:
    names = [f"data/train-{number:05d}-of-00020.parquet" for number in range(20)]
    shards = {name: parquet(REVIEWS[n % 12 :]) for n, name in enumerate(names)}
    hub.add_data("org/name", {"README.md": card({"default": {"train": "data/train-*"}}), **shards})
    hub.fail("GET /cdn/", status=500, times=2)
    hub.fail("GET /cdn/", cut_after=50, times=2)
    expected = sum(12 - n % 12 for n in range(20))
    assert n_rows(open_source("org/name")) == expected


def test_a_server_that_ignores_where_to_go_on_does_no_harm(hub: Hub) -> None:
    hub.add_model("org/name", FILES)
    hub.fail("GET /cdn/", cut_after=600_000, times=1)
    hub.ignores_ranges = True
    assert (fetch_model("org/name") / "model.safetensors").read_bytes() == WEIGHTS


@both
def test_a_transfer_that_keeps_breaking_off_poisons_nothing(hub: Hub, kind: str) -> None:
    add(hub, kind)
    hub.fail("GET /cdn/", cut_after=100)
    message = REFUSALS[kind]("org/name")
    assert "the transfer broke off after" in message
    assert "the same command goes on from there" in message
    hub.faults.clear()
    if kind == "model":
        assert (fetch_model("org/name") / "model.safetensors").read_bytes() == WEIGHTS
    else:
        assert open_source("org/name").splits["train"].to_list() == REVIEWS


@both
def test_a_half_fetched_repository_is_not_taken_for_a_whole_one(
    hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, kind)
    hub.fail("GET /cdn/", cut_after=100)
    REFUSALS[kind]("org/name")
    go_offline(monkeypatch)
    assert "the cache doesn't have org/name" in REFUSALS[kind]("org/name")


@both
def test_a_silent_hub_is_asked_again(hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "TIMEOUT_S", 0.2)
    add(hub, kind)
    hub.fail("/api/", delay_s=0.6, times=1)
    assert fetch_model("org/name") if kind == "model" else open_source("org/name")
    assert hub.asked(r"GET /api/\w+/org/name$") == 2


@both
def test_a_hub_that_nobody_hears_is_told_at_once(
    hub: Hub, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = lose_the_hub(tmp_path, monkeypatch)
    monkeypatch.setattr(transfers.time, "sleep", lambda _: pytest.fail("waits"))
    message = REFUSALS[kind]("org/name")
    assert f"can't be reached at {address} (HF_ENDPOINT): connection refused" in message
    assert ("builtin/minilm" if kind == "model" else "builtin/acceptability") in message


@both
def test_what_is_no_hub_is_told(hub: Hub, kind: str) -> None:
    hub.fail("/api/", status=200, body=b"<html>Log in to this network</html>")
    assert "is no hub; check HF_ENDPOINT" in REFUSALS[kind]("org/name")


@both
def test_where_the_large_files_lie_is_named_if_nobody_is_there(hub: Hub, kind: str) -> None:
    add(hub, kind)
    away = {"Location": "http://nowhere.invalid/blob", "X-Linked-Etag": '"a"', "X-Linked-Size": "9"}
    commit = next(iter(hub.repositories.values())).commits["main"]
    hub.fail("resolve.*(parquet|safe)", status=302, headers={**away, "X-Repo-Commit": commit})
    message = REFUSALS[kind]("org/name")
    assert "nowhere.invalid, where its large files lie: unknown host" in message


def test_a_password_in_the_hubs_address_is_not_shown(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = lose_the_hub(tmp_path, monkeypatch)
    live_in(tmp_path / "home", f"http://me:secret@{address}", monkeypatch)
    assert "secret" not in model_refusal("org/name")
    assert "secret" not in data_refusal("org/name")


# The cache


@both
@pytest.mark.parametrize("how", ["offline", "unreachable", "failing"])
@pytest.mark.parametrize("revision", ["", "@v1"])
def test_what_the_cache_has_needs_no_hub(
    hub: Hub,
    kind: str,
    how: str,
    revision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add(hub, kind)
    repository = next(iter(hub.repositories.values()))
    files = one_config(n_rows=4) if kind == "data" else FILES | {"model.safetensors": b"old"}
    repository.commit(files, revision="v1")
    # The one that isn't asked for comes last: the newest is not what counts.
    for each in (revision, "" if revision else "@v1"):
        fetch_model(f"org/name{each}") if kind == "model" else open_source(f"org/name{each}")
    caplog.set_level(logging.INFO, "tfft")
    if how == "offline":
        go_offline(monkeypatch)
    elif how == "unreachable":
        lose_the_hub(tmp_path, monkeypatch)
    else:
        hub.fail(".", status=500)
    if kind == "model":
        found = (fetch_model(f"org/name{revision}") / "model.safetensors").read_bytes()
        assert found == (b"old" if revision else WEIGHTS)
    else:
        assert n_rows(open_source(f"org/name{revision}")) == (4 if revision else 12)
    notes = [each.message for each in caplog.records if "read from the cache" in each.message]
    assert len(notes) == 1


@both
def test_offline_with_an_empty_cache_is_refused_with_the_reason(
    hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, kind)
    go_offline(monkeypatch)
    assert "HF_HUB_OFFLINE is set" in REFUSALS[kind]("org/name")
    assert hub.log == []


def test_offline_a_config_of_several_has_to_be_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_data("org/name", reviews())
    open_source("org/name:en")
    open_source("org/name:fr")
    go_offline(monkeypatch)
    assert n_rows(open_source("org/name:fr")) == 12
    assert "name a config" in data_refusal("org/name")


def test_data_that_fails_halfway_is_not_another_commit_from_the_cache(hub: Hub) -> None:
    repository = hub.add_data("org/name", one_config())
    open_source("org/name")
    repository.commit({"README.md": b"# emptied"})
    assert "no files that can be read as data" in data_refusal("org/name")


def test_what_is_in_the_cache_is_not_fetched_again(hub: Hub) -> None:
    add(hub, "data")
    open_source("org/name")
    hub.add_model("org/name", FILES)
    fetch_model("org/name")
    hub.log.clear()
    open_source("org/name")
    fetch_model("org/name")
    assert not hub.asked("GET /cdn/|GET .*resolve")


# The command line, a process of its own


def surroundings(hub_url: str, home: Path, **more: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return {**inherited, "HF_ENDPOINT": hub_url, "HF_HOME": str(home), **more}


def tfft(
    hub_url: str, home: Path, *arguments: object, **more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tfft", *map(str, arguments)],
        env=surroundings(hub_url, home, **more),
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_command_line_fits_from_the_hub_and_then_from_the_cache(
    hub: Hub, tiny: Path, tmp_path: Path
) -> None:
    hub.add_data("org/reviews", one_config(), private=True)
    hub.add_model("org/tiny", tiny, private=True)
    hub.fail("GET /cdn/", status=503, times=1)
    home = tmp_path / "cache"
    fit = ("fit", "--data", "org/reviews", "--model", "org/tiny", "--epochs", 1, "--json")
    # A slash at the end is a common way to write it.
    done = tfft(f"{hub.url}/", home, *fit, "--output", tmp_path / "run", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert "hub: the hub answers 503 (Service Unavailable); trying again in 1 s" in done.stderr
    assert "\r" not in done.stderr
    for place in (tmp_path / "run", home):
        for path in place.rglob("*"):
            assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in done.stdout + done.stderr

    hub.log.clear()
    again = tfft(hub.url, home, *fit, "--output", tmp_path / "again", HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    for name in ("org/reviews", "org/tiny"):
        assert f"{name}: read from the cache, unchecked for news" in again.stderr
    assert json.loads(again.stdout)["validation"] == json.loads(done.stdout)["validation"]
    assert hub.log == []


@both
def test_the_command_line_tells_a_refusal_in_one_line(hub: Hub, kind: str, tmp_path: Path) -> None:
    data = "org/nowhere" if kind == "data" else "builtin/acceptability"
    done = tfft(hub.url, tmp_path / "cache", "fit", "--data", data, "--model", "org/nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("error: org/nowhere: no such path")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(shutil.which("script") is None, reason="needs a terminal to show")
def test_a_terminal_shows_the_download(hub: Hub, tmp_path: Path) -> None:
    files = FILES | {"config.json": b'{"model_type": "nosuch"}'}
    hub.add_model("org/name", files)
    hub.fail("GET /cdn/", cut_after=600_000, times=1)
    command = f"{sys.executable} -m tfft fit --data builtin/acceptability --model org/name"
    done = subprocess.run(
        ["script", "-qec", command, os.devnull],
        env=surroundings(hub.url, tmp_path, TERM="xterm"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    assert "fetching org/name" in done.stdout
    assert "trying again in 1 s" in done.stdout
    assert "error: org/name: " in done.stdout.splitlines()[-1]
