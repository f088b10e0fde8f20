"""Label Studio's API, as far as the proxy needs it: projects, tasks, predictions, and a fresh token.

Over label-studio-sdk's transport, which knows both kinds of token: a legacy one is sent as it is, a personal access
token (a JWT) is exchanged for one that lives 300 s. Lists are read as plain JSON, since results must come back as they
are. `label_studio_sdk.client` itself imports pandas (2.7 s, against 0.5 s for what is used here).

No call here makes Label Studio call `/predict`: `GET /api/tasks/<id>/` does, before it answers, and so would wait
for a proxy that waits for it. The list of tasks does not, and it can be asked for one task.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from diarist.errors import BadRequest, LabelStudioError, LabelStudioUnavailable
from diarist.fetch import redacted
from diarist_proxy.settings import ProxySettings

if TYPE_CHECKING:
    from label_studio_sdk.client import LabelStudio
    from label_studio_sdk.core.client_wrapper import SyncClientWrapper

PAGE_SIZE = 100  # tasks; Label Studio's own default
PAGE_SIZE_WITH_RESULTS = 20  # an hour of speech has half a megabyte of results, and a task may have several
TOKEN_SECONDS = 120.0  # an access token is exchanged again after so long: Label Studio's lives 300 s

_TRY_LATER = {408, 425, 429, 502, 503, 504}

_log = logging.getLogger(__name__)


class TaskGone(LabelStudioError):
    """The task was deleted, or the token's user may not see it."""


class ProjectGone(LabelStudioError):
    """The project was deleted, or the token's user may not see it."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project as the proxy needs it."""

    id: int
    title: str
    label_config: str
    model_version: str | None  # of the predictions that annotators see: a version, or the title of a backend
    num_tasks: int
    num_predictions: int


