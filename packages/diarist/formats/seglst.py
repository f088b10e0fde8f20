"""SegLST, segment-wise long-form speech transcription: the JSON that meeteval and the CHiME challenges score.

A list of objects, one a segment, with `session_id`, `speaker`, `start_time`, `end_time` (seconds) and `words`
(text); other keys may stand beside them (https://github.com/fgnt/meeteval, `meeteval/io/seglst.py`).
meeteval scores no segment whose speaker is null, so nobody is written as `<NA>`, as in RTTM; both are read.

What it cannot carry: times and scores of words, the language, the duration of the recording.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from diarist.errors import BadRequest
from diarist.types import Segment, Span

_NOBODY = "<NA>"


def write(segments: Iterable[Segment], *, file_id: str) -> str:
    r"""One object a segment, times to the millisecond; silence is an empty list.

    >>> print(write([Segment(Span(0.5, 2.0), "Hello there.", "SPEAKER_00")], file_id="call1"), end="")
    [
     {
      "session_id": "call1",
      "speaker": "SPEAKER_00",
      "start_time": 0.5,
      "end_time": 2.0,
      "words": "Hello there."
     }
    ]

    Raises:
        BadRequest: a speaker is called `<NA>`.
    """
    segments = tuple(segments)
    if any(segment.speaker == _NOBODY for segment in segments):
        raise BadRequest(f"seglst cannot carry a speaker called {_NOBODY}, since that stands for nobody: rename it")
    items = [
        {
            "session_id": file_id,
            "speaker": _NOBODY if segment.speaker is None else segment.speaker,
            "start_time": round(segment.span.start, 3),
            "end_time": round(segment.span.end, 3),
            "words": segment.text,
        }
        for segment in segments
    ]
    return json.dumps(items, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def read(text: str) -> dict[str, tuple[Segment, ...]]:
    """The segments of each session, in the order of the list.

    >>> read('[{"session_id": "a", "speaker": null, "start_time": 0, "end_time": 1.5, "words": "Hi"}]')
    {'a': (Segment(span=Span(start=0.0, end=1.5), text='Hi', speaker=None, words=()),)}

    Raises:
        BadRequest: the text is not JSON or not a list of such objects; the message says which item is wrong.
    """
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRequest(f"SegLST must be JSON: {error}") from None
    if not isinstance(items, list):
        raise BadRequest("SegLST must be a JSON array of segments")
    found: dict[str, list[Segment]] = {}
    for index, item in enumerate(items):
        try:
            session, segment = _segment(item)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise BadRequest(f"item {index} of the SegLST: {reason}") from None
        found.setdefault(session, []).append(segment)
    return {session: tuple(segments) for session, segments in found.items()}


def _segment(item: Any) -> tuple[str, Segment]:  # noqa: ANN401 - whatever JSON held
    if not isinstance(item, dict):
        raise TypeError("an object is needed")
    speaker, words = item["speaker"], item["words"]
    if not isinstance(words, str):
        raise TypeError("words must be a string")
    span = Span(float(item["start_time"]), float(item["end_time"]))  # some writers put numbers in strings
    return str(item["session_id"]), Segment(span, words, None if speaker in (None, _NOBODY) else str(speaker))
