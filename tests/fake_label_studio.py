"""A small Label Studio on 127.0.0.1, for errors that the real one does not make on demand.

Its answers are those of 1.23.2, as it gave them when it was asked the same; `tests/label_studio` uses the real one.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

import fake_server

LEGACY_TOKEN = "0123456789abcdef0123456789abcdef01234567"  # noqa: S105 - of this fake
KEY = "a-key-that-is-long-enough-for-sha256"
PAT = jwt.encode({"token_type": "refresh", "exp": 8_102_465_275, "user_id": "1"}, KEY)
EXPIRED_PAT = jwt.encode({"token_type": "refresh", "exp": 1_000_000_000, "user_id": "1"}, KEY)
UPLOAD = bytes(range(256)) * 100
NOT_A_PAGE_OF_ITS_API = b"<!doctype html><html><title>Not here</title></html>"


@dataclass
class FakeLabelStudio(fake_server.Fake):
    """Where it listens, what it holds, and what was asked."""

    prefix: str = ""
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    storages: dict[str, str] = field(default_factory=dict)  # presigned URLs by URI; "" streams the upload
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path with query, Authorization
    faults: list[tuple[int, bytes]] = field(default_factory=list)  # the next answers, whatever is asked
    lost: list[int] = field(default_factory=list)  # deleted after the next list
    access_seconds: float = 300.0
    legacy_tokens: bool = True
    silent: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def paths(self) -> list[str]:
        return [f"{method} {urlsplit(path).path}" for method, path, _ in self.seen]


@contextmanager
def serving(prefix: str = "") -> Iterator[FakeLabelStudio]:
    """Serve until the end of the block, under a prefix of paths where one is given."""
    with fake_server.serving(_Handler, lambda port: FakeLabelStudio(port, prefix)) as fake:
        yield fake


class _Handler(fake_server.Handler):
    fake: FakeLabelStudio

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def _handle(self) -> None:
        fake = self.fake
        fake.seen.append((self.command, self.path, self.headers.get("Authorization")))
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fake.silent:
            fake.stopping.wait(20)
            return
        if fake.faults:
            self._answer(*fake.faults.pop(0))
            return
        parts = urlsplit(self.path)
        if not parts.path.startswith(f"{fake.prefix}/"):
            self._answer(404, NOT_A_PAGE_OF_ITS_API)
            return
        path = [part for part in parts.path.removeprefix(fake.prefix).split("/") if part]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body = json.loads(content) if content else {}
        if path == ["api", "token", "refresh"]:
            self._refresh(body)
        elif (reason := self._not_allowed()) is not None:
            self._error(401, reason)
        else:
            self._route(path, query, body)

    def _route(self, path: list[str], query: Mapping[str, str], body: Mapping[str, Any]) -> None:  # noqa: C901 - a table
        match [self.command, *path]:
            case ["GET", "api", "projects"]:
                self._json(200, {"count": 1, "next": None, "results": [_PROJECT]})
            case ["GET", "api", "projects", "7"]:
                self._json(200, _PROJECT)
            case ["GET", "api", "projects", _]:
                self._error(404, "No Project matches the given query.")
            case ["GET", "api", "tasks"]:
                self._list(query)
            case ["PATCH", "api", "tasks", number]:
                self._update(int(number), body)
            case ["GET", "api", "predictions"]:
                self._predictions(int(query["task"]))
            case ["POST", "api", "predictions"]:
                self._predict(body)
            case ["GET", "data", "upload", "7", "call.wav"]:
                self._file()
            case ["GET", "data", "upload", *_]:
                self._error(500, "'NoneType' object has no attribute 'has_permission'")
            case ["GET", "tasks", _, "presign"]:
                self._presign(base64.urlsafe_b64decode(query["fileuri"]).decode())
            case _:
                self._answer(404, NOT_A_PAGE_OF_ITS_API)

    def _refresh(self, body: Mapping[str, Any]) -> None:
        if body["refresh"] != PAT:
            self._error(401, "Token is invalid")
            return
        claims = {
            "token_type": "access",
            "exp": time.time() + self.fake.access_seconds,
            "jti": str(len(self.fake.seen)),
        }
        self._json(200, {"access": jwt.encode(claims, KEY)})

    def _not_allowed(self) -> str | None:
        kind, _, token = (self.headers.get("Authorization") or " ").partition(" ")
        if kind == "Token" and token == LEGACY_TOKEN:
            disabled = "Authentication token no longer valid: legacy token authentication has been disabled"
            return None if self.fake.legacy_tokens else f"{disabled} for this organization"
        if kind == "Token":
            return "Invalid token."
        try:
            claims = jwt.decode(token, KEY, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            claims = {}
        return None if claims.get("token_type") == "access" else "Authentication credentials were not provided."

    def _list(self, query: Mapping[str, str]) -> None:
        if query["project"] != "7":
            self._error(404, "No Project matches the given query.")
            return
        wanted = json.loads(query["query"])
        included = wanted.get("selectedItems", {}).get("included", self.fake.tasks)
        after = max(item["value"] for item in wanted["filters"]["items"] if item["filter"] == "filter:tasks:id")
        found = [task for number, task in sorted(self.fake.tasks.items()) if number in included and number > after]
        self._json(200, {"total": len(found), "tasks": found[: int(query["page_size"])]})
        while self.fake.lost:
            self.fake.tasks.pop(self.fake.lost.pop())

    def _update(self, number: int, body: Mapping[str, Any]) -> None:
        if number not in self.fake.tasks:
            self._error(404, "No Task matches the given query.")
            return
        self.fake.tasks[number] |= body
        self._json(200, self.fake.tasks[number])

    def _predictions(self, task: int) -> None:
        if task not in self.fake.tasks:
            self._invalid({"task": ["Select a valid choice. That choice is not one of the available choices."]})
            return
        self._json(200, [item for item in self.fake.predictions if item["task"] == task])

    def _predict(self, body: Mapping[str, Any]) -> None:
        if body["task"] not in self.fake.tasks:
            self._invalid({"task": [f'Invalid pk "{body["task"]}" - object does not exist.']})
            return
        made = {**body, "id": len(self.fake.predictions) + 1}
        self.fake.predictions.append(made)
        self._json(201, made)

    def _file(self) -> None:
        headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes 0-{len(UPLOAD) - 1}/{len(UPLOAD)}"}
        ranged = self.headers.get("Range") == "bytes=0-"
        self._answer(206 if ranged else 200, UPLOAD, headers if ranged else {})

    def _presign(self, uri: str) -> None:
        if uri not in self.fake.storages:
            self._answer(404, b"")
        elif self.fake.storages[uri]:
            self._answer(303, b"", {"Location": self.fake.storages[uri]})
        else:
            self._answer(200, UPLOAD, {"Content-Type": "audio/x-wav"})

    def _error(self, status: int, detail: str, **more: object) -> None:
        self._json(status, {"status_code": status, "version": "1.23.2", "detail": detail, "exc_info": None, **more})

    def _invalid(self, errors: Mapping[str, list[str]]) -> None:
        self._error(400, "Validation error", validation_errors=errors)

    def _json(self, status: int, body: object) -> None:
        self._answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


_PROJECT = {
    "id": 7,
    "title": "Calls",
    "label_config": "<View><Audio name='audio' value='$audio'/></View>",
    "model_version": "",
    "task_number": 3,
    "total_predictions_number": 1,
}
