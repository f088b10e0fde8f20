"""The recordings that ways are scored on, in sets, each with its reference.

| set | what | reference |
| --- | --- | --- |
| sample | the sample call | turns and words by people |
| ami-tuned | AMI clips `trn*`, which ours was tuned on | turns and words by people |
| ami | AMI clips `dev*`, which it was not | turns and words by people |
| mixes | LibriSpeech speakers in conversation, whole utterances | exact turns; words of each utterance heard alone |
| cuts | the same speakers cut into pieces, for diarization alone | exact turns |
| synthetic | flite's voices in conversation | exact turns and words |

The words of LibriSpeech's utterances are not at hand, so they are what the same speech model hears in each of them
alone, without any windowing, overlap or noise: a disagreement is then caused by one of these. Every mix is built from
a seed, with a spread of gains and three kinds of noise.

What was tuned on what: the constants of clustering and of changes of speaker (0.5, 0.66, the doubt about short
groups) on mixes of other people, readers of LibriSpeech from elsewhere, flite's voices and AMI `trn`, of whom none is
one of the six readers here; earlier ones (windows of 2.4 s, the floor of a speaker) on four of the six, 1688, 1998,
2033 and 2414, and on neither of `UNTUNED`. The sample's number of speakers was seen when 0.66 was chosen. Times of
words and the changes of speaker among them were set on flite's voices and AMI `trn`; what words are moved by was
compared with the six readers and with the sample.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from benchmarks import mixes
from benchmarks.answers import write_json

from diarist import audio
from diarist.formats import rttm, seglst, stm
from diarist.models import ModelStore
from diarist.settings import Settings
from diarist.types import SAMPLE_RATE, Segment, Span, Turn, Waveform

LONGEST_SECONDS = 600.0  # what is scored of a recording: stock needs two thirds of real time
LONGEST_FILE_SECONDS = 5 * 3600.0
SPEAKERS = ("1688", "1998", "2033", "2414", "2609", "3005")
UNTUNED = frozenset({"2609", "3005"})  # on whom no constant of the diarization was tuned
ALONE = Path("build/bench/alone.json")
SUFFIXES = (".flac", ".wav", ".mp3", ".m4a", ".ogg", ".opus")
MIX_SECONDS, CUT_SECONDS, SYNTHETIC_SECONDS = 70.0, 55.0, 55.0

# Who talks in each mix.
MIXES = (
    ("2609", "3005"),
    ("1688", "2609"),
    ("1998", "2414", "3005"),
    ("1688", "2033", "2609"),
    ("1998", "2033", "2609", "3005"),
    ("1688", "2033", "2414", "3005"),
    ("1688", "1998", "2414", "2609", "3005"),
    SPEAKERS,
)
CUTS = (
    ("2609", "3005"),
    ("1998", "2609", "3005"),
    ("1688", "2414", "2609", "3005"),
    ("1688", "2033", "2414", "2609", "3005"),
    SPEAKERS,
)
SYNTHETIC = (("kal16", "slt"), ("awb", "rms", "slt"), ("awb", "kal16", "rms", "slt"), ("awb", "kal16", "rms", "slt"))
NOISES: tuple[tuple[mixes.Noise, float], ...] = (("white", -55.0), ("pink", -50.0), ("hum", -45.0))


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording and its reference; without `segments` the words are not known, and only speakers are scored."""

    set: str
    name: str
    waveform: Waveform
    turns: tuple[Turn, ...]
    segments: tuple[Segment, ...] = ()


def default(folder: Path) -> Iterator[Recording]:
    """Every default set that can be had here; says in a line what is left out, and why."""
    sample = ModelStore(Settings(profile="embedded")).folder("sample")
    yield read(sample / "sample.wav", "sample")
    for name, built in (("ami", ami_clips), ("librispeech", librispeech_mixes)):
        if (folder / name).is_dir():
            yield from built(folder / name)
        else:
            print(f"left out: {name}, since {folder / name} is not there; DIARIST_RECORDINGS names another folder")
    if mixes.flite_installed():
        yield from synthetic()
    else:
        print("left out: synthetic voices, since flite is not installed (Debian's package flite)")


def ami_clips(folder: Path) -> Iterator[Recording]:
    """The sets `ami-tuned` and `ami`."""
    for path in sorted(folder.glob("*.flac")):
        yield read(path, "ami-tuned" if path.stem.startswith("trn") else "ami")


def default_folder() -> Path:
    """`DIARIST_RECORDINGS`, or the folder beside the repository."""
    return Path(os.environ.get("DIARIST_RECORDINGS", "../shared/audio"))


def in_folder(folder: Path) -> Iterator[Recording]:
    """Every recording below a folder that has a reference beside it; each folder is a set of its own.

    Raises:
        FileNotFoundError: there is none.
    """
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES and references(path)]
    if not found:
        raise FileNotFoundError(f"no recording in {folder} has a .rttm, .stm or .seglst.json beside it")
    for path in found:
        yield read(path, path.parent.name)


def references(path: Path) -> list[Path]:
    """The reference files beside a recording."""
    beside = (path.with_suffix(suffix) for suffix in (".rttm", ".stm", ".seglst.json"))
    return [file for file in beside if file.is_file()]


