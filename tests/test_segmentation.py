"""Speech is found in a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from activities import activity, pattern
from diarist import audio
from diarist.pipeline import Stages
from diarist.segmentation import (
    ChunkSegmenter,
    chunk_starts,
    runs,
    speech_spans,
)
from diarist.types import SAMPLE_RATE, Waveform, unobserved

Floats = NDArray[np.float32]


@pytest.mark.parametrize(
    ("duration", "expected"), [(0.5, [0.0]), (10.0, [0.0]), (10.1, [0.0, 2.5]), (17.5, [0.0, 2.5, 5.0, 7.5])]
)
def test_chunks_reach_the_end_of_the_recording(duration: float, expected: list[float]) -> None:
    assert chunk_starts(duration, 2.5) == expected


def test_runs_are_half_open() -> None:
    assert list(runs(np.array([1, 1, 0, 1], bool))) == [(0, 2), (3, 4)]
    assert list(runs(np.zeros(3, bool))) == []


def test_spans_are_where_speech_is_likelier_than_not() -> None:
    (span,) = speech_spans(activity(pattern((2, 0.1), (3, 0.9), (2, 0.2))))
    assert span.start == pytest.approx(2, abs=0.05)
    assert span.end == pytest.approx(5, abs=0.05)


def test_speech_of_a_real_call_is_found(embedded: Stages, sample: Path) -> None:
    waveform = audio.decode(sample / "sample.wav", max_duration_seconds=60)
    heard = embedded.segment(waveform, progress=unobserved)
    spans = speech_spans(heard)
    assert spans[0].start == pytest.approx(6.69, abs=0.25)  # the reference's first word
    assert sum(span.duration for span in spans) == pytest.approx(22.3, abs=1.0)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 10.0, 12.3])
def test_noise_of_any_length_is_not_speech(embedded: Stages, seconds: float) -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, round(seconds * SAMPLE_RATE)).astype(np.float32)
    assert speech_spans(embedded.segment(Waveform(noise), progress=unobserved)) == ()


@pytest.mark.parametrize(("batch", "expected"), [(4, [4, 4, 3]), (32, [11])])
def test_the_network_hears_as_many_chunks_at_once_as_it_should(batch: int, expected: list[int]) -> None:
    sizes: list[int] = []

    def network(chunks: Floats) -> Floats:
        sizes.append(len(chunks))
        return np.log(np.full((len(chunks), 589, 7), 1 / 7, np.float32))

    ChunkSegmenter(network, batch=batch)(Waveform(np.zeros(30 * SAMPLE_RATE, np.float32)), progress=unobserved)
    assert sizes == expected
