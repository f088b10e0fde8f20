"""Long conversations with exactly known turns, built from utterances of known speakers.

Utterances are put into a seeded random order with pauses and overlaps of a known length, and given different gains
and noise. The reference turns come from the energy of each piece, so that pauses inside an utterance do not count
as speech. The same seed and plan give the same samples.

A mix for telling speakers apart takes pieces cut anywhere, as people interrupt each other; a mix for words takes
whole utterances, because nobody knows what half a word should be heard as.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from diarist.audio import decode
from diarist.formats import rttm, seglst
from diarist.types import SAMPLE_RATE, Segment, Span, Turn, Waveform

Floats = NDArray[np.float32]
Noise = Literal["white", "pink", "hum"]
Pieces = Literal["cut", "utterances"]

ENERGY_FRAME = 0.02  # seconds
SPEECH_BELOW_PEAK_DB = 38  # a frame this much quieter than the piece's loud frames is a pause
SHORTEST_PAUSE = 0.3  # seconds; what is shorter belongs to the speech around it

FLITE_VOICES = ("awb", "kal16", "rms", "slt")

_BLOCK = 60 * SAMPLE_RATE  # samples of noise made, or sound written, at once
_CHANGE_SHARE = 0.8  # of the pieces go to another speaker than the one before


@dataclass(frozen=True, slots=True)
class Utterance:
    """A clean recording of one person.

    Attributes:
        key: what it is called, unique among all voices.
        samples: mono at 16 kHz, `(num_samples,)`.
        text: what is said; None where nobody wrote it down.
    """

    key: str
    samples: Floats
    text: str | None = None


Voices = Mapping[str, Sequence[Utterance]]  # by speaker


@dataclass(frozen=True, slots=True)
class Plan:
    """How a conversation is built.

    Attributes:
        duration: seconds, about; the last piece is not cut off.
        overlap_share: of the changes of speaker, those where the next one begins 0.3 to 1.5 s too early.
        gain_spread: decibels between the quietest speaker possible and the loudest.
        noise_level: of the noise under everything, decibels below full scale (root mean square).
        noise: white; pink as in rooms; hum of 50 Hz mains with its overtones.
        pieces: of 1 to 8 s cut from anywhere, or whole utterances.
        everyone: each speaker gets a turn before anybody gets a second one.
    """

    duration: float
    overlap_share: float = 0.2
    gain_spread: float = 9.0
    noise_level: float = -55.0
    noise: Noise = "white"
    pieces: Pieces = "cut"
    everyone: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Something said in a mix: where, by whom, from which utterance; `text` only of whole ones that have one."""

    span: Span
    speaker: str
    key: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Mix:
    """A built conversation and its reference; turns and pieces in order of time."""

    name: str
    waveform: Waveform
    turns: tuple[Turn, ...]
    pieces: tuple[Piece, ...] = ()


def build(  # noqa: D417 - the rest are those of `Plan`
    folder: Path,
    speakers: tuple[str, ...],
    *,
    duration: float,
    seed: int,
    overlap_share: float = 0.2,
    gain_spread: float = 9.0,
    noise_level: float = -55.0,
    noise: Noise = "white",
    pieces: Pieces = "cut",
    everyone: bool = False,
) -> Mix:
    """Mix the utterances under `folder/<speaker>/*.flac` into a conversation of about `duration` seconds.

    Args:
        folder: as LibriSpeech lays it out.
        speakers: folders in it.
        seed: the same one gives the same conversation.
    """
    plan = Plan(duration, overlap_share, gain_spread, noise_level, noise, pieces, everyone)
    return mix(librispeech(folder, speakers), plan, seed=seed)


