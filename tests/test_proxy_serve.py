"""`diarist serve`, as a real process: it starts, works in every worker, says what is wrong, and stops in seconds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from ports import free_port
from truss_environment import ROOT, eventually

LONG = 120.0
CODE = "from diarist.cli import app; from diarist_proxy.cli import add_commands; add_commands(app); app()"


class Served:
    """A `diarist serve` that runs, in a session of its own."""

    def __init__(self, folder: Path, port: int, *arguments: str, **variables: str) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT / "packages"),
            "DIARIST_PROXY_DIR": str(folder / "data"),
            "DIARIST_ENDPOINT": "http://127.0.0.1:9",  # nobody listens there
            "PORT": str(port),
            **variables,
        }
        command = [sys.executable, "-c", CODE, "serve", *arguments]
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def answers(self) -> bool:
        with suppress(httpx.TransportError):
            return bool(httpx.get(f"{self.url}/", trust_env=False, timeout=LONG).json() == {"status": "UP"})
        return False

    def executors(self) -> set[str]:
        """The processes that work jobs."""
        engine = sa.create_engine(f"sqlite:///{self.folder}/data/diarist.sqlite")
        try:
            with engine.connect() as connection:
                return set(connection.scalars(sa.text("SELECT id FROM diarist_executors WHERE NOT ended")))
        except sa.exc.OperationalError:
            return set()
        finally:
            engine.dispose()

    def stop(self) -> float:
        """Send SIGTERM; the seconds until it has ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=LONG)
        return time.monotonic() - began


@contextmanager
def served(folder: Path, *arguments: str, **variables: str) -> Iterator[Served]:
    one = Served(folder, free_port(), *arguments, **variables)
    try:
        assert eventually(lambda: one.answers() or one.process.poll() is not None, within=LONG)
        assert one.process.poll() is None, one.log
        yield one
    finally:
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)  # its own session: it and its workers, and nothing else
        one.process.wait(timeout=LONG)


def test_it_serves_and_stops_within_seconds_of_a_sigterm(tmp_path: Path) -> None:
    with served(tmp_path) as proxy:
        assert httpx.get(f"{proxy.url}/health", trust_env=False, timeout=LONG).json()["status"] == "UP"
        assert httpx.get(f"{proxy.url}/v1/jobs", trust_env=False, timeout=LONG).json()["jobs"] == []
        assert len(proxy.executors()) == 1
        assert proxy.stop() < 30  # some seconds, where nothing else runs
        assert proxy.process.returncode == 0
        assert proxy.executors() == set()
        assert "Traceback" not in proxy.log


def test_a_job_that_does_not_stop_does_not_keep_the_proxy_from_stopping(tmp_path: Path) -> None:
    module = tmp_path / "stubborn_backend.py"
    module.write_text(
        "import pathlib, time\n"
        "from diarist_proxy.label_studio.backend import Backend\n"
        "class Stubborn(Backend):\n"
        "    def fit(self, event, data, **kwargs):\n"
        f"        pathlib.Path({str(tmp_path / 'began')!r}).touch()\n"
        "        time.sleep(600)\n"
    )
    path = os.pathsep.join((str(ROOT / "packages"), str(tmp_path)))
    variables = {"PYTHONPATH": path, "DIARIST_BACKEND": "stubborn_backend:Stubborn", "DIARIST_MODEL_VERSION": "v1"}
    with served(tmp_path, **variables) as proxy:
        training = {"action": "START_TRAINING", "project": {"id": 7}}
        assert httpx.post(f"{proxy.url}/webhook", json=training, trust_env=False, timeout=LONG).status_code == 200
        assert eventually((tmp_path / "began").exists, within=LONG), proxy.log
        assert proxy.stop() < 60
        assert "1 jobs did not stop in time" in proxy.log
    (tmp_path / "began").unlink()
    with served(tmp_path, **variables) as proxy:
        assert eventually((tmp_path / "began").exists, within=LONG), proxy.log  # it is begun again


