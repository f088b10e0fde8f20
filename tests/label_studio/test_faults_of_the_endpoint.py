"""The model is down, slow, overloaded or talks nonsense: every task is done all the same, once, or says why not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fake_truss
from fake_truss import BROKEN, CUT_OFF, DRAINING, ERROR_IN_STREAM, GARBAGE, TOO_MANY, FakeTruss, silent
from label_studio_environment import LabelStudio
from proxy_environment import Proxy
from regions import regions
from truss_environment import eventually
from watched_projects import CONFIG, WatchedProject, clips

OUTAGE_SECONDS = float(os.environ.get("DIARIST_TEST_OUTAGE_SECONDS", "6"))
PATIENCE_SECONDS = 15.0  # of the proxy with an answer, where one never comes; a busy machine gives the others in time


@pytest.fixture
def truss() -> Iterator[FakeTruss]:
    with fake_truss.serving() as server:
        yield server


@pytest.fixture
def project(label_studio: LabelStudio, proxy: Callable[..., Proxy], truss: FakeTruss) -> WatchedProject:
    return WatchedProject.connected(label_studio, proxy(endpoint=truss.url))


def test_an_endpoint_that_is_down_for_a_while_costs_no_task(
    project: WatchedProject, truss: FakeTruss, sample: Path, tmp_path: Path
) -> None:
    first, *rest = clips(sample, tmp_path, 8)
    tasks = project.upload(first)
    assert eventually(lambda: project.number_predicted() == 1, within=120)
    truss.seconds = 600.0
    tasks += project.upload(*rest)
    assert eventually(lambda: sum(map(truss.requests, rest)) > 0, within=120)
    truss.stop()  # in the middle of the work
    time.sleep(OUTAGE_SECONDS)
    assert eventually(lambda: any("cannot be reached" in error for error in told(project)), within=120)
    assert project.number_predicted() == 1
    truss.seconds = 1.0
    truss.start()
    project.assert_done_once(tasks, within=300 + OUTAGE_SECONDS)
    for predictions in project.label_studio.predictions(project.id).values():
        found = regions(predictions[0]["result"])
        assert [(region.label, region.text) for region in found] == [
            ("Speaker 1", fake_truss.TEXTS[0]),
            ("Speaker 2", fake_truss.TEXTS[1]),
        ]
    assert project.status()["failed"] == []


def told(project: WatchedProject) -> list[str]:
    """What jobs that wait say that they wait for."""
    return [job["error"] or "" for job in project.proxy.jobs(project=project.id, state="waiting")]


def test_every_fault_that_may_pass_is_got_over(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], truss: FakeTruss, sample: Path, tmp_path: Path
) -> None:
    server = proxy(endpoint=truss.url, endpoint_timeout_seconds=str(PATIENCE_SECONDS))
    project = WatchedProject.connected(label_studio, server)
    faults = [BROKEN, TOO_MANY, DRAINING, GARBAGE, CUT_OFF, ERROR_IN_STREAM, silent(4 * PATIENCE_SECONDS)]
    *paths, unlucky, lucky = clips(sample, tmp_path, len(faults) + 2)
    for path, fault in zip(paths, faults, strict=True):
        truss.faulty(path, fault)
    truss.faulty(unlucky, TOO_MANY, GARBAGE)
    project.assert_done_once(project.upload(*paths, unlucky, lucky), within=300)
    assert [truss.requests(path) for path in (*paths, unlucky, lucky)] == [2] * len(faults) + [3, 1]
    refused, again = truss.times(paths[faults.index(TOO_MANY)])
    assert again - refused >= fake_truss.RETRY_AFTER_SECONDS  # it is done what the answer asks for


def test_a_slow_endpoint_is_waited_for_and_not_asked_twice_where_the_task_is_opened_meanwhile(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], truss: FakeTruss, sample: Path, tmp_path: Path
) -> None:
    """Not even where the job was queued before the model had told its version."""
    truss.stop()
    server = proxy(endpoint=truss.url, jobs_at_once="4")  # places are free for a second job of each
    project = WatchedProject.connected(label_studio, server)
    paths = clips(sample, tmp_path, 2)
    tasks = project.upload(*paths)
    assert eventually(lambda: project.states().keys() == set(tasks), within=120)
    assert project.status()["model_version"] != fake_truss.VERSION
    truss.seconds = 600.0
    truss.start()
    assert eventually(lambda: truss.requests(paths[0]) > 0, within=120)
    label_studio.backends(project.id)  # Label Studio asks for the version, and the proxy the model
    assert eventually(lambda: project.status()["model_version"] == fake_truss.VERSION, within=120)
    label_studio.task(tasks[0])
    label_studio.retrieve_predictions(project.id)
    truss.seconds = 0.2
    project.assert_done_once(tasks)
    assert [truss.requests(path) for path in paths] == [1, 1]


def test_what_stays_broken_is_given_up_says_why_and_is_tried_again_when_the_task_is_opened(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], truss: FakeTruss, sample: Path, tmp_path: Path
) -> None:
    truss.stop()
    server = proxy(endpoint=truss.url, retry_seconds="4")
    project = WatchedProject(label_studio, server, label_studio.create_project(CONFIG))
    (task,) = project.upload(*clips(sample, tmp_path, 1))
    label_studio.patch(f"/api/tasks/{task}/", meta={"shift": "night"})
    label_studio.connect(project.id, server.url)
    label_studio.retrieve_predictions(project.id)
    assert eventually(lambda: project.why(task) is not None, within=120)
    reason = f"the model at {truss.url} cannot be reached (ConnectError) (given up after"
    assert str(project.why(task)).startswith(reason)
    assert project.status()["failed"] == [{"task": task, "error": project.why(task)}]
    assert f"task {task} failed: {reason}" in project.proxy.command("status", "--project", str(project.id)).stdout

    truss.start()
    label_studio.task(task)
    assert eventually(lambda: project.number_predicted() == 1, within=120)
    project.assert_done_once([task])
    assert project.status()["failed"] == []
    assert [found["meta"] for found in label_studio.tasks(project.id)] == [{"shift": "night"}]
