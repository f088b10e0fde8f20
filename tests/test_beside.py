"""Work beside other work goes on meanwhile, gives the same result, and stops when nobody wants it any more."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Never

import pytest

from diarist import pipeline
from diarist.beside import beside
from diarist.errors import Cancelled
from diarist.pipeline import Stages
from diarist.request import Options
from diarist.segmentation import Activity
from diarist.types import Diarization, Draft, Progress, Span, Waveform, unobserved

PATIENCE_SECONDS = 120.0


def test_work_has_begun_before_anybody_waits_for_it() -> None:
    begun = threading.Event()

    def work(_: Progress) -> str:
        begun.set()
        return "done"

    with beside(work) as result:
        assert begun.wait(PATIENCE_SECONDS)
        assert result(unobserved) == "done"


def test_whoever_waits_is_told_how_far_the_work_has_come() -> None:
    told = threading.Event()
    seen: list[tuple[float, float]] = []

    def work(progress: Progress) -> None:
        progress(3, 8)
        assert told.wait(PATIENCE_SECONDS)

    def progress(completed: float, total: float) -> None:
        seen.append((completed, total))
        if (3, 8) in seen:
            told.set()

    with beside(work) as result:
        result(progress)
    assert (3, 8) in seen


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("late"), Cancelled("gone")])
def test_what_the_work_raises_is_raised_where_it_is_waited_for(error: Exception) -> None:
    def work(_: Progress) -> None:
        raise error

    with beside(work) as result, pytest.raises(type(error)) as caught:
        result(unobserved)
    assert caught.value is error


def endless(progress: Progress, stopped: threading.Event) -> Never:
    """Work that ends only when it is stopped, and says so."""
    try:
        while True:
            progress(0, 1)
    except Cancelled:
        stopped.set()
        raise


def test_work_that_nobody_waits_for_any_more_is_stopped() -> None:
    stopped = threading.Event()
    with pytest.raises(KeyError), beside(lambda progress: endless(progress, stopped)):
        raise KeyError
    assert stopped.is_set()


def test_a_waiter_that_gives_up_stops_the_work() -> None:
    stopped = threading.Event()

    def gone(completed: float, total: float) -> None:
        raise Cancelled("the caller has gone")

    with pytest.raises(Cancelled, match="caller"), beside(lambda progress: endless(progress, stopped)) as result:
        result(gone)
    assert stopped.is_set()


def test_diarizing_beside_the_transcription_gives_the_same_answer(embedded: Stages, jfk: Waveform) -> None:
    diarizing, transcribed = threading.Event(), threading.Event()

    def transcribe(waveform: Waveform, windows: tuple[Span, ...], *, options: Options, progress: Progress) -> Draft:
        assert diarizing.wait(PATIENCE_SECONDS)  # it had not begun yet where one came after the other
        draft = embedded.transcribe(waveform, windows, options=options, progress=progress)
        transcribed.set()
        return draft

    def diarize(waveform: Waveform, activity: Activity, *, options: Options, progress: Progress) -> Diarization:
        diarizing.set()
        assert transcribed.wait(PATIENCE_SECONDS)
        return embedded.diarize(waveform, activity, options=options, progress=progress)

    stages = replace(embedded, transcribe=transcribe, diarize=diarize, diarize_beside=True)
    found = pipeline.transcribe(jfk, stages, Options())
    expected = pipeline.transcribe(jfk, embedded, Options())
    assert replace(found, timings={}) == replace(expected, timings={})
    assert found.timings.keys() == expected.timings.keys()


def test_a_cancelled_transcription_stops_the_diarization_beside_it(embedded: Stages, jfk: Waveform) -> None:
    stopped = threading.Event()

    def diarize(waveform: Waveform, activity: Activity, *, options: Options, progress: Progress) -> Diarization:
        endless(progress, stopped)

    def observer(stage: str, completed: float, total: float) -> None:
        if stage == "transcribe":
            raise Cancelled("the caller has gone")

    stages = replace(embedded, diarize=diarize, diarize_beside=True)
    with pytest.raises(Cancelled, match="caller"):
        pipeline.transcribe(jfk, stages, Options(), observer=observer)
    assert stopped.is_set()
