"""Speech that no word covers is found, and so are words where nobody speaks."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.coverage import BREATH, uncovered_seconds, uncovered_spans, with_found, words_in_speech
from diarist.types import Span, Word


def word(start: float, end: float) -> Word:
    return Word("yes", Span(start, end))


def test_speech_that_no_word_covers_is_counted() -> None:
    speech = [Span(0, 4), Span(10, 13)]
    assert uncovered_seconds(speech, [word(0.2, 3.8)]) == 3.0
    assert uncovered_seconds(speech, [word(0.2, 3.8), word(10, 13)]) == 0.0
    assert uncovered_seconds([], []) == 0.0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [(1, 5), (8, 20)]),
        ([(1, 5), (8, 20)], []),
        ([(2, 3)], [(1, 1.5), (3.5, 5), (8, 20)]),
        ([(1, 5), (8, 10), (13, 20)], [(10.5, 12.5)]),
        ([(13, 20), (9, 9.2), (0, 10)], [(10.5, 12.5)]),
        ([(30, 31)], [(1, 5), (8, 20)]),
    ],
)
def test_what_is_lost_has_a_place(words: list[tuple[float, float]], expected: list[tuple[float, float]]) -> None:
    found = uncovered_spans([Span(1, 5), Span(8, 20)], [word(*times) for times in words])
    assert [(span.start, span.end) for span in found] == expected


tenths = st.integers(0, 300).map(lambda value: value / 10)
spans = st.lists(tenths, max_size=12, unique=True).map(
    lambda times: [Span(*pair) for pair in zip(*[iter(sorted(times))] * 2, strict=False)]
)


@given(spans, spans)
def test_a_moment_of_speech_is_lost_where_no_word_is_near(speech: list[Span], words: list[Span]) -> None:
    lost = uncovered_spans(speech, [Word("yes", span) for span in words])
    for tick in range(300):
        moment = Span(tick / 10 + 0.05, tick / 10 + 0.05)
        spoken = any(span.gap(moment) == 0 for span in speech)
        said = any(span.gap(moment) <= BREATH for span in words)
        assert any(span.gap(moment) == 0 for span in lost) == (spoken and not said)


@given(spans, spans)
def test_a_word_counts_where_speech_is_near(speech: list[Span], words: list[Span]) -> None:
    said = [Word("yes", span) for span in words]
    near = [word for word in said if any(word.span.gap(span) <= BREATH + 1e-9 for span in speech)]
    assert list(words_in_speech(said, speech)) == near


def test_a_word_without_a_time_of_its_own_is_kept() -> None:
    guessed, timed = (Word("yes", Span(20, 20.2), timing=timing) for timing in ("interpolated", "attention"))
    assert words_in_speech([guessed, timed], [Span(0, 1)]) == (guessed,)


def test_words_found_later_take_their_place() -> None:
    words = [Word("Ask", Span(0, 0.3)), Word("not", Span(0.3, 0.6)), Word("do.", Span(3, 3.3))]
    found = [
        Word("Not,", Span(0.5, 0.8)),  # heard already
        Word("what", Span(1, 1.2)),
        Word("you", Span(1.2, 1.4)),
        Word("not", Span(2, 2.2)),  # another one
        Word("Do", Span(2.7, 2.9)),
    ]
    assert [word.text for word in with_found(words, found)] == ["Ask", "not", "what", "you", "not", "do."]
    assert with_found((), found) == tuple(found)


def test_a_word_found_where_another_stands_is_left_out() -> None:
    words = [Word("recognize", Span(1, 1.6)), Word("speech", Span(1.6, 2))]
    found = [
        Word("wreck", Span(0.8, 1.2)),  # half of it is new
        Word("a", Span(1.2, 1.3)),
        Word("nice", Span(1.4, 1.8)),  # half in one word and half in the next
        Word("beach", Span(1.9, 2.2)),
    ]
    assert [word.text for word in with_found(words, found)] == ["wreck", "recognize", "speech", "beach"]


def test_a_word_that_is_said_again_soon_is_kept() -> None:
    found = [Word("No,", Span(1.15, 1.3)), Word("no,", Span(1.5, 1.8)), Word("no.", Span(1.9, 2.2))]
    kept = with_found([Word("No", Span(0.8, 1))], found)
    assert [word.text for word in kept] == ["No", "no,", "no."]


def test_hours_of_words_are_compared_in_a_moment() -> None:
    speech = [Span(2.0 * i, 2.0 * i + 1.9) for i in range(8_600)]
    words = [word(i * 0.4, i * 0.4 + 0.3) for i in range(20_000)]
    started = time.process_time()
    uncovered_seconds(speech, words)
    words_in_speech(words, speech)
    assert time.process_time() - started < 5  # a quadratic join takes half a minute
