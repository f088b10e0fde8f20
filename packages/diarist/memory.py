"""Memory that requests have freed, given back to the operating system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Let the C library return what was freed: glibc's `malloc_trim`; elsewhere nothing happens.

    Each thread allocates from an arena of its own, whose freed pages glibc keeps: a server whose requests differ in
    length would slowly grow to the sum of the most that each arena ever held. Takes some milliseconds.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any | None:  # noqa: ANN401 - a function of the C library
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows has no handle of itself
        return None
