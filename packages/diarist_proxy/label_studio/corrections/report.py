"""What people did with the predictions, by model version: a table for people, and the same as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table

from diarist_proxy.label_studio.corrections.measured import Measured

UNKNOWN = "unknown"  # stands for the version of predictions that have none

_SECONDS_PER_HOUR = 3600
_HOW = (
    "cpWER: word errors for each word of the corrections, speakers matched as suits best, after the normalizers {}. "
    "DER: missed, false and confused speech for each second of speech, collar 0, overlap scored. "
    "Changed: share of all regions that people changed, deleted or added. "
    "Work: seconds that people worked for each minute of audio."
)


def by_version(counted: Iterable[tuple[str | None, Measured]]) -> dict[str, Measured]:
    """The sums of each model version, sorted by name.

    >>> by_version([("b", Measured(recordings=1)), (None, Measured()), ("b", Measured(recordings=2))])["b"].recordings
    3
    """
    sums: dict[str, Measured] = {}
    for version, measured in counted:
        sums[version or UNKNOWN] = sums.get(version or UNKNOWN, Measured.zero) + measured
    return dict(sorted(sums.items()))


def to_json(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """The rates and the counts that they follow from, by model version, and over all versions under `total`."""
    return {
        "versions": {version: _rates(counts) | counts.to_json() for version, counts in measured.items()},
        "total": _rates(_total(measured)) | _total(measured).to_json(),
    }


def table(measured: Mapping[str, Measured]) -> Table:
    """The report for a terminal: a line a model version, and one for all where there are several."""
    how = _HOW.format(", ".join(_total(measured).normalizers) or "(no words yet)")
    drawn = Table(box=box.SIMPLE_HEAD, caption=how, caption_justify="left")  # without lines it fits 80 columns
    drawn.add_column("model version", overflow="fold")
    for heading in ("recordings", "hours", "cpWER", "DER", "changed", "work"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for version, counts in measured.items():
        drawn.add_row(version, *_cells(counts))
    if len(measured) > 1:
        drawn.add_section()
        drawn.add_row("all", *_cells(_total(measured)))
    return drawn


def _total(measured: Mapping[str, Measured]) -> Measured:
    return sum(measured.values(), start=Measured.zero)


def _rates(counts: Measured) -> dict[str, float | None]:
    return {
        "cpwer": counts.cpwer,
        "der": counts.der,
        "changed_share": counts.changed_share,
        "seconds_per_audio_minute": counts.seconds_per_audio_minute,
    }


def _cells(counts: Measured) -> tuple[str, ...]:
    work = counts.seconds_per_audio_minute
    return (
        str(counts.recordings),
        f"{counts.audio_seconds / _SECONDS_PER_HOUR:.2f}",
        *map(_percent, (counts.cpwer, counts.der, counts.changed_share)),
        "-" if work is None else f"{work:.0f} s/min",
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
