"""A request is checked key by key, and what is wrong is said without repeating what was sent."""

from __future__ import annotations

from typing import Any

import pytest

from diarist.errors import BadRequest
from diarist.request import Gates, Options, TranscriptionRequest, parse_request

EARLIER = {"model_output": [{"start": 0, "end": 1, "text": "Hi", "words": [{"start": 0, "end": 1, "word": "Hi"}]}]}
ANN = {"name": "Ann", "embedding": [0.5, -1]}
URL = "https://files.example/call.mp3?signature=s3cr3t"


def parsed(**keys: Any) -> TranscriptionRequest:  # noqa: ANN401 - whatever JSON held
    return parse_request({"audio_file": URL, **keys})


def refusal(body: object) -> str:
    with pytest.raises(BadRequest) as caught:
        parse_request(body)
    assert caught.value.status == 400
    return str(caught.value)


def test_a_url_is_all_that_is_needed() -> None:
    request = parsed()
    assert request.options() == Options()
    assert (request.output, request.stream, request.label_studio) == ("json", False, None)


def test_every_option_reaches_the_pipeline() -> None:
    options = parsed(
        language="DE",
        task="translate",
        num_speakers=2,
        diarize=True,
        align=False,
        initial_prompt="Style.",
        hotwords="Truss",
        return_embeddings=True,
    ).options()
    assert options == Options(
        language="de",
        task="translate",
        num_speakers=2,
        align=False,
        initial_prompt="Style.",
        hotwords="Truss",
        return_embeddings=True,
    )
    bounds = parsed(min_speakers=2, max_speakers=3, diarize=True).options()
    assert (bounds.min_speakers, bounds.max_speakers) == (2, 3)
    assert parsed(diarize=False).options().diarize is False
    assert parsed(languages=["en", "DE"]).options().languages == ("en", "de")
    assert parsed(channels="split").options().channels == "split"
    assert parsed(diarization={"threshold": 0.4}).options().threshold == 0.4
    assert parsed(diarization={"threshold": 1}, min_speakers=2).options().threshold == 1.0


def test_the_gates_are_our_own_unless_they_are_given() -> None:
    assert parsed().options().gates == parsed(transcription={}).options().gates == Gates(0.5, -0.5, 2.4)
    found = parsed(transcription={"no_speech_threshold": 0.6, "log_prob_threshold": -1, "retry_uncovered": False})
    assert found.options().gates == Gates(0.6, -1.0, 2.4)
    assert parsed().options().retry_uncovered
    assert not found.options().retry_uncovered


def test_an_earlier_answer_is_read() -> None:
    transcript = parsed(transcript=EARLIER).transcript
    assert transcript is not None
    assert [word.text for word in transcript.words] == ["Hi"]
    assert parsed(transcript=None).transcript is None


