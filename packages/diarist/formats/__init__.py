"""The forms in which an answer is written: one file a format, text in and text out; opening files is the caller's.

`FORMATS` names those that a transcript can be asked for in, and `render` writes one. Formats that can be read
back have a `read` in their own file: seed (`json`), srt, vtt, tsv, rttm, seglst; and stm, for references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from diarist.errors import BadRequest
from diarist.formats import html, label_studio, rttm, seed, seglst, srt, tsv, txt, vtt
from diarist.request import LabelStudioTarget
from diarist.types import Transcript

__all__ = ["FORMATS", "Context", "Format", "render"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a format may need beside the transcript."""

    file_id: str = "recording"  # names the recording in rttm and seglst, and is html's title; rttm refuses spaces
    label_studio: LabelStudioTarget = field(default_factory=LabelStudioTarget)
    audio: bytes | None = field(default=None, repr=False)  # the encoded recording, for html to play
    media_type: str = "audio/mpeg"  # of `audio`


@dataclass(frozen=True, slots=True)
class Format:
    """How one format is called, sent and written."""

    suffix: str  # of file names, with its dot
    media_type: str
    write: Callable[[Transcript, Context], str]


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "json": Format(".json", "application/json", lambda transcript, _: seed.write(transcript)),
        "srt": Format(".srt", "application/x-subrip", lambda transcript, _: srt.write(transcript)),
        "vtt": Format(".vtt", "text/vtt", lambda transcript, _: vtt.write(transcript)),
        "txt": Format(".txt", "text/plain", lambda transcript, _: txt.write(transcript)),
        "tsv": Format(".tsv", "text/tab-separated-values", lambda transcript, _: tsv.write(transcript)),
        "rttm": Format(
            ".rttm", "text/plain", lambda transcript, context: rttm.write(transcript.turns, file_id=context.file_id)
        ),
        "seglst": Format(
            ".seglst.json",
            "application/json",
            lambda transcript, context: seglst.write(transcript.segments, file_id=context.file_id),
        ),
        "label_studio": Format(
            ".label_studio.json",
            "application/json",
            lambda transcript, context: label_studio.write(transcript, context.label_studio),
        ),
        "html": Format(
            ".html",
            "text/html",
            lambda transcript, context: html.write(
                transcript, title=context.file_id, audio=context.audio, media_type=context.media_type
            ),
        ),
    }
)


def render(name: str, transcript: Transcript, context: Context | None = None) -> str:
    r"""The transcript in the format of that name.

    >>> render("tsv", Transcript((), None, 3.0))
    'start\tend\ttext\tspeaker\n'

    Raises:
        BadRequest: there is no such format, or it cannot carry this transcript.
    """
    if name not in FORMATS:
        raise BadRequest(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name].write(transcript, context or Context())
