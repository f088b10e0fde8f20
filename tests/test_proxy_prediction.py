"""Predictions for any config: always valid, with the labels people expect, checked before they are sent."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

import labeling_configs as configs
from diarist.errors import BadRequest, ModelFailed
from diarist.types import Segment, Span, Transcript, Turn, Word
from diarist_proxy.label_studio.labeling import ConfigUnusable, parse
from diarist_proxy.label_studio.labeling.option_values import TEXT_FORMATS
from diarist_proxy.label_studio.prediction import (
    PredictionInvalid,
    build,
    check,
    dynamic_labels,
    retranscribed,
)

Prediction = dict[str, Any]


def said(start: float, end: float, text: str, speaker: str | None, score: float | None = 0.9) -> Segment:
    return Segment(Span(start, end), text, speaker, (Word(text, Span(start, end), score, speaker),))


def transcript(*segments: Segment, language: str | None = "en", duration: float = 9.0) -> Transcript:
    turns = tuple(Turn(each.span, each.speaker) for each in segments if each.speaker is not None)
    speakers = tuple(dict.fromkeys(turn.speaker for turn in turns))
    return Transcript(segments, language, duration, turns, speakers, model_version="whisper+fine@1")


TWO = transcript(said(0.5, 2.0, "Hello, how are you?", "SPEAKER_00"), said(2.5, 4.0, "Fine thanks.", "SPEAKER_01"))
THREE = transcript(*TWO.segments, said(4.5, 6.0, "Can I join?", "SPEAKER_02"), said(6.5, 8, "Sure.", "SPEAKER_00"))


def built(
    config: str,
    spoken: Transcript = TWO,
    *,
    text_format: str = "speakers",
    renames: Mapping[str, str] | None = None,
    data: Mapping[str, Any] | None = None,
) -> Prediction:
    """The prediction for a task as the proxy makes it: with the labels put into its data first, and checked."""
    labeling, data = parse(config), dict(data or {})
    labels = dynamic_labels(spoken, labeling, data, renames=renames)
    if labels is not None and labeling.dynamic_key is not None:
        data[labeling.dynamic_key] = labels
    made = build(spoken, labeling, text_format=text_format, renames=renames or {}, task_data=data)
    check(made, config)
    return made


def labels_of(prediction: Prediction) -> list[str]:
    return [item["value"]["labels"][0] for item in prediction["result"] if item["type"] == "labels"]


def texts_of(prediction: Prediction) -> list[str]:
    return [item["value"]["text"][0] for item in prediction["result"] if item["type"] == "textarea"]


@pytest.mark.parametrize(
    ("config", "labels", "texts"),
    [
        (configs.SEGMENTS, ["Speech"] * 2, ["Hello, how are you?", "Fine thanks."]),
        (configs.SPEECH_TRANSCRIPTION, ["Speech"] * 2, ["Hello, how are you?", "Fine thanks."]),
        (configs.WHOLE_TEXT, [], ["SPEAKER_00: Hello, how are you?\nSPEAKER_01: Fine thanks."]),
        (configs.SPEAKERS, ["Speaker one", "Speaker two"], []),
        (configs.INTENT, ["Segment"] * 2, []),
        (configs.OTHER_NAMES, ["Customer", "Agent"], ["Hello, how are you?", "Fine thanks."]),
        (configs.MANY_CONTROLS, ["SPEAKER_00", "SPEAKER_01"], ["Hello, how are you?", "Fine thanks."]),
        (
            configs.LABELS_AND_WHOLE_TEXT,
            ["Agent", "Customer"],
            ["Agent: Hello, how are you?\nCustomer: Fine thanks."],
        ),
        (configs.TEXT_PER_REGION, [], ["Hello, how are you?", "Fine thanks."]),
        (configs.DYNAMIC, ["SPEAKER_00", "SPEAKER_01"], ["Hello, how are you?", "Fine thanks."]),
        (configs.TWO_RECORDINGS, ["A", "B"], ["Hello, how are you?", "Fine thanks."]),
    ],
)
def test_every_config_gets_what_it_has_controls_for(config: str, labels: list[str], texts: list[str]) -> None:
    made = built(config)
    assert (labels_of(made), texts_of(made)) == (labels, texts)
    assert made["model_version"] == "whisper+fine@1"
    assert made["score"] == 0.9


def test_label_and_text_of_a_region_are_linked() -> None:
    for label, text in zip(*[iter(built(configs.OTHER_NAMES)["result"])] * 2, strict=True):
        assert (label["id"], label["value"]["start"]) == (text["id"], text["value"]["start"])
        assert (label["from_name"], text["from_name"], label["to_name"]) == ("who", "said", "call")


def test_the_text_of_a_recording_has_no_times_of_a_region() -> None:
    [item] = built(configs.WHOLE_TEXT)["result"]
    assert item["value"] == {"text": ["SPEAKER_00: Hello, how are you?\nSPEAKER_01: Fine thanks."]}
    assert "original_length" not in item


@pytest.mark.parametrize(
    ("text_format", "text"),
    [
        ("plain", "Hello, how are you? Fine thanks."),
        ("speakers", "Agent: Hello, how are you?\nCustomer: Fine thanks."),
        (
            "srt",
            (
                "1\n00:00:00,500 --> 00:00:02,000\n[Agent]: Hello, how are you?\n\n"
                "2\n00:00:02,500 --> 00:00:04,000\n[Customer]: Fine thanks.\n"
            ),
        ),
        (
            "vtt",
            (
                "WEBVTT\n\n00:00:00.500 --> 00:00:02.000\n<v Agent>Hello, how are you?\n\n"
                "00:00:02.500 --> 00:00:04.000\n<v Customer>Fine thanks.\n"
            ),
        ),
    ],
)
def test_the_text_of_a_recording_is_written_as_wanted(text_format: str, text: str) -> None:
    assert texts_of(built(configs.LABELS_AND_WHOLE_TEXT, text_format=text_format)) == [text]


def test_a_text_format_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadRequest, match="one of speakers, plain, srt, vtt"):
        built(configs.WHOLE_TEXT, text_format="docx")


def test_speakers_who_share_a_label_keep_their_own_names_in_a_text() -> None:
    four = transcript(*THREE.segments, said(8, 9, "Me too.", "SPEAKER_03"))
    [text] = texts_of(built(configs.LABELS_AND_WHOLE_TEXT, four))
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        "Agent",
        "Customer",
        "SPEAKER_02",
        "Agent",
        "SPEAKER_03",
    ]


def test_nobody_is_a_question_mark_but_where_nobody_is_known() -> None:
    unsure = transcript(said(0, 1, "Hello.", "SPEAKER_00"), said(2, 3, "Hm.", None))
    assert texts_of(built(configs.WHOLE_TEXT, unsure)) == ["SPEAKER_00: Hello.\n?: Hm."]
    assert texts_of(built(configs.WHOLE_TEXT, transcript(said(2, 3, "Hm.", None)))) == ["Hm."]


def test_japanese_is_joined_without_spaces() -> None:
    spoken = transcript(said(0, 1, "今日は。", "A"), said(1, 2, "はい。", "B"), language="ja")
    assert texts_of(built(configs.WHOLE_TEXT, spoken, text_format="plain")) == ["今日は。はい。"]


@pytest.mark.parametrize("text_format", TEXT_FORMATS)
@pytest.mark.parametrize("config", configs.WORKING.values(), ids=configs.WORKING)
def test_silence_is_a_valid_prediction_without_regions(config: str, text_format: str) -> None:
    assert built(config, Transcript((), None, 9.0, model_version="v"), text_format=text_format)["result"] == []


def test_more_speakers_than_labels_get_the_fallback() -> None:
    assert labels_of(built(configs.OTHER_NAMES, THREE)) == ["Customer", "Agent", "Unknown", "Customer"]


def test_more_speakers_than_labels_without_a_fallback_say_what_to_change() -> None:
    with pytest.raises(BadRequest, match=r"3 speakers .* labels Speaker one, Speaker two: add .* diarist=\"fallback\""):
        built(configs.SPEAKERS, THREE)


def test_a_region_without_a_speaker_stays_unlabelled_where_no_label_stands_for_that() -> None:
    unsure = transcript(said(0, 1, "Hello.", "SPEAKER_00"), said(2, 3, "Hm.", None))
    assert labels_of(built(configs.MANY_CONTROLS, unsure)) == ["SPEAKER_00"]
    assert labels_of(built(configs.OTHER_NAMES, unsure)) == ["Customer", "Unknown"]


# Labels that a task brings itself.


def test_a_task_gets_a_coloured_label_for_each_speaker() -> None:
    labels = dynamic_labels(THREE, parse(configs.DYNAMIC), {"speakers": []})
    assert labels is not None
    assert [label["value"] for label in labels] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert len({label["background"] for label in labels}) == 3


def test_a_task_that_has_its_labels_is_left_alone() -> None:
    labeling = parse(configs.DYNAMIC)
    data = {"speakers": dynamic_labels(THREE, labeling, {})}
    assert dynamic_labels(THREE, labeling, data) is None
    assert dynamic_labels(TWO, labeling, data) is None
    assert dynamic_labels(THREE, parse(configs.SEGMENTS), {}) is None


@pytest.mark.parametrize("brought", [["Ann", "Bob"], "Ann, Bob", [{"value": "Ann"}, {"value": "Bob"}]])
def test_people_whom_a_task_names_are_the_speakers_in_their_order(brought: Any) -> None:  # noqa: ANN401
    assert labels_of(built(configs.DYNAMIC, TWO, data={"speakers": brought})) == ["Ann", "Bob"]
    assert labels_of(built(configs.DYNAMIC, THREE, data={"speakers": brought})) == ["Ann", "Bob", "SPEAKER_02", "Ann"]


def test_labels_of_a_task_become_the_form_that_label_studio_shows() -> None:
    labels = dynamic_labels(THREE, parse(configs.DYNAMIC), {"speakers": ["Ann", {"value": "Bob", "background": "red"}]})
    assert labels is not None
    assert labels[:2] == [{"value": "Ann"}, {"value": "Bob", "background": "red"}]
    assert labels[2]["value"] == "SPEAKER_02"


def test_without_diarization_a_task_needs_no_labels() -> None:
    spoken = transcript(said(0, 1, "Hello.", None))
    assert labels_of(built(configs.DYNAMIC, spoken, data={"speakers": []})) == []
    assert dynamic_labels(spoken, parse(configs.DYNAMIC), {"speakers": []}) is None


# Renames.


def test_a_remembered_rename_is_given_and_the_label_before_is_kept() -> None:
    made = built(configs.LABELS_AND_WHOLE_TEXT, renames={"Agent": "Customer", "Customer": "Agent"})
    first, second, text = made["result"]
    assert labels_of(made) == ["Customer", "Agent"]
    assert [first["meta"], second["meta"]] == [{"renamed_from": "Agent"}, {"renamed_from": "Customer"}]
    assert text["value"]["text"][0].startswith("Customer: Hello")


@pytest.mark.parametrize(
    "renames",
    [
        {"Speaker one": "Speaker two"},
        {"Speaker one": "Agent"},
        {"Speaker three": "Speaker one"},
        {"Speaker one": "Speaker three", "Speaker two": "Speaker three"},
    ],
)
def test_a_rename_never_makes_two_speakers_one_and_never_gives_a_label_that_does_not_exist(
    renames: dict[str, str],
) -> None:
    assert labels_of(built(configs.SPEAKERS, renames=renames)) == ["Speaker one", "Speaker two"]


def test_a_chain_of_renames_holds_only_as_long_as_its_end_is_free() -> None:
    renames = {"A": "B", "B": "C"}
    assert labels_of(built(configs.TWO_RECORDINGS, renames=renames)) == ["B", "C"]
    assert labels_of(built(configs.TWO_RECORDINGS, THREE, renames=renames)) == ["A", "B", "C", "A"]


def test_a_rename_reaches_the_labels_of_a_task() -> None:
    assert labels_of(built(configs.DYNAMIC, renames={"SPEAKER_00": "Agent"})) == ["Agent", "SPEAKER_01"]


# Drawn regions.


REGION = {"id": "drawn1", "from_name": "labels", "to_name": "audio", "type": "labels", "original_length": 9.0}


def test_a_drawn_region_gets_its_text_under_its_own_id() -> None:
    """As Label Studio 1.23.2 sends a region that was drawn and labelled."""
    context = [{**REGION, "value": {"start": 0.5, "end": 2.0, "channel": 0, "labels": ["Speech"]}}]
    heard = {"drawn1": transcript(said(0.1, 0.5, "Hello,", None), said(0.6, 1.4, "how are you?", None))}
    [item] = retranscribed(context, heard, parse(configs.SEGMENTS))
    assert item["id"] == "drawn1"
    assert (item["from_name"], item["to_name"], item["type"]) == ("transcription", "audio", "textarea")
    assert item["value"] == {"start": 0.5, "end": 2.0, "channel": 0, "text": ["Hello, how are you?"]}
    assert item["original_length"] == 9.0
    check({"result": [*context, item]}, configs.SEGMENTS)


def test_a_region_that_has_text_gets_the_new_one_once() -> None:
    """As it sends a region that was moved: its label and its text."""
    value = {"start": 2.5, "end": 5.007683863885839, "channel": 1}
    context = [
        {**REGION, "id": "r2", "value": {**value, "labels": ["Speech"]}},
        {**REGION, "id": "r2", "from_name": "transcription", "type": "textarea", "value": {**value, "text": ["Old."]}},
    ]
    [item] = retranscribed(context, {"r2": transcript(said(0, 1, "New.", "SPEAKER_00"))}, parse(configs.SEGMENTS))
    assert item["value"] == {**value, "text": ["New."]}


def test_a_region_in_which_nothing_is_heard_keeps_its_text() -> None:
    context = [{**REGION, "value": {"start": 0, "end": 1, "labels": ["Speech"]}}]
    assert retranscribed(context, {"drawn1": transcript()}, parse(configs.SEGMENTS)) == []


@pytest.mark.parametrize("config", [configs.SPEAKERS, configs.WHOLE_TEXT])
def test_a_config_without_text_for_regions_has_nothing_to_hear_again(config: str) -> None:
    context = [{**REGION, "value": {"start": 0, "end": 1, "labels": ["Speaker one"]}}]
    assert retranscribed(context, {"drawn1": TWO}, parse(config)) == []


# What is checked before anything is sent.


def altered(change: Callable[[Prediction], Any]) -> Prediction:
    made = copy.deepcopy(built(configs.SEGMENTS))
    change(made)
    return made


def item(number: int, **changes: Any) -> Callable[[Prediction], None]:  # noqa: ANN401
    return lambda made: made["result"][number].update(changes)


def value(number: int, **changes: Any) -> Callable[[Prediction], None]:  # noqa: ANN401
    return lambda made: made["result"][number]["value"].update(changes)


def unlink(made: Prediction) -> None:
    """Give each item an id of its own, as label-studio-sdk's `Region` does."""
    for number, each in enumerate(made["result"]):
        each["id"] = f"r{number}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda made: made.pop("result"), 'a list of regions under "result"'),
        (lambda made: made.update(score=math.nan), "score must be a number from 0 to 1"),
        (lambda made: made.update(score=2), "score must be a number from 0 to 1"),
        (lambda made: made.update(score="0.5"), "score must be a number from 0 to 1"),
        (lambda made: made.update(model_version=None), "model_version must be a text"),
        (lambda made: made["result"].append("?"), "result.4: an object is needed"),
        (lambda made: made["result"].append(made["result"][0]), "labels stands twice for the region '0001'"),
        (item(0, id=None), "result.0: id must be a text"),
        (item(0, id=""), "result.0: id must be a text"),
        (item(0, score=-1), "result.0: score"),
        (item(0, value=None), "result.0: value must be an object"),
        (item(0, from_name="speakers"), "'from_name' 'speakers' not found"),
        (item(0, to_name="video"), "'to_name' 'video' not found"),
        (item(0, type="choices"), "does not match expected type 'labels'"),
        (unlink, "labels and texts at the same times are not linked"),
        (value(0, start=3.0), "the region runs from 3.0 to 2.0"),
        (value(0, start=-1.0), "the region runs from -1.0 to 2.0"),
        (value(0, end="2.0"), "start and end must be numbers"),
        (value(0, end=math.inf), "start and end must be numbers"),
        (lambda made: made["result"][0]["value"].pop("start"), "start and end must be numbers"),
        (value(0, end=1.9), "the items of the region '0001' have different times"),
        (value(0, labels=["SPEAKER_07"]), "Invalid value for control 'labels'"),
        (value(0, labels=[]), "labels must be a list of texts"),
        (value(1, text="Hello."), "text must be a list of texts"),
        (value(1, text=[1]), "text must be a list of texts"),
    ],
)
def test_a_prediction_that_label_studio_would_not_show_right_is_refused(
    change: Callable[[Prediction], Any], told: str
) -> None:
    with pytest.raises(PredictionInvalid) as error:
        check(altered(change), configs.SEGMENTS)
    assert told in str(error.value)
    assert isinstance(error.value, ModelFailed)


