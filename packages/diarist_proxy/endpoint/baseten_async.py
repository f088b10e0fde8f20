"""Asynchronous predictions on Baseten: queued, awaited, and remembered by the job. Pages cited are docs.baseten.co's.

The answer is looked for in the inbox that the webhook fills and in the object store, where the model puts it itself.
The status (inference-api/status-endpoints) only tells when to stop looking.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from baseten.client.inferenceapi import AsyncPredictRequest, AsyncRequestStatusResponse, InferenceRetryConfig

from diarist.errors import BadRequest, Cancelled, DiaristError, EndpointError, EndpointUnavailable
from diarist_proxy.endpoint import Call, Recording, Results
from diarist_proxy.endpoint.answer import body_of, error_of, failed, fit_words
from diarist_proxy.endpoint.baseten_platform import Platform
from diarist_proxy.endpoint.carrying import Route
from diarist_proxy.endpoint.object_store import ObjectStore
from diarist_proxy.settings import ProxySettings

MOST_BYTES = 262_144  # of a request: inference/errors, "413: payload too large"; Baseten may raise it, and does not say
ENVELOPE_BYTES = 2_000  # of them for what stands around the model's input
QUEUE_SECONDS = (10, 259_200)  # shortest and longest time in the queue: inference/async
RUN_SECONDS = 3600.0  # longest run: the same page
ARRIVAL_SECONDS = 60.0  # for an answer after the status says it was sent; two tries of 10 s are made
AWAY_SECONDS = 30.0  # of a platform that says no status, before the job is left for a later try
POLL_SECONDS = 2.0  # between two looks into inbox and object store
STATUS_SECONDS = 5.0  # and between two questions for the status, of which the platform answers 100 a second
ATTEMPTS = 2  # by the platform itself; beyond them the job tries again

_KEY = "baseten.request"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request that waits or runs on Baseten, as a job remembers it."""

    request_id: str
    at: float  # seconds of the epoch
    result: str | None  # name of the object that the answer becomes
    recording: str | None  # name of the object that was made for the recording


@dataclass(frozen=True, slots=True)
class _Ways:
    """How requests go and answers come back."""

    platform: Platform
    objects: ObjectStore | None
    results: Results | None
    route: Route
    queue_seconds: int
    longest: float  # seconds from the submission to the last moment at which an answer may come


