"""`diarist label-studio export|report`: what people made of the predictions, read from Label Studio itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from diarist.commands.terminal import Terminal
from diarist.commands.writing import write_atomically
from diarist.errors import BadRequest
from diarist_proxy.label_studio import labeling
from diarist_proxy.label_studio.client import LabelStudioClient
from diarist_proxy.label_studio.corrections import evaluation, exports
from diarist_proxy.label_studio.corrections import report as reports
from diarist_proxy.label_studio.corrections.measured import Measured
from diarist_proxy.settings import ProxySettings


def export(settings: ProxySettings, terminal: Terminal, project: int, *, formats: str, folder: Path) -> None:
    """Write the corrected tasks in each format.

    Raises:
        BadRequest: there is no such format, or it cannot carry a task.
    """
    names = _formats(formats)
    with closing(LabelStudioClient(settings)) as client:
        audio_key = labeling.parse(client.project(project).label_config).audio_key
        tasks = client.tasks(project, corrected=True)
        corrected = list(exports.corrected_tasks(tasks, audio_key=audio_key))
    if not corrected:
        terminal.say(f"nobody has submitted an annotation in project {project} yet: nothing is written")
        return
    for name in names:
        for file_name, text in exports.write(name, corrected).items():
            write_atomically(folder / file_name, text)
            terminal.result(str(folder / file_name))
    terminal.say(f"{len(corrected)} corrected task{'s'[: len(corrected) != 1]}")


def report(settings: ProxySettings, terminal: Terminal, projects: Sequence[int], *, as_json: bool) -> None:
    """Print the report over all annotations of the projects."""
    with closing(LabelStudioClient(settings)) as client:
        counted = [each for project in projects for each in _measured(client.tasks(project, corrected=True))]
    sums = reports.by_version(counted)
    if as_json:
        terminal.result(json.dumps(reports.to_json(sums), ensure_ascii=False, indent=1))
    elif sums:
        Console().print(reports.table(sums))
    else:
        terminal.say("no annotation with a prediction to compare it with yet")


def _measured(tasks: Iterator[Mapping[str, Any]]) -> Iterator[tuple[str | None, Measured]]:
    """The counts of each annotation, under the version of the prediction that it began with."""
    for task in tasks:
        predictions = sorted(task.get("predictions") or (), key=lambda item: int(item["id"]))
        for annotation in task.get("annotations") or ():
            before = _prediction_behind(annotation, predictions)
            if before is not None and not annotation.get("was_cancelled"):
                measured = evaluation.measure(
                    before["result"], annotation["result"], lead_time=annotation.get("lead_time"), duration=None
                )
                yield before.get("model_version"), measured


def _prediction_behind(
    annotation: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The prediction that an annotation began with; else the task's newest."""
    parents = [item for item in predictions if item["id"] == annotation.get("parent_prediction")]
    return next(reversed(parents or predictions), None)


def _formats(given: str) -> tuple[exports.Name, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    unknown = [name for name in names if name not in exports.FORMATS]
    if unknown or not names:
        raise BadRequest(f"--format {given}: one or more of {', '.join(exports.FORMATS)} are needed")
    return cast("tuple[exports.Name, ...]", names)
