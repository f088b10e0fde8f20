"""Words become readable segments."""

from __future__ import annotations

from diarist.segments import LONGEST_DURATION, MAX_DURATION, group_words
from diarist.types import Span, Word

A, B = "SPEAKER_00", "SPEAKER_01"


def words(*items: tuple[str, float, float, str | None]) -> list[Word]:
    return [Word(text, Span(start, end), speaker=speaker) for text, start, end, speaker in items]


def texts(*items: tuple[str, float, float, str | None]) -> list[tuple[str | None, str]]:
    return [(segment.speaker, segment.text) for segment in group_words(words(*items), language="en")]


def test_no_words_make_no_segments() -> None:
    assert group_words([], language=None) == ()


def test_a_segment_ends_where_the_speaker_changes() -> None:
    found = texts(("How", 0, 0.2, A), ("are", 0.2, 0.4, A), ("you?", 0.4, 0.6, A), ("Fine.", 0.7, 1, B))
    assert found == [(A, "How are you?"), (B, "Fine.")]


def test_a_segment_ends_after_a_pause() -> None:
    assert texts(("Well.", 0, 0.4, A), ("Yes.", 1.5, 2, A)) == [(A, "Well."), (A, "Yes.")]


def test_a_segment_spans_its_words_and_keeps_them() -> None:
    (segment,) = group_words(words(("one", 1.0, 1.3, A), ("two", 1.2, 1.25, A)), language="en")
    assert segment.span == Span(1.0, 1.3)
    assert [word.text for word in segment.words] == ["one", "two"]


def test_a_lone_word_without_a_speaker_joins_its_neighbours_when_they_agree() -> None:
    assert texts(("so", 0, 0.2, A), ("um", 0.2, 0.3, None), ("yes", 0.3, 0.5, A)) == [(A, "so um yes")]


def test_a_lone_word_between_two_speakers_stays_unassigned() -> None:
    found = texts(("so", 0, 0.2, A), ("um", 0.2, 0.3, None), ("yes", 0.3, 0.5, B))
    assert found == [(A, "so"), (None, "um"), (B, "yes")]


def test_a_long_monologue_is_cut_at_the_ends_of_sentences() -> None:
    items = [(f"w{i}{'.' if i % 10 == 9 else ''}", i * 0.5, i * 0.5 + 0.4, A) for i in range(200)]
    segments = group_words(words(*items), language="en")
    assert len(segments) >= 3
    assert all(segment.text.endswith(".") for segment in segments)
    assert all(segment.span.duration <= MAX_DURATION + 0.5 for segment in segments)


def test_a_long_monologue_without_punctuation_is_cut_at_pauses() -> None:
    starts = [i * 0.5 + i // 10 * 0.4 for i in range(200)]  # 0.4 s of pause after every ten words
    items = [(f"w{i}", start, start + 0.5, A) for i, start in enumerate(starts)]
    segments = group_words(words(*items), language="en")
    assert len(segments) >= 3
    assert all(int(segment.words[0].text[1:]) % 10 == 0 for segment in segments)
    assert all(segment.span.duration <= MAX_DURATION + 6 for segment in segments)


def test_a_monologue_without_a_break_is_cut_all_the_same() -> None:
    segments = group_words(words(*((f"w{i}", i * 0.5, i * 0.5 + 0.5, A) for i in range(400))), language="en")
    assert [len(segment.words) for segment in segments] == [120, 120, 120, 40]
    assert all(segment.span.duration <= LONGEST_DURATION for segment in segments)


def test_languages_without_spaces_are_joined_without_them() -> None:
    (segment,) = group_words(words(("你", 0, 0.2, A), ("好", 0.2, 0.4, A)), language="zh")
    assert segment.text == "你好"