def test_a_message_has_the_first_reasons_and_their_number() -> None:
    made = built(configs.SEGMENTS, transcript(*(said(each, each + 1, "Hi.", "A") for each in range(20)), duration=30))
    for region in made["result"]:
        region["value"] = {**region["value"], "end": -1}
    with pytest.raises(PredictionInvalid, match=r"; and 35 more$"):
        check(made, configs.SEGMENTS)


def test_what_a_team_adds_of_its_own_is_left_to_label_studio_to_judge() -> None:
    made = built(configs.MANY_CONTROLS)
    made["result"] += [
        {"from_name": "language", "to_name": "audio", "type": "choices", "value": {"choices": ["en"]}},
        {
            "from_name": "words",
            "to_name": "text",
            "type": "labels",
            "value": {"start": 0, "end": 3, "labels": ["Person"]},
        },
    ]
    check(made, configs.MANY_CONTROLS)
    made["result"][-2]["value"]["choices"] = ["xx"]
    with pytest.raises(PredictionInvalid, match="Invalid value for control 'language'"):
        check(made, configs.MANY_CONTROLS)


def test_a_config_that_is_no_xml_is_the_configs_fault() -> None:
    with pytest.raises(ConfigUnusable, match="no XML that Label Studio reads"):
        check({"result": []}, "<View>")