@pytest.mark.parametrize(
    ("body", "kind"), [([], "an array"), ("x", "a string"), (None, "null"), (3, "a number"), (True, "a boolean")]
)
def test_what_is_no_object_is_refused_by_its_kind(body: object, kind: str) -> None:
    assert refusal(body) == f"the request must be a JSON object, not {kind}"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"audio_file": None}, "exactly one of audio_file (URL) and audio_b64 is needed, neither was given"),
        ({"audio_b64": "AAAA"}, "exactly one of audio_file (URL) and audio_b64 is needed, both were given"),
        ({"audio_file": ""}, "audio_file: String should have at least 1 character"),
        ({"audio_file": 7}, "audio_file: Input should be a valid string"),
        ({"audio_file": None, "audio_b64": ["AAAA"]}, "audio_b64: Input should be a valid string"),
        ({"speakers": 2}, "unknown key 'speakers'; known keys: audio_file, audio_b64, language"),
        (
            {"language": "english"},
            "language: Whisper's code is needed, two or three letters as in en, de or yue",
        ),
        ({"language": 3}, "language: Input should be a valid string"),
        ({"languages": "en"}, "languages: Input should be a valid array"),
        ({"languages": []}, "languages: Array should have at least 1 item"),
        ({"languages": ["en"] * 11}, "languages: Array should have at most 10 items"),
        ({"languages": ["en", "german"]}, "languages.1: Whisper's code is needed"),
        ({"languages": ["en"], "language": "en"}, "leave out one of the two"),
        ({"task": "summarize"}, "task: Input should be 'transcribe' or 'translate'"),
        ({"num_speakers": 0}, "num_speakers: Input should be greater than or equal to 1"),
        ({"num_speakers": 51}, "num_speakers: Input should be less than or equal to 50"),
        ({"num_speakers": "2"}, "num_speakers: Input should be a valid integer"),
        ({"num_speakers": 2.0}, "num_speakers: Input should be a valid integer"),
        ({"num_speakers": True}, "num_speakers: Input should be a valid integer"),
        ({"num_speakers": 2, "max_speakers": 3}, "num_speakers is exact: leave out min_speakers and max_speakers"),
        ({"min_speakers": 4, "max_speakers": 3}, "min_speakers (4) is greater than max_speakers (3)"),
        ({"diarize": "yes"}, "diarize: Input should be a valid boolean"),
        ({"align": 1}, "align: Input should be a valid boolean"),
        ({"initial_prompt": "x" * 4001}, "initial_prompt: String should have at most 4000 characters"),
        ({"hotwords": ["a"]}, "hotwords: Input should be a valid string"),
        ({"return_embeddings": None}, "return_embeddings: Input should be a valid boolean"),
        ({"output": "docx"}, "output: Input should be 'json', 'srt', 'vtt', 'txt', 'tsv', 'rttm'"),
        ({"channels": "stereo"}, "channels: Input should be 'mix' or 'split'"),
        (
            {"channels": "split", "num_speakers": 2, "diarize": False},
            "channels split takes each channel for one speaker: leave out num_speakers, diarize",
        ),
        ({"channels": "split", "max_speakers": 2}, "leave out max_speakers"),
        ({"channels": "split", "return_embeddings": True}, "leave out return_embeddings"),
        ({"transcript": "text"}, "transcript: the transcript: an object is needed"),
        ({"transcript": {}}, "transcript: model_output: an array is needed"),
        (
            {"transcript": {"model_output": [{"start": 0, "end": 1, "text": "Hi", "words": []}]}},
            "transcript: model_output.0.words: words with times are needed",
        ),
        (
            {"transcript": EARLIER, "language": "en", "languages": None, "task": "translate", "align": False},
            "transcript keeps its words and gets new speakers: leave out language, task, align",
        ),
        ({"transcript": EARLIER, "diarize": False}, "leave out diarize"),
        ({"transcript": EARLIER, "channels": "split"}, "leave out transcript"),
        ({"diarization": {"cut": 0.4}}, "unknown key 'diarization.cut'; known keys: threshold"),
        ({"diarization": {"threshold": 0}}, "diarization.threshold: Input should be greater than or equal to 0.1"),
        ({"diarization": {"threshold": 1.5}}, "diarization.threshold: Input should be less than or equal to 1"),
        ({"diarization": {"threshold": "0.5"}}, "diarization.threshold: Input should be a valid number"),
        (
            {"diarization": {"threshold": 0.5}, "diarize": False},
            "diarize: false tells no speakers apart: leave out diarization",
        ),
        ({"diarization": {"threshold": 0.5}, "num_speakers": 2}, "so a threshold changes nothing"),
        ({"diarization": {}, "channels": "split"}, "leave out diarization"),
        ({"transcription": {"vad": 1}}, "unknown key 'transcription.vad'; known keys: no_speech_threshold, log_prob"),
        ({"transcription": {"no_speech_threshold": 1.1}}, "Input should be less than or equal to 1"),
        ({"transcription": {"log_prob_threshold": 0.5}}, "Input should be less than or equal to 0"),
        ({"transcription": {"compression_ratio_threshold": 0}}, "Input should be greater than or equal to 1"),
        ({"transcription": {"retry_uncovered": "no"}}, "retry_uncovered: Input should be a valid boolean"),
        ({"transcription": {}, "transcript": EARLIER}, "leave out transcription"),
        ({"known_speakers": []}, "known_speakers: Array should have at least 1 item"),
        ({"known_speakers": [ANN] * 21}, "known_speakers: Array should have at most 20 items"),
        ({"known_speakers": [ANN, ANN]}, "known_speakers: two have the same name"),
        ({"known_speakers": [{"embedding": [1.0]}]}, "known_speakers.0.name: Field required"),
        ({"known_speakers": [ANN | {"label": "x"}]}, "unknown key 'known_speakers.0.label'; known keys: name, audio"),
        ({"known_speakers": [ANN | {"name": "Ann Smith"}]}, "known_speakers.0.name: white space"),
        ({"known_speakers": [ANN | {"name": "<NA>"}]}, "cannot stand in RTTM and STM: write Ann_Smith"),
        ({"known_speakers": [ANN | {"name": "SPEAKER_01"}]}, "is what unknown speakers are called"),
        ({"known_speakers": [ANN | {"name": ""}]}, "known_speakers.0.name: String should have at least 1 character"),
        ({"known_speakers": [{"name": "Ann"}]}, "known_speakers.0: exactly one of audio_file (URL), audio_b64 and"),
        ({"known_speakers": [ANN | {"audio_b64": "AAAA"}]}, "embedding is needed, 2 were given"),
        ({"known_speakers": [ANN | {"embedding": [0, 0.0]}]}, "the embedding is all zeros"),
        ({"known_speakers": [ANN | {"embedding": ["1"]}]}, "embedding.0: Input should be a valid number"),
        ({"known_speakers": [ANN | {"embedding": [float("nan")]}]}, "embedding.0: Input should be a finite number"),
        (
            {"known_speakers": [ANN], "diarize": False},
            "diarize: false tells no speakers apart: leave out known_speakers",
        ),
        ({"known_speakers": [ANN], "channels": "split"}, "leave out known_speakers"),
        (
            {"known_speakers": [{"name": "Ann", "embedding": []}]},
            "embedding: Array should have at least",
        ),
        ({"result_url": 1}, "result_url: Input should be a valid string"),
        ({"label_studio": {}}, 'label_studio belongs to output "label_studio", not to "json"'),
        ({"label_studio": {"lables": ["A"]}}, "unknown key 'label_studio.lables'; known keys: labels_name, text_name"),
        ({"transcription": 3}, "transcription: it must be an object with some of the keys no_speech_threshold"),
        ({"num_speakers": 2, "diarize": False}, "diarize: false tells no speakers apart: leave out num_speakers"),
        ({"stream": "true"}, "stream: Input should be a valid boolean"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_with_what_is_allowed(keys: dict[str, Any], message: str) -> None:
    assert message in refusal({"audio_file": URL, **keys})


def test_everything_wrong_is_named_at_once() -> None:
    message = refusal({"audio_file": URL, "speakers": 2, "task": "x", "align": "no"})
    assert all(key in message for key in ("'speakers'", "task:", "align:"))


@pytest.mark.parametrize(
    "key",
    [name for name in TranscriptionRequest.model_fields if name not in {"audio_file", "audio_b64"}],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"name": value}])
