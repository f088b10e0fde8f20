from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import fake_label_studio
from diarist.errors import BadRequest, LabelStudioError, LabelStudioUnavailable
from diarist_proxy.label_studio import client
from diarist_proxy.label_studio.client import LabelStudioClient, ProjectGone, TaskGone
from diarist_proxy.settings import ProxySettings
from fake_label_studio import EXPIRED_PAT, LEGACY_TOKEN, NOT_A_PAGE_OF_ITS_API, PAT, FakeLabelStudio

# label-studio-sdk 2.1.2 reads the exchanged token with it.
pytestmark = pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with fake_label_studio.serving() as running:
        for number in (3, 5, 8):
            running.tasks[number] = {"id": number, "data": {"audio": f"s3://calls/{number}.wav"}, "meta": {}}
        yield running


Connected = Callable[..., LabelStudioClient]


@pytest.fixture
def connected() -> Iterator[Connected]:
    """Makes clients, and closes them."""
    with ExitStack() as stack:

        def connect(fake: FakeLabelStudio, key: str | None = LEGACY_TOKEN, **changes: object) -> LabelStudioClient:
            given = {"label_studio_url": fake.url, "label_studio_api_key": key, "label_studio_timeout_seconds": 10}
            ours = LabelStudioClient(ProxySettings.model_validate(given | changes))
            stack.callback(ours.close)
            return ours

        yield connect


def failure(call: Callable[[], object], kind: type[LabelStudioError]) -> str:
    with pytest.raises(LabelStudioError) as caught:
        call()
    assert type(caught.value) is kind or (kind is LabelStudioError and isinstance(caught.value, kind))
    assert (
        isinstance(caught.value, LabelStudioUnavailable) is caught.value.transient is (kind is LabelStudioUnavailable)
    )
    message = str(caught.value)
    assert not any(secret in message for secret in (LEGACY_TOKEN, PAT, "doctype"))
    return message


@pytest.mark.parametrize("key", [LEGACY_TOKEN, f" {PAT}\n"])
def test_both_kinds_of_token_open_the_api(connected: Connected, fake: FakeLabelStudio, key: str) -> None:
    ours = connected(fake, key)
    assert ours.project(7).title == "Calls"
    assert ours.project(7).model_version is None
    assert [project.id for project in ours.projects()] == [7]
    header = ours.authorization()["Authorization"]
    assert header == f"Token {LEGACY_TOKEN}" if key == LEGACY_TOKEN else header.startswith("Bearer ")


