"""What costs seconds is made once a session: tiny checkpoints, and one finished run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hub as local_hub
import pytest
from click.testing import CliRunner
from tiny import CONFIGS, make_checkpoints, write_reviews

from tfft.cli import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests read no tokens that other runs left."""
    os.environ["TFFT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT without a head, as PyTorch saves it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    make_checkpoints(folder, "bert")
    return folder / "bert"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random body of each architecture."""
    folder = tmp_path_factory.mktemp("architectures")
    make_checkpoints(folder, *CONFIGS)
    return folder


@pytest.fixture
def own_tiny(tiny: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may break."""
    return Path(shutil.copytree(tiny, tmp_path / "own-bert"))


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("data") / "reviews")


@pytest.fixture(scope="session")
def run(tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run's folder: 2 epochs over the reviews."""
    import tfft

    output = tmp_path_factory.mktemp("runs") / "reviews"
    tfft.fit(
        data=str(reviews),
        model=str(tiny),
        output=output,
        epochs=2,
        batch_size=8,
        learning_rate=3e-3,
    )
    return output


@pytest.fixture(scope="session")
def serving() -> Iterator[local_hub.Hub]:
    with local_hub.serve() as hub:
        yield hub


@pytest.fixture
def hub(serving: local_hub.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> local_hub.Hub:
    """The hub of this process, empty as its cache is; nobody waits for it to get well."""
    from tfft import transfers

    serving.forget()
    local_hub.live_in(tmp_path / "home", serving.url, monkeypatch)
    monkeypatch.setattr(transfers, "WAITS_S", (0.0, 0.0, 0.0))
    return serving


@pytest.fixture
def tfft_cli() -> Callable[..., Outcome]:
    """The command line in this process: `tfft_cli("fit", "--data", ...)`."""

    def invoke(*arguments: object) -> Outcome:
        result = CliRunner().invoke(main, [str(each) for each in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke
