"""Start Training: words that people put right are expected from then on, under a version of their own."""

from __future__ import annotations

import copy
from typing import Any

from conversations import Conversation
from label_studio_environment import LabelStudio
from proxy_environment import Proxy
from regions import regions
from truss_environment import eventually


def corrected(prediction: dict[str, Any], old: str, new: str) -> list[dict[str, Any]]:
    """A prediction's result with a word put right everywhere, and a speaker called by another label."""
    result: list[dict[str, Any]] = copy.deepcopy(prediction["result"])
    for item in result:
        item["origin"] = "prediction-changed"
        if "text" in item["value"]:
            item["value"]["text"] = [text.replace(old, new) for text in item["value"]["text"]]
        elif item["value"]["labels"] == ["Speaker 1"]:
            item["value"]["labels"] = ["Speaker 3"]
    return result


def test_what_people_put_right_twice_changes_the_next_predictions(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...]
) -> None:
    project = shared_proxy.set_up("Learning")
    tasks = label_studio.upload(project, calls[0].path, calls[5].path)  # one utterance is in both
    found = label_studio.wait_for_predictions(project, tasks)
    before = found[tasks[0]][0]["model_version"]
    words = [
        {word for region in regions(found[task][0]["result"]) for word in str(region.text).split()} for task in tasks
    ]
    old = max(words[0] & words[1], key=len)
    for task in tasks:
        result = corrected(found[task][0], old, "Zwickauer")
        label_studio.annotate(task, result, parent_prediction=found[task][0]["id"], lead_time=10.0)
    (backend,) = label_studio.backends(project)
    label_studio.post(f"/api/ml/{backend['id']}/train")
    assert eventually(lambda: label_studio.backends(project)[0]["model_version"] != before, within=120)
    (backend,) = label_studio.backends(project)
    after = backend["model_version"]
    assert after.startswith(f"{before}+words-")

    label_studio.retrieve_predictions(project)
    assert eventually(lambda: all(len(label_studio.predictions(project)[task]) == 2 for task in tasks), within=300)
    for task in tasks:
        first, second = sorted(label_studio.predictions(project)[task], key=lambda item: int(item["id"]))
        assert (first["model_version"], second["model_version"]) == (before, after)
        assert "Speaker 3" in {region.label for region in regions(second["result"])}
    # The project goes by the new version, so that people see these.
    assert eventually(lambda: label_studio.get(f"/api/projects/{project}/")["model_version"] == after, within=120)
