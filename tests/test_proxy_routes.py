"""Every request that Label Studio 1.23.2 was recorded to send gets the answer that it needs, from the real process.

The recordings of requests lie in `../shared/captures/labelstudio`, or where `DIARIST_CAPTURES` says. Neither Label
Studio nor a model is there, so what is asked for is queued, and nothing waits for it.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import proxy_environment
from proxy_environment import Proxy
from truss_environment import eventually

CAPTURES = Path(os.environ.get("DIARIST_CAPTURES") or Path(__file__).parents[2] / "shared/captures/labelstudio")
NOWHERE = "http://127.0.0.1:9"  # the port of the discard service: nobody answers


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    with proxy_environment.serving(
        folder, label_studio_url=NOWHERE, label_studio_api_key="none", endpoint=NOWHERE
    ) as server:
        yield server


def captured(name: str) -> dict[str, Any]:
    (path,) = CAPTURES.glob(f"{name}_*.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def replayed(proxy: Proxy, name: str) -> httpx.Response:
    request = captured(name)
    headers = {key: value for key, value in request["headers"].items() if key == "authorization"}
    return httpx.request(
        request["method"], proxy.url + request["path"], json=request["body"], headers=headers, timeout=120
    )


def test_every_recorded_request_is_tried() -> None:
    assert len(list(CAPTURES.glob("*.json"))) == 18


def test_health_is_an_object(proxy: Proxy) -> None:
    answer = replayed(proxy, "01")
    assert answer.status_code == 200
    assert answer.json()["status"] == "UP"


@pytest.mark.parametrize("name", ["02", "02b"])
def test_setup_says_the_version_whatever_form_the_extra_parameters_have(proxy: Proxy, name: str) -> None:
    answer = replayed(proxy, name)
    assert answer.status_code == 200
    assert isinstance(answer.json()["model_version"], str)


@pytest.mark.parametrize("name", ["03", "03b", "03c", "03d", "04"])
def test_predict_answers_an_empty_list_for_each_task_that_waits(proxy: Proxy, name: str) -> None:
    answer = replayed(proxy, name)
    tasks = captured(name)["body"]["tasks"]
    assert answer.status_code == 200
    assert answer.json() == {"results": [[] for _ in tasks]}
    queued = httpx.get(f"{proxy.url}/v1/jobs", params={"project": tasks[0]["project"]}, timeout=120).json()
    assert {task["id"] for task in tasks} <= {job["attributes"].get("task") for job in queued["jobs"]}


@pytest.mark.parametrize(
    ("name", "status", "reason"), [("05", 422, "does not accept a connection"), ("05b", 400, "not public")]
)
def test_a_region_that_cannot_be_heard_is_an_error_that_says_why(
    proxy: Proxy, name: str, status: int, reason: str
) -> None:
    answer = replayed(proxy, name)
    assert answer.status_code == status
    assert reason in answer.json()["detail"]


def test_versions_are_listed(proxy: Proxy) -> None:
    versions = replayed(proxy, "06").json()["versions"]
    assert versions
    assert all(isinstance(version, str) for version in versions)


@pytest.mark.parametrize("name", ["07", "08", "08b", "09", "10", "11", "12"])
def test_events_are_taken(proxy: Proxy, name: str) -> None:
    answer = replayed(proxy, name)
    assert answer.status_code == 200
    assert isinstance(answer.json(), dict)


def test_an_event_with_new_tasks_queues_them_and_one_with_deleted_tasks_cancels_them(proxy: Proxy) -> None:
    event = captured("11")["body"]
    event["tasks"] = [{**event["tasks"][0], "id": number} for number in (7001, 7002)]
    event["project"]["id"] = 700
    assert httpx.post(f"{proxy.url}/webhook", json=event, timeout=120).status_code == 200
    assert states(proxy, 700) == {7001: "waiting", 7002: "waiting"}
    deleted = {"action": "TASKS_DELETED", "tasks": [{"id": 7001}], "project": event["project"]}
    assert httpx.post(f"{proxy.url}/webhook", json=deleted, timeout=120).status_code == 200
    # A job that was just tried ends a moment later.
    assert eventually(lambda: states(proxy, 700)[7001] == "cancelled", within=120)
    assert states(proxy, 700)[7002] != "cancelled"


def states(proxy: Proxy, project: int) -> dict[int, str]:
    """The state of each task's newest job; one that is being tried against nobody waits as well."""
    jobs = httpx.get(f"{proxy.url}/v1/jobs", params={"project": project}, timeout=120).json()["jobs"]
    found = {job["attributes"]["task"]: job["state"] for job in reversed(jobs) if "task" in job["attributes"]}
    return {task: "waiting" if state == "running" else state for task, state in found.items()}


