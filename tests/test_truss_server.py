"""The deployment's own server, as a process, with the packaged weights: what goes in and what comes out.

One server is shared by most tests. Recordings come over real HTTP from a server of files on 127.0.0.1, which this
server's settings allow, and the limits are small so that they can be reached.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
import requests

from diarist.models import ModelStore
from diarist.settings import Settings
from truss_environment import ROOT, SECRET, Server, eventually, server_python, serving, stage

MAX_WAITING = 4
LIMITS = {
    "DIARIST_FETCH_ALLOWED_NETWORKS": "127.0.0.1/32",
    "DIARIST_FETCH_TIMEOUT_SECONDS": "10",
    "DIARIST_MAX_BYTES": "4000000",
    "DIARIST_MAX_DURATION_SECONDS": "200",
    "DIARIST_MAX_WAITING": str(MAX_WAITING),
    "DIARIST_BATCH_SIZE": "1",  # progress, and so a look at the caller, after each window
}


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage(tmp_path_factory.mktemp("truss") / "root")


@pytest.fixture(scope="session")
def shared_server(staged: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(staged, tmp_path_factory.mktemp("server"), python=server_python(), settings=LIMITS) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """The shared server; whatever a test did, the log tells no secret and the server is still well."""
    yield shared_server
    assert SECRET not in shared_server.log
    assert shared_server.ready()


@dataclass
class Files:
    """A server of recordings that can be told to be slow."""

    port: int = 0
    contents: dict[str, bytes] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)  # "/slow/…" answers when it is set

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}?X-Signature={SECRET}"


class Handler(BaseHTTPRequestHandler):
    files: Files

    def do_GET(self) -> None:
        name = self.path.split("?")[0].lstrip("/")
        if name.startswith("slow/"):
            self.files.held.wait(timeout=60)
            name = name.removeprefix("slow/")
        if name.startswith("status/"):
            self.send_error(int(name.removeprefix("status/")))
        elif name.startswith("to/"):
            self.send_response(302)
            self.send_header("Location", f"http://{name.removeprefix('to/')}")
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.files.contents[name])))
            self.end_headers()
            self.files.served.append(name)
            with suppress(ConnectionError):  # the caller may refuse it for its length
                self.wfile.write(self.files.contents[name])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in the library
        pass


@pytest.fixture(scope="session")
def files(recordings: Path) -> Iterator[Files]:
    speech = samples(recordings / "librispeech" / "1688" / "1688-142285-0000.flac")
    files = Files()
    files.contents = {
        "speech.mp3": encoded(speech[: 16_000 * 6]),
        "short.mp3": encoded(speech[: 16_000 * 2]),
        "long.mp3": encoded(np.tile(samples(recordings / "ami" / "trn00.flac"), 6)),
        "mostly_silent.mp3": encoded(np.pad(speech[: 16_000 * 2], (0, 16_000 * 14))),
        "over.mp3": encoded(np.zeros(16_000 * 230, np.int16)),
        "silence.mp3": encoded(np.zeros(16_000 * 4, np.int16)),
        "noise.mp3": encoded(np.random.default_rng(0).normal(0, 800, 16_000 * 4).astype(np.int16)),
        "page.mp3": b"<!doctype html><title>Sign in</title>" + SECRET.encode(),
        "empty.mp3": b"",
        "truncated.flac": (recordings / "librispeech" / "1688" / "1688-142285-0000.flac").read_bytes()[:60],
        "silent.mp4": silent_video(),
        "huge.mp3": bytes(5_000_000),
    }
    handler = type("FilesHandler", (Handler,), {"files": files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        files.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield files
        files.held.set()
        http.shutdown()


def samples(path: Path) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A recording at 16 kHz, mono, shape `(num_samples,)`."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def encoded(pcm: np.ndarray[Any, np.dtype[np.int16]]) -> bytes:
    """Samples as an MP3."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.rate = 16_000
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=16_000, frame_size=1152)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    return file.getvalue()


