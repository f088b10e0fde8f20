"""Wherever a task's recording is, it gets its prediction: a file, a storage, a URL; with either kind of token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from conversations import Conversation
from label_studio_environment import LabelStudio
from proxy_environment import ObjectStorage, Proxy
from regions import regions, speakers_match


class _Files(SimpleHTTPRequestHandler):
    """A web server of files, that says nothing."""

    def log_message(self, *_: Any) -> None:  # noqa: ANN401
        return


@pytest.fixture
def site(calls: tuple[Conversation, ...]) -> Iterator[str]:
    """A web site that has the recordings."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(calls[0].path.parent)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def assert_predicted(label_studio: LabelStudio, project: int, expected: dict[int, Conversation]) -> None:
    found = label_studio.wait_for_predictions(project, [*expected])
    for task, call in expected.items():
        (prediction,) = found[task]
        assert speakers_match(regions(prediction["result"]), call.turns)


@pytest.mark.parametrize("presign", [True, False], ids=["presigned", "streamed by Label Studio"])
def test_tasks_of_an_s3_storage_are_predicted_when_it_is_synced(
    label_studio: LabelStudio, shared_proxy: Proxy, s3: ObjectStorage, calls: tuple[Conversation, ...], presign: bool
) -> None:
    project = shared_proxy.set_up(f"S3 presign={presign}")
    bucket = s3.bucket(f"calls-{presign}".lower(), **{"audio/one.flac": calls[0].path, "audio/two.flac": calls[1].path})
    label_studio.import_from(s3.connection, project, bucket, prefix="audio", presign=presign)
    tasks = label_studio.tasks(project)
    assert [task["data"]["audio"] for task in tasks] == [f"s3://{bucket}/audio/{n}.flac" for n in ("one", "two")]
    assert_predicted(label_studio, project, {task["id"]: call for task, call in zip(tasks, calls, strict=False)})


def test_a_url_is_fetched_where_the_operator_allows_its_network(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], site: str, calls: tuple[Conversation, ...]
) -> None:
    server = proxy(fetch_allowed_networks="127.0.0.0/8")
    project = server.set_up("By URL")
    (task,) = label_studio.import_tasks(project, [{"audio": f"{site}/{calls[2].path.name}"}])
    assert_predicted(label_studio, project, {task: calls[2]})


def test_a_url_into_a_private_network_is_refused_and_the_task_says_why(
    label_studio: LabelStudio, shared_proxy: Proxy, site: str, calls: tuple[Conversation, ...]
) -> None:
    project = shared_proxy.set_up("By private URL")
    label_studio.import_tasks(project, [{"audio": f"{site}/{calls[2].path.name}?token=do-not-tell"}])
    shared_proxy.wait_until_idle(project=project)
    assert label_studio.predictions(project) == {}
    (task,) = label_studio.tasks(project)
    assert "DIARIST_FETCH_ALLOWED_NETWORKS" in task["meta"]["diarist"]["error"]
    assert "do-not-tell" not in str(task["meta"]) + shared_proxy.log


def test_a_personal_access_token_does_all_that_a_legacy_one_does(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], s3: ObjectStorage, calls: tuple[Conversation, ...]
) -> None:
    server = proxy(label_studio_api_key=label_studio.pat)
    project = server.set_up("Personal access token")
    (uploaded,) = label_studio.upload(project, calls[3].path)
    bucket = s3.bucket("pat", **{"four.flac": calls[4].path})
    label_studio.import_from(s3.connection, project, bucket, presign=True)
    (stored,) = [task["id"] for task in label_studio.tasks(project) if task["id"] != uploaded]
    assert_predicted(label_studio, project, {uploaded: calls[3], stored: calls[4]})
    assert label_studio.pat not in server.log


def test_local_files_are_read_through_label_studio(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...]
) -> None:
    project = shared_proxy.set_up("Local files")
    folder = label_studio.documents / "calls"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "five.flac").write_bytes(calls[4].path.read_bytes())
    storage = label_studio.post(
        "/api/storages/localfiles", project=project, path=str(folder), use_blob_urls=True, regex_filter=".*flac"
    )
    label_studio.post(f"/api/storages/localfiles/{storage['id']}/sync")
    (task,) = label_studio.tasks(project)
    assert task["data"]["audio"].startswith("/data/local-files/?d=")
    assert_predicted(label_studio, project, {task["id"]: calls[4]})
