"""Words x turns -> words with speakers; pure functions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, starmap

import numpy as np

from diarist.segments import PHRASE_GAP, SENTENCE_ENDS
from diarist.types import Diarization, Floats, Span, Turn, Word
from diarist.viterbi import smooth

NEAREST_GAP = 2.0  # seconds: a word further from every turn than this belongs to nobody
CHANGE = 1.5  # what a change of speaker costs inside a phrase, in words given against the diarization …
CHANGE_AT_PAUSE = 0.4  # … after a pause …
CHANGE_AT_SENTENCE = 0.1  # … and after the end of a sentence
FULL_WORD = 0.2  # seconds; a word that shares less with turns counts for less: times are not more exact than that


def assign_speakers(words: Sequence[Word], diarization: Diarization) -> tuple[Word, ...]:
    """Give every word, in order of start, its speaker.

    Of all ways to do so, the one is chosen that agrees best with the exclusive diarization while the speaker seldom
    changes inside a phrase: boundaries of turns are exact to about 0.2 s, and people start with a sentence. A word
    that touches no turn goes by the nearest one within `NEAREST_GAP`, measured between the edges of word and turn.
    `overlap` is set where at least half of the word lies in turns of two or more people.
    """
    ordered = sorted(words, key=lambda word: word.span)
    exclusive, regular = _Index.of(diarization.exclusive), _Index.of(diarization.turns)
    names = tuple(dict.fromkeys(turn.speaker for turn in exclusive.turns))
    found: list[str | None] = [None] * len(ordered)
    if ordered and names:
        near = [_near(word.span, exclusive) for word in ordered]
        path = smooth(_scores(ordered, near, names), _change_costs(ordered))
        found = [names[speaker] if turns else None for speaker, turns in zip(path, near, strict=True)]
    return tuple(
        replace(word, speaker=speaker, overlap=_overlapped(word.span, regular))
        for word, speaker in zip(ordered, found, strict=True)
    )


def _near(span: Span, exclusive: _Index) -> tuple[Turn, ...]:
    """The turns that a word shares time with; if there are none, the nearest turn, unless that is far away."""
    near = exclusive.near(span, NEAREST_GAP)
    touching = tuple(turn for turn in near if turn.span.overlap(span) > 0)
    return touching or tuple(sorted(near, key=lambda turn: turn.span.gap(span))[:1])


def _scores(words: Sequence[Word], near: Sequence[Sequence[Turn]], names: Sequence[str]) -> Floats:
    """How much of a word each speaker holds, `(num_words, num_speakers)`; of a whole word, 1."""
    column = {name: index for index, name in enumerate(names)}
    scores = np.zeros((len(words), len(names)), np.float32)
    for row, word, turns in zip(scores, words, near, strict=True):
        shared = [turn.span.overlap(word.span) for turn in turns]
        total = sum(shared)
        for turn, seconds in zip(turns, shared, strict=True):
            row[column[turn.speaker]] += seconds / max(total, FULL_WORD) if total else 1.0
    return scores


def _change_costs(words: Sequence[Word]) -> Floats:
    """What a change of speaker costs just before each word, `(num_words,)`."""
    return np.array([0.0, *starmap(_change_cost, pairwise(words))], np.float32)


def _change_cost(before: Word, word: Word) -> float:
    if before.text.endswith(SENTENCE_ENDS):
        return CHANGE_AT_SENTENCE
    return CHANGE_AT_PAUSE if word.span.start - before.span.end >= PHRASE_GAP else CHANGE


@dataclass(frozen=True, slots=True)
class _Index:
    """Turns by start, with the latest end so far, so that those touching a span are found by bisection."""

    turns: tuple[Turn, ...]
    starts: tuple[float, ...]
    latest_ends: tuple[float, ...]

    @classmethod
    def of(cls, turns: Sequence[Turn]) -> _Index:
        ordered = tuple(sorted(turns, key=lambda turn: turn.span))
        ends: list[float] = []
        for turn in ordered:
            ends.append(max(turn.span.end, ends[-1] if ends else turn.span.end))
        return cls(ordered, tuple(turn.span.start for turn in ordered), tuple(ends))

    def near(self, span: Span, gap: float) -> tuple[Turn, ...]:
        """Turns within `gap` seconds of a span, by start."""
        first = bisect_left(self.latest_ends, span.start - gap)
        last = bisect_right(self.starts, span.end + gap)
        return tuple(turn for turn in self.turns[first:last] if turn.span.gap(span) <= gap)


def _overlapped(span: Span, regular: _Index) -> bool:
    turns = regular.near(span, 0.0)
    if len({turn.speaker for turn in turns}) < 2:  # noqa: PLR2004 - it takes two
        return False
    edges = sorted({span.start, span.end, *(t for turn in turns for t in (turn.span.start, turn.span.end))})
    inside = [piece for piece in starmap(Span, pairwise(edges)) if piece.overlap(span)]
    shared = sum(piece.duration for piece in inside if _talking(turns, piece) > 1)
    return shared >= span.duration / 2 and shared > 0


def _talking(turns: Sequence[Turn], piece: Span) -> int:
    return len({turn.speaker for turn in turns if turn.span.overlap(piece) > 0})
