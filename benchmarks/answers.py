"""What a way of transcribing answers to one recording, so that ways can be compared, and kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from diarist.types import Span, Turn, Waveform, Word


@dataclass(frozen=True, slots=True)
class Answer:
    """Turns with overlaps, words in order of time with the speaker they were given, and seconds of work by stage."""

    turns: tuple[Turn, ...]
    words: tuple[Word, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON object, times as they are."""
        return {
            "turns": [[turn.span.start, turn.span.end, turn.speaker] for turn in self.turns],
            "words": [[word.text, word.span.start, word.span.end, word.speaker] for word in self.words],
            "seconds": dict(self.seconds),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Answer:
        """What `to_json` gave."""
        turns = tuple(Turn(Span(start, end), speaker) for start, end, speaker in value["turns"])
        words = tuple(Word(text, Span(start, end), speaker=who) for text, start, end, who in value["words"])
        return cls(turns, words, value["seconds"])


class Way(Protocol):
    """A pipeline, loaded."""

    def transcribe(self, waveform: Waveform) -> Answer:
        """Words and speakers."""

    def diarize(self, waveform: Waveform) -> Answer:
        """Speakers alone; `words` stay empty."""


def write_json(path: Path, value: object) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)
