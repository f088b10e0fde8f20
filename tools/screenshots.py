"""The pictures of docs/images: a real Label Studio with predictions of the embedded model, seen by headless Chromium.

    python tools/screenshots.py            write docs/images/*.png
    python tools/screenshots.py DIR        write them there

It needs what `make test-label-studio` needs, and Debian's package chromium; CHROMIUM names another executable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "packages"), str(ROOT / "tests")]

from playwright.sync_api import Page, sync_playwright  # noqa: E402 - the paths first

import label_studio_environment  # noqa: E402
import proxy_environment  # noqa: E402
from diarist.models import ModelStore  # noqa: E402
from diarist.settings import Settings  # noqa: E402
from label_studio_environment import LabelStudio  # noqa: E402
from proxy_environment import Proxy  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
VIEW = {"width": 1440, "height": 760}
WAIT_MS = 60_000  # for a page of a loaded machine
SETTLE_MS = 3_000  # for what is drawn after it is there: the waveform's canvas


def main() -> None:
    """Write the pictures."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "images")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        (scratch / "label-studio").mkdir()
        server = stack.enter_context(label_studio_environment.running(scratch / "label-studio"))
        given = {"label_studio_url": server.url, "label_studio_api_key": server.token}
        proxy = stack.enter_context(proxy_environment.serving(scratch / "proxy", **given))
        project = predicted(server, proxy)
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        stack.callback(browser.close)
        page = browser.new_page(viewport=VIEW)  # type: ignore[arg-type] # a plain dict will do
        page.set_default_timeout(WAIT_MS)
        log_in(page, server)
        for name, shoot in shots(page, server, project).items():
            shoot()
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=folder / f"{name}.png")
            print(folder / f"{name}.png")


def predicted(server: LabelStudio, proxy: Proxy) -> int:
    """A project with the sample call in it, predicted; its id."""
    project = proxy.set_up("Calls", "--labels", "Diane,Sheila")
    folder = ModelStore(Settings()).folder("sample")
    (task,) = server.upload(project, folder / "sample.wav")
    server.wait_for_predictions(project, [task])
    return project


def log_in(page: Page, server: LabelStudio) -> None:
    """As people do."""
    page.goto(f"{server.url}/user/login/")
    page.fill("input[name=email]", label_studio_environment.USERNAME)
    page.fill("input[name=password]", label_studio_environment.PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url, wait_until="domcontentloaded")


def shots(page: Page, server: LabelStudio, project: int) -> dict[str, Callable[[], None]]:
    """How to get to what each picture shows, by its name."""

    def labeling() -> None:
        page.goto(f"{server.url}/projects/{project}/data?labeling=1")  # what "Label All Tasks" opens
        page.wait_for_selector("canvas")
        page.wait_for_selector("text=Sheila")
        page.wait_for_timeout(SETTLE_MS)
        page.locator(".lsf-tabs-panel__toggle").nth(1).click()  # the panel of details makes room for that of regions

    def editing() -> None:
        page.get_by_test_id("textarea-region-view").nth(1).click()
        page.get_by_test_id("textarea-region-textarea").nth(1).fill("Neither did I.")

    def model() -> None:
        page.goto(f"{server.url}/projects/{project}/settings/ml")
        page.wait_for_selector("text=Connected")

    return {"labeling": labeling, "editing": editing, "model": model}


if __name__ == "__main__":
    main()