class LabelStudioClient:
    """Talks to one Label Studio, as the user of one token. Safe to call from many threads."""

    def __init__(self, settings: ProxySettings) -> None:
        """Check what can be checked without a connection.

        Raises:
            BadRequest: the URL is none.
        """
        self.url = _checked(settings.label_studio_url)
        self._key = settings.label_studio_api_key
        self._http = httpx.Client(
            timeout=settings.label_studio_timeout_seconds, event_hooks={"response": [self._check_answer]}
        )
        self._seconds = settings.label_studio_timeout_seconds
        self._lock = threading.Lock()
        self._transport: SyncClientWrapper | None = None
        self._made = 0.0

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def project(self, project: int) -> Project:
        """One project.

        Raises:
            ProjectGone: there is none of that id, for this token's user.
            LabelStudioError: as for every call here; `LabelStudioUnavailable` where later may be better.
        """
        try:
            return _project(self._json("GET", f"api/projects/{project:d}/"))
        except _Refused as error:
            raise (_project_gone(project) if error.not_found else error) from None

    def projects(self) -> Iterator[Project]:
        """All projects that the token's user may see."""
        page = 1
        while page:
            answer = self._json("GET", "api/projects/", params={"page": page, "page_size": PAGE_SIZE})
            yield from map(_project, answer["results"])
            page = page + 1 if answer["next"] else 0

    def tasks(
        self,
        project: int,
        *,
        ids: Sequence[int] | None = None,
        after: int = 0,
        fields: Sequence[str] | None = None,
        predictions: bool = False,
        corrected: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """The tasks of a project by rising id, their data as it was imported; those that are gone are left out.

        Each page asks for ids above the last one seen, so that tasks deleted meanwhile make none be skipped.

        Args:
            project: the project's id.
            ids: only these.
            after: only those with a larger id: where an earlier listing stopped.
            fields: names of the keys wanted, `("id", "data")` say; None for all.
            predictions: whether `predictions` and `annotations` come, with their results.
            corrected: only those that somebody has annotated; with `predictions` and `annotations`.

        Raises:
            ProjectGone: there is no such project, for this token's user.
            LabelStudioError: as for every call here.
        """
        whole = predictions or corrected
        conditions = [_greater("total_annotations", 0)] if corrected else []
        params: dict[str, Any] = {"project": project, "page_size": PAGE_SIZE_WITH_RESULTS if whole else PAGE_SIZE}
        params |= {"resolve_uri": "false"}  # else s3://… becomes a path of Label Studio's
        params |= {"fields": "all"} if whole or fields else {}  # else what is counted, such as versions, comes empty
        params |= {"include": ",".join({"id", *fields})} if fields else {}
        if ids is None:
            yield from self._listed(params, conditions, after)
            return
        wanted = sorted({int(task) for task in ids if task > after})
        for start in range(0, len(wanted), PAGE_SIZE):
            yield from self._listed(params, conditions, after, wanted[start : start + PAGE_SIZE])

    def _listed(
        self, params: Mapping[str, Any], conditions: Sequence[Mapping[str, Any]], after: int, ids: Sequence[int] = ()
    ) -> Iterator[dict[str, Any]]:
        while True:
            query: dict[str, Any] = {
                "filters": {"conjunction": "and", "items": [_greater("id", after), *conditions]},
                "ordering": ["tasks:id"],
            }
            if ids:
                query["selectedItems"] = {"all": False, "included": list(ids)}
            try:
                answer = self._json("GET", "api/tasks/", params={**params, "query": json.dumps(query)})
            except _Refused as error:
                raise (_project_gone(params["project"]) if error.not_found else error) from None
            tasks = answer["tasks"]
            yield from tasks
            if not tasks or answer["total"] <= len(tasks):
                return
            after = tasks[-1]["id"]

    def task(self, project: int, task: int, *, predictions: bool = False) -> dict[str, Any]:
        """One task, without making Label Studio ask for predictions.

        Raises:
            TaskGone: it is not in the project.
            LabelStudioError: as for every call here.
        """
        try:
            found = next(self.tasks(project, ids=[task], predictions=predictions), None)
        except ProjectGone:
            found = None
        if found is None:
            raise _gone(task)
        return found

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """All predictions of a task, with their results.

        Raises:
            TaskGone: there is no such task.
            LabelStudioError: as for every call here.
        """
        with _task_errors(task):
            answer = self._json("GET", "api/predictions/", params={"task": task})
        return [dict(prediction) for prediction in answer]

    def create_prediction(
        self, task: int, result: Sequence[Mapping[str, Any]], score: float | None, model_version: str
    ) -> int:
        """Store a prediction, and answer its id. Label Studio never looks whether there is one: see `predictions`.

        Raises:
            TaskGone: there is no such task.
            LabelStudioError: as for every call here. After `LabelStudioUnavailable` it may have been stored.
        """
        from label_studio_sdk.predictions.client import PredictionsClient  # noqa: PLC0415 - half a second

        optional = {} if score is None else {"score": score}
        with _task_errors(task), self._sdk() as transport:
            made = PredictionsClient(client_wrapper=transport).create(
                task=task, result=[dict(item) for item in result], model_version=model_version, **optional
            )
        return int(made.id)

    def update_task(
        self, task: int, *, data: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Replace a task's data, or its meta, or both; what is None stays.

        Raises:
            TaskGone: there is no such task.
            LabelStudioError: as for every call here.
        """
        from label_studio_sdk.tasks.client import TasksClient  # noqa: PLC0415 - half a second

        given = {"data": data, "meta": meta}
        changes = {key: dict(value) for key, value in given.items() if value is not None}
        with _task_errors(task), self._sdk() as transport:
            TasksClient(client_wrapper=transport).update(str(task), **changes)

    def check_key(self) -> None:
        """Look whether there is a token at all; Label Studio is not asked.

        Raises:
            LabelStudioError: there is none.
        """
        self._token()

    def authorization(self) -> dict[str, str]:
        """The header for one request to Label Studio, good for the next minutes.

        Raises:
            LabelStudioError: as for every call here; a personal access token is exchanged for this.
        """
        with self._sdk() as transport:
            return {"Authorization": str(transport.get_headers()["Authorization"])}

    def sdk(self) -> LabelStudio:
        """All of label-studio-sdk, for commands: over the same connections, with the same errors."""
        from label_studio_sdk.client import LabelStudio  # noqa: PLC0415 - it imports pandas

        with _sdk_errors(self.url):
            return LabelStudio(base_url=self.url, api_key=self._token(), httpx_client=self._http, max_retries=0)

    def _json(self, method: str, path: str, *, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        with self._sdk() as transport:
            return transport.httpx_client.request(path, method=method, params=dict(params or {})).json()

    @contextmanager
    def _sdk(self) -> Iterator[SyncClientWrapper]:
        with _sdk_errors(self.url):
            yield self._fresh()

    def _fresh(self) -> SyncClientWrapper:
        """The SDK's transport; a new one knows no access token yet, whatever this machine's clock says."""
        from label_studio_sdk.core.client_wrapper import SyncClientWrapper  # noqa: PLC0415 - half a second

        with self._lock:
            now = time.monotonic()
            if self._transport is None or now - self._made > TOKEN_SECONDS:
                self._transport, self._made = (
                    SyncClientWrapper(
                        base_url=self.url,
                        api_key=self._token(),
                        timeout=self._seconds,
                        max_retries=0,  # jobs try again, and look first whether a prediction is there
                        httpx_client=self._http,
                    ),
                    now,
                )
            return self._transport

    def _token(self) -> str:
        if self._key is None or not self._key.get_secret_value().strip():
            raise LabelStudioError(
                "LABEL_STUDIO_API_KEY is not set: copy a personal access token from Label Studio, "
                "Account & Settings, Personal Access Token"
            )
        return self._key.get_secret_value().strip()

    def _check_answer(self, answer: httpx.Response) -> None:
        """Turn an error status into an error, for every call, before the SDK reads the answer."""
        status = answer.status_code
        if status < 300:  # noqa: PLR2004 - success
            return
        if status in _TRY_LATER or status >= 500:  # noqa: PLR2004 - its own errors
            raise LabelStudioUnavailable(f"Label Studio at {self.url} answered with status {status}")
        if status < 400:  # noqa: PLR2004 - a redirect
            raise LabelStudioError(
                f"Label Studio at {self.url} redirects to {redacted(answer.headers.get('Location', ''))}: "
                "set LABEL_STUDIO_URL to where it really is"
            )
        answer.read()
        raise _Refused(self.url, status, _detail(answer))


class _Refused(LabelStudioError):
    """Label Studio answered with an error of the 4xx."""

    def __init__(self, url: str, answered: int, detail: str) -> None:
        self.answered = answered
        self.detail = detail
        super().__init__(f"Label Studio at {url} answered with status {answered}: {_advice(answered, detail)}")

    @property
    def not_found(self) -> bool:
        """Whether its API says so; the page of a wrong path, or of another server, has no detail."""
        return self.answered == 404 and bool(self.detail)  # noqa: PLR2004 - not found


def _advice(answered: int, detail: str) -> str:
    if answered == 401 and "legacy" in detail.lower():  # noqa: PLR2004 - unauthorized
        return (
            "legacy tokens are switched off there; put a personal access token into LABEL_STUDIO_API_KEY, or let an "
            "administrator switch them on"
        )
    if answered == 401:  # noqa: PLR2004 - unauthorized
        return "the token in LABEL_STUDIO_API_KEY is wrong, or was revoked; create a new one in Account & Settings"
    if answered == 403:  # noqa: PLR2004 - forbidden
        return "the token's user may not do this; add the user to the project"
    return detail or "check LABEL_STUDIO_URL"


def _detail(answer: httpx.Response) -> str:
    """What Label Studio itself says about an error, on one short line; nothing where it is no answer of its API."""
    try:
        body = answer.json()
        wrong = body.get("validation_errors") or {}
    except (ValueError, AttributeError):
        return ""
    parts = [f"{key}: {value[0] if isinstance(value, list) and value else value}" for key, value in wrong.items()]
    return " ".join("; ".join(parts or [str(body.get("detail", ""))]).split())[:300]


@contextmanager
def _sdk_errors(url: str) -> Iterator[None]:
    from label_studio_sdk.core.api_error import ApiError  # noqa: PLC0415 - the SDK is imported when it is used

    try:
        yield
    except httpx.TimeoutException as error:
        raise LabelStudioUnavailable(f"Label Studio at {url} took too long ({type(error).__name__})") from None
    except httpx.HTTPError as error:
        raise LabelStudioUnavailable(f"Label Studio at {url} cannot be reached ({type(error).__name__})") from None
    except ApiError as error:  # before anything is sent: the token has expired
        raise LabelStudioError(_advice(error.status_code or 401, "")) from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise LabelStudioError(
            f"{url} does not answer as Label Studio does ({type(error).__name__}): check LABEL_STUDIO_URL"
        ) from None


@contextmanager
def _task_errors(task: int) -> Iterator[None]:
    try:
        yield
    except _Refused as error:
        # A list of predictions, and a new one, answer 400 where the task is not there.
        unknown = error.answered == 400 and error.detail.startswith("task: ")  # noqa: PLR2004 - bad request
        raise (_gone(task) if unknown or error.not_found else error) from None


def _gone(task: int) -> TaskGone:
    return TaskGone(f"Label Studio has no task {task}: it was deleted, or the token's user may not see it")


def _project_gone(project: int) -> ProjectGone:
    return ProjectGone(f"Label Studio has no project {project}: it was deleted, or the token's user may not see it")


def _greater(column: str, value: int) -> dict[str, Any]:
    """A condition of the data manager (https://labelstud.io/sdk/data_manager)."""
    return {"filter": f"filter:tasks:{column}", "operator": "greater", "type": "Number", "value": value}


def _project(body: Mapping[str, Any]) -> Project:
    return Project(
        id=int(body["id"]),
        title=str(body["title"]),
        label_config=str(body["label_config"]),
        model_version=body.get("model_version") or None,
        num_tasks=int(body.get("task_number") or 0),
        num_predictions=int(body.get("total_predictions_number") or 0),
    )


def _checked(url: str) -> str:
    """Label Studio's URL with a slash at its end, as joining needs it."""
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        # Credentials are not shown; what merely lacks its scheme is, which `redacted` would call a URL without a host.
        given = url.strip() if re.fullmatch(r"[\w.:-]+", url.strip()) else redacted(url)
        raise BadRequest(
            f"LABEL_STUDIO_URL is {given}: http://host:port or https://host, with a path where it has one, is "
            "needed, without user, password and query"
        )
    return url.strip().rstrip("/") + "/"
