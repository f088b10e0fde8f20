"""Transcript -> subtitle cues that people can read: at most two lines of 42 columns, and seven seconds.

The limits are those of the Netflix Timed Text Style Guide (general requirements: 42 characters a line, two
lines, 5/6 to 7 seconds). A wide character (Chinese, Japanese, Korean) takes two columns and a combining one
none, so a line of Chinese holds 21 characters.

A segment that does not fit is cut between words, where the least is lost: at the end of a sentence, else at
a comma or a pause, and in pieces of like size. The text is cut, not joined again from its words, so its own
spacing stays; where the words do not match the text (someone edited it), their times are spread over it.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from diarist.text import SPACELESS, flat, positions
from diarist.types import Segment, Span, Transcript

LINE_COLUMNS = 42
CUE_SECONDS = 7.0
SHORTEST_CUE_SECONDS = 5 / 6  # a shorter cue is held on the screen, as long as the next one leaves room
PAUSE_SECONDS = 0.3  # a silence that a listener hears as a break
_UNEVEN_COLUMNS = 8  # a line may be so much longer for a break after a sentence instead of within it

_SENTENCE_END = ".!?…。！？｡"  # noqa: RUF001 - full-width marks end sentences too
_CLAUSE_END = ",;:、，；：–—"  # noqa: RUF001
_CLOSING = "\"'”’»)]」』）"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Cue:
    """One timed text of a subtitle file, wrapped into lines; times are whole milliseconds."""

    span: Span
    lines: tuple[str, ...]
    speaker: str | None = None
    changed: bool = False  # the speaker is not that of the cue before (before the first, nobody's)


def cues(transcript: Transcript, *, prefix: Callable[[str | None], str] = lambda _: "") -> tuple[Cue, ...]:
    """The cues of a transcript, in order of start; a segment without text gives none.

    Args:
        transcript: what was said.
        prefix: what the format puts before the first line where the speaker changes; room is kept for it in
            every cue, so that a file that is read and written again is cut in the same places.
    """
    drafts = [draft for segment in transcript.segments for draft in _drafts(segment, transcript.language, prefix)]
    drafts.sort(key=lambda draft: draft.span)
    limits = [*(draft.span.start for draft in drafts[1:]), transcript.duration]
    speakers = [None, *(draft.speaker for draft in drafts)]
    return tuple(
        _cue(draft, limit, prefix, changed=draft.speaker != before)
        for draft, limit, before in zip(drafts, limits, speakers, strict=False)
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """A cue that is cut but not wrapped yet: pieces `[start, end)` of a segment's layout."""

    span: Span
    speaker: str | None
    layout: _Layout
    start: int
    end: int


def _cue(draft: _Draft, limit: float, prefix: Callable[[str | None], str], *, changed: bool) -> Cue:
    first_line = _first_line(prefix(draft.speaker)) if changed else LINE_COLUMNS
    lines = replace(draft.layout, first_line=first_line).lines(draft.start, draft.end)
    return Cue(_held(draft.span, limit), lines, draft.speaker, changed)


