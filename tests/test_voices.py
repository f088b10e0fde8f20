"""Speakers go by their names where their voices are known, and by no name where they are not."""

from __future__ import annotations

import base64
import io
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import mixes

from diarist import audio
from diarist.errors import BadRequest
from diarist.pipeline import Stages
from diarist.request import Options
from diarist.service import Reply, TranscriptionService
from diarist.settings import Settings
from diarist.types import SAMPLE_RATE, Diarization, Samples, Span, Turn, Waveform, unobserved
from diarist.voices import SAME_VOICE, Vector, name_speakers, voice_in
from fake_origin import serving

FIRST, SECOND = "SPEAKER_00", "SPEAKER_01"


@contextmanager
def still_there() -> Iterator[threading.Event]:
    yield threading.Event()


def wav(samples: Samples) -> str:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return base64.b64encode(file.getvalue()).decode()


def ask(stages: Stages, samples: Samples, **keys: object) -> Reply:
    service = TranscriptionService(Settings(fetch_allowed_networks="127.0.0.0/8"), stages)
    reply = service.handle({"audio_b64": wav(samples), **keys}, request_id="r", watch=still_there)
    assert isinstance(reply, Reply)
    return reply


def utterance(recordings: Path, speaker: str, number: int) -> Waveform:
    path = sorted((recordings / "librispeech" / speaker).glob("*.flac"))[number]
    return audio.decode(path, max_duration_seconds=60)


# --- on real voices ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conversation(recordings: Path) -> mixes.Mix:
    """Forty seconds of three people who talk."""
    return mixes.build(recordings / "librispeech", ("2609", "3005", "1688"), duration=40, seed=3)


@pytest.fixture(scope="module")
def known(recordings: Path) -> list[dict[str, str]]:
    """Clips of two of them, and of somebody else."""
    people = {"Ann": "2609", "Bob": "3005", "Eve": "1998"}
    return [
        {"name": name, "audio_b64": wav(utterance(recordings, speaker, 4).samples)} for name, speaker in people.items()
    ]


@pytest.fixture(scope="module")
def answer(embedded: Stages, conversation: mixes.Mix, known: list[dict[str, str]]) -> dict[str, Any]:
    samples = conversation.waveform.samples
    reply = ask(embedded, samples, known_speakers=known, num_speakers=3, return_embeddings=True)
    assert reply.status == 200
    return dict(reply.body)


def test_known_people_are_named_and_others_stay_anonymous(answer: dict[str, Any]) -> None:
    assert len(answer["speakers"]) == 3
    assert {"Ann", "Bob"} < set(answer["speakers"])
    (other,) = set(answer["speakers"]) - {"Ann", "Bob"}
    assert other.startswith("SPEAKER_")


def test_the_names_are_those_of_who_speaks(answer: dict[str, Any], conversation: mixes.Mix) -> None:
    for name, speaker in (("Ann", "2609"), ("Bob", "3005")):
        said = [Span(turn["start"], turn["end"]) for turn in answer["turns"] if turn["speaker"] == name]
        truth = [turn.span for turn in conversation.turns if turn.speaker == speaker]
        right = sum(span.overlap(true) for span in said for true in truth)
        assert right > 0.8 * sum(span.duration for span in said)


def test_a_name_stands_wherever_the_label_stood(answer: dict[str, Any]) -> None:
    speakers = set(answer["speakers"])
    segments = answer["model_output"]
    assert {turn["speaker"] for turn in answer["turns"]} == speakers
    assert {segment["speaker"] for segment in segments} - {None} == speakers
    assert {word["speaker"] for segment in segments for word in segment["words"]} - {None} == speakers
    assert set(answer["embeddings"]) == speakers


def test_the_notes_say_how_sure_a_name_is_and_who_was_not_heard(answer: dict[str, Any]) -> None:
    assert sum(" is Ann: similarity 0." in note or " is Bob: similarity 0." in note for note in answer["notes"]) == 2
    assert [note for note in answer["notes"] if note.startswith("Eve was not heard")]
    assert "voices" in answer["timings"]


def test_the_embedding_of_an_earlier_answer_is_as_good_as_a_clip(
    embedded: Stages, conversation: mixes.Mix, answer: dict[str, Any]
) -> None:
    known = [{"name": f"again_{name}", "embedding": vector} for name, vector in answer["embeddings"].items()]
    reply = ask(embedded, conversation.waveform.samples, transcript=answer, num_speakers=3, known_speakers=known)
    assert reply.status == 200
    assert reply.body["speakers"] == [f"again_{name}" for name in answer["speakers"]]


def test_no_two_people_are_taken_for_one_and_no_one_for_two(embedded: Stages, recordings: Path) -> None:
    """On the speakers that the threshold was not tuned on."""
    vectors = [
        (speaker, vector_of(embedded, Waveform(utterance(recordings, speaker, number).crop(Span(0, 4)))))
        for speaker in ("2609", "3005")
        for number in range(6)
    ]
    for (one, first), (other, second) in combinations(vectors, 2):
        assert (float(first @ second) >= SAME_VOICE) == (one == other)


def vector_of(stages: Stages, clip: Waveform) -> Vector:
    activity = stages.segment(clip, progress=unobserved)
    vector = voice_in(stages.diarize(clip, activity, options=Options(num_speakers=1), progress=unobserved))
    assert vector is not None
    return vector


# --- what is wrong with a voice ---------------------------------------------------------------------------


