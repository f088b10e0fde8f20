"""A recording on its way to a remote model: by URL, by value, through the object store, or made smaller."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diarist.errors import AudioTooLarge, DiaristError
from diarist_proxy.endpoint import Call, Recording
from diarist_proxy.endpoint.compress import compressed
from diarist_proxy.endpoint.object_store import ObjectStore

logger = logging.getLogger(__name__)

_READ_BYTES = 3 << 18  # read and encoded at once; a multiple of three, so that base64 needs no padding within


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON request as bytes to send; a file is read and encoded while it is sent, so it never is in memory."""

    head: bytes
    path: Path | None = None
    tail: bytes = b""
    num_bytes: int = 0  # of the file

    @classmethod
    def of(cls, recording: Recording, options: Mapping[str, Any]) -> Body:
        """A request with a recording's URL or content beside these keys."""
        if recording.path is None:
            return cls(json.dumps({**options, "audio_file": recording.url}).encode())
        text = json.dumps({**options, "audio_b64": ""}).encode()
        return cls(text[:-2], recording.path, text[-2:], recording.path.stat().st_size)

    @property
    def size(self) -> int:
        """How many bytes will be sent."""
        return len(self.head) + -(-self.num_bytes // 3) * 4 + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        if self.path is not None:
            with self.path.open("rb") as file:
                while part := file.read(_READ_BYTES):
                    yield base64.b64encode(part)
        yield self.tail


@dataclass(frozen=True, slots=True)
class Route:
    """The way of large recordings to one endpoint."""

    where: str  # the endpoint's name, for messages
    most_bytes: int  # of a request, base64 and all
    objects: ObjectStore | None = None
    url_seconds: float = 86_400.0  # how long the presigned URL of an uploaded recording holds

    def fitted(
        self, recording: Recording, options: Mapping[str, Any], folder: Path, call: Call
    ) -> tuple[Recording, str | None]:
        """A recording that can be sent, and the name of the object that was made for it, which the caller removes.

        A recording made smaller is put into `folder`.

        Raises:
            AudioTooLarge: it does not fit, however small it is made; says both numbers.
            AudioUndecodable: it had to be made smaller, and cannot be read.
        """
        if recording.path is None or Body.of(recording, options).size <= self.most_bytes:
            return recording, None
        if self.objects is not None:
            call.report("upload", 0, 1)
            name = self.objects.upload(recording.path)
            return Recording(url=self.objects.get_url(name, seconds=self.url_seconds)), name
        room = (self.most_bytes - Body.of(Recording(url=""), options).size) // 4 * 3
        call.report("compress", 0, 1)
        channels: Literal["mix", "split"] = "split" if options.get("channels") == "split" else "mix"
        try:
            path = compressed(recording.path, folder / "recording.ogg", most_bytes=room, channels=channels)
        except AudioTooLarge as error:
            raise AudioTooLarge(
                f"{error} to {self.where}: set DIARIST_OBJECT_STORE, or give the task a URL that the model can reach"
            ) from None
        return Recording(path=path), None

    def removed(self, name: str) -> None:
        """Remove an object that was made; where that fails, the bucket's lifecycle rule will."""
        try:
            if self.objects is not None:
                self.objects.delete(name)
        except DiaristError as error:
            logger.warning("%s stays in the object store: %s", name, error)
