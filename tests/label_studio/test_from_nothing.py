"""From an empty Label Studio: one command, ten recordings imported, and every task has speakers and text."""

from __future__ import annotations

from pathlib import Path

import pytest

from conversations import Conversation
from diarist import audio, pipeline
from diarist.pipeline import Stages
from diarist.request import Options
from diarist_proxy.label_studio.labeling.templates import ConfigChoice
from label_studio_environment import LabelStudio
from proxy_environment import Proxy
from regions import regions, speakers_match


@pytest.fixture(scope="module")
def project(label_studio: LabelStudio, shared_proxy: Proxy) -> int:
    """What the one command makes."""
    return shared_proxy.set_up("From nothing")


@pytest.fixture(scope="module")
def tasks(label_studio: LabelStudio, project: int, calls: tuple[Conversation, ...]) -> list[int]:
    """Ten recordings, imported as people drop them into the page; nothing else is done."""
    imported = label_studio.upload(project, *(call.path for call in calls))
    label_studio.wait_for_predictions(project, imported)
    return imported


def test_the_project_has_a_config_made_for_the_work_and_a_connected_backend(
    label_studio: LabelStudio, project: int
) -> None:
    assert label_studio.get(f"/api/projects/{project}/")["label_config"] == ConfigChoice().xml
    (backend,) = label_studio.backends(project)
    assert backend["readable_state"] == "Connected"
    assert backend["model_version"]


def test_every_task_gets_one_prediction_without_a_click(
    label_studio: LabelStudio, project: int, tasks: list[int]
) -> None:
    found = label_studio.predictions(project)
    assert {task: len(predictions) for task, predictions in found.items()} == dict.fromkeys(tasks, 1)


def test_speakers_are_those_who_speak(
    label_studio: LabelStudio, project: int, tasks: list[int], calls: tuple[Conversation, ...]
) -> None:
    found = label_studio.predictions(project)
    for task, call in zip(tasks, calls, strict=True):
        heard = regions(found[task][0]["result"])
        assert speakers_match(heard, call.turns), f"{call.path.name}: {heard}"
        assert {region.label for region in heard} == {"Speaker 1", "Speaker 2"}


def test_texts_are_what_the_model_heard(
    label_studio: LabelStudio, project: int, tasks: list[int], calls: tuple[Conversation, ...], embedded: Stages
) -> None:
    """Nothing is lost or swapped on the way: the same recording through the engine itself says the same."""
    found = label_studio.predictions(project)
    for task, call in zip(tasks, calls, strict=True):
        said = pipeline.transcribe(audio.decode(call.path, max_duration_seconds=60), embedded, Options())
        texts = [region.text for region in regions(found[task][0]["result"])]
        assert texts == [segment.text.strip() for segment in said.segments]


def test_each_region_has_a_label_and_a_text(label_studio: LabelStudio, project: int, tasks: list[int]) -> None:
    for predictions in label_studio.predictions(project).values():
        result = predictions[0]["result"]
        found = regions(result)
        assert len(result) == 2 * len(found)
        assert all(region.label and region.text for region in found)
        assert {item["from_name"] for item in result} == {"speaker", "transcription"}


def test_tasks_can_be_sorted_by_doubt(label_studio: LabelStudio, project: int, tasks: list[int]) -> None:
    scores = [task["predictions_score"] for task in label_studio.tasks(project)]
    assert all(0 < score < 1 for score in scores)
    assert len(set(scores)) > 1


def test_annotators_see_the_prediction_when_they_open_a_task(
    label_studio: LabelStudio, project: int, tasks: list[int]
) -> None:
    """The label stream shows only predictions of the version that the backend now says."""
    shown = label_studio.get(f"/api/projects/{project}/next")
    (prediction,) = shown["predictions"]
    (backend,) = label_studio.backends(project)
    assert prediction["model_version"] == backend["model_version"]


def test_the_sample_call_is_read_by_its_own_people(label_studio: LabelStudio, project: int, sample: Path) -> None:
    (task,) = label_studio.upload(project, sample / "sample.wav")
    text = " ".join(
        region.text or "" for region in regions(label_studio.wait_for_predictions(project, [task])[task][0]["result"])
    )
    assert "I didn't know you were there" in text
    assert "originally from Chicago" in text
