"""A project's backend row in Label Studio: its URL, its password, and its title, which follows the model's version."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

from diarist.errors import BadRequest
from diarist.fetch import redacted
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.label_studio.connecting.refusals import calls
from diarist_proxy.settings import ProxySettings


def backend_url(given: str, settings: ProxySettings) -> str:
    """The backend's URL without a slash at its end, with the secret of the path where one is set."""
    parts = urlsplit(given.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise BadRequest(
            f"--backend-url {shown(given)}: the proxy as Label Studio reaches it is needed, http://host:port"
        )
    url = given.strip().rstrip("/")
    secret = settings.path_secret.get_secret_value().strip("/") if settings.path_secret else ""
    return f"{url}/{secret}" if secret and not url.endswith(f"/{secret}") else url


def shown(url: str) -> str:
    """A URL of the proxy as it may be shown: its path may be a secret.

    >>> shown("http://diarist.internal:9090/s3cret"), shown("http://localhost:9090")
    ('http://diarist.internal:9090/…', 'http://localhost:9090')
    """
    parts = urlsplit(url.strip())
    bare = redacted(parts._replace(path="").geturl())
    return f"{bare}/…" if parts.path.strip("/") else bare


def connection(settings: ProxySettings, url: str) -> dict[str, Any]:
    """What every change of a backend has to say, since Label Studio tries the connection with just that."""
    user, password = settings.basic_auth_user, settings.basic_auth_pass
    if user is None or password is None:
        return {"url": url, "auth_method": "NONE"}
    secret = password.get_secret_value()
    return {"url": url, "auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": secret}


def authorization(settings: ProxySettings) -> dict[str, str]:
    """The header that a webhook has to carry; Label Studio sends a backend's password with everything but webhooks."""
    user, password = settings.basic_auth_user, settings.basic_auth_pass
    if user is None or password is None:
        return {}
    return {"Authorization": f"Basic {b64encode(f'{user}:{password.get_secret_value()}'.encode()).decode()}"}


def follow_version(client: LabelStudioClient, settings: ProxySettings, project: int, version: str) -> bool:
    """Call the project's backend after a new version of its predictions, where it was called after the one before.

    It makes Label Studio ask the proxy's `/health` and `/setup`, so it must not be called while they are answered.

    Args:
        client: Label Studio.
        settings: the proxy's, for the password.
        project: the project's id.
        version: what `/setup` answers for the project now.

    Returns:
        Whether it was renamed.

    Raises:
        LabelStudioError: Label Studio refuses, or is away.
    """
    chosen = client.project(project).model_version
    if chosen in {None, "", version}:
        return False
    with calls(client.url):
        sdk = client.sdk()
        for backend in sdk.ml.list(project=project):
            if backend.title == chosen and backend.model_version == version:
                given = connection(settings, str(backend.url))
                sdk.ml.update(int(backend.id), project=project, title=version, **given)  # the project follows
                return True
    return False
