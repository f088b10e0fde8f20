"""What a command shows: results go to standard output, everything else to standard error.

Progress is drawn only where standard error is a terminal; in a pipe or a log there are lines alone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from diarist.pipeline import Observer, nobody
from diarist.types import Progress as Report
from diarist.types import unobserved

_DOING = {
    "decode": "reading",
    "load": "loading models",
    "segment": "finding speech",
    "transcribe": "transcribing",
    "align": "timing words",
    "retry": "listening again to what was missed",
    "diarize": "telling speakers apart",
    "assign": "joining words and speakers",
}


class Terminal:
    """The user's side of a command.

    Attributes:
        failed: how many errors were shown.
        quiet: show errors and results only.
    """

    def __init__(self) -> None:
        self.failed = 0
        self.quiet = False

    @property
    def _draws(self) -> bool:
        return not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def result(self, text: str) -> None:
        """Print what the command is for."""
        print(text, flush=True)  # noqa: T201 - standard output is what results are for

    def say(self, text: str) -> None:
        """Print a line beside the result, unless the user asked for quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def error(self, what: str, problem: object) -> None:
        """Print one line about what failed, and count it."""
        self.failed += 1
        print(f"{what}: {' '.join(str(problem).split())}", file=sys.stderr, flush=True)  # noqa: T201

    @contextmanager
    def watching(self, what: str) -> Iterator[Observer]:
        """An observer that draws a bar while the work on `what` goes through its stages; it is gone afterwards."""
        if not self._draws:
            yield nobody
            return
        with _bar() as (bar, task):

            def observer(stage: str, completed: float, total: float) -> None:
                doing = f"{what}: {_DOING.get(stage, stage)}"
                bar.update(task, description=doing, completed=completed, total=total or None)

            yield observer

    @contextmanager
    def downloading(self, what: str) -> Iterator[Report]:
        """The same for a download, in bytes; without a terminal, one line when it begins."""
        if not self._draws:
            self.say(f"fetching {what}")
            yield unobserved
            return
        with _bar() as (bar, task):

            def report(completed: float, total: float) -> None:
                bar.update(task, description=f"fetching {what}", completed=completed, total=total or None)

            yield report


class CtrlC:
    """Ctrl-C, which raises KeyboardInterrupt as ever, but for where that would be lost.

    PyAV drops an exception that falls into one of its read callbacks, and prints it.

    Attributes:
        pressed: whether it was.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._held = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen while this lasts; not where the parent process said to ignore Ctrl-C, as nohup does."""
        before = signal.getsignal(signal.SIGINT)
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raise it at the end of this, or when it is pressed again."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()

    def check(self) -> None:
        """Raise it where it was pressed."""
        if self.pressed:
            raise KeyboardInterrupt

    def _press(self, _: int, __: object) -> None:
        again, self.pressed = self.pressed, True
        if again or not self._held:
            raise KeyboardInterrupt


@contextmanager
def _bar() -> Iterator[tuple[Progress, TaskID]]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    # rich would also send standard output to its console: to standard error, past a pipe or a file.
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False)
    with bar:
        yield bar, bar.add_task("", total=None)
