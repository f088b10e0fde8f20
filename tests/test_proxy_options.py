"""Options of service, project, config and task: the nearest counts, and a wrong one says where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import labeling_configs as configs
from diarist.errors import BadRequest
from diarist.request import parse_request
from diarist_proxy.label_studio.labeling import parse
from diarist_proxy.label_studio.labeling.option_values import LONGEST_TEXT
from diarist_proxy.label_studio.labeling.options import TaskOptions, for_region, merged
from diarist_proxy.settings import ProxySettings


def options(
    data: Mapping[str, Any] | None = None,
    *,
    params: str | Mapping[str, Any] | None = None,
    attributes: str = "",
    config: str = configs.SEGMENTS,
    hints: Mapping[str, Any] | None = None,
    **settings: Any,  # noqa: ANN401 - any setting
) -> TaskOptions:
    labeling = parse(config.replace("<View", f"<View {attributes}", 1))
    service = ProxySettings(**{"language": None, **settings})
    return merged(service, params, labeling, {"audio": "/a.wav", **(data or {})}, hints)


def asked(*given: Any, **named: Any) -> Mapping[str, Any]:  # noqa: ANN401 - as above
    return options(*given, **named).request


def test_nothing_set_asks_for_nothing() -> None:
    assert options() == TaskOptions({}, "speakers")


def test_the_nearest_place_counts() -> None:
    places: dict[str, Any] = {"language": "en"}
    assert asked(**places) == {"language": "en"}
    places["params"] = {"language": "de"}
    assert asked(**places) == {"language": "de"}
    places["attributes"] = 'diarist_language="fr"'
    assert asked(**places) == {"language": "fr"}
    assert asked({"diarist": {"language": "es"}}, **places) == {"language": "es"}
    assert asked({"diarist": {"language": "es"}, "diarist_language": "it"}, **places) == {"language": "it"}


def test_places_add_up() -> None:
    found = options(
        {"diarist_initial_prompt": "Dr. Okafor speaking."},
        params='{"hotwords": "Zyrtec"}',
        attributes='diarist_text_format="srt"',
        min_speakers=2,
    )
    assert found.text_format == "srt"
    assert found.request == {"min_speakers": 2, "hotwords": "Zyrtec", "initial_prompt": "Dr. Okafor speaking."}


@pytest.mark.parametrize("params", [None, "", "  ", "{}", {}])
def test_extra_parameters_may_be_absent(params: str | Mapping[str, Any] | None) -> None:
    assert asked(params=params) == {}


@pytest.mark.parametrize("params", [{"min_speakers": 2}, '{"min_speakers": 2}', {"diarist_min_speakers": "2"}])
def test_extra_parameters_are_an_object_or_its_text(params: str | Mapping[str, Any] | None) -> None:
    """Captures 02 and 02b: an object by API, a text from Label Studio's form."""
    assert asked(params=params) == {"min_speakers": 2}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("num_speakers", "2", 2),
        ("num_speakers", "2.0", 2),
        ("num_speakers", 2.0, 2),
        ("language", "DE", "de"),
        ("languages", "de, en", ["de", "en"]),
        ("diarize", "False", False),
        ("align", "no", False),
        ("align", 0, False),
        ("task", "Translate", "translate"),
        ("channels", "split", "split"),
        ("hotwords", ["Zyrtec", "Okafor"], "Zyrtec Okafor"),
    ],
)
def test_texts_from_csv_and_xml_become_values(key: str, text: object, value: object) -> None:
    assert asked({f"diarist_{key}": text}) == {key: value}


def test_a_threshold_and_known_voices_reach_the_request_in_its_own_form() -> None:
    voices = '[{"name": "Ann", "audio_file": "https://example.com/ann.wav"}]'
    found = asked({"diarist_threshold": "0.6", "diarist_known_speakers": voices})
    assert found["diarization"] == {"threshold": 0.6}
    assert found["known_speakers"][0]["name"] == "Ann"
    parse_request({"audio_file": "https://example.com/a.wav", **found})


