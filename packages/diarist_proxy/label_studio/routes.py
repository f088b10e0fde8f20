"""The routes that Label Studio 1.23 calls: an ML backend's, and the webhook of its project's events.

None waits for the model but an interactive call, where a person does. Label Studio allows `/health` and `/webhook`
one second, asks `/health` and `/setup` before every batch, and holds the page of a task until `/predict` answers.
Access tokens that `/setup` carries are neither kept nor logged.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse

from diarist.errors import BadRequest, Cancelled, DiaristError, EndpointUnavailable
from diarist_proxy.endpoint.answer import Nobody
from diarist_proxy.jobs import Jobs, Priority
from diarist_proxy.label_studio.bodies import Event, Numbered, Predict, Setup
from diarist_proxy.label_studio.labeling import ConfigUnusable
from diarist_proxy.label_studio.own_logic import Services
from diarist_proxy.label_studio.work import Work

ProjectId = Annotated[int, Path(ge=0, lt=2**63)]

TRIED_AT_MOST = 100  # jobs that a status names
OPENED_AT_MOST = 1  # a request for so few tasks comes from a person who opens one

LABEL_STUDIO_AGENT = "heartex/"
REASON_LENGTH = 300  # characters of a URL

logger = logging.getLogger(__name__)


def router(work: Work, services: Services, jobs: Jobs) -> APIRouter:
    """The routes, on top of the work that they ask for."""
    routes, doors = APIRouter(tags=["Label Studio"]), _Routes(work, services, jobs)
    routes.get("/health")(doors.health)
    routes.post("/setup", response_model=None)(doors.setup)
    routes.post("/setup/{reason}", include_in_schema=False)(doors.unusable)
    routes.get("/versions")(doors.versions)
    routes.post("/predict")(doors.predict)
    routes.post("/webhook")(doors.webhook)
    routes.post("/label-studio/projects/{project}/backfill", status_code=202)(doors.backfill)
    routes.get("/label-studio/projects/{project}")(doors.status)
    return routes


class _Routes:
    """The functions behind the routes."""

    def __init__(self, work: Work, services: Services, jobs: Jobs) -> None:
        self._work = work
        self._services = services
        self._jobs = jobs

    async def health(self) -> dict[str, str]:
        """That the proxy is up; it does not wait for anything."""
        return {"status": "UP", "model_class": self._services.settings.backend.rpartition(":")[2]}

    def setup(self, body: Setup, request: Request) -> dict[str, str] | RedirectResponse:
        """Take a project's config, and answer the version of its predictions; the model is woken for what follows.

        Label Studio shows the URL of a refusal and not its text. So it is sent to a URL that says why.
        """
        project = _project_id(body.project)
        self._work.projects.describe(project, body.label_schema, extra_params=body.extra_params)
        try:
            self._work.check(project)
        except DiaristError as error:
            logger.warning("POST /setup: %s", error)
            if not request.headers.get("user-agent", "").startswith(LABEL_STUDIO_AGENT):
                raise
            return RedirectResponse(f"setup/{re.sub('[^A-Za-z0-9.,:=-]+', '_', str(error))[:REASON_LENGTH]}", 307)
        self._services.endpoint.wake()
        return {"model_version": self._work.version(project)}

    def unusable(self, reason: str) -> dict[str, str]:
        """The refusal of a config, with its reason in the URL."""
        raise ConfigUnusable(reason.replace("_", " "))

    def versions(self) -> dict[str, list[str]]:
        """The versions that predictions have had, the newest first."""
        return {"versions": self._work.projects.versions()}

    def predict(self, body: Predict) -> dict[str, list[Any]]:
        """What is ready, and an empty list for what is now queued; with a context, the regions heard again."""
        project, tasks = _project_of(body), [task.model_dump() for task in body.tasks]
        if body.label_config:
            self._work.projects.describe(project, body.label_config)
        if body.params.context and body.params.context.result:
            context = body.params.context.model_dump()
            return {"results": [self._heard_again(project, task, context) for task in tasks]}
        ready = self._work.ready(project, tasks)
        wanted = [task for task in tasks if task["id"] not in ready]
        if wanted:
            opened = len(tasks) <= OPENED_AT_MOST
            self._work.enqueue(project, wanted, Priority.OPENED if opened else Priority.NORMAL)
        return {"results": [[ready[task["id"]]] if task["id"] in ready else [] for task in tasks]}

    def _heard_again(self, project: int, task: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        seconds = self._services.settings.interactive_timeout_seconds
        try:
            return self._work.heard_again(project, task, context, _Waiting(seconds))
        except Cancelled:
            raise EndpointUnavailable(
                f"the region was not heard within {seconds:g} s, the model works on other recordings: try again later"
            ) from None

    def webhook(self, body: Event) -> dict[str, str]:
        """Queue what an event asks for; the answer is ignored by Label Studio."""
        if body.project.id is not None:
            if body.project.label_config:
                self._work.projects.describe(body.project.id, body.project.label_config)
            _act(body, body.project.id, self._work, self._services)
        return {"status": "ok"}

    def backfill(self, project: ProjectId) -> dict[str, str]:
        """Queue every task of a project that has no prediction of the current version."""
        self._work.backfill(project)
        return {"model_version": self._work.version(project)}

    def status(self, project: ProjectId) -> dict[str, Any]:
        """How a project's predictions stand: jobs by state, and why some failed and were not done since."""
        failed = self._work.failures.of(project)
        return {
            "project": project,
            "model_version": self._work.version(project),
            "jobs": {**self._jobs.counts({"project": project}), "failed": len(failed)},
            "failed": failed,
            "waiting": self._tried(project),
        }

    def _tried(self, project: int) -> list[dict[str, Any]]:
        """The jobs that were tried and will be again, with what kept them from being done."""
        jobs = self._jobs.list(attributes={"project": project}, states=["waiting"])
        tried = [job for job in jobs if job.error is not None][:TRIED_AT_MOST]
        return [{"task": job.attributes.get("task"), "attempts": job.attempts, "error": job.error} for job in tried]


