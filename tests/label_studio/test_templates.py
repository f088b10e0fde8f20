"""Label Studio's own templates with an Audio: each works, or its message says what to change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from label_studio_sdk.label_interface import LabelInterface

from diarist.types import Segment, Span, Transcript, Turn
from diarist_proxy.label_studio.labeling import ConfigUnusable, parse
from diarist_proxy.label_studio.prediction import build, check
from label_studio_environment import executable

UNUSABLE = {
    "sound-event-detection": "have no label for a speaker or for speech",
    "signal-quality-detection": "to it point only rating",
    "conversational-analysis": "Paragraphs show text of the task's data",
    "asr-hypotheses": "to it point only choices",
    "video-timeline-segmentation": "what is seen in the video",
}
WORKING = {
    "automatic-speech-recognition",
    "automatic-speech-recognition-using-segments",
    "intent-classification",
    "speaker-segmentation",
    "speech-transcription",
}
TURNS = (Turn(Span(0.5, 2.0), "SPEAKER_00"), Turn(Span(2.5, 4.0), "SPEAKER_01"))
TALK = Transcript(
    (Segment(Span(0.5, 2.0), "Hello.", "SPEAKER_00"), Segment(Span(2.5, 4.0), "Hi.", "SPEAKER_01")),
    "en",
    9.0,
    TURNS,
    ("SPEAKER_00", "SPEAKER_01"),
    model_version="v",
)


def templates() -> Iterator[tuple[str, str]]:
    """The name and XML of each template that shows an Audio."""
    [folder] = executable().parent.parent.glob("lib/python3.*/site-packages/label_studio/annotation_templates")
    for path in sorted(folder.glob("*/*/config.yml")):
        if "<Audio" in (config := _config(path)):
            yield path.parent.name, config


def _config(path: Path) -> str:
    """The `config: |` block of a template, without its indentation and comments."""
    block = re.search(r"^config: \|\n((?:[ \t].*\n?|\n)*)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return re.sub(r"<!--.*?-->", "", block[1], flags=re.DOTALL).strip() if block else ""


def test_every_template_with_audio_is_known_here() -> None:
    assert {name for name, _ in templates()} == {*UNUSABLE, *WORKING}


def test_every_template_works_or_says_what_to_change() -> None:
    for name, config in templates():
        if name in UNUSABLE:
            with pytest.raises(ConfigUnusable, match=UNUSABLE[name]):
                parse(config)
            continue
        made = build(TALK, parse(config), text_format="speakers", renames={}, task_data={})
        check(made, config)
        assert made["result"], name
        assert LabelInterface(config).validate_prediction(made, return_errors=True) == [], name
