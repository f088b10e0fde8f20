"""A page to read, hear and pass on: one HTML file with everything in it, the recording too.

The text is coloured by speaker, a bar shows whose turn it is when, a click on a word plays from there, and the
word being spoken is marked. Space plays and pauses, the arrows go 5 s or a segment back and on. Speakers can be
renamed in the page, and the text saved with those names. Without a recording inside, the page asks for the file.

Nothing is loaded from anywhere: the page forbids it by a content security policy that admits the style and the
script in it by their hashes, so no text can bring its own. All text is escaped. `html_page.css` and
`html_page.js`, beside this file, are put in as they are.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from itertools import pairwise

from diarist.errors import BadRequest
from diarist.formats.clock import clock
from diarist.text import flat, positions
from diarist.types import Segment, Transcript, Turn, Word

NUM_COLOURS = 8  # the classes s0 to s7 of the style; more speakers share them, told apart by name and row
DOUBTFUL_SCORE = 0.5  # a word below it is underlined with dots
_HELP = (
    "Space plays and pauses. Left and right go 5 s back and on, up and down a segment. "
    "Words underlined with dots are uncertain. Speakers can be renamed above."
)
_ROW_PIXELS = 16  # of the timeline
_MEDIA_TYPE = re.compile(r"(?:audio|video)/[\w.+-]+(?:; ?[\w-]+=[\w.-]+)*")


def write(transcript: Transcript, *, title: str, audio: bytes | None = None, media_type: str = "audio/mpeg") -> str:
    """The page.

    >>> page = write(Transcript((), None, 3.0), title="a < b")
    >>> "<h1>a &lt; b</h1>" in page, "No speech was found." in page
    (True, True)

    Args:
        transcript: what was said.
        title: the heading, such as the name of the recording.
        audio: the encoded recording as it is, or None.
        media_type: of the recording, such as `audio/mpeg`.

    Raises:
        BadRequest: the media type is not one of sound or video.
    """
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise BadRequest(f"the media type {media_type[:80]!r} is not one of sound, such as audio/mpeg")
    style, script = _resource("html_page.css"), _resource("html_page.js")
    speakers = _speakers(transcript)
    return "".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n",
            '<body class="playable">\n' if audio is not None else "<body>\n",
            *_header(transcript, title, len(speakers)),
            '<div class="bar"><div>\n',
            _player(audio, media_type),
            *_timeline(transcript, speakers, playable=audio is not None),
            *_tools(transcript, speakers, has_audio=audio is not None),
            "</div></div>\n",
            *_main(transcript, speakers),
            f"<footer>{_HELP}</footer>\n",
            f"<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


@cache
def _resource(name: str) -> str:
    return files("diarist.formats").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "media-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _speakers(transcript: Transcript) -> dict[str, int]:
    """A number for each speaker, in the order of first speech."""
    turning = (turn.speaker for turn in transcript.turns)
    talking = (segment.speaker for segment in transcript.segments if segment.speaker is not None)
    names = dict.fromkeys((*transcript.speakers, *turning, *talking))
    return {name: number for number, name in enumerate(names)}


def _colour(speaker: str | None, speakers: Mapping[str, int]) -> str:
    return "nobody" if speaker is None else f"s{speakers[speaker] % NUM_COLOURS}"


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, as a player shows them: begun seconds do not count.

    >>> _clock(59.9), _clock(3600.0)
    ('00:59', '1:00:00')
    """
    time = clock(seconds, ".")[:-4]
    return time.removeprefix("00:") if time.startswith("00:") else time.removeprefix("0")


def _header(transcript: Transcript, title: str, num_speakers: int) -> Iterator[str]:
    facts = [_clock(transcript.duration), f"{num_speakers} speaker{'' if num_speakers == 1 else 's'}"]
    facts += [f"language {transcript.language}"] if transcript.language else []
    facts += [transcript.model_version] if transcript.model_version else []
    yield f'<header>\n<h1>{escape(title)}</h1>\n<p class="about">{escape(" · ".join(facts))}</p>\n'
    if transcript.notes:
        yield f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in transcript.notes)}</ul>\n'
    yield "</header>\n"


def _player(audio: bytes | None, media_type: str) -> str:
    if audio is None:
        return "<audio controls hidden></audio>\n"
    data = base64.b64encode(audio).decode("ascii")
    return f'<audio controls preload="metadata" src="data:{escape(media_type)};base64,{data}"></audio>\n'


