"""Why work failed for good: kept for the status of its project, and written into the task's own meta."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from diarist.errors import LabelStudioError
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Store

META_KEY = "diarist"  # of a task's meta; the rest of it is other people's


class Failures:
    """Reasons by project, and in it by task, or by the kind of work where it was about no task."""

    def __init__(self, settings: ProxySettings, store: Store, client: LabelStudioClient) -> None:
        self._on_tasks = settings.errors_on_tasks
        self._store = store
        self._client = client

    def keep(self, project: int, about: int | str, message: str) -> None:
        """Keep why, and write it on the task; where Label Studio cannot take it, the status says it still."""
        self._store.set(_scope(project), str(about), message)
        if isinstance(about, int) and self._on_tasks:
            self._write(project, about, message)

    def clear(self, project: int, about: int | str) -> None:
        """It has been done since."""
        if self._store.get(_scope(project), str(about)) is None:
            return
        if isinstance(about, int) and self._on_tasks:
            self._write(project, about, None)
        self._store.delete(_scope(project), str(about))

    def forget(self, project: int, tasks: Sequence[int]) -> None:
        """Drop what is kept about tasks that are gone."""
        kept = self._store.items(_scope(project)) if tasks else {}
        for about in {str(task) for task in tasks} & kept.keys():
            self._store.delete(_scope(project), about)

    def of(self, project: int) -> list[dict[str, Any]]:
        """What failed and has not been done since: `task`, None where it was about no task, and `error`."""
        found = [_shown(about, message) for about, message in self._store.items(_scope(project)).items()]
        return sorted(found, key=lambda item: item["task"] or 0)

    def _write(self, project: int, task: int, message: str | None) -> None:
        """Write into the meta as it is now: others may have changed it since the job was queued."""
        with suppress(LabelStudioError):
            before = self._client.task(project, task).get("meta") or {}
            after = {key: value for key, value in before.items() if key != META_KEY}
            if message is not None:
                after[META_KEY] = {"error": message}
            if after != before:
                self._client.update_task(task, meta=after)


def _shown(about: str, message: str) -> dict[str, Any]:
    if about.isdecimal():
        return {"task": int(about), "error": message}
    return {"task": None, "error": f"{about}: {message}"}


def _scope(project: int) -> str:
    return f"failed:{project}"
