"""Our pipeline, loaded once, with the embedded profile's weights."""

from __future__ import annotations

import time

from benchmarks.answers import Answer

from diarist import engines, pipeline
from diarist.request import Options
from diarist.settings import Settings
from diarist.types import Transcript, Waveform, unobserved


class Ours:
    """`diarist` as a server has it: the engines loaded, a recording after the other."""

    def __init__(self, threads: int) -> None:
        self._stages = engines.load(Settings(profile="embedded", threads=threads))

    def transcribe(self, waveform: Waveform) -> Answer:
        """Words and speakers."""
        return answer_of(pipeline.transcribe(waveform, self._stages, Options()))

    def diarize(self, waveform: Waveform) -> Answer:
        """Speakers alone, the segmentation included."""
        started = time.perf_counter()
        activity = self._stages.segment(waveform, progress=unobserved)
        segmented = time.perf_counter()
        found = self._stages.diarize(waveform, activity, options=Options(), progress=unobserved)
        seconds = {"segment": segmented - started, "diarize": time.perf_counter() - segmented}
        return Answer(found.turns, (), seconds)


def answer_of(transcript: Transcript) -> Answer:
    """A transcript's turns and words."""
    words = tuple(sorted(transcript.words, key=lambda word: word.span))
    return Answer(transcript.turns, words, transcript.timings)