def silent_video() -> bytes:
    """A video of one grey picture, without an audio track."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for frame in (av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8)), None):
            container.mux(stream.encode(frame))
    return file.getvalue()


def said(answer: requests.Response) -> str:
    assert answer.status_code == 200, answer.text
    return " ".join(segment["text"].strip() for segment in answer.json()["model_output"]).lower()


# What comes out


def test_an_mp3_by_url_becomes_words_with_times_and_speakers(server: Server, files: Files) -> None:
    answer = server.ask(audio_file=files.url("speech.mp3"))
    assert "there" in said(answer) or "the" in said(answer)
    body = answer.json()
    assert body["language"] == "en"
    assert body["duration"] == pytest.approx(6, abs=0.2)
    assert body["speakers"] == ["SPEAKER_00"]
    words = [word for segment in body["model_output"] for word in segment["words"]]
    assert len(words) > 5
    assert all(0 <= word["start"] <= word["end"] <= 6.2 and word["speaker"] == "SPEAKER_00" for word in words)
    assert {"fetch", "decode", "wait", "segment", "transcribe", "diarize"} <= set(body["timings"])
    assert "tiny.en" in body["model_version"]


def test_the_same_mp3_in_base64_gives_the_same_answer(server: Server, files: Files) -> None:
    by_url = server.ask(audio_file=files.url("speech.mp3")).json()
    by_value = server.ask(audio_b64=base64.b64encode(files.contents["speech.mp3"]).decode()).json()
    assert by_value["model_output"] == by_url["model_output"]


def test_a_text_format_is_answered_with_its_metadata(server: Server, files: Files) -> None:
    body = server.ask(audio_file=files.url("speech.mp3"), output="srt").json()
    assert body["output"].startswith("1\n00:00:0")
    assert (body["format"], body["language"]) == ("srt", "en")


@pytest.mark.parametrize("name", ["silence.mp3", "noise.mp3"])
def test_where_nobody_speaks_nothing_is_said(server: Server, files: Files, name: str) -> None:
    answer = server.ask(audio_file=files.url(name))
    assert said(answer) == ""
    assert answer.json()["speakers"] == []


# What is refused


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "exactly one of audio_file (URL) and audio_b64 is needed, neither was given"),
        ({"audio_file": f"https://x.example/?s={SECRET}", "audio_b64": "AAAA"}, "both were given"),
        ({"audio_url": f"https://x.example/?s={SECRET}"}, "unknown key 'audio_url'; known keys: audio_file"),
        ({"audio_b64": "AAAA", "min_speakers": 3, "max_speakers": 2}, "min_speakers (3) is greater than max_speakers"),
        ({"audio_b64": "AAAA", "num_speakers": "two"}, "num_speakers: "),
        ({"audio_b64": "AAAA", "output": "docx"}, "output: "),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(server: Server, body: dict[str, object], message: str) -> None:
    answer = server.post(body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert SECRET not in answer.text


def test_a_body_that_is_no_object_is_told_so(server: Server) -> None:
    for content in ("[1]", '"text"', "{", ""):
        answer = requests.post(f"{server.url}:predict", data=content, timeout=120)
        assert answer.status_code == 400
        assert "JSON" in answer.json()["error"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://files.example/call.mp3",
        "http://127.0.0.2/call.mp3",
        "http://10.1.2.3/call.mp3",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/call.mp3",
        f"http://user:{SECRET}@127.0.0.1/call.mp3",
    ],
)
def test_a_url_that_points_inside_is_refused(server: Server, url: str) -> None:
    answer = server.ask(audio_file=f"{url}?s={SECRET}")
    assert answer.status_code == 400
    assert len(answer.json()["error"]) > 20
    assert SECRET not in answer.text


def test_a_refused_network_is_named_with_the_setting_that_allows_it(server: Server) -> None:
    message = server.ask(audio_file="http://10.1.2.3/call.mp3").json()["error"]
    assert "10.1.2.3" in message
    assert "DIARIST_FETCH_ALLOWED_NETWORKS" in message


@pytest.mark.parametrize("target", ["169.254.169.254/latest/meta-data/", "127.0.0.2/call.mp3"])
def test_a_redirect_to_the_inside_is_refused(server: Server, files: Files, target: str) -> None:
    answer = server.ask(audio_file=files.url(f"to/{target}"))
    assert answer.status_code == 400
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("status/404", 422, "404"),
        ("status/503", 422, "503"),
        ("page.mp3", 422, ""),
        ("empty.mp3", 422, "empty"),
        ("truncated.flac", 422, ""),
        ("silent.mp4", 422, "audio"),
        ("huge.mp3", 413, "4000000"),
        ("over.mp3", 413, "200"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_status(
    server: Server, files: Files, name: str, status: int, message: str
) -> None:
    answer = server.ask(audio_file=files.url(name))
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"].replace(",", "").replace("_", "")
    assert len(answer.json()["error"]) > 20
    assert SECRET not in answer.text


def test_a_server_that_answers_too_slowly_is_not_waited_for(server: Server, files: Files) -> None:
    files.held.clear()
    answer = server.ask(audio_file=files.url("slow/short.mp3"))
    files.held.set()
    assert answer.status_code == 422
    assert "within 10 s" in answer.json()["error"]
    assert SECRET not in answer.text


def test_base64_over_the_limit_is_told_both_numbers(server: Server) -> None:
    answer = server.ask(audio_b64=base64.b64encode(bytes(4_100_000)).decode())
    assert answer.status_code == 413
    message = answer.json()["error"].replace(",", "").replace("_", "")
    assert "4000000" in message


def test_a_language_that_the_model_cannot_do_is_refused_by_the_models_name(server: Server, files: Files) -> None:
    answer = server.ask(audio_file=files.url("speech.mp3"), language="de")
    assert answer.status_code == 400
    assert "tiny.en" in answer.json()["error"]


# Many at once


def test_two_requests_at_once_get_the_answers_that_each_gets_alone(server: Server, files: Files) -> None:
    names = ["speech.mp3", "short.mp3"]
    alone = [server.ask(audio_file=files.url(name)).json()["model_output"] for name in names]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda name: server.ask(audio_file=files.url(name)).json()["model_output"], names))
    assert together == alone


def test_one_request_too_many_is_told_when_to_come_back(server: Server, files: Files) -> None:
    files.held.clear()
    with ThreadPoolExecutor(MAX_WAITING + 1) as pool:
        asked = [pool.submit(server.ask, audio_file=files.url("slow/short.mp3")) for _ in range(MAX_WAITING + 1)]
        (refused,), waiting = wait(asked, timeout=120, return_when=FIRST_COMPLETED)
        files.held.set()
        assert [answer.result().status_code for answer in waiting] == [200] * MAX_WAITING
    answer = refused.result()
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert f"{MAX_WAITING} requests wait or run already" in answer.json()["error"]


def test_thirty_requests_in_a_row_leave_the_memory_where_it_was(server: Server, files: Files) -> None:
    process = psutil.Process(server.process.pid)
    resident = []
    for _ in range(30):
        assert server.ask(audio_file=files.url("mostly_silent.mp3")).status_code == 200
        resident.append(process.memory_info().rss / 2**20)
    # MiB. A decoded recording has 1, so 20 that stay would be 20; an arena more of the allocator is up to 10.
    assert max(resident[-5:]) - max(resident[5:10]) < 15


# Streams and callers that go away


def test_a_stream_tells_the_progress_of_each_stage_and_ends_with_the_answer(server: Server, files: Files) -> None:
    *progress, last = server.events(audio_file=files.url("speech.mp3"))
    assert {event["type"] for event in progress} == {"progress"}
    stages = list(dict.fromkeys(event["stage"] for event in progress))
    assert stages == ["wait", "fetch", "segment", "transcribe", "align", "diarize", "assign"]
    assert last["type"] == "done"
    assert last["model_output"] == server.ask(audio_file=files.url("speech.mp3")).json()["model_output"]


def test_a_stream_that_fails_ends_with_the_error(server: Server, files: Files) -> None:
    last = server.events(audio_file=files.url("status/404"))[-1]
    assert (last["type"], last["status"]) == ("error", 422)
    assert "404" in last["error"]
    assert SECRET not in str(last)


def test_streams_give_their_slots_back(server: Server, files: Files) -> None:
    for _ in range(40):  # more than the server's predict_concurrency
        assert server.events(audio_file=files.url("status/404"))[-1]["status"] == 422


def test_a_wrong_request_for_a_stream_is_refused_at_once(server: Server) -> None:
    assert server.ask(stream=True).status_code == 400


@pytest.mark.parametrize("stream", [False, True])
def test_a_killed_client_frees_the_models(server: Server, files: Files, stream: bool) -> None:
    asked = json.dumps({"audio_file": files.url("long.mp3"), "stream": stream}).encode()
    head = f"POST /v1/models/model:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(asked)}\r\n\r\n"
    before = server.log.count("status=499")  # a request that was computed to its end has another status
    files.served.clear()
    with closing(socket.create_connection(("127.0.0.1", server.port))) as client:
        client.sendall(head.encode() + asked)
        assert eventually(lambda: "long.mp3" in files.served, within=120)
    body = server.ask(audio_file=files.url("short.mp3")).json()
    assert eventually(lambda: server.log.count("status=499") == before + 1, within=120)
    assert body["timings"]["wait"] < 12  # some 3: the watch looks once a second, and a window takes a second or two


# Operation


def test_the_log_has_a_line_for_each_request_with_its_id_length_and_times(server: Server, files: Files) -> None:
    server.post({"audio_file": files.url("short.mp3")}, request_id="id-for-the-log")
    assert server.logged("request id-for-the-log: status=200")
    line = next(line for line in server.log.splitlines() if "request id-for-the-log: status=" in line)
    for part in ("seconds=", "audio_seconds=2.", "fetch=", "decode=", "wait=", "segment=", "transcribe=", "diarize="):
        assert part in line


def test_an_answer_carries_the_requests_id(server: Server) -> None:
    answer = server.post({}, request_id="id-of-mine")
    assert answer.headers["x-request-id"] == "id-of-mine"


def test_a_mistake_of_the_caller_leaves_no_traceback_in_the_log(server: Server, files: Files) -> None:
    start = len(server.log)
    server.ask(audio_file=files.url("status/404"))
    server.ask()
    assert "Traceback" not in server.log[start:]


def test_models_that_cannot_answer_turn_the_readiness_off(staged: Path, files: Files, tmp_path: Path) -> None:
    """A real fault: weights beside another model's description, so that they load and then refuse every recording."""
    model = tmp_path / "tiny.en"
    shutil.copytree(ModelStore(Settings()).folder("tiny.en"), model)
    (model / "preprocessor_config.json").write_text('{"feature_size": 128}', encoding="utf-8")  # large-v3's
    settings = {**LIMITS, "DIARIST_ASR_MODEL": str(model)}
    with serving(staged, tmp_path, python=server_python(), settings=settings) as server:
        answer = server.ask(audio_file=files.url("short.mp3"))
        assert answer.status_code == 500
        assert answer.json()["error"].endswith(answer.headers["x-request-id"])
        assert not server.ready()
        assert server.logged("the models fail even on a second of silence")


def test_a_busy_port_is_told_in_a_line(staged: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [str(part) for part in (server_python(), ROOT / "tools" / "serve_truss.py", staged, port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"port {port} cannot be had (Address already in use): choose")
    assert "Traceback" not in done.stderr


def test_a_terminated_server_ends_at_once_even_while_it_works(staged: Path, files: Files, tmp_path: Path) -> None:
    slow = {**LIMITS, "DIARIST_THREADS": "1", "DIARIST_BEAM_SIZE": "20"}  # the work would outlast any grace
    with serving(staged, tmp_path, python=server_python(), settings=slow) as server, ThreadPoolExecutor(1) as pool:
        files.served.clear()
        pool.submit(server.ask, audio_file=files.url("long.mp3"))
        assert eventually(lambda: "long.mp3" in files.served, within=120)
        server.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert server.process.wait(timeout=120) in (0, -signal.SIGTERM)
        assert time.monotonic() - started < 20  # some 5; no platform waits for less than 30
        assert "status=200" not in server.log  # it was not computed to its end
