from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diarist.errors import BadRequest
from diarist.formats import seed
from diarist.types import Segment, Span, Transcript, Turn, Word

WORD = Word("Hi", Span(0.50049, 0.9), 0.98764, "A", timing="ctc")
FULL = Transcript(
    segments=(Segment(Span(0.50049, 2.0), "Hi", "A", (WORD,)), Segment(Span(3.0, 4.0), "you")),
    language="en",
    duration=9.00009,
    turns=(Turn(Span(0.5, 2.0), "A"),),
    speakers=("A",),
    model_version="m@1",
    uncovered=0.12345,
    notes=("a note",),
    timings={"segment": 1.23456},
    embeddings={"A": (0.1, -0.2)},
)


def test_the_answer_has_every_key_with_times_in_milliseconds() -> None:
    assert seed.to_dict(FULL) == {
        "model_output": [
            {
                "start": 0.5,
                "end": 2.0,
                "text": "Hi",
                "speaker": "A",
                "words": [
                    {
                        "start": 0.5,
                        "end": 0.9,
                        "word": "Hi",
                        "speaker": "A",
                        "score": 0.9876,
                        "overlap": False,
                        "timing": "ctc",
                    }
                ],
            },
            {"start": 3.0, "end": 4.0, "text": "you", "speaker": None, "words": []},
        ],
        "language": "en",
        "duration": 9.0,
        "speakers": ["A"],
        "turns": [{"start": 0.5, "end": 2.0, "speaker": "A"}],
        "model_version": "m@1",
        "timings": {"segment": 1.235},
        "uncovered": 0.123,
        "notes": ["a note"],
        "embeddings": {"A": [0.1, -0.2]},
    }


def test_an_empty_answer_has_the_same_keys() -> None:
    empty = seed.to_dict(Transcript((), None, 0.0))
    assert empty.keys() == seed.to_dict(FULL).keys()
    assert empty["embeddings"] is None
    assert empty["language"] is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_no_number_leaves_that_json_does_not_have(bad: float) -> None:
    segment = replace(FULL.segments[0], words=(replace(WORD, score=bad),))
    broken = replace(
        FULL, segments=(segment,), uncovered=bad, duration=bad, timings={"align": bad}, embeddings={"A": (0.1, bad)}
    )
    answer = json.loads(seed.write(broken))
    assert answer["model_output"][0]["words"][0]["score"] is None
    assert [answer[key] for key in ("duration", "uncovered", "timings", "embeddings")] == [
        *(None, None, {"align": None}, {"A": None}),
    ]
    assert seed.from_dict(answer).duration == 2.0


def test_numbers_of_numpy_leave_as_json() -> None:
    word = Word("Hi", Span(np.float64(0.5), np.float64(0.9)), np.float32(0.5), "A", overlap=np.bool_(True))  # type: ignore[arg-type]
    vector = tuple(np.array([0.5, 0.25], np.float32))
    answer = json.loads(
        seed.write(replace(FULL, segments=(Segment(word.span, "Hi", "A", (word,)),), embeddings={"A": vector}))
    )
    assert answer["model_output"][0]["words"][0]["overlap"] is True
    assert answer["model_output"][0]["words"][0]["score"] == 0.5
    assert answer["embeddings"] == {"A": [0.5, 0.25]}


def test_text_is_written_as_it_is() -> None:
    assert "Zoë, 你好" in seed.write(Transcript((Segment(Span(0, 1), "Zoë, 你好"),), "zh", 1.0))


def test_the_seeds_own_four_keys_are_enough_to_be_read() -> None:
    body = {"model_output": [{"start": 0, "end": 1.5, "text": "Hi", "speaker": "A"}], "later": "unknown keys are fine"}
    assert seed.from_dict(body) == Transcript((Segment(Span(0.0, 1.5), "Hi", "A"),), None, 1.5)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("model_output"), "model_output: an array is needed"),
        (lambda a: a.update(model_output={}), "model_output: an array is needed"),
        (lambda a: a.update(model_output=["x"]), "model_output.0: an object is needed"),
        (lambda a: a["model_output"][1].pop("text"), "model_output.1.text: a string is needed"),
        (lambda a: a["model_output"][0].update(start="0"), "model_output.0.start: a number is needed"),
        (lambda a: a["model_output"][0].update(start=True), "model_output.0.start: a number is needed"),
        (lambda a: a["model_output"][0].update(start=float("nan")), "model_output.0.start: a number is needed"),
        (lambda a: a["model_output"][0].update(end=10**400), "model_output.0.end: a number is needed"),
        (lambda a: a["model_output"][0].update(end=0), "model_output.0.end: it must not lie before start"),
        (lambda a: a["model_output"][0].update(speaker=3), "model_output.0.speaker: a string is needed"),
        (lambda a: a["model_output"][0]["words"][0].pop("end"), "model_output.0.words.0.end: a number is needed"),
        (lambda a: a["model_output"][0]["words"][0].update(score="1"), "words.0.score: a number is needed"),
        (lambda a: a["model_output"][0]["words"][0].update(timing="dtw"), "words.0.timing: one of ctc, attention"),
        (lambda a: a["model_output"][0]["words"][0].update(overlap=1), "words.0.overlap: true or false"),
        (lambda a: a["turns"][0].update(speaker=None), "turns.0.speaker: a string is needed"),
        (lambda a: a.update(language=7), "language: a string is needed"),
        (lambda a: a.update(speakers="A"), "speakers: an array is needed"),
        (lambda a: a.update(speakers=[None]), "speakers.0: a string is needed"),
        (lambda a: a.update(timings=[1]), "timings: an object is needed"),
        (lambda a: a["embeddings"].update(A=["x"]), "embeddings.A.0: a number is needed"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(change: Change, message: str) -> None:
    answer = copy.deepcopy(seed.to_dict(FULL))
    change(answer)
    with pytest.raises(BadRequest) as caught:
        seed.from_dict(answer)
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "must be JSON"), ("[]", "the transcript: an object is needed")])
def test_text_that_is_no_transcript_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        seed.read(text)
