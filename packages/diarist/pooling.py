"""Samples -> trunk frames -> sums in bins of 0.1 s -> embeddings of any windows of them.

The trunk of the embedding network runs once; pooling from sums is then nearly free, so windows can be short, many,
and pure: a window only takes the bins that one local voice of the segmentation holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarist.batching import in_threads
from diarist.networks import EmbeddingNetwork
from diarist.segmentation import FRAME_DURATION, FRAME_STEP, POWERSET, Activity
from diarist.types import SAMPLE_RATE, Floats, Ints, Progress, Samples

BIN = 0.1  # seconds; frames are summed into bins, and every window is a whole number of bins
BINS_PER_BLOCK = 100  # the trunk hears 10 s at once: its context mask is an average over its input
FRAMES_PER_BIN = 5  # trunk frames are 20 ms apart

WINDOW = 24  # bins pooled into one embedding for clustering
WINDOW_HOP = 4
WINDOW_SOLO = 1.2  # seconds of one local voice, speaking alone, that such a window must hold
MAX_WINDOWS = 2000  # clustered at once: linkage takes the square of it; longer recordings are thinned evenly
SHORT_WINDOW = 10  # bins pooled to label one bin


@dataclass(frozen=True, slots=True)
class Bins:
    """Sums over the trunk frames of each 0.1 s in which exactly one person speaks.

    `count` has shape `(num_bins,)`, `sums` and `squares` `(num_bins, 512)`, all float32: 0.15 GB an hour.
    `voices` has shape `(num_chunks, 100)`, int8: the local speaker who holds most of each bin of a chunk, or -1;
    chunk `i` begins at bin `i * bins_per_step`.
    """

    count: Floats
    sums: Floats
    squares: Floats
    voices: NDArray[np.int8]
    bins_per_step: int

    @property
    def solo_seconds(self) -> float:
        """Seconds in which exactly one person speaks."""
        return float(self.count.sum()) * BIN / FRAMES_PER_BIN


def pool_frames(samples: Samples, activity: Activity, network: EmbeddingNetwork, progress: Progress) -> Bins:
    """Run the trunk over a recording, 10 s at a time; blocks in which nobody speaks alone are left out."""
    num_blocks = max(1, int(np.ceil(activity.duration / BIN / BINS_PER_BLOCK)))
    num_bins = num_blocks * BINS_PER_BLOCK
    count, sums, squares = (np.zeros((num_bins, size), np.float32) for size in (1, 512, 512))
    solo = activity.num_speaking == 1

    def run(block: int) -> None:
        first = block * BINS_PER_BLOCK
        weights = _weights(solo, first * FRAMES_PER_BIN)  # (500,)
        if not weights.any():
            return
        features = filter_bank(samples[round(first * BIN * SAMPLE_RATE) :][:_BLOCK_SAMPLES])
        spoken = np.repeat(weights, 2)[: len(features)] > 0
        if not spoken.any():  # the recording ends here
            return
        frames = network.frames(features - features[spoken].mean(0))  # (<= 500, 512)
        weights = weights[: len(frames), None]
        here = slice(first, first + BINS_PER_BLOCK)
        count[here] = _sum_bins(weights)
        sums[here] = _sum_bins(frames * weights)
        squares[here] = _sum_bins(frames**2 * weights)

    in_threads(range(num_blocks), run, threads=network.threads, progress=progress)
    return Bins(count[:, 0], sums, squares, _local_voices(activity), round(activity.chunk_step / BIN))


def _local_voices(activity: Activity) -> NDArray[np.int8]:
    """Which local speaker holds each bin of each chunk, `(num_chunks, 100)`; -1 where none speaks alone."""
    masks = activity.masks
    alone = masks & (masks.sum(-1, keepdims=True) == 1)
    times = FRAME_DURATION / 2 + FRAME_STEP * np.arange(masks.shape[1])
    edges = np.searchsorted(times, BIN * np.arange(BINS_PER_BLOCK))
    held = np.add.reduceat(alone, edges, axis=1)  # (num_chunks, 100, num_local_speakers)
    return np.where(held.any(-1), held.argmax(-1), -1).astype(np.int8)


_BLOCK_SAMPLES = round(BINS_PER_BLOCK * BIN * SAMPLE_RATE) + 240  # the last frame's 25 ms reach into the next block


def filter_bank(samples: Samples) -> Floats:
    """Log energies of 80 mel bands every 10 ms, `(num_frames, 80)`, as Kaldi computes them, without dither."""
    import kaldi_native_fbank  # noqa: PLC0415 - a compiled library, needed only when diarizing

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 80
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(SAMPLE_RATE, samples)
    bank.input_finished()
    frames = [bank.get_frame(index) for index in range(bank.num_frames_ready)]
    return np.stack(frames) if frames else np.zeros((0, 80), np.float32)


def _weights(solo: NDArray[np.bool_], first: int) -> Floats:
    """Whether exactly one person speaks at each trunk frame of a block, `(500,)`."""
    times = 0.0125 + 0.02 * np.arange(first, first + BINS_PER_BLOCK * FRAMES_PER_BIN)
    nearest = np.clip(np.rint((times - FRAME_DURATION / 2) / FRAME_STEP).astype(int), 0, None)
    inside = nearest < len(solo)
    return np.asarray(inside & solo[np.minimum(nearest, len(solo) - 1)], np.float32)


def _sum_bins(values: Floats) -> Floats:
    padded = np.zeros((BINS_PER_BLOCK * FRAMES_PER_BIN, values.shape[1]), np.float32)
    padded[: len(values)] = values
    return np.asarray(padded.reshape(BINS_PER_BLOCK, FRAMES_PER_BIN, -1).sum(1), np.float32)


# --- bins into embeddings ---------------------------------------------------------------------------------


def window_embeddings(bins: Bins, network: EmbeddingNetwork) -> Floats:
    """Embeddings `(num_windows, 192)` of windows with enough solo speech, evenly spaced over the recording."""
    starts = np.arange(0, len(bins.count), WINDOW_HOP)
    enough = []
    for part in _parts(starts):
        weights = _same_voice(bins, part + WINDOW // 2, WINDOW) * _gather(bins.count, part, WINDOW)
        enough.append(weights.sum(1) >= WINDOW_SOLO / BIN * FRAMES_PER_BIN)
    kept = starts[np.concatenate(enough)]
    if len(kept) == 0 and bins.count.any():  # a few words in all: whatever there is, is one window
        kept = np.array([max(0, int(np.flatnonzero(bins.count).mean()) - WINDOW // 2)])
    kept = kept[:: max(1, int(np.ceil(len(kept) / MAX_WINDOWS)))]
    return np.concatenate([_embed(bins, part + WINDOW // 2, WINDOW, network) for part in _parts(kept)])


def bin_embeddings(bins: Bins, network: EmbeddingNetwork) -> Floats:
    """One embedding a bin, of the window centred on it, `(num_bins, 192)`; zero where nobody speaks alone."""
    embeddings = np.zeros((len(bins.count), network.dimension), np.float32)
    for part in _parts(np.flatnonzero(bins.count)):
        embeddings[part] = _embed(bins, part, SHORT_WINDOW, network)
    return embeddings


def _parts(values: Ints, size: int = 1000) -> Iterator[Ints]:
    """Slices small enough that what is pooled for each stays within some megabytes."""
    return (values[first : first + size] for first in range(0, max(1, len(values)), size))


def _embed(bins: Bins, centres: Ints, width: int, network: EmbeddingNetwork) -> Floats:
    """Pool the bins around each centre that the centre's own local voice holds, `(num_centres, 192)`."""
    same = _same_voice(bins, centres, width)  # (num_centres, width)
    count = np.zeros(len(centres), np.float32)
    sums, squares = (np.zeros((len(centres), 512), np.float32) for _ in range(2))
    for offset in range(width):
        index = centres - width // 2 + offset
        weight = same[:, offset] & (index >= 0) & (index < len(bins.count))
        index = np.clip(index, 0, len(bins.count) - 1)
        count += bins.count[index] * weight
        sums += bins.sums[index] * weight[:, None]
        squares += bins.squares[index] * weight[:, None]
    return network.embed(count, sums, squares) if len(centres) else np.zeros((0, network.dimension), np.float32)


