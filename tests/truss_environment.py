"""The Truss's own environments, and its real server as a process. `make` builds them; without them, tests fail."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from diarist.settings import Settings
from ports import free_port

SECRET = "do-not-tell"  # noqa: S105 - stands for a token and for the signature in a URL
ROOT = Path(__file__).resolve().parents[1]


def truss_python() -> Path:
    """The Python that has the truss command."""
    return _python("DIARIST_TRUSS_PYTHON", ".venv-truss")


def server_python() -> Path:
    """The Python that has the Truss server's requirements."""
    return _python("DIARIST_TRUSS_SERVER_PYTHON", ".venv-truss-server")


def image_python() -> Path:
    """The Python that has what the deployed image has."""
    return _python("DIARIST_IMAGE_PYTHON", ".venv-image")


def stage(root: Path) -> Path:
    """Lay the repository's Truss out in a folder."""
    command = [str(part) for part in (truss_python(), ROOT / "tools" / "stage_truss.py", ROOT, root)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return root


def _python(variable: str, folder: str) -> Path:
    python = Path(os.environ.get(variable) or ROOT / folder / "bin" / "python")
    if not python.exists():
        pytest.fail(f"there is no {python}: run `make truss-env truss-image`, or name a Python in {variable}")
    return python


@dataclass
class Server:
    """A running Truss server and its log."""

    process: subprocess.Popen[bytes]
    port: int
    log_path: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/models/model"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def ask(self, **body: object) -> requests.Response:
        return self.post(body)

    def post(self, body: dict[str, object], *, request_id: str | None = None) -> requests.Response:
        headers = {"x-baseten-request-id": request_id} if request_id else {}
        return requests.post(f"{self.url}:predict", json=body, timeout=300, headers=headers)

    def events(self, **body: object) -> list[dict[str, Any]]:
        response = requests.post(f"{self.url}:predict", json={**body, "stream": True}, timeout=300, stream=True)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        assert response.headers["x-request-id"]
        return [json.loads(line) for line in response.iter_lines()]

    def ready(self) -> bool:
        try:
            return requests.get(self.url, timeout=60).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    def logged(self, text: str, *, within: float = 120) -> bool:
        return eventually(lambda: text in self.log, within=within)


def eventually(condition: Callable[[], bool], *, within: float) -> bool:
    ends = time.monotonic() + within
    while not (met := condition()) and time.monotonic() < ends:
        time.sleep(0.05)
    return met


@contextmanager
def serving(root: Path, folder: Path, *, python: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """A server of the staged Truss on a free port, ended afterwards; `settings` are environment variables."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DIARIST_MODELS_DIR": str(Settings().models_dir),
        "TRUSS_SECRET_hf_access_token": f"{SECRET}\n",  # the platform's way to give a secret
    }
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [python, ROOT / "tools" / "serve_truss.py", root, str(port)],
            env={**environment, **settings}, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    server = Server(process, port, log_path)
    try:
        assert eventually(lambda: server.ready() or process.poll() is not None, within=240), server.log
        assert process.poll() is None, server.log
        yield server
    finally:
        process.kill()
        process.wait(timeout=120)
