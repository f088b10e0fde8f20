"""What the proxy knows of each project: its labeling config, its parameters, its version, what people taught it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from diarist_proxy.endpoint import Endpoint
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.label_studio.corrections.hints import Hints
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Store

UNHEARD = "diarist"  # the version before the model's first word
VERSIONS_KEPT = 50
FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ProjectConfig:
    """A project as Label Studio last described it."""

    label_config: str
    extra_params: Any = None  # an object, or the text of the model's form


class Projects:
    """Projects by their id; what they hold is kept in the store, and read again after each change."""

    def __init__(self, settings: ProxySettings, store: Store, client: LabelStudioClient, endpoint: Endpoint) -> None:
        self._settings = settings
        self._store = store
        self._client = client
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._heard: str | None = None
        self._read: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def config(self, project: int) -> ProjectConfig:
        """The labeling config and parameters; asked from Label Studio where it has not said them yet."""
        kept = self._kept(project).get("config")
        if kept is None:
            return self.describe(project, self._client.project(project).label_config)
        return ProjectConfig(**kept)

    def describe(self, project: int, label_config: str, **given: Any) -> ProjectConfig:  # noqa: ANN401 - extra_params
        """Keep what Label Studio says of a project; what it does not say stays as it was."""
        kept = self._kept(project).get("config")
        config = ProjectConfig(**{**(kept or {}), "label_config": label_config, **given})
        if asdict(config) != kept:
            self._keep(project, "config", asdict(config))
        return config

    def heard_from(self, model_version: str) -> None:
        """Keep the version that the model gave itself in an answer."""
        with self._lock:
            if model_version and model_version != self._heard:
                self._heard = model_version
                self._store.set("service", "model_version", model_version)

    def version(self, project: int) -> str:
        """The version of a project's predictions.

        It names the model, so that predictions of another one are made anew; and, where people taught the project
        words, their digest, so that what they brought can be told apart.
        """
        model = self._settings.model_version or self._model_version()
        learned = self.hints(project)
        return f"{model}+words-{learned['digest']}" if learned else model

    def _model_version(self) -> str:
        heard = self._endpoint.model_version() or self._store.get("service", "model_version")
        return str(heard) if heard else UNHEARD

    def hints(self, project: int) -> Mapping[str, Any] | None:
        """The words to expect that were learned for a project: hotwords, initial_prompt, digest."""
        kept: Mapping[str, Any] | None = self._kept(project).get("hints")
        return kept

    def renames(self, project: int) -> Mapping[str, str]:
        """The labels that people gave to the model's speakers before."""
        return (self._kept(project).get("renames") or {}) if self._settings.remember_renames else {}

    def learn(self, project: int, learned: Hints, renames: Mapping[str, str]) -> None:
        """Keep what was learned from a project's corrections, in place of what was learned before."""
        worth = bool(learned.hotwords or learned.initial_prompt)
        self._keep(project, "hints", asdict(learned) if worth else None)
        self._keep(project, "renames", dict(renames))

    def versions(self) -> list[str]:
        """The versions that predictions have had, the newest first; Label Studio asks for no project's."""
        current = self._settings.model_version or self._model_version()
        return list(dict.fromkeys([*self._past_versions(), current]))

    def used(self, version: str) -> None:
        """Keep that there are predictions of a version."""
        past = self._past_versions()
        if past[:1] != [version]:
            self._store.set("service", "versions", [version, *(old for old in past if old != version)][:VERSIONS_KEPT])

    def _past_versions(self) -> list[str]:
        return list(self._store.get("service", "versions") or [])

    def _kept(self, project: int) -> Mapping[str, Any]:
        """All that is kept for a project, at most `FRESH_SECONDS` old: another process may have changed it."""
        read_at, values = self._read.get(scope := f"project:{project}", (-math.inf, {}))
        if time.monotonic() - read_at > FRESH_SECONDS:
            values = self._store.items(scope)
            self._read[scope] = (time.monotonic(), values)
        return values

    def _keep(self, project: int, key: str, value: object) -> None:
        self._store.set(f"project:{project}", key, value)
        self._read.pop(f"project:{project}", None)
