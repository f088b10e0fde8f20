"""RTTM, Rich Transcription Time Marked (NIST RT-09 evaluation plan, appendix A): who spoke when, without text.

One line a turn, ten fields with blanks between them, `<NA>` where there is nothing to say:

    type  file-id  channel  onset  duration  orthography  speaker-type  speaker-name  confidence  lookahead

Times are seconds, and the second one is a *duration*. Channels count from 1. Older files have nine fields,
without the last. Comments are lines that begin with `;`. Of the line types only SPEAKER tells turns; the
others of the plan are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from diarist.errors import BadRequest
from diarist.formats.clock import milliseconds
from diarist.types import Span, Turn

_OTHER_TYPES = frozenset(
    {"SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "IP", "SU", "CB"}
    | {"A/P", "SPKR-INFO"}
)
_NUM_FIELDS = (9, 10)


def write(turns: Iterable[Turn], *, file_id: str) -> str:
    r"""One SPEAKER line a turn, times to the millisecond.

    >>> write([Turn(Span(0.5, 2.0), "SPEAKER_00")], file_id="call1")
    'SPEAKER call1 1 0.500 1.500 <NA> <NA> SPEAKER_00 <NA> <NA>\n'

    Raises:
        BadRequest: the file id or a label is empty, has white space, or is `<NA>`.
    """
    check_field("file id", file_id)
    return "".join(_line(turn, file_id) for turn in turns)


def _line(turn: Turn, file_id: str) -> str:
    check_field("speaker", turn.speaker)
    onset = milliseconds(turn.span.start)
    duration = milliseconds(turn.span.end) - onset  # so that the end, too, is right to the millisecond
    return f"SPEAKER {file_id} 1 {onset / 1000:.3f} {duration / 1000:.3f} <NA> <NA> {turn.speaker} <NA> <NA>\n"


def check_field(name: str, value: str) -> None:
    """Refuse what would break a line whose fields are parted by blanks.

    Raises:
        BadRequest: the value is empty, has white space, or is `<NA>`.
    """
    if not value or value == "<NA>" or re.search(r"\s", value):
        raise BadRequest(f"the {name} {value!r} cannot stand in a field: it must not be empty, <NA> or have spaces")


def read(text: str) -> dict[str, tuple[Turn, ...]]:
    """The turns of each file id, in the order of the lines.

    >>> read("SPEAKER call1 1 0.500 1.500 <NA> <NA> Ann <NA> <NA>")
    {'call1': (Turn(span=Span(start=0.5, end=2.0), speaker='Ann'),)}

    Raises:
        BadRequest: a line has an unknown type, too few or too many fields, or impossible times; the message
            has the line.
    """
    found: dict[str, list[Turn]] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";") or fields[0] in _OTHER_TYPES:
            continue
        try:
            file_id, turn = _turn(fields)
        except ValueError as error:
            raise BadRequest(f"line {number}, {line[:80]!r}: {error}") from None
        found.setdefault(file_id, []).append(turn)
    return {file_id: tuple(turns) for file_id, turns in found.items()}


def _turn(fields: list[str]) -> tuple[str, Turn]:
    if fields[0] != "SPEAKER":
        raise ValueError(f"the type {fields[0]!r} is none of RTTM's; SPEAKER is the one for turns")
    if len(fields) not in _NUM_FIELDS:
        raise ValueError(f"{len(fields)} fields; RTTM has 10, or 9 without the last")
    onset, duration = float(fields[3]), float(fields[4])
    if onset < 0 or duration < 0:
        raise ValueError("onset and duration must not be negative")
    return fields[1], Turn(Span(onset, round(onset + duration, 6)), fields[7])
