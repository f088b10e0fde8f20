"""Corrections in a real Label Studio: the report that the command prints, and the exports, as worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from diarist.commands.terminal import Terminal
from diarist.formats import rttm, seglst, srt, stm
from diarist.types import Segment, Span, Turn
from diarist_proxy.commands import corrections
from diarist_proxy.settings import ProxySettings
from label_studio_environment import LabelStudio

# label-studio-sdk reads the answer to a personal access token with a method that pydantic has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")

Item = dict[str, Any]

CONFIG = """<View>
  <Labels name="who" toName="sound"><Label value="Agent"/><Label value="Caller"/></Labels>
  <Audio name="sound" value="$recording"/>
  <TextArea name="said" toName="sound" perRegion="true" editable="true"/>
</View>"""


def region(name: str, start: float, end: float, speaker: str, words: str) -> list[Item]:
    common = {"id": name, "to_name": "sound", "original_length": 10.0, "origin": "prediction"}
    times = {"start": start, "end": end, "channel": 0}
    return [
        {**common, "from_name": "who", "type": "labels", "value": {**times, "labels": [speaker]}},
        {**common, "from_name": "said", "type": "textarea", "value": {**times, "text": [words]}},
    ]


PREDICTION = [
    *region("1", 0, 2, "Agent", "Hello there."),
    *region("2", 2, 4, "Caller", "Good morning, sir."),
    *region("3", 5, 6, "Agent", "Yes."),
]
CORRECTED = [
    *region("1", 0, 2, "Agent", "Hello there."),
    *region("2", 2, 5, "Caller", "Good morning, Sir John."),
    *region("n", 7, 8, "Agent", "Thanks."),
]


@pytest.fixture
def settings(label_studio: LabelStudio, tmp_path: Path) -> ProxySettings:
    key = SecretStr(label_studio.pat)
    return ProxySettings(label_studio_url=label_studio.url, label_studio_api_key=key, data_dir=tmp_path / "data")


def predicted(label_studio: LabelStudio, version: str = "v1") -> tuple[int, int, int]:
    """A project with one predicted task; the ids of project, task and prediction."""
    project = label_studio.create_project(CONFIG)
    (task,) = label_studio.import_tasks(project, [{"recording": "https://calls.example/2026/call%201.wav"}])
    prediction = label_studio.post("/api/predictions/", task=task, result=PREDICTION, model_version=version, score=0.9)
    return project, task, prediction["id"]


def reported(settings: ProxySettings, project: int, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    corrections.report(settings, Terminal(), [project], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_a_correction_changes_the_report_as_worked_out_by_hand(
    label_studio: LabelStudio, settings: ProxySettings, capsys: pytest.CaptureFixture[str]
) -> None:
    project, task, prediction = predicted(label_studio)
    assert reported(settings, project, capsys)["versions"] == {}
    annotation = label_studio.annotate(task, PREDICTION, parent_prediction=prediction, lead_time=15.0)
    before = reported(settings, project, capsys)["versions"]["v1"]
    assert (before["cpwer"], before["der"], before["changed_share"]) == (0.0, 0.0, 0.0)
    assert before["seconds_per_audio_minute"] == 90.0

    label_studio.patch(f"/api/annotations/{annotation}/", result=CORRECTED, lead_time=30.0)
    after = reported(settings, project, capsys)["versions"]["v1"]
    # Agent said "hello there thanks", heard as "hello there yes"; Caller's "john" was missed: 2 errors in 7 words.
    assert after["cpwer"] == pytest.approx(2 / 7)
    # 6 s spoken; 4-5 and 7-8 missed, 5-6 false alarm.
    assert (after["spoken"], after["missed"], after["false_alarm"], after["confusion"]) == (6.0, 2.0, 1.0, 0.0)
    assert after["der"] == 0.5
    assert (after["untouched"], after["changed"], after["deleted"], after["added"]) == (1, 1, 1, 1)
    assert after["seconds_per_audio_minute"] == 180.0  # 30 s of work for 10 s of audio


def test_skipped_tasks_are_no_corrections(
    label_studio: LabelStudio, settings: ProxySettings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project, task, prediction = predicted(label_studio)
    label_studio.annotate(task, [], parent_prediction=prediction, was_cancelled=True)
    assert reported(settings, project, capsys)["versions"] == {}
    corrections.export(settings, Terminal(), project, formats="rttm", folder=tmp_path)
    assert list(tmp_path.glob("*.rttm")) == []


def test_a_corrected_task_is_exported_in_every_format(
    label_studio: LabelStudio, settings: ProxySettings, tmp_path: Path
) -> None:
    project, task, prediction = predicted(label_studio)
    label_studio.annotate(task, CORRECTED, parent_prediction=prediction)
    corrections.export(settings, Terminal(), project, formats="rttm,stm,seglst,srt,jsonl", folder=tmp_path)
    spans = (Span(0, 2), Span(2, 5), Span(7, 8))
    speakers = ("Agent", "Caller", "Agent")
    words = ("Hello there.", "Good morning, Sir John.", "Thanks.")
    segments = tuple(map(Segment, spans, words, speakers))
    assert rttm.read((tmp_path / "corrected.rttm").read_text()) == {"call_1": tuple(map(Turn, spans, speakers))}
    assert stm.read((tmp_path / "corrected.stm").read_text()) == {"call_1": segments}
    assert seglst.read((tmp_path / "corrected.seglst.json").read_text()) == {"call_1": segments}
    assert [each.text for each in srt.read((tmp_path / "call_1.srt").read_text())] == list(words)
    lines = [json.loads(line) for line in (tmp_path / "corrected.jsonl").read_text().splitlines()]
    assert [(line["offset"], line["duration"], line["text"]) for line in lines] == [
        (span.start, span.duration, text) for span, text in zip(spans, words, strict=True)
    ]
    assert {line["audio_filepath"] for line in lines} == {"https://calls.example/2026/call%201.wav"}
