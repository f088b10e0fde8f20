"""The model, wherever it lives: one protocol, three homes.

`connect` gives the home that the setting `DIARIST_ENDPOINT` names: a supervised child process (`local`), a Truss
server (`http://…`), or Baseten (`baseten:<model id>`). Requests and answers are those of `diarist.request` and
`diarist.formats.seed`, whoever answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from diarist.errors import BadRequest
from diarist.fetch import redacted
from diarist_proxy.settings import ProxySettings

Report = Callable[[str, float, float], None]  # stage, completed, total


@dataclass(frozen=True, slots=True)
class Recording:
    """What an endpoint is given to hear: a URL that it can reach by itself, or a file on this machine."""

    url: str | None = field(default=None, repr=False)
    path: Path | None = None


class Call(Protocol):
    """The caller's side of one transcription; a job's is durable, so that a restart does not pay twice."""

    def report(self, stage: str, completed: float, total: float) -> None:
        """Tell how far the work has come."""

    def cancelled(self) -> bool:
        """Whether the caller has gone; then `Cancelled` is raised soon."""

    def recall(self, key: str) -> str | None:
        """What an earlier try of the same job remembered."""

    def remember(self, key: str, value: str) -> None:
        """Keep a value for a later try of the same job."""


class Endpoint(Protocol):
    """A home of the model. Safe to call from many threads."""

    fetches_urls: bool  # whether it can download a public or presigned URL by itself

    def transcribe(self, recording: Recording, options: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
        """The answer, as `diarist.formats.seed.to_dict` makes it, for a request with these keys beside the recording.

        Raises:
            BadRequest: the model refused the request or the recording; with its own status and message.
            EndpointUnavailable: down, starting, overloaded or too slow; trying again later may help.
            EndpointError: anything else that is not an answer.
            Cancelled: `call.cancelled()` became true.
        """

    def wake(self) -> None:
        """Ask a sleeping model to start, and return at once; errors are logged, never raised."""

    def model_version(self) -> str | None:
        """The version as last heard from the model, or None before the first word from it; answers at once."""

    def close(self) -> None:
        """Let go of connections and processes."""


class Results(Protocol):
    """Where answers lie that a model sent back by itself, such as those of Baseten's webhook."""

    def take_result(self, request_id: str) -> Mapping[str, Any] | None:
        """The answer to a request, or None while it has not come."""


def connect(settings: ProxySettings, results: Results | None = None) -> Endpoint:
    """The home that the settings name; `results` is where Baseten's asynchronous answers arrive.

    Raises:
        BadRequest: the setting names no home, or lacks its key.
    """
    # Each home imports this module, and only the one that is used is loaded.
    name = settings.endpoint.strip()
    if name == "local":
        from diarist_proxy.endpoint.child import ChildEndpoint  # noqa: PLC0415

        return ChildEndpoint(settings)
    if name.startswith("baseten:"):
        from diarist_proxy.endpoint.baseten import BasetenEndpoint  # noqa: PLC0415

        return BasetenEndpoint(settings, results)
    if name.startswith(("http://", "https://")):
        from diarist_proxy.endpoint.truss import TrussEndpoint  # noqa: PLC0415

        return TrussEndpoint(settings)
    raise BadRequest(
        f"DIARIST_ENDPOINT is {redacted(name) if '://' in name else name!r}: it must be local, the URL of a Truss "
        "server (http://127.0.0.1:8080) or baseten:<model id>"
    )
