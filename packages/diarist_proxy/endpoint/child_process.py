"""The process of `diarist.child`, from its start to its end: who waits for its answers, and what it is given."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from pydantic import SecretStr

from diarist_proxy.settings import ProxySettings

logger = logging.getLogger(__name__)

Event = Mapping[str, Any]


class Child:
    """One process, from its start to its end, and who waits for its answers."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # A session of its own: Ctrl-C is for the proxy, which ends the child in order. -P: no module is found
        # in the folder where the proxy happens to run.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "diarist.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.loaded = threading.Event()  # the models are there, or the process is over
        self.over = threading.Event()
        self.model_version: str | None = None
        self.failure: Event | None = None  # why it could not load
        self.killed: str | None = None  # why it was ended by force
        self.heard = self.moved = time.monotonic()  # when it said something, and something new
        self._left = time.monotonic()  # when the last request left
        self._lock = threading.Lock()  # over the two below
        self._waiting: dict[str, SimpleQueue[Event]] = {}
        self._latest: dict[str, Event] = {}
        self._input_lock = threading.Lock()
        threading.Thread(target=self._listen, name=f"child-{self.pid}", daemon=True).start()

    def join(self, name: str) -> SimpleQueue[Event]:
        """Where a request's events will come; while it waits, the process is not idle."""
        events: SimpleQueue[Event] = SimpleQueue()
        with self._lock:
            if not self._waiting:
                self.heard = self.moved = time.monotonic()
            self._waiting[name] = events
            if self.over.is_set():
                events.put({"type": "over"})
        return events

    def leave(self, name: str) -> None:
        """Forget a request."""
        with self._lock:
            self._waiting.pop(name, None)
            self._latest.pop(name, None)
            self._left = time.monotonic()

    def idle_seconds(self) -> float:
        """How long nobody has asked for anything; 0 while it loads or works."""
        with self._lock:
            return 0.0 if self._waiting or not self.loaded.is_set() else time.monotonic() - self._left

    def send(self, message: Event) -> None:
        """Tell it something; that it is over, its listener notices."""
        if "body" in message:
            self.heard = time.monotonic()  # while it loaded, nobody expected a word
            with self._lock:
                if len(self._waiting) == 1:
                    self.moved = self.heard
        with self._input_lock, suppress(OSError, ValueError):
            assert self._process.stdin is not None  # noqa: S101 - for mypy: it is a pipe
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def stop(self, grace: float) -> None:
        """Ask it to end by closing its input, and wait until it has; `grace` seconds later by force."""
        self.killed = self.killed or "the proxy lets it go"
        with self._input_lock, suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101 - for mypy: it is a pipe
            self._process.stdin.close()
        if not self.over.wait(grace):
            self.kill("it did not end when it was asked to")

    def kill(self, reason: str) -> None:
        """End it by force, and wait until it has."""
        if not self.over.is_set():
            self.killed = self.killed or reason
            logger.warning("the model's process %d is ended: %s", self.pid, reason)
            self._process.kill()
        self.over.wait(30)

    def status(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def _listen(self) -> None:
        """Hand its events to those who wait, and notice its end."""
        assert self._process.stdout is not None  # noqa: S101 - for mypy: it is a pipe
        with self._process.stdout as out:
            for line in out:
                self._hear(json.loads(line))
        self._process.wait()
        with self._input_lock, suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101 - for mypy: it is a pipe
            self._process.stdin.close()
        with self._lock:
            self.over.set()
            for events in self._waiting.values():
                events.put({"type": "over"})
        self.loaded.set()

    def _hear(self, event: Event) -> None:
        self.heard = time.monotonic()
        if event["type"] == "ready":
            self.model_version = event["model_version"]
            self._left = self.moved = self.heard
            self.loaded.set()
        elif event["type"] == "failed":
            self.failure = event
        else:
            with self._lock:
                if event != self._latest.get(event["id"]):
                    self.moved = self.heard
                if events := self._waiting.get(event["id"]):
                    self._latest[event["id"]] = event
                    events.put(event)


_SEED_NAMES = {"MODEL_NAME": "DIARIST_ASR_MODEL", "BATCH_SIZE": "DIARIST_BATCH_SIZE"}


def environment(variables: Mapping[str, str], settings: ProxySettings) -> dict[str, str]:
    """The child's environment: the proxy's without the proxy's secrets, and the seeds' names in ours."""
    found = {name: value for name, value in variables.items() if name not in _secret_names()}
    for seed, ours in _SEED_NAMES.items():
        if found.get(seed):
            found[ours] = found.get(ours) or found[seed]
    return found | {"DIARIST_LOG_LEVEL": settings.log_level}


def _secret_names() -> set[str]:
    """Variables that hold a secret of the proxy; who decodes strangers' recordings needs none of them."""
    names: set[str] = set()
    for field in ProxySettings.model_fields.values():
        if str(SecretStr.__name__) in str(field.annotation):
            names.update(str(name) for name in getattr(field.validation_alias, "choices", ()))
    return names
