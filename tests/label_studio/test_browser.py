"""What people see and do in the labelling page, in a real browser: Debian's Chromium, where it is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import label_studio_environment
from conversations import Conversation
from label_studio_environment import LabelStudio
from proxy_environment import Proxy
from regions import regions
from truss_environment import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT_MS = 120_000

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: install Debian's chromium")


@pytest.fixture
def page(label_studio: LabelStudio) -> Iterator[Page]:
    """A page of somebody who is logged in."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - where there is a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{label_studio.url}/user/login/")
        page.fill("input[name=email]", label_studio_environment.USERNAME)
        page.fill("input[name=password]", label_studio_environment.PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url, wait_until="domcontentloaded")
        yield page
        browser.close()


def test_a_text_corrected_in_the_page_is_in_the_report(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...], page: Page
) -> None:
    project = shared_proxy.set_up("Browser")
    (task,) = label_studio.upload(project, calls[2].path)
    (prediction,) = label_studio.wait_for_predictions(project, [task])[task]
    texts = [region.text or "" for region in regions(prediction["result"])]

    page.goto(f"{label_studio.url}/projects/{project}/data?labeling=1")
    page.wait_for_selector("canvas")
    shown, written = page.get_by_test_id("textarea-region-view"), page.get_by_test_id("textarea-region-textarea")
    shown.nth(len(texts) - 1).wait_for()
    assert [written.nth(index).input_value() for index in range(len(texts))] == texts
    shown.nth(1).click()
    written.nth(1).fill(f"{texts[1]} Indeed.")
    written.nth(1).press("Enter")
    page.get_by_test_id("bottombar-submit-button").click()

    def submitted() -> bool:
        return bool(label_studio.tasks(project)[0]["total_annotations"])

    assert eventually(submitted, within=120)
    ((annotation,),) = [each["annotations"] for each in label_studio.tasks(project)]
    assert annotation["parent_prediction"] == prediction["id"]
    report = json.loads(shared_proxy.command("report", "--project", str(project), "--json").stdout)
    total = report["total"]
    num_words = sum(len(text.split()) for text in texts) + 1  # no contraction or number, which normalizers write out
    assert (total["recordings"], total["words"], total["deletions"]) == (1, num_words, 1)
    assert total["changed_share"] == pytest.approx(1 / len(texts))
    assert total["seconds_per_audio_minute"] > 0