def _act(body: Event, project: int, work: Work, services: Services) -> None:
    """What follows from an event; events that mean nothing here are let go."""
    if body.action == "TASKS_CREATED" and body.tasks:
        services.endpoint.wake()
        work.enqueue(project, [_created(task) for task in body.tasks], Priority.NORMAL)
    elif body.action == "TASKS_DELETED":
        work.forget(project, [task.id for task in body.tasks])
    elif body.action in {"ANNOTATION_CREATED", "ANNOTATION_UPDATED"} and body.annotation:
        updated = body.annotation.updated_at or ""
        data = {"annotation": body.annotation.model_dump(), "updated_at": _epoch(updated)}
        work.learn(project, body.action, data, f"{body.annotation.id}:{updated}")
    elif body.action == "ANNOTATIONS_DELETED":
        services.store.forget_corrections([annotation.id for annotation in body.annotations])
    elif body.action == "START_TRAINING":
        work.learn(project, body.action, {}, "")


def _created(task: Numbered) -> dict[str, Any]:
    created = task.model_dump()
    if not isinstance(created.get("data"), dict):
        raise BadRequest(f"tasks: task {task.id} has no data; an object is needed")
    return created


def _epoch(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return time.time()


def _project_id(text: str | int) -> int:
    """Label Studio sends `<id>.<time of creation>`."""
    number = str(text).partition(".")[0]
    if not number.isdecimal() or len(number) > len(str(2**62)):
        raise BadRequest("project: Label Studio's id is needed, a number, or a number and a time: 7.1795225486")
    return int(number)


def _project_of(body: Predict) -> int:
    if body.project is not None:
        return _project_id(body.project)
    of_task = next((task.project for task in body.tasks if task.project is not None), None)
    if of_task is None:
        raise BadRequest("project: the request names none, and neither do its tasks")
    return of_task


class _Waiting(Nobody):
    """The call of a person who waits: nothing is kept, and after some time the wait is over."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def cancelled(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._until