def test_a_personal_access_token_is_exchanged_once_for_many_calls_and_again_in_time(
    connected: Connected, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = connected(fake, PAT)
    for _ in range(3):
        ours.project(7)
    assert fake.paths().count("POST /api/token/refresh/") == 1
    monkeypatch.setattr(client, "TOKEN_SECONDS", 0.0)
    first, second = ours.authorization(), ours.authorization()
    assert first != second


def test_label_studio_may_live_under_a_prefix(connected: Connected) -> None:
    with fake_label_studio.serving("/label") as fake:
        assert connected(fake, PAT).project(7).id == 7
        assert connected(fake, PAT, label_studio_url=f"{fake.url}/").project(7).id == 7
        assert "check LABEL_STUDIO_URL" in failure(
            lambda: connected(fake, label_studio_url=f"http://127.0.0.1:{fake.port}").project(7), LabelStudioError
        )


def test_tasks_come_by_rising_id_and_none_is_skipped_because_another_was_deleted(
    connected: Connected, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAGE_SIZE", 1)
    ours = connected(fake)
    tasks = ours.tasks(7)
    assert next(tasks)["id"] == 3
    fake.tasks.pop(3)  # a second page counted from the start would skip 5 now
    assert [task["id"] for task in tasks] == [5, 8]
    assert [task["id"] for task in ours.tasks(7, ids=[8, 4, 5])] == [5, 8]
    assert [task["id"] for task in ours.tasks(7, after=5)] == [8]
    assert [task["id"] for task in ours.tasks(7, after=8)] == []
    fake.lost.append(8)
    assert [task["id"] for task in ours.tasks(7)] == [5]
    assert ours.task(7, 5)["data"] == {"audio": "s3://calls/5.wav"}


def test_nothing_that_is_asked_makes_label_studio_ask_back(connected: Connected, fake: FakeLabelStudio) -> None:
    """`GET /api/tasks/<id>/` and `/api/projects/<id>/next` call the backend's /predict before they answer."""
    ours = connected(fake)
    ours.task(7, 3)
    list(ours.tasks(7, predictions=True))
    list(ours.tasks(7, corrected=True))
    ours.create_prediction(3, [{"id": "r1"}], 0.5, "v1")
    ours.update_task(3, meta={"a": 1})
    ours.predictions(3)
    assert set(fake.paths()) == {
        "GET /api/tasks/",
        "POST /api/predictions/",
        "PATCH /api/tasks/3/",
        "GET /api/predictions/",
    }
    assert all("resolve_uri=false" in path for method, path, _ in fake.seen if path.startswith("/api/tasks/?"))


def test_predictions_are_stored_as_they_are_given(connected: Connected, fake: FakeLabelStudio) -> None:
    ours = connected(fake)
    result = [{"id": "r1", "value": {"start": 0.5, "text": ["Grüße", ""], "labels": []}, "score": None}]
    assert ours.create_prediction(3, result, 0.25, "v1") == 1
    assert ours.create_prediction(3, [], None, "v2") == 2
    assert ours.predictions(3)[0] == {"id": 1, "task": 3, "result": result, "score": 0.25, "model_version": "v1"}
    assert "score" not in ours.predictions(3)[1]
    assert ours.predictions(5) == []


def test_what_an_update_does_not_name_stays(connected: Connected, fake: FakeLabelStudio) -> None:
    ours = connected(fake)
    ours.update_task(3, meta={"diarist": {"error": "why"}})
    assert fake.tasks[3]["data"] == {"audio": "s3://calls/3.wav"}
    ours.update_task(3, data={"audio": "x", "speakers": []})
    assert fake.tasks[3] == {
        "id": 3,
        "data": {"audio": "x", "speakers": []},
        "meta": {"diarist": {"error": "why"}},
    }


def test_a_deleted_task_or_project_is_told_as_such(connected: Connected, fake: FakeLabelStudio) -> None:
    ours = connected(fake)
    for call in (
        lambda: ours.predictions(99),
        lambda: ours.create_prediction(99, [], None, "v"),
        lambda: ours.update_task(99, meta={}),
        lambda: ours.task(7, 99),
        lambda: ours.task(6, 3),
    ):
        assert "deleted" in failure(call, TaskGone)
    for other in (lambda: ours.project(6), lambda: list(ours.tasks(6))):
        assert "no project 6" in failure(other, ProjectGone)


def test_a_page_that_is_not_of_the_api_deletes_nothing(connected: Connected, fake: FakeLabelStudio) -> None:
    """A wrong path, or another server in its place, answers 404 too: no job must end as "deleted" for it."""
    ours = connected(fake)
    for call in (lambda: ours.predictions(3), lambda: ours.update_task(3, meta={}), lambda: list(ours.tasks(7))):
        fake.faults.append((404, NOT_A_PAGE_OF_ITS_API))
        with pytest.raises(LabelStudioError, match="check LABEL_STUDIO_URL") as caught:
            call()
        assert not isinstance(caught.value, TaskGone | ProjectGone)
    fake.faults.append((200, NOT_A_PAGE_OF_ITS_API))
    assert "does not answer as Label Studio does" in failure(lambda: ours.project(7), LabelStudioError)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("key", [LEGACY_TOKEN, PAT])
def test_label_studio_in_trouble_is_worth_another_try(
    connected: Connected, fake: FakeLabelStudio, status: int, key: str
) -> None:
    ours = connected(fake, key)
    fake.faults.append((status, NOT_A_PAGE_OF_ITS_API))  # with a personal access token, it is the exchange that fails
    assert f"status {status}" in failure(lambda: ours.create_prediction(3, [], None, "v"), LabelStudioUnavailable)
    assert fake.predictions == []
    assert len(fake.seen) == 1, "nothing is sent twice: the job looks first whether it is there"
    assert ours.create_prediction(3, [], None, "v") == 1


def test_label_studio_away_or_silent_is_worth_another_try(connected: Connected, fake: FakeLabelStudio) -> None:
    with socket.socket() as bound:  # bound, but not listening
        bound.bind(("127.0.0.1", 0))
        for key in (LEGACY_TOKEN, PAT):
            ours = connected(fake, key, label_studio_url=f"http://127.0.0.1:{bound.getsockname()[1]}")
            assert "cannot be reached" in failure(lambda: ours.project(7), LabelStudioUnavailable)  # noqa: B023
    fake.silent = True
    slow = connected(fake, label_studio_timeout_seconds=0.3)
    assert "took too long" in failure(lambda: slow.predictions(3), LabelStudioUnavailable)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("wrong", "create a new one"),
        (PAT[:-6] + "AAAAAA", "create a new one"),
        (EXPIRED_PAT, "create a new one"),
        (None, "LABEL_STUDIO_API_KEY is not set"),
        ("  ", "LABEL_STUDIO_API_KEY is not set"),
    ],
)
def test_a_token_that_does_not_work_says_what_to_do(
    connected: Connected, fake: FakeLabelStudio, key: str | None, advice: str
) -> None:
    assert advice in failure(lambda: connected(fake, key).project(7), LabelStudioError)
    if key != "wrong":  # a legacy token is only sent
        assert advice in failure(connected(fake, key).authorization, LabelStudioError)


