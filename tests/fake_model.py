"""An HTTP server in the place of a model that misbehaves: each request gets the next answer of a script."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

import fake_server

SECRET = "the-models-secret"  # noqa: S105 - in bodies and headers; must never be shown
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FakeModel(fake_server.Fake):
    """Where it listens, what it will answer, and what it was asked."""

    script: list[Answer] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)  # a caller left before its answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving() -> Iterator[FakeModel]:
    """Serve until the end of the block."""
    with fake_server.serving(_Handler, FakeModel) as model:
        yield model


class _Handler(fake_server.Handler):
    protocol_version = "HTTP/1.0"  # the end of an answer is the end of the connection
    fake: FakeModel

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.fake.asked.append(json.loads(body))
        with suppress(OSError):
            self.fake.script.pop(0)(self)


def says(status: int, content: str, **headers: str) -> Answer:
    """An answer in one piece."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content.encode())

    return answer


def streams(*events: object) -> Answer:
    """A stream of these events, and its end; a string is sent as it is."""
    lines = [event if isinstance(event, str) else json.dumps(event) + "\n" for event in events]
    return says(200, "".join(lines), Content_Type="application/x-ndjson")


def waits(*, begun: bool) -> Answer:
    """Nothing, or one event and then nothing, until the caller hangs up."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        model = cast("_Handler", handler).fake
        if begun:
            streams({"type": "progress", "stage": "wait", "completed": 0, "total": 1})(handler)
            handler.wfile.flush()
        handler.connection.settimeout(0.2)
        while not model.stopping.is_set():
            with suppress(TimeoutError):
                if not handler.connection.recv(1):
                    model.hung_up.set()
                    return

    return answer


TRANSCRIPT: dict[str, Any] = {
    "type": "done",
    "model_output": [],
    "language": None,
    "duration": 1.0,
    "speakers": [],
    "model_version": "fake-1",
}
