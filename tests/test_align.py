# ruff: noqa: RUF001 - other scripts have their own commas

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist import audio
from diarist.align import AttentionAligner, fill, interpolated, settle, spread, units
from diarist.models import ModelStore
from diarist.request import Options
from diarist.text import join
from diarist.transcribe import FasterWhisperTranscriber
from diarist.types import Draft, Segment, Span, Waveform, Word, unobserved

TIMES = st.floats(-5, 70, allow_nan=False)
WORDS = st.lists(
    st.builds(
        lambda text, a, b: Word(text, Span(min(a, b), max(a, b))), st.text("ab c", min_size=1, max_size=3), TIMES, TIMES
    ),
    max_size=12,
)


def minute() -> Waveform:
    return Waveform(np.zeros(60 * 16_000, np.float32))


@given(WORDS)
def test_settled_words_are_inside_in_order_and_never_empty(words: list[Word]) -> None:
    settled = settle(words, 60.0)
    assert [word.text for word in settled] == [word.text.strip() for word in words if word.text.strip()]
    assert all(word.span.start >= 0 and word.span.end <= 60 for word in settled)
    assert all(word.span.duration >= 0.02 - 1e-9 for word in settled)
    starts = [word.span.start for word in settled]
    assert starts == sorted(starts)


def test_words_that_are_right_are_left_alone() -> None:
    words = (Word("a", Span(1, 2), score=0.5), Word("b", Span(2.5, 3), timing="ctc"))
    assert settle(words, 60.0) == words


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("  Well, it's $5. ", "en", ("Well,", "it's", "$5.")),
        ("你好，世界。", "zh", ("你", "好，", "世", "界。")),
        ("AIは2024年です", "ja", ("AI", "は", "2024", "年", "で", "す")),
        ("ที่นี่", "th", ("ที่", "นี่")),  # vowels and tones stay with their consonant
        ("안녕 하세요", "ko", ("안녕", "하세요")),
        ("", "en", ()),
        (" ", "zh", ()),
    ],
)
def test_text_is_cut_into_words_as_its_language_is_written(text: str, language: str, expected: tuple[str, ...]) -> None:
    assert units(text, language) == expected
    assert join(units(text, language), language).replace(" ", "") == text.replace(" ", "")


def edges(spans: Iterable[Span]) -> list[float]:
    return [time for span in spans for time in (span.start, span.end)]


def test_words_without_a_time_stand_beside_the_word_before_them() -> None:
    spans = fill(["a", "bb", "c", "d"], [Span(1, 2), None, None, Span(9, 10)], Span(0, 20))
    assert edges(spans) == pytest.approx([1, 2, 2, 2.2, 2.2, 2.3, 9, 10])


def test_words_before_the_first_timed_one_end_where_it_starts() -> None:
    spans = fill(["ab", "c", "-"], [None, Span(5, 6), None], Span(0, 20))
    assert edges(spans) == pytest.approx([4.8, 5, 5, 6, 6, 6.1])


@given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=10), st.floats(0, 9), st.floats(0, 9))
def test_spread_words_cover_their_span_without_gaps(texts: list[str], start: float, length: float) -> None:
    spans = spread(texts, Span(start, start + length))
    assert spans[0].start == pytest.approx(start)
    assert spans[-1].end == pytest.approx(start + length)
    assert all(before.end == after.start for before, after in pairwise(spans))


def test_without_a_model_wordless_segments_are_interpolated_and_others_pass_through() -> None:
    timed = Segment(Span(0, 2), "one two", words=(Word("one", Span(0.5, 0.9), 0.9), Word("two", Span(1, 1.5), 0.8)))
    wordless = Segment(Span(4, 6), "three four")
    words, notes = AttentionAligner()(minute(), Draft("en", (timed, wordless)), options=Options(), progress=unobserved)
    assert words[:2] == timed.words
    assert [(word.text, word.timing, word.score) for word in words[2:]] == [
        ("three", "interpolated", None),
        ("four", "interpolated", None),
    ]
    assert words[2].span.start == 4
    assert words[3].span.end == 6
    assert notes == ()


def test_a_translation_is_cut_into_words_of_english() -> None:
    pieces = tuple(Word(text, Span(at, at + 1)) for at, text in enumerate(["Good", "eve", "ning."]))
    segments = (Segment(Span(0, 3), "Good evening.", words=pieces), Segment(Span(4, 6), "See you."))
    draft = Draft("ja", segments)
    words, _ = AttentionAligner()(minute(), draft, options=Options(task="translate"), progress=unobserved)
    assert [word.text for word in words] == ["Good", "evening.", "See", "you."]


@pytest.fixture(scope="module")
def english(store: ModelStore) -> FasterWhisperTranscriber:
    return FasterWhisperTranscriber(
        store.folder("tiny.en"), name="tiny.en", device="cpu", compute_type="int8", threads=1, batch_size=2, beam_size=1
    )


@pytest.fixture(scope="module")
def call(sample: Path) -> Waveform:
    return audio.decode(sample / "sample.wav", max_duration_seconds=60)


def test_attention_finds_the_words_where_the_transcriber_found_them(
    english: FasterWhisperTranscriber, call: Waveform
) -> None:
    windows = (Span(6.5, 14.4), Span(14.4, 21.6), Span(21.6, 29.9))
    heard = english(call, windows, options=Options(), progress=unobserved)
    wordless = replace(heard, segments=tuple(replace(segment, words=()) for segment in heard.segments))
    reports: list[float] = []
    words, notes = AttentionAligner(english.model)(
        call, wordless, options=Options(), progress=lambda done, total: reports.append(done / total)
    )
    expected = [word for segment in heard.segments for word in segment.words]
    assert notes == ()
    assert [word.text for word in words] == [word.text for word in expected]
    off = [abs(a.span.start - b.span.start) for a, b in zip(words, expected, strict=True)]
    assert np.mean(np.array(off) < 0.1) > 0.9
    assert all(word.timing == "attention" for word in words)
    assert all(word.score is not None and 0 <= word.score <= 1 for word in words)
    assert reports[-1] == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "In 2014. it cost £13.60 - or 4,9 % - to write to me@example.org!",
        "A well-known e-mail: 3,000,000 at 12:30, #1 & co. *** 50%",
        "-- - … $5 € 1st 1 000 000",
        '(yes) "no" ? !',
        "-",
    ],
)
def test_digits_money_hyphens_and_symbols_are_words_with_times(
    english: FasterWhisperTranscriber, call: Waveform, text: str
) -> None:
    segment = Segment(Span(12.5, 17.9), text)
    words, _ = AttentionAligner(english.model)(call, Draft("en", (segment,)), options=Options(), progress=unobserved)
    assert [word.text for word in words] == text.split()
    assert all(word.timing == "attention" and word.score is not None for word in words)
    assert all(12.5 <= word.span.start < word.span.end <= 17.91 for word in words)


def test_text_longer_than_the_decoder_is_interpolated(english: FasterWhisperTranscriber, call: Waveform) -> None:
    endless = Segment(Span(7, 20), "and then " * 300)
    words, _ = AttentionAligner(english.model)(call, Draft("en", (endless,)), options=Options(), progress=unobserved)
    assert len(words) == 600
    assert {word.timing for word in words} == {"interpolated"}


def test_without_alignment_wanted_the_model_is_not_run_again(call: Waveform) -> None:
    class Untouchable:
        """A model that must not be used."""

    segment = Segment(Span(7, 9), "hello there")
    words, _ = AttentionAligner(Untouchable())(
        call, Draft("en", (segment,)), options=Options(align=False), progress=unobserved
    )
    assert words == interpolated(segment, "en")
