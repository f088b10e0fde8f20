"""The stock pipeline: faster-whisper, pyannote.audio and whisperx, each as it comes, with the packaged weights.

    python -m benchmarks.stock call.wav --out answer.json

This is what the field runs: faster-whisper's batched pipeline with its own voice activity detector and word times,
pyannote.audio's unchanged pipeline, and whisperx's `assign_word_speakers`. Options are the libraries' defaults; the
weights and the number of threads are those of the way it is compared with. It needs two thirds of real time, so what
it answered is kept under build/bench/stock, by the hash of the samples, of the weights and of this code.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.answers import Answer, Way, write_json

from diarist import audio, diarize_pyannote, engines, libraries
from diarist.models import ModelStore
from diarist.settings import Settings
from diarist.types import SAMPLE_RATE, Span, Waveform, Word

LONGEST_SECONDS = 600.0
CACHE = Path("build/bench/stock")
LIBRARIES = ("faster-whisper", "ctranslate2", "whisperx", "pyannote.audio", "torch")
WEIGHTS = ("tiny.en", "segmentation-3.0", "campplus")


class Stock:
    """The three libraries, loaded."""

    def __init__(self, threads: int) -> None:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as ours: else two libraries' threads wait for each other
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        store = ModelStore(Settings(profile="embedded"))
        tiny = str(store.folder("tiny.en"))
        self._asr = BatchedInferencePipeline(
            WhisperModel(tiny, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True)
        )
        libraries.pyannote_audio()  # first, so that its telemetry is off
        import torch

        torch.set_num_threads(threads)
        self._pipeline = diarize_pyannote.packaged_pipeline(
            store.folder("segmentation-3.0") / "pytorch_model.bin",
            store.folder("campplus") / "campplus_cn_en_common.pt",
        )

    def transcribe(self, waveform: Waveform) -> Answer:
        """Words and speakers."""
        import pandas as pd
        from whisperx.diarize import assign_word_speakers

        started = time.perf_counter()
        heard, _ = self._asr.transcribe(waveform.samples, word_timestamps=True, language="en")
        result = {"segments": [_segment(segment) for segment in heard]}
        transcribed = time.perf_counter() - started
        found = self.diarize(waveform)
        started = time.perf_counter()
        rows = [(turn.span.start, turn.span.end, turn.speaker) for turn in found.turns]
        joined = assign_word_speakers(pd.DataFrame(rows, columns=["start", "end", "speaker"]), result)
        words = tuple(sorted(_words(joined), key=lambda word: word.span))
        assigned = time.perf_counter() - started
        return Answer(found.turns, words, {"transcribe": transcribed, **found.seconds, "assign": assigned})

    def diarize(self, waveform: Waveform) -> Answer:
        """Speakers alone."""
        import torch

        started = time.perf_counter()
        samples = torch.from_numpy(waveform.samples)[None]
        output = self._pipeline({"waveform": samples, "sample_rate": SAMPLE_RATE, "uri": "recording"})
        turns = diarize_pyannote.to_diarization(output, waveform.duration).turns
        return Answer(turns, (), {"diarize": time.perf_counter() - started})


def _segment(segment: Any) -> dict[str, Any]:  # noqa: ANN401 - faster-whisper's
    words = [{"word": word.word, "start": float(word.start), "end": float(word.end)} for word in segment.words or ()]
    return {"start": segment.start, "end": segment.end, "text": segment.text, "words": words}


def _words(result: dict[str, Any]) -> Iterable[Word]:
    for segment in result["segments"]:
        for word in segment["words"]:
            span = Span(word["start"], max(word["start"], word["end"]))
            yield Word(word["word"].strip(), span, speaker=word.get("speaker"))


# --- what it answered before ------------------------------------------------------------------------------


def key(waveform: Waveform, *, words: bool) -> str:
    """The name of an answer: it changes with the samples, the weights, the libraries and this code."""
    manifest = ModelStore(Settings(profile="embedded")).manifest
    hashes = [file.sha256 for name in WEIGHTS for file in manifest.find(name).files]
    source = [inspect.getsource(part) for part in (Stock, _segment, _words, diarize_pyannote.packaged_pipeline)]
    versions = [f"{name} {version(name)}" for name in LIBRARIES]
    samples = hashlib.sha256(waveform.samples.tobytes()).hexdigest()
    return hashlib.sha256(json.dumps([samples, hashes, versions, source, words]).encode()).hexdigest()[:32]


def cached(waveform: Waveform, *, words: bool, folder: Path = CACHE) -> Answer | None:
    """What stock answered before to the same samples; `words` tells a transcription from a diarization."""
    path = folder / f"{key(waveform, words=words)}.json"
    return Answer.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def keep(waveform: Waveform, answer: Answer, *, words: bool, folder: Path = CACHE) -> None:
    """Keep an answer for `cached`."""
    write_json(folder / f"{key(waveform, words=words)}.json", answer.to_json())


def remembered(way: Way, waveform: Waveform, *, words: bool, fresh: bool = False, folder: Path = CACHE) -> Answer:
    """What stock answered to these samples before, or else what it answers now, which is kept."""
    kept = None if fresh else cached(waveform, words=words, folder=folder)
    if kept is not None:
        return kept
    print("  stock works on it: two thirds of real time on two cores", file=sys.stderr, flush=True)
    answer = way.transcribe(waveform) if words else way.diarize(waveform)
    keep(waveform, answer, words=words, folder=folder)
    return answer


def main() -> None:
    """Transcribe one file, as a command of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, help="at most ten minutes are read")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the answer is written as JSON")
    parser.add_argument("--threads", type=int, default=engines.cpu_count(), help="CPU threads; default every core")
    given = parser.parse_args()
    stock = Stock(given.threads)
    write_json(
        given.out, stock.transcribe(audio.decode(given.recording, max_duration_seconds=LONGEST_SECONDS)).to_json()
    )


if __name__ == "__main__":
    main()
