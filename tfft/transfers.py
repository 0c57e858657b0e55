"""Requests to the hub that wait and try again, and say so.

    with patient("org/name"):
        HfApi().hf_hub_download("org/name", "model.safetensors")

One policy for all that `huggingface_hub` and `datasets` ask: what may pass (too many requests, a
failing server, silence, a transfer that breaks off) is tried four times, a transfer from where it
broke; what won't (nobody there, no such thing, no permission) is told at once. Their own retries,
which take 23 s to tell that nobody is there, see neither.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tfft import progress
from tfft.progress import Received

if TYPE_CHECKING:
    import requests

WAITS_S = (1.0, 2.0, 4.0)  # before the second, third and fourth try
LONGEST_WAIT_S = 60.0  # a hub that wants more is not waited for
# For an answer to begin, and between two pieces of it, where huggingface_hub names none: its own.
TIMEOUT_S = 10.0
TRANSIENT = (429, 500, 502, 503, 504)
# What came of a chunk when the connection broke is lost: small ones lose little.
CHUNK = 1 << 16
# So much that came says that the connection works: from here on failures count anew.
ENOUGH = 1 << 20

Request = Callable[..., "requests.Response"]


class UnreachableError(Exception):
    """Nobody answers at an address; trying again is no help.

    Not one of `requests`' own exceptions, nor is the other: those are tried again upstairs.

    Attributes:
        host: whose address; the hub sends for large files elsewhere.
    """

    def __init__(self, why: str, *, host: str) -> None:
        super().__init__(why)
        self.host = host


class GaveUpError(Exception):
    """What failed each time.

    Attributes:
        status: the hub's last answer, or None where there was none or it broke off.
        wait_s: how long the hub asked to be left alone, where that was too long.
    """

    def __init__(self, why: str, *, status: int | None, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.wait_s = wait_s


@contextmanager
def patient(what: str, *, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Inside, every request of `huggingface_hub` follows the policy, and downloads show a bar.

    Args:
        what: is being fetched, for the bar.
        tell: hears why there is a wait, and there is no bar: of a stream, which never ends to come.
    """
    from huggingface_hub import configure_http_backend, constants
    from huggingface_hub.utils import _http

    make_session = _http._GLOBAL_BACKEND_FACTORY
    xet_is_off = getattr(constants, "HF_HUB_DISABLE_XET", False)
    shown = progress.current() if tell is None else progress.Progress()
    tell = tell or shown.waiting
    with shown.download(what) as received:

        def make_patient_session() -> requests.Session:
            session = make_session()
            session.request = _persistent(  # type: ignore[method-assign]
                session.request, tell, received
            )
            return session

        configure_http_backend(make_patient_session)
        # Xet brings a transport of its own, which knows neither our retries nor our bar.
        constants.HF_HUB_DISABLE_XET = xet_is_off or "HF_HUB_DISABLE_XET" not in os.environ
        try:
            yield
        finally:
            configure_http_backend(make_session)
            constants.HF_HUB_DISABLE_XET = xet_is_off


def _persistent(send: Request, tell: Callable[[str], None], received: Received) -> Request:
    """`requests.Session.request`, tried again."""

    def request(method: str, url: str, **options: Any) -> requests.Response:
        if options.get("timeout") is None:
            options["timeout"] = TIMEOUT_S
        if not options.get("stream"):
            return _ask(lambda: send(method, url, **options), _Patience(tell))
        headers = {**(options.pop("headers", None) or {}), "Accept-Encoding": "identity"}
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        start = int(asked[1]) if asked else 0

        def send_from(place: int, patience: _Patience) -> requests.Response:
            at = {"Range": f"bytes={place}-"} if place else {}
            return _ask(lambda: send(method, url, headers={**headers, **at}, **options), patience)

        patience = _Patience(tell)
        response = send_from(start, patience)
        if response.ok:
            received(0, int(response.headers.get("Content-Length", 0)))
            first = start if response.status_code == 206 else 0
            chunks = _chunks(response, first, lambda place: send_from(place, patience), patience)
            response.iter_content = lambda *_, **__: _counted(chunks, received)  # type: ignore[method-assign]
        return response

    return request


