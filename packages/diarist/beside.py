"""Work that goes on in a thread beside other work, on other hardware, until its result is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from diarist.errors import Cancelled
from diarist.types import Progress

Result = TypeVar("Result")

POLL_SECONDS = 0.1  # how often whoever waits is told how far the work has come


@contextmanager
def beside(work: Callable[[Progress], Result]) -> Iterator[Callable[[Progress], Result]]:
    """Begin work in a thread; what is yielded waits for its result, and passes its progress on meanwhile.

    The waiting raises what the work raised, or what `progress` raises. However the block is left, work that is not
    done is stopped: its own `progress` raises `Cancelled`. It has ended when the block has.
    """
    unwanted = threading.Event()
    reached = [(0.0, 1.0)]

    def note(completed: float, total: float) -> None:
        if unwanted.is_set():
            raise Cancelled("the work beside this was given up")
        reached[0] = completed, total

    with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
        future = pool.submit(work, note)

        def result(progress: Progress) -> Result:
            while not wait([future], timeout=POLL_SECONDS).done:
                progress(*reached[0])
            return future.result()

        try:
            yield result
        finally:
            unwanted.set()
