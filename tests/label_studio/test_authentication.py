"""Who may call the proxy: a user and password, or a secret in the path; Label Studio's webhooks come in by both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from conversations import Conversation
from label_studio_environment import LabelStudio
from proxy_environment import Proxy

BASIC = {"basic_auth_user": "label-studio", "basic_auth_pass": "not: a secret"}
WRONG = {"basic_auth_pass": "wrong"}
IN_THE_PATH = {"path_secret": "hard-to-guess"}


@pytest.mark.parametrize("guard", [BASIC, IN_THE_PATH, {**BASIC, **IN_THE_PATH}], ids=["basic", "path", "both"])
def test_predictions_come_without_a_click_and_strangers_get_nothing(
    label_studio: LabelStudio, proxy: Callable[..., Proxy], calls: tuple[Conversation, ...], guard: dict[str, str]
) -> None:
    server = proxy(**guard)
    address = f"http://127.0.0.1:{server.port}"
    project = server.set_up(f"Guarded {len(guard)} {'path_secret' in guard}", "--backend-url", address)
    (task,) = label_studio.upload(project, calls[2].path)
    label_studio.wait_for_predictions(project, [task])

    for method, path in (("POST", "/predict"), ("POST", "/setup"), ("POST", "/webhook"), ("GET", "/v1/jobs")):
        assert requests.request(method, address + path, json={}, timeout=120).status_code in {401, 404}
        assert requests.request(method, address + path, json={}, auth=("u", "p"), timeout=120).status_code in {401, 404}
    secrets = [value for name, value in guard.items() if name != "basic_auth_user"]
    assert [secret for secret in secrets if secret in server.log] == []


def test_the_commands_need_what_the_proxy_needs(label_studio: LabelStudio, proxy: Callable[..., Proxy]) -> None:
    server = proxy(**BASIC)
    refused = server.command("status", "--project", "1", check=False, **WRONG)
    assert refused.returncode == 1
    assert "BASIC_AUTH_USER" in refused.stderr
    refused = server.command("setup", "--backend-url", server.url, "--title", "Wrong", check=False, **WRONG)
    assert refused.returncode == 1
    assert "BASIC_AUTH_PASS" in refused.stderr
    titles = [project["title"] for project in label_studio.get("/api/projects/", page_size=1000)["results"]]
    assert "Wrong" not in titles  # what was made before the refusal is taken back
