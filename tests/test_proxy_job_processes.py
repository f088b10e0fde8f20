"""Jobs when processes are killed, paused or stopped in the middle of them: every job ends, its effect is there once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from diarist_proxy.database import executors
from diarist_proxy.jobs import JobRequest, Priority
from diarist_proxy.jobs.table import JobTable, conditions
from diarist_proxy.store import Store
from proxy_databases import new_database, postgres, proxy_settings
from truss_environment import ROOT, eventually

LONG = 120.0  # a generous limit for what takes some seconds
SHORT_LEASE = 4.0  # seconds after which a silent process is taken for dead; shorter than in production


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


class Workers:
    """Real processes that work the jobs of one database."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        self.folder = folder
        self.url = database_url
        self.lease_seconds = SHORT_LEASE
        self.store = Store.open(proxy_settings(folder / "data", database_url))
        self.table = JobTable(self.store.database)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(str(ROOT / name) for name in ("packages", "tests"))
        arguments = [str(self.folder), self.url or "-", str(self.lease_seconds)]
        command = [sys.executable, str(ROOT / "tests" / "proxy_worker.py"), *arguments]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "HOME": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.processes.append(process)
        assert eventually(lambda: self.has("up", pid=process.pid), within=LONG), self.log
        return process

    def submit(self, keys: Iterable[int], *, held: bool) -> None:
        """Accept jobs as a process does that is killed before it has queued their tickets; held ones do not end yet."""
        requests = [JobRequest(str(key), {"key": str(key), "held": held}) for key in keys]
        with self.store.database.writing() as connection:
            self.table.add(connection, "work", requests, Priority.NORMAL, ticketed=False)

    def let_go(self) -> None:
        """Let held jobs end."""
        (self.folder / "open").touch()

    @property
    def events(self) -> list[dict[str, Any]]:
        path = self.folder / "events"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []  # but one that is being written
        return [json.loads(line) for line in lines]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def has(self, event: str, **values: object) -> bool:
        wanted = {"event": event, **values}.items()
        return any(wanted <= found.items() for found in self.events)

    @property
    def started(self) -> list[int]:
        """The process of each job that has begun, as often as it has."""
        return [event["pid"] for event in self.events if event["event"] == "start"]

    def counts(self) -> dict[Any, int]:
        return dict(self.table.counts())

    def finished(self, number: int) -> bool:
        return self.counts()["done"] == number

    @property
    def rows(self) -> int:
        """How many processes the database knows of."""
        with self.store.engine.connect() as connection:
            return len(connection.execute(executors.select()).all())

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=LONG)
        self.store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    url = new_database(request.getfixturevalue("server")) if request.param == "postgres" else None
    opened = Workers(tmp_path, url)
    yield opened
    opened.close()


def assert_each_effect_is_there_once(workers: Workers, number: int) -> None:
    effects = Counter(event["key"] for event in workers.events if event["event"] == "effect")
    assert effects == {str(key): 1 for key in range(number)}
    assert workers.counts() == {"waiting": 0, "running": 0, "done": number, "failed": 0, "cancelled": 0}
    assert "Traceback" not in workers.log


def test_after_kill_9_with_jobs_running_and_waiting_a_new_start_ends_them_all(workers: Workers) -> None:
    workers.submit(range(2), held=False)
    first = workers.start()
    assert eventually(lambda: workers.finished(2), within=LONG), workers.log
    workers.submit(range(2, 8), held=True)
    assert eventually(lambda: len(workers.started) == 4, within=LONG), workers.log  # two have ended, and two just begun
    first.kill()
    first.wait(timeout=LONG)
    assert workers.counts()["running"] == 2
    assert workers.counts()["waiting"] == 4
    workers.let_go()
    workers.start()
    assert eventually(lambda: workers.finished(8), within=LONG), (workers.counts(), workers.log)
    assert_each_effect_is_there_once(workers, 8)
    again = [event for event in workers.events if event["event"] == "start" and event["attempt"] == 2]
    assert {event["remembered"] for event in again} == {str(first.pid)}  # what the killed process remembered


def test_two_processes_share_the_work_and_one_takes_over_when_the_other_is_killed(workers: Workers) -> None:
    first, second = workers.start(), workers.start()
    workers.submit(range(12), held=True)
    both = {first.pid, second.pid}
    assert eventually(lambda: workers.counts()["running"] == 4 and set(workers.started) == both, within=LONG), (
        workers.counts(), workers.started, workers.log,
    )  # fmt: skip
    first.kill()
    workers.let_go()
    assert eventually(lambda: workers.finished(12), within=LONG), (workers.counts(), workers.log)
    assert_each_effect_is_there_once(workers, 12)
    assert eventually(lambda: workers.rows == 1, within=LONG), workers.log  # the killed one's row is gone


def test_a_process_that_is_stopped_gives_its_jobs_back_at_once(workers: Workers) -> None:
    workers.lease_seconds = 100 * LONG  # nobody takes over the jobs of a process that is silent
    workers.submit(range(4), held=True)
    first = workers.start()
    assert eventually(lambda: workers.started == [first.pid] * 2, within=LONG), workers.log
    second = workers.start()
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=LONG) == 0
    assert workers.has("down", pid=first.pid, left=0)
    workers.let_go()
    assert eventually(lambda: workers.finished(4), within=LONG), (workers.counts(), workers.log)
    assert_each_effect_is_there_once(workers, 4)
    assert {event["attempt"] for event in workers.events if event["event"] == "start"} == {1}
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=LONG) == 0


def test_a_process_that_was_taken_for_dead_wakes_up_and_changes_nothing(tmp_path: Path, server: str) -> None:
    """On Postgres alone: a paused process could hold SQLite's one write lock, and nothing would go on but it."""
    with closing(Workers(tmp_path, new_database(server))) as workers:
        first = workers.start()
        workers.submit(range(2), held=True)
        assert eventually(lambda: len(workers.started) == 2, within=LONG), workers.log
        first.send_signal(signal.SIGSTOP)
        workers.let_go()
        second = workers.start()
        assert eventually(lambda: workers.finished(2), within=LONG), (workers.counts(), workers.log)
        assert {event["pid"] for event in workers.events if event["event"] == "effect"} == {second.pid}
        first.send_signal(signal.SIGCONT)
        workers.submit([2], held=False)
        assert eventually(lambda: workers.finished(3), within=LONG), (workers.counts(), workers.log)
        assert_each_effect_is_there_once(workers, 3)
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=LONG) == 0, workers.log
        assert workers.table.list(*conditions(states=["failed", "cancelled"]), limit=1) == ()
