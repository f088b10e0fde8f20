"""The model on Baseten: `DIARIST_ENDPOINT=baseten:<model id>`. Pages cited are those of docs.baseten.co.

* Synchronous (`DIARIST_BASETEN_MODE=sync`): predict, whose answer is streamed; see `http_call`.
* Asynchronous: async_predict queues the request for as long as it takes. The platform keeps no answer, and a status
  never carries one (inference/async): it comes by the webhook, or the model puts it into the object store, or both.
  The job remembers the request's id, so that after a restart it goes on waiting instead of paying twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx

from diarist import __version__
from diarist.errors import BadRequest, DiaristError
from diarist_proxy.endpoint import Call, Recording, Results
from diarist_proxy.endpoint.baseten_async import Queue
from diarist_proxy.endpoint.baseten_platform import Address, Platform
from diarist_proxy.endpoint.carrying import Route
from diarist_proxy.endpoint.object_store import ObjectStore
from diarist_proxy.endpoint.truss import Asking
from diarist_proxy.settings import ProxySettings

MOST_BYTES = 100_000_000  # of any request: inference/errors, "413: payload too large"
WAKE_EVERY_SECONDS = 30.0
_REQUEST_TIMEOUT = httpx.Timeout(60.0, connect=15.0)

logger = logging.getLogger(__name__)


def verify_signature(body: bytes, header: str, secret: str) -> bool:
    """Whether a webhook's body was signed with a secret (inference/async, "Secure webhooks").

    While a secret is being replaced, the header holds a signature by each: every one is looked at, and in a time
    that tells nothing. That an old message comes again is no harm: it can only bring the same answer.
    """
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
    matches = [
        hmac.compare_digest(expected, part.strip().removeprefix("v1=").encode())
        for part in header.split(",")
        if part.strip().startswith("v1=")
    ]
    return any(matches)


def read_webhook(body: bytes) -> tuple[str, Mapping[str, Any]]:
    """The id of the request that a webhook's body answers, and the body, which goes into the inbox as it is.

    Raises:
        BadRequest: it is not what Baseten sends.
    """
    try:
        said = json.loads(body)
        name = said["request_id"]
    except (ValueError, TypeError, KeyError):
        name = said = None
    if not isinstance(name, str) or not isinstance(said, dict):
        raise BadRequest("a JSON object with request_id is expected here, as Baseten sends it")
    return name, said


class BasetenEndpoint:
    """A model in a Baseten workspace. Safe to call from many threads."""

    fetches_urls = True

    def __init__(self, settings: ProxySettings, results: Results | None = None) -> None:
        if settings.baseten_api_key is None:
            raise BadRequest("DIARIST_ENDPOINT is on Baseten, and there is no key: set BASETEN_API_KEY")
        address = Address.of(settings)
        where = f"the model {address.model} on Baseten"
        headers = {
            "Authorization": f"Api-Key {settings.baseten_api_key.get_secret_value().strip()}",
            "User-Agent": f"diarist/{__version__}",
        }
        objects = ObjectStore(settings.object_store) if settings.object_store else None
        self._asking = Asking(
            f"{address.base}{address.prefix}/predict", where, headers, settings.endpoint_timeout_seconds,
            Route(where, MOST_BYTES, objects),
        )  # fmt: skip
        # The SDK's own client would give up after 5 s. No connection is kept: one that the platform has just closed
        # would fail a request of which nobody knows whether it arrived.
        self._http = httpx.Client(
            base_url=address.base,
            headers=headers,
            timeout=_REQUEST_TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._platform = Platform(address, self._http, where)
        self._queue = Queue(settings, self._platform, objects, results) if settings.baseten_mode == "async" else None
        self._woken = -WAKE_EVERY_SECONDS

    def transcribe(self, recording: Recording, options: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
        """See `Endpoint.transcribe`."""
        if self._queue is None:
            return self._asking.transcribe(recording, options, call)
        answer = self._queue.transcribe(recording, options, call)
        self._asking.heard(answer)
        return answer

    def wake(self) -> None:
        """Start a replica where there is none (inference-api/wake); learn the model's version where it is not known."""
        now = time.monotonic()
        if now - self._woken >= WAKE_EVERY_SECONDS:
            self._woken = now
            threading.Thread(target=self._wake, name="baseten-wake", daemon=True).start()

    def _wake(self) -> None:
        try:
            self._platform.wake()
        except DiaristError as error:
            logger.warning("%s was not woken: %s", self._platform.where, error)
        self._asking.probe()

    def model_version(self) -> str | None:
        """See `Endpoint.model_version`."""
        return self._asking.model_version

    def close(self) -> None:
        """Close the connections that are kept."""
        self._http.close()
