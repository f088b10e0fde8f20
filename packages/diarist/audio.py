"""File -> `Waveform`: mono float32 at 16 kHz, through PyAV, whose wheel carries FFmpeg's libraries.

What a file is, its bytes say: the name and its extension are never looked at.

Channels. Mono is the plain mean of all channels but the low-frequency effects (LFE) channel. FFmpeg's own downmix
makes two equal channels 3 dB louder in float, and takes the surround channels of 5.1 down; here a mono recording
that was copied to any number of channels keeps its level, and whoever speaks on one channel counts as much
as the others.

Closeness. Against the recording before it was encoded, at 16 kHz and not shifted, the signal-to-noise ratio is at
least 58 dB for lossless files of 16 bits and more at any rate from 8 to 96 kHz (two resamplers' ripple), 30 dB for
8 bits and for AAC at 128 kbit/s, 24 dB for MP3 at 128 kbit/s and 22 dB for Opus at 64 kbit/s: `tests/test_audio.py`.

Time. Sample 0 is the start of the file as a player shows it. Encoder delay that the container declares (MP3's LAME
tag, MP4's edit list, Opus' pre-skip, WebM's CodecDelay) is cut by FFmpeg. A track that starts later than the file,
and a hole of more than `GAP_SECONDS` in its timestamps, are silence, so that later words keep their time. Raw AAC
(ADTS) and fragmented MP4 without an edit list declare no delay: theirs stays, 1024 samples or more (23 ms at 44.1 kHz).

Broken files. A file must not become a transcript that is silently shorter:
* where the length is declared (WAV, AIFF, AU, FLAC, MP4, WMA, Matroska and WebM without a picture, MP3 with a Xing,
  Info or VBRI tag), audio that ends more than `MISSING_SECONDS` earlier is an error;
* where none is, or FFmpeg hides it (Ogg, raw AAC, AMR, CAF, W64, MP3 without such a tag, Matroska with a picture, a WAV
  that was written to a pipe), a cut file cannot be told from one that was stopped, and is decoded as far as it goes;
* packets that cannot be decoded become silence if they are few: at most `MAX_BROKEN_PACKETS` of all, or two. (MP3
  holds no timestamps: what a damaged place swallows makes the rest a little early, as in any player.)

Safety. FFmpeg reads playlists and descriptions that name other files and servers (HLS, concat, SDP, DASH). Only the
demuxers below are open, no protocol is, and every attempt to open a second file is refused. Decoders of pictures
never run. FFmpeg's log stays off, as PyAV leaves it: a callback into Python from its threads can deadlock.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import av
import numpy as np
from numpy.typing import NDArray

from diarist.errors import AudioTooLarge, AudioUndecodable
from diarist.types import SAMPLE_RATE, Samples, Waveform

GAP_SECONDS = 0.05  # above the jitter of WebM's timestamps (whole milliseconds, browsers' clocks), below a syllable
MISSING_SECONDS = 0.5  # above every codec's padding
MAX_BROKEN_PACKETS = 0.1  # of all packets
MAX_CHANNELS = 8  # that can be told apart: one waveform each is kept
SAMPLE_RATES = range(4_000, 384_001)  # beyond them a header is nonsense, and resampling a bomb

_log = logging.getLogger(__name__)

_DEMUXERS = "wav,w64,aiff,au,caf,flac,mp3,aac,ogg,matroska,mov,amr,asf"
_DECODERS = (  # those that may run while FFmpeg probes a file; pictures have none
    "aac,ac3,alac,amrnb,amrwb,eac3,flac,libopus,mp1float,mp2float,mp3,mp3float,opus,vorbis,wmav1,wmav2,wmapro,"
    "adpcm_g726,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,g722,g723_1,g729,gsm,gsm_ms,libspeex,speex,truespeech,"
    "pcm_alaw,pcm_mulaw,pcm_s8,pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,"
    "pcm_s64le,pcm_s64be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be"
)
_DECLARE_LENGTH = {"wav", "aiff", "au", "flac", "mov,mp4,m4a,3gp,3g2,mj2", "asf"}
_UNKNOWN_SIZE = 0x7FFF0000  # writers to a pipe put 0xFFFFFFFF or about 2^31 into a WAV header
_BLOCK_SAMPLES = 1 << 19  # resampled at once: about ten seconds
_SAMPLE_BYTES = np.dtype(np.float32).itemsize
_LOUDEST = 8.0  # full scale is 1; float files may hold anything
_SUPPORTED = "WAV, FLAC, MP3, M4A/MP4, AAC, Ogg, Opus, WebM, Matroska, AIFF, CAF, AU, AMR and WMA are supported"


def decode(path: Path, *, max_duration_seconds: float) -> Waveform:
    """Decode a recording to one waveform, the mean of its channels.

    Memory: 64 kB a second of audio (230 MB an hour), plus some ten seconds at the file's own rate.

    Raises:
        AudioUndecodable: empty, not audio, no audio track, broken, or cut off.
        AudioTooLarge: longer than `max_duration_seconds`, declared or found; decoding stops there.
        OSError: the file cannot be read.
    """
    return Waveform(_decoded(path, max_duration_seconds, _mean_of_channels)[0])


def decode_channels(path: Path, *, max_duration_seconds: float) -> tuple[Waveform, ...]:
    """Decode a recording to one waveform a channel, in the file's order, all of the same length.

    Memory: as for `decode`, times the number of channels, of which there may be `MAX_CHANNELS`.

    Raises:
        AudioUndecodable: as for `decode`; or too many channels, or their number changes.
        AudioTooLarge: as for `decode`.
        OSError: the file cannot be read.
    """
    return tuple(Waveform(row) for row in _decoded(path, max_duration_seconds, _every_channel))


Rows = NDArray[np.float32]  # shape (num_channels, num_samples), at the file's own rate or at 16 kHz
_Select = Callable[[Rows, Any], Rows]


def _decoded(path: Path, limit: float, select: _Select) -> tuple[Samples, ...]:
    """Samples at 16 kHz, as many rows as `select` keeps."""
    if path.stat().st_size == 0:
        raise AudioUndecodable("the file is empty: it has 0 bytes")
    with path.open("rb") as file:
        length = _ByteLength.of(file)
        try:
            with _container(file) as container:
                return _samples(container, length, limit, select)
        except (av.FFmpegError, ValueError, ArithmeticError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise AudioUndecodable(f"the file is not audio, or it is broken: {reason}; {_SUPPORTED}") from None


@dataclass(frozen=True, slots=True)
class _Source:
    """A file as FFmpeg's I/O callbacks want it: a seek that a broken header asks for fails without an exception.

    PyAV would print such an exception to standard error, and might raise it in an unrelated call.
    """

    file: BinaryIO

    def read(self, size: int) -> bytes:
        return self.file.read(size)

    def tell(self) -> int:
        return self.file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self.file.seek(offset, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


def _container(file: BinaryIO) -> Any:  # noqa: ANN401 - PyAV's InputContainer
    options = {"protocol_whitelist": "none", "format_whitelist": _DEMUXERS, "codec_whitelist": _DECODERS}
    return av.open(_Source(file), options=options, io_open=_refuse, metadata_errors="ignore")


def _refuse(*_: object) -> NoReturn:
    raise PermissionError("a recording may not name other files")


def _samples(container: Any, length: _ByteLength, limit: float, select: _Select) -> tuple[Samples, ...]:  # noqa: ANN401
    tracks = container.streams.audio
    if not tracks:
        raise AudioUndecodable(f"the file ({container.format.name}) has no audio track")
    best = container.streams.best("audio")
    stream = best if best in tracks else tracks[0]
    declared = _declared_seconds(container, stream, length)
    if declared is not None and declared > limit:
        raise _too_long(f"lasts {declared:.1f} s", limit)
    track = _Track(limit)
    for frame in _frames(container, stream):
        track.add(select(_rows(frame), frame), frame.sample_rate, _start(frame, container))
    rows = track.finish()
    if not rows or len(rows[0]) == 0:
        raise AudioUndecodable("the file has an audio track without a single sample")
    if declared is not None and declared - track.end > MISSING_SECONDS:
        message = f"the file is cut off: it should last {declared:.1f} s, but its audio ends after {track.end:.1f} s"
        raise AudioUndecodable(message)
    return rows


def _too_long(what: str, limit: float) -> AudioTooLarge:
    return AudioTooLarge(f"the recording {what}, the limit is {limit:g} s (DIARIST_MAX_DURATION_SECONDS)")


def _frames(container: Any, stream: Any) -> Iterator[Any]:  # noqa: ANN401
    """Decoded frames in order; broken packets are left out while they are few."""
    broken = total = 0
    for packet in container.demux(stream):
        total += 1
        try:
            frames = packet.decode()
        except av.FFmpegError:
            broken += 1
            continue
        yield from frames
    if broken > max(2, MAX_BROKEN_PACKETS * total):
        raise AudioUndecodable(f"the file is broken: {broken} of its {total} packets cannot be decoded")
    if broken:
        _log.warning("%d of %d packets could not be decoded", broken, total)


def _start(frame: Any, container: Any) -> float | None:  # noqa: ANN401
    """When a frame starts, in seconds from the start of the file."""
    if frame.pts is None or frame.time_base is None:
        return None
    time = float(frame.pts * frame.time_base)
    return time - float(container.start_time or 0) / float(av.time_base)


def _rows(frame: Any) -> Rows:  # noqa: ANN401
    """A frame as float32 of shape `(num_channels, num_samples)`, full scale 1, all finite."""
    if frame.sample_rate not in SAMPLE_RATES:
        raise AudioUndecodable(
            f"the file's sample rate is {frame.sample_rate} Hz; {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} are supported"
        )
    samples: NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.itemsize - 1))
    finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    return finite.clip(-_LOUDEST, _LOUDEST).astype(np.float32)


def _mean_of_channels(rows: Rows, frame: Any) -> Rows:  # noqa: ANN401
    if len(rows) > 2:  # noqa: PLR2004 - a layout without LFE
        spoken = [index for index, channel in enumerate(frame.layout.channels) if not channel.name.startswith("LFE")]
        rows = rows[spoken or slice(None)]
    mean: Rows = rows.mean(axis=0, keepdims=True)
    return mean


def _every_channel(rows: Rows, frame: Any) -> Rows:  # noqa: ANN401, ARG001 - one signature for both
    if len(rows) > MAX_CHANNELS:
        raise AudioUndecodable(f"the file has {len(rows)} channels; at most {MAX_CHANNELS} can be told apart")
    return rows


@dataclass(slots=True)
class _Track:
    """Collects frames on one time line and resamples them to 16 kHz, block by block."""

    limit: float  # seconds
    end: float = 0.0  # seconds that have come in
    _shift: float = 0.0  # added to timestamps that run backwards, as in files that were joined
    _format: tuple[int, int] = (0, 0)  # rate and number of rows of what is waiting
    _waiting: list[Rows] = field(default_factory=list)
    _num_waiting: int = 0  # samples, at the file's rate
    _resamplers: list[Any] = field(default_factory=list)
    # At 16 kHz, one a row: these grow in place, where a list of blocks is in memory twice when it is joined.
    _done: list[bytearray] = field(default_factory=list)

    def add(self, rows: Rows, rate: int, start: float | None) -> None:
        """Append a frame, which starts at a time or where the last one ended."""
        if self._format[1] not in {0, len(rows)}:
            raise AudioUndecodable(f"the file's channels change from {self._format[1]} to {len(rows)}")
        if start is not None:
            self._go_to(start + self._shift, len(rows))
        if self._format != (rate, len(rows)):
            self._flush()
            self._format = (rate, len(rows))
        self.end += rows.shape[1] / rate
        self._check()
        self._waiting.append(rows)
        self._num_waiting += rows.shape[1]
        if self._num_waiting >= _BLOCK_SAMPLES:
            self._convert()

    def finish(self) -> tuple[Samples, ...]:
        """Everything, one array a row, all of the same length; they share the track's memory."""
        self._flush()
        return tuple(np.frombuffer(done, np.float32) for done in self._done)

    def _go_to(self, start: float, num_rows: int) -> None:
        if start - self.end > GAP_SECONDS:
            self._flush()
            self.end = start
            self._check()
            num_done = len(self._done[0]) // _SAMPLE_BYTES if self._done else 0
            self._keep(np.zeros((num_rows, max(0, round(start * SAMPLE_RATE) - num_done)), np.float32))
        elif self.end - start > GAP_SECONDS:
            self._shift += self.end - start

    def _check(self) -> None:
        if self.end > self.limit:
            raise _too_long(f"lasts at least {self.end:.1f} s", self.limit)

    def _convert(self) -> None:
        if not self._waiting:
            return
        rate, num_rows = self._format
        block = np.concatenate(self._waiting, axis=1)
        self._waiting, self._num_waiting = [], 0
        if rate == SAMPLE_RATE:
            self._keep(block)
            return
        if not self._resamplers:
            self._resamplers = [av.AudioResampler("flt", "mono", SAMPLE_RATE) for _ in range(num_rows)]
        parts: list[Samples] = []
        for row, resampler in zip(block, self._resamplers, strict=True):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(row[None]), format="flt", layout="mono")
            frame.sample_rate = rate
            parts.append(_joined(resampler.resample(frame)))
        self._keep(parts)

    def _flush(self) -> None:
        self._convert()
        if self._resamplers:
            self._keep([_joined(resampler.resample(None)) for resampler in self._resamplers])
            self._resamplers = []

    def _keep(self, block: Sequence[Samples] | Rows) -> None:
        if not self._done:
            self._done = [bytearray() for _ in block]
        for index, row in enumerate(block):
            self._done[index] += np.ascontiguousarray(row).data