def test_no_message_repeats_what_was_sent(key: str, wrap: Any) -> None:  # noqa: ANN401
    value = "https://files.example/?signature=s3cr3t\n" + "x" * 9000
    assert "s3cr3t" not in refusal({"audio_file": URL, key: wrap(value)})


def test_a_recording_does_not_show_in_the_requests_own_text() -> None:
    assert "QUJD" not in repr(parse_request({"audio_b64": "QUJD"}))


@pytest.mark.parametrize(
    "extra",
    [
        {"label_studio": {"labels": ["\ud800"]}, "output": "label_studio"},
        {"transcript": {"model_output": [{"start": 0, "end": 1, "text": "hi\ud800", "speaker": None}]}},
        {"initial_prompt": "\ud800"},
        {"\ud800": 1},
    ],
)
def test_half_a_surrogate_pair_is_refused_at_the_door(extra: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="valid Unicode") as refused:
        parse_request({"audio_file": "https://example.com/a.wav", **extra})
    str(refused.value).encode()


@pytest.mark.parametrize(
    "target",
    [
        {"labels": []},
        {"labels_name": None, "text_name": None},
        {"labels": ["A", "B"], "fallback_label": "C"},
        {"labels": ["A", "B"], "speaker_labels": {"SPEAKER_00": "C"}},
    ],
)
def test_a_label_studio_target_that_can_write_nothing_is_refused_at_the_door(target: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="label_studio"):
        parse_request({"audio_file": "https://example.com/a.wav", "output": "label_studio", "label_studio": target})


def test_a_message_repeats_no_more_than_the_start_of_an_unknown_key() -> None:
    with pytest.raises(BadRequest) as refused:
        parse_request({"audio_file": "https://example.com/a.wav", "x" * 10_000: 1})
    assert len(str(refused.value)) < 1000


def test_a_wrong_element_is_not_told_as_a_missing_one() -> None:
    told = refusal({"audio_file": URL, "known_speakers": [{"name": "Ada"}]})
    assert told.startswith("known_speakers.0: exactly one of")
    assert "at least 1 item" not in told


def test_many_problems_of_one_kind_are_told_in_a_few_lines() -> None:
    told = refusal({"audio_file": URL, "known_speakers": [{"name": "Ada", "embedding": ["x"] * 192}]})
    assert told.endswith("and 184 more problems like these")
