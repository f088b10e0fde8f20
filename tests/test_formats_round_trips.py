"""What is written is read back: all that the format can carry, whatever the text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diarist.formats import rttm, seed, seglst, srt, stm, tsv, vtt
from diarist.text import flat
from diarist.types import Segment, Span, Timing, Transcript, Turn, Word

CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"])
TEXTS = st.one_of(
    st.sampled_from(
        ["[A]: x", "[?]: x", "[A]:", "-->", "1", "NOTE x", "<v A>x</v>", "a&lt;b", "; x", "<o,f0>", "WEBVTT"]
    ),
    st.text(CHARACTERS, min_size=1, max_size=30).map(flat).filter(bool),
)
LABELS = st.one_of(
    st.sampled_from(["SPEAKER_00", "Ann", "Dr. O'Neil <3 & Co", "李雷", "[x]"]),
    st.text(CHARACTERS, min_size=1, max_size=10).map(flat).filter(bool),
)
FIELDS = LABELS.map(lambda label: label.replace(" ", "_")).filter(lambda label: label != "<NA>")
MILLISECONDS = st.integers(0, 40_000_000)
Reader = Callable[[str], tuple[Segment, ...]]


def spans(durations: st.SearchStrategy[int]) -> st.SearchStrategy[Span]:
    return st.builds(lambda start, length: Span(start / 1000, (start + length) / 1000), MILLISECONDS, durations)


ANY_LENGTH = st.integers(0, 90_000)
CUE_LENGTH = st.integers(834, 7000)


def segments(
    speakers: st.SearchStrategy[str], durations: st.SearchStrategy[int]
) -> st.SearchStrategy[tuple[Segment, ...]]:
    one = st.builds(Segment, spans(durations), TEXTS, st.none() | speakers)
    return st.lists(one, max_size=6).map(lambda found: tuple(sorted(found, key=lambda segment: segment.span)))


SRT_LABELS = LABELS.filter(lambda label: label != "?" and "]: " not in label)


@given(segments(SRT_LABELS, CUE_LENGTH))
@example((Segment(Span(1.223, 8.223), "[A]: x"),))  # a little more than 7 s, as floats have it
def test_srt_carries_times_text_and_speakers_of_segments_that_fit_a_cue(written: tuple[Segment, ...]) -> None:
    assert srt.read(srt.write(Transcript(written, "en", 50_000.0))) == written


@given(segments(LABELS, CUE_LENGTH))
def test_vtt_carries_times_text_and_speakers_of_segments_that_fit_a_cue(written: tuple[Segment, ...]) -> None:
    assert vtt.read(vtt.write(Transcript(written, "en", 50_000.0))) == written


@given(segments(LABELS, ANY_LENGTH))
def test_tsv_carries_times_text_and_speakers(written: tuple[Segment, ...]) -> None:
    assert tsv.read(tsv.write(Transcript(written, "en", 50_000.0))) == written


@given(segments(LABELS.filter(lambda label: label != "<NA>"), ANY_LENGTH))
def test_seglst_carries_times_text_and_speakers(written: tuple[Segment, ...]) -> None:
    assert seglst.read(seglst.write(written, file_id="a b")) == ({"a b": written} if written else {})


@given(segments(FIELDS, ANY_LENGTH))
def test_stm_carries_times_text_and_speakers(written: tuple[Segment, ...]) -> None:
    written = tuple(segment for segment in written if not segment.text.startswith("<o,f0>"))
    assert stm.read(stm.write(written, file_id="a")) == ({"a": written} if written else {})


@given(st.lists(st.builds(Turn, spans(ANY_LENGTH), FIELDS), max_size=6).map(tuple))
def test_rttm_carries_turns(written: tuple[Turn, ...]) -> None:
    assert rttm.read(rttm.write(written, file_id="a")) == ({"a": written} if written else {})


@pytest.mark.parametrize(("write", "read"), [(srt.write, srt.read), (vtt.write, vtt.read)])
@given(found=segments(SRT_LABELS, ANY_LENGTH))
def test_subtitles_that_are_read_and_written_again_are_the_same(
    write: Callable[[Transcript], str], read: Reader, found: tuple[Segment, ...]
) -> None:
    once = write(Transcript(found, "en", 50_000.0))
    assert write(Transcript(read(once), "en", 50_000.0)) == once


TIMINGS: tuple[Timing, ...] = ("ctc", "attention", "interpolated")
SCORES = st.none() | st.integers(0, 10_000).map(lambda score: score / 10_000)
WORDS = st.builds(
    Word,
    *(TEXTS, spans(st.integers(0, 900)), SCORES, st.none() | LABELS, st.booleans()),
    st.sampled_from(TIMINGS),
)
TRANSCRIPTS = st.builds(
    Transcript,
    segments=st.lists(
        st.builds(
            Segment, spans(st.integers(0, 9000)), st.text(), st.none() | LABELS, st.lists(WORDS, max_size=3).map(tuple)
        ),
        max_size=3,
    ).map(tuple),
    language=st.none() | st.sampled_from(["en", "yue"]),
    duration=MILLISECONDS.map(lambda ms: ms / 1000),
    turns=st.lists(st.builds(Turn, spans(ANY_LENGTH), LABELS), max_size=3).map(tuple),
    speakers=st.lists(LABELS, max_size=3).map(tuple),
    model_version=st.text(max_size=9),
    uncovered=MILLISECONDS.map(lambda ms: ms / 1000),
    notes=st.lists(st.text(max_size=9), max_size=2).map(tuple),
    timings=st.dictionaries(st.text(max_size=9), MILLISECONDS.map(lambda ms: ms / 1000), max_size=3),
    embeddings=st.none()
    | st.dictionaries(LABELS, st.lists(st.floats(-1, 1, width=32), max_size=3).map(tuple), max_size=2),
)


@given(TRANSCRIPTS)
def test_json_carries_everything(transcript: Transcript) -> None:
    assert seed.read(seed.write(transcript)) == transcript
