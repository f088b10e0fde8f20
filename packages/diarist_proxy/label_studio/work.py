"""The jobs behind Label Studio: a task's prediction, what people did with it, and the queueing of a whole project.

Every handler may run again from its start, after a crash or an error that may pass, so each looks first at what is
there already: one prediction for each (task, model version), whatever happened before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from diarist.errors import Cancelled, DiaristError
from diarist_proxy.endpoint import Call
from diarist_proxy.endpoint.answer import Nobody
from diarist_proxy.jobs import Handler, JobContext, JobRequest, Jobs, Priority
from diarist_proxy.label_studio import prediction
from diarist_proxy.label_studio.client import TaskGone
from diarist_proxy.label_studio.connecting.backend import follow_version
from diarist_proxy.label_studio.failures import Failures
from diarist_proxy.label_studio.own_logic import Backend, Services, Task, load_class, predictions_from
from diarist_proxy.store import StoredPrediction

PREDICT, FIT, BACKFILL = "predict", "fit", "backfill"
SETTLED_SECONDS = 60.0  # a prediction pushed so long ago that Label Studio asks for again is gone there
STORED_SECONDS = 5.0  # Label Studio has stored what it was answered
PAGE = 200  # tasks queued at once by a backfill
LISTED = ("id", "data", "meta", "predictions_model_versions")  # without results, which may be half a megabyte each

logger = logging.getLogger(__name__)


class Work:
    """What jobs do for Label Studio, and what the routes ask of them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._class = load_class(services.settings.backend)
        self.failures = Failures(services.settings, services.store, services.client)
        self.projects = services.projects

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each kind of job."""
        return {PREDICT: self._predict, FIT: self._fit, BACKFILL: self._backfill}

    def attach(self, jobs: Jobs) -> None:
        """Name the queue that the handlers and routes put work into."""
        self._jobs = jobs

    @contextmanager
    def backend(self, project: int, call: Call) -> Iterator[Backend]:
        """The team's logic for a project, for one use."""
        with ExitStack() as borrowed:
            yield self._class(project, self._services, call, borrowed)

    # What the routes ask.

    def ready(self, project: int, tasks: Sequence[Task]) -> dict[int, dict[str, Any]]:
        """Predictions by task that were pushed once, and that Label Studio has lost: deleted there, or restored.

        Label Studio asks while a push is under way too; only one that was pushed some time ago can have been lost. Of
        several questions at once one is answered: Label Studio would keep every answer.
        """
        asked = {int(task["id"]): task for task in tasks if not task.get("predictions")}
        with self.backend(project, Nobody()) as backend:
            stored = self._services.store.predictions(list(asked), backend.model_version)
            settled = [row for row in stored.values() if time.time() - row.updated_at > SETTLED_SECONDS]
            return {
                row.task: row.prediction
                for row in settled
                if row.state == "pushed" and row.fingerprint == _fingerprint(backend, asked[row.task])
                if self._services.store.hand_out(row)
            }

    def check(self, project: int) -> None:
        """Refuse a project whose labeling config cannot work, and any where nothing could be written back."""
        self._services.client.check_key()
        with self.backend(project, Nobody()) as backend:
            backend.check()

    def version(self, project: int) -> str:
        """The version of a project's predictions: the team's own, or the model's."""
        with self.backend(project, Nobody()) as backend:
            return backend.model_version

    def enqueue(self, project: int, tasks: Sequence[Task], priority: Priority) -> None:
        """Queue predictions; one job for each task at a time, however often it is asked for.

        The job itself asks for the version when it begins: one that changes meanwhile, as it does with the model's
        first word, must not make two jobs that push the same prediction.
        """
        self._jobs.submit(PREDICT, [_request(project, task) for task in tasks], priority)

    def heard_again(self, project: int, task: Task, context: Mapping[str, Any], call: Call) -> dict[str, Any]:
        """The answer for regions that somebody has just drawn."""
        with self.backend(project, call) as backend:
            return predictions_from(backend.predict([task], context), 1)[0]

    def learn(self, project: int, event: str, data: Mapping[str, Any], key: str) -> None:
        """Queue what people did, for the backend's `fit`."""
        payload = {"project": project, "event": event, "data": data}
        attributes = {"project": project}
        self._jobs.submit(FIT, [JobRequest(f"{project}:{event}:{key}", payload, attributes)], Priority.NORMAL)

    def backfill(self, project: int) -> None:
        """Queue every task of a project that has no prediction of the current version."""
        request = JobRequest(str(project), {"project": project}, {"project": project})
        self._jobs.submit(BACKFILL, [request], Priority.OPENED)

    def forget(self, project: int, tasks: Sequence[int]) -> None:
        """Drop what is queued and kept for tasks that were deleted."""
        for task in tasks:
            self._jobs.cancel(attributes={"project": project, "task": task})
        self._services.store.forget_tasks(tasks)
        self.failures.forget(project, tasks)

    def failed(self, kind: str, payload: Mapping[str, Any], message: str) -> None:
        """Keep why a job has failed for good."""
        self.failures.keep(int(payload["project"]), _about(kind, payload), message)

    # What jobs do.

    def _predict(self, payload: Mapping[str, Any], job: JobContext) -> str | None:
        project, task = int(payload["project"]), payload["task"]
        try:
            note = self._predict_once(project, task, job)
        except TaskGone as gone:
            self.failures.forget(project, [int(task["id"])])
            return str(gone)
        self.failures.clear(project, int(task["id"]))
        return note

    def _predict_once(self, project: int, task: Task, job: JobContext) -> str | None:
        number = int(task["id"])
        with self.backend(project, job) as backend:
            version, fingerprint = backend.model_version, _fingerprint(backend, task)
            if self._pushed(number, version) is not None:
                return "it was there already"
            row = self._services.store.prediction(number, version)
            if row is None or row.fingerprint != fingerprint:
                row = self._made(backend, task, fingerprint)
            elif row.state == "pushed":
                _wait_until_stored(row, job)
        if job.cancelled():
            raise Cancelled("the job was cancelled")
        self._push(row)
        return None

    def _made(self, backend: Backend, task: Task, fingerprint: str) -> StoredPrediction:
        made = predictions_from(backend.predict([task]), 1)[0]
        version = str(made.get("model_version") or backend.model_version)
        prediction.check(made, backend.label_config)
        row = StoredPrediction(
            project=backend.project_id,
            task=int(task["id"]),
            model_version=version,
            fingerprint=fingerprint,
            state="computed",
            prediction={"result": made["result"], "score": made.get("score"), "model_version": version},
            prediction_id=None,
            duration=float(made.get("duration") or 0.0),
            updated_at=time.time(),
        )
        self._services.store.save_prediction(row)
        return row

    def _push(self, row: StoredPrediction) -> None:
        """Store the prediction in Label Studio, unless it is there."""
        number = self._pushed(row.task, row.model_version)
        if number is None:
            made = row.prediction
            number = self._services.client.create_prediction(row.task, made["result"], made["score"], row.model_version)
        self._services.store.save_prediction(_pushed_row(row, number))
        self.projects.used(row.model_version)
        self._follow(row.project, row.model_version)

    def _follow(self, project: int, version: str) -> None:
        """Let the project go by a version that is new to it, so that people see these predictions and their scores."""
        scope = f"project:{project}"
        if self._services.store.get(scope, "followed") == version:
            return
        try:
            follow_version(self._services.client, self._services.settings, project, version)
        except DiaristError as error:
            logger.info("project %d does not go by version %s yet: %s", project, version, error)
        else:
            self._services.store.set(scope, "followed", version)

    def _pushed(self, task: int, version: str) -> int | None:
        found = self._services.client.predictions(task)
        return next((int(item["id"]) for item in found if item.get("model_version") == version), None)

    def _fit(self, payload: Mapping[str, Any], job: JobContext) -> str | None:
        project = int(payload["project"])
        with self.backend(project, job) as backend:
            note = backend.fit(payload["event"], payload["data"])
        self.failures.clear(project, _about(FIT, payload))
        return note

    def _backfill(self, payload: Mapping[str, Any], job: JobContext) -> str | None:
        project = int(payload["project"])
        version, queued, seen = self.version(project), 0, 0
        for page in _pages(self._services.client.tasks(project, fields=LISTED)):
            if job.cancelled():
                raise Cancelled("the job was cancelled")
            wanted = [task for task in page if not _has(task, version)]
            self.enqueue(project, wanted, Priority.BACKFILL)
            queued, seen = queued + len(wanted), seen + len(page)
            job.report("queue", seen, seen)
        self.failures.clear(project, BACKFILL)
        return f"{queued} of {seen} tasks queued"


