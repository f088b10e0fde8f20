"""Who may call: a secret that every path starts with, Basic authentication, or both.

Label Studio sends the password that its backend's form was given with every call but its webhooks. So a path that the
secret has opened is open to webhooks without a password, and to everything else only with it, where one is set.
Probes of a platform know neither: `/health` without any credentials says that the process is up, and no more; with a
wrong password it is refused, so that Label Studio shows the mistake when the backend is connected.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Collection

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PROBES = ("/", "/health")
WEBHOOK = "/webhook"


class Guard:
    """ASGI middleware that lets those in who may, and takes the secret off the path."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        user: str | None,
        password: SecretStr | None,
        path_secret: SecretStr | None,
        own_check: Collection[str] = (),
    ) -> None:
        """`own_check` are paths whose routes check a signature themselves."""
        self._app = app
        given = f"{user}:{password.get_secret_value()}" if user and password else None
        self._expected = None if given is None else _encoded(given)
        self._secret = path_secret.get_secret_value().strip("/") if path_secret else None
        self._own_check = frozenset(own_check)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 401 or 404."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, opened = self._without_secret(scope["path"])
        authorization = Headers(scope=scope).get("authorization")
        if path in self._own_check:
            pass
        elif self._secret is not None and not opened and path not in PROBES:
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
            return
        elif not self._may(path, authorization, opened=opened):
            challenge = {"WWW-Authenticate": 'Basic realm="diarist"'}
            body = {"detail": "the user or the password is missing or wrong", "error": "Unauthorized"}
            await JSONResponse(body, 401, headers=challenge)(scope, receive, send)
            return
        scope["path"], scope["raw_path"] = path, path.encode()  # in place: the log reads the route that is found
        await self._app(scope, receive, send)

    def _without_secret(self, path: str) -> tuple[str, bool]:
        """The path that the routes know, and whether the secret was in front of it."""
        if self._secret is None:
            return path, False
        first, _, rest = path.lstrip("/").partition("/")
        opened = hmac.compare_digest(first.encode(), self._secret.encode())
        return (f"/{rest}", True) if opened else (path, False)

    def _may(self, path: str, authorization: str | None, *, opened: bool) -> bool:
        if self._expected is None:
            return True
        if authorization is None:
            return path in PROBES or (opened and path == WEBHOOK)
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        matches = [hmac.compare_digest(given, expected) for expected in self._expected]
        return scheme.lower() == "basic" and any(matches)


def _encoded(given: str) -> tuple[bytes, ...]:
    """User and password as clients send them: UTF-8 (RFC 7617's charset), or Latin-1, as requests does."""
    latin = given.encode("latin-1", errors="ignore")
    return (given.encode(), latin) if latin.decode("latin-1") == given else (given.encode(),)
