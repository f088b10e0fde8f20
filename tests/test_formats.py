from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import get_args

import pytest

from diarist.errors import BadRequest
from diarist.formats import FORMATS, Context, render
from diarist.request import OutputFormat
from diarist.types import Segment, Span, Transcript, Turn, Word

GOLDEN = Path(__file__).parent / "golden"


def spoken(text: str, start: float, speaker: str | None, score: float = 0.9) -> Segment:
    """A segment of words that last 0.3 s each, with 0.1 s between them."""
    words = tuple(
        Word(word, Span(round(start + 0.4 * i, 3), round(start + 0.4 * i + 0.3, 3)), score, speaker)
        for i, word in enumerate(text.split())
    )
    return Segment(Span(words[0].span.start, words[-1].span.end), text, speaker, words)


def conversation() -> Transcript:
    """What a call may look like: overlap, an unknown speaker, other scripts, text beyond a cue, over ten hours."""
    long = (
        "Well, I have been thinking about the budget for next year, and there are three things that I would like to "
        "discuss before we decide. First, the travel costs have doubled."
    )
    segments = (
        spoken("Good morning & welcome <all>.", 0.765, "SPEAKER_00"),
        spoken(long, 3.2, "SPEAKER_00", 0.75),
        spoken("Mhm.", 9.1, "SPEAKER_01", 0.31),
        spoken("你好。 Grüße aus Zürich --> bald.", 17.0, "SPEAKER_01"),
        Segment(Span(20.0, 20.5), "(laughs)"),
        Segment(Span(37_000.9996, 37_003.25), "Over ten hours later, good bye.", "SPEAKER_00"),
    )
    turns = tuple(Turn(segment.span, segment.speaker) for segment in segments if segment.speaker is not None)
    return Transcript(
        segments=segments,
        language="en",
        duration=37_010.0,
        turns=turns,
        speakers=("SPEAKER_00", "SPEAKER_01"),
        model_version="asr-x+diar-y@1",
        uncovered=1.25,
        notes=("The words of one segment were not timed.",),
        timings={"segment": 1.5, "transcribe": 20.25},
    )


SILENCE = Transcript((), None, 5.0)


def without_style_and_script(page: str) -> str:
    """The page as it differs from transcript to transcript."""
    page = re.sub(r"(<(style|script)>).*?(</\2>)", r"\1\3", page, flags=re.DOTALL)
    return re.sub(r"sha256-[\w+/=]+", "sha256-", page)


def written(name: str, transcript: Transcript) -> str:
    audio = b"ID3 not really sound" if name == "html" else None
    text = render(name, transcript, Context(file_id="call-1", audio=audio))
    return without_style_and_script(text) if name == "html" else text


@pytest.mark.parametrize("name", FORMATS)
def test_a_conversation_is_written_as_the_golden_file_has_it(name: str) -> None:
    """`GOLDEN=write pytest tests/test_formats.py` (`make golden`) rewrites them; the diff is what users will see."""
    golden = GOLDEN / f"conversation{FORMATS[name].suffix}"
    text = written(name, conversation())
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8", newline="\n")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("srt", ""),
        ("vtt", "WEBVTT\n"),
        ("txt", ""),
        ("tsv", "start\tend\ttext\tspeaker\n"),
        ("rttm", ""),
        ("seglst", "[]\n"),
    ],
)
def test_silence_has_no_text(name: str, text: str) -> None:
    assert render(name, SILENCE) == text


def test_silence_has_every_key_and_no_segments() -> None:
    answer = json.loads(render("json", SILENCE))
    assert answer["model_output"] == []
    assert answer["language"] is None
    assert json.loads(render("label_studio", SILENCE)) == {"result": [], "score": None, "model_version": ""}
    assert "No speech was found." in render("html", SILENCE)


def test_the_formats_are_those_a_request_may_name() -> None:
    assert tuple(FORMATS) == get_args(OutputFormat)


def test_suffixes_tell_the_formats_apart() -> None:
    suffixes = [each.suffix for each in FORMATS.values()]
    assert suffixes == [
        *(".json", ".srt", ".vtt", ".txt", ".tsv", ".rttm"),
        *(".seglst.json", ".label_studio.json", ".html"),
    ]


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadRequest, match=r"no format 'docx'; there are json, srt, .*html"):
        render("docx", SILENCE)


def test_the_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FORMATS["docx"] = FORMATS["txt"]  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        FORMATS["txt"].suffix = ".text"  # type: ignore[misc]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_ends_its_last_line(name: str) -> None:
    assert render(name, conversation()).endswith("\n")


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"label_studio"}))
def test_what_is_written_does_not_depend_on_the_speakers_having_turns(name: str) -> None:
    """Diarization switched off: no turns and no speakers anywhere."""
    segments = tuple(replace(segment, speaker=None, words=()) for segment in conversation().segments)
    text = render(name, Transcript(segments, "en", 37_010.0))
    assert "SPEAKER_0" not in text
    assert ("Over ten hours later" in text) == (name != "rttm")


def test_importing_the_formats_loads_no_engine() -> None:
    heavy = ["torch", "whisperx", "pyannote", "faster_whisper", "onnxruntime", "av", "label_studio_sdk", "meeteval"]
    program = f"import sys, diarist.formats; print([name for name in {heavy} if name in sys.modules])"
    packages = Path(__file__).parents[1] / "packages"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(packages)}
    )
    assert done.stdout.strip() == "[]"
