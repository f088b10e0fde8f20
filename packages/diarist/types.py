"""The values that travel through the pipeline: frozen, with times in float seconds.

Every time is counted from the start of the recording and is held in a `Span`; anything measured in
another unit says so in its name (`num_samples`, `padding_ms`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # samples per second; what Whisper, segmentation and embedding networks all expect

Timing = Literal["ctc", "attention", "interpolated"]
Samples = NDArray[np.float32]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The half-open interval `[start, end)`, in seconds.

    Raises:
        ValueError: the end lies before the start, or one of them is not a finite number.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start) and np.isfinite(self.end)) or self.end < self.start:
            message = f"a span must run forwards between finite times, not from {self.start} to {self.end}"
            raise ValueError(message)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    @property
    def middle(self) -> float:
        """The time half-way between start and end."""
        return (self.start + self.end) / 2

    def overlap(self, other: Span) -> float:
        """Seconds that both spans cover.

        >>> Span(0, 2).overlap(Span(1.5, 5)), Span(0, 1).overlap(Span(2, 3))
        (0.5, 0.0)
        """
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))

    def gap(self, other: Span) -> float:
        """Seconds of silence between two spans; 0 where they touch or overlap."""
        return max(0.0, other.start - self.end, self.start - other.end)


@dataclass(frozen=True, slots=True)
class Waveform:
    """A whole recording, decoded: mono float32 samples of shape `(num_samples,)`, nominally in -1..1, at 16 kHz."""

    samples: Samples

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE

    def crop(self, span: Span) -> Samples:
        """The samples inside a span, shape `(num_samples,)`, clipped to the recording (a view, not a copy)."""
        return self.samples[max(0, round(span.start * SAMPLE_RATE)) : max(0, round(span.end * SAMPLE_RATE))]


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word with its time; `text` carries its punctuation and no surrounding space."""

    text: str
    span: Span
    score: float | None = None  # confidence of the alignment (ctc) or of the decoder (attention), 0..1
    speaker: str | None = None  # diarization label such as "SPEAKER_00", or None where nobody was found
    overlap: bool = False  # two or more people speak during this word
    timing: Timing = "attention"  # how the word was placed in time


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker's uninterrupted stretch of speech, without text."""

    span: Span
    speaker: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of transcript: text with a span, its words, and at most one speaker."""

    span: Span
    text: str
    speaker: str | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """What the transcriber heard. `words` of a segment stay empty where the engine does not time them."""

    language: str  # Whisper's code: "en", "de", "yue"
    segments: tuple[Segment, ...]
    language_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who spoke when.

    `turns` may overlap in time; `exclusive` holds at most one speaker at any moment and is what words are
    joined with. Rows of `embeddings`, shape `(num_speakers, dimension)` float32, follow `speakers`, which are
    numbered in the order in which they first speak.
    """

    turns: tuple[Turn, ...]
    exclusive: tuple[Turn, ...]
    speakers: tuple[str, ...]
    embeddings: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """The answer to one recording: who said what, when."""

    segments: tuple[Segment, ...]
    language: str | None  # None where no speech was heard
    duration: float  # of the recording, seconds
    turns: tuple[Turn, ...] = ()  # the regular diarization, with overlaps
    speakers: tuple[str, ...] = ()  # every label of `turns`, in the order of first speech
    model_version: str = ""
    uncovered: float = 0.0  # seconds of detected speech that no word covers
    notes: tuple[str, ...] = ()  # what the reader should know, e.g. that no aligner exists for the language
    timings: Mapping[str, float] = field(default_factory=dict)  # seconds of work, by stage
    embeddings: Mapping[str, tuple[float, ...]] | None = None  # by speaker, where they were asked for

    @property
    def words(self) -> tuple[Word, ...]:
        """All words, in the order of the segments."""
        return tuple(word for segment in self.segments for word in segment.words)


class Progress(Protocol):
    """Told how far a stage has come, in units of its own; it may raise `Cancelled` to stop the work."""

    def __call__(self, completed: float, total: float) -> None:
        """Report `completed` of `total`."""


def unobserved(completed: float, total: float) -> None:
    """The `Progress` that nobody watches."""