def _ask(send: Callable[[], requests.Response], patience: _Patience) -> requests.Response:
    import requests

    while True:
        try:
            response = send()
        except requests.exceptions.RequestException as error:
            patience.after(error)
            continue
        if response.status_code not in TRANSIENT:
            return response
        response.close()
        asked_s = _asked_wait_s(response.headers) if response.status_code == 429 else None
        patience.wait(
            f"the hub answers {response.status_code} ({response.reason})",
            status=response.status_code,
            asked_s=asked_s,
        )


def _chunks(
    response: requests.Response,
    place: int,
    send_from: Callable[[int], requests.Response],
    patience: _Patience,
) -> Iterator[bytes]:
    """A body from the file's byte `place` on, across connections."""
    import requests

    broken = (
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
    )
    # The class's own: the instance's is what calls us.
    read = type(response).iter_content
    skip = came = 0
    while True:
        try:
            for chunk in read(response, CHUNK):
                fresh = chunk[skip:]
                skip -= len(chunk) - len(fresh)
                place += len(fresh)
                came += len(fresh)
                if came >= ENOUGH:
                    patience.n_failures = came = 0
                yield fresh
            return
        except broken as error:
            patience.after(error, why=f"the transfer broke off after {place:,} bytes")
        response = send_from(place)
        response.raise_for_status()
        skip = place if response.status_code == 200 else 0  # it begins anew


def _counted(chunks: Iterator[bytes], received: Received) -> Iterator[bytes]:
    for chunk in chunks:
        received(len(chunk), 0)
        yield chunk


class _Patience:
    """Of one request: how often it has failed so far."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.n_failures = 0
        self._tell = tell

    def after(self, error: requests.exceptions.RequestException, *, why: str | None = None) -> None:
        """Waits where `error` may pass.

        Raises:
            UnreachableError: it won't.
            GaveUpError: it hasn't, too often.
        """
        import requests

        errors = requests.exceptions
        if reason := _nobody_there(error):
            asked = urlsplit(getattr(error.request, "url", None) or "").hostname
            raise UnreachableError(reason, host=asked or "") from error
        if isinstance(error, errors.Timeout):
            self.wait(why or "no answer from the hub in time")
        elif isinstance(error, errors.ConnectionError | errors.ChunkedEncodingError):
            self.wait(why or "the hub dropped the connection")
        else:
            raise error

    def wait(self, why: str, *, status: int | None = None, asked_s: float | None = None) -> None:
        if self.n_failures == len(WAITS_S):
            raise GaveUpError(why, status=status)
        wait_s = max(WAITS_S[self.n_failures], asked_s or 0)
        if wait_s > LONGEST_WAIT_S:
            raise GaveUpError(why, status=status, wait_s=wait_s)
        self.n_failures += 1
        self._tell(
            f"hub: {why}; trying again in {wait_s:.0f} s ({self.n_failures} of {len(WAITS_S)})"
        )
        time.sleep(wait_s)


def _nobody_there(error: requests.exceptions.RequestException) -> str | None:
    """Why the hub can't be reached at all, or None where it could be."""
    import requests
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy doesn't let us"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate can't be trusted"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection in time"
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if not isinstance(reason, NewConnectionError):
        return None
    if type(reason).__name__ == "NameResolutionError":
        return "unknown host"
    return "connection refused" if "refused" in str(reason) else "no way to it"


def _asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, by `Retry-After` (a number or a date) or the hub's own `RateLimit: ...;t=55`."""
    asked = headers.get("Retry-After", "")
    if asked.isdigit():
        return float(asked)
    if asked:
        try:
            return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
        except ValueError:
            return None
    reset = re.search(r"\bt=(\d+)", headers.get("RateLimit", ""))
    return float(reset[1]) if reset else None