def test_an_hour_of_talk_is_checked_in_no_time() -> None:
    """label-studio-sdk alone needs seconds: it looks at every region for every region."""
    spoken = transcript(*(said(each, each + 1, f"Word {each}.", f"S{each % 2}") for each in range(3000)), duration=3001)
    made = built(configs.DYNAMIC, spoken)
    started = time.thread_time()  # its own, whatever else the machine does
    check(made, configs.DYNAMIC)
    assert time.thread_time() - started < 5  # 0.05 s here


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    times = st.floats(0, 120, allow_nan=False)
    speakers = st.one_of(st.none(), st.sampled_from(["SPEAKER_00", "SPEAKER_01"]))
    words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=20)

    def segments() -> Iterator[Segment]:
        for _ in range(draw(st.integers(0, 6))):
            start, end = sorted((draw(times), draw(times)))
            yield said(start, end, draw(words), draw(speakers), draw(st.one_of(st.none(), st.floats(0, 1))))

    return transcript(*segments(), duration=draw(times), language=draw(st.sampled_from(["en", "ja", None])))


@given(
    spoken=transcripts(),
    config=st.sampled_from([*configs.WORKING.values()]),
    text_format=st.sampled_from(TEXT_FORMATS),
    renames=st.dictionaries(*[st.sampled_from(["Agent", "Customer", "SPEAKER_00", "A", "B", "Speaker one"])] * 2),
)
def test_whatever_is_said_the_prediction_is_valid_by_label_studios_own_rules(
    spoken: Transcript, config: str, text_format: str, renames: dict[str, str]
) -> None:
    made = built(config, spoken, text_format=text_format, renames=renames)
    assert LabelInterface(config).validate_prediction(made, return_errors=True) == []
    json.dumps(made, allow_nan=False)
    speakers = {segment.speaker for segment in spoken.segments} - {None}
    if parse(config).most_speakers:
        assert len({*labels_of(made)}) == len(speakers)
