"""The answer's own form, `json` to users: everything a `Transcript` holds.

The seed of this project answers `{"model_output": [{"start", "end", "text", "speaker"}]}`. Those keys keep their
names and meaning, and the rest stands beside them:

    model_output   segments: start, end (seconds), text, speaker, and words, each with
                   start, end, word, speaker, score (0..1), overlap (two speak), timing (ctc|attention|interpolated)
    language       Whisper's code, null where no speech was heard
    duration       seconds of the recording
    speakers       labels in the order of first speech
    turns          who spoke when, overlaps included: start, end, speaker
    model_version  what was loaded
    timings        seconds of work by stage
    uncovered      seconds of speech without a word
    notes          what the reader should know
    embeddings     a voice vector for each speaker, null unless asked for

Every key is always there, and absent is null. Times are rounded to the millisecond, scores to four places.
JSON has no NaN and no infinity: where a model gave one, the value is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast, get_args

from diarist.errors import BadRequest
from diarist.types import Segment, Span, Timing, Transcript, Turn, Word

_T = TypeVar("_T")
_TIMINGS: tuple[str, ...] = get_args(Timing)
_BEYOND_ANY_NUMBER = 1e300  # JSON's integers have no limit, but floats do


def to_dict(transcript: Transcript) -> dict[str, Any]:
    """The transcript as JSON's own types.

    >>> hello = Segment(Span(0.5, 2.0), "Hi", "A", (Word("Hi", Span(0.5, 0.9), 0.98, "A"),))
    >>> to_dict(Transcript((hello,), "en", 9.0))["model_output"]  # doctest: +NORMALIZE_WHITESPACE
    [{'start': 0.5, 'end': 2.0, 'text': 'Hi', 'speaker': 'A',
      'words': [{'start': 0.5, 'end': 0.9, 'word': 'Hi', 'speaker': 'A', 'score': 0.98,
                 'overlap': False, 'timing': 'attention'}]}]
    """
    embeddings = transcript.embeddings
    return {
        "model_output": [_segment_to_dict(segment) for segment in transcript.segments],
        "language": transcript.language,
        "duration": _finite(transcript.duration, 3),
        "speakers": list(transcript.speakers),
        "turns": [{**_times(turn.span), "speaker": turn.speaker} for turn in transcript.turns],
        "model_version": transcript.model_version,
        "timings": {stage: _finite(seconds, 3) for stage, seconds in transcript.timings.items()},
        "uncovered": _finite(transcript.uncovered, 3),
        "notes": list(transcript.notes),
        "embeddings": None if embeddings is None else {name: _vector(row) for name, row in embeddings.items()},
    }


def _segment_to_dict(segment: Segment) -> dict[str, Any]:
    words = [_word_to_dict(word) for word in segment.words]
    return {**_times(segment.span), "text": segment.text, "speaker": segment.speaker, "words": words}


def _word_to_dict(word: Word) -> dict[str, Any]:
    return {
        **_times(word.span),
        "word": word.text,
        "speaker": word.speaker,
        "score": None if word.score is None else _finite(word.score, 4),
        "overlap": bool(word.overlap),
        "timing": word.timing,
    }


def _times(span: Span) -> dict[str, float]:
    return {"start": round(float(span.start), 3), "end": round(float(span.end), 3)}  # float: numpy's is not JSON's


def _finite(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _vector(row: tuple[float, ...]) -> list[float] | None:
    """A vector with one bad number is no vector."""
    return [float(value) for value in row] if all(map(math.isfinite, row)) else None


def write(transcript: Transcript) -> str:
    """The transcript as JSON text, UTF-8 not escaped, one space of indentation."""
    return json.dumps(to_dict(transcript), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def read(text: str) -> Transcript:
    """A transcript from JSON text.

    Raises:
        BadRequest: it is not JSON, or not this format; the message names the key.
    """
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRequest(f"a transcript must be JSON: {error}") from None
    return from_dict(body)


def from_dict(body: Any) -> Transcript:  # noqa: ANN401 - whatever JSON held
    """A transcript from an earlier answer, from the seed's four keys on; keys that are not known are ignored.

    Where the duration is absent or null, it is the last end of a segment or turn.

    >>> from_dict({"model_output": [{"start": 0.5, "end": 2, "text": "Hi", "speaker": None}]}).duration
    2.0

    Raises:
        BadRequest: a key is missing or has a wrong type, or times run backwards; the message names the key.
    """
    answer = _Reader(body, "")
    segments = answer.items("model_output", _segment_from)
    turns = answer.items("turns", _turn_from, required=False)
    spans = [*(segment.span for segment in segments), *(turn.span for turn in turns)]
    return Transcript(
        segments=segments,
        language=answer.text("language"),
        duration=answer.number("duration", max((span.end for span in spans), default=0.0)),
        turns=turns,
        speakers=answer.items("speakers", _Reader.as_text, required=False),
        model_version=answer.text("model_version") or "",
        uncovered=answer.number("uncovered", 0.0),
        notes=answer.items("notes", _Reader.as_text, required=False),
        timings=answer.mapping("timings", _Reader.as_number) or {},
        embeddings=answer.mapping("embeddings", _Reader.as_vector),
    )


def _segment_from(item: _Reader) -> Segment:
    words = item.items("words", _word_from, required=False)
    return Segment(item.span(), item.needed_text("text"), item.text("speaker"), words)


def _turn_from(item: _Reader) -> Turn:
    return Turn(item.span(), item.needed_text("speaker"))


def _word_from(item: _Reader) -> Word:
    score = item.number("score", None)
    overlap = item.get("overlap") or False
    if not isinstance(overlap, bool):
        raise item.error("overlap", "true or false is needed")
    return Word(item.needed_text("word"), item.span(), score, item.text("speaker"), overlap, _timing_from(item))


def _timing_from(item: _Reader) -> Timing:
    timing = item.text("timing") or "attention"
    if timing not in _TIMINGS:
        raise item.error("timing", f"one of {', '.join(_TIMINGS)} is needed")
    return cast("Timing", timing)


class _Reader:
    """A value of the answer with its place in it, for messages; messages never repeat the value."""

    def __init__(self, value: Any, path: str) -> None:  # noqa: ANN401 - whatever JSON held
        self.value = value
        self.path = path

    def error(self, key: str, need: str) -> BadRequest:
        return BadRequest(f"{f'{self.path}.{key}'.strip('.')}: {need}")

    def as_object(self) -> Mapping[str, Any]:
        if not isinstance(self.value, Mapping):
            raise BadRequest(f"{self.path or 'the transcript'}: an object is needed")
        return self.value

    def get(self, key: str) -> Any:  # noqa: ANN401
        return self.as_object().get(key)

    def child(self, key: str) -> _Reader:
        return _Reader(self.get(key), f"{self.path}.{key}".strip("."))

    def as_text(self) -> str:
        if not isinstance(self.value, str):
            raise self.error("", "a string is needed")
        return self.value

    def as_number(self) -> float:
        is_number = isinstance(self.value, (int, float)) and not isinstance(self.value, bool)
        if not is_number or not abs(self.value) < _BEYOND_ANY_NUMBER:
            raise self.error("", "a number is needed")
        return float(self.value)

    def as_vector(self) -> tuple[float, ...]:
        return _array(self, _Reader.as_number)

    def text(self, key: str) -> str | None:
        return None if self.get(key) is None else self.child(key).as_text()

    def needed_text(self, key: str) -> str:
        return self.child(key).as_text()

    def number(self, key: str, default: _T) -> float | _T:
        return default if self.get(key) is None else self.child(key).as_number()

    def span(self) -> Span:
        start, end = self.child("start").as_number(), self.child("end").as_number()
        if end < start:
            raise self.error("end", "it must not lie before start")
        return Span(start, end)

    def items(self, key: str, parse: Callable[[_Reader], _T], *, required: bool = True) -> tuple[_T, ...]:
        return () if self.get(key) is None and not required else _array(self.child(key), parse)

    def mapping(self, key: str, parse: Callable[[_Reader], _T]) -> dict[str, _T] | None:
        """A mapping without its null values; None where it is null itself."""
        if self.get(key) is None:
            return None
        inner = self.child(key)
        return {name: parse(inner.child(name)) for name, value in inner.as_object().items() if value is not None}


def _array(reader: _Reader, parse: Callable[[_Reader], _T]) -> tuple[_T, ...]:
    if not isinstance(reader.value, (list, tuple)):
        raise reader.error("", "an array is needed")
    return tuple(parse(_Reader(item, f"{reader.path}.{i}")) for i, item in enumerate(reader.value))
