"""Speech without words, and words without speech; pure functions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from diarist.text import plain
from diarist.types import Span, Word

BREATH = 0.5  # seconds of pause between words that the segmentation may still call speech
SAME_WORD = 0.2  # seconds by which the times of a word that is heard twice may differ


def uncovered_spans(speech: Sequence[Span], words: Sequence[Word]) -> tuple[Span, ...]:
    """Detected speech further than a breath from any word, in order: speech that was probably lost.

    `speech` is in order and without overlaps.
    """
    covered = union(Span(max(0.0, word.span.start - BREATH), word.span.end + BREATH) for word in words)
    return tuple(piece for span in speech for piece in without(span, covered))


def uncovered_seconds(speech: Sequence[Span], words: Sequence[Word]) -> float:
    """Seconds of detected speech further than a breath from any word."""
    return round(sum(span.duration for span in uncovered_spans(speech, words)), 3)


def words_in_speech(words: Sequence[Word], speech: Sequence[Span]) -> tuple[Word, ...]:
    """The words that lie within a breath of detected speech; where nobody speaks, text is invented.

    Interpolated words stay: their times are guesses, so they say nothing about what was heard there.
    """
    heard = union(Span(max(0.0, span.start - BREATH), span.end + BREATH) for span in speech)
    return tuple(word for word in words if word.timing == "interpolated" or any(touching(word.span, heard)))


def with_found(words: Sequence[Word], found: Sequence[Word]) -> tuple[Word, ...]:
    """Words and those found later beside them, in order; what was there already is not taken again.

    A found word was there already where it shares most of its time with others, or lies beside its equal. The words
    of the answer may overlap a little.
    """
    taken = union(word.span for word in words)
    spans: dict[str, list[Span]] = {}
    for word in words:
        spans.setdefault(plain(word.text), []).append(word.span)

    def is_new(word: Word) -> bool:
        shared = sum(word.span.overlap(span) for span in touching(word.span, taken))
        beside = any(span.gap(word.span) < SAME_WORD for span in spans.get(plain(word.text), ()))
        return not beside and shared <= word.span.duration / 2

    return tuple(sorted([*words, *filter(is_new, found)], key=lambda word: word.span))


def touching(span: Span, others: Sequence[Span]) -> Iterator[Span]:
    """Those of other spans, in order and without overlaps, that a span meets."""
    index = max(0, bisect_left(others, span) - 1)
    while index < len(others) and others[index].start <= span.end:
        if others[index].end >= span.start:
            yield others[index]
        index += 1


def without(span: Span, others: Sequence[Span]) -> Iterator[Span]:
    """What is left of a span; the others are in order and without overlaps."""
    start = span.start
    for other in touching(span, others):
        if start < other.start:
            yield Span(start, other.start)
        start = max(start, other.end)
    if start < span.end:
        yield Span(start, span.end)


def union(spans: Iterable[Span]) -> list[Span]:
    """Spans that overlap or touch, joined, in order."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
