"""A real HTTP server on 127.0.0.1 that plays honest, slow and hostile origins."""

from __future__ import annotations

import gzip
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import fake_server

SECRET = "the-secret-of-this-origin"  # noqa: S105 - in bodies, reasons and headers; must never be shown
BODY = bytes(range(256)) * 1000


@dataclass
class FakeOrigin(fake_server.Fake):
    """Where the server listens, and the requests it has seen."""

    seen: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)  # path with query, headers
    stored: dict[str, bytes] = field(default_factory=dict)  # what was PUT, by path with query

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def serving(certificate: Callable[[ssl.SSLContext], None] | None = None) -> Iterator[FakeOrigin]:
    """Serve until the end of the block; with a certificate, over TLS."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate(context)
    with fake_server.serving(_Handler, FakeOrigin, context) as origin:
        yield origin


class _Handler(fake_server.Handler):
    fake: FakeOrigin

    def do_GET(self) -> None:
        self.fake.seen.append((self.path, dict(self.headers.items())))
        self.close_connection = True
        path = self.path.partition("?")[0]
        try:
            if path.startswith("/status/"):
                self._answer(int(path.removeprefix("/status/")), SECRET.encode(), {"X-Secret": SECRET})
            elif path.startswith("/to/"):  # /to/<URL>: redirect there
                self._answer(302, SECRET.encode(), {"Location": self.path.removeprefix("/to/")})
            elif path.startswith("/hops/"):
                left = int(path.removeprefix("/hops/"))
                location = f"/hops/{left - 1}" if left else "/audio"
                self._answer(307, b"", {"Location": location, "Set-Cookie": "session=1"})
            else:
                getattr(self, "_" + path.strip("/").replace("-", "_"))()
        except OSError:
            pass  # the client has hung up, as it should on some of these

    def do_PUT(self) -> None:
        """A storage: keeps what comes to /store, and sends away what comes elsewhere."""
        self.fake.seen.append((self.path, dict(self.headers.items())))
        self.close_connection = True
        content = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.partition("?")[0]
        if path.startswith("/status/"):
            self._answer(int(path.removeprefix("/status/")), SECRET.encode(), {"X-Secret": SECRET})
        elif path.startswith("/to/"):
            self._answer(307, SECRET.encode(), {"Location": self.path.removeprefix("/to/")})
        elif path == "/silent":
            self._silent()
        else:
            self.fake.stored[self.path] = content
            self._answer(200, b"")

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status, SECRET)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _audio(self) -> None:
        self._answer(200, BODY)

    def _empty(self) -> None:
        self._answer(200, b"")

    def _chunked(self) -> None:
        self._head({"Transfer-Encoding": "chunked"})
        for start in range(0, len(BODY), 10_000):
            self._chunk(BODY[start : start + 10_000])
        self._chunk(b"")

    def _chunked_short(self) -> None:
        self._head({"Transfer-Encoding": "chunked"})
        self._chunk(BODY[:10_000])

    def _short(self) -> None:
        self._answer(200, BODY[:1000], {"Content-Length": str(len(BODY))})

    def _until_closed(self) -> None:
        self._head({})
        self.wfile.write(BODY)

    def _announced_large(self) -> None:
        self._head({"Content-Length": str(10**15)})
        self.fake.stopping.wait(20)

    def _endless(self) -> None:
        self._head({})
        while not self.fake.stopping.is_set():
            self.wfile.write(BODY)

    def _cut_off(self, etag: str = '"1"') -> None:
        """Label Studio in front of a bucket: breaks off early, and sends short parts of the rest."""
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        headers = {"Accept-Ranges": "bytes", "ETag": etag, "Content-Length": str(len(BODY) - start)}
        if start:
            end = min(start + 60_000, len(BODY))
            place = {"Content-Range": f"bytes {start}-{end - 1}/{len(BODY)}", "Content-Length": str(end - start)}
            self._part(BODY[start:end], headers | place)
        else:
            self._answer(200, BODY[:100_000], headers)

    def _cut_off_and_changed(self) -> None:
        self._cut_off(f'"{len(self.fake.seen)}"')

    def _cut_off_for_good(self) -> None:
        if "Range" in self.headers and not self.headers["Range"].endswith("=0-"):
            self._answer(503, SECRET.encode())
        else:
            self._cut_off()

    def _upload(self, body: bytes = BODY) -> None:
        """Label Studio's uploads: how long they are is said only where a range is asked for, and without a mark."""
        if "Range" not in self.headers:
            self._head({"Accept-Ranges": "bytes"})
            self.wfile.write(body)
            return
        start = int(self.headers["Range"][6:-1])
        place = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        self._part(body[start : start + 200_000], place | {"Content-Length": str(len(body) - start)})

    def _empty_upload(self) -> None:
        self._answer(416, b"")

    def _part(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(206, SECRET)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self._head({"Content-Length": str(len(BODY))})
        while not self.fake.stopping.wait(0.05):
            self.wfile.write(b"x")
            self.wfile.flush()

    def _drip_until_closed(self) -> None:
        self._head({})
        while not self.fake.stopping.wait(0.05):
            self.wfile.write(b"x")
            self.wfile.flush()

    def _drip_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.fake.stopping.wait(0.05):
            self.wfile.write(b"x")
            self.wfile.flush()

    def _silent(self) -> None:
        self.fake.stopping.wait(20)

    def _gzip_bomb(self) -> None:
        self._answer(200, gzip.compress(bytes(50_000_000)), {"Content-Encoding": "gzip"})

    def _bad_location(self) -> None:
        self._answer(302, b"", {"Location": "http://[::1"})

    def _not_http(self) -> None:
        self.wfile.write(b"220 " + SECRET.encode() + b" ESMTP\r\n")

    def _endless_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.fake.stopping.is_set():
            self.wfile.write(b"X-More: " + b"x" * 60_000 + b"\r\n")
            time.sleep(0.001)

    def _head(self, headers: Mapping[str, str]) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
