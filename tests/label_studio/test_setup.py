"""`diarist label-studio setup`: what it changes, what it leaves, and what it says where Label Studio will not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import label_studio_environment
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.label_studio.connecting.backend import follow_version
from diarist_proxy.settings import ProxySettings
from label_studio_environment import LabelStudio, Refused
from ports import free_port
from proxy_environment import Proxy

HAND_MADE = '<View><Labels name="l" toName="a"><Label value="A"/></Labels><Audio name="a" value="$a"/></View>'


def as_it_is(label_studio: LabelStudio, project: int) -> tuple[object, ...]:
    """All that the command may change, without the times of changes."""
    settings = label_studio.get(f"/api/projects/{project}/")
    kept = ("title", "label_config", "model_version", "show_collab_predictions", "sampling")
    rows = [*label_studio.backends(project), *label_studio.webhooks(project)]
    changing = {"updated_at", "created_at"}
    return (
        [settings[name] for name in kept],
        [{name: value for name, value in row.items() if name not in changing} for row in rows],
    )


def test_a_second_time_changes_nothing(label_studio: LabelStudio, shared_proxy: Proxy) -> None:
    project = shared_proxy.set_up("Twice", "--labels", "Agent,Customer", "--interactive")
    before = as_it_is(label_studio, project)
    title = label_studio.get(f"/api/projects/{project}/")["title"]
    shared_proxy.command("setup", "--title", title, "--backend-url", shared_proxy.url)
    assert [found["title"] for found in label_studio.get("/api/projects/", page_size=1000)["results"]].count(title) == 1
    assert as_it_is(label_studio, project) == before


def test_what_is_wrong_is_put_right(label_studio: LabelStudio, shared_proxy: Proxy) -> None:
    project = shared_proxy.set_up("Put right")
    before = as_it_is(label_studio, project)
    (backend,), (webhook,) = label_studio.backends(project), label_studio.webhooks(project)
    label_studio.patch(f"/api/webhooks/{webhook['id']}/", url=webhook["url"], is_active=False)
    label_studio.patch(f"/api/projects/{project}/", show_collab_predictions=False, model_version="")
    label_studio.patch(f"/api/ml/{backend['id']}", title="renamed", url=backend["url"], project=project)
    shared_proxy.command("setup", "--project", str(project), "--backend-url", shared_proxy.url)
    assert as_it_is(label_studio, project) == before


def test_a_config_that_works_is_kept_and_one_that_is_asked_for_can_replace_it(
    label_studio: LabelStudio, shared_proxy: Proxy
) -> None:
    project = label_studio.create_project(HAND_MADE)
    asked = ("setup", "--project", str(project), "--backend-url", shared_proxy.url, "--speakers", "2")
    printed = shared_proxy.command(*asked)
    assert label_studio.get(f"/api/projects/{project}/")["label_config"] == HAND_MADE
    assert "--replace-config" in printed.stderr
    shared_proxy.command(*asked, "--replace-config")
    assert "Speaker 2" in label_studio.get(f"/api/projects/{project}/")["label_config"]


def test_an_empty_project_gets_the_config(label_studio: LabelStudio, shared_proxy: Proxy) -> None:
    project = label_studio.create_project("<View></View>")
    shared_proxy.command("setup", "--project", str(project), "--backend-url", shared_proxy.url)
    assert "Speaker 4" in label_studio.get(f"/api/projects/{project}/")["label_config"]


def test_an_address_that_does_not_answer_leaves_nothing_behind(label_studio: LabelStudio, shared_proxy: Proxy) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    refused = shared_proxy.command(
        "setup", "--title", "Nobody there", "--backend-url", nobody, "--wait", "5", check=False
    )
    assert refused.returncode == 1
    assert "waiting for the proxy at " in refused.stderr
    assert "cannot reach the proxy" in refused.stderr
    titles = [project["title"] for project in label_studio.get("/api/projects/", page_size=1000)["results"]]
    assert "Nobody there" not in titles


def test_a_proxy_that_is_only_just_starting_is_waited_for(
    label_studio: LabelStudio, tmp_path: Path, shared_proxy: Proxy
) -> None:
    late = Proxy(tmp_path, free_port(), shared_proxy.settings)
    with ThreadPoolExecutor(1) as pool:
        connecting = pool.submit(late.command, "setup", "--title", "Late", "--backend-url", late.url, "--wait", "120")
        try:
            late.start()
            assert "backend connected" in connecting.result(timeout=300).stderr
        finally:
            late.kill()


@pytest.mark.parametrize(
    ("has", "given", "advice"),
    [
        ({"DIARIST_PATH_SECRET": "s3cr3tpath"}, {"path_secret": ""}, "set DIARIST_PATH_SECRET here"),
        ({"DIARIST_PATH_SECRET": "s3cr3tpath"}, {"path_secret": "wr0ngpath"}, "set DIARIST_PATH_SECRET here"),
        (
            {"BASIC_AUTH_USER": "u", "BASIC_AUTH_PASS": "p", "DIARIST_PATH_SECRET": "s3cr3tpath"},
            {"basic_auth_user": "", "basic_auth_pass": ""},
            "set BASIC_AUTH_USER and BASIC_AUTH_PASS here",
        ),
    ],
)
def test_a_secret_or_a_password_that_is_missing_is_named_and_none_is_shown(
    shared_proxy: Proxy, tmp_path: Path, has: dict[str, str], given: dict[str, str], advice: str
) -> None:
    guarded = Proxy(tmp_path, free_port(), {**shared_proxy.settings, **has})
    guarded.start()
    try:
        bare = f"http://127.0.0.1:{guarded.port}"
        refused = guarded.command("setup", "--title", "Guarded badly", "--backend-url", bare, check=False, **given)
    finally:
        guarded.kill()
    assert refused.returncode == 1
    assert advice in refused.stderr
    assert "s3cr3tpath" not in refused.stderr
    assert "wr0ngpath" not in refused.stderr


def test_a_host_that_webhooks_cannot_have_is_explained(label_studio: LabelStudio, shared_proxy: Proxy) -> None:
    """Between containers, names have no dot: the backend would be connected, and no webhook made."""
    refused = shared_proxy.command("setup", "--title", "No dot", "--backend-url", "http://diarist:9090", check=False)
    assert refused.returncode == 2
    assert "network alias" in refused.stderr


def test_a_private_address_that_label_studio_refuses_is_explained(shared_proxy: Proxy, tmp_path: Path) -> None:
    """As Label Studio is installed, it calls none."""
    default = {"USE_DEFAULT_BANNED_SUBNETS": "true", "USER_ADDITIONAL_BANNED_SUBNETS": ""}
    with label_studio_environment.running(tmp_path, **default) as strict:
        refused = shared_proxy.command(
            "setup", "--backend-url", shared_proxy.url, check=False, label_studio_url=strict.url,
            label_studio_api_key=strict.token,
        )  # fmt: skip
        assert refused.returncode == 1
        assert "USE_DEFAULT_BANNED_SUBNETS=false USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16" in refused.stderr
        assert strict.get("/api/projects/")["count"] == 0


def test_scores_are_shown_and_doubtful_tasks_come_first_after_a_new_version_too(
    label_studio: LabelStudio, shared_proxy: Proxy
) -> None:
    """Label Studio's column of scores and its sampling go by the project's version, not by the backend's title."""
    project = shared_proxy.set_up("Versions")
    version = label_studio.get(f"/api/projects/{project}/")["model_version"]
    (backend,) = label_studio.backends(project)
    assert backend["title"] == backend["model_version"] == version

    tasks = label_studio.import_tasks(project, [{"audio": "http://127.0.0.1:1/a.wav"}] * 2)
    shared_proxy.wait_until_idle(project=project)
    for task, score in zip(tasks, (0.9, 0.2), strict=True):
        label_studio.post("/api/predictions/", task=task, result=[], score=score, model_version=version)
    assert [task["predictions_score"] for task in label_studio.tasks(project)] == [0.9, 0.2]
    assert label_studio.get(f"/api/projects/{project}/next")["id"] == tasks[1]

    label_studio.patch(f"/api/ml/{backend['id']}", title="before-1", url=backend["url"], project=project)
    assert label_studio.get(f"/api/projects/{project}/")["model_version"] == "before-1"
    given = {"label_studio_url": label_studio.url, "label_studio_api_key": label_studio.token}
    settings = ProxySettings.model_validate(given)
    client = LabelStudioClient(settings)
    try:
        assert follow_version(client, settings, project, version)
        assert not follow_version(client, settings, project, version)
    finally:
        client.close()
    assert label_studio.get(f"/api/projects/{project}/")["model_version"] == version


NOTHING_TO_WRITE_TO = '<View><Audio name="audio" value="$audio"/></View>'


def test_a_config_that_cannot_work_is_explained_where_the_backend_is_connected(
    label_studio: LabelStudio, shared_proxy: Proxy
) -> None:
    project = label_studio.create_project(NOTHING_TO_WRITE_TO, title="Nothing to write to")
    with pytest.raises(Refused, match="Labels"):
        label_studio.connect(project, shared_proxy.url)


def test_a_config_that_stops_working_is_explained_on_the_models_card(
    label_studio: LabelStudio, shared_proxy: Proxy
) -> None:
    project = shared_proxy.set_up("Nothing left to write to")
    label_studio.patch(f"/api/projects/{project}/", label_config=NOTHING_TO_WRITE_TO)
    (backend,) = label_studio.backends(project)
    assert backend["readable_state"] == "Error"
    assert "Labels" in backend["error_message"]
