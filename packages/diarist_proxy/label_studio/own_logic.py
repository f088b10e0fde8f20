"""What a team's own class is made of: `Backend`, which it subclasses, and what the proxy lends to it.

It is written as label-studio-ml users write it (https://labelstud.io/guide/ml_create): `predict(tasks, context)`
answers predictions, `fit(event, data)` learns from what people did, `get` and `set` keep values for the project, and
`setup` runs before each use. It is called in a job, with one task, or, with a `context`, while somebody waits for a
drawn region.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from diarist.errors import BadRequest, ModelFailed
from diarist_proxy.endpoint import Call, Endpoint
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.label_studio.projects import Projects
from diarist_proxy.label_studio.recordings import Recordings
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Store

Task = Mapping[str, Any]  # as Label Studio sends it: id, data, meta, project, …


@dataclass(frozen=True, slots=True)
class Services:
    """What the proxy lends to a backend: its connections, and where it keeps things."""

    settings: ProxySettings
    store: Store
    projects: Projects
    client: LabelStudioClient
    recordings: Recordings
    endpoint: Endpoint


class Backend:
    """A team's own logic for one project; subclass it, or `DiaristBackend`, which does everything already."""

    def __init__(self, project_id: int, services: Services, call: Call, borrowed: ExitStack) -> None:
        """Made by the proxy for each use; `borrowed` gives back files when the use is over."""
        self.project_id = project_id
        self.services = services
        self.call = call
        self._borrowed = borrowed
        self.setup()

    def setup(self) -> None:
        """Prepare; for example `self.set("model_version", "mine-2")`."""

    def predict(self, tasks: Sequence[Task], context: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:  # noqa: ANN401
        """One prediction a task, in their order: dicts with `result`, and, where wanted, `score` and `model_version`.

        `context` is given while somebody waits for a drawn region: `{"result": [the regions drawn]}`.
        """
        raise NotImplementedError

    def fit(self, event: str, data: Mapping[str, Any], **kwargs: Any) -> str | None:  # noqa: ANN401
        """Learn from an event: ANNOTATION_CREATED, ANNOTATION_UPDATED or START_TRAINING; answers a note for the log."""

    def check(self) -> None:
        """Refuse a labeling config that cannot work, when a project is connected: raise `ConfigUnusable`."""

    @property
    def keys_of_its_own(self) -> frozenset[str]:
        """The keys of a task's data that predicting itself changes."""
        return frozenset()

    def get(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON was kept
        """A value that was kept for this project, or None."""
        return self.services.store.get(self._scope, key)

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401
        """Keep a JSON value for this project, in the queue's own store."""
        self.services.store.set(self._scope, key, value)

    def has(self, key: str) -> bool:
        """Whether a value is kept."""
        return self.get(key) is not None

    @property
    def label_config(self) -> str:
        """The project's labeling config, XML."""
        return self.services.projects.config(self.project_id).label_config

    @property
    def extra_params(self) -> Any:  # noqa: ANN401
        """What the backend's extra parameters say in Label Studio, an object where they are JSON."""
        given = self.services.projects.config(self.project_id).extra_params
        try:
            return json.loads(given) if isinstance(given, str) else given
        except json.JSONDecodeError:
            return given

    @cached_property
    def label_interface(self) -> Any:  # noqa: ANN401 - label-studio-sdk's LabelInterface
        """The labeling config, parsed by label-studio-sdk."""
        from label_studio_sdk.label_interface import LabelInterface  # noqa: PLC0415 - its import takes a second

        return LabelInterface(self.label_config)

    @property
    def parsed_label_config(self) -> Mapping[str, Any]:
        """The controls of the labeling config by name, as Label Studio's own API shows them."""
        from label_studio_sdk._extensions.label_studio_tools.core.label_config import parse_config  # noqa: PLC0415

        return dict(parse_config(self.label_config))

    @property
    def model_version(self) -> str:
        """The version of the project's predictions: `self.set("model_version", …)`, or what the model says."""
        kept = self.get("model_version")
        return str(kept) if kept else self.services.projects.version(self.project_id)

    def get_local_path(self, url: str, task_id: int) -> Path:
        """The recording that a task's value names, as a file, for as long as this use lasts."""
        opened = self.services.recordings.local(
            url, task=task_id, project=self.project_id, cancelled=self.call.cancelled
        )
        return self._borrowed.enter_context(opened)

    @property
    def _scope(self) -> str:
        kind = type(self)  # another class has another model_version, and may mean other things by the same keys
        return f"backend:{kind.__module__}.{kind.__qualname__}:{self.project_id}"


def load_class(name: str) -> type[Backend]:
    """The backend class that `module:Class` names; a module may lie in the working directory, as uvicorn's may.

    Raises:
        BadRequest: it cannot be imported, or is no `Backend`.
    """
    module, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadRequest(f"DIARIST_BACKEND={name}: module:Class is needed, and it cannot be loaded: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BadRequest(f"DIARIST_BACKEND={name} is no subclass of diarist_proxy.label_studio.backend.Backend")
    return found


def predictions_from(returned: Any, num_tasks: int) -> list[dict[str, Any]]:  # noqa: ANN401 - a team's own answer
    """What a backend answered, in one shape: label-studio-ml users answer lists of dicts, objects, or a ModelResponse.

    Raises:
        ModelFailed: it is none of those, or not one a task.
    """
    listed = getattr(returned, "predictions", returned)
    items = (
        [_plain(item) for item in listed] if isinstance(listed, Iterable) and not isinstance(listed, Mapping) else []
    )
    if len(items) != num_tasks or not all(isinstance(item.get("result"), list) for item in items):
        raise ModelFailed(
            f"the backend answered {len(items)} predictions for {num_tasks} tasks: a list with a dict a task is "
            'needed, each with a list under "result"'
        )
    return items


def _plain(item: Any) -> dict[str, Any]:  # noqa: ANN401
    if isinstance(item, list) and len(item) == 1:  # one prediction a task, in a list of its own
        item = item[0]
    if hasattr(item, "model_dump"):
        item = item.model_dump()
    return dict(item) if isinstance(item, Mapping) else {}
