from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from diarist import batching
from diarist.batching import MAX_THREADS, in_batches, in_threads
from diarist.errors import Cancelled
from diarist.types import unobserved

PATIENCE = 120  # seconds after which a thread that is waited for counts as stuck


def fake_accelerator(limit: int, error: Exception) -> tuple[list[int], Callable[[Sequence[int]], int]]:
    """Memory for `limit` items at once; there is no such device where the tests run."""
    tried: list[int] = []

    def run(batch: Sequence[int]) -> int:
        tried.append(len(batch))
        if len(batch) > limit:
            raise error
        return sum(batch)

    return tried, run


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
        MemoryError("batch_size ( 32) is probably too large."),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(error: Exception) -> None:
    tried, run = fake_accelerator(2, error)
    answers = list(in_batches(range(11), run, batch_size=8))
    assert tried[:3] == [8, 4, 2]
    assert [item for batch, _ in answers for item in batch] == list(range(11))
    assert all(answer == sum(batch) for batch, answer in answers)


def test_the_smaller_size_is_kept_for_the_rest_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    tried, run = fake_accelerator(3, MemoryError())
    with caplog.at_level(logging.WARNING):
        list(in_batches(range(9), run, batch_size=4))
    assert tried == [4, 2, 2, 2, 2, 1]
    assert "batch of 4: trying 2" in caplog.text


def test_when_one_item_does_not_fit_the_error_is_passed_on() -> None:
    tried, run = fake_accelerator(0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(range(4), run, batch_size=4))
    assert tried == [4, 2, 1]


def test_any_other_error_is_not_tried_again() -> None:
    tried, run = fake_accelerator(1, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        list(in_batches(range(4), run, batch_size=4))
    assert tried == [4]


def test_nothing_gives_no_batch() -> None:
    assert list(in_batches([], len, batch_size=4)) == []


def test_threads_answer_in_the_order_of_the_items_and_run_side_by_side() -> None:
    together = threading.Barrier(2, timeout=PATIENCE)  # breaks unless two items run at once

    def run(item: int) -> int:
        together.wait()
        return -item

    told: list[tuple[float, float]] = []
    assert in_threads([1, 2, 3, 4], run, threads=2, progress=lambda *far: told.append(far)) == [-1, -2, -3, -4]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once the work that has not begun is dropped, and before what runs is waited for."""
    event = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            event.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr(batching, "ThreadPoolExecutor", Pool)
    return event


def test_many_cores_do_not_take_more_memory_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, max_workers: int) -> None:
            sizes.append(max_workers)
            super().__init__(max_workers)

    monkeypatch.setattr(batching, "ThreadPoolExecutor", Pool)
    for threads in (2, 64):
        assert in_threads([1, 2], str, threads=threads, progress=unobserved) == ["1", "2"]
    assert sizes == [2, MAX_THREADS]


def test_progress_that_cancels_ends_the_work(dropped: threading.Event) -> None:
    begun: list[int] = []

    def run(item: int) -> None:
        begun.append(item)
        assert item == 0 or dropped.wait(PATIENCE)

    def cancel(completed: float, total: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        in_threads(range(100), run, threads=2, progress=cancel)
    assert len(begun) <= 3  # the first, and one in each thread


def test_an_item_that_fails_passes_its_error_on_and_drops_the_rest(dropped: threading.Event) -> None:
    begun: list[int] = []

    def run(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise ValueError("item 1")
        assert item == 0 or dropped.wait(PATIENCE)

    with pytest.raises(ValueError, match="item 1"):
        in_threads(range(100), run, threads=1, progress=unobserved)
    assert len(begun) <= 3
