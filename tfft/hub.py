"""Models and data sets by id, from the hub or from the cache of what came before.

    fetch_model("org/name@refs/pr/1")                       # the folder in the cache
    load_data("glue/cola", "nyu-mll/glue", "cola", None)    # datasets.DatasetDict
    open_streams("imdb", "imdb", None, None)["train"](1000)     # pyarrow.Tables, as they come

`HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` count as everywhere. A revision is looked
up once, and all that follows is of that commit: what lies in the cache of another one is never
taken for it. A hub that can't be reached, or fails, is no obstacle where the cache has it all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tfft import progress
from tfft.errors import DataError, ModelError, listed
from tfft.refusals import Asked, find, host, name_a_config, refusal
from tfft.tensors import read_index
from tfft.transfers import GaveUpError, UnreachableError, patient

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, DatasetDict, IterableDataset

    # How many rows at a time -> all rows, from the first on each time that it is called.
    Stream = Callable[[int], Iterator[pa.Table]]

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
TF_WEIGHTS = ("tf_model.h5", "tf_model.h5.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
PICKLES = (*PICKLED, "model.pt", "pytorch_model.pt")
UNPICKLE = f"--allow-pickle takes the tensors of a {PICKLED[0]} and runs none of its code"
# What is fetched of a model beside its weights: never a pickle, never code.
SMALL_FILES = ("*.json", "*.txt", "*.model", "*.tiktoken")
README = "README.md"
Prepare = Callable[[Any], Any]  # a builder of `datasets` -> splits by name


def fetch_model(source: str, *, hint: str = "", allow_pickle: bool = False) -> Path:
    """The folder in the cache with the files of `org/name@revision`.

    Args:
        allow_pickle: fetch pickled weights where there are no others.

    Raises:
        ModelError: it can't be had; says why.
    """
    repository, _, revision = source.partition("@")
    asked = Asked(source, repository, revision or None, "model", hint)
    try:
        if _is_offline():
            return _cached_model(asked, None, allow_pickle)
        try:
            with patient(source):
                return _fetch_model(asked, allow_pickle)
        except (UnreachableError, GaveUpError) as error:
            return _cached_model(asked, error, allow_pickle)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(refusal(asked, error)) from error


def load_data(
    name: str, repository: str, config: str | None, revision: str | None, *, hint: str = ""
) -> DatasetDict:
    """The splits of a data set.

    Raises:
        DataError: it can't be had; says why.
    """
    asked = Asked(name, repository, revision, "dataset", hint)
    return _from_hub_or_cache(asked, config, _prepare)


def open_streams(
    name: str, repository: str, config: str | None, revision: str | None, *, hint: str = ""
) -> dict[str, Stream]:
    """The splits of a data set as streams, of which nothing is kept; those in the cache from there.

    Raises:
        DataError: it can't be had, or broke off in the middle; says why.
    """
    asked = Asked(name, repository, revision, "dataset", hint)
    tell = progress.current().waiting  # a stream is read in threads that know of no progress
    splits: Mapping[str, Dataset | IterableDataset] = _from_hub_or_cache(asked, config, _stream)
    return {split: _stream_of(rows, asked, config, tell) for split, rows in splits.items()}


def _stream_of(
    rows: Dataset | IterableDataset,
    asked: Asked,
    config: str | None,
    tell: Callable[[str], None],
) -> Stream:
    def stream(n_rows: int) -> Iterator[pa.Table]:
        n_came = 0
        try:
            with patient(asked.name, tell=tell):
                for table in rows.with_format("arrow").iter(n_rows):
                    n_came += table.num_rows
                    yield table
        except Exception as error:
            why = refusal(asked, error, config=config, kept=False)
            raise DataError(f"{why} (in the stream, after row {n_came:,})") from error

    return stream


def _from_hub_or_cache(asked: Asked, config: str | None, prepare: Prepare) -> Any:
    try:
        if _is_offline():
            return _cached_data(asked, config, None)
        try:
            with patient(asked.name):
                return _load_data(asked, config, prepare)
        except Exception as error:
            # `datasets` wraps what happens while it prepares the splits.
            failure = find(error, UnreachableError) or find(error, GaveUpError)
            if failure is None:
                raise
            return _cached_data(asked, config, failure)
    except DataError:
        raise
    except Exception as error:
        raise DataError(refusal(asked, error, config=config)) from error


def _fetch_model(asked: Asked, allow_pickle: bool) -> Path:
    from huggingface_hub import HfApi

    api = HfApi()
    info = api.model_info(asked.repository, revision=asked.revision)
    names = [each.rfilename for each in info.siblings or []]
    if "config.json" not in names:
        raise ModelError(
            asked.refused(f"not a checkpoint: no config.json, only {listed(names) or 'nothing'}")
        )
    weights = _weight_files(names, allow_pickle)
    if not weights and (pickles := [each for each in PICKLES if each in names]):
        raise ModelError(
            asked.refused(
                f"the weights are a pickle ({pickles[0]}), which can run any code when it is "
                "read; its page may have a pull request with safetensors, "
                f"{asked.repository}@refs/pr/NUMBER; {UNPICKLE}"
            )
        )
    # By its name the first time: the cache then knows offline which commit the name stood for.
    api.hf_hub_download(asked.repository, "config.json", revision=asked.revision)
    # One after the other, and here: a thread of a pool doesn't hear Ctrl-C. The weights come last,
    # so that where they are whole, all is.
    paths = [
        api.hf_hub_download(asked.repository, each, revision=info.sha)
        for each in (*_small_files(names), *weights)
    ]
    return Path(paths[0]).parent


def _weight_files(names: Sequence[str], allow_pickle: bool) -> list[str]:
    """The files of one format, safetensors where there is a choice."""
    for single, index in (SAFETENSORS, TF_WEIGHTS, *([PICKLED] if allow_pickle else [])):
        if single in names:
            return [single]
        if index in names:
            stem, _, suffix = single.partition(".")
            shard = re.compile(rf"{stem}-\d+-of-\d+\.{suffix}")
            return [index, *(each for each in names if shard.fullmatch(each))]
    return []


def _small_files(names: Sequence[str]) -> list[str]:
    return [
        each
        for each in names
        if "/" not in each
        and any(fnmatch(each, pattern) for pattern in SMALL_FILES)
        and not each.endswith(".index.json")
    ]


def _cached_model(asked: Asked, failure: Exception | None, allow_pickle: bool) -> Path:
    folder = _cached_folder(asked)
    if folder is None or not _is_whole(folder, allow_pickle):
        raise ModelError(refusal(asked, failure))
    _tell_cached(asked, failure)
    return folder


def weight_files(folder: Path, *, allow_pickle: bool = False) -> tuple[Path, ...]:
    """The files that a model's weights are read from, the shards of an index among them.

    Of safetensors where there is a choice; else TensorFlow's, else what Keras saved, where it is a
    single file. An index may name shards that aren't here.

    Raises:
        ModelError: an index is broken.
    """
    for name in (*SAFETENSORS, *TF_WEIGHTS, *(PICKLED if allow_pickle else ())):
        path = folder / name
        if path.exists():
            if path.suffix == ".json":
                shards = read_index(path).values()
                return (path, *(folder / each for each in sorted(set(shards))))
            return (path,)
    kept_by_keras = tuple(folder.glob("*.h5"))
    return kept_by_keras if len(kept_by_keras) == 1 else ()


def _is_whole(folder: Path, allow_pickle: bool) -> bool:
    """Whether a model's files are all here, and not only those that came before a break."""
    weights = weight_files(folder, allow_pickle=allow_pickle)
    return bool(weights) and all(each.exists() for each in (folder / "config.json", *weights))


