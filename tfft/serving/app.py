"""The routes: TensorFlow Serving's, a health check, and the page.

    app = make_app(service)         # an ASGI application

Whatever goes wrong is answered as `{"error": "..."}`, and the server goes on.
"""

from __future__ import annotations

import asyncio
import re

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tfft.errors import RequestError
from tfft.serving import contract, page
from tfft.serving.service import MIB, Service

# A body that stops coming holds memory and a connection.
BODY_TIMEOUT_S = 60.0
# Of a body that is too long: clients send all before they read the answer.
_DRAINED_BYTES = 64 * MIB
_PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?:predict")
_LOOK = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?(/metadata)?")


def make_app(service: Service) -> Starlette:
    async def models(request: Request) -> Response:
        path = request.scope["path"]
        if request.method == "POST" and (found := _PREDICT.fullmatch(path)):
            service.check(found[1], found[2], to_predict=True)
            return _json(await service.predict(await read_body(request, service.max_body_bytes)))
        if request.method == "GET" and (found := _LOOK.fullmatch(path)):
            service.check(found[1], found[2], to_predict=False)
            return _json(service.metadata() if found[3] else service.status())
        raise RequestError(_malformed(request.method, path))

    async def health(request: Request) -> Response:
        return _json(b'{"status":"ok"}')

    async def show(request: Request) -> Response:
        if request.method != "POST":
            return _html(page.render(service, page.Asked()))
        form = page.read_form(await read_body(request, service.max_body_bytes))
        asked = await page.answer(service, form)
        return _html(page.render(service, asked), status=asked.status)

    return Starlette(
        routes=[
            # Every method: TensorFlow Serving answers a wrong one itself, as malformed.
            Route("/v1/{rest:path}", models, methods=_METHODS),
            Route("/healthz", health, methods=["GET"]),
            Route("/", show, methods=["GET", "POST"]),
        ],
        exception_handlers={
            RequestError: _refuse,
            HTTPException: _refuse_http,
            ClientDisconnect: _leave,
            Exception: _fail,
        },
    )


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The whole body.

    Raises:
        RequestError: it is longer than that (413), or stops coming (408).
    """
    length = request.headers.get("content-length", "")
    too_long = length.isdigit() and int(length) > most_bytes
    if too_long and (int(length) > _DRAINED_BYTES or "expect" in request.headers):
        raise _too_long(most_bytes)  # at once: it isn't worth reading, or hasn't been sent yet
    chunks, n_bytes = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                n_bytes += len(chunk)
                if n_bytes > _DRAINED_BYTES:
                    break
                if n_bytes <= most_bytes:
                    chunks.append(chunk)
    except TimeoutError:
        raise RequestError("the body stopped coming", status=408) from None
    if n_bytes > most_bytes:
        raise _too_long(most_bytes)
    return b"".join(chunks)


def _too_long(most_bytes: int) -> RequestError:
    return RequestError(
        f"the body is longer than {most_bytes / MIB:g} MiB; send fewer rows at once", status=413
    )


def _malformed(method: str, path: str) -> str:
    told = f"Malformed request: {method} {path[:200]}"
    if re.search(r":(classify|regress)$", path):
        return f"{told}; only :predict is served"
    if _PREDICT.fullmatch(path):
        return f"{told}; :predict takes POST"
    if _LOOK.fullmatch(path):
        return f"{told}; GET tells the state of a model, POST {path[:200]}:predict asks it"
    return f"{told}; expected /v1/models/NAME:predict"


def _json(body: bytes, *, status: int = 200) -> Response:
    return Response(body, status, media_type=contract.JSON)


def _html(text: str, *, status: int = 200) -> Response:
    return HTMLResponse(text, status, headers=page.HEADERS)


async def _refuse(request: Request, error: Exception) -> Response:
    return _json(contract.write_error(str(error)), status=getattr(error, "status", 400))


async def _refuse_http(request: Request, error: Exception) -> Response:
    """Starlette's own: no such path, a wrong method."""
    if not isinstance(error, HTTPException):
        raise error
    told = f"{error.detail}: {request.method} {request.scope['path'][:200]}"
    answer = _json(contract.write_error(told), status=error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _leave(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _fail(request: Request, error: Exception) -> Response:
    """A fault of ours: uvicorn logs the traceback, for Starlette raises it again."""
    return _json(contract.write_error("the server failed; its log says why"), status=500)
