"""Running one job: the handler's context, and what becomes of the job when the handler has ended."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from diarist.errors import Cancelled, DiaristError
from diarist.text import one_line
from diarist_proxy.jobs.job import Failed, Handler, State
from diarist_proxy.jobs.table import Claim, JobTable
from diarist_proxy.jobs.tickets import Tickets
from diarist_proxy.metrics import Metrics
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Store

MAX_SURPRISES = 3  # attempts that end in an error nobody thought of
LONGEST_REASON = 500  # characters of an error that the log repeats
MAX_CRASHES = 5  # processes that may end under one job
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 2.0, 30.0
REPORT_SECONDS = 0.5  # between two writes of the same stage's progress
LOOK_SECONDS = 0.5  # between two looks at whether the job is cancelled

logger = logging.getLogger(__name__)


class Runner:
    """Runs jobs that tickets name, in DBOS's threads."""

    def __init__(
        self,
        settings: ProxySettings,
        store: Store,
        handlers: Mapping[str, Handler],
        metrics: Metrics,
        failed: Failed | None = None,
    ) -> None:
        self._retry_seconds = settings.retry_seconds
        self._store = store
        self._table = JobTable(store.database)
        self._handlers = handlers
        self._metrics = metrics
        self._failed = failed
        self.closing = threading.Event()
        self._running: set[str] = set()
        self._moved = threading.Condition()

    def run(self, job: str, ticket: int, tickets: Tickets) -> str:
        """Do what a ticket asks for; answers what became of the job."""
        if self.closing.is_set():
            raise SystemExit  # leaves the workflow as it is: another process, or the next start, runs it
        claim = self._table.claim(job, ticket, tickets.executor)
        if claim is None:
            return "nothing to do"
        with self._moved:
            self._running.add(job)
        try:
            return self._finished(claim, tickets)
        finally:
            with self._moved:
                self._running.discard(job)
                self._moved.notify_all()

    def wait(self, seconds: float) -> int:
        """Wait until nothing runs, at most so long; the number of jobs that run still."""
        with self._moved:
            self._moved.wait_for(lambda: not self._running, seconds)
            return len(self._running)

    def _finished(self, claim: Claim, tickets: Tickets) -> str:
        handler = self._handlers.get(claim.kind)
        if claim.cancel:
            return self._end(claim, "cancelled")
        if handler is None:
            return self._end(claim, "failed", error=f"this version of the proxy knows no jobs of the kind {claim.kind}")
        if claim.crashes >= MAX_CRASHES:
            return self._end(claim, "failed", error=f"the process that worked on it ended {claim.crashes} times")
        context = _Context(claim, self._table, self._store, self._metrics, self.closing)
        try:
            note = handler(claim.payload, context)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, its job ends, or comes back
            return self._unfinished(claim, error, tickets)
        finally:
            context.close()
        return self._end(claim, "done", note=note)

    def _unfinished(self, claim: Claim, error: Exception, tickets: Tickets) -> str:
        """End the job, or let it wait, as the error asks for."""
        if isinstance(error, Cancelled):
            return self._cancelled(claim, error, tickets)
        if not isinstance(error, DiaristError):
            logger.error("job %s: attempt %d failed", claim.job, claim.attempts, exc_info=error)
            return self._surprised(claim, tickets)
        logger.warning("job %s: attempt %d failed: %s", claim.job, claim.attempts, one_line(str(error), LONGEST_REASON))
        self._metrics.failed(error)
        if error.transient:
            return self._later(claim, error, tickets)
        return self._end(claim, "failed", error=str(error))

    def _cancelled(self, claim: Claim, error: Cancelled, tickets: Tickets) -> str:
        standing = self._table.standing(claim)
        if standing == "good" and self.closing.is_set():
            return self._again(claim, tickets, counted=False)
        return self._end(claim, "cancelled", error=None if standing == "cancelled" else str(error))

    def _later(self, claim: Claim, error: DiaristError, tickets: Tickets) -> str:
        now = time.time()
        since = claim.failing_since or now
        left = since + self._retry_seconds - now
        if left <= 0:
            tried = f"given up after {claim.attempts} attempts in {now - since:.0f} s"
            return self._end(claim, "failed", error=f"{error} ({tried})")
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        delay = min(max(_back_off(claim.attempts), asked), max(left, 0.1))
        return self._again(claim, tickets, delay_seconds=delay, failing_since=since, error=str(error))

    def _surprised(self, claim: Claim, tickets: Tickets) -> str:
        if claim.surprises + 1 >= MAX_SURPRISES:
            return self._end(claim, "failed", error=f"an unexpected error; the log has the cause under {claim.job}")
        return self._again(claim, tickets, delay_seconds=_back_off(claim.surprises + 1), surprises=claim.surprises + 1)

    def _again(
        self,
        claim: Claim,
        tickets: Tickets,
        *,
        delay_seconds: float = 0.0,
        counted: bool = True,
        **values: object,
    ) -> str:
        """Give the place to other jobs, and come back."""
        with self._store.database.writing() as connection:
            ticket = self._table.postpone(connection, claim, delay_seconds=delay_seconds, counted=counted, **values)
            if ticket is not None:
                tickets.add(connection, ticket, delay_seconds=delay_seconds)
        return self._end(claim, "cancelled") if ticket is None else "waiting"

    def _end(self, claim: Claim, state: State, *, error: str | None = None, note: str | None = None) -> str:
        if state == "failed":
            self._tell(claim, error or "")
        if not self._table.end(claim, state, error=error, note=note):
            return "lost"
        self._store.delete_scope(f"job:{claim.job}")
        self._metrics.ended(claim.kind, state)
        return state

    def _tell(self, claim: Claim, error: str) -> None:
        """Before the end is written, so that who sees it sees the reason too, and a process killed here loses none."""
        if self._failed is None or self._table.standing(claim) == "lost":
            return
        try:
            self._failed(claim.kind, claim.payload, error)
        except Exception:  # the job ends all the same
            logger.exception("job %s: why it failed could not be told", claim.job)