def test_several_workers_share_jobs_and_metrics_and_one_that_is_killed_comes_back(tmp_path: Path) -> None:
    with served(tmp_path, WORKERS="2") as proxy:
        assert eventually(lambda: len(proxy.executors()) == 2, within=LONG), proxy.log
        before = proxy.executors()
        metrics = httpx.get(f"{proxy.url}/metrics", trust_env=False, timeout=LONG).text
        assert 'diarist_jobs{state="waiting"} 0.0' in metrics
        workers = _children(proxy.process.pid)
        os.kill(workers[-1], signal.SIGKILL)
        assert eventually(lambda: len(proxy.executors() - before) == 1, within=LONG), proxy.log  # a new one works jobs
        assert len(set(_children(proxy.process.pid)) - {workers[-1]}) == 2
        assert eventually(proxy.answers, within=LONG)
        assert proxy.stop() < 60
        assert eventually(
            lambda: len(proxy.executors()) <= 1, within=LONG
        )  # of the killed one nobody may have heard yet


def _children(pid: int) -> list[int]:
    """The workers, the youngest last; without Python's resource tracker."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in _command(child)]


def _command(pid: str) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):  # it may end at any time
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_options_stand_before_variables(tmp_path: Path) -> None:
    port = free_port()
    with served(tmp_path) as other:
        second = Served(tmp_path, port, "--port", str(port), PORT="1")
        try:
            assert eventually(second.answers, within=LONG), second.log
            assert other.answers()
        finally:
            second.process.kill()
            second.process.wait(timeout=LONG)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        ((), {"PORT": "many"}, 2, "PORT: Input should be a valid integer"),
        ((), {"BASIC_AUTH_USER": "me"}, 2, "BASIC_AUTH_USER and BASIC_AUTH_PASS belong together"),
        ((), {"DIARIST_DATABASE_URL": "mysql://a:hidden@b/c"}, 2, "begins with mysql"),
        ((), {"DIARIST_BACKEND": "nowhere:Class"}, 2, "DIARIST_BACKEND=nowhere:Class"),
        (("--endpoint", "carrier-pigeon"), {}, 2, "carrier-pigeon"),
        ((), {"LABEL_STUDIO_URL": "localhost:8188"}, 2, "LABEL_STUDIO_URL is localhost:8188: http://host:port"),
        (("--workers", "x"), {}, 2, "Invalid value for '--workers'"),
    ],
)
def test_a_setting_that_cannot_work_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], code: int, said: str
) -> None:
    one = Served(tmp_path, free_port(), *arguments, **variables)
    assert one.process.wait(timeout=LONG) == code, one.log
    assert said in one.log
    assert "Traceback" not in one.log
    assert "hidden" not in one.log


def test_an_address_that_is_taken_is_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        one = Served(tmp_path, taken.getsockname()[1])
        assert one.process.wait(timeout=LONG) == 1, one.log
    assert "address already in use" in one.log
    assert "choose another port with --port, DIARIST_PORT or PORT" in one.log
    assert "Traceback" not in one.log


def test_help_teaches_and_no_model_is_loaded_for_it(tmp_path: Path) -> None:
    code = CODE.replace("app()", "app(['serve', '--help'], standalone_mode=False); import sys; print(*sys.modules)")
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "packages"), "COLUMNS": "200", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    assert "LABEL_STUDIO_API_KEY" in result.stdout
    assert "--endpoint" in result.stdout
    assert not {"torch", "fastapi", "dbos", "sqlalchemy", "label_studio_sdk"} & set(result.stdout.split())


def test_the_proxy_imports_neither_torch_nor_the_engines() -> None:
    code = "import diarist_proxy.serving, sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "packages"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    loaded = set(result.stdout.split())
    assert not {"torch", "diarist.engines", "diarist.pipeline", "ctranslate2", "onnxruntime"} & loaded
