"""Activity + trunk frames -> speaker turns: many short, pure windows instead of whole masks.

pyannote pools one embedding over each local speaker's mask in each chunk; masks are often impure, and an
embedding pooled over two voices lies between them. Here short windows of one voice are pooled (`pooling.py`) and
clustered (`clustering.py`), every 0.1 s gets the speaker it is most like, and only the boundaries of speech and the
overlaps come from the segmentation. `docs/adr/0002-fine-windows.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarist.clustering import centroids_of, cluster
from diarist.networks import EmbeddingNetwork
from diarist.pooling import (
    BIN,
    BINS_PER_BLOCK,
    Bins,
    bin_embeddings,
    deciding_chunk,
    pool_frames,
    window_embeddings,
)
from diarist.request import Options
from diarist.segmentation import FRAME_DURATION, FRAME_STEP, Activity, frame_edge, runs
from diarist.types import Diarization, Floats, Ints, Progress, Span, Turn, Waveform
from diarist.viterbi import smooth

SWITCH = 0.4  # what changing the speaker between two bins costs, in cosine similarity, within a local voice …
SWITCH_AT_CHANGE = 0.15  # … and where the segmentation hears one voice give way to another


class FineDiarizer:
    """Diarizes with CAM++ embeddings of short windows."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        self._network = network

    def __call__(self, waveform: Waveform, activity: Activity, *, options: Options, progress: Progress) -> Diarization:
        """Diarize a whole recording."""
        bins = pool_frames(waveform.samples, activity, self._network, progress)
        windows = window_embeddings(bins, self._network)  # (num_windows, 192)
        if not len(windows):
            return _single_speaker(activity)
        clusters = cluster(windows, solo_seconds=bins.solo_seconds, options=options)  # (num_windows,)
        centroids = centroids_of(windows, clusters)  # (num_speakers, 192)
        scores = bin_embeddings(bins, self._network) @ centroids.T  # (num_bins, num_speakers)
        heard = np.flatnonzero(bins.count)
        path = smooth(scores[heard], _switch_costs(bins, heard))  # (num_heard,)
        labels = path[_nearest(heard, len(scores))]  # (num_bins,): where nobody speaks alone, as nearby
        return _diarization(activity, labels, centroids)


def _switch_costs(bins: Bins, heard: Ints) -> Floats:
    """What a change of speaker costs before each bin in which somebody speaks alone, `(num_heard,)`."""
    before, after = heard[:-1], heard[1:]
    chunk = deciding_chunk(bins, after)
    first = chunk * bins.bins_per_step
    inside = before >= first
    old = bins.voices[chunk, np.where(inside, before - first, 0)]
    new = bins.voices[chunk, np.minimum(after - first, BINS_PER_BLOCK - 1)]
    same = inside & (old == new)
    return np.concatenate([[0.0], np.where(same, SWITCH, SWITCH_AT_CHANGE)]).astype(np.float32)


def _nearest(positions: Ints, size: int) -> Ints:
    """For each of `size` indices, which of the sorted positions is nearest, `(size,)`."""
    indices = np.arange(size)
    after = np.clip(np.searchsorted(positions, indices), 0, len(positions) - 1)
    before = np.maximum(after - 1, 0)
    closer = np.abs(indices - positions[before]) <= np.abs(positions[after] - indices)
    return np.where(closer, before, after)


def _diarization(activity: Activity, labels: Ints, centroids: Floats) -> Diarization:
    """Frames, bins' labels and local masks -> turns."""
    num_speaking = activity.num_speaking
    times = FRAME_DURATION / 2 + FRAME_STEP * np.arange(len(num_speaking))
    first = labels[np.minimum((times / BIN).astype(int), len(labels) - 1)]  # (num_total_frames,) main speaker
    num_speakers = len(centroids)
    main = np.zeros((len(num_speaking), num_speakers), bool)
    main[np.arange(len(first)), first] = num_speaking > 0
    everyone = main.copy()
    if num_speakers > 1:
        overlapped = np.flatnonzero(num_speaking > 1)
        votes = _overlap_votes(activity, first, num_speakers)[overlapped]
        second = np.argsort(-votes, axis=1)[:, :2]  # (num_overlapped, 2)
        enough = np.take_along_axis(votes, second, axis=1) > 0
        both = enough.all(1)
        everyone[overlapped[both]] = False
        everyone[overlapped[both][:, None], second[both]] = True
        main[overlapped[both]] = False
        main[overlapped[both], _main_of(first[overlapped[both]], second[both])] = True
    return _named(everyone, main, centroids, activity.duration)


def _main_of(first: Ints, pair: Ints) -> Ints:
    """Which of two overlapping speakers holds the floor: the one who also speaks around it, if either does."""
    return np.where(first == pair[:, 1], pair[:, 1], pair[:, 0])


def _overlap_votes(activity: Activity, first: Ints, num_speakers: int) -> Ints:
    """How many local masks name each speaker in each frame, `(num_total_frames, num_speakers)`.

    A mask's local speaker is taken to be whoever speaks in the mask's own solo frame nearest to the overlap.
    """
    solo = activity.num_speaking == 1
    votes = np.zeros((len(first), num_speakers), np.int64)
    for chunk, mask in enumerate(activity.masks):
        start = activity.first_frame(chunk)
        mask = mask[: max(0, len(first) - start)]  # noqa: PLW2901 - padding ends with the recording
        shared = mask.sum(1) > 1
        if not shared.any():
            continue
        for local in range(mask.shape[1]):
            own = np.flatnonzero(mask[:, local] & ~shared & solo[start : start + len(mask)])
            inside = np.flatnonzero(mask[:, local] & shared)
            if len(own) and len(inside):
                after = np.clip(np.searchsorted(own, inside), 0, len(own) - 1)
                before = np.maximum(after - 1, 0)
                nearest = np.where(np.abs(own[before] - inside) <= np.abs(own[after] - inside), own[before], own[after])
                votes[start + inside, first[start + nearest]] += 1
    return votes


def _named(everyone: NDArray[np.bool_], main: NDArray[np.bool_], centroids: Floats, duration: float) -> Diarization:
    """Frames -> turns, with speakers numbered in the order in which they first speak."""
    speaking = np.flatnonzero(everyone.any(0))
    order = speaking[np.argsort(everyone[:, speaking].argmax(0), kind="stable")]
    names = tuple(f"SPEAKER_{index:02d}" for index in range(len(order)))
    return Diarization(
        turns=_turns(everyone[:, order], names, duration),
        exclusive=_turns(main[:, order], names, duration),
        speakers=names,
        embeddings=centroids[order],
    )


def _turns(frames: NDArray[np.bool_], names: Sequence[str], duration: float) -> tuple[Turn, ...]:
    last = len(frames)
    turns = [
        Turn(Span(frame_edge(start, duration), duration if end == last else frame_edge(end, duration)), name)
        for index, name in enumerate(names)
        for start, end in runs(frames[:, index])
    ]
    return tuple(sorted((turn for turn in turns if turn.span.duration > 0), key=lambda turn: (turn.span, turn.speaker)))


def _single_speaker(activity: Activity) -> Diarization:
    """Speech that is too short for any window belongs to one person; silence to nobody."""
    frames = (activity.num_speaking > 0)[:, None]
    if not frames.any():
        return Diarization((), (), (), np.zeros((0, EmbeddingNetwork.dimension), np.float32))
    turns = _turns(frames, ("SPEAKER_00",), activity.duration)
    return Diarization(turns, turns, ("SPEAKER_00",), np.zeros((1, EmbeddingNetwork.dimension), np.float32))
