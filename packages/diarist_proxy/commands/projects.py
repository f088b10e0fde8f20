"""`diarist label-studio setup|backfill|status`: projects connected to the proxy, and how their predictions stand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from diarist.commands.terminal import Terminal
from diarist.errors import BadRequest
from diarist_proxy.commands.running_proxy import RunningProxy, Standing
from diarist_proxy.label_studio import connecting as project_setup
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.label_studio.connecting import Wanted
from diarist_proxy.label_studio.connecting.waiting import Patience
from diarist_proxy.label_studio.labeling.templates import ConfigChoice
from diarist_proxy.settings import ProxySettings

TITLE_LENGTHS = range(3, 51)  # Label Studio's PROJECT_TITLE_MIN_LEN and PROJECT_TITLE_MAX_LEN


def wanted(
    settings: ProxySettings,
    *,
    title: str,
    project: int | None,
    backend_url: str | None,
    config: ConfigChoice | None,
    replaces_config: bool,
    interactive: bool,
    in_order: bool,
    extra_params: str | None,
) -> Wanted:
    """What the options ask for.

    Raises:
        BadRequest: the parameters are no JSON object, or no project can have the title.
    """
    if project is None and len(title.strip()) not in TITLE_LENGTHS:
        raise BadRequest(
            f"--title {title!r}: Label Studio wants {TITLE_LENGTHS[0]} to {TITLE_LENGTHS[-1]} characters, and it has "
            f"{len(title.strip())}"
        )
    return Wanted(
        backend_url=backend_url or f"http://localhost:{settings.port}",
        title=title,
        project=project,
        config=config,
        replaces_config=replaces_config,
        interactive=interactive,
        in_order=in_order,
        extra_params=None if extra_params is None else _object(extra_params),
    )


def set_up(settings: ProxySettings, terminal: Terminal, what: Wanted, *, seconds: float) -> None:
    """Create or check the project; prints its address, and beside it what was done.

    Label Studio, and the proxy as Label Studio sees it, have so many seconds to answer.
    """
    with closing(LabelStudioClient(settings)) as client:
        outcome = project_setup.set_up(client, settings, what, Patience(seconds, terminal.say))
        for line in (*outcome.done, *outcome.advice):
            terminal.say(line)
        terminal.say(f"predictions will be of the version {outcome.model_version}; import recordings there:")
        terminal.result(f"{client.url}projects/{outcome.project.id}/data")


def backfill(settings: ProxySettings, terminal: Terminal, project: int, *, proxy_url: str | None, waits: bool) -> None:
    """Queue what has no prediction, and watch it until it is done."""
    with closing(RunningProxy(settings, proxy_url)) as proxy:
        before = proxy.standing(project)
        proxy.backfill(project)
        if not waits:
            terminal.say(f"queued; diarist label-studio status --project {project} shows how it stands")
            return
        standing = _watched(proxy.watched(project), before, terminal, project)
    failed_before = set(before.failed)
    for task, why in standing.failed:
        if (task, why) not in failed_before or standing.jobs.get("failed", 0) > before.jobs.get("failed", 0):
            terminal.error(_named(task), why)
    terminal.result(_counted(standing))


def status(settings: ProxySettings, terminal: Terminal, project: int, *, proxy_url: str | None, as_json: bool) -> None:
    """Print how a project stands."""
    with closing(RunningProxy(settings, proxy_url)) as proxy:
        standing = proxy.standing(project)
    if as_json:
        failed = [{"task": task, "error": why} for task, why in standing.failed]
        body: dict[str, Any] = {"model_version": standing.model_version, "jobs": dict(standing.jobs), "failed": failed}
        body["waiting"] = [{"task": task, "attempts": tries, "error": why} for task, tries, why in standing.waiting]
        terminal.result(json.dumps(body, ensure_ascii=False, indent=1))
        return
    terminal.result(f"model version: {standing.model_version}")
    terminal.result(f"jobs: {_counted(standing)}")
    for task, why in standing.failed:
        terminal.result(f"{_named(task)} failed: {why}")
    for task, tries, why in standing.waiting:
        terminal.result(f"{_named(task)} is tried again, {_times(tries)} so far: {why}")


def _watched(standings: Iterator[Standing], before: Standing, terminal: Terminal, project: int) -> Standing:
    last, told = before, set[str]()
    with terminal.watching(f"project {project}") as observer:
        for last in standings:
            for task, tries, why in last.waiting:
                if why not in told:  # one line for all tasks that wait for the same
                    terminal.say(f"{_named(task)} is tried again, {_times(tries)} so far: {why}")
                    told.add(why)
            done = max(0, last.ended - before.ended)
            observer(f"{last.jobs.get('running', 0)} at work", done, done + last.active)
    return last


def _named(task: int | None) -> str:
    return "the project" if task is None else f"task {task}"


def _times(tries: int) -> str:
    return f"{tries} attempt{'s'[: tries != 1]}"


def _counted(standing: Standing) -> str:
    """Counts in words.

    >>> _counted(Standing("v", {"done": 3, "waiting": 0, "failed": 1}, ()))
    '3 done, 1 failed'
    """
    return ", ".join(f"{number} {state}" for state, number in standing.jobs.items() if number) or "none yet"


def _object(text: str) -> Mapping[str, Any]:
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRequest(f'--extra-params: JSON is needed, as in {{"language": "en"}}: {error}') from None
    if not isinstance(body, dict):
        raise BadRequest('--extra-params: an object is needed, as in {"language": "en"}')
    return body
