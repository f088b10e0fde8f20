"""The proxy's one database: its own tables and DBOS's, in a SQLite file, or in Postgres where proxies share the work.

SQLite runs in WAL mode with every commit on the disk, so readers never wait for a writer and a job that was accepted
survives a power cut. One process writes one transaction at a time (`writing`): threads that wait for a lock of
Python's are served in turn, where SQLite would let them try again blindly.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from diarist.errors import BadRequest
from diarist_proxy.settings import ProxySettings

SCHEMA_VERSION = 1
BUSY_SECONDS = 30  # how long SQLite waits for another process's transaction

_LOCK = 0xD1A7157  # any number that other users of a shared Postgres are unlikely to have taken
_ACTIVE = sa.text("state IN ('waiting', 'running')")

metadata = sa.MetaData()

values = sa.Table(
    "diarist_values",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
)

predictions = sa.Table(
    "diarist_predictions",
    metadata,
    sa.Column("task", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("model_version", sa.Text, primary_key=True),
    sa.Column("project", sa.BigInteger, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("prediction", sa.JSON, nullable=False),
    sa.Column("prediction_id", sa.BigInteger),
    sa.Column("duration", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

corrections = sa.Table(
    "diarist_corrections",
    metadata,
    sa.Column("annotation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("project", sa.BigInteger, nullable=False, index=True),
    sa.Column("task", sa.BigInteger, nullable=False, index=True),
    sa.Column("model_version", sa.Text),
    sa.Column("lead_time", sa.Double),
    sa.Column("measured", sa.JSON, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

results = sa.Table(
    "diarist_results",
    metadata,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("received_at", sa.Double, nullable=False, index=True),
)

jobs = sa.Table(
    "diarist_jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # waiting, running, done, failed, cancelled
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("stage", sa.Text),
    sa.Column("completed", sa.Double, nullable=False, default=0.0),
    sa.Column("total", sa.Double, nullable=False, default=0.0),
    sa.Column("error", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("cancel", sa.Boolean, nullable=False, default=False),  # asked for while it runs
    sa.Column("tickets", sa.Integer, nullable=False, default=1),  # the number of the DBOS workflow that may run it
    sa.Column("ticketed", sa.Boolean, nullable=False),  # whether that workflow is in DBOS's queue already
    sa.Column("claims", sa.Integer, nullable=False, default=0),  # times it was begun, after crashes too
    sa.Column("crashes", sa.Integer, nullable=False, default=0),  # times a process ended under it
    sa.Column("attempts", sa.Integer, nullable=False, default=0),  # times it was begun for good or bad
    sa.Column("surprises", sa.Integer, nullable=False, default=0),  # attempts that ended with an unexpected error
    sa.Column("executor", sa.Text),
    sa.Column("failing_since", sa.Double),  # the first of the transient errors
    sa.Column("not_before", sa.Double),  # when the next attempt is due
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)
sa.Index("diarist_jobs_active", jobs.c.kind, jobs.c.key, unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)
sa.Index("diarist_jobs_state", jobs.c.state, jobs.c.updated_at)
sa.Index("diarist_jobs_newest", jobs.c.created_at)
_UNTICKETED = sa.text("NOT ticketed AND state = 'waiting'")
sa.Index("diarist_jobs_unticketed", jobs.c.priority, sqlite_where=_UNTICKETED, postgresql_where=_UNTICKETED)

executors = sa.Table(
    "diarist_executors",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("beat", sa.BigInteger, nullable=False),  # grows while the process lives
    sa.Column("ended", sa.Boolean, nullable=False),  # it said goodbye
)

schema = sa.Table("diarist_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))


class Database:
    """The engine, and turns at writing with it."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._turn = threading.Lock() if engine.dialect.name == "sqlite" else None

    @classmethod
    def open(cls, settings: ProxySettings) -> Database:
        """Open what the settings name, and create or migrate the tables.

        Raises:
            BadRequest: the folder or the database cannot be used, or a newer diarist has written it.
        """
        database = cls(_postgres(settings) if settings.database_url else _sqlite(settings.data_dir))
        try:
            with database.writing() as connection:
                _migrate(connection)
        except (SQLAlchemyError, BadRequest) as error:
            database.engine.dispose()
            if isinstance(error, BadRequest):
                raise
            shown = database.engine.url.render_as_string(hide_password=True)
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            raise BadRequest(f"the database {shown} cannot be used: {reason}") from None
        return database

    @property
    def url(self) -> str:
        """The URL, password included, as DBOS wants it."""
        return self.engine.url.render_as_string(hide_password=False)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes; committed at the end."""
        if self._turn is None:
            with self.engine.begin() as connection:
                yield connection
            return
        with self._turn, self.engine.begin() as connection:
            yield connection

    def insert(self, table: sa.Table) -> Any:  # noqa: ANN401 - of one of two classes that share only their methods
        """An INSERT that knows `ON CONFLICT`, which both dialects have and SQLAlchemy's core has not."""
        return postgresql.insert(table) if self.engine.dialect.name == "postgresql" else sqlite.insert(table)

    def upsert(self, table: sa.Table, row: dict[str, Any]) -> None:
        """Insert a row, or replace the one with its primary key."""
        insert = self.insert(table).values(row)
        keys = list(table.primary_key.columns.keys())
        others = {name: insert.excluded[name] for name in row if name not in keys}
        with self.writing() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=others))


def _sqlite(folder: Path) -> sa.Engine:
    path = folder / "diarist.sqlite"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its other files the same rights
        path.chmod(0o600)
    except OSError as error:
        reason = f"{path} cannot be written ({error.strerror})"
        raise BadRequest(f"{reason}: set DIARIST_PROXY_DIR to a folder that can") from None
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), pool_size=8, max_overflow=64)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - sqlite3's connection
    """As DBOS prepares its own connections, and WAL."""
    connection.isolation_level = (
        "IMMEDIATE"  # a transaction that will write waits at its beginning, never in its middle
    )
    for pragma in (f"busy_timeout={BUSY_SECONDS * 1000}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _postgres(settings: ProxySettings) -> sa.Engine:
    text = settings.database_url.get_secret_value() if settings.database_url else ""
    try:
        url = sa.make_url(text)
    except SQLAlchemyError:
        raise BadRequest("DIARIST_DATABASE_URL is no URL: postgresql://user:password@host/database is needed") from None
    if url.get_backend_name() not in {"postgresql", "postgres"} or not url.database:
        raise BadRequest(
            f"DIARIST_DATABASE_URL begins with {url.drivername}: postgresql://user:password@host/database is needed"
        )
    connections = settings.threads + settings.jobs_at_once + 8  # requests, jobs, and DBOS's own threads
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"), pool_size=8, max_overflow=connections, pool_pre_ping=True
    )


def _migrate(connection: sa.Connection) -> None:
    """Create what is missing; one process at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # sqlite3 begins by itself only before data changes
    metadata.create_all(connection)
    version = connection.scalar(sa.select(schema.c.version))
    if version is None:
        connection.execute(schema.insert().values(version=SCHEMA_VERSION))
    elif version > SCHEMA_VERSION:
        raise BadRequest(
            f"the database was written by a newer diarist (schema {version}, this one knows {SCHEMA_VERSION}): "
            "install that version, or set DIARIST_PROXY_DIR or DIARIST_DATABASE_URL to another place"
        )
