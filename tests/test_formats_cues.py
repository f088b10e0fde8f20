from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.formats import clock as clocks
from diarist.formats import srt
from diarist.formats.cues import CUE_SECONDS, LINE_COLUMNS, Cue, cues
from diarist.text import flat
from diarist.types import Segment, Span, Transcript, Word

ENGLISH = (
    "So the first question that we have to answer today is whether the new building will be ready in time, because if "
    "it is not, then we need another place. I have asked three people about that, and nobody knows."
)
CHINESE = (
    "今天我们要讨论的第一个问题是新大楼能不能按时完工。"
    "如果不能、我们就需要另外找一个地方。我已经问了三个人、没有人知道。"
)


def timed(words: list[str], text: str, *, step: float = 0.35, language: str = "en") -> Transcript:
    spans = [Span(round(i * step, 3), round(i * step + 0.8 * step, 3)) for i in range(len(words))]
    segment = Segment(Span(0.0, spans[-1].end), text, "A", tuple(Word(w, s) for w, s in zip(words, spans, strict=True)))
    return Transcript((segment,), language, spans[-1].end)


def columns(line: str) -> int:
    """Columns on a screen, counted apart from the code under test."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in line)
    return len([char for char in line if unicodedata.category(char) not in {"Mn", "Me", "Cf"}]) + wide


def lines_of(written: tuple[Cue, ...]) -> Iterator[str]:
    for cue in written:
        yield from cue.lines


@pytest.mark.parametrize(
    "transcript",
    [
        timed(ENGLISH.split(), ENGLISH),
        timed(list(CHINESE), CHINESE, language="zh", step=0.2),
        Transcript((Segment(Span(3, 27), ENGLISH),), "en", 30.0),
        Transcript((Segment(Span(3, 27), CHINESE),), "zh", 30.0),
        timed(ENGLISH.split(), ENGLISH, step=2.5),
    ],
    ids=["English", "Chinese", "English without word times", "Chinese without word times", "spoken slowly"],
)
def test_a_long_segment_is_cut_into_cues_that_fit_the_screen(transcript: Transcript) -> None:
    written = cues(transcript)
    assert len(written) > 1
    assert all(len(cue.lines) <= 2 for cue in written)
    assert max(map(columns, lines_of(written))) <= LINE_COLUMNS
    assert max(cue.span.duration for cue in written) <= CUE_SECONDS
    join = "" if transcript.language == "zh" else " "
    assert join.join(lines_of(written)) == transcript.segments[0].text


def test_a_cue_ends_with_a_sentence_where_it_can() -> None:
    text = "That was the plan that we had made. But then it rained for nine days and all of the roads were closed."
    assert [" ".join(cue.lines) for cue in cues(timed(text.split(), text))] == [
        "That was the plan that we had made.",
        "But then it rained for nine days and all of the roads were closed.",
    ]


def test_a_cue_ends_at_a_pause_where_no_sentence_does() -> None:
    words = [f"word{i}" for i in range(18)]
    spans = [Span(0.3 * i + (1.0 if i >= 8 else 0.0), 0.3 * i + 0.25 + (1.0 if i >= 8 else 0.0)) for i in range(18)]
    segment = Segment(
        Span(0, spans[-1].end), " ".join(words), None, tuple(Word(w, s) for w, s in zip(words, spans, strict=True))
    )
    first, second = cues(Transcript((segment,), "en", 10.0))
    assert first.span.end == 2.35
    assert second.span.start == 3.4
    assert second.lines[0].startswith("word8")


def test_lines_are_even() -> None:
    text = "one two three four five six seven eight nine ten"  # 48 columns
    (cue,) = cues(timed(text.split(), text, step=0.2))
    assert cue.lines == ("one two three four five", "six seven eight nine ten")


def test_a_line_ends_with_a_sentence_where_it_can() -> None:
    text = "It was late in the day. Then the lights all went out."
    (cue,) = cues(timed(text.split(), text))
    assert cue.lines == ("It was late in the day.", "Then the lights all went out.")


def test_a_word_longer_than_a_line_stays_whole() -> None:
    word = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk"
    text = f"the {word} closed"
    assert [cue.lines for cue in cues(timed(text.split(), text))] == [("the",), (word,), ("closed",)]


def test_the_text_keeps_the_spacing_that_its_words_do_not_know() -> None:
    transcript = timed(["用", "Python", "写"], "用 Python 写", language="zh")
    assert cues(transcript)[0].lines == ("用 Python 写",)


def test_edited_text_replaces_the_words_it_no_longer_matches() -> None:
    edited = timed(["helo", "there"], "Hello there, you two.")
    assert cues(edited)[0].lines == ("Hello there, you two.",)


def test_combining_marks_are_not_parted_from_what_they_mark() -> None:
    thai = "ที่นี่" * 30
    written = cues(Transcript((Segment(Span(0, 12), thai),), "th", 12.0))
    assert "".join(lines_of(written)) == thai
    assert not any(unicodedata.category(line[0]) == "Mn" for line in lines_of(written))


def test_a_short_cue_is_held_until_it_can_be_read_but_not_into_the_next() -> None:
    segments = (Segment(Span(1, 1.2), "Yes."), Segment(Span(1.5, 1.6), "No."), Segment(Span(9.8, 9.9), "Hm."))
    assert [cue.span for cue in cues(Transcript(segments, "en", 10.0))] == [
        *(Span(1, 1.5), Span(1.5, 2.333), Span(9.8, 10.0)),
    ]


def test_a_cue_is_never_empty_in_time() -> None:
    segments = (Segment(Span(2, 2), "Yes."), Segment(Span(2, 3), "No."))
    assert [cue.span.duration > 0 for cue in cues(Transcript(segments, "en", 3.0))] == [True, True]


def test_cues_come_in_the_order_of_time_and_say_where_the_speaker_changes() -> None:
    words = ENGLISH.split()
    long = timed(words, ENGLISH).segments[0]
    interjection = Segment(Span(5.0, 5.9), "Mhm.", "B")
    written = cues(Transcript((long, interjection), "en", 60.0))
    assert [cue.span.start for cue in written] == sorted(cue.span.start for cue in written)
    assert [(cue.speaker, cue.changed) for cue in written] == [
        *(("A", True), ("B", True), ("A", True), ("A", False)),
    ]


def test_a_prefix_leaves_the_line_within_its_columns() -> None:
    text = srt.write(timed(ENGLISH.split(), ENGLISH))
    assert "[A]: " in text
    assert max(len(line) for line in text.splitlines()) <= LINE_COLUMNS


@given(
    st.lists(st.text(st.sampled_from("ab你.,é\u0301"), min_size=1, max_size=12), min_size=1, max_size=60),
    st.floats(0.05, 3.0),
    st.sampled_from(["en", "zh"]),
)
def test_no_text_is_lost_and_every_cut_cue_fits(words: list[str], step: float, language: str) -> None:
    text = (" " if language == "en" else "").join(words)
    written = cues(timed(words, text, step=step, language=language))
    assert "".join(lines_of(written)).replace(" ", "") == flat(text).replace(" ", "")
    for cue in written:
        pieces = sum(len(line.split()) if language == "en" else len(line) for line in cue.lines)
        assert len(cue.lines) <= 2
        assert pieces == 1 or max(map(columns, cue.lines)) <= LINE_COLUMNS


@given(st.integers(0, 400 * 3_600_000))
def test_every_millisecond_is_written_and_read_back_exactly(ms: int) -> None:
    written = clocks.clock(ms / 1000, ",")
    h, m, s, rest = int(written[:-10]), int(written[-9:-7]), int(written[-6:-4]), int(written[-3:])
    assert ((h * 60 + m) * 60 + s) * 1000 + rest == ms
    assert clocks.seconds(written) == ms / 1000


@pytest.mark.parametrize("text", ["", "1:2:3,4", "00:00:61,000", "00:61:00,000", "-1:00:00,000", "12,5"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        clocks.seconds(text)
