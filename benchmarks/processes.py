"""Work in processes of its own: commands that are timed from start to end, and loaded ways that stay apart.

Imports nothing but the standard library before a way is loaded: a command's peak memory is never counted lower than
what the process that started it holds, and libraries loaded together share threads and memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.answers import Answer, Way

    from diarist.types import Waveform

Name = Literal["ours", "stock"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took: seconds from its start to its end, seconds of CPU, and its peak memory in bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measure(command: Sequence[str], *, environment: dict[str, str] | None = None) -> Measured:
    """Run a command to its end, started by a small process, so that its memory alone is counted.

    Raises:
        RuntimeError: it failed; the message holds its last words.
    """
    with TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        launch = [sys.executable, "-m", "benchmarks.processes", str(out), *command]
        done = subprocess.run(  # noqa: S603 - no shell
            launch, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return Measured(**json.loads(out.read_text(encoding="utf-8")))


def launch(out: Path, command: Sequence[str]) -> int:
    """Run a command and write what it took; its exit status."""
    started = time.perf_counter()
    process = subprocess.Popen(command)  # noqa: S603 - no shell
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    measured = Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)
    out.write_text(json.dumps(asdict(measured)), encoding="utf-8")
    return process.returncode


class Loaded:
    """A way, loaded in a process of its own at its first recording, and ended with the `with` block."""

    def __init__(self, name: Name, threads: int) -> None:
        self._name, self._threads = name, threads
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def transcribe(self, waveform: Waveform) -> Answer:
        """Words and speakers."""
        return self._run("transcribe", waveform)

    def diarize(self, waveform: Waveform) -> Answer:
        """Speakers alone."""
        return self._run("diarize", waveform)

    def _run(self, task: str, waveform: Waveform) -> Answer:
        if self._pool is None:
            arguments = (self._name, self._threads)
            self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_load, initargs=arguments)
        return self._pool.submit(_work, task, waveform).result()


_way: list[Way] = []  # the one that this process has loaded


def _load(name: Name, threads: int) -> None:
    if name == "stock":
        from benchmarks.stock import Stock

        _way.append(Stock(threads))
    else:
        from benchmarks.ours import Ours

        _way.append(Ours(threads))


def _work(task: str, waveform: Waveform) -> Answer:
    answer: Answer = getattr(_way[0], task)(waveform)
    return answer


if __name__ == "__main__":
    sys.exit(launch(Path(sys.argv[1]), sys.argv[2:]))
