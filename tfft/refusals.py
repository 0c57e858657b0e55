"""Why the hub gave nothing, in one line for whoever asked.

asked = Asked("glue/cola", "nyu-mll/glue", None, "dataset", hint="")
raise DataError(refusal(asked, error, config="cola")) from error
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tfft.errors import first_line, listed, nearest
from tfft.transfers import WAITS_S, GaveUpError, UnreachableError


@dataclass(frozen=True)
class Asked:
    """What a message has to say of it.

    Attributes:
        name: what the user gave.
        hint: ` (did you mean '...'?)`, of the paths here.
    """

    name: str
    repository: str
    revision: str | None
    repo_type: str
    hint: str

    @property
    def what(self) -> str:
        return "data set" if self.repo_type == "dataset" else "model"

    @property
    def alternative(self) -> str:
        if self.repo_type == "dataset":
            return "builtin/acceptability and local files need no hub"
        return "builtin/minilm and local folders need no hub"

    def lost(self, why: str) -> str:
        return f"{self.name}: no such path{self.hint}, and {why}"

    def refused(self, why: str) -> str:
        return f"{self.name}: {why}"


def host() -> str:
    """The hub's address as it may be shown: without a password."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    host = parts.netloc.rpartition("@")[2]
    return f"{host} (HF_ENDPOINT)" if os.environ.get("HF_ENDPOINT") else host


def refusal(
    asked: Asked, error: Exception | None, *, config: str | None = None, kept: bool = True
) -> str:
    """The one line, which never shows the token.

    Args:
        error: what was raised; None where the cache lacks it and offline mode asked no further.
        config: the data set's, as given.
        kept: whether the cache has what came until then.
    """
    from huggingface_hub import get_token

    line = _not_asked(asked, config) if error is None else _explain(asked, error, config, kept)
    token = get_token()
    return line.replace(token, "***") if token else line


def _not_asked(asked: Asked, config: str | None) -> str:
    at = f" at {asked.revision}" if asked.revision else ""
    part = f", config {config}" if config else ""
    return asked.lost(
        f"the cache doesn't have {asked.repository}{part}{at} whole, while HF_HUB_OFFLINE is set; "
        f"unset it to fetch it once; {asked.alternative}"
    )


def _explain(asked: Asked, error: Exception, config: str | None, kept: bool) -> str:
    from huggingface_hub import errors
    from requests.exceptions import InvalidHeader, JSONDecodeError

    if found := find(error, UnreachableError):
        where = host() if found.host in host() else f"{found.host}, where its large files lie"
        return asked.lost(f"the hub can't be reached at {where}: {found}; {asked.alternative}")
    if found := find(error, GaveUpError):
        return asked.refused(_gave_up(found, kept))
    if find(error, errors.GatedRepoError):
        return asked.refused(
            f"a gated {asked.what}: accept its terms on its page on the hub, "
            + ("with the account of the token" if _has_token() else "then set HF_TOKEN")
        )
    if find(error, errors.RevisionNotFoundError):
        return asked.refused(f"{asked.repository} has no revision '{asked.revision}'")
    if find(error, errors.RepositoryNotFoundError):
        return asked.lost(f"the hub has no such {asked.what}, or it is private: {_token_advice()}")
    if find(error, errors.HFValidationError):
        return asked.lost("not a hub's id (org/name@revision)")
    if found := find(error, errors.HfHubHTTPError):
        return asked.refused(_answered(found))
    if find(error, UnicodeEncodeError) or find(error, InvalidHeader):
        return asked.refused(f"the token has characters that no token has; {_token_advice()}")
    if find(error, JSONDecodeError):
        return asked.refused(
            f"what answers at {host()} is no hub; check HF_ENDPOINT and the network"
        )
    why = _unreadable_data(asked, error, config) if asked.repo_type == "dataset" else None
    *_, cause = _chain(error)
    return why or asked.refused(
        f"the hub's {asked.what} can't be read: {type(cause).__name__}: {first_line(cause)}"
    )


def _unreadable_data(asked: Asked, error: Exception, config: str | None) -> str | None:
    """What `datasets` says in words and classes of its own."""
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError

    if isinstance(error, EmptyDatasetError | DataFilesNotFoundError):
        return asked.refused("no files that can be read as data (csv, json, parquet, text)")
    available = re.search(r"available(?: configs)?: \[(.*?)\]", str(error), re.I | re.S)
    if available is None:
        return None
    configs = re.findall(r"'([^']+)'", available[1])
    if config is None:
        return name_a_config(asked, configs)
    return asked.refused(
        f"no config '{config}'{nearest(config, configs)}; there are {listed(configs)}"
    )


def name_a_config(asked: Asked, configs: Sequence[str]) -> str:
    return asked.refused(f"name a config, {asked.repository}:NAME, one of {listed(configs)}")


def _gave_up(error: GaveUpError, kept: bool) -> str:
    token = "" if error.status != 429 or _has_token() else ", or set HF_TOKEN: it may ask for more"
    if error.wait_s is not None:
        return f"{error} and wants {error.wait_s:.0f} s of rest; try again then{token}"
    often = f"{error}, {len(WAITS_S) + 1} times in a row"
    if error.status is not None or not kept:
        return f"{often}; try again later{token}"
    return f"{often}; what came is kept, the same command goes on from there"


def _answered(error: Any) -> str:
    status = error.response.status_code
    told = error.response.headers.get("X-Error-Message") or error.response.reason
    if status == 401:
        return f"the hub refuses the token ({told}); {_token_advice()}"
    return f"the hub answers {status}: {told:.200}"


def _token_advice() -> str:
    if not _has_token():
        return "set HF_TOKEN"
    where = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "the token of `hf auth login`"
    return f"check {where}: is it whole, and may it read this?"


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def find(error: Exception, kind: type[Any]) -> Any:
    """What `error` came of, if it is of this kind; `datasets` wraps some and raises others anew."""
    return next((each for each in _chain(error) if isinstance(each, kind)), None)
