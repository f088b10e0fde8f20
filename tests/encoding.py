"""Writes recordings for the tests, with the encoders of PyAV's own FFmpeg."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1"}


def encode(
    path: Path,
    samples: NDArray[np.floating],
    rate: int,
    codec: str,
    *,
    container: str,
    bit_rate: int | None = None,
    options: Mapping[str, str] | None = None,
    video_seconds: float = 0,
    start: float = 0,
    leave_out: tuple[float, float] = (0, 0),
) -> Path:
    """Write samples of shape `(num_channels, num_samples)`.

    With `video_seconds` a picture track comes first; the audio starts at `start` seconds, and packets that start
    within `leave_out` are not written.
    """
    layout = LAYOUTS[len(samples)]
    with av.open(str(path), "w", format=container, options=dict(options or {})) as output:
        pictures = output.add_stream("mpeg4", rate=10) if video_seconds else None
        stream = output.add_stream(codec, rate=rate, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        if pictures is not None:
            pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
            for index in range(round(video_seconds * 10)):
                output.mux(pictures.encode(plain_picture(index)))
            output.mux(pictures.encode(None))
        whole = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T.reshape(1, -1), np.float64), format="dbl", layout=layout
        )
        whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
        convert = av.AudioResampler(
            stream.codec_context.format.name, layout, rate, frame_size=stream.codec_context.frame_size or 1024
        )
        for frame in [*convert.resample(whole), *convert.resample(None), None]:
            if frame is not None:
                frame.pts += round(start * rate)
            for packet in stream.encode(frame):
                if not leave_out[0] <= float(packet.pts * packet.time_base) < leave_out[1]:
                    output.mux(packet)
    return path


def plain_picture(index: int) -> av.VideoFrame:
    """A new frame holds whatever the memory held, and a picture of that has a size that nobody knows."""
    picture = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")
    picture.pts = index
    return picture