def mix(voices: Voices, plan: Plan, *, seed: int) -> Mix:
    """Let these people talk to each other."""
    random = np.random.default_rng(seed)
    half = plan.gain_spread / 2
    gains = {name: 10 ** (random.uniform(-half, half) / 20) for name in voices}
    samples: Floats = np.zeros(round((plan.duration + 60) * SAMPLE_RATE), np.float32)
    turns: list[Turn] = []
    pieces: list[Piece] = []
    waiting = [str(name) for name in random.permutation(list(voices))] if plan.everyone else []
    cursor, previous = 0.5, ""
    while cursor < plan.duration or waiting:
        name = waiting.pop() if waiting else _next_speaker(list(voices), previous, random)
        utterance = voices[name][int(random.integers(len(voices[name])))]
        sound = (_cut(utterance.samples, random) if plan.pieces == "cut" else utterance.samples) * gains[name]
        start = cursor + random.uniform(0.1, 0.8)
        if previous not in ("", name) and random.random() < plan.overlap_share:
            start = max(0.0, cursor - random.uniform(0.3, 1.5))
        first = round(start * SAMPLE_RATE)
        samples[first : first + len(sound)] += sound[: len(samples) - first]
        turns += [Turn(Span(start + span.start, start + span.end), name) for span in speech_in(sound)]
        span = Span(start, start + len(sound) / SAMPLE_RATE)
        text = utterance.text if plan.pieces == "utterances" else None
        pieces.append(Piece(span, name, utterance.key, text))
        cursor, previous = max(cursor, span.end), name
    samples = samples[: round((cursor + 0.5) * SAMPLE_RATE)]
    _add_noise(samples, plan, random)
    samples /= max(1.0, float(np.abs(samples).max()))
    return Mix(
        f"mix{len(voices)}x{seed}",
        Waveform(samples),
        tuple(sorted(turns, key=lambda turn: turn.span)),
        tuple(sorted(pieces, key=lambda piece: piece.span)),
    )


def _next_speaker(speakers: Sequence[str], previous: str, random: np.random.Generator) -> str:
    others = [name for name in speakers if name != previous]
    changes = bool(others) and random.random() < _CHANGE_SHARE
    return str(random.choice(others)) if changes else previous or speakers[0]


def _cut(utterance: Floats, random: np.random.Generator) -> Floats:
    size = round(random.uniform(1, 8) * SAMPLE_RATE)
    first = int(random.integers(max(1, len(utterance) - size)))
    return utterance[first : first + size]


def _add_noise(samples: Floats, plan: Plan, random: np.random.Generator) -> None:
    level = 10 ** (plan.noise_level / 20)
    for first in range(0, len(samples), _BLOCK):  # the noise of two hours at once would be gigabytes
        part = samples[first : first + _BLOCK]
        if plan.noise == "hum":
            part += _hum(first, len(part), level)
            continue
        noise = random.normal(0, level, len(part))
        part += (_pink(noise) * level if plan.noise == "pink" else noise).astype(np.float32)


def _pink(white: NDArray[np.float64]) -> NDArray[np.float64]:
    """White noise with its power falling by 3 dB an octave, at a root mean square of 1."""
    spectrum = np.fft.rfft(white)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[: round(20 * len(white) / SAMPLE_RATE)] = 0  # below 20 Hz nobody hears it, and it would be most of it
    pink = np.fft.irfft(spectrum, len(white))
    return pink / np.sqrt((pink**2).mean())  # type: ignore[no-any-return]


def _hum(first: int, size: int, level: float) -> Floats:
    seconds = np.arange(first, first + size) / SAMPLE_RATE
    waves = sum(np.sin(2 * np.pi * 50 * overtone * seconds) / overtone for overtone in (1, 2, 3, 5))
    return np.asarray(level * waves / np.sqrt((1 + 1 / 4 + 1 / 9 + 1 / 25) / 2), np.float32)


def speech_in(samples: Floats) -> list[Span]:
    """Where the energy of a clean recording says that its speaker speaks."""
    size = round(ENERGY_FRAME * SAMPLE_RATE)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    level = 10 * np.log10((frames**2).mean(1) + 1e-10)
    loud = level > np.percentile(level, 95) - SPEECH_BELOW_PEAK_DB
    spans: list[Span] = []
    for index in np.flatnonzero(loud):
        start, end = float(index * ENERGY_FRAME), float((index + 1) * ENERGY_FRAME)
        if spans and start - spans[-1].end < SHORTEST_PAUSE:
            spans[-1] = Span(spans[-1].start, end)
        else:
            spans.append(Span(start, end))
    return spans


# --- voices -----------------------------------------------------------------------------------------------


