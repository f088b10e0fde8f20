"""The jobs' table: every statement that reads or changes it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from diarist_proxy.database import Database, jobs
from diarist_proxy.jobs.job import STATES, Job, JobRequest, State

_AT_ONCE = 500  # rows in one statement
_ACTIVE = jobs.c.state.in_(("waiting", "running"))
_SHOWN = (
    jobs.c.id, jobs.c.kind, jobs.c.key, jobs.c.state, jobs.c.stage, jobs.c.completed, jobs.c.total, jobs.c.attempts,
    jobs.c.error, jobs.c.note, jobs.c.attributes, jobs.c.created_at, jobs.c.updated_at,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to run a job once: a workflow of DBOS's. Only a job's newest ticket is good."""

    job: str
    number: int
    priority: int

    @property
    def id(self) -> str:
        """The workflow's id."""
        return f"{self.job}.{self.number}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this process may run; every change of it names the claim, so that a lost one changes nothing."""

    job: str
    kind: str
    number: int
    payload: Mapping[str, Any]
    priority: int
    attempts: int
    crashes: int
    surprises: int
    failing_since: float | None
    cancel: bool


class JobTable:
    """The statements. Those that take a connection are part of the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, connection: sa.Connection, kind: str, requests: Sequence[JobRequest], priority: int, *, ticketed: bool
    ) -> list[Ticket]:
        """Add jobs, but those whose kind and key are active; the tickets of those that were added."""
        insert = self._database.insert(jobs).on_conflict_do_nothing().returning(jobs.c.id)
        now = time.time()
        rows = [_row(kind, request, priority, now, ticketed=ticketed) for request in requests]
        added = connection.scalars(insert, rows) if rows else ()
        return [Ticket(job, 1, priority) for job in added]

    def move_forward(
        self, connection: sa.Connection, kind: str, keys: Sequence[str], priority: int, *, ticketed: bool
    ) -> list[Ticket]:
        """Give the waiting jobs of some keys a smaller priority, and a new ticket; the old ones are good no more."""
        moved = list[Ticket]()
        for start in range(0, len(keys), _AT_ONCE):
            change = (
                jobs.update()
                .where(jobs.c.kind == kind, jobs.c.key.in_(keys[start : start + _AT_ONCE]))
                .where(jobs.c.state == "waiting", jobs.c.priority > priority)
                .values(priority=priority, tickets=jobs.c.tickets + 1, ticketed=ticketed, not_before=None)
                .returning(jobs.c.id, jobs.c.tickets)
            )
            moved += [Ticket(row.id, row.tickets, priority) for row in connection.execute(change)]
        return moved

    def unticketed(self, connection: sa.Connection, limit: int) -> list[Ticket]:
        """Waiting jobs whose ticket is not in the queue yet, the most urgent first; they are taken to have it now."""
        chosen = (
            sa.select(jobs.c.id)
            .where(sa.text("NOT ticketed AND state = 'waiting'"))
            .order_by(jobs.c.priority, jobs.c.created_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        change = (
            jobs.update()
            .where(jobs.c.id.in_(chosen), ~jobs.c.ticketed)
            .values(ticketed=True)
            .returning(jobs.c.id, jobs.c.tickets, jobs.c.priority)
        )
        found = (Ticket(row.id, row.tickets, row.priority) for row in connection.execute(change))
        return sorted(found, key=lambda ticket: ticket.priority)

    def claim(self, job: str, ticket: int, executor: str) -> Claim | None:
        """Begin a job, or begin it again where its process has ended; None where the ticket is good no more."""
        change = (
            jobs.update()
            .where(jobs.c.id == job, jobs.c.tickets == ticket, _ACTIVE)
            .values(
                state="running",
                claims=jobs.c.claims + 1,
                attempts=jobs.c.attempts + 1,
                crashes=jobs.c.crashes + sa.case((jobs.c.state == "running", 1), else_=0),
                executor=executor,
                stage=None,
                completed=0.0,
                total=0.0,
                not_before=None,
                updated_at=time.time(),
            )
            .returning(jobs)
        )
        with self._database.writing() as connection:
            row = connection.execute(change).one_or_none()
        return None if row is None else _claim(row)

    def end(self, claim: Claim, state: State, *, error: str | None = None, note: str | None = None) -> bool:
        """End a job; False where the claim is lost."""
        with self._database.writing() as connection:
            return self._change(connection, claim, state=state, error=error, note=note)

    def postpone(
        self,
        connection: sa.Connection,
        claim: Claim,
        *,
        delay_seconds: float,
        counted: bool,
        **values: Any,  # noqa: ANN401
    ) -> Ticket | None:
        """Let a job wait again, with a new ticket; None where the claim is lost, or its cancel was asked for."""
        attempts = claim.attempts if counted else claim.attempts - 1
        change = (
            _of(claim)
            .where(~jobs.c.cancel)
            .values(
                state="waiting",
                tickets=jobs.c.tickets + 1,
                ticketed=True,
                not_before=time.time() + delay_seconds if delay_seconds else None,
                attempts=attempts,
                updated_at=time.time(),
                **values,
            )
            .returning(jobs.c.tickets)
        )
        number = connection.scalar(change)
        return None if number is None else Ticket(claim.job, number, claim.priority)

    def report(self, claim: Claim, stage: str, completed: float, total: float) -> None:
        """Write how far a job has come."""
        with self._database.writing() as connection:
            self._change(connection, claim, stage=stage, completed=completed, total=total)

    def standing(self, claim: Claim) -> Literal["good", "cancelled", "lost"]:
        """Whether a claim is good still."""
        query = sa.select(jobs.c.state, jobs.c.claims, jobs.c.cancel).where(jobs.c.id == claim.job)
        with self._database.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or row.claims != claim.number or row.state != "running":
            return "lost"
        return "cancelled" if row.cancel else "good"

    def cancel(self, connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> tuple[list[Ticket], int]:
        """End the waiting jobs, and ask the running ones to end; the tickets of the first, the number of the others."""
        ended = connection.execute(
            jobs.update()
            .where(jobs.c.state == "waiting", *conditions)
            .values(state="cancelled", updated_at=time.time())
            .returning(jobs.c.id, jobs.c.tickets, jobs.c.priority)
        )
        tickets = [Ticket(row.id, row.tickets, row.priority) for row in ended]
        asked = connection.execute(jobs.update().where(jobs.c.state == "running", *conditions).values(cancel=True))
        return tickets, asked.rowcount

    def active(self, older_than_seconds: float, *, at_once: int) -> Iterator[Sequence[Ticket]]:
        """The good tickets of all jobs that have not ended, some at a time; without those that changed lately."""
        last, settled = "", time.time() - older_than_seconds
        while True:
            query = sa.select(jobs.c.id, jobs.c.tickets, jobs.c.priority).where(_ACTIVE, jobs.c.ticketed)
            query = query.where(jobs.c.updated_at <= settled, jobs.c.id > last).order_by(jobs.c.id).limit(at_once)
            found = self._tickets(query)
            if not found:
                return
            yield found
            last = found[-1].job

    def renew(self, connection: sa.Connection, ticket: Ticket) -> bool:
        """Let a job wait for a new ticket, unless it has ended, or has another."""
        change = jobs.update().where(jobs.c.id == ticket.job, jobs.c.tickets == ticket.number, _ACTIVE)
        renewed = change.values(state="waiting", tickets=ticket.number + 1, ticketed=False, updated_at=time.time())
        return connection.execute(renewed).rowcount > 0

    def ended(self, longer_than_seconds: float, *, limit: int) -> Sequence[Ticket]:
        """The newest tickets of jobs that ended long ago."""
        query = sa.select(jobs.c.id, jobs.c.tickets, jobs.c.priority).where(~_ACTIVE)
        return self._tickets(query.where(jobs.c.updated_at <= time.time() - longer_than_seconds).limit(limit))

    def forget(self, connection: sa.Connection, ids: Sequence[str]) -> None:
        """Delete jobs."""
        connection.execute(jobs.delete().where(jobs.c.id.in_(ids), ~_ACTIVE))

    def list(self, *conditions: sa.ColumnElement[bool], limit: int) -> tuple[Job, ...]:
        """Jobs, the newest first."""
        query = sa.select(*_SHOWN).where(*conditions).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit)
        with self._database.engine.connect() as connection:
            return tuple(Job(**row) for row in connection.execute(query).mappings())

    def counts(self, *conditions: sa.ColumnElement[bool]) -> dict[State, int]:
        """The number of jobs in each state, those without any too."""
        query = sa.select(jobs.c.state, sa.func.count()).where(*conditions).group_by(jobs.c.state)
        with self._database.engine.connect() as connection:
            found: dict[State, int] = {row[0]: row[1] for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def _tickets(self, query: sa.Select[Any]) -> Sequence[Ticket]:
        with self._database.engine.connect() as connection:
            return [Ticket(row.id, row.tickets, row.priority) for row in connection.execute(query)]

    def _change(self, connection: sa.Connection, claim: Claim, **values: Any) -> bool:  # noqa: ANN401
        return connection.execute(_of(claim).values(updated_at=time.time(), **values)).rowcount > 0


def conditions(
    *,
    id: str | None = None,  # noqa: A002 - what it is called everywhere
    kind: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    states: Sequence[State] | None = None,
) -> list[sa.ColumnElement[bool]]:
    """What picks jobs out, as SQL; everything given must hold."""
    found = [_has(name, value) for name, value in (attributes or {}).items()]
    if id is not None:
        found.append(jobs.c.id == id)
    if kind is not None:
        found.append(jobs.c.kind == kind)
    if states is not None:
        found.append(jobs.c.state.in_(states))
    return found


def _has(name: str, value: Any) -> sa.ColumnElement[bool]:  # noqa: ANN401 - a plain JSON value
    kept = jobs.c.attributes[name]
    if isinstance(value, bool):
        return sa.and_(kept.as_boolean() == value)
    if isinstance(value, int):
        return sa.and_(kept.as_integer() == value)
    return sa.and_(kept.as_string() == str(value))


def _row(kind: str, request: JobRequest, priority: int, now: float, *, ticketed: bool) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "kind": kind,
        "key": request.key,
        "state": "waiting",
        "priority": priority,
        "payload": dict(request.payload),
        "attributes": dict(request.attributes),
        "ticketed": ticketed,
        "created_at": now,
        "updated_at": now,
        "completed": 0.0,
        "total": 0.0,
        "cancel": False,
        "tickets": 1,
        "claims": 0,
        "crashes": 0,
        "attempts": 0,
        "surprises": 0,
    }


def _claim(row: Any) -> Claim:  # noqa: ANN401 - a row of all columns
    return Claim(
        job=row.id,
        kind=row.kind,
        number=row.claims,
        payload=row.payload,
        priority=row.priority,
        attempts=row.attempts,
        crashes=row.crashes,
        surprises=row.surprises,
        failing_since=row.failing_since,
        cancel=row.cancel,
    )


def _of(claim: Claim) -> sa.Update:
    """An UPDATE of a job that holds only while the claim is good."""
    return jobs.update().where(jobs.c.id == claim.job, jobs.c.claims == claim.number, jobs.c.state == "running")
