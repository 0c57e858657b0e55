"""`tfft serve`: a bundle behind HTTP until it is told to stop.

    serve(Path("cola-bundle"), ServeConfig(port=8501), ready=print)     # http://127.0.0.1:8501

What can be refused is refused before TensorFlow wakes: a missing or broken bundle, a port that is
taken. It listens once the model has answered a first call. SIGTERM, or Ctrl-C, closes the door and
answers those who are inside.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from tfft.config import ServeConfig
from tfft.errors import ConfigError, TfftError
from tfft.progress import Progress
from tfft.serving.bundle import Bundle, open_bundle

_NEEDED = ("starlette", "uvicorn", "httptools", "uvloop")
# The longest that those inside are waited for.
GRACE_S = 30


def serve(
    folder: Path,
    config: ServeConfig,
    *,
    ready: Callable[[str], None],
    progress: Progress | None = None,
) -> None:
    """Returns after SIGTERM.

    Args:
        ready: told what is served and where, once it is.

    Raises:
        TfftError: there is nothing to serve, or nowhere.
        KeyboardInterrupt: after Ctrl-C; says whether every request was answered.
    """
    _check_installed()
    bundle = open_bundle(folder)
    if config.name is None and ":" in bundle.name:
        raise ConfigError(f"{bundle.name} can't be a name in a URL; choose one with --name")
    with closing(_bind(config)) as door:
        (progress or Progress()).stage("loading the model")
        service = open_service(bundle, config)
        host, port = door.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        told = f"{service.name}, version {bundle.version}, on http://{host}:{port}"
        try:
            _run(service, door, lambda: ready(told))
        finally:
            service.batcher.close()


def _check_installed() -> None:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise TfftError(
            f'serving needs {", ".join(missing)}; install them: pip install "tfft[serve]"'
        )


def _bind(config: ServeConfig) -> socket.socket:
    """A socket with the address, which doesn't listen yet.

    Raises:
        ConfigError: the address isn't this machine's, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        door = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"host {config.host}: {error.strerror or error}") from None
    # Else a server that starts again waits for the connections of the one before.
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(address)
    except OSError as error:
        door.close()
        raise ConfigError(
            f"{config.host}:{config.port} can't be listened on: {error.strerror}; choose another "
            "--port (0 takes a free one) or --host"
        ) from None
    return door


def open_service(bundle: Bundle, config: ServeConfig) -> Any:
    """Loads the model and has it answer a first call.

    Raises:
        ModelError: it can't.
    """
    from tfft import backend

    backend.leave_onednn()
    from tfft.serving.batching import Batcher
    from tfft.serving.model import cores, load_model, share_cores
    from tfft.serving.service import Service

    n_calls = share_cores(cores())
    model = load_model(bundle)
    model.warm_up()
    batcher = Batcher(
        model.run,
        max_batch=config.max_batch,
        timeout_s=config.batch_timeout_ms / 1000,
        n_workers=n_calls,
        max_waiting=config.max_waiting,
        together=not config.no_batching,
    )
    return Service(bundle, model, config, batcher)


def _run(service: Any, door: socket.socket, ready: Callable[[], None]) -> None:
    import uvicorn

    from tfft.serving.app import make_app

    class Server(uvicorn.Server):
        """Stops by signals as a shell expects it, and says when it listens."""

        stopped_by: int | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn's own raises the signal again at the end: SIGTERM would be no success.
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            signals = (signal.SIGINT, signal.SIGTERM)
            before = {each: signal.signal(each, self.stop) for each in signals}
            try:
                yield
            finally:
                for each, handler in before.items():
                    signal.signal(each, handler)

        def stop(self, number: int, frame: FrameType | None) -> None:
            """The first time those inside are answered; the second Ctrl-C leaves them."""
            self.force_exit = self.should_exit and number == signal.SIGINT
            self.should_exit = True
            self.stopped_by = self.stopped_by or number

    server = Server(
        uvicorn.Config(
            make_app(service),
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    server.run(sockets=[door])
    if server.stopped_by == signal.SIGINT:
        left = "requests were left" if server.force_exit else "every request was answered"
        raise KeyboardInterrupt(left)