def read(path: Path, set_name: str) -> Recording:
    """The first ten minutes of a recording with what stands beside it; turns that no .rttm has are the segments'."""
    waveform = audio.decode(path, max_duration_seconds=LONGEST_FILE_SECONDS)
    segments: tuple[Segment, ...] = ()
    turns: tuple[Turn, ...] | None = None
    for file in references(path):
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".rttm":
            (found,) = rttm.read(text).values()
            turns = tuple(found)
        else:
            (segments,) = (stm.read(text) if file.suffix == ".stm" else seglst.read(text)).values()
    if turns is None:
        turns = tuple(Turn(segment.span, segment.speaker) for segment in segments if segment.speaker is not None)
    return cut(Recording(set_name, path.stem, waveform, turns, tuple(segments)), LONGEST_SECONDS)


def cut(recording: Recording, seconds: float) -> Recording:
    """The start of a recording; what its reference says of the rest goes too, and turns end where it does.

    A segment goes on for as long as its words do, so one that goes on past the end keeps those before it, about.
    """
    if recording.waveform.duration <= seconds:
        return recording
    return replace(
        recording,
        waveform=Waveform(recording.waveform.samples[: round(seconds * SAMPLE_RATE)].copy()),
        turns=tuple(
            Turn(_until(turn.span, seconds), turn.speaker) for turn in recording.turns if turn.span.start < seconds
        ),
        segments=tuple(_start_of(each, seconds) for each in recording.segments if each.span.start < seconds),
    )


def _start_of(segment: Segment, seconds: float) -> Segment:
    """Of a segment that goes on past the end as many of its words as its time allows, evenly spread."""
    if segment.span.end <= seconds:
        return segment
    words = segment.text.split()
    kept = round(len(words) * (seconds - segment.span.start) / segment.span.duration)
    return Segment(_until(segment.span, seconds), " ".join(words[:kept]), segment.speaker)


def _until(span: Span, seconds: float) -> Span:
    return Span(span.start, min(span.end, seconds))


# --- built ones -------------------------------------------------------------------------------------------


def librispeech_mixes(folder: Path) -> Iterator[Recording]:
    """The sets `mixes` and `cuts`."""
    texts = alone(mixes.librispeech(folder, SPEAKERS))
    for seed, (speakers, (noise, level)) in enumerate(zip(MIXES, cycle(NOISES), strict=False), start=100):
        plan = mixes.Plan(MIX_SECONDS, noise=noise, noise_level=level, pieces="utterances", everyone=True)
        yield of_mix("mixes", mixes.mix(mixes.librispeech(folder, speakers), plan, seed=seed), texts)
    for seed, (speakers, (noise, level)) in enumerate(zip(CUTS, cycle(NOISES), strict=False), start=200):
        plan = mixes.Plan(CUT_SECONDS, noise=noise, noise_level=level, everyone=True)
        yield of_mix("cuts", mixes.mix(mixes.librispeech(folder, speakers), plan, seed=seed))


def synthetic() -> Iterator[Recording]:
    """The set `synthetic`."""
    voices = mixes.flite()
    for seed, (speakers, (noise, level)) in enumerate(zip(SYNTHETIC, cycle(NOISES), strict=False), start=300):
        plan = mixes.Plan(SYNTHETIC_SECONDS, noise=noise, noise_level=level, pieces="utterances", everyone=True)
        yield of_mix("synthetic", mixes.mix({name: voices[name] for name in speakers}, plan, seed=seed))


def of_mix(set_name: str, built: mixes.Mix, texts: Mapping[str, str] | None = None) -> Recording:
    """A mix as a recording; `texts` says what is said in an utterance, by its key."""
    heard = texts or {}
    said = [(piece, heard.get(piece.key) if piece.text is None else piece.text) for piece in built.pieces]
    known = bool(said) and all(text is not None for _, text in said)
    segments = tuple(Segment(piece.span, text or "", piece.speaker) for piece, text in said) if known else ()
    return Recording(set_name, built.name, built.waveform, built.turns, segments)


def alone(voices: mixes.Voices) -> dict[str, str]:
    """What the speech model hears in each utterance alone, by key; computed once, then kept in build/bench.

    Plain faster-whisper, no window but the utterance, beam 5, temperature 0: neither of the ways compared.
    """
    store = ModelStore(Settings(profile="embedded"))
    weights = "".join(file.sha256 for file in store.manifest.find("tiny.en").files)
    utterances = {_sha256(weights.encode(), item.samples.tobytes()): item for item in _all(voices)}
    kept: dict[str, str] = json.loads(ALONE.read_text(encoding="utf-8")) if ALONE.is_file() else {}
    missing = [name for name in utterances if name not in kept]
    if missing:
        from faster_whisper import WhisperModel

        print(f"hearing {len(missing)} utterances alone, once")
        model = WhisperModel(str(store.folder("tiny.en")), device="cpu", compute_type="int8", local_files_only=True)
        for name in missing:
            segments, _ = model.transcribe(utterances[name].samples, language="en", temperature=0, beam_size=5)
            kept[name] = " ".join(segment.text.strip() for segment in segments)
        write_json(ALONE, kept)
    return {item.key: kept[name] for name, item in utterances.items()}


def _all(voices: mixes.Voices) -> Iterable[mixes.Utterance]:
    return (utterance for utterances in voices.values() for utterance in utterances)


def _sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


def sets_of(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """The sets that recordings belong to, in their order."""
    return tuple(dict.fromkeys(recording.set for recording in recordings))
