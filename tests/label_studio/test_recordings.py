"""The client and the recordings against the real Label Studio, its uploads and local files, and a real S3 storage."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from diarist.errors import AudioUnreachable, LabelStudioError
from diarist_proxy.label_studio.client import LabelStudioClient, ProjectGone, TaskGone
from diarist_proxy.label_studio.recordings import Recordings
from diarist_proxy.settings import ProxySettings
from label_studio_environment import LabelStudio, running
from proxy_environment import ObjectStorage

# label-studio-sdk 2.1.2 reads the exchanged token with it.
pytestmark = pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")

CONFIG = """<View>
  <Labels name="labels" toName="audio"><Label value="Speaker 1"/></Labels>
  <Audio name="audio" value="$audio"/>
</View>"""
REGION = {
    "id": "r1",
    "from_name": "labels",
    "to_name": "audio",
    "type": "labels",
    "original_length": 9.0,
    "origin": "prediction",
    "value": {"start": 0.5, "end": 2.0, "channel": 0, "labels": ["Speaker 1"]},
}

Connect = Callable[..., tuple[LabelStudioClient, Recordings]]


@pytest.fixture
def connect(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Connect]:
    with ExitStack() as stack:

        def made(
            server: LabelStudio = label_studio, *, key: str | None = None, **changes: object
        ) -> tuple[LabelStudioClient, Recordings]:
            given = {
                "label_studio_url": server.url,
                "label_studio_api_key": key or server.token,
                "data_dir": tmp_path / "proxy",
            }
            settings = ProxySettings.model_validate(given | changes)
            client = LabelStudioClient(settings)
            stack.callback(client.close)
            return client, Recordings(settings, client)

        yield made


def content(recordings: Recordings, value: str, task: int, *, fetches_urls: bool = False) -> bytes:
    with recordings.opened(value, task=task, project=0, fetches_urls=fetches_urls) as recording:
        assert recording.path is not None, "nothing here is public"
        return recording.path.read_bytes()


def add_storage(server: LabelStudio, project: int, s3: ObjectStorage, bucket: str, *, presign: bool) -> None:
    server.post(
        "/api/storages/s3/", project=project, bucket=bucket, title=bucket, s3_endpoint=s3.url, region_name="us-east-1",
        aws_access_key_id=s3.key, aws_secret_access_key=s3.secret, presign=presign, use_blob_urls=True,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["token", "pat"])
def test_a_prediction_is_stored_and_read_back_with_either_token(
    label_studio: LabelStudio, connect: Connect, kind: str
) -> None:
    client, _ = connect(key=getattr(label_studio, kind))
    project = label_studio.create_project(CONFIG, title="The client")
    tasks = label_studio.import_tasks(project, [{"audio": f"s3://nowhere/{number}.wav"} for number in range(3)])
    assert client.project(project).title == "The client"
    assert client.project(project).label_config == CONFIG
    assert project in {found.id for found in client.projects()}
    number = client.create_prediction(tasks[0], [REGION], 0.25, "v1")
    stored = client.predictions(tasks[0])
    assert [(item["id"], item["result"], item["score"]) for item in stored] == [(number, [REGION], 0.25)]
    listed = list(client.tasks(project, predictions=True))
    assert [len(task["predictions"]) for task in listed] == [1, 0, 0]
    assert [task["data"]["audio"] for task in listed] == [f"s3://nowhere/{number}.wav" for number in range(3)]
    assert client.project(project).num_predictions == 1


def test_tasks_are_chosen_by_id_by_fields_and_by_correction(label_studio: LabelStudio, connect: Connect) -> None:
    client, _ = connect()
    project = label_studio.create_project(CONFIG)
    tasks = label_studio.import_tasks(project, [{"audio": f"http://h/{number}.wav"} for number in range(130)])
    label_studio.annotate(tasks[5], [REGION], lead_time=3.0)
    assert [task["id"] for task in client.tasks(project)] == tasks  # more than a page
    assert list(client.tasks(project, ids=[tasks[2], 10**9], fields=["data"])) == [
        {"id": tasks[2], "data": {"audio": "http://h/2.wav"}}
    ]
    assert [task["id"] for task in client.tasks(project, after=tasks[-2])] == tasks[-1:]
    assert list(client.tasks(project, ids=[tasks[0]], after=tasks[0])) == []
    corrected = list(client.tasks(project, corrected=True))
    assert [task["id"] for task in corrected] == [tasks[5]]
    assert corrected[0]["annotations"][0]["lead_time"] == 3.0
    assert corrected[0]["annotations"][0]["result"][0]["value"] == REGION["value"]


def test_data_and_meta_of_a_task_change_apart(label_studio: LabelStudio, connect: Connect) -> None:
    client, _ = connect()
    project = label_studio.create_project(CONFIG)
    (task,) = label_studio.import_tasks(project, [{"audio": "http://h/1.wav"}])
    client.update_task(task, meta={"diarist": {"error": "why"}})
    client.update_task(task, data={"audio": "http://h/1.wav", "speakers": [{"value": "SPEAKER_00"}]})
    found = client.task(project, task)
    assert found["meta"] == {"diarist": {"error": "why"}}
    assert found["data"]["speakers"] == [{"value": "SPEAKER_00"}]


def test_what_was_deleted_is_told_as_such(label_studio: LabelStudio, connect: Connect) -> None:
    client, _ = connect()
    project = label_studio.create_project(CONFIG)
    (task,) = label_studio.import_tasks(project, [{"audio": "http://h/1.wav"}])
    label_studio.delete(f"/api/tasks/{task}/")
    for call in (
        lambda: client.predictions(task),
        lambda: client.create_prediction(task, [], None, "v"),
        lambda: client.update_task(task, meta={}),
        lambda: client.task(project, task),
    ):
        with pytest.raises(TaskGone):
            call()
    label_studio.delete(f"/api/projects/{project}/")
    for other in (lambda: client.project(project), lambda: list(client.tasks(project))):
        with pytest.raises(ProjectGone):
            other()


def test_a_wrong_token_or_url_says_so_and_deletes_nothing(label_studio: LabelStudio, connect: Connect) -> None:
    for key in ("wrong", label_studio.pat[:-4] + "AAAA"):
        with pytest.raises(LabelStudioError, match="LABEL_STUDIO_API_KEY"):
            connect(key=key)[0].predictions(1)
    with pytest.raises(LabelStudioError, match="LABEL_STUDIO_URL") as caught:
        connect(label_studio_url=f"{label_studio.url}/not-here")[0].update_task(1, meta={})
    assert not isinstance(caught.value, TaskGone)


@pytest.mark.parametrize("kind", ["token", "pat"])
def test_uploads_and_both_kinds_of_storage_arrive_whole(
    label_studio: LabelStudio, connect: Connect, s3: ObjectStorage, recordings: Path, kind: str
) -> None:
    path = recordings / "misc" / "jfk.flac"
    project = label_studio.create_project(CONFIG)
    (uploaded,) = label_studio.upload(project, path)
    presigned = s3.bucket(f"presigned-{kind}", **{"a b+ä.flac": path})
    streamed = s3.bucket(f"streamed-{kind}", **{"a b+ä.flac": path})
    add_storage(label_studio, project, s3, presigned, presign=True)
    add_storage(label_studio, project, s3, streamed, presign=False)
    values = [f"s3://{presigned}/a b+ä.flac", f"s3://{streamed}/a b+ä.flac"]
    label_studio.import_tasks(project, [{"audio": value} for value in values])
    client, ours = connect(key=getattr(label_studio, kind))
    tasks = list(client.tasks(project))
    assert tasks[0]["id"] == uploaded
    assert [task["data"]["audio"] for task in tasks[1:]] == values
    for task in tasks:
        for fetches_urls in (False, True):
            assert content(ours, task["data"]["audio"], task["id"], fetches_urls=fetches_urls) == path.read_bytes()


def test_what_is_not_there_is_told_and_not_asked_for_again(
    label_studio: LabelStudio, connect: Connect, recordings: Path
) -> None:
    project = label_studio.create_project(CONFIG)
    (task,) = label_studio.upload(project, recordings / "misc" / "jfk.flac")
    client, ours = connect()
    upload = client.task(project, task)["data"]["audio"]
    for value, advice in (
        (upload.replace("jfk", "gone"), "it was deleted"),
        ("s3://elsewhere/x.wav", "a cloud storage"),
        ("/data/local-files/?d=x.wav", "a Local Files storage"),
    ):
        with pytest.raises(AudioUnreachable, match=advice) as caught:
            content(ours, value, task)
        assert not caught.value.transient


def test_local_files_and_a_stream_that_label_studio_cuts_arrive_whole(
    connect: Connect, s3: ObjectStorage, recordings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Label Studio ends a stream from a storage after RESOLVER_PROXY_TIMEOUT, 20 s, and sends 8 MB a range."""
    files = tmp_path / "files"
    (files / "calls").mkdir(parents=True)
    local = files / "calls" / "a b+ä.flac"
    local.write_bytes((recordings / "misc" / "jfk.flac").read_bytes())
    large = tmp_path / "large.wav"
    large.write_bytes(os.urandom(1_000_000) * 30)
    settings = {
        "LOCAL_FILES_SERVING_ENABLED": "true",
        "LOCAL_FILES_DOCUMENT_ROOT": str(files),
        "RESOLVER_PROXY_BUFFER_SIZE": "128",
        "RESOLVER_PROXY_TIMEOUT": "1",
    }
    (tmp_path / "label-studio").mkdir()
    with running(tmp_path / "label-studio", **settings) as server:
        project = server.create_project(CONFIG)
        storage = {"project": project, "path": str(files / "calls"), "use_blob_urls": True}
        server.ask("POST", "/api/storages/localfiles/", json=storage)
        bucket = s3.bucket("large", **{"large.wav": large})
        add_storage(server, project, s3, bucket, presign=False)
        value = "/data/local-files/?d=calls/a%20b%2B%C3%A4.flac"
        first, second = server.import_tasks(project, [{"audio": value}, {"audio": f"s3://{bucket}/large.wav"}])
        _, ours = connect(server)
        assert content(ours, value, first) == local.read_bytes()
        caplog.set_level(logging.INFO, "diarist.fetch")
        assert content(ours, f"s3://{bucket}/large.wav", second) == large.read_bytes()
        assert "broke off" in caplog.text
