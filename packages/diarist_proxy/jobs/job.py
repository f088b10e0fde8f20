"""A job, as those who submit, run and watch it see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, Protocol

State = Literal["waiting", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("waiting", "running", "done", "failed", "cancelled")


class Priority(IntEnum):
    """What runs first; smaller numbers before larger ones, and the older of two equals."""

    OPENED = 1  # somebody looks at the task
    NORMAL = 10
    BACKFILL = 20


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to be done. One job per kind and key is active at a time."""

    key: str
    payload: Mapping[str, Any]  # JSON, what the handler is given
    attributes: Mapping[str, Any] = field(default_factory=dict)  # plain values, to find it by: {"project": 7}


@dataclass(frozen=True, slots=True)
class Job:
    """How a job stands."""

    id: str
    kind: str
    key: str
    state: State
    stage: str | None  # what it does now, or did last
    completed: float  # of the stage
    total: float
    attempts: int
    error: str | None  # why it failed, or why it waits to be tried again
    note: str | None  # what its handler said at the end
    attributes: Mapping[str, Any]
    created_at: float  # epoch, seconds
    updated_at: float


class JobContext(Protocol):
    """A handler's side of its job; also an `endpoint.Call`."""

    id: str
    attempt: int  # 1 for the first

    def report(self, stage: str, completed: float, total: float) -> None:
        """Tell how far the work has come."""

    def cancelled(self) -> bool:
        """Whether the work is to end: somebody cancelled it, or the process is being stopped."""

    def recall(self, key: str) -> str | None:
        """What an earlier attempt remembered."""

    def remember(self, key: str, value: str) -> None:
        """Keep a value for later attempts."""


Handler = Callable[[Mapping[str, Any], JobContext], str | None]
"""Does a job: gets the payload, returns a short note.

A `DiaristError` ends the job as failed, unless it is `transient`: then the job is tried again. `Cancelled` ends it as
cancelled. It may run again after it was done, where its process was killed at that very moment: it looks first.
"""

Failed = Callable[[str, Mapping[str, Any], str], None]
"""Is told of a job that fails for good, just before that is written: its kind, its payload, and why.

It may be told twice, where the process is killed in between.
"""
