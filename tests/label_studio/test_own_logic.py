"""A team's own class runs in place of ours, keeps its values, and learns from corrections."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conversations import Conversation
from label_studio_environment import LabelStudio
from proxy_environment import Proxy
from truss_environment import eventually

MINE = """
from diarist_proxy.label_studio.backend import DiaristBackend


class Mine(DiaristBackend):
    def setup(self):
        self.set("model_version", "mine-2")

    def predict(self, tasks, context=None, **kwargs):
        self.set("asked", (self.get("asked") or 0) + len(tasks))
        assert self.parsed_label_config["speaker"]["type"] == "Labels"
        assert self.label_interface.get_control("transcription").name == "transcription"
        predictions = super().predict(tasks, context, **kwargs)
        return [{**prediction, "score": 0.25} for prediction in predictions]

    def fit(self, event, data, **kwargs):
        self.set("model_version", "mine-2")
        self.set("fitted", event)
        return f"learned from {event}"


class NotOne:
    pass
"""


def test_a_teams_own_class_predicts_keeps_values_and_learns(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], calls: tuple[Conversation, ...], tmp_path: Path
) -> None:
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy" / "mine.py").write_text(MINE)
    server = proxy(backend="mine:Mine")
    project = server.set_up("Own logic")
    (backend,) = label_studio.backends(project)
    assert backend["model_version"] == "mine-2"
    (task,) = label_studio.upload(project, calls[0].path)
    (prediction,) = label_studio.wait_for_predictions(project, [task])[task]
    assert (prediction["model_version"], prediction["score"]) == ("mine-2", 0.25)

    label_studio.annotate(task, prediction["result"], parent_prediction=prediction["id"])
    label_studio.post(f"/api/ml/{backend['id']}/train")
    noted = {"learned from ANNOTATION_CREATED", "learned from START_TRAINING"}
    assert eventually(lambda: noted <= {job["note"] for job in server.jobs(project=project)}, within=120)

    label_studio.retrieve_predictions(project)  # it has one of this version: nothing is asked again
    assert len(label_studio.predictions(project)[task]) == 1


def test_a_class_that_cannot_be_used_stops_the_start_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    for name, reason in (("mine:NotOne", "no subclass"), ("mine:Missing", "cannot be loaded"), ("nothing", "needed")):
        command = [sys.executable, "-m", "diarist.cli", "serve"]
        environment = {**os.environ, "DIARIST_BACKEND": name, "DIARIST_PROXY_DIR": str(tmp_path / "data")}
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 2
        assert reason in done.stderr
        assert "Traceback" not in done.stderr
