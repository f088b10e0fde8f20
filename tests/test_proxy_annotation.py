"""Reading Label Studio results: regions by id, whoever named the controls, and the text of a whole recording."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from diarist.formats import label_studio
from diarist.request import LabelStudioTarget
from diarist.types import Segment, Span, Transcript, Turn
from diarist_proxy.label_studio import labeling, prediction
from diarist_proxy.label_studio.corrections import annotation
from diarist_proxy.label_studio.corrections.annotation import Controls

Item = dict[str, Any]

# What Label Studio 1.23.2 sent in ANNOTATION_CREATED for an annotation made by its API.
FROM_THE_API: list[Item] = [
    {
        "id": "a1",
        "from_name": "labels",
        "to_name": "audio",
        "type": "labels",
        "original_length": 9.0,
        "value": {"start": 0.5, "end": 2.0, "channel": 0, "labels": ["Speech"]},
    },
    {
        "id": "a1",
        "from_name": "transcription",
        "to_name": "audio",
        "type": "textarea",
        "original_length": 9.0,
        "value": {"start": 0.5, "end": 2.0, "channel": 0, "text": ["hello"]},
    },
]


def labels(region: str, start: float, end: float, *names: str, **more: Any) -> Item:  # noqa: ANN401 - any JSON
    value = {"start": start, "end": end, "channel": 0, "labels": list(names)}
    return {"id": region, "from_name": "speaker", "to_name": "audio", "type": "labels", "value": value, **more}


def text(region: str, words: str, **more: Any) -> Item:  # noqa: ANN401 - any JSON
    return {
        "id": region,
        "from_name": "said",
        "to_name": "audio",
        "type": "textarea",
        "value": {"text": [words]},
        **more,
    }


def test_what_the_api_stored_reads_as_one_segment() -> None:
    assert annotation.read(FROM_THE_API, duration=None) == Transcript(
        (Segment(Span(0.5, 2.0), "hello", "Speech"),),
        None,
        9.0,
        turns=(Turn(Span(0.5, 2.0), "Speech"),),
        speakers=("Speech",),
    )


def test_a_prediction_of_ours_reads_as_the_transcript_it_was_made_of() -> None:
    segments = (
        Segment(Span(0.5, 2.0), "Hello, how are you?", "SPEAKER_00"),
        Segment(Span(1.5, 4.0), "Fine.", "SPEAKER_01"),
        Segment(Span(4.0, 5.0), "Who is that?", None),
    )
    prediction = label_studio.predict(Transcript(segments, "en", 9.0), LabelStudioTarget())
    read = annotation.read(prediction["result"], duration=None)
    assert (read.segments, read.duration, read.speakers) == (segments, 9.0, ("SPEAKER_00", "SPEAKER_01"))


def test_regions_are_sorted_by_time_and_keep_channel_and_origin() -> None:
    result = [
        text("b", "second"),
        labels("b", 3, 4, "Bob", origin="manual") | {"value": {"start": 3, "end": 4, "channel": 1, "labels": ["Bob"]}},
        labels("a", 1, 2, "Ann", origin="prediction"),
    ]
    first, second = annotation.regions(result)
    assert (first.id, first.labels, first.text, first.channel, first.origin) == ("a", ("Ann",), "", 0, "prediction")
    assert (second.id, second.text, second.channel, second.origin) == ("b", "second", 1, "manual")


def test_a_text_without_times_takes_those_of_its_region_whichever_comes_first() -> None:
    result = [text("a", "hello"), labels("a", 1, 2, "Ann")]
    assert annotation.read(result, duration=9.0).segments == (Segment(Span(1, 2), "hello", "Ann"),)


def test_items_without_an_id_link_to_nothing() -> None:
    label, words = labels("", 1, 2, "Ann"), text("", "hello")
    del label["id"], words["id"]
    read = annotation.read([label, words], duration=9.0)
    assert read.turns == (Turn(Span(1, 2), "Ann"),)
    assert [each.text for each in read.segments] == ["hello"]  # a text of the whole recording


def test_two_labels_on_a_region_are_two_people_at_once() -> None:
    read = annotation.read([labels("a", 1, 2, "Ann", "Bob"), text("a", "hi")], duration=9.0)
    assert read.turns == (Turn(Span(1, 2), "Ann"), Turn(Span(1, 2), "Bob"))
    assert [each.speaker for each in read.segments] == ["Ann"]


def test_noise_is_nobodys_turn() -> None:
    read = annotation.read([labels("a", 1, 2, "Noise"), labels("b", 2, 3, "Ann")], duration=9.0)
    assert (read.turns, read.speakers) == ((Turn(Span(2, 3), "Ann"),), ("Ann",))


def test_a_region_that_runs_backwards_reads_as_label_studio_shows_it() -> None:
    assert annotation.read([labels("a", 4, 1.5, "Ann")], duration=9.0).turns == (Turn(Span(1.5, 4), "Ann"),)


def test_several_texts_in_a_region_are_lines() -> None:
    words = text("a", "") | {"value": {"text": [" one ", "", "two"]}}
    assert annotation.read([labels("a", 1, 2, "Ann"), words], duration=9.0).segments[0].text == "one\ntwo"


def test_the_control_that_most_regions_use_tells_what_was_said() -> None:
    note = text("a", "check this") | {"from_name": "note"}
    result = [labels("a", 1, 2, "Ann"), note, text("a", "hello"), labels("b", 3, 4, "Bob"), text("b", "hi")]
    assert annotation.find_controls(result) == Controls("speaker", "said")
    assert [each.text for each in annotation.read(result, duration=9.0).segments] == ["hello", "hi"]
    chosen = annotation.read(result, duration=9.0, controls=Controls("speaker", "note"))
    assert [each.text for each in chosen.segments] == ["check this", ""]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        {"id": "c", "from_name": "mood", "to_name": "audio", "type": "choices", "value": {"choices": ["calm"]}},
        {"id": "c", "from_name": "mood", "type": "rating", "value": {"start": 1, "end": 2, "rating": 4}},
        {
            "id": "c",
            "from_name": "ner",
            "type": "labels",
            "value": {"start": 0, "end": 5, "text": "Hello", "labels": ["X"]},
        },
        {"id": "c", "from_name": "speaker", "type": "labels", "value": {"start": "1", "end": None, "labels": ["Ann"]}},
        {
            "id": "c",
            "from_name": "speaker",
            "type": "labels",
            "value": {"start": float("nan"), "end": 2, "labels": ["A"]},
        },
        {"id": "c", "from_name": "speaker", "type": "labels", "value": {"start": True, "end": 2, "labels": ["A"]}},
        {"id": "c", "from_name": "speaker", "type": "labels", "value": None},
        {"id": "c", "from_name": "said", "type": "textarea", "value": {"text": None}},
        {},
    ],
)
def test_what_is_no_region_of_audio_is_passed_over(item: Item) -> None:
    plain = [labels("a", 1, 2, "Ann"), text("a", "hello")]
    assert annotation.read([item, *plain], duration=9.0) == annotation.read(plain, duration=9.0)


def test_nothing_reads_as_silence() -> None:
    assert annotation.read([], duration=None) == Transcript((), None, 0.0)
    assert annotation.read([], duration=9.0) == Transcript((), None, 9.0)


def test_a_duration_that_nobody_says_is_the_last_end() -> None:
    assert annotation.read([labels("a", 1, 2.5, "Ann")], duration=None).duration == 2.5


# --- the text of a whole recording ---------------------------------------------------------------------------


def test_a_text_of_the_whole_recording_is_one_segment() -> None:
    read = annotation.read([text("t", "Hello there.\nAll is well.")], duration=9.0)
    assert read.segments == (Segment(Span(0, 9), "Hello there. All is well."),)
    assert read.turns == ()


def test_lines_that_name_speakers_are_segments_but_tell_no_turns() -> None:
    read = annotation.read([text("t", "Ann: Hello: you\nthere.\n\nBob: Hi.\n?: Who?")], duration=9.0)
    assert [(each.speaker, each.text) for each in read.segments] == [
        ("Ann", "Hello: you there."),
        ("Bob", "Hi."),
        (None, "Who?"),
    ]
    assert read.turns == ()


@pytest.mark.parametrize(
    "subtitles",
    [
        "1\n00:00:00,500 --> 00:00:02,000\n[Ann]: Hello.\n\n2\n00:00:02,000 --> 00:00:04,000\n[Bob]: Hi.\n",
        "WEBVTT\n\n00:00:00.500 --> 00:00:02.000\n<v Ann>Hello.\n\n00:00:02.000 --> 00:00:04.000\n<v Bob>Hi.\n",
    ],
    ids=["srt", "vtt"],
)
def test_subtitles_of_the_whole_recording_have_their_own_times(subtitles: str) -> None:
    read = annotation.read([text("t", subtitles)], duration=9.0)
    assert read.segments == (Segment(Span(0.5, 2), "Hello.", "Ann"), Segment(Span(2, 4), "Hi.", "Bob"))
    assert read.turns == (Turn(Span(0.5, 2), "Ann"), Turn(Span(2, 4), "Bob"))


def test_subtitles_that_a_hand_has_broken_are_still_words() -> None:
    broken = "1\n00:00:00,500 --> 00:00:02,000\nHello.\n\noh, and\n"
    assert [each.span for each in annotation.read([text("t", broken)], duration=9.0).segments] == [Span(0, 9)]


@pytest.mark.parametrize(
    "config", ["", '<Labels name="who" toName="a"><Label value="SPEAKER_00"/><Label value="B"/></Labels>']
)
@pytest.mark.parametrize("text_format", ["speakers", "srt", "vtt"])
def test_a_whole_text_of_ours_reads_as_what_was_said(text_format: str, config: str) -> None:
    xml = f'<View>{config}<Audio name="a" value="$audio"/><TextArea name="t" toName="a"/></View>'
    said = (
        Segment(Span(0.5, 2), "Hello: there.", "SPEAKER_00"),
        Segment(Span(2, 4), "Hi.", "B"),
        Segment(Span(4, 5), "Who?"),
    )
    turns = (Turn(Span(0.5, 2), "SPEAKER_00"), Turn(Span(2, 4), "B"))
    transcript = Transcript(said, "en", 9.0, turns, ("SPEAKER_00", "B"))
    made = prediction.build(transcript, labeling.parse(xml), text_format=text_format, renames={}, task_data={})
    read = annotation.read(made["result"], duration=None)
    assert [(each.speaker, each.text) for each in read.segments] == [(each.speaker, each.text) for each in said]
    if config or text_format != "speakers":
        assert read.turns == turns


@pytest.mark.parametrize(
    "plain", ["Note: he was late.", "Dear all, he said: go.\nAnd they went.", "So:\nwell: no\nyes\nno"]
)
def test_a_colon_does_not_make_a_speaker(plain: str) -> None:
    (segment,) = annotation.read([text("t", plain)], duration=9.0).segments
    assert (segment.speaker, segment.text) == (None, " ".join(plain.split()))


def test_a_single_line_names_a_speaker_by_a_number() -> None:
    (segment,) = annotation.read([text("t", "SPEAKER_00: Hello.")], duration=9.0).segments
    assert (segment.speaker, segment.text) == ("SPEAKER_00", "Hello.")


def test_a_text_beside_labelled_regions_keeps_their_turns() -> None:
    read = annotation.read([labels("a", 1, 2, "Ann"), text("t", "Hello.")], duration=9.0)
    assert read.turns == (Turn(Span(1, 2), "Ann"),)
    assert read.segments == (Segment(Span(0, 9), "Hello."),)


def test_importing_what_reads_and_measures_loads_no_scoring_library() -> None:
    modules = ("annotation", "evaluation", "hints", "exports", "report")
    names = ", ".join(modules)
    script = f"import sys\nfrom diarist_proxy.label_studio.corrections import {names}\nprint('\\n'.join(sys.modules))"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True, timeout=120
    )
    slow = {"meeteval", "pyannote", "whisper_normalizer", "label_studio_sdk", "torch", "pandas", "scipy"}
    assert {name.split(".")[0] for name in done.stdout.split()} & slow == set()