def _load_data(asked: Asked, config: str | None, prepare: Prepare) -> Any:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError

    api = HfApi()
    info = api.dataset_info(asked.repository, revision=asked.revision)
    names = [each.rfilename for each in info.siblings or []]
    if f"{asked.repository.rpartition('/')[2]}.py" in names:
        raise DataError(
            asked.refused(
                "it needs a script of its own to be read, and such code isn't run; try "
                f"{asked.repository}@refs/convert/parquet, or files that you downloaded"
            )
        )
    with suppress(EntryNotFoundError):
        # For the cache, as with a model: which commit the revision stands for.
        api.hf_hub_download(asked.repository, README, repo_type="dataset", revision=asked.revision)
    return prepare(_builder(asked.repository, config, info.sha))


def _prepare(builder: Any) -> DatasetDict:
    builder.download_and_prepare()
    splits: DatasetDict = builder.as_dataset()
    return splits


def _stream(builder: Any) -> dict[str, IterableDataset]:
    return {str(name): rows for name, rows in builder.as_streaming_dataset().items()}


def _builder(repository: str, config: str | None, sha: str | None) -> Any:
    import datasets
    from datasets import load_dataset_builder

    # huggingface_hub forgives a slash at the end of HF_ENDPOINT, `datasets` doesn't.
    datasets.config.HF_ENDPOINT = datasets.config.HF_ENDPOINT.rstrip("/")
    # Without the prefix a local folder of this name would be taken for it.
    url = f"hf://datasets/{repository}"
    builder = load_dataset_builder(url, config, revision=sha)
    if builder.hash != sha:
        # Something failed, and it fell back on another commit from the cache; without one it tells.
        with TemporaryDirectory() as empty:
            load_dataset_builder(url, config, revision=sha, cache_dir=empty)
        builder = load_dataset_builder(url, config, revision=sha)
    return builder


