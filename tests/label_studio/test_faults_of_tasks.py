"""Tasks that go away, recordings that cannot be read, keys that are wrong: the others are done, and these say why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import fake_truss
from label_studio_environment import LabelStudio, Refused
from proxy_environment import Proxy
from truss_environment import eventually
from watched_projects import WatchedProject, clips


def test_tasks_that_are_deleted_while_they_wait_or_run_are_let_go(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], sample: Path, tmp_path: Path
) -> None:
    with fake_truss.serving() as truss:
        server = proxy(endpoint=truss.url, jobs_at_once="1")
        project = WatchedProject.connected(label_studio, server)
        truss.seconds = 600.0
        paths = clips(sample, tmp_path, 4)
        running, waiting, *others = tasks = project.upload(*paths)
        assert eventually(
            lambda: project.states() == dict.fromkeys(tasks, "waiting") | {running: "running"}, within=120
        )
        label_studio.delete(f"/api/tasks/{waiting}/")
        label_studio.delete(f"/api/tasks/{running}/")
        assert eventually(lambda: truss.hung_up == 1, within=120)  # nobody pays for what nobody wants
        truss.seconds = 0.5
        project.assert_done_once(others)
        assert project.states() == dict.fromkeys(others, "done") | dict.fromkeys((running, waiting), "cancelled")
        assert [truss.requests(path) for path in paths] == [1, 0, 1, 1]


def test_a_task_whose_deletion_nobody_told_is_let_go(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], sample: Path, tmp_path: Path
) -> None:
    """Label Studio tells of it once, and not again where the proxy was away."""
    with fake_truss.serving() as truss:
        project = WatchedProject.connected(label_studio, proxy(endpoint=truss.url))
        for webhook in label_studio.webhooks(project.id):
            label_studio.patch(f"/api/webhooks/{webhook['id']}/", send_for_all_actions=False, actions=["TASKS_CREATED"])
        truss.seconds = 600.0
        paths = clips(sample, tmp_path, 3)
        running, *others = project.upload(*paths)
        assert eventually(lambda: truss.requests(paths[0]) == 1, within=120)
        label_studio.delete(f"/api/tasks/{running}/")
        truss.seconds = 0.5
        project.assert_done_once(others)
        (job,) = project.proxy.jobs(project=project.id, task=running)
        assert job["state"] == "done"
        assert f"no task {running}: it was deleted" in job["note"]
        assert project.status()["failed"] == []


def test_unreadable_recordings_among_good_ones_say_why(
    label_studio: LabelStudio, shared_proxy: Proxy, sample: Path, tmp_path: Path
) -> None:
    project = WatchedProject.connected(label_studio, shared_proxy)
    (tmp_path / "text.wav").write_text("This is no recording.")
    (tmp_path / "cut.wav").write_bytes((sample / "sample.wav").read_bytes()[:20])
    good = project.upload(*clips(sample, tmp_path, 3))
    text, cut = project.upload(tmp_path / "text.wav", tmp_path / "cut.wav")
    gone, nothing, nowhere = label_studio.import_tasks(
        project.id,
        [{"audio": "/data/upload/1/gone.wav"}, {"audio": ""}, {"audio": "http://127.0.0.1:9/calls/1.wav"}],
    )
    project.assert_done_once(good)
    bad = {text: "not audio", cut: "not audio", gone: "gone.wav", nothing: '"audio"', nowhere: "127.0.0.1"}
    assert project.settled(bad, within=300)
    failed = {item["task"]: item["error"] for item in project.status()["failed"]}
    assert failed.keys() == bad.keys()
    for task, words in bad.items():
        assert words in failed[task], failed
        assert project.why(task) == failed[task]
    shown = shared_proxy.command("status", "--project", str(project.id)).stdout
    assert "3 done, 5 failed" in shown
    assert all(f"task {task} failed: {failed[task]}" in shown for task in bad)
    assert label_studio.predictions(project.id).keys() == set(good)


def test_a_proxy_whose_key_is_wrong_or_absent_says_so_and_goes_on_with_the_right_one(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], sample: Path, tmp_path: Path
) -> None:
    wrong, absent = "f" * 40, ""
    reasons = {
        wrong: "the token in LABEL_STUDIO_API_KEY is wrong, or was revoked",
        absent: "LABEL_STUDIO_API_KEY is not set: copy a personal access token from Label Studio",
    }
    with fake_truss.serving() as truss:
        server = proxy(endpoint=truss.url, label_studio_api_key=wrong)
        project = WatchedProject.connected(label_studio, server)
        told = dict[int, str]()
        for key, path in zip(reasons, clips(sample, tmp_path, 2), strict=True):
            restarted(server, key)
            (task,) = project.upload(path)
            told[task] = reasons[key]
            assert project.settled([task], within=300)
        failed = {item["task"]: item["error"] for item in project.status()["failed"]}
        assert failed.keys() == told.keys()
        assert all(reason in failed[task] for task, reason in told.items())
        with pytest.raises(Refused, match="Check the ML backend server console logs"):
            WatchedProject.connected(label_studio, server)
        assert f"POST /setup: {reasons[absent]}" in server.log
        assert wrong not in server.log

        restarted(server, label_studio.token)
        server.command("backfill", "--project", str(project.id))
        project.assert_done_once(told)
        assert project.status()["failed"] == []


def restarted(server: Proxy, key: str) -> None:
    server.kill()
    server.settings = {**server.settings, "LABEL_STUDIO_API_KEY": key}
    server.start()