def _timeline(transcript: Transcript, speakers: Mapping[str, int], *, playable: bool) -> Iterator[str]:
    """A row of bars for each speaker; one unit is a second wide and a row high."""
    turns = _turns(transcript)
    if not turns or transcript.duration <= 0:
        return
    rows = len(speakers)
    yield (
        f'<svg class="timeline{" playable" if playable else ""}" viewBox="0 0 {transcript.duration:.3f} {rows}" '
        f'height="{rows * _ROW_PIXELS}" preserveAspectRatio="none" role="img" aria-label="Turns of {rows} speakers">\n'
    )
    for turn in turns:
        yield (
            f'<rect class="{_colour(turn.speaker, speakers)}" x="{turn.span.start:.3f}" '
            f'y="{speakers[turn.speaker] + 0.15}" width="{turn.span.duration:.3f}" height="0.7">'
            f"<title>{escape(turn.speaker)} {_clock(turn.span.start)}</title></rect>\n"
        )
    yield f'<line x1="0" x2="0" y1="0" y2="{rows}"/>\n</svg>\n'


def _turns(transcript: Transcript) -> tuple[Turn, ...]:
    """The diarization, or where there is none, the segments that have a speaker."""
    named = (Turn(segment.span, segment.speaker) for segment in transcript.segments if segment.speaker is not None)
    return transcript.turns or tuple(named)


def _tools(transcript: Transcript, speakers: Mapping[str, int], *, has_audio: bool) -> Iterator[str]:
    talked: dict[str, float] = defaultdict(float)
    for turn in _turns(transcript):
        talked[turn.speaker] += turn.span.duration
    yield '<div class="tools">\n'
    for name, number in speakers.items():
        yield (
            f'<label class="speaker {_colour(name, speakers)}"><input data-speaker="{number}" '
            f'value="{escape(name)}" aria-label="Name of {escape(name)}" spellcheck="false" autocomplete="off">'
            f"<span>{_clock(talked[name])}</span></label>\n"
        )
    yield '<span class="right">'
    if not has_audio:
        yield '<label>Recording <input type="file" id="file" accept="audio/*,video/*"></label>'
    yield '<label><input type="checkbox" id="follow" checked> Follow</label>'
    yield '<button type="button" id="save">Save text</button></span>\n</div>\n'


def _main(transcript: Transcript, speakers: Mapping[str, int]) -> Iterator[str]:
    segments = [segment for segment in transcript.segments if segment.text.strip()]
    if not segments:
        yield "<main><p>No speech was found.</p></main>\n"
        return
    language = transcript.language or ""
    lang = f' lang="{language}"' if re.fullmatch(r"[a-z]{2,3}", language) else ""
    yield f"<main>\n<ol{lang}>\n"
    for number, segment in enumerate(sorted(segments, key=lambda segment: segment.span), start=1):
        yield _segment(number, segment, speakers)
    yield "</ol>\n</main>\n"


def _segment(number: int, segment: Segment, speakers: Mapping[str, int]) -> str:
    start = f"{segment.span.start:.3f}"
    speaker = segment.speaker
    name = "" if speaker is None else f'<b data-speaker="{speakers[speaker]}">{escape(speaker)}</b>'
    return (
        f'<li id="s{number}" class="{_colour(speaker, speakers)}" data-t="{start}">'
        f'<a href="#s{number}">{_clock(segment.span.start)}</a>'
        f'<div>{name}<p dir="auto">{_text(segment)}</p></div></li>\n'
    )


def _text(segment: Segment) -> str:
    """The text with a time on each word, or on the whole where the words are not those of the text."""
    text = flat(segment.text)
    words = [word for word in segment.words if word.text.strip()]
    starts = positions(text, [flat(word.text) for word in words])
    if not starts:
        return f'<span data-t="{segment.span.start:.3f}" data-e="{segment.span.end:.3f}">{escape(text)}</span>'
    pieces = (text[start:end] for start, end in pairwise((*starts, len(text))))
    return "".join(_word(word, piece) for word, piece in zip(words, pieces, strict=True))


def _word(word: Word, piece: str) -> str:
    doubt = ' class="doubt"' if word.score is not None and word.score < DOUBTFUL_SCORE else ""
    text = piece.rstrip(" ")
    times = f'data-t="{word.span.start:.3f}" data-e="{word.span.end:.3f}"'
    return f"<span{doubt} {times}>{escape(text)}</span>{piece[len(text) :]}"
