"""Work in pieces: side by side on the cores, or in batches that shrink when an accelerator runs out of memory."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from diarist.types import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_THREADS = 8  # pieces of work at once, however many cores there are: each takes memory of its own

logger = logging.getLogger(__name__)


def in_threads(
    items: Sequence[Item], run: Callable[[Item], Result], *, threads: int, progress: Progress
) -> list[Result]:
    """Run over items in several threads, `MAX_THREADS` at most, and return the results in the order of the items.

    Networks let go of Python's lock, and two calls of one thread each keep two cores busier than one call of two
    threads: see docs/adr/0013. `progress` counts items and is called in the caller's thread. When it or an item
    raises, what has not begun is dropped, what runs is waited for, and the error is passed on.
    """
    results: list[Result] = []
    pool = ThreadPoolExecutor(min(threads, MAX_THREADS))
    try:
        for result in pool.map(run, items):
            results.append(result)
            progress(len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def in_batches(
    items: Sequence[Item], run: Callable[[Sequence[Item]], Result], *, batch_size: int
) -> Iterator[tuple[Sequence[Item], Result]]:
    """Run over batches of items in order, and yield each batch with its result.

    A batch that does not fit in memory is tried again at half its size, and the rest keeps that size. When not
    even one item fits, the library's own error is raised.
    """
    start = 0
    while start < len(items):
        batch = items[start : start + batch_size]
        try:
            result = run(batch)
        except (RuntimeError, MemoryError) as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
            batch_size = len(batch) // 2
            logger.warning("out of memory with a batch of %d: trying %d", len(batch), batch_size)
        else:
            yield batch, result
            start += len(batch)
            continue
        _free_cached_memory()  # outside of the handler: its traceback holds the tensors


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library says that memory ran out.

    torch raises `OutOfMemoryError` ("CUDA out of memory…"), CTranslate2 a plain `RuntimeError` ("CUDA failed with
    error out of memory"), both libraries one that names `CUBLAS_STATUS_ALLOC_FAILED` where the allocation was cuBLAS's
    own, and pyannote.audio a `MemoryError` in place of torch's.

    >>> is_out_of_memory(RuntimeError("CUDA failed with error out of memory")), is_out_of_memory(RuntimeError("shape"))
    (True, False)
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "alloc_failed" in text


def _free_cached_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
