"""Waveform -> frame-level speaker activity -> speech spans and windows: one pass, used twice.

The transcriber takes its windows from here and the diarizer its boundaries, so no separate voice activity
detector runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diarist.batching import in_threads
from diarist.types import SAMPLE_RATE, Progress, Samples, Span, Waveform

CHUNK_DURATION = 10.0  # seconds; what segmentation-3.0 was trained on
CHUNK_STEP = 3.0  # seconds; every frame is heard by three or four chunks, see docs/adr/0003
SHORT_RECORDING = 90.0  # seconds; in what is shorter, chunks may be closer, since that takes some tenths of a second
SHORT_CHUNK_STEP = 2.0
CPU_BATCH = 4  # chunks at once; more leave the cache of a CPU core, and fewer waste the recurrent layers' time

FRAME_STEP = 270 / SAMPLE_RATE  # seconds between frames: SincNet stride 10, times three max-pools of 3
FRAME_DURATION = 991 / SAMPLE_RATE  # seconds of audio that one frame sees

# Powerset classes of segmentation-3.0 (Plaquet & Bredin, Interspeech 2023): nobody, 1, 2, 3, 1+2, 1+3, 2+3.
POWERSET = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)


@dataclass(frozen=True, slots=True)
class Activity:
    """What the segmentation network heard, chunk by chunk and for the whole recording.

    `masks` has shape `(num_chunks, num_frames, num_local_speakers)`, bool: one column a local speaker; local
    speakers of different chunks are not related. Chunk `i` starts at `i * chunk_step` seconds.
    `speech` and `overlap` have shape `(num_total_frames,)`, float32: the probability that at least one, and
    that at least two people speak, averaged over the chunks that hear a frame. Frame `k` of the recording is
    centred at `frame_time(k)`.
    """

    masks: NDArray[np.bool_]
    chunk_step: float
    speech: NDArray[np.float32]
    overlap: NDArray[np.float32]
    duration: float

    @property
    def num_speaking(self) -> NDArray[np.uint8]:
        """How many people speak in each frame, 0 to 2, shape `(num_total_frames,)`."""
        return (self.speech > 0.5).astype(np.uint8) + (self.overlap > 0.5)  # noqa: PLR2004 - more likely than not

    def first_frame(self, chunk: int) -> int:
        """The frame of the recording that a chunk begins with."""
        return round(chunk * self.chunk_step / FRAME_STEP)


def frame_time(frame: float) -> float:
    """Centre of a frame, in seconds."""
    return FRAME_DURATION / 2 + frame * FRAME_STEP


def frame_edge(frame: int, duration: float) -> float:
    """Time at which a frame begins to be the nearest one, in seconds, inside the recording."""
    return float(min(max(frame_time(frame - 0.5), 0.0), duration)) if frame else 0.0


Network = Callable[[Samples], NDArray[np.float32]]
"""Chunks `(batch, num_samples)` -> log-probabilities of the powerset classes, `(batch, num_frames, 7)`."""

# Of a batch of chunks, each `(batch, num_frames)`: powerset classes, and the probabilities of speech and of overlap.
_Heard = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]

Padding = Literal["repeat", "silence"]


class ChunkSegmenter:
    """Runs segmentation-3.0 over a recording in overlapping chunks of 10 s.

    What lies beyond the end of the recording is filled by repeating the last chunk's own sound: digital silence
    beside it makes plain noise stand out like speech. `padding="silence"` does as pyannote does.
    Without a step of its own, it takes the one that suits the recording. The network is called with so many chunks,
    from so many threads at once.
    """

    def __init__(
        self,
        network: Network,
        *,
        chunk_step: float | None = None,
        padding: Padding = "repeat",
        batch: int = CPU_BATCH,
        threads: int = 1,
    ) -> None:
        self._network, self._chunk_step, self._padding = network, chunk_step, padding
        self._batch, self._threads = batch, threads

    def __call__(self, waveform: Waveform, *, progress: Progress) -> Activity:
        """Segment a whole recording; a chunk that reaches beyond its end is padded."""
        step = self._chunk_step or step_for(waveform.duration)
        starts = chunk_starts(waveform.duration, step)
        batches = [starts[first : first + self._batch] for first in range(0, len(starts), self._batch)]

        def run(batch: list[float]) -> _Heard:
            scores = self._network(np.stack([self._chunk(waveform.samples, start) for start in batch]))
            probability = np.exp(scores)  # (batch, num_frames, 7)
            return (
                scores.argmax(-1).astype(np.uint8),
                1 - probability[:, :, 0],
                probability[:, :, 4:].sum(-1),
            )

        heard = in_threads(batches, run, threads=self._threads, progress=progress)
        classes, speech, overlap = (np.concatenate(parts) for parts in zip(*heard, strict=True))
        masks = POWERSET[classes]
        total = max(1, round((waveform.duration - FRAME_DURATION) / FRAME_STEP) + 1)
        return Activity(
            masks=masks,
            chunk_step=step,
            speech=_average(speech, step, total),
            overlap=_average(overlap, step, total),
            duration=waveform.duration,
        )

    def _chunk(self, samples: Samples, start: float) -> Samples:
        first, size = round(start * SAMPLE_RATE), round(CHUNK_DURATION * SAMPLE_RATE)
        piece = samples[first : first + size]
        if self._padding == "silence" or len(piece) == 0:
            return np.pad(piece, (0, size - len(piece)))
        return np.resize(piece, size)


def step_for(duration: float) -> float:
    """Seconds from the start of one chunk to that of the next, in a recording of so many seconds.

    >>> step_for(30.0), step_for(600.0)
    (2.0, 3.0)
    """
    return SHORT_CHUNK_STEP if duration < SHORT_RECORDING else CHUNK_STEP


def chunk_starts(duration: float, step: float) -> list[float]:
    """Start of every chunk, in seconds; the last one reaches the end of the recording."""
    count = 1 + max(0, int(np.ceil((duration - CHUNK_DURATION) / step)))
    return [index * step for index in range(count)]


def _average(values: NDArray[np.float32], step: float, total: int) -> NDArray[np.float32]:
    """Overlap-add chunks `(num_chunks, num_frames)` into `(total,)`, each frame the mean of all that hear it."""
    num_chunks, num_frames = values.shape
    length = max(total, round((num_chunks - 1) * step / FRAME_STEP) + num_frames)
    sums, counts = np.zeros(length), np.zeros(length)
    for chunk in range(num_chunks):
        first = round(chunk * step / FRAME_STEP)
        sums[first : first + num_frames] += values[chunk]
        counts[first : first + num_frames] += 1
    return np.asarray((sums / np.maximum(counts, 1))[:total], np.float32)


def runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Half-open index ranges in which flags are true.

    >>> list(runs(np.array([0, 1, 1, 0, 1], dtype=bool)))
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return ((int(start), int(end)) for start, end in edges.reshape(-1, 2))


def speech_spans(activity: Activity) -> tuple[Span, ...]:
    """Where anyone speaks, in order, without overlaps."""
    edges = (
        (frame_edge(start, activity.duration), _end(end, activity)) for start, end in runs(activity.num_speaking > 0)
    )
    return tuple(Span(start, end) for start, end in edges if end > start)


def _end(frame: int, activity: Activity) -> float:
    return activity.duration if frame >= len(activity.speech) else frame_edge(frame, activity.duration)
