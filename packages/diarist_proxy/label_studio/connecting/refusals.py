"""Why Label Studio would not connect a project to the proxy, and what to do; its own words rarely say it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx

from diarist.errors import BadRequest, LabelStudioError, LabelStudioUnavailable

PRIVATE_ADDRESSES = (
    "Label Studio refuses to call {url}: it is at a private address. Start Label Studio with "
    "USE_DEFAULT_BANNED_SUBNETS=false USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16, which opens private addresses to "
    "backends and webhooks alike and keeps clouds' metadata services closed; ML_BLOCK_LOCAL_IP=false alone does not do"
)

WRONG_USER = (
    "the proxy at {url} refuses Label Studio (401): set BASIC_AUTH_USER and BASIC_AUTH_PASS here as the proxy has them"
)
WRONG_PATH = (
    "what answers at {url} knows no such path (404): set DIARIST_PATH_SECRET here as the proxy has it, and let "
    "--backend-url be the proxy's own address"
)
CUT = 300  # characters of Label Studio's words, which the client cuts


class ProxyUnreachable(LabelStudioError):
    """Label Studio cannot reach the proxy; where it is only just starting, later it may."""


def explanation(detail: str, shown: str) -> LabelStudioError | BadRequest:
    """What to do about a refusal of a backend or a webhook, by Label Studio's words."""
    if "reserved network address" in detail:
        return LabelStudioError(PRIVATE_ADDRESSES.format(url=shown))
    if "Enter a valid URL" in detail:
        return BadRequest(
            f"Label Studio takes no webhook to {shown}: it wants an address, localhost, or a host with a dot in its "
            "name; in Docker give the proxy a network alias such as diarist.internal"
        )
    if "authentication parameters" in detail or "401 Client Error" in detail:
        return LabelStudioError(WRONG_USER.format(url=shown))
    if "404 Client Error" in detail:
        return LabelStudioError(WRONG_PATH.format(url=shown))
    if "health check failed" in detail:
        return ProxyUnreachable(
            f"Label Studio cannot reach the proxy at {shown}: it has to run, and --backend-url is its address as Label "
            "Studio sees it, which between containers is not localhost; with DIARIST_PATH_SECRET set here as it has it"
        )
    return LabelStudioError(f"Label Studio could not connect {shown}: {_readable(detail, shown)}")


def _readable(detail: str, shown: str) -> str:
    """Label Studio's words without URLs, which may have the secret of the path, and without half a word at the end.

    A config that cannot work is refused with the reason in the URL, see `routes`; the reason is kept.

    >>> _readable("400 Client Error: Bad Request for url: http://a.b/s3cret/setup/no_Labels", "http://a.b/…")
    'no Labels'
    >>> _readable("http://a.b/s3cret is <b>odd</b>", "http://a.b/…")
    'http://a.b/… is odd'
    """
    text = f"{detail.rpartition(' ')[0]} …" if len(detail) >= CUT else detail
    reason = re.search(r"https?://\S+/setup/([^\s/?]+)", detail)
    if reason is not None:
        return reason[1].replace("_", " ")
    return re.sub(r"<[^>]*>", "", re.sub(r"https?://[^\s<>\"']+", shown, text))


@contextmanager
def calls(url: str) -> Iterator[None]:
    """The SDK's calls: what goes wrong on the way is one of our errors too."""
    from label_studio_sdk.core.api_error import ApiError  # noqa: PLC0415 - the SDK is imported when it is used

    try:
        yield
    except httpx.HTTPError as error:
        message = f"Label Studio at {url} cannot be reached, or took too long ({type(error).__name__})"
        raise LabelStudioUnavailable(message) from None
    except ApiError as error:
        status = error.status_code or HTTPStatus.BAD_GATEWAY
        raise LabelStudioError(f"Label Studio at {url} answered with status {int(status)}") from None
