"""The one FastAPI application: what every door has in common. The doors' own routes are mounted by `serving`."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diarist import __version__
from diarist.errors import DiaristError
from diarist_proxy import metrics
from diarist_proxy.auth import Guard
from diarist_proxy.metrics import Metrics
from diarist_proxy.settings import ProxySettings

logger = logging.getLogger(__name__)

Lifespan = Callable[[], AbstractContextManager[None]]


def create_app(
    settings: ProxySettings,
    *,
    routers: Sequence[APIRouter],
    lifespan: Lifespan | None = None,
    counted: Metrics | None = None,
    own_check: Collection[str] = (),
) -> FastAPI:
    """The application with these doors; `lifespan` is entered before the first request and left after the last."""

    @asynccontextmanager
    async def lives(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
        if lifespan is None:
            yield
            return
        context = lifespan()
        await anyio.to_thread.run_sync(context.__enter__)
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(context.__exit__, None, None, None)

    app = FastAPI(title="diarist", version=__version__, lifespan=lives)
    app.add_exception_handler(DiaristError, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    app.include_router(_common(counted or Metrics()))
    for router in routers:
        app.include_router(router)
    app.add_middleware(
        Guard,
        user=settings.basic_auth_user,
        password=settings.basic_auth_pass,
        path_secret=settings.path_secret,
        own_check=own_check,
    )
    app.add_middleware(_Log)
    return app


def _common(counted: Metrics) -> APIRouter:
    routes = APIRouter()

    @routes.get("/")
    async def up() -> dict[str, str]:
        """That the proxy is up."""
        return {"status": "UP"}

    @routes.get("/metrics")
    def shown() -> Response:
        """What operators watch, for Prometheus."""
        return Response(counted.text(), media_type=metrics.CONTENT_TYPE)

    return routes


async def _refused(request: Request, error: Exception) -> Response:
    """A known error: its status and message."""
    status = getattr(error, "status", 500)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("%s %s: %s", request.method, request.scope["path"], error)
    seconds = getattr(error, "retry_after_seconds", None)
    headers = {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}
    return JSONResponse(_body(str(error), type(error).__name__), status, headers=headers)


async def _misread(_: Request, error: Exception) -> Response:
    """A body or a parameter of another shape: which, and what is allowed; never the value."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - Starlette gives a handler what it was added for
    problems = map(_problem, error.errors())
    return JSONResponse(_body("; ".join(problems), "BadRequest"), 400)


def _problem(item: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    if item["type"] == "json_invalid":
        return "the body is not JSON"
    key = ".".join(str(part) for part in item["loc"][1:])
    if key:
        return f"{key}: {item['msg']}"
    return "a JSON object is needed as the body" if item["loc"][0] == "body" else str(item["msg"])


def _body(message: str, kind: str) -> dict[str, str]:
    return {"detail": message, "error": kind}


class _Log:
    """A line a request: method, path, status and milliseconds; never a query, a body or the secret in the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started, status = uuid.uuid4().hex[:12], time.monotonic(), 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            logger.exception("request %s failed", request_id)
            if not status:
                message = f"an unexpected error; the log has the cause under {request_id}"
                await JSONResponse(_body(message, "InternalError"), 500)(scope, receive, counted)
        finally:
            shown = getattr(scope.get("route"), "path", "(no route)")
            spent = 1000 * (time.monotonic() - started)
            logger.info("request %s: %s %s %d in %.0f ms", request_id, scope["method"], shown, status, spent)
