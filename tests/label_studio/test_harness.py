"""The servers that these tests run are what they should be."""

from __future__ import annotations

from pathlib import Path

import requests

from label_studio_environment import LabelStudio
from proxy_environment import ObjectStorage

CONFIG = """<View>
  <Labels name="labels" toName="audio"><Label value="Speaker 1"/></Labels>
  <Audio name="audio" value="$audio"/>
</View>"""


def test_it_is_the_label_studio_that_the_facts_were_found_on(label_studio: LabelStudio) -> None:
    assert label_studio.get("/api/version")["release"] == "1.23.2"


def test_both_kinds_of_token_work(label_studio: LabelStudio) -> None:
    refreshed = requests.post(f"{label_studio.url}/api/token/refresh/", json={"refresh": label_studio.pat}, timeout=120)
    headers = {"Authorization": f"Bearer {refreshed.json()['access']}"}
    assert requests.get(f"{label_studio.url}/api/projects/", headers=headers, timeout=120).ok
    assert label_studio.get("/api/projects/")["results"] is not None


def test_uploads_become_tasks(label_studio: LabelStudio, recordings: Path) -> None:
    project = label_studio.create_project(CONFIG)
    tasks = label_studio.upload(project, recordings / "misc" / "jfk.flac", recordings / "misc" / "empty.wav")
    assert [task["id"] for task in label_studio.tasks(project)] == tasks
    assert label_studio.predictions(project) == {}


def test_the_storage_gives_files_to_those_who_have_a_presigned_url(s3: ObjectStorage, recordings: Path) -> None:
    path = recordings / "misc" / "empty.wav"
    bucket = s3.bucket("harness", **{"empty.wav": path})
    client = s3.client()
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "empty.wav"})
    assert requests.get(url, timeout=120).content == path.read_bytes()
    assert s3.url in url
