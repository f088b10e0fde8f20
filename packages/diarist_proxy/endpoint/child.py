"""The model in a child process, which is watched over: `DIARIST_ENDPOINT=local`.

The child (`diarist.child`) starts with the first request or with `wake`, and ends when it is idle for long, when it
hangs, when a request that was cancelled goes on regardless, and with its parent. Whoever waited for another
answer then gets `EndpointUnavailable`, and the next request starts a new child.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from diarist.errors import Cancelled, DiaristError, EndpointError, EndpointUnavailable
from diarist_proxy.endpoint import Call, Recording
from diarist_proxy.endpoint.answer import body_of, error_of, failed
from diarist_proxy.endpoint.child_process import Child, Event, environment
from diarist_proxy.settings import ProxySettings

POLL_SECONDS = 0.5  # how often somebody who waits looks whether the caller is still there
WHERE = "the model's process"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a child may take, in seconds, before it is ended."""

    start: float = 900.0  # to load the models
    silent: float = 120.0  # without a word while it works; it repeats its last one every 10
    stuck: float = 900.0  # without progress in any request
    grace: float = 10.0  # to end a request, or itself, when asked to


class ChildEndpoint:
    """The model as a process of this machine. It gets files; safe to call from many threads."""

    fetches_urls = False  # the proxy downloads by its own rules, which know Label Studio's storage

    def __init__(self, settings: ProxySettings, *, limits: Limits | None = None) -> None:
        self._settings = settings
        self._limits = limits or Limits()
        self._lock = threading.Lock()  # over the two below
        self._child: Child | None = None
        self._closed = False
        self._model_version: str | None = None

    def transcribe(self, recording: Recording, options: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
        """See `Endpoint.transcribe`."""
        name = uuid.uuid4().hex
        child, events = self._join(name)
        try:
            self._await_ready(child, call)
            body = {**options, **({"audio_file": recording.url} if recording.path is None else {})}
            child.send({"id": name, "body": body, "path": str(recording.path) if recording.path else None})
            return self._followed(child, name, events, call)
        finally:
            child.leave(name)

    def wake(self) -> None:
        """Start the child, if there is none, and return at once; one that could not load waits for a request."""
        with self._lock:
            if self._child is not None and self._child.over.is_set() and self._child.failure is not None:
                return
        try:
            child, _ = self._join("wake")
            child.leave("wake")
        except DiaristError as error:
            logger.warning("the model's process cannot be woken: %s", error)

    def model_version(self) -> str | None:
        """The version that the latest child loaded; None until the first one has."""
        with self._lock:
            if self._child is not None and self._child.model_version is not None:
                self._model_version = self._child.model_version
            return self._model_version

    def close(self) -> None:
        """End the child."""
        with self._lock:
            child, self._child, self._closed = self._child, None, True
        if child is not None:
            child.stop(self._limits.grace)

    @property
    def pid(self) -> int | None:
        """The child's process id, where one runs."""
        with self._lock:
            return self._child.pid if self._child is not None and not self._child.over.is_set() else None

    def _join(self, name: str) -> tuple[Child, SimpleQueue[Event]]:
        """A child, new where there is none, that knows of a request and so stays."""
        with self._lock:
            if self._closed:
                raise EndpointUnavailable("this proxy is shutting down")
            if self._child is None or self._child.over.is_set():
                self._child = self._started()
            return self._child, self._child.join(name)

    def _started(self) -> Child:
        if self._child is not None:
            self._model_version = self._child.model_version or self._model_version
        try:
            child = Child(environment(os.environ, self._settings))
        except OSError as error:
            raise EndpointUnavailable(f"{WHERE} cannot be started: {error.strerror}") from error
        logger.info("the model's process %d has started", child.pid)
        if self._settings.idle_unload_seconds > 0:
            threading.Thread(target=self._unload_when_idle, args=(child,), name="child-idle", daemon=True).start()
        return child

    def _unload_when_idle(self, child: Child) -> None:
        limit = self._settings.idle_unload_seconds
        while not child.over.wait(min(limit / 4, 5.0)):
            with self._lock:
                if child.idle_seconds() < limit:
                    continue
                self._model_version = child.model_version or self._model_version
                if self._child is child:
                    self._child = None
            logger.info("the model's process %d was idle for %g s and gives its memory back", child.pid, limit)
            child.stop(self._limits.grace)

    def _await_ready(self, child: Child, call: Call) -> None:
        ends = time.monotonic() + self._limits.start
        while not child.loaded.wait(POLL_SECONDS):
            call.report("start", 0, 1)
            if call.cancelled():
                raise Cancelled("the caller has gone")
            if time.monotonic() > ends:
                child.kill(f"it did not load the models within {self._limits.start:g} s")
        if child.over.is_set():
            raise self._ended(child, call)

    def _followed(self, child: Child, name: str, events: SimpleQueue[Event], call: Call) -> Mapping[str, Any]:
        """Pass a request's events on until its last."""
        ends = time.monotonic() + self._settings.endpoint_timeout_seconds
        latest: Event = {}
        while True:
            with suppress(Empty):
                event = events.get(timeout=POLL_SECONDS)
                if event["type"] != "progress":
                    return self._answer(child, event, call)
                if event != latest:
                    call.report(event["stage"], event["completed"], event["total"])
                    latest = event
            if call.cancelled():
                self._withdraw(child, name, events)
                raise Cancelled("the caller has gone")
            if time.monotonic() > ends:
                self._withdraw(child, name, events)
                limit = f"{self._settings.endpoint_timeout_seconds:g} s (DIARIST_ENDPOINT_TIMEOUT_SECONDS)"
                raise failed(call, f"{WHERE} did not finish within {limit}")
            self._check(child)

    def _answer(self, child: Child, event: Event, call: Call) -> Mapping[str, Any]:
        if event["type"] == "done":
            return body_of(event, where=WHERE, call=call)
        if event["type"] == "over":
            raise self._ended(child, call)
        raise error_of(event["status"], event, where=WHERE, call=call, retry_after=event.get("retry_after"))

    def _withdraw(self, child: Child, name: str, events: SimpleQueue[Event]) -> None:
        """End a request that nobody waits for; with its process, if it does not end by itself."""
        child.send({"id": name, "cancel": True})
        ends = time.monotonic() + self._limits.grace
        while (left := ends - time.monotonic()) > 0:
            with suppress(Empty):
                if events.get(timeout=left)["type"] != "progress":
                    return
        child.kill("a request that was cancelled did not end")

    def _check(self, child: Child) -> None:
        now = time.monotonic()
        if now - child.heard > self._limits.silent:
            child.kill(f"it said nothing for {self._limits.silent:g} s")
        elif now - child.moved > self._limits.stuck:
            child.kill(f"it made no progress for {self._limits.stuck:g} s")

    def _ended(self, child: Child, call: Call) -> EndpointError:
        """Why there is no answer from a process that is no more."""
        if child.failure is not None:
            words = f"{WHERE} cannot load the models: {child.failure['error']}"
            return EndpointError(words) if child.failure["expected"] else EndpointUnavailable(words)
        if child.killed is not None:
            return EndpointUnavailable(f"{WHERE} was ended, because {child.killed}")
        return failed(
            call, f"{WHERE} ended by itself ({child.status()}); the log may say why, and memory is a usual cause"
        )