def _joined(frames: list[Any]) -> Samples:
    return np.concatenate([np.zeros(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)])


@dataclass(frozen=True, slots=True)
class _ByteLength:
    """What only the bytes tell about a file's declared length, since FFmpeg does not."""

    wav_is_cut: bool = False  # FFmpeg takes the length of what is there
    mp3_is_counted: bool = False  # where not, FFmpeg's duration is a guess from the bit rate

    @classmethod
    def of(cls, file: BinaryIO) -> _ByteLength:
        """Look at the head of a file, and leave it at its start."""
        head = file.read(12)
        length = cls(wav_is_cut=_wav_is_cut(head, file), mp3_is_counted=_mp3_is_counted(head, file))
        file.seek(0)
        return length


def _declared_seconds(container: Any, stream: Any, length: _ByteLength) -> float | None:  # noqa: ANN401
    """How long the audio should last, where that can be trusted."""
    if length.wav_is_cut:
        raise AudioUndecodable("the file is cut off: its WAV header declares more bytes than there are")
    name = container.format.name
    if stream.duration is not None and (name in _DECLARE_LENGTH or (name == "mp3" and length.mp3_is_counted)):
        return float(stream.duration * stream.time_base)
    if name == "matroska,webm" and container.duration is not None and len(container.streams) == 1:
        return float(container.duration / av.time_base)
    return None


def _wav_is_cut(head: bytes, file: BinaryIO) -> bool:
    """Whether the data chunk of a RIFF file (Microsoft, Multimedia Programming Interface, 1991) runs past its end."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return False
    size = file.seek(0, os.SEEK_END)
    position = len(head)
    while position + 8 <= size:
        file.seek(position)
        chunk = file.read(8)
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            return position + 8 + length > size and length < _UNKNOWN_SIZE
        position += 8 + length + length % 2
    return False


def _mp3_is_counted(head: bytes, file: BinaryIO) -> bool:
    """Whether the first frame of an MP3 holds a number of frames; an ID3v2 tag (ID3v2.4, 3.1) may come before it."""
    start = 0
    if head[:3] == b"ID3":
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    file.seek(start)
    first_frame = file.read(4096)
    return any(tag in first_frame for tag in (b"Xing", b"Info", b"VBRI"))
