"""Recordings on their way: what is sent, and how small a recording can be made."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from diarist import audio
from diarist.errors import AudioTooLarge, AudioUndecodable
from diarist_proxy.endpoint import Recording
from diarist_proxy.endpoint.carrying import Body, Route
from diarist_proxy.endpoint.compress import compressed
from encoding import encode
from endpoint_calls import KeptCall

RATE = 16_000


@pytest.mark.parametrize("num_bytes", [0, 1, 2, 3, 3 << 18, (3 << 18) + 1])
def test_a_body_is_json_of_the_size_that_it_says(tmp_path: Path, num_bytes: int) -> None:
    path = tmp_path / "recording"
    path.write_bytes(bytes(range(256)) * (num_bytes // 256) + bytes(num_bytes % 256))
    body = Body.of(Recording(path=path), {"language": "en", "hotwords": '"é"'})
    sent = b"".join(body)
    assert len(sent) == body.size
    said = json.loads(sent)
    assert base64.b64decode(said.pop("audio_b64")) == path.read_bytes()
    assert said == {"language": "en", "hotwords": '"é"'}


def test_a_url_is_sent_as_it_is() -> None:
    body = Body.of(Recording(url="https://files.example/1.mp3?s=1"), {})
    assert json.loads(b"".join(body)) == {"audio_file": "https://files.example/1.mp3?s=1"}


def test_speech_made_smaller_keeps_its_length_its_times_and_what_is_said(sample: Path, tmp_path: Path) -> None:
    before = audio.decode(sample / "sample.wav", max_duration_seconds=60).samples
    small = compressed(sample / "sample.wav", tmp_path / "small.ogg", most_bytes=100_000)
    assert small.stat().st_size <= 100_000
    after = audio.decode(small, max_duration_seconds=60).samples
    assert len(after) == len(before)
    shifts = range(-200, 201)
    match = [float(np.dot(before[5_000:300_000], after[5_000 + shift : 300_000 + shift])) for shift in shifts]
    assert abs(shifts[int(np.argmax(match))]) <= 2  # samples: an eighth of a millisecond


def test_of_the_bit_rates_the_best_that_fits_is_taken(sample: Path, tmp_path: Path) -> None:
    sizes = [
        compressed(sample / "sample.wav", tmp_path / f"{most}.ogg", most_bytes=most).stat().st_size
        for most in (70_000, 120_000, 2_000_000)
    ]
    assert sizes[0] < sizes[1] < sizes[2] < 300_000


def test_channels_that_are_speakers_stay_apart(tmp_path: Path) -> None:
    time = np.arange(RATE * 4) / RATE
    tones = np.stack([0.3 * np.sin(2 * np.pi * 300 * time), 0.3 * np.sin(2 * np.pi * 1900 * time)])
    path = encode(tmp_path / "call.wav", tones, RATE, "pcm_s16le", container="wav")
    small = compressed(path, tmp_path / "small.ogg", most_bytes=60_000, channels="split")
    channels = audio.decode_channels(small, max_duration_seconds=60)
    assert [strongest(channel.samples) for channel in channels] == pytest.approx([300, 1900], abs=5)
    three = encode(tmp_path / "three.wav", np.stack([*tones, tones[0]]), RATE, "pcm_s16le", container="wav")
    with pytest.raises(AudioTooLarge, match="3 channels"):
        compressed(three, tmp_path / "small.ogg", most_bytes=60_000, channels="split")


def strongest(samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """The loudest frequency, in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples))


def test_what_cannot_be_made_small_enough_or_read_is_told(sample: Path, tmp_path: Path) -> None:
    route = Route("the model", most_bytes=50_000)
    recording = Recording(path=sample / "sample.wav")
    with pytest.raises(AudioTooLarge, match=r"has \d+ bytes, and \d+ as Opus, where \d+ can be sent to the model"):
        route.fitted(recording, {}, tmp_path, KeptCall())
    noise = tmp_path / "noise.wav"
    noise.write_bytes(bytes(60_000))
    with pytest.raises(AudioUndecodable):
        route.fitted(Recording(path=noise), {}, tmp_path, KeptCall())


def test_what_fits_is_left_as_it_is(sample: Path, tmp_path: Path) -> None:
    recording, call = Recording(path=sample / "sample.wav"), KeptCall()
    assert Route("the model", most_bytes=2_000_000).fitted(recording, {}, tmp_path, call) == (recording, None)
    assert call.stages == []
