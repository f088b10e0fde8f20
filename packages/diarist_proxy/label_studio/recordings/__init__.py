"""What a task's data names -> a recording that the model can hear: a URL where it can fetch one, else a local file.

    value in the task                      how it is had
    /data/upload/…, /data/local-files/…    from Label Studio, with the token
    s3:// gs:// azure-blob:// …            Label Studio's /tasks/<id>/presign/: a presigned URL, or the bytes themselves
    http:// https://                       as any caller's URL; or from Label Studio, where it is one of its recordings
    data:audio/…;base64,…                  from the value

Label Studio, as LABEL_STUDIO_URL names it, may be at a private address, and so may the presigned URL that it hands
over (`diarist.fetch.Trust`); nothing else may. The token goes to Label Studio's paths of recordings only, so that a
task cannot make the proxy call the rest of its API.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from diarist.errors import AudioRefused, AudioUnreachable, BadRequest
from diarist.fetch import Trust, decoded_base64, fetched, is_public, never, redacted, redirection
from diarist.settings import Settings
from diarist_proxy.endpoint import Recording
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.label_studio.recordings.clips import cropped
from diarist_proxy.label_studio.recordings.kept_files import KeptFiles
from diarist_proxy.settings import ProxySettings

__all__ = ["Recordings", "cropped"]

_log = logging.getLogger(__name__)

Cancelled = Callable[[], bool]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NO_STORAGE = {"ftp", "ftps", "file", "ws", "wss"}
_RECORDINGS = re.compile(r"/(data|storage-data|(tasks|projects)/\d+/(presign|resolve))/")  # of Label Studio's paths
_ADVICE = {
    "upload": "it was deleted, or the token's user may not see the project that it was uploaded to",
    "local": "a Local Files storage of the project must cover it, and LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED be true",
    "storage": "a cloud storage of the project must cover it, with a key that may read it",
    "web": None,
}


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a recording is."""

    url: str
    kind: str  # a key of _ADVICE
    trust: Trust | None


