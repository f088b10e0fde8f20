"""Jobs: what was accepted ends, once where its handler looks first, in the order that was asked for."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from diarist.errors import BadRequest, Cancelled, EndpointUnavailable
from diarist_proxy.database import jobs as table
from diarist_proxy.jobs import Handler, Job, JobContext, JobRequest, Jobs, Priority, caretaker, runner
from diarist_proxy.jobs.table import JobTable
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Store
from proxy_databases import new_database, postgres, proxy_settings
from truss_environment import eventually

LONG = 120.0  # a generous limit for what takes a second


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


on_both = pytest.mark.parametrize("settings", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> ProxySettings:
    """Of SQLite, but where a test says `on_both`: those whose statements differ, or whose order depends on them."""
    on_postgres = getattr(request, "param", "sqlite") == "postgres"
    url = new_database(request.getfixturevalue("server")) if on_postgres else None
    return proxy_settings(tmp_path / "data", url, jobs_at_once=1, retry_seconds=30)


class Desk:
    """Jobs with a handler of the test's own, and what it was given."""

    def __init__(self, settings: ProxySettings, handler: Handler | None = None) -> None:
        self.store = Store.open(settings)
        self.done: list[str] = []  # in order
        self.gate = threading.Event()  # lets jobs with "wait" go on
        self.began = threading.Event()  # one of them has begun
        self.jobs = Jobs(settings, self.store, {"work": handler or self._handle})
        self.jobs.launch()

    def _handle(self, payload: Mapping[str, Any], job: JobContext) -> str:
        if payload.get("wait"):
            self.began.set()
            while not self.gate.wait(0.02):
                if job.cancelled():
                    raise Cancelled("somebody asked for it")
        self.done.append(payload["key"])
        return f"did {payload['key']}"

    def submit(self, *keys: str, priority: Priority = Priority.NORMAL, **payload: object) -> None:
        requests = [JobRequest(key, {"key": key, **payload}, {"task": key, "project": 7}) for key in keys]
        self.jobs.submit("work", requests, priority)

    def hold(self) -> None:
        """Occupy the only place."""
        self.submit("held", wait=True)
        assert self.began.wait(LONG)

    def job(self, key: str) -> Job:
        return self.jobs.list(attributes={"task": key})[0]

    def idle(self) -> bool:
        counts = self.jobs.counts()
        return counts["waiting"] + counts["running"] == 0

    def close(self) -> None:
        self.gate.set()
        self.jobs.close(LONG)
        self.store.close()


@pytest.fixture
def desk(settings: ProxySettings) -> Iterator[Desk]:
    opened = Desk(settings)
    yield opened
    opened.close()


@pytest.fixture
def desk_with(settings: ProxySettings) -> Iterator[Callable[[Handler], Desk]]:
    opened: list[Desk] = []

    def made(handler: Handler) -> Desk:
        opened.append(Desk(settings, handler))
        return opened[0]

    yield made
    for one in opened:
        one.close()


def test_a_job_runs_and_says_what_it_did(desk: Desk) -> None:
    desk.submit("a")
    assert eventually(lambda: desk.job("a").state == "done", within=LONG)
    job = desk.job("a")
    assert (job.note, job.attempts, job.error, job.kind, job.key) == ("did a", 1, None, "work", "a")
    assert job.attributes == {"task": "a", "project": 7}
    assert desk.jobs.get(job.id) == job
    assert desk.jobs.get("nobody") is None


@on_both
def test_a_key_that_is_active_is_not_queued_twice_and_later_is_a_new_job(desk: Desk) -> None:
    desk.hold()
    for _ in range(3):
        desk.submit("a", "b", "a")
    assert desk.jobs.counts() == {"waiting": 2, "running": 1, "done": 0, "failed": 0, "cancelled": 0}
    desk.submit("held")
    desk.gate.set()
    assert eventually(desk.idle, within=LONG)
    assert sorted(desk.done) == ["a", "b", "held"]
    desk.submit("a")
    assert eventually(desk.idle, within=LONG)
    assert len(desk.jobs.list(attributes={"task": "a"})) == 2


