"""The line, the health and the events of the service, with a fake GPU: a real one lies outside this machine."""

from __future__ import annotations

import base64
import io
import threading
import time
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from diarist import service
from diarist.errors import Cancelled
from diarist.pipeline import Stages
from diarist.request import Options
from diarist.segmentation import Activity
from diarist.service import Line, LineFull, Reply, TranscriptionService, request_id_from
from diarist.settings import Settings
from diarist.types import Diarization, Draft, Progress, Span, Waveform, Word
from truss_environment import eventually

NOTHING = np.zeros(0, np.float32)


@contextmanager
def still_there() -> Iterator[threading.Event]:
    yield threading.Event()


def a_second_of_silence() -> str:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(bytes(32_000))
    return base64.b64encode(file.getvalue()).decode()


class FakeGpu:
    """Engines that hear nothing, as fast or as badly as `work` says; it is called at each segmentation."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work

    def segment(self, waveform: Waveform, *, progress: Progress) -> Activity:
        self.work()
        progress(1, 2)
        return Activity(np.zeros((0, 589, 3), np.bool_), 1.0, NOTHING, NOTHING, waveform.duration)

    def transcribe(
        self, waveform: Waveform, windows: tuple[Span, ...], *, options: Options, progress: Progress
    ) -> Draft:
        return Draft("en", ())

    def align(
        self, waveform: Waveform, draft: Draft, *, options: Options, progress: Progress
    ) -> tuple[tuple[Word, ...], tuple[str, ...]]:
        return (), ()

    def diarize(self, waveform: Waveform, activity: Activity, *, options: Options, progress: Progress) -> Diarization:
        return Diarization((), (), ())

    def stages(self) -> Stages:
        return Stages(self.segment, self.transcribe, self.align, self.diarize, "fake")


def idle() -> None:
    pass


def fake_service(work: Callable[[], None], **settings: Any) -> TranscriptionService:  # noqa: ANN401
    return TranscriptionService(Settings(**settings), FakeGpu(work).stages())


def ask(target: TranscriptionService, **more: object) -> Reply:
    answer = target.handle({"audio_b64": a_second_of_silence(), **more}, request_id="r1", watch=still_there)
    assert isinstance(answer, Reply)
    return answer


def stream(target: TranscriptionService) -> Iterator[Mapping[str, Any]]:
    body = {"audio_b64": a_second_of_silence(), "stream": True}
    answer = target.handle(body, request_id="r1", watch=still_there)
    assert not isinstance(answer, Reply)
    return iter(answer)


def listen(target: TranscriptionService) -> list[Mapping[str, Any]]:
    return list(stream(target))


def test_a_line_gives_turns_in_the_order_of_arrival() -> None:
    line, order = Line(width=1), list[int]()
    first = line.join()

    def wait(number: int, place: Any) -> None:  # noqa: ANN401
        line.wait(place, threading.Event())
        order.append(number)
        line.leave(place)

    threads = [threading.Thread(target=wait, args=(number, line.join())) for number in range(5)]
    for thread in reversed(threads):
        thread.start()
    time.sleep(0.1)
    assert order == []
    line.leave(first)
    for thread in threads:
        thread.join(timeout=120)
    assert order == [0, 1, 2, 3, 4]


def test_a_full_line_has_no_place_until_somebody_leaves() -> None:
    line = Line(width=1, length=2)
    first, _ = line.join(), line.join()
    with pytest.raises(LineFull):
        line.join()
    line.leave(first)
    line.join()


def test_who_goes_away_while_waiting_stops_waiting() -> None:
    line, gone = Line(width=1), threading.Event()
    line.join()
    gone.set()
    with pytest.raises(Cancelled):
        line.wait(line.join(), gone)


def test_a_broken_gpu_makes_the_service_unhealthy_and_its_words_stay_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    target = fake_service(fail)
    assert target.healthy
    reply = ask(target)
    assert reply.status == 500
    assert "CUDA" not in str(reply.body)
    assert "r1" in reply.body["error"]
    assert "CUDA error" in caplog.text
    assert not target.healthy


def test_one_recording_that_the_models_cannot_take_leaves_the_service_healthy() -> None:
    failures = [RuntimeError("this recording only")]

    def fail_once() -> None:
        if failures:
            raise failures.pop()

    target = fake_service(fail_once)
    assert ask(target).status == 500
    assert target.healthy
    assert ask(target).status == 200


def test_a_gpu_that_works_again_makes_the_service_healthy_again() -> None:
    broken = threading.Event()
    broken.set()

    def work() -> None:
        if broken.is_set():
            raise RuntimeError("CUDA error")

    target = fake_service(work)
    ask(target)
    assert not target.healthy
    broken.clear()
    assert ask(target).status == 200
    assert target.healthy


def test_models_without_progress_for_too_long_make_the_service_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STUCK_SECONDS", 0.2)
    release = threading.Event()
    target = fake_service(lambda: assert_set(release))
    thread = threading.Thread(target=ask, args=(target,))
    thread.start()
    stuck = eventually(lambda: not target.healthy, within=120)
    release.set()
    thread.join(timeout=120)
    assert stuck
    assert target.healthy


def assert_set(event: threading.Event) -> None:
    assert event.wait(timeout=120)


def test_one_request_too_many_is_told_when_to_come_back() -> None:
    release = threading.Event()
    target = fake_service(lambda: assert_set(release), max_waiting=2)
    threads = [threading.Thread(target=ask, args=(target,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(target._door._places) == 2, within=120)
    reply = ask(target)
    release.set()
    for thread in threads:
        thread.join(timeout=120)
    assert reply.status == 429
    assert int(reply.headers["Retry-After"]) >= 1
    assert "2 requests wait or run already" in reply.body["error"]
    assert ask(target).status == 200


def test_a_silent_stage_does_not_make_a_stream_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HEARTBEAT_SECONDS", 0.05)
    heard = threading.Event()
    repeated, events = 0, list[Mapping[str, Any]]()
    for event in stream(fake_service(lambda: assert_set(heard))):
        events.append(event)
        repeated += event.get("stage") == "segment" and event["completed"] == 0
        if repeated == 5:
            heard.set()
    assert repeated >= 5
    assert events[-1]["type"] == "done"


def test_a_stream_ends_with_the_error_and_its_status() -> None:
    def fail() -> None:
        raise RuntimeError("secret detail")

    *_, last = listen(fake_service(fail))
    assert (last["type"], last["status"]) == ("error", 500)
    assert "secret detail" not in str(last)


def test_a_stream_that_nobody_reads_gives_its_place_up() -> None:
    target = fake_service(idle, max_waiting=1)
    target.handle({"audio_b64": a_second_of_silence(), "stream": True}, request_id="r1", watch=still_there)
    assert eventually(lambda: ask(target).status == 200, within=120)


def test_a_wrong_request_is_refused_with_its_status_even_where_a_stream_was_asked_for() -> None:
    answer = fake_service(idle).handle({"stream": True}, request_id="r1", watch=still_there)
    assert isinstance(answer, Reply)
    assert answer.status == 400
    assert answer.headers["X-Request-Id"] == "r1"


def test_a_text_format_comes_with_the_same_metadata() -> None:
    body = ask(fake_service(idle), output="vtt").body
    assert body["output"].startswith("WEBVTT")
    assert body["format"] == "vtt"
    assert {"language", "duration", "speakers", "model_version", "timings", "uncovered"} <= set(body)
    assert "model_output" not in body


def test_a_json_format_is_an_object_and_not_a_text_of_one() -> None:
    body = ask(fake_service(idle), output="label_studio").body
    assert body["output"]["result"] == []


def test_the_log_says_what_a_request_took(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "diarist")
    ask(fake_service(idle))
    line = next(message for message in caplog.messages if message.startswith("request r1"))
    for part in ("status=200", "seconds=", "audio_seconds=1.0", "fetch=", "decode=", "wait=", "segment="):
        assert part in line


@pytest.mark.parametrize("header", [None, "", "two\nlines", "x" * 101, "a b"])
def test_an_id_that_would_spoil_the_log_is_replaced(header: str | None) -> None:
    assert request_id_from(header) != header
    assert len(request_id_from(header)) == 32


def test_the_platforms_id_is_kept() -> None:
    assert request_id_from("3f2a-77.b_1") == "3f2a-77.b_1"
