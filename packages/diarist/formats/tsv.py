r"""Tab-separated values as openai/whisper writes them (`start`, `end`, `text`), and a column `speaker` after them.

Times are whole milliseconds. Nothing is quoted: white space within the text becomes single spaces. An empty
speaker means that nobody was found.

What it cannot carry: words, scores, the language, and white space other than single spaces.
"""

from __future__ import annotations

from diarist.errors import BadRequest
from diarist.formats.clock import milliseconds
from diarist.text import flat
from diarist.types import Segment, Span, Transcript

_COLUMNS = ("start", "end", "text", "speaker")


def write(transcript: Transcript) -> str:
    r"""One line a segment, under a line of column names; silence is the names alone.

    >>> hello = Segment(Span(0.5, 2.0), "Hello there.", "SPEAKER_00")
    >>> write(Transcript((hello,), "en", 9.0))
    'start\tend\ttext\tspeaker\n500\t2000\tHello there.\tSPEAKER_00\n'

    Raises:
        BadRequest: a speaker's label is blank or has tabs, line breaks or runs of spaces.
    """
    lines = ["\t".join(_COLUMNS), *map(_line, transcript.segments)]
    return "".join(f"{line}\n" for line in lines)


def _line(segment: Segment) -> str:
    speaker = segment.speaker
    if speaker is not None and (not speaker or speaker != flat(speaker)):
        raise BadRequest(f"tsv cannot carry the speaker {speaker!r}: use a label of one line and single spaces")
    start, end = milliseconds(segment.span.start), milliseconds(segment.span.end)
    return f"{start}\t{end}\t{flat(segment.text)}\t{speaker or ''}"


def read(text: str) -> tuple[Segment, ...]:
    r"""One segment a line, without words; whisper's own three columns are read too.

    >>> read("start\tend\ttext\n0\t1500\tHello\n")
    (Segment(span=Span(start=0.0, end=1.5), text='Hello', speaker=None, words=()),)

    Raises:
        BadRequest: the column names are not the first line, or a line does not fit them; the message has it.
    """
    header, *lines = text.removeprefix("\ufeff").split("\n")
    names = tuple(header.rstrip("\r").split("\t"))
    if names not in (_COLUMNS, _COLUMNS[:3]):
        raise BadRequest(f"line 1: the columns must be {', '.join(_COLUMNS)} (speaker may be absent), tab-separated")
    return tuple(_segment(line.rstrip("\r"), number, names) for number, line in enumerate(lines, 2) if line.strip())


def _segment(line: str, number: int, names: tuple[str, ...]) -> Segment:
    try:
        row = dict(zip(names, line.split("\t"), strict=True))
        span = Span(int(row["start"]) / 1000, int(row["end"]) / 1000)
    except ValueError as error:
        raise BadRequest(f"line {number}, {line[:80]!r}: {error}") from None
    return Segment(span, row["text"], row.get("speaker") or None)
