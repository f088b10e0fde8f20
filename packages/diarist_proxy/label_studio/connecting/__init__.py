"""Puts a project right: its labeling config, the connection to this proxy, the webhook, what annotators see.

Everything is looked at before it is changed, so that setting up twice changes nothing the second time. Label Studio
1.23 has traps here, all of them met:

- Backend and webhook are checked against reserved addresses apart from each other, and a backend whose webhook is
  refused stays connected without one: predictions then come on retrieval only. So the webhook is made first.
- A webhook's URL needs a host with a dot in it, an address or localhost; a backend's does not.
- Label Studio sends a backend's user and password to the backend, and not with the webhook, which has headers.
- Annotators see predictions only where the project's `model_version` is the backend's title, or a prediction's
  version. The data manager's column of scores, and the order that brings doubtful tasks first, want the version. So
  the backend is called what its predictions' version is; `connecting.backend.follow_version` renames it later.
- Only the first backend of a project is asked for batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from diarist.errors import BadRequest, LabelStudioError, LabelStudioUnavailable
from diarist_proxy.label_studio import labeling
from diarist_proxy.label_studio.client import LabelStudioClient, Project
from diarist_proxy.label_studio.connecting.backend import authorization, backend_url, connection, shown
from diarist_proxy.label_studio.connecting.refusals import ProxyUnreachable, calls, explanation
from diarist_proxy.label_studio.connecting.waiting import Patience
from diarist_proxy.label_studio.labeling.templates import ConfigChoice, is_empty
from diarist_proxy.settings import ProxySettings

if TYPE_CHECKING:
    from label_studio_sdk.client import LabelStudio
    from label_studio_sdk.types.ml_backend import MlBackend
    from label_studio_sdk.types.webhook import Webhook

BACKEND_TITLE = "diarist"  # until it has said its version
DOUBTFUL_FIRST = "Uncertainty sampling"  # Label Studio's name for the lowest score first


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a project should be like.

    Attributes:
        project: the id of one that is there; None finds the one of the title, or creates it.
        title: of a new project.
        config: the labeling config of a new project, or of one that has none; None is the default one.
        replaces_config: whether it also replaces a config that is there.
        backend_url: this proxy, as Label Studio reaches it, without the secret of the path.
        interactive: whether drawn regions are to be sent to be heard again; False leaves it as it is.
        in_order: whether a new project gives people its tasks as they were imported, not the doubtful ones first.
        extra_params: options of the project, as in the form of the model's card; None leaves what is there.
    """

    backend_url: str
    title: str = "Recordings"
    project: int | None = None
    config: ConfigChoice | None = None
    replaces_config: bool = False
    interactive: bool = False
    in_order: bool = False
    extra_params: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a project is now.

    Attributes:
        project: as Label Studio shows it.
        model_version: of the predictions that it will get; None where Label Studio could not connect.
        done: what was looked at, with what was changed, a line each.
        advice: what a person may want to do.
    """

    project: Project
    model_version: str | None
    done: tuple[str, ...]
    advice: tuple[str, ...]


def set_up(
    client: LabelStudioClient, settings: ProxySettings, wanted: Wanted, patience: Patience | None = None
) -> Outcome:
    """Create or find the project, and put right what is wrong with it; wait for servers while there is patience.

    Raises:
        BadRequest: the project's config cannot work, or the URL cannot; says what to change.
        LabelStudioError: Label Studio refuses, or cannot reach the proxy; says what to do.
    """
    return _Setup(client, settings, wanted, patience or Patience()).run()


class _Setup:
    def __init__(self, client: LabelStudioClient, settings: ProxySettings, wanted: Wanted, patience: Patience) -> None:
        self._client = client
        self._settings = settings
        self._wanted = wanted
        self._patience = patience
        self._url = backend_url(wanted.backend_url, settings)
        self._config = (wanted.config or ConfigChoice()).xml
        self._done: list[str] = []
        self._advice: list[str] = []

    def run(self) -> Outcome:
        with calls(self._client.url), ExitStack() as undo:  # what was made is taken back where the rest fails
            sdk = self._client.sdk()
            project = self._project(sdk, undo)
            self._webhook(sdk, project.id, undo)
            backend = self._backend(sdk, project.id)
            self._visibility(sdk, project, backend)
            undo.pop_all()
        waiting = project.num_tasks - project.num_predictions
        if waiting > 0:
            self._advice.append(
                f"{waiting} tasks have no prediction: diarist label-studio backfill --project {project.id}"
            )
        return Outcome(project, backend.model_version or None, tuple(self._done), tuple(self._advice))

    # The project and its config.

    def _project(self, sdk: LabelStudio, undo: ExitStack) -> Project:
        found = self._patience.until(f"Label Studio at {self._client.url}", self._found, LabelStudioUnavailable)
        if found is not None:
            self._done.append(f"project {found.id} is there: {found.title}")
            return self._with_config(sdk, found)
        labeling.parse(self._config)
        order = {} if self._wanted.in_order else {"sampling": DOUBTFUL_FIRST}
        made = sdk.projects.create(title=self._wanted.title, label_config=self._config, **order)
        undo.callback(sdk.projects.delete, int(made.id))
        self._done.append(f"project {made.id} created: {self._wanted.title}")
        return self._client.project(int(made.id))

    def _found(self) -> Project | None:
        if self._wanted.project is not None:
            return self._client.project(self._wanted.project)
        found = [project for project in self._client.projects() if project.title == self._wanted.title]
        if len(found) > 1:
            ids = ", ".join(str(project.id) for project in found)
            raise BadRequest(
                f"{len(found)} projects are called {self._wanted.title!r}: say which with --project, {ids}"
            )
        return found[0] if found else None

    def _with_config(self, sdk: LabelStudio, project: Project) -> Project:
        is_other = project.label_config != self._config
        if is_other and (self._wanted.replaces_config or is_empty(project.label_config)):
            labeling.parse(self._config)
            sdk.projects.update(project.id, label_config=self._config)
            self._done.append("labeling config written")
            return self._client.project(project.id)
        if is_other and self._wanted.config is not None:
            self._advice.append(
                "the project keeps the labeling config that it has: --replace-config writes the other one"
            )
        has = labeling.parse(project.label_config)
        self._done.append(f"the labeling config works: {_described(has)}")
        if has.text_name and has.per_region and 'displayMode="region-list"' not in project.label_config:
            self._advice.append(
                f'displayMode="region-list" on the TextArea {has.text_name} would show every text beside the waveform'
            )
        return project

    # The connection.

    def _webhook(self, sdk: LabelStudio, project: int, undo: ExitStack) -> None:
        url = f"{self._url}/webhook"
        given = {"url": url, "send_payload": True, "send_for_all_actions": True, "is_active": True}
        found = next((hook for hook in sdk.webhooks.list(project=str(project)) if hook.url == url), None)
        headers = dict(found.headers or {}) if found else {}
        wanted_headers = {**headers, **authorization(self._settings)}
        with self._explained():
            if found is None:
                made = sdk.webhooks.create(project=project, headers=wanted_headers, **given)
                undo.callback(sdk.webhooks.delete, int(made.id))
                self._done.append("webhook created: new tasks and corrections are told to the proxy")
            elif not _is_as(found, {**given, "headers": wanted_headers}):
                sdk.webhooks.update(int(found.id), headers=wanted_headers, **given)
                self._done.append("webhook put right")
            else:
                self._done.append("the webhook is as it should be")

    def _backend(self, sdk: LabelStudio, project: int) -> MlBackend:
        given = connection(self._settings, self._url)
        given |= {"is_interactive": True} if self._wanted.interactive else {}
        given |= {} if self._wanted.extra_params is None else {"extra_params": dict(self._wanted.extra_params)}
        backends: Sequence[MlBackend] = sdk.ml.list(project=project)
        found = next((backend for backend in backends if str(backend.url).rstrip("/") == self._url), None)
        address = shown(self._wanted.backend_url)

        def connected() -> MlBackend:
            with self._explained():
                if found is None:
                    return sdk.ml.create(project=project, title=BACKEND_TITLE, **given)
                # Always written: the password cannot be read, and Label Studio checks the connection as it saves.
                return sdk.ml.update(int(found.id), project=project, **given)

        made = self._patience.until(f"the proxy at {address} to answer Label Studio", connected, ProxyUnreachable)
        self._done.append(f"backend connected: {address}" if found is None else f"the backend is connected: {address}")
        first = min((*backends, made), key=lambda backend: int(backend.id))
        if int(first.id) != int(made.id):
            self._advice.append(
                f"the project has another backend, {first.title}, that was connected before: Label Studio asks only "
                "that one; remove it on the project's Model page"
            )
        return sdk.ml.get(int(made.id))  # its answer to the change was made before it asked for the version

    def _visibility(self, sdk: LabelStudio, project: Project, backend: MlBackend) -> None:
        title = str(backend.model_version or backend.title)
        if backend.title != title:
            sdk.ml.update(int(backend.id), project=project.id, title=title, **connection(self._settings, self._url))
        shown = sdk.projects.get(project.id)
        if shown.model_version == title and shown.show_collab_predictions:
            self._done.append("annotators see the predictions")
            return
        sdk.projects.update(project.id, model_version=title, show_collab_predictions=True)
        self._done.append("annotators see the predictions from now on")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what to do about the refusals that Label Studio itself does not explain."""
        try:
            yield
        except LabelStudioUnavailable as error:
            host = urlsplit(self._url).hostname
            raise LabelStudioUnavailable(f"{error}; can Label Studio resolve and reach the host {host}?") from None
        except LabelStudioError as error:
            detail = str(getattr(error, "detail", "") or error)
            raise explanation(detail, shown(self._wanted.backend_url)) from None


def _is_as(found: Webhook, wanted: Mapping[str, Any]) -> bool:
    return all(getattr(found, name) == value for name, value in wanted.items())


def _described(has: labeling.Labeling) -> str:
    """What a config offers, in words."""
    labels = f"speakers in {has.labels_name}" if has.labels_name else "no speakers"
    per = "of each region" if has.per_region else "of the whole recording"
    text = f"text {per} in {has.text_name}" if has.text_name else "no text"
    return f"recordings in ${has.audio_key}, {labels}, {text}"