class Recordings:
    """Gets the recordings that tasks name. Safe to call from many threads and processes."""

    def __init__(self, settings: ProxySettings, client: LabelStudioClient) -> None:
        """Nothing is opened or made yet."""
        self._settings = Settings(
            fetch_allowed_networks=settings.fetch_allowed_networks,
            fetch_timeout_seconds=settings.fetch_timeout_seconds,
            max_bytes=settings.max_bytes,
        )
        self._client = client
        self._kept = KeptFiles(settings.data_dir / "recordings")

    @contextmanager
    def opened(
        self, value: str, *, task: int, project: int, fetches_urls: bool, cancelled: Cancelled = never
    ) -> Iterator[Recording]:
        """A recording for an endpoint, for as long as the block lasts.

        Where the endpoint fetches URLs by itself and one exists that the public can reach, this is it: a presigned one,
        made just now, or the task's own. Otherwise it is a temporary file.

        Raises:
            BadRequest: the value names no recording.
            AudioRefused, AudioTooLarge, AudioUnreachable, Cancelled: as for `diarist.fetch.fetched`.
            LabelStudioError: no token could be had for the download.
        """
        url = self._public_url(value, task, cancelled) if fetches_urls else None
        if url is not None:
            _log.info("task %d of project %d: the endpoint fetches %s", task, project, redacted(url))
            yield Recording(url=url)
            return
        with self._downloaded(value, task, cancelled) as path:
            yield Recording(path=path)

    @contextmanager
    def local(self, value: str, *, task: int, project: int, cancelled: Cancelled = never) -> Iterator[Path]:
        """A recording as a file, for as long as the block lasts; kept some minutes for whoever asks again.

        Raises:
            as for `opened`.
        """
        with ExitStack() as stack:

            def download() -> Path:
                return stack.enter_context(self._downloaded(value, task, cancelled))

            key = hashlib.sha256(f"{project} {task} {value.strip()}".encode()).hexdigest()
            yield stack.enter_context(self._kept.opened(key, download, cancelled=cancelled))

    def _downloaded(self, value: str, task: int, cancelled: Cancelled) -> AbstractContextManager[Path]:
        if value.strip().lower().startswith("data:"):
            return decoded_base64(value, self._settings)
        return self._fetched(self._source(value, task), cancelled)

    @contextmanager
    def _fetched(self, source: _Source, cancelled: Cancelled) -> Iterator[Path]:
        with ExitStack() as stack:
            with _advised(source):
                path = stack.enter_context(fetched(source.url, self._settings, cancelled=cancelled, trust=source.trust))
            yield path

    def _public_url(self, value: str, task: int, cancelled: Cancelled) -> str | None:
        """A URL that any server can download, where there is one."""
        if value.strip().lower().startswith("data:"):
            return None
        source = self._source(value, task)
        if source.trust is None:
            return source.url if is_public(source.url, self._settings, cancelled=cancelled) else None
        if source.kind != "storage":
            return None
        with _advised(source):
            url = redirection(source.url, self._settings, source.trust, cancelled=cancelled)
        return url if url is not None and is_public(url, self._settings, cancelled=cancelled) else None

    def _source(self, value: str, task: int) -> _Source:
        value = value.strip()
        scheme = _SCHEME.match(value)
        if scheme is None:
            if not value.startswith("/") or value.startswith("//"):
                raise BadRequest(
                    "the task's recording is neither a URL nor a path of Label Studio: http(s)://…, s3://…, gs://…, "
                    "azure-blob://…, /data/upload/… and /data/local-files/?d=… are allowed"
                )
            return self._of_label_studio(self._absolute(value))
        if scheme[1].lower() in {"http", "https"}:
            return self._of_label_studio(value)
        if scheme[1].lower() in _NO_STORAGE:
            raise AudioRefused(f"the task's recording is refused: {scheme[1]}:// URLs are not opened")
        uri = base64.urlsafe_b64encode(value.encode()).decode()
        return self._of_label_studio(urljoin(self._client.url, f"tasks/{task:d}/presign/?fileuri={uri}"))

    def _absolute(self, path: str) -> str:
        """A path of Label Studio's as a URL; where it is served under a prefix, its paths may hold that already."""
        base = urlsplit(self._client.url)
        prefix = base.path.rstrip("/")
        rest = path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
        return f"{base.scheme}://{base.netloc}{prefix}{rest}"

    def _of_label_studio(self, url: str) -> _Source:
        """The source at a URL; trusted where it is one of Label Studio's recordings."""
        trust = Trust(self._client.url, self._client.authorization, lasting=_is_gone)
        path = _path_below(self._client.url, url)
        if path is None or not trust.covers(url):
            return _Source(url, "web", None)
        if not _RECORDINGS.match(path):
            return _Source(
                url, "web", Trust(self._client.url, dict, hands_over=False)
            )  # public, such as /static/samples/…
        kind = (
            "local" if path.startswith("/data/local-files/") else "upload" if path.startswith("/data/") else "storage"
        )
        return _Source(url, kind, trust)


def _is_gone(status: int, body: bytes) -> bool:
    """Whether an error of Label Studio's says that an upload was deleted: 1.23 stumbles over it, with status 500."""
    return status == 500 and b"'NoneType' object has no attribute 'has_permission'" in body  # noqa: PLR2004


def _path_below(base: str, url: str) -> str | None:
    """The path of a URL below Label Studio's; None where it is not below, or where servers may read it differently."""
    prefix, path = urlsplit(base).path.rstrip("/"), urlsplit(url).path
    plain = unquote(path)
    if {".", ".."} & set(plain.split("/")) or "\\" in plain or "//" in plain or not path.startswith(f"{prefix}/"):
        return None
    return path.removeprefix(prefix)


@contextmanager
def _advised(source: _Source) -> Iterator[None]:
    """Add what an operator can do to the error of a download from Label Studio."""
    try:
        yield
    except AudioUnreachable as error:
        advice = _ADVICE[source.kind]
        if advice is None or error.transient:
            raise
        raise AudioUnreachable(f"{error}; {advice}") from None
