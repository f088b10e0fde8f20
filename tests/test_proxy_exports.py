"""Exports of corrected tasks: what is written is read back by our readers and by meeteval's."""

from __future__ import annotations

import json
from typing import Any

import meeteval
import pytest

from diarist.errors import BadRequest
from diarist.formats import rttm, seglst, srt, stm
from diarist.types import Segment, Span, Transcript, Turn
from diarist_proxy.label_studio.corrections import exports
from diarist_proxy.label_studio.corrections.exports import CorrectedTask, Name

SEGMENTS = (
    Segment(Span(0.5, 2.0), "Hello, how are you?", "Agent"),
    Segment(Span(1.5, 4.0), "Fine, thanks.", "Speaker one"),
    Segment(Span(4.5, 6.0), "Who is that?", None),
    Segment(Span(6.0, 7.0), "", "Noise"),
    Segment(Span(7.0, 8.0), "", "Agent"),
)
TURNS = (Turn(Span(0.5, 2.0), "Agent"), Turn(Span(1.5, 4.0), "Speaker one"), Turn(Span(7.0, 8.0), "Agent"))
CALL = CorrectedTask(
    7, "call 1", Transcript(SEGMENTS, None, 9.0, TURNS, ("Agent", "Speaker one")), "s3://calls/call 1.wav"
)
SILENCE = CorrectedTask(8, "silence", Transcript((), None, 3.0), "/data/upload/1/silence.wav")


def only(name: Name, *tasks: CorrectedTask) -> str:
    (text,) = exports.write(name, tasks).values()
    return text


def test_rttm_holds_every_turn_of_every_task() -> None:
    assert list(exports.write("rttm", [CALL])) == ["corrected.rttm"]
    assert rttm.read(only("rttm", CALL, SILENCE)) == {
        "call_1": (TURNS[0], Turn(Span(1.5, 4.0), "Speaker_one"), TURNS[2])
    }
    assert len(list(meeteval.io.RTTM.parse(only("rttm", CALL)))) == 3


def test_stm_holds_every_segment_that_is_speech() -> None:
    assert [(each.span, each.speaker, each.text) for each in stm.read(only("stm", CALL, SILENCE))["call_1"]] == [
        (Span(0.5, 2.0), "Agent", "Hello, how are you?"),
        (Span(1.5, 4.0), "Speaker_one", "Fine, thanks."),
        (Span(4.5, 6.0), None, "Who is that?"),
        (Span(7.0, 8.0), "Agent", ""),
    ]
    assert len(list(meeteval.io.STM.parse(only("stm", CALL)))) == 4


def test_seglst_is_one_list_for_all_tasks_and_keeps_labels_as_they_are() -> None:
    other = CorrectedTask(9, "call 2", CALL.transcript, CALL.audio)
    text = only("seglst", other, CALL, SILENCE)
    assert seglst.read(text) == {"call_1": (*SEGMENTS[:3], SEGMENTS[4]), "call_2": (*SEGMENTS[:3], SEGMENTS[4])}
    assert len(meeteval.io.SegLST.parse(text)) == 8
    assert list(exports.write("seglst", [CALL])) == ["corrected.seglst.json"]


def test_srt_is_a_file_a_task() -> None:
    files = exports.write("srt", [CALL, SILENCE])
    assert (list(files), files["silence.srt"]) == (["call_1.srt", "silence.srt"], "")
    read = srt.read(files["call_1.srt"])
    assert [(each.speaker, each.text) for each in read] == [(each.speaker, each.text) for each in SEGMENTS[:3]]


def test_the_manifest_has_a_line_for_each_segment_with_words() -> None:
    lines = [json.loads(line) for line in only("jsonl", CALL, SILENCE).splitlines()]
    assert lines[1] == {
        "audio_filepath": "s3://calls/call 1.wav",
        "offset": 1.5,
        "duration": 2.5,
        "text": "Fine, thanks.",
        "speaker": "Speaker one",
    }
    assert [line["text"] for line in lines] == [each.text for each in SEGMENTS[:3]]


def test_lines_of_a_whole_recording_are_one_line_of_the_manifest() -> None:
    """They have no times of their own: a piece of the text would be matched with all of the audio."""
    lines = (Segment(Span(0, 9.0), "Hello.", "Ann"), Segment(Span(0, 9.0), "Hi.", "Bob"))
    task = CorrectedTask(1, "call", Transcript(lines, None, 9.0), "call.wav")
    (line,) = map(json.loads, only("jsonl", task).splitlines())
    assert (line["offset"], line["duration"], line["text"], line["speaker"]) == (0.0, 9.0, "Hello. Hi.", None)
    assert stm.read(only("stm", task)) == {"call": lines}


