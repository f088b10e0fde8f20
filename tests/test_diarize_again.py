"""An earlier answer gets speakers anew, and its words stay what and where they were."""

from __future__ import annotations

import base64
import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diarist.pipeline import Stages
from diarist.service import Reply, TranscriptionService
from diarist.settings import Settings


@contextmanager
def still_there() -> Iterator[threading.Event]:
    yield threading.Event()


def deaf(*_: Any, **__: Any) -> Any:  # noqa: ANN401
    raise AssertionError("something was transcribed or aligned")


def ask(stages: Stages, recording: Path, **keys: object) -> Reply:
    body = {"audio_b64": base64.b64encode(recording.read_bytes()).decode(), **keys}
    reply = TranscriptionService(Settings(), stages).handle(body, request_id="r", watch=still_there)
    assert isinstance(reply, Reply)
    return reply


@pytest.fixture(scope="module")
def recording(sample: Path) -> Path:
    return sample / "sample.wav"


@pytest.fixture(scope="module")
def answer(embedded: Stages, recording: Path) -> dict[str, Any]:
    reply = ask(embedded, recording)
    assert reply.status == 200
    return dict(reply.body)


@pytest.fixture
def changed(answer: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(answer)


@pytest.fixture(scope="module")
def diarizing_only(embedded: Stages) -> Stages:
    return replace(embedded, transcribe=deaf, align=deaf)


def words(answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    return [word for segment in answer["model_output"] for word in segment["words"]]


def test_nothing_changes_where_nothing_else_is_asked_for(
    diarizing_only: Stages, recording: Path, answer: dict[str, Any]
) -> None:
    again = ask(diarizing_only, recording, transcript=answer).body
    assert {key: again[key] for key in answer if key != "timings"} == {
        key: answer[key] for key in answer if key != "timings"
    }
    assert not {"transcribe", "align"} & set(again["timings"])


def test_words_keep_text_and_times_and_get_other_speakers(
    diarizing_only: Stages, recording: Path, answer: dict[str, Any]
) -> None:
    assert len(answer["speakers"]) == 2
    again = ask(diarizing_only, recording, transcript=answer, num_speakers=1).body
    assert again["speakers"] == ["SPEAKER_00"]
    assert {word["speaker"] for word in words(again)} == {"SPEAKER_00"}
    kept = ("word", "start", "end", "score", "timing")
    assert [[word[key] for key in kept] for word in words(again)] == [[w[key] for key in kept] for w in words(answer)]
    assert len(again["model_output"]) < len(answer["model_output"])


def test_a_lower_threshold_finds_more_speakers(diarizing_only: Stages, recording: Path, answer: dict[str, Any]) -> None:
    again = ask(diarizing_only, recording, transcript=answer, diarization={"threshold": 0.2}).body
    assert len(again["speakers"]) > 2


def test_words_of_other_models_are_named_as_such(
    diarizing_only: Stages, recording: Path, changed: dict[str, Any]
) -> None:
    again = ask(diarizing_only, recording, transcript=changed | {"model_version": "diarist-0.0.1:large"}).body
    assert again["notes"] == ["the words are of diarist-0.0.1:large"]
    assert again["model_version"] == diarizing_only.model_version


def test_notes_about_the_speakers_there_were_are_gone(
    diarizing_only: Stages, recording: Path, changed: dict[str, Any]
) -> None:
    first = ask(diarizing_only, recording, transcript=changed, num_speakers=30).body
    assert len(first["notes"]) == 1
    named = [
        "SPEAKER_00 is Ann: similarity 0.71",
        "Bob was not heard: no speaker left has a similarity of 0.5 or more",
        "Bob was not looked for: this diarizer gives no voice vectors",
        "min_speakers is 9, and 2 speakers were found: the rest say too little alone",
    ]
    kept = "no alignment model for 'eo': words timed by attention"
    earlier = dict(first) | {"notes": [*first["notes"], *named, kept]}
    assert ask(diarizing_only, recording, transcript=earlier).body["notes"] == [kept]


def test_a_transcript_without_words_still_says_who_speaks(diarizing_only: Stages, recording: Path) -> None:
    again = ask(diarizing_only, recording, transcript={"model_output": []}).body
    assert again["model_output"] == []
    assert len(again["speakers"]) == 2


@pytest.mark.parametrize(("start", "end"), [(40.0, 41.0), (-1.0, 0.5), (29.9, 31.0)])
def test_words_outside_the_recording_are_refused(
    diarizing_only: Stages, recording: Path, changed: dict[str, Any], start: float, end: float
) -> None:
    changed["model_output"][0]["words"][0] |= {"start": start, "end": end}
    reply = ask(diarizing_only, recording, transcript=changed)
    assert reply.status == 400
    assert "the recording from 0 to 30.000 s: send the recording that it was made from" in reply.body["error"]
