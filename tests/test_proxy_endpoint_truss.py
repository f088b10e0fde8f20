"""The model as a server by URL: the real Truss server, and one that misbehaves in every way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diarist import audio
from diarist.errors import (
    AudioTooLarge,
    AudioUnreachable,
    BadRequest,
    Cancelled,
    DiaristError,
    EndpointError,
    EndpointUnavailable,
)
from diarist.types import SAMPLE_RATE
from diarist_proxy.endpoint import Endpoint, Recording, answer, connect, http_call
from diarist_proxy.settings import ProxySettings
from encoding import encode
from endpoint_calls import Asked, KeptCall, text_of
from fake_model import SECRET, TRANSCRIPT, Answer, FakeModel, says, streams, waits
from fake_model import serving as misbehaving
from fake_origin import serving as origin_serving
from ports import free_port
from truss_environment import Server, eventually, server_python, serving, stage


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = stage(tmp_path_factory.mktemp("truss") / "root")
    settings = {"DIARIST_FETCH_ALLOWED_NETWORKS": "127.0.0.1/32", "DIARIST_MAX_BYTES": "4000000"}
    with serving(root, tmp_path_factory.mktemp("server"), python=server_python(), settings=settings) as server:
        yield server


@pytest.fixture
def truss(server: Server) -> Endpoint:
    return connect(ProxySettings(endpoint=f"http://127.0.0.1:{server.port}/"))


@pytest.fixture
def speech(recordings: Path) -> Recording:
    return Recording(path=recordings / "librispeech" / "1688" / "1688-142285-0000.flac")


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with misbehaving() as model:
        yield model


@pytest.fixture
def faulty(model: FakeModel) -> Endpoint:
    return connect(ProxySettings(endpoint=model.url))


def failure(endpoint: Endpoint, recording: Recording, call: KeptCall | None = None) -> DiaristError:
    with pytest.raises(DiaristError) as caught:
        endpoint.transcribe(recording, {}, call or KeptCall())
    assert SECRET not in str(caught.value)
    return caught.value


# The real server


def test_a_file_is_sent_by_value_and_its_progress_comes_back(truss: Endpoint, speech: Recording) -> None:
    told = KeptCall()
    answer = truss.transcribe(speech, {"num_speakers": 1}, told)
    assert len(text_of(answer)) > 20
    assert answer["speakers"] == ["SPEAKER_00"]
    assert "type" not in answer
    assert {"fetch", "segment", "transcribe", "diarize"} <= set(told.stages)
    assert truss.model_version() == answer["model_version"]


def test_a_url_is_left_for_the_model_to_fetch(truss: Endpoint) -> None:
    with origin_serving() as origin:
        error = failure(truss, Recording(url=origin.url(f"/audio?signature={SECRET}")))
        assert [path for path, _ in origin.seen] == [f"/audio?signature={SECRET}"]
    assert "the file is not audio" in str(error)
    assert truss.fetches_urls


def test_a_refusal_keeps_the_models_words_and_status(truss: Endpoint, speech: Recording, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"language 'de' is unknown to the loaded model tiny\.en") as refused:
        truss.transcribe(speech, {"language": "de"}, KeptCall())
    assert (refused.value.status, refused.value.transient) == (400, False)
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(4_100_000))
    error = failure(truss, Recording(path=large))
    assert isinstance(error, AudioTooLarge)
    assert "4100000" in str(error)


def test_a_url_whose_server_is_away_may_be_tried_again(truss: Endpoint) -> None:
    with origin_serving() as origin:
        error = failure(truss, Recording(url=origin.url("/status/404")))
        assert (error.status, error.transient) == (422, False)
        error = failure(truss, Recording(url=origin.url("/status/503")))
    assert isinstance(error, AudioUnreachable)
    assert (error.status, error.transient) == (422, True)


def test_who_cancels_is_let_go_and_the_server_stops(
    server: Server, truss: Endpoint, recordings: Path, tmp_path: Path
) -> None:
    talk = audio.decode(recordings / "ami" / "trn00.flac", max_duration_seconds=60).samples
    long = encode(tmp_path / "long.flac", np.tile(talk, 10)[None], SAMPLE_RATE, "flac", container="flac")
    asked = Asked(truss, Recording(path=long))  # five minutes: much more than the test waits
    assert eventually(lambda: "segment" in asked.call.stages or asked.error is not None, within=120)
    before = server.log.count("status=499")
    asked.call.gone.set()
    assert asked.ended(within=120)
    assert isinstance(asked.error, Cancelled)
    assert eventually(lambda: server.log.count("status=499") > before, within=120)


def test_waking_a_truss_learns_its_version(server: Server) -> None:
    endpoint = connect(ProxySettings(endpoint=f"http://127.0.0.1:{server.port}"))
    assert endpoint.model_version() is None
    endpoint.wake()
    endpoint.wake()
    assert eventually(lambda: endpoint.model_version() is not None, within=120)
    assert "tiny.en" in str(endpoint.model_version())


# Faults


def test_a_server_that_is_down_may_be_back_later(speech: Recording) -> None:
    port = free_port()
    error = failure(connect(ProxySettings(endpoint=f"http://127.0.0.1:{port}")), speech)
    assert isinstance(error, EndpointUnavailable)
    assert f"http://127.0.0.1:{port} cannot be reached" in str(error)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (429, (EndpointUnavailable, "too many requests")),
        (503, (EndpointUnavailable, "starting, draining or away")),
        (502, (EndpointUnavailable, "did not reach its model")),
        (504, (EndpointUnavailable, "answered 504")),
        (500, (EndpointUnavailable, "answered 500")),
        (401, (EndpointError, "check BASETEN_API_KEY")),
        (404, (EndpointError, "check DIARIST_ENDPOINT")),
        (302, (EndpointError, "answered 302")),
    ],
)
def test_each_status_says_who_must_act(
    model: FakeModel, faulty: Endpoint, speech: Recording, status: int, expected: tuple[type[EndpointError], str]
) -> None:
    kind, words = expected
    model.script = [says(status, f"<html>{SECRET}</html>", Retry_After="7", X_Secret=SECRET)]
    error = failure(faulty, speech)
    assert type(error) is kind
    assert words in str(error)
    assert error.transient == (kind is EndpointUnavailable)
    if status in {429, 503}:
        assert isinstance(error, EndpointUnavailable)
        assert error.retry_after_seconds == 7


@pytest.mark.parametrize(
    "answer",
    [
        says(200, f"<html>{SECRET}</html>"),
        says(200, "", Content_Type="application/json"),
        says(200, "[1]", Content_Type="application/json"),
        says(200, '{"output_of_another_model": 1}', Content_Type="application/json"),
        streams({"type": "done", "model_output": "text"}),
        streams({"no_type": 1}),
        streams({"type": "progress", "stage": "wait", "completed": 0, "total": 1}),
        streams('{"type": "done", "model_out'),
        streams(),
    ],
)
def test_what_is_no_answer_is_told_and_may_be_tried_again(
    model: FakeModel, faulty: Endpoint, speech: Recording, answer: Answer
) -> None:
    model.script = [answer]
    error = failure(faulty, speech)
    assert isinstance(error, EndpointUnavailable)


def test_a_failure_that_stays_is_not_tried_for_ever(
    model: FakeModel, faulty: Endpoint, speech: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = '{"error": "the service failed on this request; its log has the cause under r1"}'
    model.script = [says(500, said), streams({"type": "error", "status": 500, "error": "CUDA"}), says(200, "?")]
    call = KeptCall()
    assert failure(faulty, speech, call).transient
    monkeypatch.setattr(answer, "FAILING_SECONDS", 0)
    assert failure(faulty, speech, call).transient
    last = failure(faulty, speech, call)
    assert not last.transient
    assert "3 times" in str(last)


def test_an_answer_in_one_piece_is_an_answer_too(model: FakeModel, faulty: Endpoint, speech: Recording) -> None:
    model.script = [streams({"type": "progress", "stage": "x"}, TRANSCRIPT)]
    assert faulty.transcribe(speech, {"language": "en"}, KeptCall())["model_version"] == "fake-1"
    assert set(model.asked[0]) == {"language", "stream", "audio_b64"}


def test_a_server_that_hangs_up_at_once_may_do_better_later(
    model: FakeModel, faulty: Endpoint, speech: Recording
) -> None:
    model.script = [lambda handler: handler.connection.close()]
    error = failure(faulty, speech)
    assert isinstance(error, EndpointUnavailable)
    assert "hung up before it answered" in str(error)


@pytest.mark.parametrize("begun", [False, True])
def test_who_cancels_before_or_during_the_answer_hangs_up(
    model: FakeModel, faulty: Endpoint, speech: Recording, begun: bool
) -> None:
    model.script = [waits(begun=begun)]
    asked = Asked(faulty, speech)
    assert eventually(lambda: bool(model.asked), within=120)
    asked.call.gone.set()
    assert asked.ended(within=120)
    assert isinstance(asked.error, Cancelled)
    assert model.hung_up.wait(120)


def test_a_server_that_is_too_slow_is_hung_up_on(model: FakeModel, speech: Recording) -> None:
    model.script = [waits(begun=False)]
    started = time.monotonic()
    error = failure(connect(ProxySettings(endpoint=model.url, endpoint_timeout_seconds=1)), speech)
    assert isinstance(error, EndpointUnavailable)
    assert "within 1 s (DIARIST_ENDPOINT_TIMEOUT_SECONDS)" in str(error)
    assert time.monotonic() - started < 120
    assert model.hung_up.wait(120)


def test_a_stream_that_falls_silent_is_hung_up_on(
    model: FakeModel, faulty: Endpoint, speech: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_call, "SILENT_SECONDS", 1)
    model.script = [waits(begun=True)]
    error = failure(faulty, speech)
    assert isinstance(error, EndpointUnavailable)
    assert "fell silent" in str(error)
    assert model.hung_up.wait(120)