def _first_line(prefix: str) -> int:
    """Columns that a prefix leaves; a very long one gets half of the line and makes it longer."""
    return LINE_COLUMNS - min(_width(prefix), LINE_COLUMNS // 2)


def _held(span: Span, limit: float) -> Span:
    """A span in milliseconds, longer where it is too short to read and nothing follows; never empty."""
    start = round(max(0.0, span.start), 3)
    end = round(max(span.end, min(start + SHORTEST_CUE_SECONDS, limit)), 3)
    return Span(start, max(end, round(start + 0.001, 3)))


def _drafts(segment: Segment, language: str | None, prefix: Callable[[str | None], str]) -> Iterator[_Draft]:
    pieces = _pieces(segment, language)
    if not pieces:
        return
    layout = _Layout.of(pieces, first_line=_first_line(prefix(segment.speaker)))
    fits = layout.fits(0, len(pieces)) and not _too_long(segment.span.duration)
    if fits or len(pieces) == 1:
        yield _Draft(segment.span, segment.speaker, layout, 0, len(pieces))
        return
    for start, end in pairwise(layout.cuts()):
        span = _hull(piece.span for piece in pieces[start:end])
        yield _Draft(span, segment.speaker, layout, start, end)


def _too_long(seconds: float) -> bool:
    """Whether a cue would be: times are to the millisecond, and 8.223 - 1.223 is a little more than 7."""
    return round(seconds, 3) > CUE_SECONDS


def _hull(spans: Iterable[Span]) -> Span:
    starts, ends = zip(*((span.start, span.end) for span in spans), strict=True)
    return Span(min(starts), max(ends))


def _pieces(segment: Segment, language: str | None) -> tuple[_Piece, ...]:
    """The text of a segment in its words, each with its time and with the space that follows it."""
    text = flat(segment.text)
    words = [(flat(word.text), word.span) for word in segment.words if word.text.strip()]
    starts = positions(text, [word for word, _ in words])
    if starts:
        spans = tuple(span for _, span in words)
    else:
        starts = _places_to_cut(text, spaceless=language in SPACELESS)
        spans = _spread(segment.span, starts, len(text))
    return tuple(
        _Piece(text[start:end], span) for (start, end), span in zip(pairwise((*starts, len(text))), spans, strict=True)
    )


def _places_to_cut(text: str, *, spaceless: bool) -> tuple[int, ...]:
    """Where a piece of text without word times may begin.

    After white space; in a spaceless language also before any letter or digit that does not go on a Latin
    word, so that no mark is parted from what it marks.
    """
    if not spaceless:
        return tuple(i for i, char in enumerate(text) if char != " " and (i == 0 or text[i - 1] == " "))
    return tuple(
        i
        for i, char in enumerate(text)
        if i == 0 or (char.isalnum() and not (char.isascii() and text[i - 1].isascii() and text[i - 1].isalnum()))
    )


def _spread(span: Span, starts: tuple[int, ...], length: int) -> tuple[Span, ...]:
    """Times in proportion to the characters."""
    times = [span.start + span.duration * place / length for place in (*starts, length)] if length else []
    return tuple(Span(start, end) for start, end in pairwise(times))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the text that is never cut, with the white space after it."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class _Layout:
    """Pieces as columns: `edges[i]` is the column at which piece `i` begins, were all on one line."""

    pieces: tuple[_Piece, ...]
    edges: tuple[int, ...]
    first_line: int  # columns of a cue's first line

    @classmethod
    def of(cls, pieces: tuple[_Piece, ...], *, first_line: int) -> _Layout:
        return cls(pieces, tuple(accumulate((_width(piece.text) for piece in pieces), initial=0)), first_line)

    def columns(self, start: int, end: int) -> int:
        """Columns of pieces `[start, end)` without the white space at their end."""
        return self.edges[end] - self.edges[start] - self.pieces[end - 1].text.endswith(" ") if end > start else 0

    def _full(self, start: int, end: int, columns: int) -> int:
        """How far a line of so many columns reaches that begins at `start`: at least one piece."""
        reach = bisect_right(self.edges, self.edges[start] + columns + 1, start + 1, end + 1) - 1
        while reach > start + 1 and self.columns(start, reach) > columns:
            reach -= 1
        return max(reach, start + 1)

    def fits(self, start: int, end: int) -> bool:
        """Whether the pieces fit on two lines; one alone always does, since it cannot be cut."""
        if end - start == 1:
            return True
        second = self._full(start, end, self.first_line)
        return self.columns(start, second) <= self.first_line and self.columns(second, end) <= LINE_COLUMNS

    def lines(self, start: int, end: int) -> tuple[str, ...]:
        """One line where they fit on it, else two: as even as can be, but sooner after a mark than without one."""
        if end - start == 1 or self.columns(start, end) <= self.first_line:
            return (self._text(start, end),)
        breaks = range(start + 1, self._full(start, end, self.first_line) + 1)
        fitting = [i for i in breaks if i < end and self.columns(i, end) <= LINE_COLUMNS] or [end - 1]
        middle = min(fitting, key=lambda i: self._line_cost(start, i, end))
        return self._text(start, middle), self._text(middle, end)

    def _line_cost(self, start: int, middle: int, end: int) -> float:
        longest = max(self.columns(start, middle), self.columns(middle, end))
        return longest + _UNEVEN_COLUMNS * self._break_cost(middle)

    def _text(self, start: int, end: int) -> str:
        return "".join(piece.text for piece in self.pieces[start:end]).strip()

    def cuts(self) -> tuple[int, ...]:
        """The cheapest way to cut the pieces into cues, by dynamic programming: `0, …, len(pieces)`."""
        count = len(self.pieces)
        costs = [0.0] + [float("inf")] * count  # of the best cues that end before piece i
        begins = [0] * (count + 1)  # where the last of them begins
        for start in range(count):
            latest = 0.0
            for end in range(start + 1, count + 1):
                latest = max(latest, self.pieces[end - 1].span.end)
                too_long = _too_long(latest - self.pieces[start].span.start) and end > start + 1
                if too_long or not self.fits(start, end):
                    break
                cost = costs[start] + self._cost(start, end)
                if cost < costs[end]:
                    costs[end], begins[end] = cost, start
        return _walk_back(begins)

    def _cost(self, start: int, end: int) -> float:
        """One for a cue, up to one for a bad place to end it, up to one half for room left empty in it."""
        empty = 1 - min(1.0, self.columns(start, end) / (self.first_line + LINE_COLUMNS))
        return 1 + self._break_cost(end) + empty**2 / 2

    def _break_cost(self, end: int) -> float:
        if end == len(self.pieces):
            return 0.0
        mark = self.pieces[end - 1].text.rstrip().rstrip(_CLOSING)[-1:]
        if mark and mark in _SENTENCE_END:
            return 0.0
        pause = self.pieces[end].span.start - self.pieces[end - 1].span.end
        return 0.3 if pause >= PAUSE_SECONDS or (mark and mark in _CLAUSE_END) else 1.0


def _walk_back(begins: list[int]) -> tuple[int, ...]:
    cuts = [len(begins) - 1]
    while cuts[-1]:
        cuts.append(begins[cuts[-1]])
    return tuple(reversed(cuts))


def _width(text: str) -> int:
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
