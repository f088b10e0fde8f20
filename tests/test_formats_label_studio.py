"""Label Studio's own validator judges what the mapper makes; what that one does not look at is checked here."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

from diarist.errors import BadRequest
from diarist.formats.label_studio import predict
from diarist.request import LabelStudioTarget
from diarist.types import Segment, Span, Transcript, Turn, Word

SEED = """<View>
  <Labels name="labels" toName="audio">
    <Label value="SPEAKER_00"/><Label value="SPEAKER_01"/><Label value="SPEAKER_02"/>
  </Labels>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio" perRegion="true" editable="true" displayMode="region-list"/>
</View>"""
STOCK_SEGMENTS = """<View>
  <Labels name="labels" toName="audio"><Label value="Speech"/><Label value="Noise"/></Labels>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio" rows="2" editable="true" perRegion="true" required="true"/>
</View>"""
STOCK_SPEAKERS = """<View>
  <Labels name="label" toName="audio" zoom="true" hotkey="ctrl+enter">
    <Label value="Speaker one" background="#00FF00"/><Label value="Speaker two" background="#12ad59"/>
  </Labels>
  <Audio name="audio" value="$audio"/>
</View>"""
OTHER_NAMES = """<View>
  <Audio name="call" value="$url"/>
  <Labels name="who" toName="call"><Label value="Agent"/><Label value="Customer"/><Label value="Unknown"/></Labels>
  <TextArea name="said" toName="call" perRegion="true"/>
</View>"""
TEXT_ONLY = """<View>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio" perRegion="true"/>
</View>"""
DYNAMIC = """<View>
  <Labels name="labels" toName="audio" value="$speakers"/>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio" perRegion="true"/>
