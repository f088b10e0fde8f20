"""A real Label Studio as a process, in the environment that `make label-studio-env` builds; without it, tests fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from ports import free_port
from truss_environment import ROOT, eventually

USERNAME, PASSWORD = "annotator@example.com", "not-a-secret"
LEGACY_TOKEN = "0123456789abcdef0123456789abcdef01234567"  # noqa: S105
START_SECONDS = 240  # 20 s on an idle machine: it makes its database first

# What a team sets so that Label Studio calls a private address; instances' metadata stay out of reach.
PRIVATE_ADDRESSES = {"USE_DEFAULT_BANNED_SUBNETS": "false", "USER_ADDITIONAL_BANNED_SUBNETS": "169.254.0.0/16"}


def executable() -> Path:
    """The `label-studio` command."""
    path = Path(os.environ.get("DIARIST_LABEL_STUDIO") or ROOT / ".venv-label-studio" / "bin" / "label-studio")
    if not path.exists():
        pytest.fail(f"there is no {path}: run `make label-studio-env`, or name the command in DIARIST_LABEL_STUDIO")
    return path


class Refused(AssertionError):
    """Label Studio answered with an error status."""


@dataclass
class LabelStudio:
    """A Label Studio server with one user, its log, and what tests do with it over its API."""

    folder: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    token: str = LEGACY_TOKEN
    pat: str = ""  # personal access token, the kind that new organisations use
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def documents(self) -> Path:
        """The folder that local files are served from."""
        return self.folder / "documents"

    @property
    def log(self) -> str:
        return (self.folder / "label-studio.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, for the first time or again with the same data, and wait until it answers."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder / "data"),
            "LABEL_STUDIO_USERNAME": USERNAME,
            "LABEL_STUDIO_PASSWORD": PASSWORD,
            "LABEL_STUDIO_USER_TOKEN": LEGACY_TOKEN,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "LOCAL_FILES_SERVING_ENABLED": "true",
            "LOCAL_FILES_DOCUMENT_ROOT": str(self.documents),
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            **PRIVATE_ADDRESSES,
            **self.settings,
        }
        command = [str(executable()), "start", "--no-browser", "--internal-host", "127.0.0.1", "-p", str(self.port)]
        with (self.folder / "label-studio.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        process = self.process
        assert eventually(lambda: self.answers() or process.poll() is not None, within=START_SECONDS), self.log
        assert process.poll() is None, self.log
        if not self.pat:
            self.pat = self.post("/api/token/")["token"]

    def stop(self) -> None:
        """End it; its data stay."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: it and nothing else
            self.process.wait(timeout=120)
            self.process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It is down inside the block, and up again behind it."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    # Its API. None of these makes Label Studio call a backend, unless it says so.

    def ask(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        """The JSON that a call answers, None where there is none; an error status is a failure that shows its text."""
        options.setdefault("timeout", 120)
        headers = {"Authorization": f"Token {self.token}"}
        answer = requests.request(method, self.url + path, headers=headers, **options)  # noqa: S113 - set above
        if not answer.ok:
            raise Refused(f"{method} {path}: {answer.status_code} {answer.text[:2000]}")
        return answer.json() if "json" in answer.headers.get("Content-Type", "") and answer.content else None

    def get(self, path: str, /, **parameters: object) -> Any:  # noqa: ANN401
        return self.ask("GET", path, params=parameters)

    def post(self, path: str, /, **body: object) -> Any:  # noqa: ANN401
        return self.ask("POST", path, json=body)

    def patch(self, path: str, /, **body: object) -> Any:  # noqa: ANN401
        return self.ask("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        self.ask("DELETE", path)

    def create_project(self, label_config: str, *, title: str = "Recordings", **fields: object) -> int:
        return int(self.post("/api/projects/", title=title, label_config=label_config, **fields)["id"])

    def connect(self, project: int, url: str, **fields: object) -> dict[str, Any]:
        """Connect a backend by hand, as the page does: Label Studio calls its /health and /setup."""
        backend = self.post("/api/ml/", project=project, url=url, title="by hand", **fields)
        assert isinstance(backend, dict)
        return backend

    def backends(self, project: int) -> list[dict[str, Any]]:
        """The backends of a project; Label Studio calls their /health and /setup."""
        return list(self.get("/api/ml/", project=project))

    def webhooks(self, project: int) -> list[dict[str, Any]]:
        return list(self.get("/api/webhooks/", project=project))

    def import_tasks(self, project: int, data: Sequence[Mapping[str, Any]]) -> list[int]:
        """Import tasks by their data, as a JSON file would; the new ones' ids."""
        path = f"/api/projects/{project}/import?return_task_ids=true"
        return list(self.ask("POST", path, json=[{"data": dict(item)} for item in data])["task_ids"])

    def upload(self, project: int, *paths: Path) -> list[int]:
        """Upload recordings in one import, as people drop them into the page: a task for each."""
        with ExitStack() as stack:
            files = [(path.stem, (path.name, stack.enter_context(path.open("rb")))) for path in paths]
            path = f"/api/projects/{project}/import?return_task_ids=true"
            return list(self.ask("POST", path, files=files)["task_ids"])

    def import_from(self, storage: Mapping[str, str], project: int, bucket: str, **fields: object) -> None:
        """Connect a bucket of an S3 storage, and sync it: a task for each file; `presign` and `prefix` are fields."""
        given = {"project": project, "bucket": bucket, "title": bucket, "use_blob_urls": True, "regex_filter": ".*"}
        made = self.post("/api/storages/s3/", **given, **storage, **fields)
        self.post(f"/api/storages/s3/{made['id']}/sync")

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """All tasks of a project with their predictions and annotations, oldest first."""
        page = self.get("/api/tasks", project=project, fields="all", page_size=10_000, resolve_uri="false")
        return sorted(page["tasks"], key=lambda task: int(task["id"]))

    def task(self, task: int) -> dict[str, Any]:
        """One task as the labelling page gets it; where it has no prediction, Label Studio calls /predict."""
        found = self.get(f"/api/tasks/{task}/")
        assert isinstance(found, dict)
        return found

    def predictions(self, project: int) -> dict[int, list[dict[str, Any]]]:
        """Every prediction of a project's tasks, by task; tasks without any are absent."""
        found: dict[int, list[dict[str, Any]]] = {}
        for prediction in self.get("/api/predictions/", task__project=project):
            found.setdefault(int(prediction["task"]), []).append(prediction)
        return found

    def wait_for_predictions(
        self, project: int, tasks: Sequence[int], *, within: float = 300
    ) -> dict[int, list[dict[str, Any]]]:
        """Wait until each of the tasks has a prediction; all predictions of the project then, by task."""
        assert eventually(lambda: set(tasks) <= self.predictions(project).keys(), within=within), (
            f"of {len(tasks)} tasks, {len(self.predictions(project))} have predictions after {within} s"
        )
        return self.predictions(project)

    def retrieve_predictions(self, project: int) -> None:
        """Select all tasks in the data manager and press "Retrieve predictions": Label Studio calls /predict."""
        path = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}"
        selected = {"selectedItems": {"all": True, "excluded": []}, "ordering": [], "project": str(project)}
        self.ask("POST", path, json=selected)

    def annotate(self, task: int, result: Sequence[Mapping[str, Any]], **fields: object) -> int:
        """Submit an annotation, as the page does; `parent_prediction` and `lead_time` (seconds) are fields of it."""
        body = {"result": [dict(item) for item in result], **fields}
        return int(self.ask("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[LabelStudio]:
    """A Label Studio on a free port with an empty database in `folder`; `settings` are environment variables."""
    server = LabelStudio(folder, free_port(), settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
