"""What the servers that tests play on 127.0.0.1 have in common."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar


@dataclass
class Fake:
    """Where a server listens, and what else its handlers and its test share."""

    port: int
    stopping: threading.Event = field(default_factory=threading.Event, kw_only=True)


class Handler(BaseHTTPRequestHandler):
    """Answers requests; the subclass says how."""

    protocol_version = "HTTP/1.1"

    @property
    def fake(self) -> Any:  # noqa: ANN401 - the `Fake` of the subclass's own file
        """What `serving` was given."""
        return self.server.fake  # type: ignore[attr-defined]

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""


AnyFake = TypeVar("AnyFake", bound=Fake)


@contextmanager
def serving(
    handler: type[Handler], made: Callable[[int], AnyFake], context: ssl.SSLContext | None = None
) -> Iterator[AnyFake]:
    """Serve on a free port, which `made` is told, until the end of the block; with a context, over TLS."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.fake = fake = made(server.server_address[1])  # type: ignore[attr-defined]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
