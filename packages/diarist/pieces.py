"""Whisper's pieces of words -> the words of the text; pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from diarist.types import Span, Word


def whole_words(pieces: Sequence[Word], texts: Sequence[str]) -> tuple[Word, ...]:
    """Join or cut pieces of words so that they are the words of a text.

    Whisper's own words end before a hyphen, a point or a comma inside of a word ("£13", ".60"; "e", "-mail"), and a
    dash goes with the word after it ("- or"). A word runs from where its first character stands to where its last
    one does; characters of a piece are taken to be equally long. Pieces that spell something else than the texts
    are left as they are.

    >>> whole_words([Word("£13", Span(1, 1.5)), Word(".60", Span(1.5, 2))], ["£13.60"])[0].span
    Span(start=1.0, end=2)
    """
    spelled = [(piece, position) for piece in pieces for position in range(len("".join(piece.text.split())))]
    if "".join("".join(piece.text.split()) for piece in pieces) != "".join(texts):
        return tuple(pieces)
    words: list[Word] = []
    first = 0
    for text in filter(None, texts):
        words.append(_joined(text, spelled[first : first + len(text)]))
        first += len(text)
    return tuple(words)


def _joined(text: str, characters: Sequence[tuple[Word, int]]) -> Word:
    (opening, first), (closing, last) = characters[0], characters[-1]
    if opening is closing and opening.text == text:
        return opening
    start = _time(opening, first)
    end = _time(closing, last + 1)
    scores = [piece.score for piece, _ in characters if piece.score is not None]
    return replace(
        opening,
        text=text,
        span=Span(start, max(start, end)),
        score=fmean(scores) if scores else None,
    )


def _time(piece: Word, position: int) -> float:
    """When a piece's character starts, or, behind the last one, when the piece ends."""
    length = len("".join(piece.text.split()))
    return piece.span.end if position == length else piece.span.start + piece.span.duration * position / length
