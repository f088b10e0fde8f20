"""The model in a child process: real models, real signals, real deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import wave
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from diarist.errors import BadRequest, Cancelled, EndpointError, EndpointUnavailable
from diarist.pipeline import Stages
from diarist.service import Reply, TranscriptionService
from diarist.settings import Settings
from diarist_proxy.endpoint import Recording, child_process, connect
from diarist_proxy.endpoint.child import ChildEndpoint, Limits
from diarist_proxy.settings import ProxySettings
from endpoint_calls import Asked, KeptCall, text_of
from test_service import still_there
from truss_environment import eventually


@pytest.fixture(scope="module")
def endpoint() -> Iterator[ChildEndpoint]:
    """One child for the tests that leave it as it was."""
    endpoint = connect(ProxySettings(endpoint="local"))
    assert isinstance(endpoint, ChildEndpoint)
    yield endpoint
    endpoint.close()


@pytest.fixture
def call(sample: Path) -> Recording:
    return Recording(path=sample / "sample.wav")


@pytest.fixture(scope="module")
def long_call(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Twelve minutes: work for much longer than any test waits."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    with wave.open(str(sample / "sample.wav")) as source, wave.open(str(path), "wb") as target:
        target.setparams(source.getparams())
        content = source.readframes(source.getnframes())
        for _ in range(24):
            target.writeframes(content)
    return Recording(path=path)


def working(asked: Asked) -> bool:
    return eventually(lambda: "segment" in asked.call.stages or asked.error is not None, within=120)


def test_a_file_becomes_the_answer_that_the_service_gives(
    endpoint: ChildEndpoint, call: Recording, embedded: Stages
) -> None:
    told = KeptCall()
    answer = endpoint.transcribe(call, {"max_speakers": 2}, told)
    here = TranscriptionService(Settings(), embedded).handle(
        {"max_speakers": 2}, request_id="here", watch=still_there, recording=call.path
    )
    assert isinstance(here, Reply)
    assert text_of(answer) == text_of(here.body)
    assert answer["speakers"] == ["SPEAKER_00", "SPEAKER_01"]
    assert {"segment", "transcribe", "diarize"} <= set(told.stages)
    assert endpoint.model_version() == answer["model_version"] == embedded.model_version


def test_an_unreadable_recording_is_refused_with_the_models_own_words_and_the_next_one_is_answered(
    endpoint: ChildEndpoint, call: Recording, tmp_path: Path
) -> None:
    endpoint.transcribe(call, {}, KeptCall())
    pid = endpoint.pid
    (tmp_path / "page.wav").write_text("<!doctype html>")
    with pytest.raises(BadRequest, match="the file is not audio") as refused:
        endpoint.transcribe(Recording(path=tmp_path / "page.wav"), {}, KeptCall())
    assert (refused.value.status, refused.value.transient) == (422, False)
    with pytest.raises(BadRequest, match="unknown key 'lang'"):
        endpoint.transcribe(call, {"lang": "en"}, KeptCall())
    assert text_of(endpoint.transcribe(call, {}, KeptCall()))
    assert endpoint.pid == pid


def test_two_at_once_share_the_process_and_get_their_own_answers(
    endpoint: ChildEndpoint, call: Recording, recordings: Path
) -> None:
    other = Recording(path=recordings / "librispeech" / "1688" / "1688-142285-0000.flac")
    both = [Asked(endpoint, call), Asked(endpoint, other)]
    assert all(asked.ended() for asked in both)
    first, second = (asked.answer for asked in both)
    assert first is not None
    assert second is not None
    assert first["duration"] == pytest.approx(30, abs=0.1)
    assert text_of(first) != text_of(second)


def test_who_cancels_is_let_go_and_the_process_answers_the_next(
    endpoint: ChildEndpoint, call: Recording, long_call: Recording
) -> None:
    asked = Asked(endpoint, long_call)
    assert working(asked)
    asked.call.gone.set()
    assert asked.ended()
    assert isinstance(asked.error, Cancelled)
    assert text_of(endpoint.transcribe(call, {}, KeptCall()))


def test_a_process_that_is_killed_is_replaced(endpoint: ChildEndpoint, call: Recording, long_call: Recording) -> None:
    asked = Asked(endpoint, long_call)
    assert working(asked)
    killed = endpoint.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert asked.ended()
    assert isinstance(asked.error, EndpointUnavailable)
    assert "signal 9" in str(asked.error)
    assert endpoint.model_version()  # as last heard
    assert text_of(endpoint.transcribe(call, {}, KeptCall()))
    assert endpoint.pid not in {None, killed}


def test_a_process_that_falls_silent_is_ended(call: Recording, long_call: Recording) -> None:
    endpoint = ChildEndpoint(ProxySettings())
    try:
        asked = Asked(endpoint, long_call)
        assert working(asked)
        frozen = endpoint.pid
        assert frozen is not None
        os.kill(frozen, signal.SIGSTOP)
        endpoint._limits = Limits(silent=1)  # only now: one that works on a busy machine may be silent for long
        assert asked.ended()
        assert isinstance(asked.error, EndpointUnavailable)
        assert "it said nothing for 1 s" in str(asked.error)
        assert not psutil.pid_exists(frozen)
        endpoint._limits = Limits()
        assert text_of(endpoint.transcribe(call, {}, KeptCall()))
    finally:
        endpoint.close()


def test_a_cancelled_request_that_does_not_end_takes_its_process_with_it(long_call: Recording) -> None:
    endpoint = ChildEndpoint(ProxySettings(), limits=Limits(grace=0.5))
    try:
        asked = Asked(endpoint, long_call)
        assert working(asked)
        frozen = endpoint.pid
        assert frozen is not None
        os.kill(frozen, signal.SIGSTOP)
        asked.call.gone.set()
        assert asked.ended()
        assert isinstance(asked.error, Cancelled)
        assert not psutil.pid_exists(frozen)
    finally:
        endpoint.close()


def test_an_answer_that_takes_too_long_is_not_waited_for(long_call: Recording) -> None:
    endpoint = ChildEndpoint(ProxySettings(endpoint_timeout_seconds=2))
    try:
        with pytest.raises(EndpointUnavailable, match="DIARIST_ENDPOINT_TIMEOUT_SECONDS"):
            endpoint.transcribe(long_call, {}, KeptCall())
    finally:
        endpoint.close()


def test_an_idle_process_gives_its_memory_back_and_its_version_stays_known(call: Recording) -> None:
    endpoint = ChildEndpoint(ProxySettings(idle_unload_seconds=1))
    try:
        assert endpoint.model_version() is None
        endpoint.wake()
        assert eventually(lambda: endpoint.model_version() is not None, within=120)
        assert eventually(lambda: endpoint.pid is None, within=120)
        assert "tiny.en" in str(endpoint.model_version())
        assert text_of(endpoint.transcribe(call, {}, KeptCall()))
    finally:
        endpoint.close()


def test_a_closed_endpoint_has_ended_its_process_and_starts_no_other(call: Recording) -> None:
    endpoint = ChildEndpoint(ProxySettings())
    endpoint.wake()
    pid = endpoint.pid
    assert pid is not None
    endpoint.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(EndpointUnavailable, match="shutting down"):
        endpoint.transcribe(call, {}, KeptCall())


def test_models_that_cannot_be_loaded_are_the_operators_to_mend(
    call: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_NAME", "large-v9")
    endpoint = ChildEndpoint(ProxySettings())
    try:
        with pytest.raises(EndpointError, match="large-v9") as failed:
            endpoint.transcribe(call, {}, KeptCall())
        assert not failed.value.transient
        endpoint.wake()  # which comes often, and would only fail again
        assert endpoint.pid is None
        monkeypatch.delenv("MODEL_NAME")
        assert text_of(endpoint.transcribe(call, {}, KeptCall()))
    finally:
        endpoint.close()


def test_the_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = """
        import sys, time
        from diarist_proxy.endpoint import connect
        from diarist_proxy.settings import ProxySettings
        endpoint = connect(ProxySettings(endpoint="local"))
        endpoint.wake()
        print(endpoint.pid, flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, cwd=tmp_path
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
        parent.wait(timeout=120)
    assert eventually(lambda: not psutil.pid_exists(child) or ended(child), within=120)


def ended(pid: int) -> bool:
    """Whether nothing but its entry is left: nobody may be there to collect an orphan."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_what_a_library_prints_does_not_reach_the_channel(call: Recording) -> None:
    script = """
        from diarist import child, engines
        load = engines.load
        def noisy(settings):
            print("a library's progress bar")
            import os
            os.write(1, b"and its C code's\\n")
            return load(settings)
        engines.load = noisy
        child.main()
    """
    request = json.dumps({"id": "r1", "body": {}, "path": str(call.path)}) + "\n"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        process.stdin.flush()
        events = [json.loads(process.stdout.readline())]
        while events[-1]["type"] in {"ready", "progress"}:
            events.append(json.loads(process.stdout.readline()))
        process.stdin.close()
        assert process.wait(timeout=120) == 0
    assert events[0]["type"] == "ready"
    assert (events[-1]["type"], events[-1]["id"]) == ("done", "r1")


def test_the_seeds_names_of_the_model_reach_the_process_and_the_proxys_secrets_do_not() -> None:
    given = {"MODEL_NAME": "small", "BATCH_SIZE": "4", "PATH": "/bin", "BASETEN_API_KEY": "k", "BASIC_AUTH_PASS": "p"}
    found = child_process.environment(given, ProxySettings(log_level="warning"))
    assert found["DIARIST_ASR_MODEL"] == "small"
    assert found["DIARIST_BATCH_SIZE"] == "4"
    assert found["DIARIST_LOG_LEVEL"] == "warning"
    assert found["PATH"] == "/bin"
    assert not {"BASETEN_API_KEY", "BASIC_AUTH_PASS"} & set(found)
    ours = child_process.environment(given | {"DIARIST_ASR_MODEL": "medium"}, ProxySettings())
    assert ours["DIARIST_ASR_MODEL"] == "medium"


def test_a_file_that_is_handed_over_is_the_only_recording(call: Recording, embedded: Stages) -> None:
    service = TranscriptionService(Settings(max_bytes=1000), embedded)
    for body, status, words in (
        ({"audio_file": "https://x.example/call.mp3"}, 400, "leave out audio_file"),
        ([], 400, "must be a JSON object"),
        ({}, 413, "the limit is 1000"),
    ):
        reply = service.handle(body, request_id="r1", watch=still_there, recording=call.path)
        assert isinstance(reply, Reply)
        assert reply.status == status
        assert words in reply.body["error"]


def test_asking_for_a_home_that_there_is_not_says_which_there_are() -> None:
    with pytest.raises(BadRequest, match="it must be local, the URL of a Truss server"):
        connect(ProxySettings(endpoint="gpu-box"))


def test_importing_the_endpoints_loads_no_engine() -> None:
    script = "import sys, diarist_proxy.endpoint.child, diarist_proxy.endpoint.truss; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "faster_whisper", "onnxruntime", "label_studio_sdk", "obstore", "baseten"}
    assert not {"diarist.engines", "diarist.pipeline"} & set(done.stdout.split())
