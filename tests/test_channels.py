"""A speaker on each channel: nobody is confused, crosstalk is not said twice, and overlapped talk stays readable."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from diarist import audio, pipeline
from diarist.channels import check_channels, own_speech, own_words
from diarist.errors import BadRequest
from diarist.pipeline import Stages
from diarist.request import Options
from diarist.segments import group_channels
from diarist.service import Reply, TranscriptionService
from diarist.settings import Settings
from diarist.types import SAMPLE_RATE, Samples, Span, Transcript, Waveform, Word
from encoding import encode

FIRST, SECOND = "SPEAKER_00", "SPEAKER_01"
SPLIT = Options(channels="split")


def said(transcript: Transcript, speaker: str) -> list[str]:
    return [word.text.strip(".,?!").lower() for word in transcript.words if word.speaker == speaker]


@pytest.fixture(scope="module")
def voices(recordings: Path) -> tuple[Samples, Samples]:
    """Two people reading, 4 s each."""
    one, other = (
        audio.decode(next(iter(sorted((recordings / "librispeech" / name).glob("*.flac")))), max_duration_seconds=60)
        for name in ("2609", "3005")
    )
    return one.crop(Span(0, 4)), other.crop(Span(0, 4))


def in_turns(one: Samples, other: Samples, crosstalk_db: float | None) -> tuple[Waveform, Waveform]:
    """The first speaks for 4 s, then the second; each is heard on the other's channel, so much more quietly."""
    noise = np.random.default_rng(0).normal(0, 1e-4, (2, len(one) + len(other))).astype(np.float32)
    clean = np.stack([np.concatenate([one, 0 * other]), np.concatenate([0 * one, other])]) + noise
    share = 0.0 if crosstalk_db is None else 10 ** (-crosstalk_db / 20)
    mixed = np.asarray(clean + share * clean[::-1], np.float32)
    return Waveform(mixed[0]), Waveform(mixed[1])


@pytest.fixture(scope="module")
def stereo(embedded: Stages, recordings: Path) -> Transcript:
    """Two people who speak at once, each on a channel."""
    path = recordings / "misc" / "stereo_diarization.wav"
    return pipeline.transcribe_channels(audio.decode_channels(path, max_duration_seconds=60), embedded, SPLIT)


def test_people_who_speak_at_once_on_two_channels_are_both_heard(stereo: Transcript) -> None:
    assert "confused complaint against the wizard" in " ".join(said(stereo, FIRST))
    assert "horizon seems extremely distant" in " ".join(said(stereo, SECOND))
    assert stereo.speakers == (FIRST, SECOND)
    assert stereo.language == "en"
    assert stereo.embeddings is None


def test_people_who_speak_at_once_are_not_cut_into_single_words(stereo: Transcript) -> None:
    assert [(segment.speaker, segment.text.partition(" ")[0]) for segment in stereo.segments] == [
        (FIRST, "He"),
        (SECOND, "The"),
        (FIRST, "who"),
    ]
    assert all(segment.text.endswith((",", ".")) for segment in stereo.segments)


def test_words_said_at_once_are_marked(stereo: Transcript) -> None:
    by_text = {word.text: word.overlap for word in stereo.words}
    assert by_text["horizon"]
    assert not by_text["left."]  # the second has long finished


def test_channels_are_heard_as_well_together_as_alone(embedded: Stages, voices: tuple[Samples, Samples]) -> None:
    channels = in_turns(*voices, crosstalk_db=None)
    together = pipeline.transcribe_channels(channels, embedded, SPLIT)
    for channel, speaker in zip(channels, (FIRST, SECOND), strict=True):
        alone = pipeline.transcribe(channel, embedded, Options(diarize=False))
        assert said(together, speaker) == [word.text.strip(".,?!").lower() for word in alone.words]
        assert len(alone.words) > 10
    assert together.notes == ()
    assert not any(word.overlap for word in together.words)
    assert together.uncovered == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("crosstalk_db", [20, 30, 40])
