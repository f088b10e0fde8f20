"""Tasks that were there before the backend: retrieved from the data manager, or queued by the command."""

from __future__ import annotations

from conversations import Conversation
from label_studio_environment import LabelStudio
from proxy_environment import Proxy
from regions import regions, speakers_match

CONFIG = """<View>
  <Labels name="who" toName="sound"><Label value="A"/><Label value="B"/></Labels>
  <Audio name="sound" value="$recording"/>
  <TextArea name="said" toName="sound" perRegion="true" editable="true"/>
</View>"""


def test_retrieving_predictions_for_all_tasks_twice_makes_no_duplicates(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...]
) -> None:
    project = label_studio.create_project(CONFIG)
    tasks = label_studio.upload(project, *(call.path for call in calls[:4]))
    label_studio.connect(project, shared_proxy.url)
    assert label_studio.predictions(project) == {}

    label_studio.retrieve_predictions(project)
    found = label_studio.wait_for_predictions(project, tasks)
    for task, call in zip(tasks, calls, strict=False):
        assert speakers_match(regions(found[task][0]["result"]), call.turns)

    done = len(shared_proxy.jobs(project=project))
    label_studio.retrieve_predictions(project)
    assert len(shared_proxy.jobs(project=project)) == done  # Label Studio asks for none: each has this version
    assert {task: len(rows) for task, rows in label_studio.predictions(project).items()} == dict.fromkeys(tasks, 1)


def test_retrieving_while_jobs_still_wait_makes_no_duplicates(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...]
) -> None:
    project = label_studio.create_project(CONFIG)
    tasks = label_studio.upload(project, *(call.path for call in calls[:4]))
    label_studio.connect(project, shared_proxy.url)
    for _ in range(3):
        label_studio.retrieve_predictions(project)
    label_studio.wait_for_predictions(project, tasks)
    shared_proxy.wait_until_idle(project=project)
    assert {task: len(rows) for task, rows in label_studio.predictions(project).items()} == dict.fromkeys(tasks, 1)


def test_backfill_queues_what_has_no_prediction_and_ends_when_all_have_one(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...]
) -> None:
    project = label_studio.create_project(CONFIG)
    tasks = label_studio.upload(project, *(call.path for call in calls[:3]))
    shared_proxy.command("setup", "--project", str(project), "--backend-url", shared_proxy.url)

    printed = shared_proxy.command("backfill", "--project", str(project))
    assert set(label_studio.predictions(project)) == set(tasks)  # it ends when they are there
    assert "done" in printed.stdout

    predictions = [job for job in shared_proxy.jobs(project=project) if job["kind"] == "predict"]
    shared_proxy.command("backfill", "--project", str(project))
    assert [job for job in shared_proxy.jobs(project=project) if job["kind"] == "predict"] == predictions
    assert {task: len(rows) for task, rows in label_studio.predictions(project).items()} == dict.fromkeys(tasks, 1)


def test_backfill_names_the_tasks_that_failed_and_finishes_the_others(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...]
) -> None:
    project = label_studio.create_project(CONFIG)
    good, bad = (
        *label_studio.upload(project, calls[0].path),
        *label_studio.import_tasks(project, [{"recording": "/data/upload/999/missing.wav"}]),
    )
    shared_proxy.command("setup", "--project", str(project), "--backend-url", shared_proxy.url)

    done = shared_proxy.command("backfill", "--project", str(project), check=False)
    assert done.returncode == 1
    assert f"task {bad}:" in done.stderr
    assert set(label_studio.predictions(project)) == {good}
    assert f"task {bad} failed" in shared_proxy.command("status", "--project", str(project)).stdout
    (meta,) = [task["meta"] for task in label_studio.tasks(project) if task["id"] == bad]
    assert "missing.wav" in meta["diarist"]["error"]
