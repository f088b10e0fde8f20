"""A bucket between this proxy and a remote model: recordings too large for a request go in, results come out.

S3 (`s3://bucket/prefix`), Google Cloud Storage (`gs://bucket/prefix`) and Azure (`az://container/prefix`) through one
library. Credentials are those that each cloud's own tools read: `AWS_ACCESS_KEY_ID` …, or
`GOOGLE_APPLICATION_CREDENTIALS`, or `AZURE_STORAGE_ACCOUNT_NAME` and `AZURE_STORAGE_ACCOUNT_KEY`, or the machine's
role. The model gets presigned URLs and never a credential. What a proxy could not remove, because it was ended, a
lifecycle rule of the bucket should: objects lie under `recordings/` and `results/`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from diarist.errors import BadRequest, EndpointError, EndpointUnavailable

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

    Signing = AzureStore | GCSStore | S3Store

_SCHEMES = ("s3://", "gs://", "az://")
_REQUEST_SECONDS = 600.0  # for one part of a large recording, too
_RETRY_SECONDS = 30.0


class ObjectStore:
    """One bucket, or a prefix in it. Safe to call from many threads."""

    def __init__(self, url: str) -> None:
        if not url.startswith(_SCHEMES):
            scheme = url.partition("://")[0]
            raise BadRequest(
                f"DIARIST_OBJECT_STORE starts with {scheme!r}: it must be s3://bucket/prefix, gs:// or az://"
            )
        from obstore.exceptions import BaseError  # noqa: PLC0415
        from obstore.store import from_url  # noqa: PLC0415 - compiled, and most proxies need none

        self._url = url
        try:
            self._store = cast(
                "Signing",
                from_url(
                    url,
                    # Plain HTTP only where AWS_ENDPOINT_URL names a storage of the operator's own so.
                    client_options={"timeout": timedelta(seconds=_REQUEST_SECONDS), "allow_http": True},
                    retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
                ),
            )
        except (BaseError, ValueError) as error:
            reason = str(error).partition("\n")[0]  # the rest is the library's inside
            raise BadRequest(f"DIARIST_OBJECT_STORE {url} cannot be used: {reason}") from None

    def upload(self, path: Path) -> str:
        """Put a recording in, and say under which name.

        Raises:
            EndpointUnavailable: the storage does not answer.
            EndpointError: it refuses.
        """
        import obstore  # noqa: PLC0415

        name = f"recordings/{uuid.uuid4().hex}"
        with self._errors("take a recording"):
            obstore.put(self._store, name, path)
        return name

    def new_result(self) -> str:
        """A name for a result that the model will put in."""
        return f"results/{uuid.uuid4().hex}.json"

    def get_url(self, name: str, *, seconds: float) -> str:
        """A presigned URL to read an object."""
        return self._signed("GET", name, seconds)

    def put_url(self, name: str, *, seconds: float) -> str:
        """A presigned URL to write an object."""
        return self._signed("PUT", name, seconds)

    def read(self, name: str) -> bytes | None:
        """An object's content, or None while there is none.

        Raises:
            EndpointUnavailable: the storage does not answer.
            EndpointError: it refuses.
        """
        import obstore  # noqa: PLC0415

        with self._errors("give a result"):
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def delete(self, name: str) -> None:
        """Remove an object, if it is there.

        Raises:
            EndpointUnavailable: the storage does not answer.
            EndpointError: it refuses.
        """
        import obstore  # noqa: PLC0415

        with self._errors("remove an object"):
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError:
                return

    def _signed(self, method: str, name: str, seconds: float) -> str:
        import obstore  # noqa: PLC0415

        with self._errors("sign a URL"):
            if method == "PUT":
                return obstore.sign(self._store, "PUT", name, timedelta(seconds=seconds))
            return obstore.sign(self._store, "GET", name, timedelta(seconds=seconds))

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """The library's errors as ours; their texts hold signed URLs and stay out."""
        from obstore.exceptions import (  # noqa: PLC0415
            BaseError,
            PermissionDeniedError,
            UnauthenticatedError,
        )

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError, FileNotFoundError):
            message = f"{self._url} does not {what}: check DIARIST_OBJECT_STORE and the rights of its credentials"
            raise EndpointError(message) from None
        except (BaseError, OSError) as error:
            raise EndpointUnavailable(
                f"{self._url} does not {what} now ({type(error).__name__}): is it there, and has this machine "
                "credentials for it?"
            ) from None
