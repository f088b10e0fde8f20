"""A project connected to a proxy, and what tests that break something look at."""

from __future__ import annotations

import wave
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from label_studio_environment import LabelStudio
from proxy_environment import Proxy
from truss_environment import eventually

CLIP_SECONDS = 3.0

CONFIG = """<View>
  <Labels name="speaker" toName="audio"><Label value="Speaker 1"/><Label value="Speaker 2"/></Labels>
  <Audio name="audio" value="$audio"/>
  <TextArea name="text" toName="audio" perRegion="true" editable="true"/>
</View>"""


def clips(sample: Path, folder: Path, number: int) -> list[Path]:
    """Cut so many recordings from the sample call, each of another part of it."""
    found = []
    with wave.open(str(sample / "sample.wav")) as sound:
        frames = round(CLIP_SECONDS * sound.getframerate())
        step = (sound.getnframes() - frames) // number
        for index in range(number):
            sound.setpos(index * step)
            path = folder / f"clip{index:02}.wav"
            with wave.open(str(path), "wb") as out:
                out.setparams(sound.getparams())
                out.writeframes(sound.readframes(frames))
            found.append(path)
    return found


@dataclass(frozen=True)
class WatchedProject:
    """A project of a Label Studio whose backend is a proxy."""

    label_studio: LabelStudio
    proxy: Proxy
    id: int

    @classmethod
    def connected(cls, label_studio: LabelStudio, proxy: Proxy) -> WatchedProject:
        """A new project."""
        project = label_studio.create_project(CONFIG)
        label_studio.connect(project, proxy.url)
        return cls(label_studio, proxy, project)

    def upload(self, *paths: Path) -> list[int]:
        """New tasks, a recording each, as people drop them into the page."""
        return self.label_studio.upload(self.id, *paths)

    def number_predicted(self) -> int:
        """How many tasks have a prediction."""
        return len(self.label_studio.predictions(self.id))

    def states(self) -> dict[int, str]:
        """The state of each task's newest job."""
        jobs = reversed(self.proxy.jobs(project=self.id))
        return {job["attributes"]["task"]: job["state"] for job in jobs if "task" in job["attributes"]}

    def settled(self, tasks: Collection[int], *, within: float) -> bool:
        """Wait until each task has had a job, and none waits or runs; a proxy that is away has not settled."""
        return eventually(lambda: self._active() == 0 and set(tasks) <= self.states().keys(), within=within)

    def _active(self) -> int:
        try:
            jobs = self.status()["jobs"]
        except requests.RequestException:
            return -1
        return int(jobs["waiting"] + jobs["running"])

    def status(self) -> dict[str, Any]:
        """What `GET /label-studio/projects/{id}` says."""
        answer = self.proxy.get(f"/label-studio/projects/{self.id}")
        answer.raise_for_status()
        return dict(answer.json())

    def why(self, task: int) -> str | None:
        """What stands on a task about its failure."""
        (meta,) = [found["meta"] or {} for found in self.label_studio.tasks(self.id) if found["id"] == task]
        said = meta.get("diarist", {}).get("error")
        return None if said is None else str(said)

    def assert_done_once(self, tasks: Collection[int], *, within: float = 180) -> None:
        """Each task has one prediction, of the version that the proxy says, and it stays so."""
        assert self.settled(tasks, within=within), f"{self.states()}\n{self.proxy.log[-5000:]}"
        version = self.status()["model_version"]
        found = self.label_studio.predictions(self.id)
        versions = {task: [prediction["model_version"] for prediction in found.get(task, ())] for task in tasks}
        assert versions == {task: [version] for task in tasks}, f"{self.status()}\n{self.proxy.log[-5000:]}"
