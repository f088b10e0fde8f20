"""The Truss adapter: Baseten's `load` and `predict` around `diarist.service`, and nothing about speech."""

# Without `from __future__ import annotations`: the server looks for the class `Request`, not for its name.
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import SecretStr

from diarist import engines
from diarist.service import Event, Reply, TranscriptionService, request_id_from
from diarist.settings import Settings


class Model:
    """What the Truss server creates once, loads once, and asks for each request."""

    def __init__(self, data_dir: Path, secrets: Mapping[str, str]) -> None:
        self._settings = settings(data_dir, secrets)
        self._service: TranscriptionService | None = None

    def load(self) -> None:
        """Load the models; the server answers 503 until this returns, and ends if it raises."""
        logging.getLogger("diarist").setLevel(self._settings.log_level.upper())
        stages = engines.load(self._settings)
        self._service = TranscriptionService(self._settings, stages)
        logging.getLogger("diarist").info("loaded %s", stages.model_version)

    async def is_healthy(self) -> bool:
        """Whether the models can still answer. It is async: a sync one waits for a thread while all are busy."""
        return self._service is not None and self._service.healthy

    def predict(self, body: Any, request: Request) -> Response:  # noqa: ANN401 - whatever JSON held
        """Answer one request. All in one: the server cannot send a 429 with its header from `preprocess`."""
        if self._service is None:
            raise RuntimeError("predict before load")
        request_id = request_id_from(request.headers.get("x-baseten-request-id"))
        result = self._service.handle(body, request_id=request_id, watch=request.state.watch_disconnect)
        if isinstance(result, Reply):
            return JSONResponse(result.body, result.status, result.headers)
        return StreamingResponse(lines(result), 200, {"X-Request-Id": request_id}, "application/x-ndjson")


def settings(data_dir: Path, secrets: Mapping[str, str]) -> Settings:
    """The environment's settings, with the platform's secret where it is set."""
    try:
        token = secrets["hf_access_token"].strip()  # a secret from a file keeps its last newline
    except Exception:  # noqa: BLE001 - the server raises a class of its own; needed or not, loading will tell
        token = ""
    found = Settings(data_dir=data_dir.resolve())
    return found.model_copy(update={"hf_access_token": SecretStr(token)}) if token else found


def lines(events: Iterator[Event]) -> Iterator[str]:
    """Events as newline-delimited JSON."""
    for event in events:
        yield json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