</View>"""

TARGETS = {
    "seed template": (SEED, LabelStudioTarget(labels=("SPEAKER_00", "SPEAKER_01", "SPEAKER_02"))),
    "stock segments": (STOCK_SEGMENTS, LabelStudioTarget(labels=("Speech",), fallback_label="Speech")),
    "stock speakers": (
        STOCK_SPEAKERS,
        LabelStudioTarget(
            labels_name="label", text_name=None, labels=("Speaker one", "Speaker two"), fallback_label="Speaker two"
        ),
    ),
    "other names": (
        OTHER_NAMES,
        LabelStudioTarget(
            labels_name="who",
            text_name="said",
            audio_name="call",
            labels=("Agent", "Customer", "Unknown"),
            speaker_labels={"SPEAKER_01": "Agent"},
            fallback_label="Unknown",
        ),
    ),
    "text only": (TEXT_ONLY, LabelStudioTarget(labels_name=None)),
    "labels from the task": (DYNAMIC, LabelStudioTarget()),
}


def said(start: float, end: float, text: str, speaker: str | None, score: float | None = 0.9) -> Segment:
    return Segment(Span(start, end), text, speaker, (Word(text, Span(start, end), score, speaker),))


def call(*segments: Segment, duration: float = 10.0) -> Transcript:
    turns = tuple(Turn(segment.span, segment.speaker) for segment in segments if segment.speaker is not None)
    speakers = tuple(dict.fromkeys(turn.speaker for turn in turns))
    return Transcript(segments, "en", duration, turns, speakers, model_version="m@1")


CALL = call(
    said(0.5, 2.0, "Hello, how are you?", "SPEAKER_00"),
    said(1.8, 2.2, "Mhm", "SPEAKER_01", 0.4),
    said(3.0, 3.0, "Zoë 你好", None, None),
    said(9.0, 10.0004, "Good bye.", "SPEAKER_02"),
)


def check_what_the_validator_does_not(prediction: dict[str, Any], duration: float) -> None:
    """Times, links and shapes that `validate_prediction` lets pass."""
    regions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in prediction["result"]:
        value = item["value"]
        assert 0 <= value["start"] <= value["end"] <= duration
        assert value["channel"] == 0
        assert item["original_length"] == duration
        assert item["origin"] == "prediction"
        assert value.get("labels", value.get("text"))
        regions[item["id"]].append(item)
    for items in regions.values():
        assert len({item["type"] for item in items}) == len(items)
        assert len({(item["value"]["start"], item["value"]["end"], item["score"]) for item in items}) == 1


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("transcript", [CALL, call()], ids=["call", "silence"])
def test_label_studio_accepts_the_prediction(name: str, transcript: Transcript) -> None:
    config, target = TARGETS[name]
    prediction = predict(transcript, target)
    assert LabelInterface(config).validate_prediction(prediction, return_errors=True) == []
    check_what_the_validator_does_not(prediction, 10.0)
    assert bool(prediction["result"]) == bool(transcript.segments)


def test_the_validator_would_have_refused_another_label() -> None:
    prediction = predict(CALL, LabelStudioTarget(labels=("A", "B", "C")))
    assert LabelInterface(SEED).validate_prediction(prediction, return_errors=True) != []


SPOKEN = st.builds(
    lambda start, length, text, speaker, score: said(start / 1000, (start + length) / 1000, text, speaker, score),
    *(st.integers(0, 10_500), st.integers(0, 3000), st.text(max_size=9)),
    st.sampled_from([None, "SPEAKER_00", "SPEAKER_01", "SPEAKER_02", "SPEAKER_07"]),
    st.none() | st.floats(-0.5, 1.5) | st.just(float("nan")),
)


@given(st.lists(SPOKEN, max_size=5), st.sampled_from(sorted(TARGETS)))
def test_any_transcript_is_accepted_or_refused_for_want_of_labels(segments: list[Segment], name: str) -> None:
    config, target = TARGETS[name]
    transcript = call(*segments)
    if name == "seed template" and len(transcript.speakers) > 3:
        with pytest.raises(BadRequest, match="no label is left"):
            predict(transcript, target)
        return
    prediction = predict(transcript, target)
    assert LabelInterface(config).validate_prediction(prediction, return_errors=True) == []
    check_what_the_validator_does_not(prediction, 10.0)
    assert predict(transcript, target) == prediction


def labels_of(transcript: Transcript, target: LabelStudioTarget) -> list[str | None]:
    """The label of each region, in order; None where it has none."""
    found: dict[str, str | None] = {}
    for item in predict(transcript, target)["result"]:
        label = item["value"].get("labels", [None])[0]
        found[item["id"]] = found.get(item["id"]) or label
    return list(found.values())


def speakers(*names: str | None) -> Transcript:
    return call(*(said(i, i + 1, "x", name) for i, name in enumerate(names)))


@pytest.mark.parametrize(
    ("names", "target", "labels"),
    [
        # without labels, speakers keep their own
        (["S0", "S1", "S0"], LabelStudioTarget(), ["S0", "S1", "S0"]),
        (["S0", "S1"], LabelStudioTarget(speaker_labels={"S1": "Agent"}), ["S0", "Agent"]),
        (["S0", None], LabelStudioTarget(fallback_label="Unknown"), ["S0", "Unknown"]),
        (["S0", None], LabelStudioTarget(), ["S0", None]),
        # the k-th new speaker gets the k-th label
        (["S7", "S3", "S7"], LabelStudioTarget(labels=("A", "B")), ["A", "B", "A"]),
        # that nobody claims: by the map, by name, or as the fallback
        (["S0", "S1"], LabelStudioTarget(labels=("A", "B"), speaker_labels={"S1": "A"}), ["B", "A"]),
        (
            ["S0", "S1"],
            LabelStudioTarget(labels=("A", "B"), speaker_labels={"S9": "A"}, fallback_label="B"),
            ["B", "B"],
        ),
        (["S0", "agent"], LabelStudioTarget(labels=("Agent", "B")), ["B", "Agent"]),
        (["a", "A"], LabelStudioTarget(labels=("A", "a")), ["a", "A"]),
        (["S0", "S1"], LabelStudioTarget(labels=("Unknown", "A", "B"), fallback_label="Unknown"), ["A", "B"]),
        # the map goes before the name
        (["A", "S1"], LabelStudioTarget(labels=("A", "B"), speaker_labels={"A": "B"}), ["B", "A"]),
        # those beyond the labels, and nobody, get the fallback
        (["S0", "S1", "S2", None], LabelStudioTarget(labels=("A", "U"), fallback_label="U"), ["A", "U", "U", "U"]),
        (["S0", None], LabelStudioTarget(labels=("A",)), ["A", None]),
    ],
)
def test_speakers_get_the_labels_of_the_config(
    names: list[str | None], target: LabelStudioTarget, labels: list[str | None]
) -> None:
    assert labels_of(speakers(*names), target) == labels


def test_the_order_of_first_speech_decides_not_that_of_the_segments() -> None:
    transcript = replace(speakers("S0", "S1"), speakers=("S1", "S0"))
    assert labels_of(transcript, LabelStudioTarget(labels=("A", "B"))) == ["B", "A"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (LabelStudioTarget(labels=("A",)), "2 speakers, but no label is left for S1: add labels beside A, or set"),
    ],
)
def test_a_target_that_cannot_hold_the_speakers_is_refused(target: LabelStudioTarget, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        predict(speakers("S0", "S1"), target)


def test_too_few_labels_do_not_matter_where_none_are_written() -> None:
    assert predict(speakers("S0", "S1"), LabelStudioTarget(labels_name=None, labels=("A",)))["result"]


def test_label_and_text_of_a_segment_share_an_id_and_regions_do_not() -> None:
    items = predict(CALL, LabelStudioTarget())["result"]
    assert [(item["id"], item["type"]) for item in items] == [
        *(("0001", "labels"), ("0001", "textarea"), ("0002", "labels"), ("0002", "textarea")),
        *(("0003", "textarea"), ("0004", "labels"), ("0004", "textarea")),
    ]


def test_a_segment_without_text_has_a_label_only() -> None:
    items = predict(call(said(0, 1, " ", "S0")), LabelStudioTarget())["result"]
    assert [item["type"] for item in items] == ["labels"]


def test_labels_alone_are_put_on_the_turns_with_their_overlaps() -> None:
    target = LabelStudioTarget(text_name=None)
    transcript = replace(CALL, turns=(Turn(Span(0.4, 2.1), "SPEAKER_00"), Turn(Span(1.7, 2.3), "SPEAKER_01")))
    items = predict(transcript, target)["result"]
    assert [(item["value"]["start"], item["value"]["end"], item["score"]) for item in items] == [
        *((0.4, 2.1, 0.9), (1.7, 2.3, 0.4)),
    ]


def test_labels_alone_are_put_on_segments_where_nobody_was_diarized() -> None:
    target = LabelStudioTarget(text_name=None, labels=("Speech",), fallback_label="Speech")
    assert labels_of(speakers(None, None), target) == ["Speech", "Speech"]


def test_a_region_does_not_reach_beyond_the_recording() -> None:
    items = predict(call(said(9.5, 11.0, "x", "A"), said(10.5, 11.0, "y", "A")), LabelStudioTarget())["result"]
    assert [(item["value"]["start"], item["value"]["end"]) for item in items[::2]] == [(9.5, 10.0), (10.0, 10.0)]


@pytest.mark.parametrize(
    ("words", "uncovered", "score"),
    [
        ([(0.0, 3.0, 0.8), (3.0, 4.0, 0.4)], 0.0, 0.7),
        ([(0.0, 3.0, 0.8), (3.0, 4.0, None)], 0.0, 0.8),
        ([(0.0, 3.0, 0.8)], 1.0, 0.6),
        ([(0.0, 1.0, float("nan"))], 0.0, None),
        ([(0.0, 1.0, 1.7), (1.0, 2.0, -3.0)], 0.0, 0.5),
        ([(1.0, 1.0, 0.25)], 0.0, 0.25),
        ([], 2.5, 0.0),
        ([], 0.0, None),
    ],
)
def test_the_score_of_a_prediction_falls_with_doubt(
    words: list[tuple[float, float, float | None]], uncovered: float, score: float | None
) -> None:
    heard = tuple(Word("x", Span(start, end), value) for start, end, value in words)
    segments = (Segment(Span(0, 5), "x", None, heard),) if heard else ()
    transcript = Transcript(segments, "en", 10.0, uncovered=uncovered)
    assert predict(transcript, LabelStudioTarget())["score"] == score
