"""The proxy that runs, as the commands ask it: over HTTP, with the password and the secret that it has itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

import httpx

from diarist.errors import BadRequest, DiaristError
from diarist_proxy.label_studio.connecting.backend import shown as _shown
from diarist_proxy.settings import ProxySettings

AWAY_SECONDS = 60.0  # a proxy that restarts meanwhile is waited for so long
POLL_SECONDS = 1.0


class ProxyError(DiaristError):
    """The proxy does not run where it was looked for, or refuses."""

    status = 502


@dataclass(frozen=True, slots=True)
class Standing:
    """How the predictions of a project stand.

    Attributes:
        model_version: of the predictions that it gets.
        jobs: how many there are, by their states.
        failed: the task and the reason of each job that failed, newest first.
        waiting: the task, the attempts and the last reason of each job that failed and is tried again.
    """

    model_version: str
    jobs: Mapping[str, int]
    failed: tuple[tuple[int | None, str], ...]
    waiting: tuple[tuple[int | None, int, str], ...] = ()

    @property
    def active(self) -> int:
        """How many jobs wait or run."""
        return self.jobs.get("waiting", 0) + self.jobs.get("running", 0)

    @property
    def ended(self) -> int:
        """How many jobs have ended, however they did."""
        return sum(self.jobs.values()) - self.active


class RunningProxy:
    """Asks one proxy about projects."""

    def __init__(self, settings: ProxySettings, url: str | None = None) -> None:
        """Find out where it is: at the URL that was given, else where the settings let it listen on this machine."""
        secret = settings.path_secret.get_secret_value().strip("/") if settings.path_secret else ""
        self.url = (url or f"http://{_reachable(settings.host)}:{settings.port}").rstrip("/")
        base = self.url if not secret or self.url.endswith(f"/{secret}") else f"{self.url}/{secret}"
        user, password = settings.basic_auth_user, settings.basic_auth_pass
        auth = httpx.BasicAuth(user, password.get_secret_value()) if user and password else None
        self._http = httpx.Client(base_url=f"{base}/", auth=auth, timeout=30, trust_env=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def backfill(self, project: int) -> None:
        """Have every task of a project queued that has no prediction of the current version.

        Raises:
            ProxyError: it is not there, or refuses.
        """
        self._ask("POST", f"label-studio/projects/{project:d}/backfill")

    def standing(self, project: int) -> Standing:
        """How a project stands.

        Raises:
            ProxyError: as above.
        """
        answer = self._ask("GET", f"label-studio/projects/{project:d}")
        failed = tuple((item.get("task"), str(item.get("error") or "")) for item in answer.get("failed") or ())
        waiting = tuple(
            (item.get("task"), int(item.get("attempts") or 0), str(item.get("error") or ""))
            for item in answer.get("waiting") or ()
        )
        return Standing(str(answer.get("model_version") or ""), dict(answer.get("jobs") or {}), failed, waiting)

    def watched(self, project: int, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Standing]:
        """How a project stands, again and again until no job is active; a proxy that restarts is waited for.

        Raises:
            ProxyError: it stays away.
        """
        last_seen = time.monotonic()
        while True:
            try:
                standing = self.standing(project)
            except ProxyError as error:
                if not error.transient or time.monotonic() - last_seen > AWAY_SECONDS:
                    raise
            else:
                last_seen = time.monotonic()
                yield standing
                if not standing.active:
                    return
            sleep(POLL_SECONDS)

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        with self._errors():
            answer = self._http.request(method, path)
            if answer.is_error:
                raise self._refused(answer)
            body = answer.json()
        if not isinstance(body, dict):
            raise ProxyError(f"what answers at {_shown(self.url)} is no diarist proxy: name it with --proxy-url")
        return body

    @contextmanager
    def _errors(self) -> Iterator[None]:
        shown = _shown(self.url)
        try:
            yield
        except httpx.HTTPError as error:
            away = ProxyError(
                f"no proxy answers at {shown} ({type(error).__name__}): start it with `diarist serve`, or name it with "
                "--proxy-url"
            )
            away.transient = True
            raise away from None
        except ValueError:
            raise ProxyError(f"what answers at {shown} is no diarist proxy: name it with --proxy-url") from None

    def _refused(self, answer: httpx.Response) -> DiaristError:
        shown, status = _shown(self.url), answer.status_code
        if status == HTTPStatus.UNAUTHORIZED:
            return ProxyError(
                f"{shown} wants a user and a password: set BASIC_AUTH_USER and BASIC_AUTH_PASS as it has them"
            )
        said = _said(answer)
        if status == HTTPStatus.NOT_FOUND and not said:
            return ProxyError(f"what answers at {shown} is no diarist proxy, or wants DIARIST_PATH_SECRET as it has it")
        refused = (BadRequest if status == HTTPStatus.BAD_REQUEST else ProxyError)(f"the proxy says: {said or status}")
        refused.transient = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return refused


def _said(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    said = (body.get("error") or body.get("detail")) if isinstance(body, dict) else None
    return said if isinstance(said, str) and said != HTTPStatus(answer.status_code).phrase else ""


def _reachable(host: str) -> str:
    """The address to connect to, of one to listen on: 0.0.0.0 means all of them."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1"
    return f"[{host}]" if address.version == 6 else host  # noqa: PLR2004 - the protocol
