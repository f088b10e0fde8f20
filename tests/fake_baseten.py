"""Baseten's gateway before a real Truss server: its documented paths, key, errors and asynchronous requests.

Nothing was recorded from the platform: each answer follows a page of docs.baseten.co, which is named beside it. What
a request means is left to the Truss server behind; the gateway passes it on and streams its answer back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import fake_server

KEY = "abcd1234.not-a-key"
WEBHOOK_SECRET = "whsec_not-a-secret"  # noqa: S105 - of the fake alone
MODEL = "abcd1234"

# reference/inference-api/overview: the environment in the path, or in a regional host's name and then nowhere.
_CALL = re.compile(
    r"/(?:(?P<at>environments/[\w-]+|production|development|deployment/\w+)/)?(?P<verb>predict|async_predict|wake)"
)
_STATUS = re.compile(r"/async_request/(?P<name>\w+)")


@dataclass
class AsyncRequest:
    """A request in the queue, as inference/async describes it."""

    model_input: dict[str, Any]
    webhook: str | None
    status: str = "QUEUED"
    webhook_status: str = "PENDING"
    errors: list[dict[str, str]] = field(default_factory=list)


@dataclass
class FakeBaseten(fake_server.Fake):
    """Where the gateway listens, what it has seen, and what it is told to do."""

    truss_url: str
    environments: tuple[str, ...] = ("environments/production", "production", "development", "deployment/q1w2e3")
    regional: bool = False
    answers: list[tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=list)  # said instead, in turn
    calls: list[str] = field(default_factory=list)  # "<environment> <verb>"
    sizes: list[int] = field(default_factory=list)  # bytes of each body
    requests: dict[str, AsyncRequest] = field(default_factory=dict)
    held: threading.Event = field(default_factory=threading.Event)  # asynchronous requests run while it is set
    status_away: bool = False  # whether the status endpoint answers 503
    statuses_refused: int = 0
    deliver: bool = True  # whether webhooks reach their receiver
    sign: Callable[[bytes], str] = lambda body: signature(body, WEBHOOK_SECRET)
    most_bytes: int = 100_000_000
    most_async_bytes: int = 262_144

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def signature(body: bytes, secret: str) -> str:
    """inference/async, "Secure webhooks": HMAC-SHA256 of the body, in hexadecimal, after v1=."""
    return f"v1={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


@contextmanager
def serving(truss_url: str) -> Iterator[FakeBaseten]:
    """A gateway before the Truss server at a URL, until the end of the block."""
    with fake_server.serving(_Gateway, lambda port: FakeBaseten(port, truss_url)) as gateway:
        gateway.held.set()
        yield gateway
        gateway.held.set()


class _Gateway(fake_server.Handler):
    fake: FakeBaseten

    def do_POST(self) -> None:
        self.close_connection = True
        size = int(self.headers["Content-Length"] or 0)
        self.fake.sizes.append(size)
        call = _CALL.fullmatch(self.path)
        if size > self.fake.most_bytes:
            # inference/errors, "413: payload too large": the edge does not read it.
            self._say(413, {"error": "payload too large"})
            return
        body = self.rfile.read(size)
        if call is None or not self._known(call["at"]):
            # inference/errors: the model, the deployment or the environment does not exist.
            self._say(404, {"error": "model not found"})
        elif self._permitted():
            self.fake.calls.append(f"{call['at'] or 'regional'} {call['verb']}")
            if self.fake.answers:
                self._say(*self.fake.answers.pop(0))
            else:
                getattr(self, f"_{call['verb']}")(body)

    def do_GET(self) -> None:
        self.close_connection = True
        if self.fake.status_away:
            self.fake.statuses_refused += 1
            self._say(503, {"error": "no route to the workload plane"})  # inference/errors, "503"
            return
        request = self._request()
        if request is not None:
            # reference/inference-api/status-endpoints/get-async-request-status
            self._say(
                200,
                {
                    "request_id": _name(self.path),
                    "model_id": MODEL,
                    "deployment_id": "q1w2e3",
                    "status": request.status,
                    "webhook_status": request.webhook_status if request.webhook else "NO_WEBHOOK_PROVIDED",
                    "created_at": "2026-11-21T12:00:00.000Z",
                    "status_at": "2026-11-21T12:00:01.000Z",
                    "errors": request.errors,
                },
            )

    def do_DELETE(self) -> None:
        self.close_connection = True
        request = self._request()
        if request is not None:
            # reference/inference-api/predict-endpoints/cancel-async-request: only what is queued can be cancelled.
            cancelled = request.status == "QUEUED"
            if cancelled:
                request.status = "CANCELED"
            self._say(200, {"request_id": _name(self.path), "canceled": cancelled, "message": "see canceled"})

    def _known(self, environment: str | None) -> bool:
        if self.fake.regional:  # path-based routes are not available on regional hostnames
            return environment is None
        return environment in self.fake.environments

    def _permitted(self) -> bool:
        if self.headers["Authorization"] in {f"Api-Key {KEY}", f"Bearer {KEY}"}:
            return True
        # inference/errors, "401 / 403: the API key is missing or invalid".
        self._say(401, {"error": "please check the api-key you provided"})
        return False

    def _request(self) -> AsyncRequest | None:
        if not self._permitted():
            return None
        request = self.fake.requests.get(_name(self.path))
        if request is None:
            self._say(404, {"error": "request not found"})
        return request

    def _predict(self, body: bytes) -> None:
        """Pass it on to the model, whose answer and errors are passed through unchanged (inference/errors)."""
        with _model(self.fake, body) as response:
            self.send_response(response.status)
            for name in ("Content-Type", "Retry-After"):
                if value := response.getheader(name):
                    self.send_header(name, value)
            self.end_headers()
            # A caller who hangs up ends the model's work: the connection to it is closed, too.
            with suppress(OSError):
                while part := response.read1(65_536):
                    self.wfile.write(part)
                    self.wfile.flush()

    def _async_predict(self, body: bytes) -> None:
        most = self.fake.most_async_bytes
        if len(body) > most:
            # inference/errors, "413": the message reports both sizes.
            self._say(413, {"error": f"payload size of {len(body)} bytes exceeds maximum size of {most} bytes"})
            return
        said = json.loads(body)
        name = uuid.uuid4().hex
        request = AsyncRequest(said["model_input"], said.get("webhook_endpoint"))
        self.fake.requests[name] = request
        threading.Thread(target=_run, args=(self.fake, name, request), daemon=True).start()
        self._say(201, {"request_id": name})  # reference/inference-api/predict-endpoints: 201

    def _wake(self, _: bytes) -> None:
        self._say(202, {})  # reference/inference-api/wake: 202, and nothing in it

    def _say(self, status: int, said: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(content)


def _name(path: str) -> str:
    found = _STATUS.fullmatch(path)
    return found["name"] if found else ""


@contextmanager
def _model(gateway: FakeBaseten, body: bytes) -> Iterator[Any]:
    parts = urlsplit(gateway.truss_url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=300)
    try:
        connection.request("POST", "/v1/models/model:predict", body, {"Content-Type": "application/json"})
        yield connection.getresponse()
    finally:
        connection.close()


def _run(gateway: FakeBaseten, name: str, request: AsyncRequest) -> None:
    """One request of the queue: run it, and send what came of it to its webhook (inference/async)."""
    gateway.held.wait(300)
    if request.status == "CANCELED":
        return
    request.status = "IN_PROGRESS"
    data: object = None
    try:
        with _model(gateway, json.dumps(request.model_input).encode()) as response:
            content = response.read()
    except (OSError, HTTPException):  # the test is over, and its server has ended
        return
    if response.status == 200:
        data = json.loads(content)
    else:
        # inference/async, "Error codes": which status of the model becomes which code.
        code = {400: "MODEL_NOT_READY", 422: "MODEL_INVALID_INPUT"}.get(response.status, "MODEL_PREDICT_ERROR")
        request.errors = [{"code": code, "message": content.decode()}]
    delivered = request.webhook is None or (gateway.deliver and _sent(gateway, name, request, data))
    if request.errors:
        request.status = "FAILED"
    else:
        request.status = "SUCCEEDED" if delivered else "WEBHOOK_FAILED"
    request.webhook_status = "SUCCEEDED" if delivered else "FAILED"


def _sent(gateway: FakeBaseten, name: str, request: AsyncRequest, data: object) -> bool:
    """inference/async, "Request format": the body of a webhook and its headers; two attempts are made."""
    said = {
        "request_id": name,
        "model_id": MODEL,
        "deployment_id": "q1w2e3",
        "type": "async_request_completed",
        "time": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()),
        "data": data,
        "errors": request.errors,
    }
    body = json.dumps(said).encode()
    headers = {
        "Content-Type": "application/json",
        "X-BASETEN-REQUEST-ID": name,
        "X-BASETEN-SIGNATURE": gateway.sign(body),
    }
    for _ in range(2):
        asked = urllib.request.Request(str(request.webhook), body, headers)
        with suppress(OSError), urllib.request.urlopen(asked, timeout=60) as answer:
            return bool(answer.status < 300)
    return False
