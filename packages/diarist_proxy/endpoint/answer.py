"""What an endpoint said -> an answer, or the error that tells who must act: the same for every home of the model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from diarist.errors import (
    AudioTooLarge,
    AudioUndecodable,
    AudioUnreachable,
    BadRequest,
    DiaristError,
    EndpointError,
    EndpointUnavailable,
)
from diarist.text import one_line
from diarist_proxy.endpoint import Call

FAILURES = 3  # a recording on which the endpoint itself fails is tried so often …
FAILING_SECONDS = 120.0  # … and for so long, before it is taken for the recording's fault

LONGEST_MESSAGE = 500  # characters of an endpoint's own words that are passed on

_KEY = "endpoint.failures"
_BAD = 400
_TOO_LARGE = 413
_UNPROCESSABLE = 422
_TOO_MANY = 429
_ADVICE = {
    401: "the key is not accepted: check BASETEN_API_KEY",
    402: "the account has a payment to settle",
    403: "the key may not call this model: check BASETEN_API_KEY",
    404: "there is no such model, environment or path: check DIARIST_ENDPOINT and DIARIST_BASETEN_ENVIRONMENT",
    405: "this is no model's address: check DIARIST_ENDPOINT",
}
_AWAY = {
    _TOO_MANY: "has too many requests already",
    499: "took us for gone",
    502: "did not reach its model",
    503: "is starting, draining or away",
}


def body_of(said: Mapping[str, Any], *, where: str, call: Call) -> Mapping[str, Any]:
    """The answer in a last event, or in a plain reply.

    Raises:
        EndpointError: it is not what the model answers.
    """
    body = {key: value for key, value in said.items() if key not in {"type", "id"}}
    segments = body.get("model_output")
    if "output" not in body and not (isinstance(segments, list) and all(isinstance(item, dict) for item in segments)):
        raise failed(call, f"{where} answered with something that is no transcript: is it a diarist model?")
    return body


def error_of(
    status: int, said: Mapping[str, Any], *, where: str, call: Call, retry_after: float | None = None
) -> DiaristError:
    """The error for a status; `said` is the JSON beside it, of which only the member "error" is ever shown."""
    words = fit_words(said.get("error"))
    if status in {_BAD, _TOO_LARGE, _UNPROCESSABLE}:
        return _refusal(status, words or f"{where} refused the request with status {status}", said)
    told = f"{where} answered {status}" + (f" ({words})" if words else "")
    if status in _AWAY:
        return EndpointUnavailable(f"{where} {_AWAY[status]}: {told}", retry_after_seconds=retry_after)
    if status >= 500:  # noqa: PLR2004 - HTTP's server errors: this time, or always with this recording
        return failed(call, told)
    return EndpointError(f"{told}: {_ADVICE.get(status, 'check DIARIST_ENDPOINT')}")


def failed(call: Call, message: str) -> EndpointError:
    """The error for a failure that a later try may mend, or that this recording causes each time.

    The job remembers how often, since each try costs the whole work: after `FAILURES` of them in at least
    `FAILING_SECONDS` the error is no longer transient.
    """
    count, first = _counted(call.recall(_KEY))
    call.remember(_KEY, f"{count} {first!r}")
    if count >= FAILURES and time.time() - first >= FAILING_SECONDS:
        return EndpointError(f"{message}; so it did {count} times, so it may be this recording")
    return EndpointUnavailable(message)


class Nobody:
    """A `Call` that nobody waits for."""

    def report(self, stage: str, completed: float, total: float) -> None:
        """Nobody hears it."""

    def cancelled(self) -> bool:
        """Nobody can go away."""
        return False

    def recall(self, key: str) -> str | None:  # noqa: ARG002 - the protocol's
        """Nothing."""
        return None

    def remember(self, key: str, value: str) -> None:
        """Nothing is kept."""


def _counted(remembered: str | None) -> tuple[int, float]:
    """How many failures there are with this one, and the time of the first, in seconds of the epoch."""
    count, _, first = (remembered or "").partition(" ")
    return (int(count) + 1, float(first)) if count else (1, time.time())


def fit_words(words: object) -> str:
    """What an endpoint says in its own words, fit for a line of a log; nothing where it is no text."""
    return one_line(words, LONGEST_MESSAGE) if isinstance(words, str) else ""


def _refusal(status: int, message: str, said: Mapping[str, Any]) -> BadRequest:
    if status == _TOO_LARGE:
        return AudioTooLarge(message)
    if status == _UNPROCESSABLE:
        return AudioUnreachable(message, transient=True) if said.get("transient") else AudioUndecodable(message)
    return BadRequest(message)
