"""One set of models, many callers: who waits, who is told to come back, what is answered, what is logged.

A host (the Truss server, a child process) hands over JSON bodies and sends out what comes back. There are two
lines. At most `max_waiting` requests stand in the first, in the order in which they came, and its first
`PREPARED` are fetched and decoded; so no more than that many recordings lie in memory, while the network and the
models work at the same time. Whoever is decoded stands in the second, whose first uses the models alone.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from diarist import audio, fetch, memory, pipeline
from diarist.errors import AudioTooLarge, AudioUnreachable, BadRequest, Busy, Cancelled, DiaristError
from diarist.formats import FORMATS, Context, render, seed
from diarist.pipeline import Observer, Stages, nobody
from diarist.request import KnownSpeaker, LabelStudioTarget, Options, TranscriptionRequest, parse_request
from diarist.settings import Settings
from diarist.types import SAMPLE_RATE, Span, Transcript, Waveform, unobserved
from diarist.voices import KnownVoice

PREPARED = 3  # recordings in memory at once: one in the models, two fetched or under way
POLL_SECONDS = 0.25  # how often somebody who waits looks whether the caller is still there
HEARTBEAT_SECONDS = 10.0  # longest silence of a stream: hosts and proxies cut connections that say nothing
STUCK_SECONDS = 900.0  # longest time without progress before the models count as stuck

CLIP_SECONDS = 60.0  # longest clip of a known speaker

logger = logging.getLogger(__name__)

Watch = Callable[[], AbstractContextManager[threading.Event]]  # its event is set when the caller has gone
Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a host answers: a status, a JSON object, and headers."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


def reply_to(error: Exception, request_id: str) -> Reply:
    """The answer to a request that failed: the only place where errors become statuses.

    An error that diarist did not raise on purpose may hold anything, so its text stays in the log.
    """
    if isinstance(error, DiaristError):
        retry = {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, Busy) else {}
        # The status is the recording's fault in both cases; only here is known that its server may do better later.
        later = {"transient": True} if isinstance(error, AudioUnreachable) and error.transient else {}
        return Reply(error.status, {"error": str(error), **later}, retry)
    return Reply(500, {"error": f"the service failed on this request; its log has the cause under {request_id}"})


def request_id_from(header: str | None) -> str:
    """The id that the platform gave a request, where it is fit for a log line, or a new one."""
    return header if header and re.fullmatch(r"[\w.-]{1,100}", header) else uuid.uuid4().hex


class TranscriptionService:
    """Answers requests with loaded models; safe to call from many threads."""

    def __init__(self, settings: Settings, stages: Stages) -> None:
        self._settings = settings
        self._stages = stages
        self._door = Line(width=PREPARED, length=settings.max_waiting)
        self._models = Line(width=1)
        self._health = _Health()
        self._usual_seconds = 1.0  # a request's recent time with the models, smoothed

    @property
    def healthy(self) -> bool:
        """False while the models fail even on silence, or have made no progress for `STUCK_SECONDS`."""
        return self._health.good

    def handle(
        self, body: object, *, request_id: str, watch: Watch, recording: Path | None = None
    ) -> Reply | Iterator[Event]:
        """Answer one request; where it asks for a stream, with events of which the last is "done" or "error".

        A host on the same machine may hand over the recording as a file; then the body names none.
        Nothing is raised: what fails is a `Reply` with its status. A request that is wrong, or one too many,
        is answered with a `Reply` even where it asked for a stream.
        """
        entry = _Entry(request_id, recording)
        try:
            request = parse_request(body) if recording is None else _parse_beside(recording, body)
            if request.result_url is not None:
                fetch.check(request.result_url)
            place = self._join()
        except Exception as error:  # noqa: BLE001 - reported with its status, and logged
            return entry.closed(reply_to(error, request_id), error)
        if not request.stream:
            return self._answer(request, place, watch, nobody, entry)
        return self._stream(request, place, watch, entry)

    def _join(self) -> _Place:
        try:
            return self._door.join()
        except LineFull:
            seconds = math.ceil(self._usual_seconds)
            raise Busy(
                f"{self._settings.max_waiting} requests wait or run already; send this one again in {seconds} s",
                retry_after_seconds=seconds,
            ) from None

    def _stream(
        self, request: TranscriptionRequest, place: _Place, watch: Watch, entry: _Entry
    ) -> Reply | Iterator[Event]:
        events: SimpleQueue[Event] = SimpleQueue()

        def report(stage: str, completed: float, total: float) -> None:
            events.put({"type": "progress", "stage": stage, "completed": completed, "total": total})

        def work() -> None:
            reply = self._answer(request, place, watch, report, entry)
            good = reply.status < 400  # noqa: PLR2004 - HTTP's first error
            events.put({"type": "done", **reply.body} if good else _error_event(reply))

        # A thread of its own: the place in the line is given up even if nobody ever reads the events.
        try:
            threading.Thread(target=work, name=f"request-{entry.request_id}", daemon=True).start()
        except RuntimeError as error:  # the system has no thread left
            self._door.leave(place)
            return entry.closed(reply_to(error, entry.request_id), error)
        return _until_last(events)

    def _answer(
        self, request: TranscriptionRequest, place: _Place, watch: Watch, report: Observer, entry: _Entry
    ) -> Reply:
        try:
            with watch() as gone:
                with entry.timed("wait"):
                    self._door.wait(place, gone)
                sound = self._prepare(request, gone, report, entry)
                transcript = self._transcribe(request, sound, gone, report, entry)
            reply, failure = Reply(200, _body(request, transcript)), None
        except Exception as error:  # noqa: BLE001 - reported with its status, and logged
            reply, failure = reply_to(error, entry.request_id), error
        try:
            return entry.closed(self._delivered(request, reply, entry), failure)
        finally:
            memory.give_back()
            self._door.leave(place)

    def _delivered(self, request: TranscriptionRequest, reply: Reply, entry: _Entry) -> Reply:
        """Put the answer, or the error, where the request wants it; what could not be put there stays in the reply."""
        if request.result_url is None:
            return reply
        failed = reply.status >= 400  # noqa: PLR2004 - HTTP's first error
        content = {**reply.body, "status": reply.status} if failed else reply.body
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        try:
            with entry.timed("deliver"):
                fetch.deliver(request.result_url, text.encode(), self._settings)
        except Exception as error:
            expected = isinstance(error, DiaristError)
            note = f"the result was not delivered: {error if expected else 'the log of the service has the cause'}"
            logger.warning("request %s: %s", entry.request_id, note, exc_info=None if expected else error)
            kept = {**reply.body, "notes": [*reply.body.get("notes", ()), note], "result_delivered": False}
            return reply if failed else replace(reply, body=kept)
        return reply if failed else replace(reply, body={**_metadata(reply.body), "result_delivered": True})

    def _transcribe(
        self,
        request: TranscriptionRequest,
        sound: _Sound,
        gone: threading.Event,
        report: Observer,
        entry: _Entry,
    ) -> Transcript:
        place = self._models.join()
        try:
            with entry.timed("wait"):
                self._models.wait(place, gone)
            with self._watched():
                transcript = _work(request, sound, self._stages, self._observer(gone, report))
        finally:
            self._models.leave(place)
        entry.timings.update(transcript.timings)
        return replace(transcript, timings=dict(entry.timings))

    def _prepare(self, request: TranscriptionRequest, gone: threading.Event, report: Observer, entry: _Entry) -> _Sound:
        """Fetch and decode the recording, and the clips of known speakers."""
        report("fetch", 0, 1)
        limit = self._settings.max_duration_seconds
        handed = nullcontext(entry.recording) if entry.recording else self._local(request, gone, entry)
        with handed as path, entry.timed("decode"):
            self._check_size(path)
            if request.channels == "split":
                channels = audio.decode_channels(path, max_duration_seconds=limit)
            else:
                channels = (audio.decode(path, max_duration_seconds=limit),)
        known = [
            self._known_voice(number, speaker, gone, entry)
            for number, speaker in enumerate(request.known_speakers or ())
        ]
        report("fetch", 1, 1)
        entry.audio_seconds = channels[0].duration
        return _Sound(channels, tuple(known))

    def _known_voice(self, number: int, speaker: KnownSpeaker, gone: threading.Event, entry: _Entry) -> KnownVoice:
        if speaker.embedding is not None:
            return KnownVoice(speaker.name, np.array(speaker.embedding, np.float32))
        try:
            with self._local(speaker, gone, entry) as path, entry.timed("decode"):
                return KnownVoice(speaker.name, _clip(path))
        except BadRequest as error:
            raise type(error)(f"known_speakers.{number}: {error}") from None

    @contextmanager
    def _local(self, source: fetch.Source, gone: threading.Event, entry: _Entry) -> Iterator[Path]:
        with ExitStack() as stack:
            with entry.timed("fetch"):
                path = stack.enter_context(fetch.opened(source, self._settings, cancelled=gone.is_set))
            yield path

    def _check_size(self, path: Path) -> None:
        size, limit = path.stat().st_size, self._settings.max_bytes
        if size > limit:
            raise AudioTooLarge(f"the recording holds {size} bytes, the limit is {limit} (DIARIST_MAX_BYTES)")

    def _observer(self, gone: threading.Event, report: Observer) -> Observer:
        def observe(stage: str, completed: float, total: float) -> None:
            self._health.progressed()
            if gone.is_set():
                raise Cancelled("the caller has gone")
            report(stage, completed, total)

        return observe

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Keep the health up to date while the models work."""
        self._health.progressed()
        started = time.monotonic()
        try:
            yield
            self._health.proved(good=True)
            self._usual_seconds += 0.3 * (time.monotonic() - started - self._usual_seconds)
        except Exception as error:
            if getattr(error, "status", 500) >= 500:  # noqa: PLR2004 - the recording, or the models?
                self._health.proved(good=self._works_on_silence())
            raise
        finally:
            self._health.idle()

    def _works_on_silence(self) -> bool:
        silence, whole = Waveform(np.zeros(SAMPLE_RATE, np.float32)), Span(0, 1)
        try:
            activity = self._stages.segment(silence, progress=unobserved)
            self._stages.transcribe(silence, (whole,), options=Options(), progress=unobserved)
            self._stages.diarize(silence, activity, options=Options(), progress=unobserved)
        except Exception:
            logger.exception("the models fail even on a second of silence: this process needs a restart")
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Sound:
    """What a request sent, decoded: one waveform, or one a channel where they are split; and the known voices."""

    channels: tuple[Waveform, ...]
    known: tuple[KnownVoice, ...]