def _gather(values: Floats, starts: Ints, width: int) -> Floats:
    index = starts[:, None] + np.arange(width)
    return np.where(index < len(values), values[np.minimum(index, len(values) - 1)], 0)


def _same_voice(bins: Bins, centres: Ints, width: int) -> NDArray[np.bool_]:
    """Which bins around each centre belong to the local voice that holds the most of them, `(num, width)`.

    The chunk that hears the centre in its middle decides; where it hears nobody, every bin counts.
    """
    chunk = deciding_chunk(bins, centres)
    index = centres[:, None] - width // 2 + np.arange(width) - (chunk * bins.bins_per_step)[:, None]
    heard = bins.voices[chunk[:, None], np.clip(index, 0, BINS_PER_BLOCK - 1)]
    heard = np.where((index >= 0) & (index < BINS_PER_BLOCK), heard, -1)
    shares = np.stack([(heard == voice).sum(1) for voice in range(POWERSET.shape[1])], axis=1)
    here = heard[:, width // 2]
    voice = np.where(here >= 0, here, shares.argmax(1))
    same = heard == voice[:, None]
    return np.where(same.any(1, keepdims=True), same, True)


def deciding_chunk(bins: Bins, centres: Ints) -> Ints:
    """The chunk that hears each bin nearest to its middle, `(num_centres,)`."""
    chunk = np.rint((centres - BINS_PER_BLOCK / 2) / bins.bins_per_step).astype(np.int64)
    return np.clip(chunk, 0, len(bins.voices) - 1)
