"""`diarist label-studio`: what its arguments may be, what it waits for, and what it shows of jobs and refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from diarist.errors import BadRequest, LabelStudioUnavailable
from diarist_proxy.commands.label_studio import label_studio
from diarist_proxy.label_studio.connecting.backend import shown
from diarist_proxy.label_studio.connecting.refusals import ProxyUnreachable, explanation
from diarist_proxy.label_studio.connecting.waiting import Patience

REASON = "the model is away: its server answers 503"
STANDING = {
    "project": 7,
    "model_version": "v1",
    "jobs": {"done": 1, "waiting": 2},
    "failed": [],
    "waiting": [{"task": 3, "attempts": 2, "error": REASON}, {"task": None, "attempts": 1, "error": REASON}],
}


@contextmanager
def standing_proxy() -> Iterator[str]:
    """The URL of what answers `GET /label-studio/projects/7` as the proxy does while its model is away."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(STANDING).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("setup", "--speakers", "0"), "'--speakers'"),
        (("setup", "--speakers", "51"), "'--speakers'"),
        (("setup", "--title", "ab"), "3 to 50 characters"),
        (("setup", "--wait", "-1"), "--wait"),
        (("setup", "--project", "0"), "'--project'"),
        (("status", "-p", "-5"), "'--project'"),
        (("backfill", "-p", "0"), "'--project'"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(label_studio, arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output


def test_status_says_why_jobs_wait() -> None:
    with standing_proxy() as url:
        spoken = CliRunner().invoke(label_studio, ["status", "-p", "7", "--proxy-url", url])
        as_json = CliRunner().invoke(label_studio, ["status", "-p", "7", "--proxy-url", url, "--json"])
    assert f"task 3 is tried again, 2 attempts so far: {REASON}" in spoken.stdout
    assert f"the project is tried again, 1 attempt so far: {REASON}" in spoken.stdout
    assert json.loads(as_json.stdout)["waiting"] == STANDING["waiting"]


def test_what_may_pass_is_waited_for_and_said_once() -> None:
    said: list[str] = []
    failures = iter([LabelStudioUnavailable("not yet"), LabelStudioUnavailable("not yet")])

    def attempt() -> str:
        if (failure := next(failures, None)) is not None:
            raise failure
        return "there"

    assert Patience(60, said.append).until("it", attempt, LabelStudioUnavailable) == "there"
    assert said == ["waiting for it, 60 s at most"]


def test_without_patience_and_for_what_cannot_pass_nothing_is_waited_for() -> None:
    said: list[str] = []

    def away() -> None:
        raise LabelStudioUnavailable("away")

    def wrong() -> None:
        raise BadRequest("wrong")

    with pytest.raises(LabelStudioUnavailable):
        Patience(0, said.append).until("it", away, LabelStudioUnavailable)
    with pytest.raises(BadRequest):
        Patience(60, said.append).until("it", wrong, LabelStudioUnavailable)
    assert not said


# Label Studio 1.23's words, label_studio/ml/serializers.py and requests' for a status.
HEALTH = "non_field_errors: Can't connect to ML backend http://a.b:9090/s3cret, health check failed. Make sure it is up"
SETUP = (
    "non_field_errors: Successfully connected to http://a.b:9090/s3cret but it doesn't look like a valid ML backend."
)


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        (f"{HEALTH} Additional info: 404 Client Error: Not Found for url: http://a.b:9090/s3c", "DIARIST_PATH_SECRET"),
        (f"{SETUP} Reason: 404 Client Error: Not Found for url: http://a.b:9090/s3cret/set", "DIARIST_PATH_SECRET"),
        (f"{SETUP} Reason: 401 Client Error: Unauthorized for url: http://a.b:9090/s3cret", "BASIC_AUTH_PASS"),
        (f"{SETUP} Reason: 400 Client Error: Bad Request for url: http://a.b:9090/s3cret/setup/no_Labels", "no Labels"),
        (f"{SETUP} Reason: 500 Server Error for url: http://a.b:9090/s3cret/setup", "500 Server Error"),
        (f"{SETUP} {'x ' * 200}"[:299] + "y", "…"),
    ],
)
def test_a_refusal_says_what_to_set_and_shows_no_secret(detail: str, said: str) -> None:
    error = explanation(detail, shown("http://a.b:9090/s3cret"))
    assert said in str(error)
    assert "s3c" not in str(error)
    assert not isinstance(error, ProxyUnreachable)  # it answers: there is nothing to wait for


def test_a_proxy_that_does_not_answer_may_answer_later() -> None:
    assert isinstance(explanation(f"{HEALTH} Additional info: refused", shown("http://a.b:9090")), ProxyUnreachable)