def _parse_beside(recording: Path, body: object) -> TranscriptionRequest:
    """Check a request whose recording lies in a file, which takes the place of `audio_b64`."""
    if not isinstance(body, Mapping):
        return parse_request(body)
    if named := [key for key in ("audio_file", "audio_b64") if body.get(key) is not None]:
        raise BadRequest(f"the recording is handed over as the file {recording.name}: leave out {named[0]}")
    return parse_request({**body, "audio_b64": ""})


def _clip(path: Path) -> Waveform:
    try:
        return audio.decode(path, max_duration_seconds=CLIP_SECONDS)
    except AudioTooLarge:
        raise AudioTooLarge(f"the clip is longer than {CLIP_SECONDS:g} s, and some seconds are enough") from None


def _work(request: TranscriptionRequest, sound: _Sound, stages: Stages, observer: Observer) -> Transcript:
    """What the models are asked to do."""
    options, waveform = request.options(), sound.channels[0]
    if request.channels == "split":
        return pipeline.transcribe_channels(sound.channels, stages, options, observer=observer)
    if request.transcript is not None:
        return pipeline.diarize_again(
            waveform, request.transcript, stages, options, known=sound.known, observer=observer
        )
    return pipeline.transcribe(waveform, stages, options, known=sound.known, observer=observer)


