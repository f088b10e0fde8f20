"""Every format decodes to the same waveform, at the same time, or to one clear error.

Signal-to-noise ratios are taken at 16 kHz against the recording before it was encoded, without shifting it.
"""

from __future__ import annotations

import itertools
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import firwin, resample_poly

from diarist import audio, pipeline
from diarist.audio import decode, decode_channels
from diarist.errors import AudioTooLarge, AudioUndecodable, DiaristError
from diarist.pipeline import Stages
from diarist.request import Options
from diarist.types import SAMPLE_RATE, Waveform
from encoding import encode, plain_picture
from fake_origin import FakeOrigin, serving

LIMIT = 60.0


@pytest.fixture(scope="module")
def speech(recordings: Path) -> NDArray[np.float64]:
    """Eleven seconds of speech, 16 kHz, shape `(176000,)`, loudest sample 0.9."""
    frames = [frame.to_ndarray() for frame in av.open(str(recordings / "misc" / "jfk.flac")).decode(audio=0)]
    stereo = np.concatenate(frames, axis=1).reshape(-1, 2) / 2.0**31  # packed stereo, 44.1 kHz
    mono = resample_poly(stereo.mean(axis=1), 160, 441)
    return np.asarray(0.9 * mono / np.abs(mono).max())


@pytest.fixture(scope="module")
def narrow(speech: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same below 3.4 kHz, so that every sample rate from 8 kHz on can carry it."""
    filtered = np.convolve(speech, firwin(511, 3400, fs=SAMPLE_RATE), mode="same")
    return np.asarray(0.9 * filtered / np.abs(filtered).max())


def at_rate(samples: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    divisor = np.gcd(rate, SAMPLE_RATE)
    return np.asarray(resample_poly(samples, rate // divisor, SAMPLE_RATE // divisor))


def noise_ratio(heard: NDArray[Any], wanted: NDArray[Any], *, lag: int = 0) -> float:
    """Signal-to-noise ratio in dB, over what both have, up to the last 20 ms (codecs' end padding)."""
    length = min(len(heard) - lag, len(wanted)) - 320
    assert length > 0.9 * len(wanted)
    error = heard[lag : lag + length].astype(float) - wanted[:length]
    return float(10 * np.log10(np.sum(wanted[:length] ** 2) / max(np.sum(error**2), 1e-30)))


def lag_of(heard: NDArray[Any], wanted: NDArray[Any]) -> int:
    """By how many samples a waveform is late, from the peak of the cross-correlation."""
    size = 1 << int(np.ceil(np.log2(len(heard) + len(wanted))))
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    peak = int(np.argmax(np.fft.irfft(spectrum, size)))
    return peak if peak < size // 2 else peak - size


@dataclass(frozen=True)
class Format:
    """How a file is made, and how close to the original it must come."""

    suffix: str
    container: str
    codec: str
    rate: int
    bound_db: float  # least signal-to-noise ratio
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    video_seconds: float = 0
    lag: int = 0  # samples at 16 kHz: encoder delay that the container does not declare

    def write(self, folder: Path, samples: NDArray[Any], num_channels: int = 1) -> Path:
        rows = np.tile(at_rate(samples, self.rate), (num_channels, 1))
        return encode(
            folder / f"speech{self.suffix}",
            rows,
            self.rate,
            self.codec,
            container=self.container,
            bit_rate=self.bit_rate,
            options=self.options,
            video_seconds=self.video_seconds,
        )


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
FASTSTART = {"movflags": "faststart"}
FORMATS = {
    "wav": Format(".wav", "wav", "pcm_s16le", 44100, 58),
    "flac": Format(".flac", "flac", "flac", 48000, 58),
    "mp3": Format(".mp3", "mp3", "libmp3lame", 44100, 24, 128_000),
    "mp3 at 16 kHz": Format(".mp3", "mp3", "libmp3lame", 16000, 20, 48_000),
    "m4a": Format(".m4a", "ipod", "aac", 44100, 30, 128_000),
    "m4a, head first": Format(".m4a", "ipod", "aac", 44100, 30, 128_000, FASTSTART),
    "alac": Format(".m4a", "ipod", "alac", 44100, 58),
    "ogg/opus": Format(".ogg", "ogg", "libopus", 48000, 22, 64_000),
    "ogg/flac": Format(".oga", "ogg", "flac", 48000, 58),
    "webm": Format(".webm", "webm", "libopus", 48000, 22, 64_000),
    "webm with a picture": Format(".webm", "matroska", "libopus", 48000, 22, 64_000, {}, 11.0),
    "mp4 with a picture": Format(".mp4", "mp4", "aac", 48000, 30, 128_000, {}, 12.0),
    "aiff": Format(".aiff", "aiff", "pcm_s16be", 44100, 58),
    "caf": Format(".caf", "caf", "pcm_s16be", 44100, 58),
    "aac": Format(".aac", "adts", "aac", 32000, 30, 128_000, {}, 0, 512),
    "mp4 in fragments": Format(".mp4", "mp4", "aac", 32000, 30, 128_000, FRAGMENTS, 0, 512),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("num_channels", [1, 2])
def test_every_format_gives_the_same_waveform_at_the_same_time(
    name: str, num_channels: int, speech: NDArray[np.float64], tmp_path: Path
) -> None:
    kind = FORMATS[name]
    waveform = decode(kind.write(tmp_path, speech, num_channels), max_duration_seconds=LIMIT)
    assert waveform.samples.dtype == np.float32
    assert waveform.samples.ndim == 1
    late = lag_of(waveform.samples, speech)
    assert abs(late - kind.lag) <= 1
    assert noise_ratio(waveform.samples, speech, lag=late) > kind.bound_db
    assert abs(waveform.duration - 11.0 - late / SAMPLE_RATE) < 0.05


DEPTHS = {"pcm_u8": 30, "pcm_s16le": 58, "pcm_s24le": 58, "pcm_s32le": 58, "pcm_f32le": 58, "pcm_f64le": 58}
RATES = (8000, 16000, 22050, 44100, 48000, 96000)
MATRIX = [
    (codec, rate, channels)
    for codec, rate, channels in itertools.product(DEPTHS, RATES, (1, 2, 6))
    if codec == "pcm_s16le" or (rate, channels) in {(8000, 1), (16000, 2), (44100, 6), (96000, 2)}
]


@pytest.mark.parametrize(("codec", "rate", "num_channels"), MATRIX)
def test_wav_of_every_depth_rate_and_number_of_channels(
    codec: str, rate: int, num_channels: int, narrow: NDArray[np.float64], tmp_path: Path
) -> None:
    kind = Format(".wav", "wav", codec, rate, DEPTHS[codec])
    waveform = decode(kind.write(tmp_path, narrow, num_channels), max_duration_seconds=LIMIT)
    assert lag_of(waveform.samples, narrow) == 0
    assert noise_ratio(waveform.samples, narrow) > kind.bound_db
    assert abs(len(waveform.samples) - len(narrow)) <= 2


WAV_WITH_WORDS = {
    f"wav {codec} {rate} Hz": Format(".wav", "wav", codec, rate, 0)
    for codec, rate, num_channels in MATRIX
    if codec != "pcm_u8" and rate >= SAMPLE_RATE and num_channels == 2
}


@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in (FORMATS | WAV_WITH_WORDS).items()])
def test_every_format_gives_the_same_words(
    kind: Format, speech: NDArray[np.float64], embedded: Stages, tmp_path: Path
) -> None:
    waveform = decode(kind.write(tmp_path, speech, 2), max_duration_seconds=LIMIT)
    transcript = pipeline.transcribe(waveform, embedded, Options(diarize=False))
    heard = " ".join(word.text for word in transcript.words)
    assert re.findall("[a-z]+", heard.lower()) == JFK.split()


JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


def test_sixteen_bit_samples_at_16_khz_arrive_exactly(recordings: Path) -> None:
    path = recordings / "misc" / "stereo_diarization.wav"
    rate, wanted = wavfile.read(path)
    assert (rate, wanted.dtype, wanted.shape[1]) == (SAMPLE_RATE, np.int16, 2)
    for row, channel in zip(wanted.T, decode_channels(path, max_duration_seconds=LIMIT), strict=True):
        np.testing.assert_array_equal(channel.samples, row / np.float32(32768))
    mean = decode(path, max_duration_seconds=LIMIT).samples
    np.testing.assert_allclose(mean, wanted.mean(axis=1) / 32768, atol=1e-7)


@pytest.mark.parametrize("num_channels", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_copies_of_one_channel_keep_its_level(
    num_channels: int, rate: int, narrow: NDArray[np.float64], tmp_path: Path
) -> None:
    kind = Format(".wav", "wav", "pcm_f32le", rate, 60)
    heard = decode(kind.write(tmp_path, narrow, num_channels), max_duration_seconds=LIMIT).samples
    assert np.sqrt(np.mean(heard**2) / np.mean(narrow**2)) == pytest.approx(1, abs=1e-3)


def test_every_channel_but_the_low_frequency_effects_counts_the_same(tmp_path: Path) -> None:
    tones = [np.sin(2 * np.pi * frequency * np.arange(SAMPLE_RATE) / SAMPLE_RATE) for frequency in range(200, 800, 100)]
    path = encode(tmp_path / "x.wav", 0.5 * np.array(tones), SAMPLE_RATE, "pcm_f32le", container="wav")
    spectrum = np.abs(np.fft.rfft(decode(path, max_duration_seconds=LIMIT).samples)) / (SAMPLE_RATE / 2)
    levels = [float(spectrum[frequency]) for frequency in range(200, 800, 100)]
    assert levels == pytest.approx([0.1, 0.1, 0.1, 0.0, 0.1, 0.1], abs=1e-4)  # the fourth of 5.1 is LFE


def test_channels_stay_apart_and_aligned(speech: NDArray[np.float64], tmp_path: Path) -> None:
    wide = at_rate(speech, 44100)
    rows = np.stack([wide, np.roll(wide, 44100), 0.1 * wide])
    path = encode(tmp_path / "x.flac", rows, 44100, "flac", container="flac")
    first, second, third = decode_channels(path, max_duration_seconds=LIMIT)
    assert lag_of(first.samples, speech) == 0
    assert lag_of(second.samples, np.roll(speech, SAMPLE_RATE)) == 0
    np.testing.assert_allclose(third.samples, 0.1 * first.samples, atol=1e-4)


def test_more_channels_than_can_be_told_apart_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    wavfile.write(path, 16000, np.zeros((16000, 9), np.int16))
    with pytest.raises(AudioUndecodable, match="9 channels; at most 8"):
        decode_channels(path, max_duration_seconds=LIMIT)
    assert decode(path, max_duration_seconds=LIMIT).duration == 1


@pytest.mark.parametrize("name", ["mp3", "m4a", "webm", "flac"])
def test_the_name_of_a_file_means_nothing(name: str, speech: NDArray[np.float64], tmp_path: Path) -> None:
    path = FORMATS[name].write(tmp_path, speech)
    renamed = path.rename(tmp_path / "speech.txt.wav")
    assert decode(renamed, max_duration_seconds=LIMIT).duration == pytest.approx(11, abs=0.05)


def test_audio_that_starts_after_the_picture_keeps_its_time(speech: NDArray[np.float64], tmp_path: Path) -> None:
    rows = at_rate(speech, 48000)[None]
    path = encode(tmp_path / "x.mp4", rows, 48000, "aac", container="mp4", video_seconds=13, start=1.5)
    samples = decode(path, max_duration_seconds=LIMIT).samples
    assert abs(lag_of(samples, speech) - 1.5 * SAMPLE_RATE) <= 16
    assert np.abs(samples[: SAMPLE_RATE * 3 // 2 - 400]).max() == 0


@pytest.mark.parametrize("container", ["webm", "ipod"])
def test_words_after_a_hole_in_the_stream_keep_their_time(
    container: str, speech: NDArray[np.float64], tmp_path: Path
) -> None:
    codec = {"webm": "libopus", "ipod": "aac"}[container]
    rows = at_rate(speech, 48000)[None]
    path = encode(tmp_path / "x", rows, 48000, codec, container=container, bit_rate=96_000, leave_out=(3.0, 5.0))
    samples = decode(path, max_duration_seconds=LIMIT).samples
    after = slice(6 * SAMPLE_RATE, 10 * SAMPLE_RATE)
    assert abs(lag_of(samples[after], speech[after])) <= 16
    if container == "webm":  # MP4 has no holes: its muxer makes the packet before it longer
        assert np.abs(samples[round(3.2 * SAMPLE_RATE) : round(4.8 * SAMPLE_RATE)]).max() == 0


def test_mp3_files_that_were_joined_are_one_recording(speech: NDArray[np.float64], tmp_path: Path) -> None:
    """FFmpeg guesses a length from the first bit rate, here far too long: that guess must not count as declared."""
    bare = {"write_xing": "0", "id3v2_version": "0"}
    parts = [
        Format(f"{rate}.mp3", "mp3", "libmp3lame", rate, 0, bit_rate, bare).write(tmp_path, speech, channels)
        for rate, bit_rate, channels in ((44100, 32_000, 1), (48000, 256_000, 2))
    ]
    path = tmp_path / "joined"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert decode(path, max_duration_seconds=LIMIT).duration == pytest.approx(22, abs=0.2)
    with pytest.raises(AudioUndecodable, match="channels change from 1 to 2"):
        decode_channels(path, max_duration_seconds=LIMIT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_samples_that_are_no_sound_do_not_reach_the_models(value: float, tmp_path: Path) -> None:
    samples = np.full(32000, 0.25, np.float32)
    samples[5000:5100] = value
    path = tmp_path / "x.wav"
    wavfile.write(path, 32000, samples)
    heard = decode(path, max_duration_seconds=LIMIT).samples
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() < 16
    assert heard[10000] == pytest.approx(0.25, abs=1e-3)


def test_silence_is_a_recording(recordings: Path) -> None:
    assert decode(recordings / "misc" / "empty.wav", max_duration_seconds=LIMIT).duration > 0


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no bytes": (lambda _: b"", "0 bytes"),
    "zeros": (lambda _: bytes(100_000), "not audio"),
    "text": (lambda _: b"The quick brown fox.\n" * 500, "not audio"),
    "a login page": (lambda _: b"<!DOCTYPE html><html><body>Log in</body></html>" * 50, "not audio"),
    "a JSON error": (lambda _: b'{"error": "not found"}', "not audio"),
    "a PNG's head": (lambda _: b"\x89PNG\r\n\x1a\n" + bytes(5000), "not audio"),
    "a PDF's head": (lambda _: b"%PDF-1.7\n" + bytes(5000), "not audio"),
    "a RIFF without a body": (lambda whole: whole[:12], "not audio"),
    "a WAV without samples": (lambda whole: whole[:40] + bytes(4), "without a single sample"),
    "a WAV at 2 kHz": (lambda whole: whole[:24] + struct.pack("<I", 2000) + whole[28:], "2000 Hz"),
    "a WAV at 4 GHz": (lambda whole: whole[:24] + struct.pack("<I", 0x7FFFFFFF) + whole[28:], "Hz|not audio"),
    "a WAV without channels": (lambda whole: whole[:22] + bytes(2) + whole[24:], "packets cannot be decoded"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_audio_gives_one_clear_error(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.wav"
    wavfile.write(path, 16000, np.zeros(16000, np.int16))
    change, reason = BROKEN[name]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(AudioUndecodable, match=reason) as caught:
        decode(path, max_duration_seconds=LIMIT)
    assert caught.value.status == 422
    assert str(tmp_path) not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_header_that_points_where_no_file_can_reach_is_an_error_and_prints_nothing(
    speech: NDArray[np.float64], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = FORMATS["caf"].write(tmp_path, speech)
    data = bytearray(path.read_bytes())
    second_chunk = 8 + 12 + 32  # after the file's header and its description
    data[second_chunk : second_chunk + 12] = b"info" + struct.pack(">q", 1 << 56)
    path.write_bytes(data)
    with pytest.raises(AudioUndecodable, match="not audio, or it is broken"):
        decode(path, max_duration_seconds=LIMIT)
    assert capfd.readouterr() == ("", "")


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(5):
            output.mux(stream.encode(plain_picture(index)))
        output.mux(stream.encode(None))
    with pytest.raises(AudioUndecodable, match="has no audio track"):
        decode(path, max_duration_seconds=LIMIT)


def test_a_file_that_is_not_there_is_not_called_broken(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "none.wav", max_duration_seconds=LIMIT)


CUT = ["wav", "flac", "mp3", "m4a", "m4a, head first", "webm", "mp4 with a picture", "aiff", "mp4 in fragments"]


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_a_file_that_was_cut_is_an_error_and_never_a_shorter_recording(
    name: str, share: float, speech: NDArray[np.float64], tmp_path: Path
) -> None:
    path = FORMATS[name].write(tmp_path, speech)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])
    with pytest.raises(AudioUndecodable):
        decode(path, max_duration_seconds=LIMIT)


@pytest.mark.parametrize("name", ["ogg/opus", "aac", "caf", "webm with a picture"])
def test_a_stream_that_declares_no_length_is_decoded_as_far_as_it_goes(
    name: str, speech: NDArray[np.float64], tmp_path: Path
) -> None:
    path = FORMATS[name].write(tmp_path, speech)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    samples = decode(path, max_duration_seconds=LIMIT).samples
    assert 4 < len(samples) / SAMPLE_RATE < 7
    assert abs(lag_of(samples, speech) - FORMATS[name].lag) <= 1


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_that_was_written_to_a_pipe_is_whole(size: int, speech: NDArray[np.float64], tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    wavfile.write(path, SAMPLE_RATE, (speech * 32767).astype(np.int16))
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + struct.pack("<I", size) + whole[44:])
    assert decode(path, max_duration_seconds=LIMIT).duration == 11


@pytest.mark.parametrize(("name", "most_early"), [("m4a", 1), ("flac", 1), ("mp3", 3200)])  # MP3 has no timestamps
def test_a_few_broken_packets_are_left_out_and_the_rest_keeps_its_time(
    name: str, most_early: int, speech: NDArray[np.float64], tmp_path: Path
) -> None:
    path = FORMATS[name].write(tmp_path, speech)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    for position in range(third, third + 2000):
        data[position] ^= 0x5A
    path.write_bytes(data)
    samples = decode(path, max_duration_seconds=LIMIT).samples
    after = slice(6 * SAMPLE_RATE, 10 * SAMPLE_RATE)
    assert abs(lag_of(samples[after], speech[after])) <= most_early


def test_a_file_with_mostly_broken_packets_is_an_error(speech: NDArray[np.float64], tmp_path: Path) -> None:
    path = FORMATS["m4a, head first"].write(tmp_path, speech)
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    noise = np.random.default_rng(7).integers(0, 256, len(data), np.uint8)
    data[20_000:] = noise[20_000:]
    path.write_bytes(data.tobytes())
    with pytest.raises(AudioUndecodable, match="packets cannot be decoded"):
        decode(path, max_duration_seconds=LIMIT)


@pytest.mark.parametrize("name", ["wav", "mp3", "m4a", "ogg/opus", "webm", "flac", "aac"])
def test_a_recording_over_the_limit_says_both_numbers(name: str, speech: NDArray[np.float64], tmp_path: Path) -> None:
    path = FORMATS[name].write(tmp_path, speech)
    with pytest.raises(AudioTooLarge, match=r"lasts (at least )?\d+\.\d s, the limit is 5 s") as caught:
        decode(path, max_duration_seconds=5)
    assert caught.value.status == 413
    assert decode(path, max_duration_seconds=11.1).duration > 10.9


def test_a_decompression_bomb_stops_at_the_limit_whatever_it_declares(tmp_path: Path) -> None:
    hour = np.zeros((1, 8000 * 3600))
    path = encode(tmp_path / "x.flac", hour, 8000, "flac", container="flac")
    data = bytearray(path.read_bytes())
    assert len(data) < 700_000  # an hour of silence
    data[21] &= 0xF0  # STREAMINFO's total samples: 36 bits at the end of byte 21; zero is unknown
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(AudioTooLarge, match="at least 60"):
        decode(path, max_duration_seconds=60)


PLAYLISTS = {
    "x.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:11\n#EXTINF:11,\n{target}\n#EXT-X-ENDLIST\n",
    "x.m3u": "{target}\n",
    "x.ffconcat": "ffconcat version 1.0\nfile {target}\n",
    "x.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na={target}\nm=audio 5004 RTP/AVP 0\n",
    "x.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="audio/mp4"><Representation id="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>",
    "x.asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "x.pls": "[playlist]\nFile1={target}\n",
    "x.smil": '<smil><body><audio src="{target}"/></body></smil>',
}


@pytest.fixture(scope="module")
def origin() -> Any:  # noqa: ANN401 - a generator fixture
    with serving() as running:
        yield running


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("kind", ["file", "http"])
def test_a_playlist_opens_neither_a_local_file_nor_a_url(
    name: str, kind: str, origin: FakeOrigin, tmp_path: Path
) -> None:
    wavfile.write(tmp_path / "private.wav", 16000, np.ones(16000, np.int16))
    target = "private.wav" if kind == "file" else origin.url("/audio")
    path = tmp_path / name
    path.write_text(PLAYLISTS[name].format(target=target))
    origin.seen.clear()

    def seconds() -> float:
        started = time.monotonic()
        with pytest.raises(AudioUndecodable):
            decode(path, max_duration_seconds=LIMIT)
        return time.monotonic() - started

    assert any(seconds() < 9 for _ in range(3))  # an SDP that is obeyed waits ten seconds for its stream
    assert origin.seen == []


def test_ffmpeg_left_to_itself_would_follow_such_a_playlist(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "private.wav", 16000, np.ones(16000, np.int16))
    path = tmp_path / "x.ffconcat"
    path.write_text(PLAYLISTS["x.ffconcat"].format(target="private.wav"))
    with av.open(str(path)) as opened:
        assert sum(frame.samples for frame in opened.decode(audio=0)) == 16000


def test_a_container_outside_the_list_is_not_opened_though_ffmpeg_could(
    speech: NDArray[np.float64], tmp_path: Path
) -> None:
    path = Format(".ts", "mpegts", "aac", 48000, 0, 64_000).write(tmp_path, speech)
    with av.open(str(path)) as opened:
        assert opened.format.name == "mpegts"
    with pytest.raises(AudioUndecodable, match="are supported"):
        decode(path, max_duration_seconds=LIMIT)


def test_a_path_is_never_read_as_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wavfile.write(tmp_path / "private.wav", 16000, np.ones(16000, np.int16))
    monkeypatch.chdir(tmp_path)
    for name in ("file:private.wav", "concat:private.wav|private.wav", "subfile,,start,0,end,0,,:private.wav"):
        with pytest.raises(FileNotFoundError):
            decode(Path(name), max_duration_seconds=LIMIT)


@pytest.fixture(scope="module")
def small_files(narrow: NDArray[np.float64], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    names = ["wav", "flac", "mp3", "m4a", "m4a, head first", "ogg/opus", "webm", "aiff", "caf", "aac"]
    return [FORMATS[name].write(tmp_path_factory.mktemp("small"), narrow[:8000]) for name in names]


EDITS = st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 9), edits=EDITS, cut=st.none() | st.floats(0, 1))
def test_no_header_however_broken_gives_anything_but_a_waveform_or_an_error(  # noqa: PLR0917 - fixtures
    which: int,
    edits: list[tuple[bool, float, bytes]],
    cut: float | None,
    small_files: list[Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    content = bytearray(small_files[which].read_bytes())
    for in_head, place, change in edits:
        position = int(place * (min(400, len(content)) if in_head else len(content)))
        content[position : position + len(change)] = change
    if cut is not None:
        del content[int(cut * len(content)) :]
    path = tmp_path / "fuzzed"
    path.write_bytes(content)
    for function in (decode, decode_channels):
        try:
            result = function(path, max_duration_seconds=20)
        except DiaristError:
            continue
        for waveform in (result,) if isinstance(result, Waveform) else result:
            assert waveform.samples.dtype == np.float32
            assert 0 < waveform.duration <= 20.1
            assert np.isfinite(waveform.samples).all()
    assert capfd.readouterr() == ("", "")


MEASURE = """
import re, sys
from pathlib import Path
from diarist.audio import decode
waveform = decode(Path(sys.argv[1]), max_duration_seconds=14400)
# Not getrusage: at exec, Linux hands the parent's peak on to the child.
print(waveform.duration, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_an_hour_of_stereo_takes_well_under_a_gigabyte(speech: NDArray[np.float64], tmp_path: Path) -> None:
    """Three gigabytes are allowed for an hour; the waveform itself has 230 MB."""
    minute = np.tile(speech, 6)[: 60 * SAMPLE_RATE]
    bare = {"write_xing": "0", "id3v2_version": "0"}  # frames only, so that sixty copies are one MP3
    path = Format(".mp3", "mp3", "libmp3lame", 48000, 0, 64_000, bare).write(tmp_path, minute, 2)
    path.write_bytes(path.read_bytes() * 60)
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=Path(audio.__file__).parents[1],
    )
    duration, kilobytes = answer.stdout.split()
    assert float(duration) == pytest.approx(3600, abs=5)
    assert int(kilobytes) < 500_000
    assert answer.stderr == ""
