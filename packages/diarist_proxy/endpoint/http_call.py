"""One request to a model over HTTP, answered by a stream of events: who waits can leave at any moment.

The connection is used by a thread of its own. The caller reads events from a queue, looks whether its own caller is
still there, and hangs up by shutting the socket down, which wakes the thread wherever it stands: connecting, sending
a large body, or waiting while the platform starts a replica. The other side sees the connection close, and stops.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import certifi
import httpx

from diarist.errors import Cancelled, DiaristError, EndpointError, EndpointUnavailable
from diarist_proxy.endpoint import Call
from diarist_proxy.endpoint.answer import body_of, error_of, failed
from diarist_proxy.endpoint.carrying import Body

POLL_SECONDS = 0.5  # how often somebody who waits looks whether the caller is still there
CONNECT_SECONDS = 15.0
SEND_SECONDS = 120.0  # for one block of a body that the other side takes slowly
SILENT_SECONDS = 120.0  # longest silence of a stream once it has begun; the model repeats its last event every 10
LONGEST_ERROR = 20_000  # bytes of an error's body that are read

logger = logging.getLogger(__name__)

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of whom."""

    url: str
    where: str  # the endpoint's name, for messages
    body: Body
    timeout_seconds: float  # for the whole answer
    timeout_setting: str  # that an operator would change
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class _Refused:
    """An answer that is an error."""

    status: int
    said: Mapping[str, Any]
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class _Broken:
    """The connection failed: before anything was heard, or later."""

    error: Exception
    begun: bool


def ask(request: Request, call: Call, *, context: ssl.SSLContext) -> Mapping[str, Any]:
    """Send a request and pass its progress on until the answer.

    Raises:
        BadRequest, EndpointError, EndpointUnavailable, Cancelled: as `Endpoint.transcribe` says.
    """
    events: SimpleQueue[Event | _Refused | _Broken] = SimpleQueue()
    line = _Line()
    threading.Thread(target=_converse, args=(request, context, line, events), name="endpoint", daemon=True).start()
    try:
        return _followed(request, call, events)
    finally:
        line.hang_up()


def tls() -> ssl.SSLContext:
    """What certificates are checked with: those that `SSL_CERT_FILE` names, or certifi's."""
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())


def _followed(request: Request, call: Call, events: SimpleQueue[Event | _Refused | _Broken]) -> Mapping[str, Any]:
    started = heard = time.monotonic()
    latest: Event | None = None
    while True:
        with suppress(Empty):
            event = events.get(timeout=POLL_SECONDS)
            heard = time.monotonic()
            if isinstance(event, _Refused):
                raise error_of(event.status, event.said, where=request.where, call=call, retry_after=event.retry_after)
            if isinstance(event, _Broken):
                raise _broken(request, call, event)
            if event["type"] == "done":
                return body_of(event, where=request.where, call=call)
            if event["type"] == "error":
                raise _told(request, call, event)
            if event != latest:
                _report(call, event)
                latest = event
        if call.cancelled():
            raise Cancelled("the caller has gone")
        if latest is not None and time.monotonic() - heard > SILENT_SECONDS:
            raise failed(call, f"{request.where} fell silent for {SILENT_SECONDS:g} s in the middle of its answer")
        if time.monotonic() - started > request.timeout_seconds:
            limit = f"{request.timeout_seconds:g} s ({request.timeout_setting})"
            raise failed(call, f"{request.where} did not answer in full within {limit}")


def _report(call: Call, event: Event) -> None:
    stage, completed, total = event.get("stage"), event.get("completed"), event.get("total")
    if isinstance(stage, str) and isinstance(completed, int | float) and isinstance(total, int | float):
        call.report(stage, completed, total)


def _told(request: Request, call: Call, event: Event) -> DiaristError:
    status = event.get("status")
    return error_of(status if isinstance(status, int) else 500, event, where=request.where, call=call)


def _broken(request: Request, call: Call, broken: _Broken) -> EndpointError:
    name = type(broken.error).__name__
    if isinstance(broken.error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return EndpointError(f"{request.where} has no usable address ({name}): check DIARIST_ENDPOINT")
    if isinstance(broken.error, ValueError):
        return failed(call, f"{request.where} answered with something that is not JSON: is it a diarist model?")
    if broken.begun:
        return failed(call, f"{request.where} broke off in the middle of its answer ({name})")
    if isinstance(broken.error, httpx.ConnectError | httpx.ConnectTimeout):
        return EndpointUnavailable(f"{request.where} cannot be reached ({name})")
    return EndpointUnavailable(f"{request.where} hung up before it answered ({name})")


def _converse(
    request: Request, context: ssl.SSLContext, line: _Line, events: SimpleQueue[Event | _Refused | _Broken]
) -> None:
    """Send the request, and put what comes back into the queue: at last an answer, an error or a break."""
    begun = False
    headers = {**request.headers, "Content-Type": "application/json", "Content-Length": str(request.body.size)}
    # The wait for the first event may be long: the platform keeps a request while it starts a replica. Who follows the
    # events ends it, and this limit is only for a thread that nobody can wake.
    limit = request.timeout_seconds + SILENT_SECONDS
    timeout = httpx.Timeout(limit, connect=CONNECT_SECONDS, write=SEND_SECONDS)
    try:
        with (
            httpx.Client(verify=context, timeout=timeout) as client,
            client.stream(
                "POST", request.url, content=request.body, headers=headers, extensions={"trace": line.trace}
            ) as response,
        ):
            if response.status_code != httpx.codes.OK:
                events.put(_refused(response))
                return
            begun = True
            for event in _events(response):
                events.put(event)
                if event["type"] in {"done", "error"}:
                    return
        events.put(_Broken(EOFError(), begun))
    except Exception as error:
        events.put(_Broken(error, begun))
        if not isinstance(error, httpx.HTTPError | ValueError | OSError | httpx.InvalidURL):
            logger.debug("the connection to %s failed", request.where, exc_info=True)


def _events(response: httpx.Response) -> Any:  # noqa: ANN401 - an iterator of events, and pydantic must not care
    """The events of a stream; an answer in one piece is its only event."""
    if response.headers.get("content-type", "").startswith("application/json"):
        yield {"type": "done", **_object(response.read())}
        return
    for text in response.iter_lines():
        if text.strip():
            event = _object(text)
            if not isinstance(event.get("type"), str):
                raise ValueError("an event without a type")
            yield event


def _object(text: str | bytes) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 - of a piece with what json.loads raises
    return found


def _refused(response: httpx.Response) -> _Refused:
    content = b""
    for part in response.iter_bytes():
        content += part
        if len(content) > LONGEST_ERROR:
            break
    said: dict[str, Any] = {}
    with suppress(ValueError):
        said = _object(content)
    after = response.headers.get("retry-after", "")
    return _Refused(response.status_code, said, float(after) if after.isdecimal() else None)


class _Line:
    """The connection's socket, so that another thread can hang up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._hung_up = False

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """What httpx calls as the request goes on; a second handle of the socket outlives its wrapping in TLS."""
        if name != "connection.connect_tcp.complete":
            return
        connected = info["return_value"].get_extra_info("socket")
        with self._lock:
            if self._handle is not None:
                self._handle.close()
            self._handle = connected.dup()
            if self._hung_up:
                self._shut()

    def hang_up(self) -> None:
        """Close the connection, now or as soon as there is one."""
        with self._lock:
            self._hung_up = True
            self._shut()

    def _shut(self) -> None:
        if self._handle is not None:
            with suppress(OSError):  # closed by the other side already
                self._handle.shutdown(socket.SHUT_RDWR)
            self._handle.close()
            self._handle = None