def _cached_data(asked: Asked, config: str | None, failure: Exception | None) -> DatasetDict:
    from datasets.packaged_modules.cache.cache import Cache

    snapshot = _cached_folder(asked)
    prepared = {} if snapshot is None else _prepared(asked.repository, snapshot.name)
    if snapshot is not None and config is None:
        config = _default_config(snapshot / README, list(prepared))
        if config is None and len(prepared) > 1:
            raise DataError(name_a_config(asked, list(prepared)))
    if config not in prepared:
        raise DataError(refusal(asked, failure, config=config))
    folder = prepared[config]
    _tell_cached(asked, failure)
    builder = Cache(
        repo_id=asked.repository,
        dataset_name=asked.repository.rpartition("/")[2],
        config_name=config,
        version=folder.parent.name,
        hash=folder.name,
    )
    return builder.as_dataset()


def _prepared(repository: str, sha: str) -> dict[str, Path]:
    """By config, the folders that `datasets` made of this very commit."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    owner, slash, name = repository.rpartition("/")
    folder = f"{owner}___{camelcase_to_snakecase(name)}" if slash else camelcase_to_snakecase(name)
    root = Path(config.HF_DATASETS_CACHE).expanduser() / folder
    return {
        each.parent.parent.name: each
        for each in sorted(root.glob(f"*/*/{sha}"))
        if (each / "dataset_info.json").exists()
    }


def _default_config(readme: Path, prepared: Sequence[str]) -> str | None:
    """The config that is meant where none is named."""
    from huggingface_hub import DatasetCard

    configs: list[dict[str, Any]] = []
    if readme.exists():
        configs = DatasetCard.load(readme).data.to_dict().get("configs") or []
    if not configs:
        return prepared[0] if len(prepared) == 1 else None
    for each in configs:
        if len(configs) == 1 or each["config_name"] == "default" or each.get("default"):
            return str(each["config_name"])
    return None


def _cached_folder(asked: Asked) -> Path | None:
    """Where the cache has files of this revision."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            HfApi().snapshot_download(
                asked.repository,
                repo_type=asked.repo_type,
                revision=asked.revision,
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None


def _tell_cached(asked: Asked, failure: Exception | None) -> None:
    why = "HF_HUB_OFFLINE is set" if failure is None else f"the hub at {host()}: {failure}"
    progress.current().note(f"{asked.name}: read from the cache, unchecked for news ({why})")


def _is_offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE
