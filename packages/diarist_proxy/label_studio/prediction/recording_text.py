"""A whole recording's text for one TextArea; `whole_text` reads it back after people have corrected it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from diarist.errors import BadRequest
from diarist.formats import srt, vtt
from diarist.text import flat, join
from diarist.types import Segment, Transcript
from diarist_proxy.label_studio.labeling.option_values import TEXT_FORMATS


def write(transcript: Transcript, text_format: str, names: Mapping[str, str]) -> str:
    """The text in one of the formats, with speakers as they are called; silence is an empty text.

    >>> from diarist.types import Span
    >>> hello = Segment(Span(0.5, 2.0), "Hello.", "SPEAKER_00")
    >>> write(Transcript((hello,), "en", 9.0), "speakers", {"SPEAKER_00": "Ann"})
    'Ann: Hello.'

    Raises:
        BadRequest: there is no such format, or it cannot carry a speaker's name.
    """
    segments = tuple(
        replace(segment, speaker=names.get(segment.speaker, segment.speaker) if segment.speaker else None)
        for segment in sorted(transcript.segments, key=lambda segment: segment.span)
    )
    if text_format in {"srt", "vtt"}:
        if not any(segment.text.strip() for segment in segments):
            return ""
        named = replace(transcript, segments=segments)
        return srt.write(named) if text_format == "srt" else vtt.write(named)
    if text_format == "plain":
        return join((flat(segment.text) for segment in segments), transcript.language)
    if text_format != "speakers":
        raise BadRequest(f"text_format {text_format!r}: one of {', '.join(TEXT_FORMATS)} is needed")
    return "\n".join(_lines(segments))


def _lines(segments: Iterable[Segment]) -> Iterator[str]:
    """A line a segment with its speaker; `?` for nobody, but no name where no speaker is known at all."""
    said = [segment for segment in segments if segment.text.strip()]
    named = any(segment.speaker is not None for segment in said)
    for segment in said:
        yield f"{flat(segment.speaker or '?')}: {flat(segment.text)}" if named else flat(segment.text)