class _Context:
    """The `JobContext` of one attempt."""

    def __init__(self, claim: Claim, table: JobTable, store: Store, metrics: Metrics, closing: threading.Event) -> None:
        self.id = claim.job
        self.attempt = claim.attempts
        self._claim = claim
        self._table = table
        self._store = store
        self._metrics = metrics
        self._closing = closing
        self._stage: str | None = None
        self._stage_began = self._reported = time.monotonic()
        self._looked = time.monotonic()
        self._standing = "good"
        self._latest: tuple[str, float, float] | None = None

    def report(self, stage: str, completed: float, total: float) -> None:
        """Keep how far the work has come, a new stage at once, the same stage now and then."""
        now = time.monotonic()
        if stage != self._stage:
            self._observe_stage(now)
            self._stage, self._stage_began = stage, now
        elif now - self._reported < REPORT_SECONDS and completed < total:
            return
        self._reported = now
        with _database_may_be_away(self._claim):
            self._table.report(self._claim, stage, completed, total)

    def cancelled(self) -> bool:
        """Whether it is to end; the table is looked at twice a second."""
        if self._closing.is_set():
            return True
        now = time.monotonic()
        if self._standing == "good" and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            with _database_may_be_away(self._claim):
                self._standing = self._table.standing(self._claim)
        return self._standing != "good"

    @property
    def withdrawn(self) -> bool:
        """Whether somebody cancelled the job: this process is not stopping, and no other has taken the job over."""
        return self._standing == "cancelled"

    def recall(self, key: str) -> str | None:
        """What an earlier attempt remembered."""
        kept = self._store.get(f"job:{self.id}", key)
        return None if kept is None else str(kept)

    def remember(self, key: str, value: str) -> None:
        """Keep a value until the job ends."""
        self._store.set(f"job:{self.id}", key, value)

    def close(self) -> None:
        """Count the last stage's time."""
        self._observe_stage(time.monotonic())

    def _observe_stage(self, now: float) -> None:
        if self._stage is not None:
            self._metrics.stage(self._stage, now - self._stage_began)


@contextmanager
def _database_may_be_away(claim: Claim) -> Iterator[None]:
    """Work goes on where only its progress could not be written, or its cancel not be read."""
    try:
        yield
    except SQLAlchemyError as error:
        logger.warning("job %s: the database did not answer: %s", claim.job, type(error).__name__)


def _back_off(attempts: int) -> float:
    """Seconds to wait after so many attempts: twice as long each time, a little different for each job."""
    seconds = min(FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 10), LONGEST_RETRY_SECONDS)
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - nothing secret
