"""What looks after the jobs in the background: tickets for many, new ones where they were lost, an end to old rows."""

from __future__ import annotations

import logging
import threading
import time

from diarist_proxy.database import Database
from diarist_proxy.jobs.table import JobTable
from diarist_proxy.jobs.tickets import Tickets

INTAKE_SECONDS = 3.0  # how long jobs that another process accepted, and then ended, wait for their tickets
AUDIT_SECONDS = 60.0  # between two looks at whether every active job has a ticket that is good
SWEEP_SECONDS = 3600.0
KEPT_SECONDS = 30 * 24 * 3600.0  # how long ended jobs are shown

_TICKETS_AT_ONCE = 10  # in one transaction: some milliseconds, so that a request never waits for long
_JOBS_AT_ONCE = 500
_PAUSE_SECONDS = 0.005  # in which requests get their turn at writing

logger = logging.getLogger(__name__)


class Caretaker:
    """A thread; every process has one, and they do not disturb each other."""

    def __init__(self, database: Database, table: JobTable, tickets: Tickets) -> None:
        self._database = database
        self._table = table
        self._tickets = tickets
        self._accepted, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._care, name="diarist-caretaker", daemon=True)
        self._audited = time.monotonic()
        self._swept = -SWEEP_SECONDS

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Jobs were accepted whose tickets are not queued yet."""
        self._accepted.set()

    def close(self, seconds: float) -> None:
        """Stop; what is left to do is done by another process, or by the next start."""
        self._stop.set()
        self._accepted.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _care(self) -> None:
        while not self._stop.is_set():
            self._accepted.wait(INTAKE_SECONDS)
            self._accepted.clear()
            try:
                self._round()
            except Exception:  # whatever the database does, the jobs are written: the next round tries again
                logger.exception("the jobs could not be looked after; they will be")

    def _round(self) -> None:
        now = time.monotonic()
        if now - self._audited >= AUDIT_SECONDS:
            self._audited = now
            self.audit()
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            self.sweep()
        while not self._stop.is_set() and self._queue_some():
            self._stop.wait(_PAUSE_SECONDS)

    def _queue_some(self) -> int:
        """Queue the tickets of some jobs that were accepted many at a time."""
        with self._database.writing() as connection:
            tickets = self._table.unticketed(connection, _TICKETS_AT_ONCE)
            for ticket in tickets:
                self._tickets.add(connection, ticket)
        return len(tickets)

    def audit(self, *, older_than_seconds: float = AUDIT_SECONDS) -> int:
        """Give a new ticket to every active job whose ticket has ended without it; their number.

        That happens where the database failed at the moment when a job's end was to be written.
        """
        found = 0
        for active in self._table.active(older_than_seconds, at_once=_JOBS_AT_ONCE):
            ended = self._tickets.ended(active)
            with self._database.writing() as connection:
                found += sum(self._table.renew(connection, ticket) for ticket in ended)
        if found:
            logger.warning("%d jobs had lost their place in the queue, and have a new one", found)
        return found

    def sweep(self, *, kept_seconds: float = KEPT_SECONDS) -> int:
        """Forget jobs that ended long ago, and their tickets; their number."""
        found = 0
        while not self._stop.is_set():
            old = self._table.ended(kept_seconds, limit=_JOBS_AT_ONCE)
            if not old:
                break
            self._tickets.forget(old)
            with self._database.writing() as connection:
                self._table.forget(connection, [ticket.job for ticket in old])
            found += len(old)
        return found
