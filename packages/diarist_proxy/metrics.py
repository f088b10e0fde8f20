"""What operators watch, at `/metrics`, in Prometheus's text format.

Several worker processes share their counters through files, where `PROMETHEUS_MULTIPROC_DIR` is set before this
module is imported: `diarist serve` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from diarist.errors import DiaristError, EndpointError, LabelStudioError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)

Samples = Iterable[tuple[Mapping[str, str], float]]  # labels, and their value


class Metrics:
    """The counters of this process, and gauges that are read when somebody asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._stages = Histogram(
            "diarist_stage_seconds",
            "seconds that a job's stage took",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._ended = Counter("diarist_jobs_ended", "jobs that ended", ["kind", "state"], registry=self._registry)
        self._errors = Counter(
            "diarist_errors", "attempts that failed, by who must act", ["at", "error"], registry=self._registry
        )
        self._gauges = _Gauges()

    def stage(self, stage: str, seconds: float) -> None:
        """A job has left a stage."""
        self._stages.labels(stage).observe(seconds)

    def ended(self, kind: str, state: str) -> None:
        """A job has ended."""
        self._ended.labels(kind, state).inc()

    def failed(self, error: DiaristError) -> None:
        """An attempt has failed."""
        at = "endpoint" if isinstance(error, EndpointError) else "job"
        at = "label_studio" if isinstance(error, LabelStudioError) else at
        self._errors.labels(at, type(error).__name__).inc()

    def gauge(self, name: str, description: str, labels: Iterable[str], read: Callable[[], Samples]) -> None:
        """Show what a function reads each time somebody asks; it is called in a thread, and may use the database."""
        self._gauges.add(name, description, tuple(labels), read)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # prometheus-client leaves it untyped
        gauges = CollectorRegistry()
        gauges.register(self._gauges)
        return generate_latest(registry) + generate_latest(gauges)


class _Gauges(Collector):
    """Gauges that are read when they are asked for."""

    def __init__(self) -> None:
        self._read: list[tuple[str, str, tuple[str, ...], Callable[[], Samples]]] = []

    def add(self, name: str, description: str, labels: tuple[str, ...], read: Callable[[], Samples]) -> None:
        self._read.append((name, description, labels, read))

    def collect(self) -> Iterator[Metric]:
        """One family a gauge."""
        for name, description, labels, read in self._read:
            family = GaugeMetricFamily(name, description, labels=labels)
            for values, value in read():
                family.add_metric([str(values[label]) for label in labels], value)
            yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that nothing is read when it is registered."""
        return iter(())
