"""A Hugging Face hub on 127.0.0.1, for huggingface_hub to talk to: repositories held in memory, some behind a licence.

It answers as the hub's API does, https://huggingface.co/docs/hub/api and the headers that huggingface_hub 0.36
reads (`file_download.get_hf_file_metadata`, `utils._http.hf_raise_for_status`):

* `GET /api/models/<repo>/revision/<revision>?blobs=true`: the commit and the files, with size and git blob id, and
  size and sha256 where git-lfs holds the file;
* `HEAD` and `GET /<repo>/resolve/<commit>/<path>`: the bytes, with ETag, X-Repo-Commit and X-Linked-Size;
* 401 with `X-Error-Code: GatedRepo` where the terms were not accepted, 404 with `RepoNotFound` or `EntryNotFound`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_the_token_of_somebody_who_accepted"  # noqa: S105 - opens nothing but this fake
_LFS_BYTES = 100  # files from this size on are held by git-lfs (the hub goes by .gitattributes)


@dataclass
class Repo:
    """One repository at its newest commit."""

    files: Mapping[str, bytes]
    commit: str = "c0ffee" * 6 + "c0de"
    licence: str = "mit"
    gated: bool = False
    listed: Mapping[str, bytes] = field(default_factory=dict)  # what the listing claims instead, for some files

    def listing(self, name: str, *, blobs: bool) -> dict[str, object]:
        """The answer of the API."""
        siblings = [_sibling(path, self.listed.get(path, data), blobs=blobs) for path, data in self.files.items()]
        tags = ["license:" + self.licence]
        return {"_id": "1", "id": name, "modelId": name, "sha": self.commit, "tags": tags, "siblings": siblings}


def _sibling(path: str, data: bytes, *, blobs: bool) -> dict[str, object]:
    if not blobs:
        return {"rfilename": path}
    if len(data) < _LFS_BYTES:
        return {"rfilename": path, "size": len(data), "blobId": blob_id(data)}
    lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return {"rfilename": path, "size": len(data), "blobId": blob_id(b"pointer"), "lfs": lfs}


def blob_id(data: bytes) -> str:
    """Git's id of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class FakeHub:
    """The server; a context manager.

    Attributes:
        url: what `HF_ENDPOINT` is set to.
        asked: method and path of each request.
    """

    def __init__(self, repos: Mapping[str, Repo]) -> None:
        self.asked: list[str] = []
        self._repos = repos
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,)).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, target: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a request."""
        url = urlsplit(target)
        parts = unquote(url.path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name, rest = "/".join(parts[2:4]), parts[4:]
        else:
            name, rest = "/".join(parts[:2]), parts[2:]
        repo = self._repos.get(name)
        if repo is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if rest[0] == "revision":
            blobs = parse_qs(url.query).get("blobs", [""])[0].lower() == "true"  # the client writes "True"
            return 200, {"Content-Type": "application/json"}, json.dumps(repo.listing(name, blobs=blobs)).encode()
        if repo.gated and token != f"Bearer {TOKEN}":
            return 401, {"X-Error-Code": "GatedRepo"}, b""
        return _resolved(repo, commit=rest[1], path="/".join(rest[2:]))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._respond(with_body=False)

            def do_GET(self) -> None:
                self._respond(with_body=True)

            def _respond(self, *, with_body: bool) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                status, headers, body = hub.answer(self.path, self.headers.get("Authorization"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Keep quiet."""

        return Handler


def _resolved(repo: Repo, *, commit: str, path: str) -> tuple[int, dict[str, str], bytes]:
    if commit != repo.commit:
        return 404, {"X-Error-Code": "RevisionNotFound"}, b""
    if path not in repo.files:
        return 404, {"X-Error-Code": "EntryNotFound"}, b""
    data = repo.files[path]
    headers = {"ETag": f'"{blob_id(data)}"', "X-Repo-Commit": commit, "X-Linked-Size": str(len(data))}
    return 200, headers, data