def _body(request: TranscriptionRequest, transcript: Transcript) -> Mapping[str, Any]:
    """The answer: the seed's object, or a format's output beside the seed's metadata."""
    if request.output == "json":
        return seed.to_dict(transcript)
    text = render(request.output, transcript, Context(label_studio=request.label_studio or LabelStudioTarget()))
    is_json = FORMATS[request.output].media_type == "application/json"
    metadata = seed.to_dict(replace(transcript, segments=(), turns=()))
    del metadata["model_output"], metadata["turns"]
    return {"output": json.loads(text) if is_json else text, "format": request.output, **metadata}


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer without what it is about."""
    return {key: value for key, value in body.items() if key not in {"model_output", "turns", "embeddings", "output"}}


def _error_event(reply: Reply) -> Event:
    return {"type": "error", "status": reply.status, **reply.body}


def _until_last(events: SimpleQueue[Event]) -> Iterator[Event]:
    """The events up to the one that is no progress; while none comes, the latest is said again."""
    latest: Event = {"type": "progress", "stage": "wait", "completed": 0, "total": 1}
    yield latest
    while latest["type"] == "progress":
        with suppress(Empty):
            latest = events.get(timeout=HEARTBEAT_SECONDS)
        yield latest


class _Place:
    """Somebody's place in a line, known by its identity."""