@pytest.mark.parametrize("empty", [None, "", " "])
def test_an_empty_column_says_nothing(empty: str | None) -> None:
    assert asked({"diarist_language": empty, "diarist_num_speakers": empty}, language="de") == {"language": "de"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"diarist_num_speakers": 3}, {"num_speakers": 3}),
        ({"diarist_max_speakers": 1}, {"max_speakers": 1}),
        ({"diarist_max_speakers": 5}, {"min_speakers": 2, "max_speakers": 5}),
        ({"diarist_channels": "split"}, {"channels": "split"}),
        ({"diarist_diarize": "false"}, {"diarize": False}),
    ],
)
def test_a_nearer_place_replaces_what_it_contradicts(given: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert asked(given, params={"min_speakers": 2, "max_speakers": 4}) == expected


def test_a_language_replaces_expected_ones_and_auto_replaces_both() -> None:
    expected = {"languages": ["de", "en"]}
    assert asked({"diarist_language": "fr"}, params=expected) == {"language": "fr"}
    assert asked({"diarist_language": "auto"}, params=expected) == {}
    assert asked({"diarist_language": "auto"}, language="de") == {}
    assert asked({"diarist_languages": "de,en"}, language="de") == {"languages": ["de", "en"]}


def test_bounds_and_an_exact_number_replace_each_other() -> None:
    assert asked({"diarist_min_speakers": 2}, params={"num_speakers": 4}) == {"min_speakers": 2}
    assert asked({"diarist_num_speakers": 2}, params={"threshold": 0.5}) == {"num_speakers": 2}
    assert asked({"diarist_num_speakers": 2}, params={"channels": "split"}) == {"num_speakers": 2}
    assert asked({"diarist_threshold": 0.5}, params={"diarize": False}) == {"diarization": {"threshold": 0.5}}
    assert asked({"diarist_diarize": False}, params={"channels": "split"}) == {"diarize": False}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"data": {"diarist_num_speakers": "two"}},
            "the task's data, num_speakers: a whole number is needed, not 'two'",
        ),
        ({"data": {"diarist_num_speakers": True}}, "the task's data, num_speakers: a whole number is needed"),
        ({"data": {"diarist_num_speakers": "-1"}}, "the task's data, num_speakers: a whole number is needed"),
        ({"data": {"diarist_num_speakers": 99}}, "the task's data: num_speakers"),
        ({"data": {"diarist_threshold": "nan"}}, "the task's data: diarization.threshold"),
        ({"data": {"diarist_threshold": "much"}}, "the task's data, threshold: a number is needed"),
        ({"data": {"diarist_text_format": "docx"}}, "one of speakers, plain, srt, vtt is needed, not 'docx'"),
        ({"data": {"diarist_lang": "de"}}, "the task's data: unknown option 'lang'; known options: language"),
        ({"data": {"diarist": "de"}}, 'the task\'s data under "diarist" are no JSON'),
        ({"data": {"diarist": ["de"]}}, 'the task\'s data under "diarist" must be a JSON object'),
        ({"data": {"diarist_known_speakers": "Ann"}}, "known_speakers: a JSON array is needed"),
        ({"data": {"diarist_known_speakers": [{"name": "Ann"}]}}, "the task's data: known_speakers.0"),
        ({"data": {"diarist_hotwords": "x" * 5000}}, f"a text of at most {LONGEST_TEXT} characters"),
        ({"data": {"diarist_diarize": "maybe"}}, "diarize: true or false is needed"),
        ({"data": {"diarist_num_speakers": 2, "diarist_max_speakers": 3}}, "the task's data: num_speakers is exact"),
        ({"data": {"diarist_channels": "left"}}, "the task's data: channels"),
        ({"data": {"diarist_num_speakers": 1e999}}, "num_speakers: a whole number is needed"),
        ({"data": {"diarist_num_speakers": float("nan")}}, "num_speakers: a whole number is needed"),
        ({"data": {"diarist_num_speakers": [2]}}, "not a list"),
        ({"data": {"diarist_known_speakers": "https://example.com/a?signature=b"}}, "not a text of 33 characters"),
        ({"params": "min_speakers: 2"}, "the project's extra parameters are no JSON (line 1, column 1"),
        ({"params": {"language": "klingon"}}, "the project's extra parameters: language"),
        ({"params": {"languages": []}}, "the project's extra parameters: languages"),
        ({"params": {"model": "large"}}, "the project's extra parameters: unknown option 'model'"),
        ({"attributes": 'diarist_language="xxxx"'}, "the labeling config's diarist_ attributes: language"),
        ({"attributes": 'diarist_labels="x"'}, "the labeling config's diarist_ attributes: unknown option 'labels'"),
        ({"language": "klingon"}, "the service's settings: language"),
    ],
)
def test_a_wrong_option_says_where_it_stands(given: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequest) as error:
        options(given.pop("data", None), **given)
    assert told in str(error.value)


