"""Which processes live: each says so every few seconds, and the others take over the jobs of one that stops.

A process counts as ended when its row has not changed for `LEASE_SECONDS` of the watcher's own clock, so machines
need not agree on the time. One that was only slow finds its row gone, writes it again, and its jobs see that
somebody else has claimed them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from diarist_proxy.database import Database, executors

BEAT_SECONDS = 2.0
LEASE_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Leases:
    """This process's row, and its watch over the others."""

    def __init__(self, database: Database, executor: str, recover: Callable[[str], int]) -> None:
        self._database = database
        self._executor = executor
        self._recover = recover
        self._seen: dict[str, tuple[int, float]] = {}  # their beat, and since when it is that
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="diarist-leases", daemon=True)
        self._beats = 0

    def start(self) -> None:
        """Say that this process lives, from now on."""
        self._beat()
        self._thread.start()

    def close(self) -> None:
        """Say that this process has ended; its jobs are anybody's now."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(BEAT_SECONDS)
        try:
            with self._database.writing() as connection:
                connection.execute(executors.update().where(executors.c.id == self._executor).values(ended=True))
        except SQLAlchemyError:  # it is away: the others notice the end a little later
            logger.exception("the end of this process could not be written")

    def _keep(self) -> None:
        while not self._stop.is_set():
            try:
                self._beat()
                self._watch()
            except Exception:  # whatever the database does, the next beat tries again
                logger.exception("this process could not renew its lease on the jobs")
            self._stop.wait(BEAT_SECONDS)

    def _beat(self) -> None:
        self._beats += 1
        self._database.upsert(executors, {"id": self._executor, "beat": self._beats, "ended": False})

    def _watch(self) -> None:
        now = time.monotonic()
        with self._database.engine.connect() as connection:
            rows = connection.execute(sa.select(executors).where(executors.c.id != self._executor)).all()
        seen = {row.id: self._seen.get(row.id, (row.beat, now)) for row in rows}
        self._seen = {row.id: seen[row.id] if seen[row.id][0] == row.beat else (row.beat, now) for row in rows}
        for row in rows:
            if row.ended or now - self._seen[row.id][1] >= LEASE_SECONDS:
                self._take_over(row.id)

    def _take_over(self, executor: str) -> None:
        """First the jobs, then the row: a process that ends between the two leaves the row to the next."""
        number = self._recover(executor)
        with self._database.writing() as connection:
            connection.execute(executors.delete().where(executors.c.id == executor))
        if number:
            logger.warning("a process has ended: its %d jobs are begun again", number)