def _wait_until_stored(row: StoredPrediction, job: JobContext) -> None:
    """Give Label Studio time to store what `/predict` has just handed out, before it is looked for."""
    while time.time() - row.updated_at < STORED_SECONDS and not job.cancelled():
        time.sleep(0.1)


def _fingerprint(backend: Backend, task: Task) -> str:
    """What a prediction depends on beside the model: the task's data, and the project's config and parameters."""
    data = {key: value for key, value in task["data"].items() if key not in backend.keys_of_its_own}
    parts = [data, backend.label_config, backend.extra_params]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _about(kind: str, payload: Mapping[str, Any]) -> int | str:
    """What a failure is about, in the words of the status: a task, by its id, or what else there was to do."""
    if kind == PREDICT:
        return int(payload["task"]["id"])
    annotation = payload["data"].get("annotation") if kind == FIT else None
    return f"correction {annotation['id']}" if annotation else str(payload.get("event", kind))


def _pushed_row(row: StoredPrediction, number: int) -> StoredPrediction:
    return replace(row, state="pushed", prediction_id=number, updated_at=time.time())


def _request(project: int, task: Task) -> JobRequest:
    kept = {"id": task["id"], "data": task["data"], "meta": task.get("meta") or {}}
    attributes = {"project": project, "task": int(task["id"])}
    return JobRequest(str(task["id"]), {"project": project, "task": kept}, attributes)


def _has(task: Task, version: str) -> bool:
    """Whether Label Studio lists a version among those of a task's predictions; a job looks again."""
    return version in str(task.get("predictions_model_versions") or "").split(",")


def _pages(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Tasks in lists of at most `PAGE`."""
    rest = iter(tasks)
    while page := list(islice(rest, PAGE)):
        yield page
