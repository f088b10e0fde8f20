"""STM, segment time marks (NIST sclite): reference words by speaker.

One line a segment, fields with blanks between them, the rest of the line being its words:

    file-id  channel  speaker  begin  end  [<label,label,…>]  words

Times are seconds. The labels in angle brackets (`<o,f0,male>`) name subsets for scoring and are dropped.
Comments are lines that begin with `;`. As in RTTM, `<NA>` stands for a speaker that is not known.

What it cannot carry: times and scores of words, the language, white space other than single spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from diarist.errors import BadRequest
from diarist.formats.clock import milliseconds
from diarist.formats.rttm import check_field
from diarist.text import flat
from diarist.types import Segment, Span

_LABELS = re.compile(r"<[^<>\s]*,[^<>\s]*>")
_NOBODY = "<NA>"
_NUM_FIELDS = 5  # before the words


def write(segments: Iterable[Segment], *, file_id: str) -> str:
    r"""One line a segment, times to the millisecond; silence is an empty text.

    >>> write([Segment(Span(0.5, 2.0), "Hello there.", "SPEAKER_00")], file_id="call1")
    'call1 1 SPEAKER_00 0.500 2.000 Hello there.\n'

    Raises:
        BadRequest: the file id or a label is empty, has white space, or is `<NA>`; or a text begins as labels do.
    """
    check_field("file id", file_id)
    if file_id.startswith(";"):
        raise BadRequest(f"the file id {file_id!r} would make its lines comments: it must not begin with ;")
    return "".join(_line(segment, file_id) for segment in segments)


def _line(segment: Segment, file_id: str) -> str:
    if segment.speaker is not None:
        check_field("speaker", segment.speaker)
    start, end = (milliseconds(time) / 1000 for time in (segment.span.start, segment.span.end))
    text = flat(segment.text)
    if _LABELS.fullmatch(text.partition(" ")[0]):
        raise BadRequest(f"stm would take the beginning of the text {text[:40]!r} for labels: put a word before it")
    return f"{file_id} 1 {segment.speaker or _NOBODY} {start:.3f} {end:.3f} {text}".rstrip() + "\n"


def read(text: str) -> dict[str, tuple[Segment, ...]]:
    """The segments of each file id, in the order of the lines.

    >>> read("call1 1 Ann 0.50 2.00 <o,f0,female> Hello there.")
    {'call1': (Segment(span=Span(start=0.5, end=2.0), text='Hello there.', speaker='Ann', words=()),)}

    Raises:
        BadRequest: a line has too few fields or impossible times; the message has the line.
    """
    found: dict[str, list[Segment]] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";"):
            continue
        try:
            segment = _segment(fields)
        except ValueError as error:
            raise BadRequest(f"line {number}, {line[:80]!r}: {error}") from None
        found.setdefault(fields[0], []).append(segment)
    return {file_id: tuple(segments) for file_id, segments in found.items()}


def _segment(fields: list[str]) -> Segment:
    if len(fields) < _NUM_FIELDS:
        raise ValueError(f"{len(fields)} fields; STM has at least 5: file id, channel, speaker, begin, end")
    words = fields[_NUM_FIELDS:]
    if words and _LABELS.fullmatch(words[0]):
        words = words[1:]
    speaker = None if fields[2] == _NOBODY else fields[2]
    return Segment(Span(float(fields[3]), float(fields[4])), " ".join(words), speaker)
