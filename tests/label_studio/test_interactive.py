"""A region that somebody has just drawn or moved is heard again, alone, and its text replaced."""

from __future__ import annotations

from typing import Any

import pytest

from conversations import Conversation
from label_studio_environment import LabelStudio
from proxy_environment import Proxy
from regions import regions


@pytest.fixture(scope="module")
def task(label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...]) -> int:
    """A task with a prediction, in a project whose backend is interactive."""
    project = shared_proxy.set_up("Interactive", "--interactive")
    (task,) = label_studio.upload(project, calls[0].path)
    label_studio.wait_for_predictions(project, [task])
    return task


def heard_again(label_studio: LabelStudio, task: int, result: list[dict[str, Any]]) -> dict[str, Any]:
    """What the page gets for regions with Auto-Annotation on (captures 05 and 05b)."""
    (backend,) = label_studio.backends(label_studio.task(task)["project"])
    assert backend["is_interactive"]
    path = f"/api/ml/{backend['id']}/interactive-annotating"
    answer = label_studio.post(path, task=task, context={"result": result})
    assert isinstance(answer, dict)
    return answer


def test_a_drawn_region_gets_the_words_spoken_in_it(label_studio: LabelStudio, task: int) -> None:
    (prediction,) = label_studio.task(task)["predictions"]
    first = regions(prediction["result"])[0]
    drawn = {
        "id": "drawn1",
        "from_name": "speaker",
        "to_name": "audio",
        "type": "labels",
        "original_length": prediction["result"][0]["original_length"],
        "value": {"start": first.start, "end": first.end, "channel": 0, "labels": [first.label]},
    }
    answer = heard_again(label_studio, task, [drawn])["data"]
    (item,) = [item for item in answer["result"] if item["type"] == "textarea"]
    assert (item["id"], item["from_name"]) == ("drawn1", "transcription")
    (text,) = item["value"]["text"]
    said = str(first.text).lower().split()
    assert len({*text.lower().split()} & {*said}) >= len(said) / 2
    assert len(label_studio.task(task)["predictions"]) == 1  # nothing was stored


def test_a_context_without_regions_is_answered_at_once(label_studio: LabelStudio, task: int) -> None:
    assert "errors" not in heard_again(label_studio, task, [])
