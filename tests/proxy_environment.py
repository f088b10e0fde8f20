"""The proxy as a process of its own, as it runs in production, and an object storage beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import requests

from diarist.settings import Settings
from ports import free_port
from truss_environment import ROOT, eventually

START_SECONDS = 120

_titles = Counter[str]()  # how often a project of each was made


@dataclass
class Proxy:
    """A running `diarist serve`, or one that was killed and can be started again on the same port and data."""

    folder: Path
    port: int
    settings: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self._secret}"

    @property
    def log(self) -> str:
        return (self.folder / "proxy.log").read_text(errors="replace")

    @property
    def environment(self) -> dict[str, str]:
        """The variables it runs with, which the `diarist label-studio` commands need too."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT / "packages"),
            "DIARIST_MODELS_DIR": str(Settings().models_dir),
            "DIARIST_PROXY_DIR": str(self.folder / "data"),
            "PORT": str(self.port),
            **self.settings,
        }

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "proxy.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "diarist.cli", "serve"],
                env=self.environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        process = self.process
        assert eventually(lambda: self.answers() or process.poll() is not None, within=START_SECONDS), self.log
        assert process.poll() is None, self.log

    def kill(self) -> None:
        """End it and its children at once, as a machine that goes away does (kill -9)."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: it and its children, and nothing else
            self.process.wait(timeout=120)
            self.process = None

    def answers(self) -> bool:
        try:
            return self.get("/health").ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    def get(self, path: str, **parameters: str | int | tuple[str, ...]) -> requests.Response:
        return requests.get(self.url + path, params=parameters, auth=self._auth, timeout=120)

    def post(self, path: str, body: Mapping[str, Any]) -> requests.Response:
        return requests.post(self.url + path, json=body, auth=self._auth, timeout=120)

    def jobs(self, **parameters: str | int | tuple[str, ...]) -> list[dict[str, Any]]:
        """Its jobs, newest first, as `GET /v1/jobs` shows them."""
        answer = self.get("/v1/jobs", **parameters)
        answer.raise_for_status()
        found = answer.json()
        return list(found["jobs"] if isinstance(found, dict) else found)

    def wait_until_idle(self, *, within: float = 300, **parameters: str | int) -> None:
        """Wait until none of its jobs waits or runs."""
        active = ("waiting", "running")
        assert eventually(lambda: not self.jobs(state=active, **parameters), within=within), self.log

    def command(self, *arguments: str, check: bool = True, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `diarist label-studio …` as an operator of this proxy does, with its variables."""
        environment = {**self.environment, **_variables(settings)}
        command = [sys.executable, "-m", "diarist.cli", "label-studio", *arguments]
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert not check or done.returncode == 0, f"{done.args[4:]}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def set_up(self, title: str, *arguments: str) -> int:
        """Run `diarist label-studio setup`; the id of the project that it made: a test's second try makes another."""
        _titles[title] += 1
        if _titles[title] > 1:
            title = f"{title} {_titles[title]}"
        printed = self.command("setup", "--title", title, "--backend-url", self.url, *arguments).stdout
        return int(printed.strip().removesuffix("/data").rpartition("/")[2])

    @property
    def _secret(self) -> str:
        secret = self.settings.get("DIARIST_PATH_SECRET")
        return f"/{secret}" if secret else ""

    @property
    def _auth(self) -> tuple[str, str] | None:
        user, password = self.settings.get("BASIC_AUTH_USER"), self.settings.get("BASIC_AUTH_PASS")
        return (user, password) if user and password else None


# Variables that do not begin with DIARIST_, since label-studio-ml's users know them.
_SEEDS = {
    "LABEL_STUDIO_URL", "LABEL_STUDIO_HOST", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_USER", "BASIC_AUTH_PASS",
    "MODEL_NAME", "BATCH_SIZE", "LOG_LEVEL", "WORKERS", "THREADS", "MODEL_DIR", "PORT", "BASETEN_API_KEY",
}  # fmt: skip


def _variables(settings: Mapping[str, str]) -> dict[str, str]:
    names = {name: name.upper() for name in settings}
    return {(upper if upper in _SEEDS else f"DIARIST_{upper}"): settings[name] for name, upper in names.items()}


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Proxy]:
    """A proxy on a free port that keeps its data in `folder`; keywords are its variables, in lower case."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Proxy(folder, free_port(), _variables(settings))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@dataclass(frozen=True)
class ObjectStorage:
    """An S3 storage on this machine; its keys are open to everyone who reads this."""

    url: str
    key: str = "test"
    secret: str = "not-a-secret"  # noqa: S105
    region: str = "us-east-1"

    @property
    def connection(self) -> dict[str, str]:
        """What Label Studio has to know of it."""
        return {
            "s3_endpoint": self.url,
            "region_name": self.region,
            "aws_access_key_id": self.key,
            "aws_secret_access_key": self.secret,
        }

    def client(self) -> Any:  # noqa: ANN401 - boto3 makes its clients' classes as it runs
        return boto3.client(
            "s3", endpoint_url=self.url, region_name=self.region,
            aws_access_key_id=self.key, aws_secret_access_key=self.secret,
        )  # fmt: skip

    def bucket(self, name: str, **files: Path) -> str:
        """Make a bucket that holds files, by their keys."""
        client = self.client()
        client.create_bucket(Bucket=name)
        for key, path in files.items():
            client.upload_file(str(path), name, key)
        return name


@contextmanager
def object_storage(folder: Path) -> Iterator[ObjectStorage]:
    """Moto's server (https://docs.getmoto.org/en/latest/docs/server_mode.html): real S3 requests, signatures aside."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with (folder / "moto.log").open("ab") as log:
        command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    storage = ObjectStorage(f"http://127.0.0.1:{port}")
    try:
        assert eventually(lambda: _listens(storage.url), within=START_SECONDS), (folder / "moto.log").read_text()
        yield storage
    finally:
        process.kill()
        process.wait(timeout=120)


def _listens(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except (requests.ConnectionError, requests.Timeout):
        return False
