"""WebVTT (https://www.w3.org/TR/webvtt1/): a header, then cues with times as `HH:MM:SS.mmm`.

Each cue names its speaker in a voice tag, `<v SPEAKER_00>`, whose end tag may be left out where the whole cue
is one voice (section 4.2.2). `&`, `<` and `>` are escaped, in the text and in the tag, so `-->` cannot occur.

What it cannot carry: words, scores, the language, and which cues were one segment.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from diarist.errors import BadRequest
from diarist.formats.clock import clock
from diarist.formats.cues import Cue, cues
from diarist.formats.srt import read_times
from diarist.text import flat, join
from diarist.types import Segment, Span, Transcript

_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]*)>")
_TAG = re.compile(r"<[^>]*>")
_NO_CUES = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s.*)?")


def write(transcript: Transcript) -> str:
    r"""Subtitles, with at most two lines of 42 columns and seven seconds a cue; silence is the header alone.

    >>> hello = Segment(Span(0.5, 2.0), "Q&A?", "SPEAKER_00")
    >>> write(Transcript((hello,), "en", 9.0))
    'WEBVTT\n\n00:00:00.500 --> 00:00:02.000\n<v SPEAKER_00>Q&amp;A?\n'

    Raises:
        BadRequest: a speaker's label is blank or has line breaks or runs of spaces.
    """
    return "\n".join(["WEBVTT\n", *map(_block, cues(transcript))])


def _block(cue: Cue) -> str:
    text = _escape("\n".join(cue.lines))
    return f"{clock(cue.span.start, '.')} --> {clock(cue.span.end, '.')}\n{_voice(cue.speaker)}{text}\n"


def _voice(speaker: str | None) -> str:
    if speaker is None:
        return ""
    if not speaker or speaker != flat(speaker):
        raise BadRequest(f"vtt cannot carry the speaker {speaker!r}: use a label of one line and single spaces")
    return f"<v {_escape(speaker)}>"


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def read(text: str, *, language: str | None = None) -> tuple[Segment, ...]:
    r"""One segment a cue, without words; other tags, notes, styles and cue settings are dropped.

    >>> read("WEBVTT\n\n00:01.000 --> 00:02.000 align:left\n<v Ann>Q&amp;A</v>\n")
    (Segment(span=Span(start=1.0, end=2.0), text='Q&A', speaker='Ann', words=()),)

    Args:
        text: the file.
        language: Whisper's code; the lines of a spaceless language are joined without spaces.

    Raises:
        BadRequest: the header is missing, or a cue's times are wrong; the message has the line.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or not re.fullmatch(r"WEBVTT(?:[ \t].*)?", lines[0]):
        raise BadRequest("line 1: a WebVTT file begins with the line WEBVTT")
    return tuple(_segment(span, payload, language) for span, payload in _read_blocks(lines))


def _read_blocks(lines: list[str]) -> Iterator[tuple[Span, list[str]]]:
    start = next((i for i, line in enumerate(lines) if not line), len(lines))  # the header ends at a blank line
    while start < len(lines):
        end = next((i for i in range(start, len(lines)) if not lines[i]), len(lines))
        block = lines[start:end]
        if block and not ("-->" not in block[0] and _NO_CUES.fullmatch(block[0])):
            skip = 0 if "-->" in block[0] or len(block) == 1 else 1  # a cue may have an identifier
            yield read_times(block[skip], start + skip + 1), block[skip + 1 :]
        start = end + 1


def _segment(span: Span, payload: list[str], language: str | None) -> Segment:
    voice = _VOICE.search("\n".join(payload))
    text = join((html.unescape(_TAG.sub("", line)) for line in payload), language)
    return Segment(span, text, flat(html.unescape(voice[1])) if voice else None)
