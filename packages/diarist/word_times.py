"""Word times x detected speech -> better word times; pure functions.

Whisper's attention follows the sound a little late, stretches the first word of a phrase over the silence before it and
the last one over the silence after it, and now and then lets two words overlap. `docs/adr/0011` has the figures.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diarist.align import MIN_WORD_SECONDS
from diarist.types import Span, Word

ATTENTION_DELAY = 0.09  # seconds by which the attention of tiny.en follows the sound, on four kinds of recordings
REACH = 0.5  # seconds of wordless speech that the first or last word of a phrase is stretched over


def fit_to_speech(words: Sequence[Word], speech: Sequence[Span], duration: float) -> tuple[Word, ...]:
    """Move words to the speech that they can have; none overlaps the next one.

    A word that reaches into silence keeps the stretch of speech that it shares most with; one that meets no speech
    stays. Words timed by CTC are exact already, so they are only kept apart.

    Args:
        words: in order of start, inside the recording.
        speech: where anyone speaks, in order, without overlaps.
        duration: of the recording, seconds.

    Returns:
        The same words in the same order, each at least 20 ms long where the recording has room for that.
    """
    spans = [_earlier(word) for word in words]
    homes = [None if word.timing == "ctc" else _home(span, speech) for word, span in zip(words, spans, strict=True)]
    inside = [span if home is None else _cut(span, home) for span, home in zip(spans, homes, strict=True)]
    return _apart(words, _stretched(inside, homes), duration)


def keep_apart(words: Sequence[Word], duration: float) -> tuple[Word, ...]:
    """Words in order of start, where they overlap cut so that none does; they are not moved otherwise."""
    return _apart(words, [word.span for word in words], duration)


def _earlier(word: Word) -> Span:
    delay = ATTENTION_DELAY if word.timing == "attention" else 0.0
    return Span(max(0.0, word.span.start - delay), max(0.0, word.span.end - delay))


def _home(span: Span, speech: Sequence[Span]) -> Span | None:
    """The stretch of speech that holds most of a span, if any holds a word's shortest length of it."""
    first = bisect_right(speech, span.start, key=lambda stretch: stretch.end)
    last = bisect_right(speech, span.end, key=lambda stretch: stretch.start)
    home = max(speech[first:last], key=span.overlap, default=None)
    return home if home is not None and span.overlap(home) >= MIN_WORD_SECONDS else None


def _cut(span: Span, home: Span) -> Span:
    return Span(max(span.start, home.start), min(span.end, home.end))


def _stretched(spans: Sequence[Span], homes: Sequence[Span | None]) -> list[Span]:
    """Let the first and the last word in a stretch of speech reach its edges, where those are near."""
    found: list[Span] = []
    for index, (span, home) in enumerate(zip(spans, homes, strict=True)):
        start, end = span.start, span.end
        if home is not None and start - home.start <= REACH and (index == 0 or spans[index - 1].end <= home.start):
            start = home.start
        alone_after = home is not None and (index + 1 == len(spans) or spans[index + 1].start >= home.end)
        if home is not None and alone_after and home.end - end <= REACH:
            end = home.end
        found.append(Span(start, end))
    return found


def _apart(words: Sequence[Word], spans: Sequence[Span], duration: float) -> tuple[Word, ...]:
    """Words with spans that follow one another: each ends where the next one starts, at the latest."""
    if not words:
        return ()
    shortest = min(MIN_WORD_SECONDS, duration / len(words))
    before = shortest * np.arange(len(words))  # (num_words,) seconds that the words before need at least
    starts = np.maximum.accumulate([span.start for span in spans] - before) + before
    starts = np.maximum(np.minimum(starts, duration - shortest - before[::-1]), 0.0)
    limits = np.append(starts[1:], duration)
    ends = np.minimum(np.maximum([span.end for span in spans], starts + shortest), limits)
    return tuple(
        replace(word, span=Span(float(start), float(max(start, end))))
        for word, start, end in zip(words, starts, ends, strict=True)
    )
