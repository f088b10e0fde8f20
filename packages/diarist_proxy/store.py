"""What the proxy keeps beside its jobs: small values, predictions, corrections, and answers that came by webhook."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

import sqlalchemy as sa

from diarist_proxy import database as tables
from diarist_proxy.database import Database
from diarist_proxy.settings import ProxySettings

RESULTS_KEPT_SECONDS = 3 * 24 * 3600.0  # an asynchronous answer that nobody took until then is forgotten

_IN_AT_ONCE = 5000  # values in one IN list, far below what either database allows


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A task's prediction by one model version, as it was computed, and whether Label Studio has it."""

    project: int
    task: int
    model_version: str
    fingerprint: str  # of what it was computed from
    state: Literal["computed", "pushed"]
    prediction: dict[str, Any]  # result, score, model_version
    prediction_id: int | None  # Label Studio's, once it is pushed
    duration: float  # seconds of the recording
    updated_at: float  # epoch, seconds


@dataclass(frozen=True, slots=True)
class Correction:
    """What an annotation changed in the prediction it began with."""

    project: int
    task: int
    annotation: int
    model_version: str | None
    lead_time: float | None  # seconds that it took
    measured: dict[str, Any]  # counts, as `evaluation.Measured.to_json` gives them
    updated_at: float  # epoch, seconds


class Store:
    """The tables behind the proxy. Safe to call from many threads and processes."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, settings: ProxySettings) -> Store:
        """Open the database that the settings name, and create or migrate its tables.

        Raises:
            BadRequest: it cannot be used; says why.
        """
        return cls(Database.open(settings))

    @property
    def engine(self) -> sa.Engine:
        """The engine of all connections, DBOS's too."""
        return self.database.engine

    @property
    def url(self) -> str:
        """The database's URL, password included."""
        return self.database.url

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def get(self, scope: str, key: str) -> Any:  # noqa: ANN401 - whatever JSON was kept
        """A JSON value, or None."""
        table = tables.values
        query = sa.select(table.c.value).where(table.c.scope == scope, table.c.key == key)
        with self.engine.connect() as connection:
            return connection.scalar(query)

    def set(self, scope: str, key: str, value: Any) -> None:  # noqa: ANN401
        """Keep a JSON value in place of an earlier one."""
        self.database.upsert(tables.values, {"scope": scope, "key": key, "value": value})

    def delete(self, scope: str, key: str) -> None:
        """Forget a value, if there is one."""
        table = tables.values
        self._delete(table, table.c.scope == scope, table.c.key == key)

    def delete_scope(self, scope: str) -> None:
        """Forget every value of a scope."""
        self._delete(tables.values, tables.values.c.scope == scope)

    def items(self, scope: str) -> dict[str, Any]:
        """All values of a scope, by key."""
        table = tables.values
        query = sa.select(table.c.key, table.c.value).where(table.c.scope == scope).order_by(table.c.key)
        with self.engine.connect() as connection:
            return {row.key: row.value for row in connection.execute(query)}

    def prediction(self, task: int, model_version: str) -> StoredPrediction | None:
        """A task's prediction by a model version, or None."""
        return self.predictions([task], model_version).get(task)

    def predictions(self, tasks: Sequence[int], model_version: str) -> dict[int, StoredPrediction]:
        """Those of some tasks that there are, by task."""
        table, found = tables.predictions, dict[int, StoredPrediction]()
        with self.engine.connect() as connection:
            for part in _parts(tasks):
                query = sa.select(table).where(table.c.model_version == model_version, table.c.task.in_(part))
                found.update((row["task"], StoredPrediction(**row)) for row in connection.execute(query).mappings())
        return found

    def save_prediction(self, row: StoredPrediction) -> None:
        """Keep a prediction in place of the earlier one of its task and model version."""
        self.database.upsert(tables.predictions, asdict(row))

    def hand_out(self, row: StoredPrediction) -> bool:
        """Mark a prediction as handed out now; of several callers who saw the same row, one is told True."""
        table = tables.predictions
        same = (table.c.task == row.task, table.c.model_version == row.model_version)
        update = table.update().where(*same, table.c.updated_at == row.updated_at).values(updated_at=time.time())
        with self.database.writing() as connection:
            return bool(connection.execute(update).rowcount)

    def forget_tasks(self, tasks: Sequence[int]) -> None:
        """Forget the predictions and corrections of tasks that are gone."""
        self._delete_in(tables.predictions, tables.predictions.c.task, tasks)
        self._delete_in(tables.corrections, tables.corrections.c.task, tasks)

    def save_correction(self, row: Correction) -> None:
        """Keep what was measured on an annotation in place of what was measured on it before."""
        self.database.upsert(tables.corrections, asdict(row))

    def forget_corrections(self, annotations: Sequence[int]) -> None:
        """Forget what was measured on annotations that are gone."""
        self._delete_in(tables.corrections, tables.corrections.c.annotation, annotations)

    def corrections(self, project: int | None = None) -> tuple[Correction, ...]:
        """All corrections, or those of one project, by annotation."""
        table = tables.corrections
        query = sa.select(table).order_by(table.c.annotation)
        if project is not None:
            query = query.where(table.c.project == project)
        with self.engine.connect() as connection:
            return tuple(Correction(**row) for row in connection.execute(query).mappings())

    def put_result(self, request_id: str, body: Mapping[str, Any]) -> None:
        """Keep an asynchronous answer until somebody takes it; answers that nobody took for days are forgotten."""
        now = time.time()
        self.database.upsert(tables.results, {"request_id": request_id, "body": dict(body), "received_at": now})
        self._delete(tables.results, tables.results.c.received_at < now - RESULTS_KEPT_SECONDS)

    def take_result(self, request_id: str) -> Mapping[str, Any] | None:
        """An asynchronous answer, or None where it has not come.

        It stays until it is old: a process that is killed with the answer in its hand finds it here again.
        """
        query = sa.select(tables.results.c.body).where(tables.results.c.request_id == request_id)
        with self.engine.connect() as connection:
            body: Mapping[str, Any] | None = connection.scalar(query)
        return body

    def _delete(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> None:
        with self.database.writing() as connection:
            connection.execute(sa.delete(table).where(*conditions))

    def _delete_in(self, table: sa.Table, column: sa.Column[int], numbers: Iterable[int]) -> None:
        for part in _parts(numbers):
            self._delete(table, column.in_(part))


def _parts(numbers: Iterable[int]) -> Iterator[list[int]]:
    """Numbers in lists short enough for one query."""
    rest = iter(numbers)
    while part := list(islice(rest, _IN_AT_ONCE)):
        yield part
