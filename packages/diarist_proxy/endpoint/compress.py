"""A recording -> a smaller one that an endpoint's limit on bytes lets through: Opus in Ogg, at 16 kHz.

Opus at 16 kbit/s and more leaves speech as it is for a recognizer that hears up to 8 kHz; of the bit rates from there
to 64 kbit/s, the best that fits is taken. Times stay as they are: encoder delay is declared (RFC 7845, pre-skip).
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from diarist import audio
from diarist.errors import AudioTooLarge
from diarist.types import SAMPLE_RATE

LEAST_BITS, MOST_BITS = 16_000, 64_000  # a second, for each channel
LONGEST_SECONDS = 14_400.0  # what the model accepts unless told otherwise; 1 GB decoded
SHARE = 0.93  # of the room that the bit rate is chosen for: a variable rate and Ogg's pages need the rest

_LAYOUTS = {1: "mono", 2: "stereo"}
_BLOCK = SAMPLE_RATE * 10  # samples encoded at once

_decoding = threading.Lock()  # a decoded recording may take a gigabyte: one at a time


def compressed(path: Path, target: Path, *, most_bytes: int, channels: Literal["mix", "split"] = "mix") -> Path:
    """Write a recording to `target` in at most so many bytes; with "split", its two channels stay apart.

    Raises:
        AudioTooLarge: even the lowest bit rate needs more, or there are more than two channels to keep apart.
        AudioUndecodable: the recording cannot be read.
    """
    with _decoding:
        rows = _rows(path, channels)
        least = LEAST_BITS * len(rows)
        bits = min(MOST_BITS * len(rows), int(SHARE * most_bytes * 8 / (len(rows[0]) / SAMPLE_RATE)))
        while bits >= least:
            _encode(rows, target, bits)
            if target.stat().st_size <= most_bytes:
                return target
            bits = int(bits * SHARE)
    needed = int(len(rows[0]) / SAMPLE_RATE * least / 8 / SHARE)
    size = path.stat().st_size
    raise AudioTooLarge(f"the recording has {size} bytes, and {needed} as Opus, where {most_bytes} can be sent")


def _rows(path: Path, channels: Literal["mix", "split"]) -> list[NDArray[np.float32]]:
    """The samples of each channel, all of the same length."""
    if channels == "mix":
        return [audio.decode(path, max_duration_seconds=LONGEST_SECONDS).samples]
    waveforms = audio.decode_channels(path, max_duration_seconds=LONGEST_SECONDS)
    if len(waveforms) not in _LAYOUTS:
        size = path.stat().st_size
        raise AudioTooLarge(f"the recording has {size} bytes and {len(waveforms)} channels, and two can be kept apart")
    return [waveform.samples for waveform in waveforms]


def _encode(rows: list[NDArray[np.float32]], target: Path, bits: int) -> None:
    layout = _LAYOUTS[len(rows)]
    with av.open(str(target), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout=layout, options={"vbr": "constrained"})
        stream.bit_rate = bits
        shape = av.AudioResampler("flt", layout, SAMPLE_RATE, frame_size=stream.codec_context.frame_size or 320)
        for start in range(0, len(rows[0]), _BLOCK):
            block = np.stack([row[start : start + _BLOCK] for row in rows], axis=1)  # samples of a moment together
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block).reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            for part in shape.resample(frame):
                container.mux(stream.encode(part))
        for part in (*shape.resample(None), None):
            container.mux(stream.encode(part))