class Queue:
    """Submits requests and waits for their answers. Safe to call from many threads."""

    def __init__(
        self,
        settings: ProxySettings,
        platform: Platform,
        objects: ObjectStore | None,
        results: Results | None,
    ) -> None:
        self._webhook = _webhook(settings) if results is not None else None
        if self._webhook is None and objects is None:
            raise BadRequest(
                "asynchronous predictions need a way back: set DIARIST_PUBLIC_URL and DIARIST_BASETEN_WEBHOOK_SECRET, "
                "or DIARIST_OBJECT_STORE, or DIARIST_BASETEN_MODE=sync"
            )
        queue_seconds = min(max(int(settings.endpoint_timeout_seconds), QUEUE_SECONDS[0]), QUEUE_SECONDS[1])
        longest = queue_seconds + RUN_SECONDS + ARRIVAL_SECONDS
        route = Route(platform.where, MOST_BYTES - ENVELOPE_BYTES, objects, url_seconds=longest)
        inbox = results if self._webhook else None
        self._ways = _Ways(platform, objects, inbox, route, queue_seconds, longest)

    def transcribe(self, recording: Recording, options: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
        """See `Endpoint.transcribe`."""
        remembered = call.recall(_KEY)
        submitted = Submitted(**json.loads(remembered)) if remembered else self._submit(recording, options, call)
        return _Wait(self._ways, submitted, call).answer()

    def _submit(self, recording: Recording, options: Mapping[str, Any], call: Call) -> Submitted:
        ways, asked, result = self._ways, dict(options), None
        if ways.objects is not None:
            result = ways.objects.new_result()
            asked["result_url"] = ways.objects.put_url(result, seconds=ways.longest)
        with TemporaryDirectory(prefix="diarist-") as folder:
            sent, uploaded = ways.route.fitted(recording, asked, Path(folder), call)
            if sent.path is None:
                asked["audio_file"] = sent.url
            else:
                asked["audio_b64"] = base64.b64encode(sent.path.read_bytes()).decode()
        request = AsyncPredictRequest(
            model_input=asked,
            max_time_in_queue_seconds=ways.queue_seconds,
            inference_retry_config=InferenceRetryConfig(max_attempts=ATTEMPTS),
            **({"webhook_endpoint": self._webhook} if self._webhook else {}),
        )
        try:
            name = ways.platform.submit(request, call)
        except DiaristError:
            if uploaded is not None:
                ways.route.removed(uploaded)
            raise
        submitted = Submitted(name, time.time(), result, uploaded)
        call.remember(_KEY, json.dumps(asdict(submitted)))
        return submitted


class _Wait:
    """The wait for one answer."""

    def __init__(self, ways: _Ways, submitted: Submitted, call: Call) -> None:
        self._ways = ways
        self._submitted = submitted
        self._call = call
        self._away_since: float | None = None  # when the platform stopped answering
        self._sent_at: float | None = None  # when the platform first said that the answer was sent

    def answer(self) -> Mapping[str, Any]:
        """Wait until the answer is there, or cannot come any more."""
        next_status = 0.0
        while True:
            if (answer := self._arrived()) is not None:
                self._settle()
                return answer
            if self._call.cancelled():
                self._withdraw()
                raise Cancelled("the caller has gone")
            if time.monotonic() >= next_status:
                self._look()
                next_status = time.monotonic() + STATUS_SECONDS
            if time.time() - self._submitted.at > self._ways.longest:
                self._lost("did not end in the longest time that the platform gives a request")
            time.sleep(POLL_SECONDS)

    def _look(self) -> None:
        """Ask for the status; a platform that is away for a moment is no reason to stop waiting."""
        try:
            status = self._ways.platform.status(self._submitted.request_id, self._call)
        except EndpointUnavailable:
            self._away_since = self._away_since or time.monotonic()
            if time.monotonic() - self._away_since > AWAY_SECONDS:
                raise
            return
        self._away_since = None
        self._judge(status)

    def _withdraw(self) -> None:
        """Take the request back where the job was cancelled; where its process stops, another attempt waits on."""
        if getattr(self._call, "withdrawn", True):  # a job's call has it; whoever else calls comes once
            self._ways.platform.cancel(self._submitted.request_id)
            self._settle()

    def _arrived(self) -> Mapping[str, Any] | None:
        """The answer, if it has come; an error that came is raised."""
        said = self._ways.results.take_result(self._submitted.request_id) if self._ways.results is not None else None
        if said is not None:
            data = said.get("data")
            if isinstance(data, dict) and not data.get("result_delivered"):
                return self._checked(data)
            if not isinstance(data, dict):
                self._fail(said.get("errors"))
        content = (
            self._ways.objects.read(self._submitted.result) if self._ways.objects and self._submitted.result else None
        )
        if content is None:
            return None
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        return self._checked(found if isinstance(found, dict) else {})

    def _checked(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the model sent, unless it is an error: that stands beside its status."""
        where = self._ways.platform.where
        try:
            if isinstance(said.get("error"), str):
                status = said.get("status")
                raise error_of(status if isinstance(status, int) else 500, said, where=where, call=self._call)
            return body_of(said, where=where, call=self._call)
        except DiaristError:
            self._settle()
            raise

    def _judge(self, status: AsyncRequestStatusResponse | None) -> None:
        """Go on waiting, or raise why there is nothing to wait for."""
        if status is None:
            self._lost("is not known to the platform any more")
        elif status.status in {"QUEUED", "IN_PROGRESS"}:
            self._call.report("queue" if status.status == "QUEUED" else "transcribe", 0, 1)
        elif status.status == "EXPIRED":
            self._settle()
            seconds = self._ways.queue_seconds
            raise EndpointUnavailable(
                f"{self._ways.platform.where} did not get to the request within {seconds} s "
                "(DIARIST_ENDPOINT_TIMEOUT_SECONDS): more replicas, or a longer time, would help"
            )
        elif status.status == "CANCELED":
            self._settle()
            raise EndpointUnavailable(f"{self._ways.platform.where}: the request was cancelled there")
        elif self._sent_at is None:
            self._sent_at = time.monotonic()  # the answer may be on its way; a failed one, in the object store
        elif time.monotonic() - self._sent_at > (0 if status.status == "FAILED" else ARRIVAL_SECONDS):
            if status.status == "FAILED":
                self._fail([{"code": error.code, "message": error.message} for error in status.errors])
            ways = "the webhook at DIARIST_PUBLIC_URL" if self._ways.results else "DIARIST_OBJECT_STORE"
            self._lost(f"ended ({status.status}), and its answer did not come by {ways}")

    def _fail(self, errors: object) -> NoReturn:
        """Raise for the errors that the platform names (inference/async, "Error codes")."""
        self._settle()
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        code, words = str(first.get("code")), fit_words(first.get("message"))
        message = f"{self._ways.platform.where} failed with {code}" + (f": {words}" if words else "")
        if code == "MODEL_INVALID_INPUT":
            raise BadRequest(message)
        if code in {"MODEL_DOES_NOT_EXIST", "ASYNC_REQUEST_NOT_SUPPORTED"}:
            raise EndpointError(f"{message}: check DIARIST_ENDPOINT and DIARIST_BASETEN_ENVIRONMENT")
        if code in {"MODEL_NOT_READY", "MODEL_UNAVAILABLE"}:
            raise EndpointUnavailable(message)
        raise failed(self._call, message)

    def _lost(self, why: str) -> NoReturn:
        self._settle()
        raise failed(self._call, f"{self._ways.platform.where}: request {self._submitted.request_id} {why}")

    def _settle(self) -> None:
        """Nothing is waited for any more: another try would be a new request."""
        self._call.remember(_KEY, "")
        for name in (self._submitted.recording, self._submitted.result):
            if name is not None:
                self._ways.route.removed(name)


def _webhook(settings: ProxySettings) -> str | None:
    """Where Baseten sends answers to, if the settings have one."""
    if settings.public_url is None or settings.baseten_webhook_secret is None:
        return None
    base = settings.public_url.rstrip("/")
    if not base.startswith(("https://", "http://localhost")):  # inference/async, "Request format"
        raise BadRequest("DIARIST_PUBLIC_URL must start with https://, since Baseten sends answers to no other")
    return f"{base}/baseten/webhook"
