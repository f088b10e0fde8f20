"""Waiting for servers that are only just starting, as they are where a script starts them and goes on at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from diarist.errors import DiaristError

POLL_SECONDS = 1.0

_T = TypeVar("_T")


class Patience:
    """So many seconds for everything that has to answer, together."""

    def __init__(self, seconds: float = 0, say: Callable[[str], None] = lambda _: None) -> None:
        """`say` gets a line when something is waited for."""
        self._until = time.monotonic() + seconds
        self._say = say

    def until(self, what: str, attempt: Callable[[], _T], passing: type[DiaristError]) -> _T:
        """What `attempt` answers at last; it is made again while it fails with the error that may pass.

        Raises:
            DiaristError: the error that may pass, when the seconds are over; any other at once.
        """
        told = False
        while True:
            try:
                return attempt()
            except passing:
                left = self._until - time.monotonic()
                if left <= 0:
                    raise
                if not told:
                    self._say(f"waiting for {what}, {left:.0f} s at most")
                    told = True
            time.sleep(min(POLL_SECONDS, left))
