"""A Truss server that can be made to fail: it speaks `POST /v1/models/model:predict` as `docs/http.md` describes it.

Each recording first meets the faults that are set for it, a request each, and then gets its transcript: progress as it
goes on, and `done`. Requests are counted by recording, so a test sees what was paid twice. The proxy's half second
of silence, which asks for the version, always succeeds and is not counted.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from fake_model import Answer, says, streams
from ports import free_port

PREDICT = "/v1/models/model:predict"
VERSION = "fake-truss-1"
TEXTS = ("How are you?", "Fine, thank you.")

# What goes wrong, as the page's section "Errors" lists it, and what a gateway or another server would say.
BROKEN = says(500, json.dumps({"error": "the service failed on this request; its log has the cause under r1"}))
RETRY_AFTER_SECONDS = 6
TOO_MANY = says(429, json.dumps({"error": "8 requests wait already"}), Retry_After=str(RETRY_AFTER_SECONDS))
DRAINING = says(503, "upstream is draining", Retry_After="1")
GARBAGE = says(200, "<html>It works!</html>", Content_Type="text/html")
CUT_OFF = streams(
    {"type": "progress", "stage": "transcribe", "completed": 0, "total": 1}, '{"type": "done", "model_out'
)
ERROR_IN_STREAM = streams({"type": "error", "status": 500, "error": "CUDA out of memory"})


def silent(seconds: float) -> Answer:
    """Nothing for so long, and then nothing."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        cast("_Server", handler.server).ended.wait(seconds)

    return answer


@dataclass
class FakeTruss:
    """Where it listens, what it does to each recording, and what it was asked."""

    port: int
    seconds: float = 0.2  # of work for a recording; less may be said while it is worked on
    faults: dict[str, list[Answer]] = field(default_factory=dict)  # by recording, see `faulty`
    asked: dict[str, list[float]] = field(default_factory=dict)  # when each recording was sent, on the monotonic clock
    hung_up: int = 0  # callers that left before their answer
    lock: threading.Lock = field(default_factory=threading.Lock)
    server: _Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def faulty(self, path: Path, *faults: Answer) -> None:
        """What a recording meets before its transcript."""
        self.faults[digest(path.read_bytes())] = list(faults)

    def requests(self, path: Path) -> int:
        """How often a recording was sent."""
        return len(self.times(path))

    def times(self, path: Path) -> list[float]:
        """When a recording was sent, in seconds."""
        return self.asked.get(digest(path.read_bytes()), [])

    def start(self) -> None:
        """Listen, for the first time or again."""
        self.server = _Server(("127.0.0.1", self.port), _Handler)
        self.server.truss = self
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and break off the answers that are under way."""
        if self.server is not None:
            self.server.ended.set()
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def transcript(self, recording: bytes) -> dict[str, Any]:
        """Two people, one after the other, for the whole recording."""
        with wave.open(io.BytesIO(recording)) as sound:
            duration = sound.getnframes() / sound.getframerate()
        half = round(duration / 2, 3)
        spans: Sequence[tuple[float, float]] = ((0.0, half), (half, round(duration, 3)))
        segments = [
            {"start": start, "end": end, "text": text, "speaker": f"SPEAKER_{number:02}", "words": []}
            for number, ((start, end), text) in enumerate(zip(spans, TEXTS, strict=True))
        ]
        speakers = [str(segment["speaker"]) for segment in segments]
        said = {"model_output": segments, "language": "en", "duration": duration, "speakers": speakers}
        return {**said, "turns": [], "model_version": VERSION}


def _is_silence(recording: bytes) -> bool:
    return not any(recording[44:])  # behind the header of a WAV file


def digest(recording: bytes) -> str:
    return hashlib.sha256(recording).hexdigest()


@contextmanager
def serving() -> Iterator[FakeTruss]:
    """Serve until the end of the block."""
    truss = FakeTruss(free_port())
    truss.start()
    try:
        yield truss
    finally:
        truss.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.truss: FakeTruss
        self.ended = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == PREDICT
        recording = base64.b64decode(body["audio_b64"])
        try:
            (self._next_fault(recording) or self._transcribe(recording))(self)
        except OSError:
            cast("_Server", self.server).truss.hung_up += 1

    def _next_fault(self, recording: bytes) -> Answer | None:
        truss, name = cast("_Server", self.server).truss, digest(recording)
        if _is_silence(recording):
            return None
        with truss.lock:
            truss.asked.setdefault(name, []).append(time.monotonic())
            faults = truss.faults.get(name)
            return faults.pop(0) if faults else None

    def _transcribe(self, recording: bytes) -> Answer:
        def answer(_: BaseHTTPRequestHandler) -> None:
            server = cast("_Server", self.server)
            begun, silence = time.monotonic(), _is_silence(recording)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.end_headers()
            while not silence and (spent := time.monotonic() - begun) < (seconds := server.truss.seconds):
                self._event(type="progress", stage="transcribe", completed=spent, total=seconds)
                if server.ended.wait(min(seconds - spent, 0.2)):
                    return
            self._event(type="done", **server.truss.transcript(recording))

        return answer

    def _event(self, **event: object) -> None:
        self.wfile.write(json.dumps(event).encode() + b"\n")
        self.wfile.flush()

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""