@on_both
def test_what_somebody_looks_at_goes_first_and_a_backfill_last(desk: Desk) -> None:
    desk.hold()
    desk.submit("backfill", priority=Priority.BACKFILL)
    desk.submit("first", "second", priority=Priority.NORMAL)
    desk.submit("opened", priority=Priority.OPENED)
    desk.submit("second", priority=Priority.OPENED)  # waits already: it is moved forward
    desk.submit("opened", priority=Priority.BACKFILL)  # never backward
    desk.gate.set()
    assert eventually(desk.idle, within=LONG)
    assert desk.done == ["held", "opened", "second", "first", "backfill"]


@on_both
def test_a_job_that_is_away_for_now_is_tried_again_while_others_run(
    desk_with: Callable[[Handler], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "FIRST_RETRY_SECONDS", 1.0)
    order: list[tuple[str, int, str | None]] = []
    other_ran = threading.Event()

    def handle(payload: Mapping[str, Any], job: JobContext) -> None:
        order.append((payload["key"], job.attempt, job.recall("seen")))
        job.remember("seen", payload["key"])
        if payload["key"] == "other":
            other_ran.set()
        elif job.attempt < 3 or not other_ran.is_set():
            raise EndpointUnavailable("the model starts")

    desk = desk_with(handle)
    desk.submit("away")
    seen = ("waiting", "the model starts")
    assert eventually(lambda: (desk.job("away").state, desk.job("away").error) == seen, within=LONG)
    desk.submit("other")
    assert eventually(desk.idle, within=LONG)
    assert order[0] == ("away", 1, None)
    assert ("other", 1, None) in order[1:-1]  # it did not wait for the end of the other's troubles
    last = sum(key == "away" for key, _, _ in order)
    assert order[-1] == ("away", last, "away")
    assert (desk.job("away").state, desk.job("away").attempts, desk.job("away").error) == ("done", last, None)
    assert desk.store.items(f"job:{desk.job('away').id}") == {}


def test_a_job_that_stays_away_fails_with_its_reason(tmp_path: Path) -> None:
    def handle(payload: Mapping[str, Any], job: JobContext) -> None:
        raise EndpointUnavailable("the model is down", retry_after_seconds=0.1)

    desk = Desk(proxy_settings(tmp_path, jobs_at_once=1, retry_seconds=0.5), handle)
    desk.submit("a")
    assert eventually(desk.idle, within=LONG)
    job = desk.job("a")
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.startswith("the model is down (given up after 2 attempts in ")
    desk.close()


def test_an_error_that_no_later_try_can_mend_ends_a_job_at_once(
    desk_with: Callable[[Handler], Desk], caplog: pytest.LogCaptureFixture
) -> None:
    def handle(payload: Mapping[str, Any], job: JobContext) -> None:
        raise BadRequest("the recording\nis empty")

    desk = desk_with(handle)
    desk.submit("a")
    assert eventually(desk.idle, within=LONG)
    assert (desk.job("a").state, desk.job("a").attempts) == ("failed", 1)
    assert desk.job("a").error == "the recording\nis empty"
    assert f"job {desk.job('a').id}: attempt 1 failed: the recording is empty" in caplog.messages
    assert b'diarist_errors_total{at="job",error="BadRequest"} 1.0' in desk.jobs.metrics.text()


def test_an_unexpected_error_is_tried_some_times_and_its_cause_is_only_in_the_log(
    desk_with: Callable[[Handler], Desk], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "FIRST_RETRY_SECONDS", 0.05)

    def handle(payload: Mapping[str, Any], job: JobContext) -> None:
        raise ZeroDivisionError("private")

    desk = desk_with(handle)
    desk.submit("a")
    assert eventually(desk.idle, within=LONG)
    job = desk.job("a")
    assert (job.state, job.attempts) == ("failed", 3)
    assert job.error == f"an unexpected error; the log has the cause under {job.id}"
    assert caplog.text.count("ZeroDivisionError: private") == 3
    assert job.id in caplog.text


def test_a_kind_that_nobody_knows_fails_and_says_so(desk: Desk) -> None:
    desk.jobs.submit("unknown", [JobRequest("a", {}, {"task": "a"})], Priority.NORMAL)
    assert eventually(desk.idle, within=LONG)
    assert desk.job("a").error == "this version of the proxy knows no jobs of the kind unknown"


@on_both
def test_a_waiting_job_that_is_cancelled_never_starts_and_a_running_one_ends(desk: Desk) -> None:
    desk.hold()
    desk.submit("a", "b", "c")
    assert desk.jobs.cancel(id=desk.job("a").id) == 1
    assert desk.job("a").state == "cancelled"
    assert desk.jobs.cancel(attributes={"project": 8}) == 0
    assert desk.jobs.cancel(attributes={"project": 7, "task": "held"}) == 1
    assert eventually(desk.idle, within=LONG)
    assert desk.job("held").state == "cancelled"
    assert sorted(desk.done) == ["b", "c"]
    assert desk.jobs.cancel(attributes={"project": 7}) == 0
    with pytest.raises(ValueError, match="cancel needs an id, or attributes"):
        desk.jobs.cancel()


def test_a_cancelled_key_can_be_submitted_again(desk: Desk) -> None:
    desk.hold()
    desk.submit("a")
    desk.jobs.cancel(id=desk.job("a").id)
    desk.submit("a")
    desk.gate.set()
    assert eventually(desk.idle, within=LONG)
    assert desk.done == ["held", "a"]


@on_both
def test_progress_is_shown_while_a_job_runs(desk_with: Callable[[Handler], Desk]) -> None:
    go = threading.Event()

    def handle(payload: Mapping[str, Any], job: JobContext) -> None:
        job.report("fetch", 0, 1)
        job.report("transcribe", 30, 90)
        go.wait(LONG)

    desk = desk_with(handle)
    desk.submit("a")
    assert eventually(lambda: desk.job("a").stage == "transcribe", within=LONG)
    job = desk.job("a")
    assert (job.state, job.completed, job.total) == ("running", 30.0, 90.0)
    assert desk.jobs.list(states=["running"]) == (job,)
    assert desk.jobs.list(kind="other") == ()
    go.set()
    assert eventually(desk.idle, within=LONG)
    assert b'diarist_stage_seconds_count{stage="transcribe"} 1.0' in desk.jobs.metrics.text()
    assert b'diarist_jobs_ended_total{kind="work",state="done"} 1.0' in desk.jobs.metrics.text()


def test_no_more_jobs_run_at_once_than_the_setting_says(tmp_path: Path) -> None:
    running, most, lock, full = 0, 0, threading.Lock(), threading.Event()

    def handle(payload: Mapping[str, Any], job: JobContext) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if most == 3:
            full.set()
        assert full.wait(LONG)
        time.sleep(0.05)
        with lock:
            running -= 1

    desk = Desk(proxy_settings(tmp_path, jobs_at_once=3), handle)
    desk.submit(*(str(number) for number in range(15)))
    assert eventually(desk.idle, within=LONG)
    assert most == 3
    desk.close()


@on_both
def test_jobs_of_a_proxy_that_is_stopped_go_on_at_the_next_start(settings: ProxySettings) -> None:
    desk = Desk(settings)
    desk.hold()
    desk.submit("a", "b")
    assert desk.jobs.close(LONG) == 0
    assert desk.job("held").state == "waiting"
    desk.store.close()
    again = Desk(settings)
    again.gate.set()
    assert eventually(again.idle, within=LONG)
    assert sorted(again.done) == ["a", "b", "held"]
    assert again.job("held").attempts == 1  # the stop was not the job's fault
    again.close()


def test_a_job_under_which_processes_end_again_and_again_fails(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.hold()
    desk.submit("a")
    with desk.store.engine.begin() as connection:
        connection.execute(table.update().where(table.c.key == "a").values(crashes=runner.MAX_CRASHES))
    desk.gate.set()
    assert eventually(desk.idle, within=LONG)
    assert desk.job("a").error == "the process that worked on it ended 5 times"


@on_both
def test_a_job_whose_ticket_was_lost_gets_another(desk: Desk) -> None:
    desk.hold()
    desk.submit("a")
    ticket = JobTable(desk.store.database).active(0, at_once=10)
    desk.jobs._tickets.forget([one for page in ticket for one in page if one.job == desk.job("a").id])
    desk.gate.set()
    assert eventually(lambda: desk.job("held").state == "done", within=LONG)
    assert desk.jobs._caretaker.audit(older_than_seconds=0) == 1
    assert eventually(desk.idle, within=LONG)
    assert desk.done == ["held", "a"]
    assert desk.jobs._caretaker.audit(older_than_seconds=0) == 0


@on_both
def test_jobs_that_ended_long_ago_are_forgotten(desk: Desk) -> None:
    desk.submit("a", "b")
    assert eventually(desk.idle, within=LONG)
    desk.submit("held", wait=True)
    assert desk.jobs._caretaker.sweep(kept_seconds=caretaker.KEPT_SECONDS) == 0
    assert desk.jobs._caretaker.sweep(kept_seconds=0) == 2
    assert [job.key for job in desk.jobs.list()] == ["held"]
    desk.gate.set()
    assert eventually(desk.idle, within=LONG)


@on_both
def test_a_thousand_jobs_are_accepted_in_a_moment_and_then_one_more_is_too(
    desk: Desk, record_property: Callable[[str, object], None]
) -> None:
    desk.hold()
    thousands = []
    for batch in range(3):  # the best of three: other processes may be busy
        began = time.perf_counter()
        desk.submit(*(f"many-{batch}-{number}" for number in range(1000)), priority=Priority.BACKFILL)
        thousands.append(time.perf_counter() - began)
    thousand = min(thousands)
    spent = []
    for number in range(200):
        began = time.perf_counter()
        desk.submit(f"one-{number}", priority=Priority.NORMAL)
        spent.append(time.perf_counter() - began)
    p99 = statistics.quantiles(spent, n=100)[98]
    record_property("thousand_ms", round(1000 * thousand, 1))
    record_property("one_p99_ms", round(1000 * p99, 1))
    assert desk.jobs.counts()["waiting"] == 3200
    assert thousand < 3  # some 30 ms where nothing else runs
    assert statistics.median(spent) < 0.1  # some 2 ms
    assert desk.jobs.cancel(attributes={"project": 7}) == 3201
    assert eventually(desk.idle, within=LONG)


def test_an_urgent_job_passes_many_that_wait_for_their_tickets(desk: Desk) -> None:
    desk.hold()
    desk.submit(*(f"{number:04}" for number in range(60)), priority=Priority.BACKFILL)
    desk.submit("now", priority=Priority.OPENED)
    desk.gate.set()
    assert eventually(desk.idle, within=3 * LONG)
    assert sorted(desk.done) == [*(f"{number:04}" for number in range(60)), "held", "now"]
    assert desk.done[:2] == ["held", "now"]


def test_jobs_end_although_the_database_drops_every_connection_again_and_again(server: str, tmp_path: Path) -> None:
    def handle(payload: Mapping[str, Any], job: JobContext) -> None:
        for step in range(10):
            job.report(f"stage {step}", step, 10)
            time.sleep(0.01)

    url = new_database(server)
    desk = Desk(proxy_settings(tmp_path, url, jobs_at_once=3), handle)
    desk.submit(*(str(number) for number in range(12)))
    drop = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
    hammer = sa.create_engine(sa.make_url(server).set(drivername="postgresql+psycopg"))
    for _ in range(8):
        with hammer.connect() as connection:
            connection.execute(drop, {"name": sa.make_url(url).database})
        time.sleep(0.3)
    hammer.dispose()

    def idle() -> bool:
        desk.jobs._caretaker.audit(older_than_seconds=2)  # what happens once a minute
        return desk.idle()

    assert eventually(idle, within=2 * LONG)
    assert desk.jobs.counts()["done"] == 12
    desk.close()
