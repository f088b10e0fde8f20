"""SubRip (SRT): numbered cues, a blank line between them, times as `HH:MM:SS,mmm`.

There is no standard, only what SubRip wrote and players read (https://en.wikipedia.org/wiki/SubRip). A speaker
stands before the text as `[SPEAKER_00]: `, as whisperx writes it, where the speaker changes; `[?]: ` marks the
change to a stretch where nobody was found. The format has no escape: text that looks like a tag (`<i>`) is
written as it is, and players may take it for one.

What it cannot carry: words, scores, the language, and which cues were one segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from diarist.errors import BadRequest
from diarist.formats.clock import clock, seconds
from diarist.formats.cues import Cue, cues
from diarist.text import join
from diarist.types import Segment, Span, Transcript

_NOBODY = "?"
_PREFIX = re.compile(r"\[(.+?)\]: ")
_TIMES = re.compile(r"\s*([\d:,.]+)\s+-->\s+([\d:,.]+)(?:\s.*)?")


def write(transcript: Transcript) -> str:
    r"""Subtitles, with at most two lines of 42 columns and seven seconds a cue; silence is an empty text.

    >>> hello = Segment(Span(3599.9996, 3602.5), "Hello there.", "SPEAKER_00")
    >>> write(Transcript((hello,), "en", 3700.0))
    '1\n01:00:00,000 --> 01:00:02,500\n[SPEAKER_00]: Hello there.\n'

    Raises:
        BadRequest: a speaker's label cannot stand in brackets.
    """
    return "\n".join(_blocks(cues(transcript, prefix=_prefix)))


def _blocks(written: Iterable[Cue]) -> Iterator[str]:
    for number, cue in enumerate(written, start=1):
        told = cue.changed or _prefix_of(cue.lines[0]) is not None
        name = (_prefix(cue.speaker) or f"[{_NOBODY}]: ") if told else ""
        text = name + "\n".join(cue.lines)
        yield f"{number}\n{clock(cue.span.start, ',')} --> {clock(cue.span.end, ',')}\n{text}\n"


def _prefix(speaker: str | None) -> str:
    if speaker is None:
        return ""
    if speaker == _NOBODY or "]: " in speaker or speaker != " ".join(speaker.split()) or not speaker:
        raise BadRequest(f'srt cannot carry the speaker {speaker!r}: use a label of one line, without "]: "')
    return f"[{speaker}]: "


def _prefix_of(line: str) -> re.Match[str] | None:
    return _PREFIX.match(f"{line} ")  # the space after the colon may have been stripped with the line's end


def read(text: str, *, language: str | None = None) -> tuple[Segment, ...]:
    r"""One segment a cue, without words; numbers may be missing or wrong, as in files edited by hand.

    >>> read("1\n00:00:00,500 --> 00:00:02,000\n[A]: Hello\nthere.\n")
    (Segment(span=Span(start=0.5, end=2.0), text='Hello there.', speaker='A', words=()),)

    Args:
        text: the file.
        language: Whisper's code; the lines of a spaceless language are joined without spaces.

    Raises:
        BadRequest: a cue has no times, or they run backwards; the message has its line.
    """
    segments: list[Segment] = []
    speaker: str | None = None
    for times, lines in _read_blocks(text):
        first, *rest = lines or [""]
        if match := _prefix_of(first):
            speaker = None if match[1] == _NOBODY else match[1]
            first = first[match.end() :]
        segments.append(Segment(times, join([first, *rest], language), speaker))
    return tuple(segments)


def _read_blocks(text: str) -> Iterator[tuple[Span, list[str]]]:
    lines = text.removeprefix("\ufeff").splitlines()
    i = 0
    while i < len(lines):
        if not lines[i].strip():
            i += 1
            continue
        if lines[i].strip().isdigit() and i + 1 < len(lines):
            i += 1
        times = read_times(lines[i], i + 1)
        end = next((k for k in range(i + 1, len(lines)) if not lines[k].strip()), len(lines))
        yield times, lines[i + 1 : end]
        i = end


def read_times(line: str, number: int) -> Span:
    """The span of a line such as `00:00:01,000 --> 00:00:02,500`, in SRT or WebVTT.

    Raises:
        BadRequest: it is not such a line, or runs backwards; the message has its number.
    """
    match = _TIMES.fullmatch(line)
    if match is None:
        raise BadRequest(f"line {number}, {line[:80]!r}: times such as 00:00:01.000 --> 00:00:02.500 are needed")
    try:
        return Span(seconds(match[1]), seconds(match[2]))
    except ValueError as error:
        raise BadRequest(f"line {number}, {line[:80]!r}: {error}") from None
