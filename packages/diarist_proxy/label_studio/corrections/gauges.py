"""What people made of the predictions, as gauges at `/metrics`: a value for each project and model version."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from diarist_proxy.label_studio.corrections.measured import Measured
from diarist_proxy.label_studio.corrections.report import UNKNOWN
from diarist_proxy.metrics import Metrics
from diarist_proxy.store import Correction

_FRESH_SECONDS = 1.0  # all gauges of one scrape are made of one reading

_GAUGES: Mapping[str, tuple[str, Callable[[Measured], float | None]]] = {
    "diarist_corrected_recordings": ("annotations that were compared with predictions", lambda sums: sums.recordings),
    "diarist_corrections_cpwer": (
        "word errors for each corrected word, speakers matched as suits best",
        lambda sums: sums.cpwer,
    ),
    "diarist_corrections_der": ("missed, false and confused seconds for each second of speech", lambda sums: sums.der),
    "diarist_corrections_changed_region_share": (
        "share of regions that people changed",
        lambda sums: sums.changed_share,
    ),
    "diarist_corrections_seconds_per_audio_minute": (
        "seconds that people worked for each minute of audio",
        lambda sums: sums.seconds_per_audio_minute,
    ),
}


def add(metrics: Metrics, corrections: Callable[[], Iterable[Correction]]) -> None:
    """Show what corrections say; `corrections` reads those kept, each time somebody asks."""
    sums = _Sums(corrections)
    for name, (description, rate) in _GAUGES.items():
        metrics.gauge(name, description, ("project", "model_version"), _reader(sums, rate))


class _Sums:
    """The sums of each project and model version."""

    def __init__(self, corrections: Callable[[], Iterable[Correction]]) -> None:
        self._corrections = corrections
        self._lock = threading.Lock()
        self._read_at = -_FRESH_SECONDS
        self._sums: dict[tuple[int, str], Measured] = {}

    def __call__(self) -> Mapping[tuple[int, str], Measured]:
        with self._lock:
            if time.monotonic() - self._read_at >= _FRESH_SECONDS:
                self._sums = _summed(self._corrections())
                self._read_at = time.monotonic()
            return self._sums


def _summed(corrections: Iterable[Correction]) -> dict[tuple[int, str], Measured]:
    sums: dict[tuple[int, str], Measured] = {}
    for each in corrections:
        key = each.project, each.model_version or UNKNOWN
        sums[key] = sums.get(key, Measured.zero) + Measured.from_json(each.measured)
    return sums


def _reader(
    sums: _Sums, rate: Callable[[Measured], float | None]
) -> Callable[[], Iterator[tuple[Mapping[str, str], float]]]:
    def read() -> Iterator[tuple[Mapping[str, str], float]]:
        for (project, version), measured in sorted(sums().items()):
            if (value := rate(measured)) is not None:
                yield {"project": str(project), "model_version": version}, float(value)

    return read