def librispeech(folder: Path, speakers: Sequence[str]) -> dict[str, list[Utterance]]:
    """The utterances under `folder/<speaker>/*.flac`; nobody wrote down what they say."""
    return {
        name: [
            Utterance(path.stem, decode(path, max_duration_seconds=60).samples)
            for path in sorted((folder / name).glob("*.flac"))
        ]
        for name in speakers
    }


def flite_installed() -> bool:
    """Whether Debian's speech synthesizer `flite` is on the path."""
    return shutil.which("flite") is not None


def flite(voices: Sequence[str] = FLITE_VOICES, *, utterances: int = 12, seed: int = 0) -> dict[str, list[Utterance]]:
    """Synthetic people who say sentences that are known exactly; a second of work for a hundred.

    Raises:
        FileNotFoundError: `flite` is not installed.
        subprocess.CalledProcessError: it has no such voice.
    """
    return {name: [_spoken(name, number, seed) for number in range(utterances)] for name in voices}


def _spoken(voice: str, number: int, seed: int) -> Utterance:
    random = np.random.default_rng([seed, number, *voice.encode()])
    text = " ".join(_sentence(random) for _ in range(random.integers(1, 4)))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", path], check=True)  # noqa: S603, S607 - no shell
        samples = decode(path, max_duration_seconds=60).samples
    return Utterance(f"{voice}-{seed}-{number}", samples, text)


_WHO = ("The captain", "My sister", "Our neighbour", "The teacher", "A farmer", "The old doctor", "Your brother",
        "The young painter", "Nobody", "The driver", "Everybody", "The woman next door")  # fmt: skip
_DID = ("found", "forgot", "carried", "bought", "wanted", "painted", "borrowed", "dropped", "remembered", "sold",
        "cleaned", "wrapped")  # fmt: skip
_WHAT = ("a wooden table", "the green bottle", "some fresh bread", "an empty basket", "the kitchen window",
         "a heavy blanket", "the morning paper", "two silver spoons", "a letter from the bank", "the garden gate",
         "a bag of apples", "the broken clock")  # fmt: skip
_WHERE = ("near the river", "at the station", "behind the church", "in the market", "on the hill", "by the harbour",
          "under the bridge", "along the road", "in the village", "beside the lake")  # fmt: skip
_WHEN = ("last summer", "before breakfast", "on Monday", "after the storm", "in the evening", "this winter",
         "a week ago", "during the holidays")  # fmt: skip
_REPLIES = ("Yes, I think so.", "No, not at all.", "That is very kind of you.", "I am not so sure about that.",
            "Well, let us see.", "What happened after that?", "You should ask him again.",
            "Of course, why not?")  # fmt: skip


def _sentence(random: np.random.Generator) -> str:
    if random.random() < 0.25:
        return str(random.choice(_REPLIES))
    parts = [str(random.choice(words)) for words in (_WHO, _DID, _WHAT, _WHERE, _WHEN)]
    return " ".join(parts[: random.integers(3, 6)]) + "."


# --- files ------------------------------------------------------------------------------------------------


def write(built: Mix, folder: Path, *, texts: Mapping[str, str] | None = None) -> Path:
    """Write `<name>.flac` and, beside it, `.rttm` and, where the words are known, `.seglst.json`.

    Args:
        built: the conversation.
        folder: made where it is absent.
        texts: what is said in an utterance, by its key, for those without a text of their own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{built.name}.flac"
    known = dict(texts or {})
    said = [(piece, known.get(piece.key) if piece.text is None else piece.text) for piece in built.pieces]
    (folder / f"{built.name}.rttm").write_text(rttm.write(built.turns, file_id=built.name), encoding="utf-8")
    if said and all(text is not None for _, text in said):
        segments = [Segment(piece.span, text or "", piece.speaker) for piece, text in said]
        text = seglst.write(segments, file_id=built.name)
        (folder / f"{built.name}.seglst.json").write_text(text, encoding="utf-8")
    write_flac(path, built.waveform.samples)
    return path


def write_flac(path: Path, samples: Floats) -> None:
    """Mono, 16 bits, 16 kHz; the file appears whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with av.open(str(partial), "w", format="flac") as output:
        stream = output.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        for first in range(0, len(samples), _BLOCK):
            block = (np.clip(samples[first : first + _BLOCK], -1, 1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block[None]), format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    partial.replace(path)
