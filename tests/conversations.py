"""Short recordings whose speakers and turns are known: utterances of LibriSpeech, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diarist import audio
from diarist.types import SAMPLE_RATE, Span, Turn
from encoding import encode

PAUSE_SECONDS = 0.6

# Each short enough to be quick, and such that the embedded models tell its two speakers apart.
UTTERANCES = (
    ("1998-15444-0007", "2033-164914-0005", "1998-15444-0008"),
    ("2609-156975-0003", "3005-163389-0002", "2609-156975-0009"),
    ("2033-164914-0004", "2609-156975-0001"),
    ("3005-163389-0008", "1688-142285-0005"),
    ("1688-142285-0005", "2033-164914-0007"),
    ("2609-156975-0000", "1998-15444-0007", "2609-156975-0003"),
    ("3005-163389-0001", "2033-164914-0005"),
    ("2033-164914-0007", "3005-163389-0004", "2033-164914-0005"),
    ("1998-15444-0007", "3005-163389-0008"),
    ("1998-15444-0008", "1688-142285-0004"),
)


@dataclass(frozen=True)
class Conversation:
    """A recording, and who speaks when in it."""

    path: Path
    turns: tuple[Turn, ...]


def conversations(recordings: Path, folder: Path) -> tuple[Conversation, ...]:
    """Write ten conversations of 8 to 14 s into a folder, from the folder of recordings."""
    return tuple(
        _conversation(recordings / "librispeech", folder / f"call{number:02}.flac", names)
        for number, names in enumerate(UTTERANCES, start=1)
    )


def _conversation(librispeech: Path, path: Path, names: tuple[str, ...]) -> Conversation:
    pause = np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE), np.float32)
    parts, turns, start = [], [], 0.0
    for name in names:
        speaker = name.partition("-")[0]
        said = audio.decode(librispeech / speaker / f"{name}.flac", max_duration_seconds=60)
        parts += [said.samples, pause]
        turns.append(Turn(Span(start, start + said.duration), speaker))
        start += said.duration + PAUSE_SECONDS
    encode(path, np.concatenate(parts)[np.newaxis], SAMPLE_RATE, "flac", container="flac")
    return Conversation(path, tuple(turns))
