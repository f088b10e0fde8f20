"""Processes are killed in the middle of the work, or away while it is done: every task is done once all the same."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

import fake_truss
import proxy_environment
from label_studio_environment import LabelStudio
from ports import free_port
from proxy_environment import Proxy
from truss_environment import eventually
from watched_projects import WatchedProject, clips

NUM_TASKS = 20


def models(proxy: Proxy) -> list[psutil.Process]:
    """The processes that the models of a proxy run in."""
    return [process for process in descendants(proxy) if "diarist.child" in command(process)]


def workers(proxy: Proxy) -> list[psutil.Process]:
    """The processes that serve, where there are several."""
    return [process for process in descendants(proxy) if any("spawn_main" in part for part in command(process))]


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # it may end at any time
        return []


def descendants(proxy: Proxy) -> list[psutil.Process]:
    assert proxy.process is not None
    return [process for process in psutil.Process(proxy.process.pid).children(recursive=True) if process.is_running()]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_is_killed_in_the_middle_of_20_tasks_costs_none_and_repeats_none(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], sample: Path, tmp_path: Path, num_workers: int
) -> None:
    server = proxy(workers=str(num_workers))
    project = WatchedProject.connected(label_studio, server)
    tasks = project.upload(*clips(sample, tmp_path, NUM_TASKS))
    assert eventually(lambda: project.number_predicted() >= 3, within=300)

    if num_workers > 1:  # one of several: the others take its jobs over
        workers(server)[0].kill()
    else:
        models(server)[0].kill()
    assert eventually(lambda: project.number_predicted() >= 6, within=300)

    assert eventually(lambda: bool(models(server)), within=120)
    children = descendants(server)
    assert server.process is not None
    server.process.kill()  # it alone: nobody but its children themselves can end them
    _, alive = psutil.wait_procs(children, timeout=120)
    assert not alive
    assert project.number_predicted() < NUM_TASKS
    server.kill()
    server.start()
    project.assert_done_once(tasks)
    assert project.status()["failed"] == []


@pytest.fixture
def own_label_studio(label_studio: LabelStudio, tmp_path: Path) -> Iterator[LabelStudio]:
    """A Label Studio that may be stopped; a copy of the one for all tests, whose tables are there already."""
    folder = tmp_path / "label-studio"
    shutil.copytree(label_studio.folder / "data", folder / "data", ignore=shutil.ignore_patterns("*.sqlite3*", "media"))
    name = Path("data") / "label_studio.sqlite3"
    with (
        closing(sqlite3.connect(label_studio.folder / name)) as original,
        closing(sqlite3.connect(folder / name)) as copy,
    ):
        original.backup(copy)
    server = LabelStudio(folder, free_port(), token=label_studio.token, pat=label_studio.pat)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def test_predictions_reach_a_label_studio_that_was_down_when_they_were_ready(
    own_label_studio: LabelStudio, sample: Path, tmp_path: Path
) -> None:
    label_studio = own_label_studio
    with fake_truss.serving() as truss:
        given = {"label_studio_url": label_studio.url, "label_studio_api_key": label_studio.pat}
        with proxy_environment.serving(tmp_path / "proxy", endpoint=truss.url, **given) as server:
            project = WatchedProject.connected(label_studio, server)
            truss.seconds = 600.0
            paths = clips(sample, tmp_path, 6)
            tasks = project.upload(*paths)
            assert eventually(lambda: sum(map(truss.requests, paths)) >= 2, within=120)
            with label_studio.stopped():
                truss.seconds = 0.2  # the first results come back meanwhile
                assert eventually(lambda: len(told(server)) == len(tasks), within=300), server.log
            project.assert_done_once(tasks)
            assert [truss.requests(path) for path in paths] == [1] * len(paths)  # nothing was heard, or paid, twice


def told(server: Proxy) -> list[str]:
    """What waiting jobs say that they wait for."""
    errors = [job["error"] or "" for job in server.jobs(state="waiting")]
    return [error for error in errors if error.startswith("Label Studio at ")]
