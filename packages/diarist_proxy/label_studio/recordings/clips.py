"""A region of a recording, alone in a small file: what is heard when somebody draws it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from diarist import audio
from diarist.errors import BadRequest
from diarist.types import SAMPLE_RATE, Samples, Span

MAX_DURATION_SECONDS = 14_400.0  # of the whole recording, which is decoded to find the region: 0.9 GB in memory


@contextmanager
def cropped(path: Path, span: Span) -> Iterator[Path]:
    """What a recording holds in a span, as FLAC, mono at 16 kHz; removed at the end of the block.

    Raises:
        BadRequest: the span holds none of the recording.
        AudioUndecodable, AudioTooLarge: as for `diarist.audio.decode`.
    """
    waveform = audio.decode(path, max_duration_seconds=MAX_DURATION_SECONDS)
    samples = waveform.crop(span)
    if not len(samples):
        raise BadRequest(
            f"the region from {span.start:.2f} to {span.end:.2f} s holds nothing of the recording, which lasts "
            f"{waveform.duration:.2f} s: draw it within the recording"
        )
    with TemporaryDirectory(prefix="diarist-") as folder:
        clip = Path(folder) / "region.flac"
        _write(clip, samples)
        yield clip


def _write(path: Path, samples: Samples) -> None:
    """FLAC with 16 bits a sample (RFC 9639): lossless, for as much as a microphone hears, and half the size of WAV."""
    whole = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(whole[None]), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
