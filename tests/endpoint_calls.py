"""The caller's side of a transcription in the tests: what was reported, and what a job would remember."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diarist_proxy.endpoint import Endpoint, Recording


@dataclass
class KeptCall:
    """A `Call` that keeps all it is told."""

    reported: list[tuple[str, float, float]] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    gone: threading.Event = field(default_factory=threading.Event)
    on_report: Callable[[str], None] = lambda _stage: None

    def report(self, stage: str, completed: float, total: float) -> None:
        self.reported.append((stage, completed, total))
        self.on_report(stage)

    def cancelled(self) -> bool:
        return self.gone.is_set()

    def recall(self, key: str) -> str | None:
        return self.kept.get(key)

    def remember(self, key: str, value: str) -> None:
        self.kept[key] = value

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(stage for stage, _, _ in self.reported))


@dataclass
class Asked:
    """A transcription in a thread of its own."""

    endpoint: Endpoint
    recording: Recording
    call: KeptCall = field(default_factory=KeptCall)
    options: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.answer = self.endpoint.transcribe(self.recording, self.options, self.call)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def ended(self, within: float = 120) -> bool:
        self._thread.join(within)
        return not self._thread.is_alive()


def text_of(answer: Mapping[str, Any]) -> str:
    return " ".join(segment["text"].strip() for segment in answer["model_output"]).lower()
