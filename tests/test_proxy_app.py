"""The application: who may call, what an error looks like, and what is never said or logged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, SecretStr

from diarist.errors import BadRequest, Busy, EndpointUnavailable, ModelFailed
from diarist_proxy.app import create_app
from diarist_proxy.jobs import JobRequest, Jobs, Priority
from diarist_proxy.jobs import routes as job_routes
from diarist_proxy.metrics import Metrics
from diarist_proxy.store import Store
from proxy_databases import proxy_settings
from truss_environment import eventually

USER, PASSWORD, SECRET = "team", "pass:wörd", "s3cret"
ERRORS = {
    "bad": BadRequest("project: a number is needed"),
    "busy": Busy("16 requests wait", retry_after_seconds=7),
    "away": EndpointUnavailable("the model starts", retry_after_seconds=2.5),
    "broken": ModelFailed("the answer is no transcript"),
    "bug": ZeroDivisionError("hidden"),
}


class Body(BaseModel):
    number: int


def routes() -> APIRouter:
    made = APIRouter()

    @made.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP"}

    @made.post("/webhook")
    @made.post("/predict")
    @made.post("/baseten/webhook")
    def taken(body: Body) -> dict[str, int]:
        return {"number": body.number}

    @made.get("/errors/{name}")
    def failing(name: str) -> None:
        raise ERRORS[name]

    return made


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of the application, served by uvicorn on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, server_header=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert eventually(lambda: server.started, within=120)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as made:
            yield made
    finally:
        server.should_exit = True
        thread.join(120)


@contextmanager
def client(tmp_path: Path, **given: Any) -> Iterator[httpx.Client]:  # noqa: ANN401
    settings = proxy_settings(tmp_path, **given)
    with serving(create_app(settings, routers=[routes()], own_check=["/baseten/webhook"])) as made:
        yield made


def test_it_says_that_it_is_up(tmp_path: Path) -> None:
    with client(tmp_path) as proxy:
        assert proxy.get("/").json() == {"status": "UP"}
        assert proxy.post("/predict", json={"number": 1}).json() == {"number": 1}


@pytest.mark.parametrize(
    ("name", "status", "headers"),
    [("bad", 400, {}), ("busy", 429, {"retry-after": "7"}), ("away", 503, {"retry-after": "3"}), ("broken", 500, {})],
)
def test_an_error_has_its_status_and_says_what_to_do(
    tmp_path: Path, name: str, status: int, headers: dict[str, str]
) -> None:
    with client(tmp_path) as proxy:
        answer = proxy.get(f"/errors/{name}")
    assert (answer.status_code, answer.json()["detail"]) == (status, str(ERRORS[name]))
    assert answer.json()["error"] == type(ERRORS[name]).__name__
    assert headers.items() <= answer.headers.items()


def test_an_unexpected_error_shows_no_cause_but_the_id_under_which_the_log_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with client(tmp_path) as proxy:
        answer = proxy.get("/errors/bug")
    assert answer.status_code == 500
    request_id = answer.headers["x-request-id"]
    assert answer.json()["detail"] == f"an unexpected error; the log has the cause under {request_id}"
    assert "ZeroDivisionError: hidden" in caplog.text
    assert f"request {request_id} failed" in caplog.text


def test_a_body_that_cannot_be_read_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with client(tmp_path) as proxy:
        wrong = proxy.post("/predict", json={"number": "hidden"})
        broken = proxy.post("/predict", content="{hidden", headers={"Content-Type": "application/json"})
    assert (wrong.status_code, broken.status_code) == (400, 400)
    assert wrong.json()["detail"].startswith("number: ")
    assert "hidden" not in wrong.text + broken.text


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "a JSON object is needed as the body"), (b"{", "the body is not JSON")]
)
def test_a_body_that_is_none_says_what_is_needed(tmp_path: Path, content: bytes, said: str) -> None:
    with client(tmp_path) as proxy:
        answer = proxy.post("/predict", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (400, said)


def test_a_line_is_logged_for_a_request_without_query_body_or_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="diarist_proxy")
    with client(tmp_path, path_secret=SecretStr(SECRET)) as proxy:
        proxy.post(f"/{SECRET}/predict?token=hidden", json={"number": 99})
        proxy.get(f"/{SECRET}/nothing-here")
    assert "POST /predict 200 in " in caplog.text
    assert "GET (no route) 404 in " in caplog.text
    assert not any(word in caplog.text for word in ("hidden", SECRET, "99"))


def test_with_a_password_everything_but_a_bare_probe_needs_it(tmp_path: Path) -> None:
    with client(tmp_path, basic_auth_user=USER, basic_auth_pass=SecretStr(PASSWORD)) as proxy:
        assert proxy.get("/health").status_code == 200  # a platform's probe
        assert proxy.get("/health", auth=(USER, "wrong")).status_code == 401  # a mistake in Label Studio's form
        for path in ("/predict", "/webhook"):
            assert proxy.post(path, json={"number": 1}).status_code == 401
            assert proxy.post(path, json={"number": 1}, auth=(USER, PASSWORD)).status_code == 200
        refused = proxy.get("/metrics", auth=("other", PASSWORD))
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        for header in ("Basic", "Basic !!!", "Bearer abc", "Basic " + "é"):
            assert proxy.get("/v1/nothing", headers={b"Authorization": header.encode()}).status_code == 401
        assert proxy.post("/baseten/webhook", json={"number": 1}).status_code == 200  # its signature is its password


def test_with_a_secret_in_the_path_nothing_is_there_without_it(tmp_path: Path) -> None:
    with client(tmp_path, path_secret=SecretStr(SECRET)) as proxy:
        assert proxy.post(f"/{SECRET}/webhook", json={"number": 1}).json() == {"number": 1}
        assert proxy.get(f"/{SECRET}/health").json() == {"status": "UP"}
        assert proxy.get(f"/{SECRET}").json() == {"status": "UP"}
        assert proxy.get("/health").json() == {"status": "UP"}
        for path in ("/webhook", "/predict", "/wrong/predict", f"/{SECRET}x/predict", f"//{SECRET[:-1]}/predict"):
            assert proxy.post(path, json={"number": 1}).status_code == 404
        assert proxy.get("/metrics").status_code == 404
        assert proxy.get("/docs").status_code == 404


def test_with_both_the_secret_covers_the_webhooks_that_carry_no_password(tmp_path: Path) -> None:
    given = {"basic_auth_user": USER, "basic_auth_pass": SecretStr(PASSWORD), "path_secret": SecretStr(SECRET)}
    with client(tmp_path, **given) as proxy:
        assert proxy.post(f"/{SECRET}/webhook", json={"number": 1}).status_code == 200
        assert proxy.post(f"/{SECRET}/webhook", json={"number": 1}, auth=(USER, "wrong")).status_code == 401
        assert proxy.post(f"/{SECRET}/predict", json={"number": 1}).status_code == 401
        assert proxy.post(f"/{SECRET}/predict", json={"number": 1}, auth=(USER, PASSWORD)).status_code == 200
        assert proxy.post("/webhook", json={"number": 1}, auth=(USER, PASSWORD)).status_code == 404


def test_jobs_are_listed_shown_and_cancelled(tmp_path: Path) -> None:
    settings = proxy_settings(tmp_path, jobs_at_once=1)
    store = Store.open(settings)
    jobs = Jobs(settings, store, {"work": lambda *_: "done"})
    with serving(create_app(settings, routers=[job_routes.router(jobs)])) as proxy:
        jobs.launch()
        requests = [JobRequest(str(task), {"secret": "payload"}, {"project": 7, "task": task}) for task in (1, 2)]
        jobs.submit("work", requests, Priority.NORMAL)
        jobs.submit("work", [JobRequest("3", {}, {"project": 8, "task": 3})], Priority.NORMAL)
        assert eventually(lambda: jobs.counts()["done"] == 3, within=120)
        listed = proxy.get("/v1/jobs", params={"project": 7}).json()
        assert listed["counts"] == {"waiting": 0, "running": 0, "done": 2, "failed": 0, "cancelled": 0}
        assert {job["attributes"]["task"] for job in listed["jobs"]} == {1, 2}
        assert "payload" not in str(listed)
        assert proxy.get("/v1/jobs", params={"state": ["failed", "running"]}).json()["jobs"] == []
        one = proxy.get("/v1/jobs", params={"project": 8, "task": 3, "state": "done"}).json()["jobs"][0]
        assert proxy.get(f"/v1/jobs/{one['id']}").json() == one
        assert proxy.delete(f"/v1/jobs/{one['id']}").json()["state"] == "done"
        for answer in (proxy.get("/v1/jobs/none"), proxy.delete("/v1/jobs/none")):
            assert (answer.status_code, answer.json()["detail"]) == (
                404,
                "there is no job none: GET /v1/jobs lists those that there are",
            )
        assert proxy.get("/v1/jobs", params={"state": "gone"}).status_code == 400
    jobs.close()
    store.close()


def test_metrics_are_read_when_somebody_asks(tmp_path: Path) -> None:
    counted, values = Metrics(), [1.0]
    counted.gauge("diarist_cpwer", "cpWER", ["version"], lambda: [({"version": 'v"1'}, values[0])])
    with serving(create_app(proxy_settings(tmp_path), routers=[], counted=counted)) as proxy:
        counted.stage("transcribe", 2.0)
        counted.failed(EndpointUnavailable("away"))
        values[0] = 0.25
        answer = proxy.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'diarist_cpwer{version="v\\"1"} 0.25' in answer.text
    assert 'diarist_stage_seconds_bucket{le="3.0",stage="transcribe"} 1.0' in answer.text
    assert 'diarist_errors_total{at="endpoint",error="EndpointUnavailable"} 1.0' in answer.text


def test_as_many_requests_are_worked_on_at_once_as_the_setting_says(tmp_path: Path) -> None:
    import anyio.to_thread  # noqa: PLC0415 - of this test alone

    seen = APIRouter()

    @seen.get("/threads")
    async def threads() -> float:
        return anyio.to_thread.current_default_thread_limiter().total_tokens

    with serving(create_app(proxy_settings(tmp_path, threads=3), routers=[seen])) as proxy:
        assert proxy.get("/threads").json() == 3