def test_a_text_without_any_times_is_a_whole_file_of_the_manifest_and_no_subtitles() -> None:
    task = CorrectedTask(5, "call", Transcript((Segment(Span(0, 0), "Hello."),), None, 0.0), "call.wav")
    (line,) = map(json.loads, only("jsonl", task).splitlines())
    assert (line["offset"], line["duration"], line["text"]) == (0.0, None, "Hello.")
    with pytest.raises(BadRequest, match="task 5: its text has no times"):
        exports.write("srt", [task])


@pytest.mark.parametrize("name", exports.FORMATS)
def test_every_format_writes_nothing_as_nothing(name: Name) -> None:
    for text in exports.write(name, []).values():
        assert text in {"", "[]\n"}


def test_recordings_of_the_same_name_are_told_apart_by_their_tasks() -> None:
    tasks = [CorrectedTask(number, name, CALL.transcript, "") for number, name in ((3, "a"), (1, "A"), (2, "b"))]
    assert list(rttm.read(only("rttm", *tasks))) == ["A-1", "b", "a-3"]
    assert list(exports.write("srt", tasks)) == ["A-1.srt", "b.srt", "a-3.srt"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c", "..", ";comment", "a\nb", "", "é" * 300, "<NA>"])
def test_no_name_of_a_recording_breaks_a_file_or_leaves_its_folder(name: str) -> None:
    tasks = [CorrectedTask(4, name, CALL.transcript, "")]
    (file_name,) = exports.write("srt", tasks)
    assert "/" not in file_name
    assert "\\" not in file_name
    assert file_name not in {".srt", "..srt"}
    assert len(file_name.encode()) < 255
    assert len(rttm.read(only("rttm", *tasks))) == len(stm.read(only("stm", *tasks))) == 1


def test_two_speakers_whose_names_differ_in_blanks_stay_two() -> None:
    turns = (Turn(Span(0, 1), "Speaker one"), Turn(Span(1, 2), "Speaker_one"), Turn(Span(2, 3), "<NA>"))
    task = CorrectedTask(1, "call", Transcript((), None, 9.0, turns), "")
    names = [turn.speaker for turn in rttm.read(only("rttm", task))["call"]]
    assert names == ["Speaker_one", "Speaker_one_2", "NA"]


def test_what_a_format_cannot_carry_is_refused_with_the_tasks_number() -> None:
    odd = (Segment(Span(0, 1), "<a,b> said so", "Ann"),)
    with pytest.raises(BadRequest, match="task 12: stm would take"):
        exports.write("stm", [CorrectedTask(12, "call", Transcript(odd, None, 9.0), "")])


def test_a_format_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(BadRequest, match="'ctm'; there are rttm, stm, seglst, srt, jsonl"):
        exports.write("ctm", [])  # type: ignore[arg-type]


# --- which annotation counts ---------------------------------------------------------------------------------


def labels(speaker: str) -> dict[str, Any]:
    value = {"start": 0.5, "end": 2.0, "channel": 0, "labels": [speaker]}
    return {
        "id": "r1",
        "from_name": "who",
        "to_name": "audio",
        "type": "labels",
        "original_length": 9.0,
        "value": value,
    }


def annotated(number: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {
        "id": number,
        "was_cancelled": False,
        "updated_at": f"2026-11-2{number}",
        "result": [labels(f"P{number}")],
    } | more


def test_the_last_annotation_counts_and_ground_truth_before_it() -> None:
    tasks = [
        {
            "id": 1,
            "data": {"sound": "/data/upload/1/0927d1c7-call_01.wav"},
            "annotations": [annotated(2), annotated(1)],
        },
        {"id": 2, "data": {"sound": "b.wav"}, "annotations": [annotated(1, ground_truth=True), annotated(2)]},
        {"id": 3, "data": {"sound": "c.wav"}, "annotations": [annotated(1), annotated(2, was_cancelled=True)]},
        {"id": 4, "data": {"sound": "d.wav"}, "annotations": [annotated(2, was_cancelled=True)]},
        {"id": 5, "data": {}, "annotations": []},
        {"id": 6, "data": {}, "annotations": [annotated(1)]},
    ]
    found = list(exports.corrected_tasks(tasks, audio_key="sound"))
    assert [(task.id, task.file_id, task.transcript.speakers) for task in found] == [
        (1, "0927d1c7-call_01", ("P2",)),
        (2, "b", ("P1",)),
        (3, "c", ("P1",)),
        (6, "task-6", ("P1",)),
    ]
    assert (found[0].audio, found[0].transcript.duration) == ("/data/upload/1/0927d1c7-call_01.wav", 9.0)


@pytest.mark.parametrize(
    ("audio", "file_id"),
    [
        ("s3://bucket/calls/2026/a%20b.opus", "a_b"),
        ("https://host/x/call.mp3?X-Amz-Signature=secret#t", "call"),
        ("/data/local-files/?d=calls%2Fc.wav", "c"),
        ("http://[broken", ""),
        ("", ""),
    ],
)
def test_a_recording_is_called_as_its_file(audio: str, file_id: str) -> None:
    assert exports.file_id_of(audio) == file_id
