"""Words move to the speech that they can have."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.types import Span, Timing, Word
from diarist.word_times import ATTENTION_DELAY, fit_to_speech, keep_apart

SPEECH = (Span(1, 3), Span(5, 8))


def word(start: float, end: float, timing: Timing = "interpolated") -> Word:
    return Word("word", Span(start, end), score=0.5, timing=timing)


def times(*words: Word, speech: tuple[Span, ...] = SPEECH, duration: float = 20.0) -> list[tuple[float, float]]:
    fitted = fit_to_speech(words, speech, duration)
    return [(round(word.span.start, 3), round(word.span.end, 3)) for word in fitted]


def test_attention_is_late() -> None:
    assert ATTENTION_DELAY == 0.09
    words = [word(1.89, 2.19, "attention"), word(2.19, 2.39, "attention"), word(2.39, 2.89, "attention")]
    assert times(*words) == [(1.8, 2.1), (2.1, 2.3), (2.3, 3)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([word(3.5, 5.4), word(5.4, 7.9)], [(5, 5.4), (5.4, 8)]),  # stretched over the silence before
        ([word(1, 2.5), word(2.5, 4.4)], [(1, 2.5), (2.5, 3)]),  # … and over the silence after
        ([word(1.2, 2), word(2, 2.8)], [(1, 2), (2, 3)]),  # the edges of speech are near
        ([word(5.6, 7)], [(5.6, 7)]),  # … and too far
        ([word(2.5, 5.2)], [(2.5, 3)]),  # across a pause: where most of it is; the rest is wordless
        ([word(3.5, 4.5)], [(3.5, 4.5)]),  # nobody speaks there: it stays
        ([word(1, 2.2), word(2, 2.5), word(2.4, 3)], [(1, 2), (2, 2.4), (2.4, 3)]),  # none overlaps the next
        ([word(2, 2), word(2, 2), word(2, 3)], [(2, 2.02), (2.02, 2.04), (2.04, 3)]),  # none is without length
        ([word(0.5, 1.3, "ctc"), word(1.3, 4, "ctc")], [(0.5, 1.3), (1.3, 4)]),  # exact already
        ([], []),
    ],
)
def test_words_keep_to_speech(words: list[Word], expected: list[tuple[float, float]]) -> None:
    assert times(*words) == expected


def test_without_any_speech_words_keep_their_order_inside_the_recording() -> None:
    assert times(word(4, 5), word(9.99, 10), word(9.99, 10), speech=(), duration=10) == [
        (4, 5),
        (9.96, 9.98),
        (9.98, 10),
    ]


LENGTHS = st.lists(st.floats(0, 4), max_size=8)
TIMINGS: st.SearchStrategy[Timing] = st.sampled_from(["attention", "ctc", "interpolated"])


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5), TIMINGS), max_size=12), LENGTHS, st.floats(0.1, 30))
def test_words_stay_what_they_are_inside_the_recording_one_after_the_other(
    drawn: list[tuple[float, float, Timing]], lengths: list[float], duration: float
) -> None:
    words = [
        Word(str(number), Span(start, min(start + length, max(duration, start))), timing=timing)
        for number, (start, length, timing) in enumerate(sorted((min(s, duration), n, t) for s, n, t in drawn))
    ]
    edges = [sum(lengths[:count]) for count in range(len(lengths) + 1)]
    speech = tuple(Span(start, end) for start, end in list(pairwise(edges))[::2] if end > start)
    fitted = fit_to_speech(words, speech, duration)
    assert [replace(word, span=Span(0, 0)) for word in fitted] == [replace(word, span=Span(0, 0)) for word in words]
    assert all(0 <= word.span.start <= word.span.end <= duration + 1e-9 for word in fitted)
    assert all(before.span.end <= after.span.start + 1e-9 for before, after in pairwise(fitted))
    if 0.02 * len(words) <= duration:
        assert all(word.span.duration >= 0.02 - 1e-9 for word in fitted)


def test_words_that_overlap_are_kept_apart_and_not_moved_otherwise() -> None:
    words = [word(1, 1.6), word(1.4, 2), word(3, 3.5)]
    assert [kept.span for kept in keep_apart(words, 20)] == [Span(1, 1.4), Span(1.4, 2), Span(3, 3.5)]
    attention = [replace(each, timing="attention") for each in words]
    assert [kept.span for kept in keep_apart(attention, 20)] == [Span(1, 1.4), Span(1.4, 2), Span(3, 3.5)]
    assert keep_apart([], 20) == ()
