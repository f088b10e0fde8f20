"""Seconds to and from the clock of subtitles, to the nearest millisecond."""

from __future__ import annotations

import re

_CLOCK = re.compile(r"(?:(\d+):)?([0-5]\d):([0-5]\d)[.,](\d{3})")


def milliseconds(seconds: float) -> int:
    """The nearest whole millisecond; a time before the recording's start is its start.

    >>> milliseconds(1.001), milliseconds(59.9996), milliseconds(-0.2)
    (1001, 60000, 0)
    """
    return max(0, round(seconds * 1000))


def clock(seconds: float, separator: str) -> str:
    """Hours, minutes, seconds and milliseconds; rounded once, before it is divided, so no time is ever `60.000`.

    >>> clock(1.001, ","), clock(59.9996, "."), clock(360_000.5, ".")
    ('00:00:01,001', '00:01:00.000', '100:00:00.500')
    """
    total, ms = divmod(milliseconds(seconds), 1000)
    minutes, s = divmod(total, 60)
    h, m = divmod(minutes, 60)
    return f"{h:02}:{m:02}:{s:02}{separator}{ms:03}"


def seconds(text: str) -> float:
    """Read a clock back, with `,` or `.` before the milliseconds and with or without hours.

    >>> seconds("00:01:00.500"), seconds("59:59,999")
    (60.5, 3599.999)

    Raises:
        ValueError: the text is not such a time.
    """
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 00:01:02.345")
    h, m, s, ms = (int(part or 0) for part in match.groups())
    return (((h * 60 + m) * 60 + s) * 1000 + ms) / 1000