def test_a_legacy_token_that_is_switched_off_says_what_to_do(connected: Connected, fake: FakeLabelStudio) -> None:
    fake.legacy_tokens = False
    assert "legacy tokens are switched off" in failure(lambda: connected(fake).project(7), LabelStudioError)


@pytest.mark.parametrize(("status", "advice"), [(403, "add the user to the project"), (302, "redirects to")])
def test_a_refusal_says_what_to_do(connected: Connected, fake: FakeLabelStudio, status: int, advice: str) -> None:
    fake.faults.append((status, b"{}"))
    assert advice in failure(lambda: connected(fake).project(7), LabelStudioError)


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://host", "https://", "http://me:secret@host", "https://host/?token=secret", ""]
)
def test_a_url_that_is_none_of_label_studio_s_is_told_at_once(url: str) -> None:
    with pytest.raises(BadRequest, match="LABEL_STUDIO_URL") as caught:
        LabelStudioClient(ProxySettings(label_studio_url=url))
    assert "secret" not in str(caught.value)


def test_no_token_is_ever_logged(connected: Connected, fake: FakeLabelStudio, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for key in (LEGACY_TOKEN, PAT):
        ours = connected(fake, key)
        token = ours.authorization()["Authorization"].split()[1]
        ours.project(7)
        assert token not in caplog.text
        assert key not in caplog.text


def test_the_client_is_light_until_it_is_used_and_never_loads_pandas_or_torch(fake: FakeLabelStudio) -> None:
    script = (
        "import sys\n"
        "from diarist_proxy.label_studio import client, recordings\n"
        "from diarist_proxy.settings import ProxySettings\n"
        "assert 'label_studio_sdk' not in sys.modules\n"
        f"ours = client.LabelStudioClient(ProxySettings(label_studio_url={fake.url!r}, "
        f"label_studio_api_key={LEGACY_TOKEN!r}))\n"
        "ours.create_prediction(3, [], None, 'v')\n"
        "assert not {'pandas', 'torch', 'faster_whisper', 'onnxruntime'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env={"PYTHONPATH": ":".join(sys.path)})
