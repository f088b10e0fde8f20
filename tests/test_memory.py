"""What is freed goes back to the operating system."""

from __future__ import annotations

import platform

import numpy as np
import psutil
import pytest

from diarist import memory


def occupied() -> int:
    """Bytes of this process in memory or swapped out: a machine short of memory must not seem to give any back."""
    found = psutil.Process().memory_full_info()
    return int(found.rss + found.swap)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is freed until it is told")
def test_freed_memory_below_what_is_still_held_is_given_back() -> None:
    blocks = [np.ones(8000) for _ in range(1500)]  # 64 kB each: from the heap, not mapped one by one
    last = blocks[-1]  # the heap cannot shrink below it
    held = occupied()
    del blocks
    memory.give_back()
    assert held - occupied() > 60_000_000
    assert last.sum() == 8000


def test_a_c_library_without_it_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_malloc_trim", lambda: None)
    memory.give_back()
