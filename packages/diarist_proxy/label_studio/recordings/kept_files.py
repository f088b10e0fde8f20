"""Recordings that somebody may ask for again in a minute: kept on disk, not for long, and not too many.

People draw one region after another in the same recording. Each use has a hard link of its own, so that a file may be
dropped, by this process or another, while somebody still reads it.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from diarist.errors import Cancelled

MAX_BYTES = 1 << 30  # of all files together
KEPT_SECONDS = 900.0  # since the last use; they are somebody's recordings
LEFT_SECONDS = 86_400.0  # a use that is older was left behind by a process that was killed

_KEY = re.compile(r"[0-9a-f]{64}")
_POLL_SECONDS = 0.1


class KeptFiles:
    """A folder of files by key, the least recently used dropped first. Safe for many threads and processes."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES, seconds: float = KEPT_SECONDS) -> None:
        """Nothing is made before the first use."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._turns = tuple(threading.Lock() for _ in range(16))  # one download of a file at a time
        self._timer: threading.Timer | None = None
        self._timer_lock = threading.Lock()

    @contextmanager
    def opened(self, key: str, make: Callable[[], Path], *, cancelled: Callable[[], bool]) -> Iterator[Path]:
        """The file of a key (64 hexadecimal digits), made where it is not kept, for as long as the block lasts.

        `make` answers a file that nobody writes to any more.

        Raises:
            Cancelled: `cancelled` became true while another thread made the file.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sweep()
        with TemporaryDirectory(prefix="use-", dir=self._folder) as use:
            path = Path(use) / "recording"
            with self._turn(key, cancelled):
                if not self._found(key, path):
                    _link(make(), path)
                    self._keep(key, path)
            self._sweep_later()
            yield path

    def sweep(self) -> None:
        """Drop what was not used for long, then the least recently used until the rest is small enough."""
        now, total = time.time(), 0
        for used, size, path in sorted(self._listed(), reverse=True):
            total += size
            if now - used > self._seconds or total > self._max_bytes:
                path.unlink(missing_ok=True)
        for use in self._folder.glob("use-*"):
            with suppress(OSError):
                if now - use.stat().st_mtime > LEFT_SECONDS:
                    shutil.rmtree(use)

    def _sweep_later(self) -> None:
        """Have what is kept dropped in time, even if nobody ever asks again."""
        with self._timer_lock:
            if self._timer is None or not self._timer.is_alive():
                self._timer = threading.Timer(self._seconds, self._sweep_in_time)
                self._timer.daemon = True
                self._timer.start()

    def _sweep_in_time(self) -> None:
        with self._timer_lock:
            self._timer = None
        with suppress(OSError):
            self.sweep()
            if any(self._listed()):
                self._sweep_later()

    def _listed(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._folder.glob("*"):
            with suppress(OSError):  # another process has dropped it
                if _KEY.fullmatch(path.name):
                    status = path.stat()
                    yield status.st_mtime, status.st_size, path

    def _found(self, key: str, path: Path) -> bool:
        try:
            _link(self._folder / key, path)
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _keep(self, key: str, path: Path) -> None:
        new = path.with_name(uuid.uuid4().hex)
        _link(path, new)
        os.utime(new)
        new.replace(self._folder / key)
        self.sweep()

    @contextmanager
    def _turn(self, key: str, cancelled: Callable[[], bool]) -> Iterator[None]:
        turn = self._turns[int(key[0], 16)]
        while not turn.acquire(timeout=_POLL_SECONDS):
            if cancelled():
                raise Cancelled("the caller went away while the recording was fetched for another")
        try:
            yield
        finally:
            turn.release()


def _link(source: Path, target: Path) -> None:
    """A second name of a file; a copy where the file system, or two of them, cannot have that."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