def test_crosstalk_is_not_said_twice(embedded: Stages, voices: tuple[Samples, Samples], crosstalk_db: float) -> None:
    clean = pipeline.transcribe_channels(in_turns(*voices, crosstalk_db=None), embedded, SPLIT)
    found = pipeline.transcribe_channels(in_turns(*voices, crosstalk_db=crosstalk_db), embedded, SPLIT)
    for speaker in (FIRST, SECOND):
        assert len(said(found, speaker)) == pytest.approx(len(said(clean, speaker)), abs=2)
    assert sum(word.overlap for word in found.words) <= 2
    if crosstalk_db == 20:
        assert found.notes == ("channel 2: 12 words were left out, since another channel has them louder",)


def test_a_silent_channel_is_no_speaker_and_the_next_keeps_its_number(
    embedded: Stages, voices: tuple[Samples, Samples]
) -> None:
    silence = Waveform(np.zeros(len(voices[0]), np.float32))
    found = pipeline.transcribe_channels((silence, Waveform(voices[0])), embedded, SPLIT)
    assert found.speakers == (SECOND,)
    assert {word.speaker for word in found.words} == {SECOND}


def test_silence_on_every_channel_is_no_transcript(embedded: Stages) -> None:
    silence = Waveform(np.zeros(SAMPLE_RATE, np.float32))
    found = pipeline.transcribe_channels((silence, silence), embedded, SPLIT)
    assert (found.segments, found.turns, found.speakers, found.language) == ((), (), (), None)


def test_progress_counts_all_channels(embedded: Stages, voices: tuple[Samples, Samples]) -> None:
    seen: list[tuple[str, float]] = []
    channels = in_turns(*voices, crosstalk_db=None)
    pipeline.transcribe_channels(
        channels, embedded, SPLIT, observer=lambda stage, done, total: seen.append((stage, done / total))
    )
    for stage in ("segment", "transcribe", "align", "assign"):
        shares = [share for name, share in seen if name == stage]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0, 1)


# --- what cannot be split ---------------------------------------------------------------------------------


def test_a_mono_recording_is_refused() -> None:
    with pytest.raises(BadRequest, match="the recording is mono"):
        check_channels((Waveform(np.ones(9, np.float32)),))


def test_one_sound_on_two_channels_is_refused(voices: tuple[Samples, Samples]) -> None:
    one = Waveform(voices[0])
    nearly = Waveform(np.asarray(voices[0] + np.random.default_rng(0).normal(0, 1e-4, len(voices[0])), np.float32))
    with pytest.raises(BadRequest, match="2 and 3 hold the same sound"):
        check_channels((Waveform(voices[1]), one, nearly))
    check_channels((one, Waveform(voices[1])))
    check_channels((Waveform(0 * voices[0]), Waveform(0 * voices[0]), one))


@contextmanager
def still_there() -> Iterator[threading.Event]:
    yield threading.Event()


def ask(stages: Stages, path: Path) -> Reply:
    body = {"audio_b64": base64.b64encode(path.read_bytes()).decode(), "channels": "split"}
    reply = TranscriptionService(Settings(), stages).handle(body, request_id="r", watch=still_there)
    assert isinstance(reply, Reply)
    return reply


def test_the_service_splits_a_file(embedded: Stages, voices: tuple[Samples, Samples], tmp_path: Path) -> None:
    samples = np.stack([waveform.samples for waveform in in_turns(*voices, crosstalk_db=None)])
    stereo = ask(embedded, encode(tmp_path / "s.wav", samples, SAMPLE_RATE, "pcm_s16le", container="wav"))
    assert stereo.status == 200
    assert stereo.body["speakers"] == [FIRST, SECOND]
    assert [segment["speaker"] for segment in stereo.body["model_output"]] == sorted(
        segment["speaker"] for segment in stereo.body["model_output"]
    )
    mono = ask(embedded, encode(tmp_path / "m.wav", samples[:1], SAMPLE_RATE, "pcm_s16le", container="wav"))
    assert mono.status == 400
    assert "mono" in mono.body["error"]