def test_secrets_that_label_studio_sends_stay_out_of_the_log_and_the_store(proxy: Proxy) -> None:
    body = captured("02")["body"] | {"access_token": "VERY-SECRET-TOKEN"}
    assert httpx.post(f"{proxy.url}/setup", json=body, timeout=120).status_code == 200
    assert "VERY-SECRET-TOKEN" not in proxy.log
    kept = [path.read_bytes() for path in proxy.folder.rglob("*") if path.is_file()]
    assert kept
    assert not any(b"VERY-SECRET-TOKEN" in data for data in kept)


GOOD = '<View><Labels name="l" toName="a"><Label value="A"/></Labels><Audio name="a" value="$audio"{}/></View>'
BAD_CONFIGS = {
    "an option that is none": (GOOD.format(' diarist_colour="red"'), "colour"),
    "an option's value that is none": (GOOD.format(' diarist_num_speakers="zwei"'), "num_speakers"),
    "no audio": ('<View><Text name="t" value="$text"/></View>', "Audio"),
    "nothing to write to": ('<View><Audio name="a" value="$audio"/></View>', "Labels"),
    "not XML": ("<View", "XML"),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_a_config_that_cannot_work_is_refused_with_what_to_change(proxy: Proxy, name: str) -> None:
    schema, needed = BAD_CONFIGS[name]
    answer = httpx.post(f"{proxy.url}/setup", json={"project": "9.1", "schema": schema}, timeout=120)
    assert answer.status_code == 400
    assert needed in answer.json()["detail"]


MISSHAPEN = [
    ("/setup", {}),
    ("/setup", {"project": "seven", "schema": "<View/>"}),
    ("/predict", {}),
    ("/predict", {"tasks": [{"id": 1, "data": {}}]}),
    ("/predict", {"project": "1.1", "tasks": [{"data": {}}]}),
    ("/predict", {"project": "1.1", "tasks": [{"id": "a", "data": {}}]}),
    ("/predict", {"project": "1.1", "tasks": [{"id": 1, "data": None}]}),
    ("/predict", {"project": "1.1", "tasks": [{"id": 1, "data": {}}], "params": {"context": {"result": 5}}}),
    ("/predict", {"project": "1" * 40, "tasks": []}),
    ("/webhook", {}),
    ("/webhook", {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [{}]}),
    ("/webhook", {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [{"id": 1}]}),
    ("/webhook", {"action": "TASKS_DELETED", "project": {"id": "a"}, "tasks": [{"id": 1}]}),
    ("/webhook", {"action": "ANNOTATIONS_DELETED", "project": {"id": 1}, "annotations": [{}]}),
    ("/webhook", {"action": "PROJECT_UPDATED", "project": {"id": 1, "label_config": 5}}),
]


@pytest.mark.parametrize(("path", "body"), MISSHAPEN)
def test_a_request_of_another_shape_is_refused_and_says_which_key(proxy: Proxy, path: str, body: Any) -> None:  # noqa: ANN401
    answer = httpx.post(proxy.url + path, json=body, timeout=120)
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_a_thousand_tasks_in_one_request_are_all_queued_and_do_not_slow_the_next(proxy: Proxy) -> None:
    body = captured("04")["body"]
    tasks = [{**body["tasks"][0], "id": 50_000 + number, "project": 50} for number in range(1000)]
    many = {**body, "project": "50.1", "tasks": tasks}
    answer = httpx.post(f"{proxy.url}/predict", json=many, timeout=120)
    assert answer.json() == {"results": [[]] * 1000}
    spent = []
    for number in range(100):
        one = {**many, "tasks": [{**tasks[0], "id": 60_000 + number}]}
        started = time.monotonic()
        assert httpx.post(f"{proxy.url}/predict", json=one, timeout=120).json() == {"results": [[]]}
        spent.append(time.monotonic() - started)
    assert statistics.median(spent) < 1  # `make bench-proxy` measures it; this only guards against waiting
    counts = httpx.get(f"{proxy.url}/label-studio/projects/50", timeout=120).json()["jobs"]
    assert counts["waiting"] + counts["running"] == 1100
