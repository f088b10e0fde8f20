"""The text of a whole recording, as one TextArea holds it: subtitles, or a line for each thing said."""

from __future__ import annotations

import re

from diarist.errors import BadRequest
from diarist.formats import srt, vtt
from diarist.text import flat
from diarist.types import Segment, Span

_SUBTITLES = re.compile(r"\d[\d:]*[,.]\d{3}\s+-->\s")
_NAMED = re.compile(r"(?P<name>[^\s:.,;!][^:.,;!]{0,59}): +(?P<text>.*)")
_NOBODY = "?"


def segments_of(text: str, *, duration: float) -> tuple[Segment, ...]:
    r"""The segments of a text: cues with their own times, lines over the whole recording of `duration` seconds.

    Lines are taken to name their speakers, `Ann: Hello.`, where the first one does and half of all; a line without a
    name goes on with what the last one said. A line that is alone must have a number in the name, `Speaker 1: Hello.`:
    plain text may begin with a word and a colon, too.

    >>> [(each.speaker, each.text) for each in segments_of("Ann: Hello\nthere.\nBob: Hi.", duration=9.0)]
    [('Ann', 'Hello there.'), ('Bob', 'Hi.')]
    """
    whole = Span(0.0, max(0.0, duration))
    try:
        if text.lstrip("\ufeff").startswith("WEBVTT"):
            return vtt.read(text)
        if _SUBTITLES.search(text):
            return srt.read(text)
    except BadRequest:  # a person's hand has made it something else: then its words are what counts
        return (Segment(whole, flat(text)),)
    lines = [flat(line) for line in text.splitlines() if line.strip()]
    if not lines or not _name_speakers(lines):
        return (Segment(whole, flat(text)),) if lines else ()
    said: list[tuple[str, str]] = []
    for line in lines:
        if match := _NAMED.fullmatch(line):
            said.append((match["name"], match["text"]))
        else:
            said[-1] = (said[-1][0], f"{said[-1][1]} {line}")
    return tuple(Segment(whole, flat(words), None if name == _NOBODY else name) for name, words in said)


def _name_speakers(lines: list[str]) -> bool:
    matches = [_NAMED.fullmatch(line) for line in lines]
    first = matches[0]
    if first is None or (len(lines) == 1 and not any(map(str.isdigit, first["name"]))):
        return False
    return 2 * sum(match is not None for match in matches) >= len(lines)