def test_learned_words_follow_those_that_people_set() -> None:
    hints = {"hotwords": ["Okafor", "Zyrtec"], "initial_prompt": "Dr. Okafor speaking.", "digest": "ab"}
    assert asked(hints=hints) == {"hotwords": "Okafor Zyrtec", "initial_prompt": "Dr. Okafor speaking."}
    found = asked(params={"hotwords": "Aspirin", "initial_prompt": "Hello."}, hints=hints)
    assert found == {"hotwords": "Aspirin Okafor Zyrtec", "initial_prompt": "Hello."}


def test_learned_words_leave_room_for_those_that_people_set() -> None:
    set_by_people = "x" * (LONGEST_TEXT - 8)
    found = asked(params={"hotwords": set_by_people}, hints={"hotwords": ["Zyrtec", "unfitting"]})
    assert found["hotwords"] == f"{set_by_people} Zyrtec"
    parse_request({"audio_file": "https://example.com/a.wav", **found})


def test_no_more_speakers_are_looked_for_than_there_are_labels() -> None:
    two = configs.SPEAKERS
    assert asked(config=two) == {"max_speakers": 2}
    assert asked({"diarist_num_speakers": 3}, config=two) == {"num_speakers": 3}
    assert asked({"diarist_max_speakers": 4}, config=two) == {"max_speakers": 4}
    assert asked({"diarist_min_speakers": 3}, config=two) == {"min_speakers": 3}
    assert asked({"diarist_min_speakers": 2}, config=two) == {"min_speakers": 2, "max_speakers": 2}
    assert asked({"diarist_channels": "split"}, config=two) == {"channels": "split"}
    assert asked({"diarist_diarize": "false"}, config=two) == {"diarize": False}
    assert asked(config=configs.OTHER_NAMES) == {}
    assert asked(config=configs.DYNAMIC) == {}


def test_speakers_that_nobody_sees_are_not_told_apart() -> None:
    plain = 'diarist_text_format="plain"'
    assert asked(attributes=plain, config=configs.WHOLE_TEXT) == {"diarize": False}
    assert asked(attributes=plain, config=configs.LABELS_AND_WHOLE_TEXT) == {}
    assert asked({"diarist_num_speakers": 2}, attributes=plain, config=configs.WHOLE_TEXT) == {"num_speakers": 2}
    assert asked(config=configs.WHOLE_TEXT) == {}


@pytest.mark.parametrize(
    "request_of_task",
    [
        {"num_speakers": 2, "language": "de"},
        {"diarization": {"threshold": 0.5}, "language": "de"},
        {"known_speakers": [{"name": "Ann", "audio_file": "https://example.com/a"}], "language": "de"},
    ],
)
def test_a_drawn_region_is_heard_without_telling_speakers_apart(request_of_task: dict[str, Any]) -> None:
    found = for_region(request_of_task)
    assert found == {"language": "de", "diarize": False}
    parse_request({"audio_file": "https://example.com/a.wav", **found})


def test_a_drawn_region_of_a_recording_with_a_speaker_a_channel_stays_one() -> None:
    assert for_region({"channels": "split"}) == {"channels": "split"}
