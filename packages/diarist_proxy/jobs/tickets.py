"""DBOS, which runs the jobs: a queue of tickets, each the right to run a job once.

A ticket is a workflow of one line, run by whichever process dequeues it. It is put into the queue in the transaction
that writes the job, so there is never one without the other; the job's own row says whether a ticket is good still.
That is why moving a job forward, or trying it again later, is a new ticket, and why one too many harms nobody.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, EnqueueOptions

from diarist_proxy.database import Database
from diarist_proxy.jobs.table import Ticket

POLL_SECONDS = 0.1  # how long a job waits at most for a process that is free

_QUEUE = "diarist-jobs"
_WORKFLOW = "diarist-job"
_VERSION = "jobs-1"  # of the workflow below, not of diarist: jobs that wait survive an upgrade

_UNENDED = ("ENQUEUED", "DELAYED", "PENDING")

Run = Callable[[str, int], str]  # a job's id and the ticket's number; answers what became of it


class Tickets:
    """The queue. One in a process, because DBOS is one in a process."""

    def __init__(self, database: Database, run: Run, *, at_once: int) -> None:
        self._database = database
        self._run = run
        self._at_once = at_once
        self._client: DBOSClient | None = None
        self.executor = uuid.uuid4().hex  # of this process, never used again

    def launch(self) -> None:
        """Begin to run jobs."""
        logging.getLogger("dbos").addHandler(logging.NullHandler())  # else it would write beside the host's log
        DBOS(
            config={
                "name": "diarist",
                "system_database_url": self._database.url,
                "system_database_engine": self._database.engine,
                "application_version": _VERSION,
                "executor_id": self.executor,
                "enable_otlp": False,
                "use_listen_notify": False,
                "log_level": "WARNING",
            }
        )
        run = self._run

        @DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)
        def job(job: str, ticket: int) -> str:
            return run(job, ticket)

        DBOS.launch()
        self._client = DBOSClient(system_database_engine=self._database.engine, application_name="diarist")
        DBOS.register_queue(
            _QUEUE,
            worker_concurrency=self._at_once,
            polling_interval_sec=POLL_SECONDS,
            on_conflict="always_update",
        )

    def add(self, connection: sa.Connection, ticket: Ticket, *, delay_seconds: float = 0.0) -> None:
        """Queue a ticket, as part of a transaction."""
        options: EnqueueOptions = {
            "workflow_name": _WORKFLOW,
            "queue_name": _QUEUE,
            "workflow_id": ticket.id,
            "app_version": _VERSION,
            "priority": ticket.priority,
        }
        if delay_seconds > 0:
            options["delay_seconds"] = delay_seconds
        self._connected.enqueue_in_transaction(connection, options, ticket.job, ticket.number)

    def drop(self, tickets: Iterable[Ticket]) -> None:
        """Take tickets out of the queue that are good no more."""
        ids = [ticket.id for ticket in tickets]
        if ids:
            self._connected.cancel_workflows(ids)

    def ended(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Those whose workflows have ended, well or badly, or are not there at all."""
        by_id = {ticket.id: ticket for ticket in tickets}
        found = self._connected.list_workflows(
            workflow_ids=list(by_id), status=list(_UNENDED), load_input=False, load_output=False
        )
        unended = {workflow.workflow_id for workflow in found}
        return [ticket for name, ticket in by_id.items() if name not in unended]

    def forget(self, tickets: Iterable[Ticket]) -> None:
        """Delete tickets, and the earlier ones of the same jobs."""
        self._connected.delete_workflows(
            [replace(ticket, number=number).id for ticket in tickets for number in range(1, ticket.number + 1)]
        )

    def recover(self, executor: str) -> int:
        """Queue the running tickets of a process that has ended once more; their number."""
        return len(DBOS._recover_pending_workflows([executor]))  # noqa: SLF001 - what DBOS's own service calls

    def close(self) -> None:
        """Start no job any more. Those that run are not waited for."""
        if self._client is not None:
            DBOS.destroy(destroy_registry=True)
            self._client.destroy()
            self._client = None

    @property
    def _connected(self) -> DBOSClient:
        if self._client is None:
            raise RuntimeError("launch() comes first")
        return self._client
