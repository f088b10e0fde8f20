"""Every error a user can meet, named by who must act, with the HTTP status it becomes.

* DiaristError
  + BadRequest               the caller must change the request                         400
    - AudioRefused           the URL points where this service does not go              400
    - LanguageUnsupported    the loaded model cannot do this language                   400
    - AudioTooLarge          over the byte or duration limit                            413
    - AudioUnreachable       the URL did not answer, or answered with an error          422
    - AudioUndecodable       the bytes are not audio, or are broken                     422
  + Busy                     the caller must come back later                            429
  + Cancelled                the caller has gone; nobody reads the answer               499
  + ModelMissing             the operator must fetch or mount weights, or fix a token   500
  + ModelFailed              the operator must look at the log: the engine broke        500
  + EndpointError            the operator must look at the deployed model               502
    - EndpointUnavailable    the deployed model does not answer now; later it may       503
  + LabelStudioError         the operator must look at Label Studio, or at its token    502
    - LabelStudioUnavailable Label Studio does not answer now; later it may             503

Messages say what was given, what is allowed and what to do. They never hold a secret, a signed query or a
body: a URL is shown through `fetch.redacted`.
"""

from __future__ import annotations

from typing import ClassVar


class DiaristError(Exception):
    """Root of all errors that diarist raises on purpose."""

    status: ClassVar[int] = 500
    transient: bool = False  # the same again, some time later, may succeed


class BadRequest(DiaristError):
    """The request itself is wrong; sending it again unchanged cannot help."""

    status = 400


class AudioRefused(BadRequest):
    """The URL has a scheme, a host or an address that this service does not connect to."""


class LanguageUnsupported(BadRequest):
    """The loaded speech model cannot transcribe, or translate from, the language asked for."""


class AudioTooLarge(BadRequest):
    """The recording is over the limit on bytes or on duration."""

    status = 413


class AudioUnreachable(BadRequest):
    """The URL did not answer in time, or answered with an error status."""

    status = 422

    def __init__(self, message: str, *, transient: bool = False) -> None:
        """Keep whether the server may do better some time later: it was away, or answered 429 or 5xx."""
        super().__init__(message)
        self.transient = transient


class AudioUndecodable(BadRequest):
    """The file is empty, truncated, has no audio track, or is not audio at all."""

    status = 422


class Busy(DiaristError):
    """Too many requests wait already."""

    status = 429
    transient = True

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        """Keep how long the caller should wait, for the `Retry-After` header."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Cancelled(DiaristError):
    """The caller went away while the work was under way."""

    status = 499


class ModelMissing(DiaristError):
    """Weights are absent, altered, or behind a licence that was not accepted."""


class ModelFailed(DiaristError):
    """The engine itself failed on this recording; the log has the cause."""


class EndpointError(DiaristError):
    """The deployed model answered in a way that no later try can mend: a wrong key, path or answer."""

    status = 502


class EndpointUnavailable(EndpointError):
    """The deployed model is down, starting, draining or overloaded, or took too long."""

    status = 503
    transient = True

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        """Keep how long the endpoint asked to wait, where it did."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class LabelStudioError(DiaristError):
    """Label Studio refused: the URL, the token or its rights are wrong, or what was asked for is not there."""

    status = 502


class LabelStudioUnavailable(LabelStudioError):
    """Label Studio does not answer, or answers that it cannot now."""

    status = 503
    transient = True
