"""Words that are invented where nobody speaks: in silence, noise, hum, clicks, tones and music-like chords.

    PYTHONPATH=packages:. python -m benchmarks.silence [--minutes 10] [--kinds white,strings] [--out FILE]

Ten minutes of each kind, whose level changes every 15 s between -50 and -12 dB of full scale; and again with a
sentence of the sample call once a minute, where words further than 2 s from a sentence are invented. Stock is
faster-whisper's batched pipeline with its own voice activity detector. For context, its sequential `transcribe`,
without a detector, hears the first minute of each.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from benchmarks.protocol import Row, report
from numpy.typing import NDArray

from diarist import audio, engines, pipeline
from diarist.formats import rttm
from diarist.models import ModelStore
from diarist.request import Options
from diarist.settings import Settings
from diarist.types import SAMPLE_RATE, Samples, Span, Waveform

Sound = NDArray[np.float64]

BLOCK = 15.0  # seconds of one level
QUIETEST, LOUDEST = -50.0, -12.0  # dB of full scale
EVERY = 60.0  # seconds from one sentence to the next
NEAR = 2.0  # seconds around a sentence in which a word may be the sentence's
SEQUENTIAL_SECONDS = 60.0


def main(minutes: float, kinds: Sequence[str], out: Path | None) -> None:
    """Count, print and write."""
    count, stock, sequential = ours(), stock_batched(), stock_sequential()
    sentence = speech()
    data: dict[str, dict[str, object]] = {}
    for kind in kinds:
        alone = Waveform(sound(kind, minutes * 60))
        between, sentences = with_speech(alone, sentence)
        first = Waveform(alone.samples[: round(SEQUENTIAL_SECONDS * SAMPLE_RATE)])
        data[kind] = {
            "ours": count(alone),
            "stock": stock(alone),
            "ours_between": outside(count(between), sentences),
            "stock_between": outside(stock(between), sentences),
            "sequential_first_minute": sequential(first),
        }
        found = ", ".join(f"{way} {len(words)}" for way, words in data[kind].items())  # type: ignore[arg-type]
        print(f"{kind:10} {found}", flush=True)
    report("silence", rows(data, minutes), data, out=out)


def rows(data: Mapping[str, Mapping[str, Any]], minutes: float) -> list[Row]:
    """One row for sounds alone, one for those between sentences."""
    sequential = sum(len(found["sequential_first_minute"]) for found in data.values())
    titles = {
        "": f"words invented in {minutes:g} min",
        "_between": f"words invented in {minutes:g} min between sentences",
    }
    made = []
    for where, title in titles.items():
        by_kind = {way: {kind: len(found[way + where]) for kind, found in data.items()} for way in ("stock", "ours")}
        invented = sum(by_kind["ours"].values())
        made.append(
            Row(
                what=f"{title} of each of {len(data)} kinds of sound",
                stock=sum(by_kind["stock"].values()),
                ours=invented,
                unit="words",
                must="0",
                met=invented == 0,
                counts=by_kind,
                note="" if where else f"sequential, without a detector, in the first minute of each: {sequential}",
            )
        )
    return made


# --- sounds -----------------------------------------------------------------------------------------------


def sound(kind: str, seconds: float) -> Samples:
    """A kind of sound in blocks of a random level, float32 `(num_samples,)`; the same for the same kind."""
    random = np.random.default_rng(list(kind.encode()))
    size = round(seconds * SAMPLE_RATE)
    samples = KINDS[kind](size, random)
    for first in range(0, size, round(BLOCK * SAMPLE_RATE)):
        block = samples[first : first + round(BLOCK * SAMPLE_RATE)]
        block *= 10 ** (random.uniform(QUIETEST, LOUDEST) / 20) / max(1e-9, float(np.sqrt((block**2).mean())))
    return np.clip(samples, -1, 1).astype(np.float32)


def _silence(size: int, _random: np.random.Generator) -> Sound:
    return np.zeros(size)


def _white(size: int, random: np.random.Generator) -> Sound:
    return random.normal(0, 1, size)


def _pink(size: int, random: np.random.Generator) -> Sound:
    spectrum = np.fft.rfft(random.normal(0, 1, size))
    return np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), size)


def _hum(size: int, random: np.random.Generator) -> Sound:
    """Mains and its overtones, which swell and fade."""
    times = np.arange(size) / SAMPLE_RATE
    tones = sum(random.uniform(0.2, 1) / n * np.sin(2 * np.pi * 50 * n * times) for n in range(1, 9))
    return tones * (1 + 0.5 * np.sin(2 * np.pi * 0.3 * times)) + random.normal(0, 0.02, size)


def _clicks(size: int, random: np.random.Generator) -> Sound:
    """Some a second, each ringing for some milliseconds, as keys, taps and dust on a record do."""
    samples = random.normal(0, 0.001, size)
    ring = np.arange(round(0.02 * SAMPLE_RATE)) / SAMPLE_RATE
    for first in random.integers(0, max(1, size - len(ring)), size // SAMPLE_RATE * 4):
        samples[first : first + len(ring)] += random.uniform(0.2, 1) * (
            np.exp(-ring * random.uniform(200, 1500)) * np.sin(2 * np.pi * random.uniform(500, 5000) * ring)
        )
    return samples


def _tones(size: int, random: np.random.Generator) -> Sound:
    """Steady tones, beeps and sweeps, a second or two each."""
    samples = np.zeros(size)
    for first, length in _notes(size, random, 0.3, 2.5):
        times = np.arange(length) / SAMPLE_RATE
        sweep = random.choice([0.0, 0.0, random.uniform(-200, 400)])
        samples[first : first + length] = np.sin(2 * np.pi * (random.uniform(200, 2000) + sweep * times) * times)
    return samples


def _chords(attack: float, decay: float, vibrato: float, overtones: Sequence[float]) -> Callable[..., Sound]:
    """Chords of three or four voices in one timbre, with a melody above."""

    def play(size: int, random: np.random.Generator) -> Sound:
        samples = np.zeros(size)
        for first, length in _notes(size, random, 0.4, 2.0):
            root = 110 * 2 ** (random.integers(0, 24) / 12)
            steps = [0, *random.choice([[3, 7], [4, 7], [4, 7, 10], [3, 7, 12]][random.integers(4)], 2), 12]
            for step in steps:
                samples[first : first + length] += _voice(root * 2 ** (step / 12), length)
        return samples + random.normal(0, 1e-3, size)

    def _voice(pitch: float, length: int) -> Sound:
        times = np.arange(length) / SAMPLE_RATE
        phase = 2 * np.pi * pitch * times + vibrato * np.sin(2 * np.pi * 5.5 * times)
        envelope = np.minimum(1, times / attack) * np.exp(-times * decay) * np.minimum(1, (times[-1] - times) / 0.03)
        return np.asarray(envelope * sum(share * np.sin(n * phase) for n, share in enumerate(overtones, start=1)))

    return play


def _notes(size: int, random: np.random.Generator, shortest: float, longest: float) -> list[tuple[int, int]]:
    """First sample and length of notes, one after the other, with a rest now and then."""
    notes, first = [], 0
    while first < size:
        length = min(size - first, round(random.uniform(shortest, longest) * SAMPLE_RATE))
        if random.random() > 0.15:
            notes.append((first, length))
        first += length
    return [note for note in notes if note[1] > 1]


KINDS: Mapping[str, Callable[[int, np.random.Generator], Sound]] = MappingProxyType(
    {
        "silence": _silence,
        "white": _white,
        "pink": _pink,
        "hum": _hum,
        "clicks": _clicks,
        "tones": _tones,
        "organ": _chords(0.05, 0.0, 0.0, (1, 0.8, 0.5, 0.5, 0.2, 0.3)),
        "strings": _chords(0.15, 0.0, 0.35, tuple(1 / n for n in range(1, 12))),
        "plucked": _chords(0.004, 3.0, 0.0, tuple(0.7**n for n in range(8))),
        "brass": _chords(0.06, 0.4, 0.15, (0.6, 1, 0.9, 0.7, 0.5, 0.4, 0.3, 0.2)),
    }
)


# --- speech between ---------------------------------------------------------------------------------------


def speech() -> Samples:
    """The sample call's first long turn that nobody else speaks in."""
    folder = ModelStore(Settings()).folder("sample")
    (turns,) = rttm.read((folder / "sample.rttm").read_text(encoding="utf-8")).values()
    alone = [a for a in turns if all(a is b or a.span.overlap(b.span) == 0 for b in turns)]
    call = audio.decode(folder / "sample.wav", max_duration_seconds=60)
    return call.crop(max(alone, key=lambda turn: turn.span.duration).span)


