"""The model as a Truss server with a URL: `DIARIST_ENDPOINT=http://127.0.0.1:8080`."""

from __future__ import annotations

import io
import logging
import threading
import wave
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diarist.errors import DiaristError
from diarist.fetch import redacted
from diarist.types import SAMPLE_RATE
from diarist_proxy.endpoint import Call, Recording
from diarist_proxy.endpoint.answer import Nobody
from diarist_proxy.endpoint.carrying import Body, Route
from diarist_proxy.endpoint.http_call import Request, ask, tls
from diarist_proxy.endpoint.object_store import ObjectStore
from diarist_proxy.settings import ProxySettings

MOST_BYTES = 100_000_000  # of a request: the platform's own limit, which other gateways are not above
_PROBE_SECONDS = 0.5  # of silence

logger = logging.getLogger(__name__)


class TrussEndpoint:
    """A server that answers `POST /v1/models/model:predict`. Safe to call from many threads."""

    fetches_urls = True

    def __init__(self, settings: ProxySettings) -> None:
        url = settings.endpoint.strip().rstrip("/")
        where = f"the model at {redacted(url)}"
        objects = ObjectStore(settings.object_store) if settings.object_store else None
        self._asking = Asking(
            f"{url}/v1/models/model:predict", where, {}, settings.endpoint_timeout_seconds,
            Route(where, MOST_BYTES, objects),
        )  # fmt: skip

    def transcribe(self, recording: Recording, options: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
        """See `Endpoint.transcribe`."""
        return self._asking.transcribe(recording, options, call)

    def wake(self) -> None:
        """A Truss server never sleeps; only its version is asked for, where nobody has heard it."""
        self._asking.probe()

    def model_version(self) -> str | None:
        """See `Endpoint.model_version`."""
        return self._asking.model_version

    def close(self) -> None:
        """Nothing is kept open between requests."""


class Asking:
    """Synchronous requests to one address: what a Truss server and Baseten's predict have in common."""

    def __init__(self, url: str, where: str, headers: Mapping[str, str], timeout_seconds: float, route: Route) -> None:
        self.model_version: str | None = None
        self._url = url
        self._where = where
        self._headers = headers
        self._timeout_seconds = timeout_seconds
        self._route = route
        self._context = tls()
        self._probing = threading.Lock()

    def transcribe(self, recording: Recording, options: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
        """Send a recording, and wait for its answer."""
        asked = {**options, "stream": True}
        with TemporaryDirectory(prefix="diarist-") as folder:
            sent, uploaded = self._route.fitted(recording, asked, Path(folder), call)
            try:
                answer = ask(
                    Request(
                        self._url, self._where, Body.of(sent, asked), self._timeout_seconds,
                        "DIARIST_ENDPOINT_TIMEOUT_SECONDS", self._headers,
                    ),
                    call,
                    context=self._context,
                )  # fmt: skip
            finally:
                if uploaded is not None:
                    self._route.removed(uploaded)
        self.heard(answer)
        return answer

    def heard(self, answer: Mapping[str, Any]) -> None:
        """Keep the version that an answer names."""
        version = answer.get("model_version")
        if isinstance(version, str) and version:
            self.model_version = version

    def probe(self) -> None:
        """Learn the version from an answer to half a second of silence, in a thread; where it is known, do nothing."""
        if self.model_version is None and self._probing.acquire(blocking=False):
            threading.Thread(target=self._probe, name="endpoint-probe", daemon=True).start()

    def _probe(self) -> None:
        try:
            with TemporaryDirectory(prefix="diarist-") as folder:
                path = Path(folder) / "silence.wav"
                path.write_bytes(_silence())
                self.transcribe(Recording(path=path), {}, Nobody())
        except (DiaristError, OSError) as error:
            logger.info("%s does not say its version yet: %s", self._where, error)
        finally:
            self._probing.release()


def _silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(bytes(2 * int(_PROBE_SECONDS * SAMPLE_RATE)))
    return file.getvalue()