def test_a_clip_without_a_voice_is_refused_before_anything_is_transcribed(
    embedded: Stages, conversation: mixes.Mix
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 4 * SAMPLE_RATE).astype(np.float32)
    voices = [{"name": "Ann", "embedding": [0.1] * 192}, {"name": "Bob", "audio_b64": wav(noise)}]
    reply = ask(embedded, conversation.waveform.samples, known_speakers=voices)
    assert reply.status == 400
    assert reply.body["error"].startswith("known_speakers.1: no voice is heard in the clip of 4.0 s: send some seconds")


@pytest.mark.parametrize(
    ("source", "status", "message"),
    [
        ({"audio_b64": "%%%"}, 400, "known_speakers.0: audio_b64 is not base64"),
        ({"audio_b64": "AAAA"}, 422, "known_speakers.0: the file is not audio"),
        (
            {"audio_b64": wav(np.zeros(61 * SAMPLE_RATE, np.float32))},
            413,
            "known_speakers.0: the clip is longer than 60 s",
        ),
        ({"audio_file": "http://10.1.2.3/clip?sig=s3cr3t"}, 400, "known_speakers.0: http://10.1.2.3/clip is refused"),
        ({"audio_file": "file:///etc/passwd"}, 400, "known_speakers.0: (a URL without a host) is refused"),
        ({"embedding": [0.1] * 256}, 400, "known_speakers.0: the embedding has 256 numbers, and this model's 192"),
    ],
    ids=["no base64", "no audio", "too long", "private address", "no web address", "other length"],
)
def test_what_is_wrong_with_a_voice_is_said(
    embedded: Stages, sample: Path, source: dict[str, Any], status: int, message: str
) -> None:
    call = audio.decode(sample / "sample.wav", max_duration_seconds=60).crop(Span(6, 12))
    reply = ask(embedded, call, known_speakers=[{"name": "Ann", **source}])
    assert (reply.status, message in reply.body["error"]) == (status, True)
    assert "s3cr3t" not in reply.body["error"]


def test_a_clip_is_fetched_as_a_recording_is(embedded: Stages) -> None:
    with serving() as origin:
        voices = [{"name": "Ann", "audio_file": origin.url("/audio?sig=s3cr3t")}]
        reply = ask(embedded, np.zeros(SAMPLE_RATE, np.float32), known_speakers=voices)
        assert [path for path, _ in origin.seen] == ["/audio?sig=s3cr3t"]
    assert reply.status == 422  # the origin's bytes are no audio
    assert "known_speakers.0: the file is not audio" in reply.body["error"]


# --- who gets which name ----------------------------------------------------------------------------------


def heard(*vectors: list[float]) -> Diarization:
    names = tuple(f"SPEAKER_{index:02d}" for index in range(len(vectors)))
    turns = tuple(Turn(Span(index, index + 1), name) for index, name in enumerate(names))
    return Diarization(turns, turns, names, np.array(vectors, np.float32).reshape(len(vectors), -1))


def test_a_name_is_given_once_and_to_whom_it_fits_best() -> None:
    found, notes = name_speakers(heard([1, 0], [0.9, 0.436]), {"Ann": np.array([3, 0], np.float32)})
    assert found.speakers == ("Ann", SECOND)
    assert [turn.speaker for turn in found.turns] == [turn.speaker for turn in found.exclusive] == ["Ann", SECOND]
    assert notes == ("SPEAKER_00 is Ann: similarity 1.00",)


def test_two_names_are_given_out_together() -> None:
    known = {"Ann": np.array([0.8, 0.6], np.float32), "Bob": np.array([1, 0], np.float32)}
    found, _ = name_speakers(heard([0.9, 0.436], [0.3, 0.954]), known)  # the first is nearest to both
    assert found.speakers == ("Bob", "Ann")


def test_a_sure_name_is_not_given_up_for_two_doubtful_ones() -> None:
    known = {"Ann": np.array([1, 0, 0], np.float32), "Bob": np.array([0.51, 0, 0.86], np.float32)}
    found, notes = name_speakers(heard([1, 0, 0], [0.51, 0.86, 0]), known)
    assert found.speakers == ("Ann", SECOND)
    assert any(note.startswith("Bob was not heard") for note in notes)


def test_a_voice_that_is_not_close_enough_stays_anonymous() -> None:
    found, notes = name_speakers(heard([1, 0]), {"Ann": np.array([SAME_VOICE - 0.01, 0.87], np.float32)})
    assert found.speakers == (FIRST,)
    assert notes[0].startswith("Ann was not heard")


def test_where_nobody_speaks_nobody_is_named() -> None:
    nobody = Diarization((), (), (), np.zeros((0, 2), np.float32))
    found, notes = name_speakers(nobody, {"Ann": np.array([1, 0], np.float32)})
    assert found.speakers == ()
    assert len(notes) == 1


def test_without_known_voices_nothing_changes() -> None:
    diarization = heard([1, 0], [0, 1])
    assert name_speakers(diarization, {}) == (diarization, ())


def test_a_voice_that_never_speaks_alone_gets_no_name() -> None:
    found, _ = name_speakers(heard([0, 0]), {"Ann": np.array([1, 0], np.float32)})
    assert found.speakers == (FIRST,)
    assert voice_in(found) is None
    assert voice_in(Diarization((), (), ())) is None


def test_a_vector_of_another_length_is_refused_with_both_numbers() -> None:
    with pytest.raises(BadRequest, match=r"known_speakers\.1: the embedding has 3 numbers, and this model's 2"):
        name_speakers(heard([1, 0]), {"Ann": np.array([1, 0], np.float32), "Bob": np.array([1, 0, 0], np.float32)})