class LineFull(Exception):
    """A line has no place left."""


class Line:
    """A line in order of arrival: at most `length` stand in it, and the first `width` of them have their turn."""

    def __init__(self, *, width: int, length: float = math.inf) -> None:
        self._width = width
        self._length = length
        self._places: list[_Place] = []
        self._moved = threading.Condition()

    def join(self) -> _Place:
        """Take the last place.

        Raises:
            LineFull: none is left.
        """
        with self._moved:
            if len(self._places) >= self._length:
                raise LineFull
            self._places.append(_Place())
            return self._places[-1]

    def wait(self, place: _Place, gone: threading.Event) -> None:
        """Wait until a place has its turn, which lasts until it is left.

        Raises:
            Cancelled: the caller went away before.
        """
        with self._moved:
            while self._places.index(place) >= self._width:
                if gone.is_set():
                    raise Cancelled("the caller has gone")
                self._moved.wait(POLL_SECONDS)

    def leave(self, place: _Place) -> None:
        """Give a place up, whether or not it had its turn."""
        with self._moved:
            self._places.remove(place)
            self._moved.notify_all()


@dataclass(slots=True)
class _Health:
    """What is known about the models. Each field is set as a whole, so no lock is needed."""

    works: bool = True
    latest_progress: float | None = None  # of the monotonic clock; None while the models are idle

    @property
    def good(self) -> bool:
        latest = self.latest_progress
        return self.works and (latest is None or time.monotonic() - latest < STUCK_SECONDS)

    def progressed(self) -> None:
        self.latest_progress = time.monotonic()

    def idle(self) -> None:
        self.latest_progress = None

    def proved(self, *, good: bool) -> None:
        self.works = good


@dataclass(slots=True)
class _Entry:
    """A request's line in the log: its id, status, length and times, never its body or URL."""

    request_id: str
    recording: Path | None = None  # where the host handed one over
    started: float = field(default_factory=time.monotonic)
    audio_seconds: float | None = None
    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds spent inside to those of a name."""
        started = time.monotonic()
        try:
            yield
        finally:
            spent = self.timings.get(name, 0.0) + time.monotonic() - started
            self.timings[name] = round(spent, 3)

    def closed(self, reply: Reply, error: Exception | None = None) -> Reply:
        """Write the line and pass the answer on, the request's id in its headers."""
        fields = {"status": reply.status, "seconds": round(time.monotonic() - self.started, 3)}
        audio_seconds = {} if self.audio_seconds is None else {"audio_seconds": round(self.audio_seconds, 3)}
        line = " ".join(f"{name}={value}" for name, value in {**fields, **audio_seconds, **self.timings}.items())
        if error is None:
            logger.info("request %s: %s", self.request_id, line)
        elif reply.status < 500:  # noqa: PLR2004 - the caller's to mend
            logger.info("request %s: %s error=%s %r", self.request_id, line, type(error).__name__, str(error))
        else:
            logger.error("request %s: %s error=%s", self.request_id, line, type(error).__name__, exc_info=error)
        return replace(reply, headers={**reply.headers, "X-Request-Id": self.request_id})