# --- pieces -----------------------------------------------------------------------------------------------


def words(speaker: str, *items: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(text, Span(start, end), speaker=speaker) for text, start, end in items)


def test_phrases_take_turns_and_words_do_not() -> None:
    one = words(FIRST, ("How", 0, 0.3), ("are", 0.3, 0.6), ("you?", 0.6, 1.0), ("And", 1.0, 1.3), ("Ann?", 1.3, 1.6))
    other = words(SECOND, ("Good", 0.7, 0.9), ("thanks.", 1.05, 1.4))
    segments = group_channels([one, other], languages=["en", "en"])
    assert [segment.text for segment in segments] == ["How are you?", "Good thanks.", "And Ann?"]


def test_each_channel_is_written_as_its_language_is() -> None:
    one, other = words(FIRST, ("你", 0, 0.2), ("好", 0.2, 0.4)), words(SECOND, ("good", 1, 1.2), ("day", 1.2, 1.4))
    segments = group_channels([one, other, ()], languages=["zh", "en", "en"])
    assert [segment.text for segment in segments] == ["你好", "good day"]


LONG, QUIETER = (Waveform(np.full(9 * SAMPLE_RATE, level, np.float32)) for level in (0.3, 0.09))
LOUD, QUIET = Waveform(np.full(SAMPLE_RATE, 0.3, np.float32)), Waveform(np.full(SAMPLE_RATE, 0.03, np.float32))


@pytest.mark.parametrize(
    ("channels", "second", "kept"),
    [
        ((LOUD, QUIET), ("yes", "it", "is"), False),
        ((LOUD, QUIET), ("Yes,", "it", "was"), False),  # heard through, and misheard
        ((LOUD, QUIET), ("no", "not", "is"), True),  # somebody quiet who says something else
        ((LOUD, LOUD), ("yes", "it", "is"), True),  # both say the same
        ((QUIET, LOUD), ("yes", "it", "is"), True),
    ],
)
def test_crosstalk_is_quieter_and_says_the_same(
    channels: tuple[Waveform, Waveform], second: tuple[str, ...], kept: bool
) -> None:
    times = [(0.1, 0.3), (0.3, 0.5), (0.5, 0.9)]
    one = words(FIRST, *((text, *time) for text, time in zip(("yes", "it", "is"), times, strict=True)))
    other = words(SECOND, *((text, *time) for text, time in zip(second, times, strict=True)))
    assert own_words(channels, [one, other])[1] == (other if kept else ())


def test_speech_loses_the_time_of_words_that_are_another_channels() -> None:
    speech = (Span(0, 1), Span(2, 3), Span(4, 5))
    heard = words(SECOND, ("a", 0.1, 0.3), ("b", 0.5, 0.9), ("c", 2.1, 2.5))
    assert own_speech(1, (LONG, LONG), speech, heard, heard[:1]) == (Span(0, 0.5), Span(4, 5))


def test_hours_of_speech_are_shared_out_in_a_moment() -> None:
    speech = tuple(Span(2.0 * i, 2.0 * i + 1.9) for i in range(6_000))
    heard = words(SECOND, *((str(i), i * 0.4, i * 0.4 + 0.3) for i in range(30_000)))
    started = time.process_time()
    assert own_speech(1, (LONG, LONG), speech, heard, heard[::2])
    assert time.process_time() - started < 10  # a quadratic join takes minutes


def test_speech_without_words_is_nobodys_where_another_channel_is_much_louder() -> None:
    speech = (Span(1, 2),)
    assert own_speech(1, (LONG, QUIETER), speech, (), ()) == ()
    assert own_speech(1, (LONG, LONG), speech, (), ()) == speech
    assert own_speech(1, (QUIETER, LONG), speech, (), ()) == speech
