"""Durable jobs: what was accepted ends, whatever process or machine is lost meanwhile.

The jobs' table says what each job is and how it stands; DBOS (`tickets.py`) runs them: its queue knows priorities,
delays and how many run at once, and gives the work of a process that ended (`leases.py`) to another. A job may begin
more than once, never twice at a time, and its handler sees what it remembered before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diarist_proxy.jobs.caretaker import Caretaker
from diarist_proxy.jobs.job import Failed, Handler, Job, JobContext, JobRequest, Priority, State
from diarist_proxy.jobs.leases import Leases
from diarist_proxy.jobs.runner import Runner
from diarist_proxy.jobs.table import JobTable, conditions
from diarist_proxy.jobs.tickets import Tickets
from diarist_proxy.metrics import Metrics
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Store

__all__ = ["Failed", "Handler", "Job", "JobContext", "JobRequest", "Jobs", "Priority", "State"]

AT_ONCE = 20  # tickets queued in one transaction; more are queued in the background
CLOSE_SECONDS = 3.0  # how long running jobs have to stop


class Jobs:
    """Accepts jobs, runs them and tells how they stand. One in a process; safe to call from many threads."""

    def __init__(
        self,
        settings: ProxySettings,
        store: Store,
        handlers: Mapping[str, Handler],
        metrics: Metrics | None = None,
        failed: Failed | None = None,
    ) -> None:
        """The handlers, by kind, may be filled in until `launch`; `failed` is told of each job that fails for good."""
        self.metrics = metrics or Metrics()
        self._database = store.database
        self._table = JobTable(store.database)
        self._runner = Runner(settings, store, handlers, self.metrics, failed)
        self._tickets = Tickets(store.database, self._run, at_once=settings.jobs_at_once)
        self._leases = Leases(store.database, self._tickets.executor, self._tickets.recover)
        self._caretaker = Caretaker(store.database, self._table, self._tickets)

    def launch(self) -> None:
        """Begin to run jobs, those of processes that have ended too."""
        self._tickets.launch()
        self._leases.start()
        self._caretaker.start()

    def close(self, seconds: float = CLOSE_SECONDS) -> int:
        """Stop within seconds. Jobs that run are asked to end and wait to be begun again.

        Returns:
            The number of jobs that did not end in time: they are begun again once this process has ended.
        """
        self._runner.closing.set()
        left = self._runner.wait(seconds)
        self._caretaker.close(seconds)
        self._tickets.close()
        self._leases.close()
        return left

    def submit(self, kind: str, requests: Sequence[JobRequest], priority: Priority) -> None:
        """Accept jobs; when it returns they survive everything but the loss of the database.

        A job of a kind and key that waits already is not queued twice, but moved forward where this priority is
        smaller; one that runs is left alone.
        """
        unique = {request.key: request for request in requests}
        at_once = len(unique) <= AT_ONCE
        with self._database.writing() as connection:
            tickets = self._table.move_forward(connection, kind, list(unique), priority, ticketed=at_once)
            tickets += self._table.add(connection, kind, list(unique.values()), priority, ticketed=at_once)
            for ticket in tickets if at_once else ():
                self._tickets.add(connection, ticket)
        if not at_once:
            self._caretaker.wake()

    def list(
        self,
        *,
        kind: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        states: Sequence[State] | None = None,
        limit: int = 1000,
    ) -> tuple[Job, ...]:
        """Jobs, the newest first; those that have all that is given."""
        return self._table.list(*conditions(kind=kind, attributes=attributes, states=states), limit=limit)

    def counts(self, attributes: Mapping[str, Any] | None = None) -> dict[State, int]:
        """The number of jobs in each state."""
        return self._table.counts(*conditions(attributes=attributes))

    def get(self, id: str) -> Job | None:  # noqa: A002 - what it is called everywhere
        """A job, or None."""
        return next(iter(self._table.list(*conditions(id=id), limit=1)), None)

    def cancel(self, *, id: str | None = None, attributes: Mapping[str, Any] | None = None) -> int:  # noqa: A002
        """End jobs that wait, and ask those that run to end; the number of both.

        Raises:
            ValueError: nothing is given, which would mean all.
        """
        chosen = conditions(id=id, attributes=attributes)
        if not chosen:
            raise ValueError("cancel needs an id, or attributes")
        with self._database.writing() as connection:
            tickets, asked = self._table.cancel(connection, *chosen)
        self._tickets.drop(tickets)
        return len(tickets) + asked

    def _run(self, job: str, ticket: int) -> str:
        return self._runner.run(job, ticket, self._tickets)
