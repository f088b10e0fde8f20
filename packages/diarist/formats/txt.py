"""Plain text for reading: one line a segment, with its times to a tenth of a second and its speaker.

A line without a known speaker has `?` for a name, but none where no speaker is known at all. For reading only:
nothing parses this format.
"""

from __future__ import annotations

from diarist.formats.clock import clock
from diarist.text import flat
from diarist.types import Segment, Span, Transcript


def write(transcript: Transcript) -> str:
    r"""The conversation, in order of start; segments without text are left out, and silence is an empty text.

    >>> hello = Segment(Span(1.23, 4.56), "Hello there.", "SPEAKER_00")
    >>> write(Transcript((hello,), "en", 9.0))
    '[00:00:01.2 -> 00:00:04.6] SPEAKER_00: Hello there.\n'
    """
    segments = [segment for segment in transcript.segments if segment.text.strip()]
    named = any(segment.speaker is not None for segment in segments)
    return "".join(_line(segment, named=named) for segment in sorted(segments, key=lambda segment: segment.span))


def _line(segment: Segment, *, named: bool) -> str:
    name = f"{flat(segment.speaker) if segment.speaker is not None else '?'}: " if named else ""
    return f"[{_tenths(segment.span)}] {name}{flat(segment.text)}\n"


def _tenths(span: Span) -> str:
    start, end = (clock(round(time, 1), ".")[:-2] for time in (span.start, span.end))
    return f"{start} -> {end}"
