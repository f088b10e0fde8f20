"""Every word goes to whoever speaks it, and says when two speak."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.assign import NEAREST_GAP, assign_speakers
from diarist.types import Diarization, Span, Turn, Word

A, B = "SPEAKER_00", "SPEAKER_01"


def diarization(*exclusive: Turn, turns: tuple[Turn, ...] | None = None) -> Diarization:
    return Diarization(turns or exclusive, exclusive, (A, B))


def speakers(words: list[Word], *exclusive: Turn) -> list[str | None]:
    return [word.speaker for word in assign_speakers(words, diarization(*exclusive))]


def word(start: float, end: float, text: str = "yes") -> Word:
    return Word(text, Span(start, end))


def sentence(text: str, start: float, step: float = 0.3) -> list[Word]:
    """Words of equal length, without pauses."""
    return [word(start + step * i, start + step * (i + 1), piece) for i, piece in enumerate(text.split())]


def told(words: list[Word], *exclusive: Turn) -> list[str]:
    """What each speaker says until the next one: "A: so do I"."""
    lines: list[list[str]] = []
    last = ""
    for found in assign_speakers(words, diarization(*exclusive)):
        who = {A: "A", B: "B", None: "?"}[found.speaker]
        if who != last:
            lines.append([f"{who}:"])
        lines[-1].append(found.text)
        last = who
    return [" ".join(line) for line in lines]


def test_a_word_inside_a_turn_is_its_speakers() -> None:
    assert speakers([word(0.2, 0.5), word(2.1, 2.4)], Turn(Span(0, 2), A), Turn(Span(2, 4), B)) == [A, B]


def test_a_word_across_a_change_goes_to_whoever_holds_more_of_it() -> None:
    turns = Turn(Span(0, 2), A), Turn(Span(2, 4), B)
    assert speakers([word(1.4, 2.2)], *turns) == [A]
    assert speakers([word(1.9, 2.5)], *turns) == [B]


@pytest.mark.parametrize("boundary", [1.0, 1.1, 1.2, 1.3, 1.45])
def test_a_change_near_the_end_of_a_sentence_is_there(boundary: float) -> None:
    words = sentence("did you go? I did not go", 0.3)  # the question ends at 1.2 s
    turns = Turn(Span(0, boundary), A), Turn(Span(boundary, 4), B)
    assert told(words, *turns) == ["A: did you go?", "B: I did not go"]


def test_a_change_inside_a_phrase_is_where_the_diarization_has_it() -> None:
    words = sentence("so we could go there I would not do that", 0.0)
    assert told(words, Turn(Span(0, 1.5), A), Turn(Span(1.5, 4), B)) == [
        "A: so we could go there",
        "B: I would not do that",
    ]


def test_a_word_or_two_of_somebody_else_inside_a_phrase_is_folded() -> None:
    words = sentence("we could move the meeting to Thursday", 0.0)
    turns = Turn(Span(0, 0.9), A), Turn(Span(0.9, 1.5), B), Turn(Span(1.5, 3), A)
    assert told(words, *turns) == ["A: we could move the meeting to Thursday"]


def test_a_backchannel_between_sentences_is_kept() -> None:
    words = sentence("it was late. Yeah. So we went home", 0.0)
    turns = Turn(Span(0, 0.9), A), Turn(Span(0.9, 1.2), B), Turn(Span(1.2, 3), A)
    assert told(words, *turns) == ["A: it was late.", "B: Yeah.", "A: So we went home"]


def test_a_backchannel_between_pauses_is_kept_without_punctuation() -> None:
    words = [*sentence("it was late", 0.0), word(1.3, 1.6, "yeah"), *sentence("so we went home", 2.0)]
    turns = Turn(Span(0, 1), A), Turn(Span(1.2, 1.7), B), Turn(Span(1.9, 4), A)
    assert told(words, *turns) == ["A: it was late", "B: yeah", "A: so we went home"]


def test_a_whole_sentence_of_somebody_else_is_kept_without_punctuation() -> None:
    words = sentence("do you know who I can check that then what do we do", 0.0)
    turns = Turn(Span(0, 1.2), A), Turn(Span(1.2, 2.7), B), Turn(Span(2.7, 4), A)
    assert told(words, *turns) == ["A: do you know who", "B: I can check that then", "A: what do we do"]


def test_a_word_that_touches_no_turn_belongs_to_its_phrase() -> None:
    words = sentence("so that is it", 0.0)
    assert told(words, Turn(Span(0, 0.8), A), Turn(Span(1.25, 1.3), B)) == ["A: so that is it"]


SPANS = st.tuples(st.floats(0, 30), st.floats(0, 3)).map(lambda pair: Span(pair[0], pair[0] + pair[1]))
TEXTS = st.sampled_from(["yes", "No.", "well,", "2014?", "…"])


@given(st.lists(st.builds(Word, TEXTS, SPANS), max_size=12), st.lists(st.builds(Turn, SPANS, st.sampled_from([A, B]))))
def test_words_keep_text_and_time_and_speakers_are_of_the_diarization(words: list[Word], turns: list[Turn]) -> None:
    found = assign_speakers(words, diarization(*turns))
    assert [(w.text, w.span) for w in found] == [(w.text, w.span) for w in sorted(words, key=lambda w: w.span)]
    assert {w.speaker for w in found} <= {None, *(turn.speaker for turn in turns)}
    for each in found:
        near = any(turn.span.gap(each.span) <= NEAREST_GAP for turn in turns)
        assert (each.speaker is not None) == near


def test_shares_of_one_speaker_add_up() -> None:
    turns = Turn(Span(0, 1.3), A), Turn(Span(1.3, 1.7), B), Turn(Span(1.7, 3), A)
    assert speakers([word(1.0, 2.0)], *turns) == [A]


def test_a_word_after_a_long_turn_stays_with_that_turn() -> None:
    # whisperx compares with the middle of a turn and gives this word to B, 2.6 s away.
    assert speakers([word(60.2, 60.4)], Turn(Span(0, 60), A), Turn(Span(63, 63.5), B)) == [A]


@pytest.mark.parametrize(("gap", "expected"), [(1.9, A), (2.1, None)])
def test_a_word_far_from_every_turn_is_nobodys(gap: float, expected: str | None) -> None:
    assert speakers([word(10 + gap, 10.5 + gap)], Turn(Span(5, 10), A)) == [expected]


def test_a_word_without_length_is_placed_too() -> None:
    assert speakers([word(1, 1)], Turn(Span(0, 2), A)) == [A]


def test_without_turns_nobody_speaks() -> None:
    (found,) = assign_speakers([word(0, 1)], Diarization((), (), ()))
    assert (found.speaker, found.overlap) == (None, False)


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(1.0, 1.4, False), (1.6, 2.2, True), (1.9, 2.1, True), (1.2, 1.9, False)]
)
def test_overlap_says_that_two_speak_for_half_of_a_word(start: float, end: float, *, expected: bool) -> None:
    turns = (Turn(Span(0, 2.1), A), Turn(Span(1.7, 4), B))
    found = assign_speakers([word(start, end)], diarization(Turn(Span(0, 2), A), Turn(Span(2, 4), B), turns=turns))
    assert found[0].overlap is expected


def test_one_speakers_touching_turns_are_no_overlap() -> None:
    turns = (Turn(Span(0, 2), A), Turn(Span(1.5, 3), A))
    assert not assign_speakers([word(1.5, 2)], diarization(turns[0], turns=turns))[0].overlap


def test_a_day_of_words_is_joined_in_seconds() -> None:
    turns = [Turn(Span(2.0 * i, 2.0 * i + 1.9), (A, B)[i % 2]) for i in range(43_000)]
    words = [word(i * 0.4, i * 0.4 + 0.3) for i in range(100_000)]
    started = time.process_time()
    assign_speakers(words, diarization(*turns))
    assert time.process_time() - started < 20  # a quadratic join takes minutes