def with_speech(waveform: Waveform, sentence: Samples) -> tuple[Waveform, list[Span]]:
    """A sentence in place of the sound, in the middle of every minute; and where they are."""
    samples = waveform.samples.copy()
    starts = range(round(EVERY / 2 * SAMPLE_RATE), len(samples) - len(sentence), round(EVERY * SAMPLE_RATE))
    for first in starts:
        samples[first : first + len(sentence)] = sentence
    return Waveform(samples), [Span(first / SAMPLE_RATE, (first + len(sentence)) / SAMPLE_RATE) for first in starts]


Said = list[tuple[str, float, float]]


def outside(words: Said, sentences: Sequence[Span]) -> Said:
    """The words that no sentence is near to."""
    return [word for word in words if all(Span(word[1], word[2]).gap(span) > NEAR for span in sentences)]


# --- ways -------------------------------------------------------------------------------------------------


def ours() -> Callable[[Waveform], Said]:
    """The package's own pipeline."""
    stages = engines.load(Settings(profile="embedded"))

    def run(waveform: Waveform) -> Said:
        words = pipeline.transcribe(waveform, stages, Options(diarize=False)).words
        return [(word.text, float(word.span.start), float(word.span.end)) for word in words]

    return run


def stock_batched() -> Callable[[Waveform], Said]:
    """faster-whisper's batched pipeline, with its own detector and its own defaults."""
    from faster_whisper import BatchedInferencePipeline

    model = BatchedInferencePipeline(_tiny())
    return lambda waveform: _said(model.transcribe(waveform.samples, word_timestamps=True, language="en")[0])


def stock_sequential() -> Callable[[Waveform], Said]:
    """faster-whisper's `transcribe`, without a detector, by its own defaults."""
    model = _tiny()
    return lambda waveform: _said(model.transcribe(waveform.samples, word_timestamps=True, language="en")[0])


def _tiny() -> Any:  # noqa: ANN401 - faster-whisper ships no types
    from faster_whisper import WhisperModel

    folder = ModelStore(Settings()).folder("tiny.en")
    return WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=engines.cpu_count(), local_files_only=True
    )


def _said(segments: Any) -> Said:  # noqa: ANN401
    return [(word.word, float(word.start), float(word.end)) for segment in segments for word in segment.words or ()]


if __name__ == "__main__":
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as ours: see diarist.engines.load
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each kind; default 10")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"default {','.join(KINDS)}")
    parser.add_argument("--out", type=Path, help="default build/bench/silence.json")
    given = parser.parse_args()
    main(given.minutes, given.kinds.split(","), given.out)
