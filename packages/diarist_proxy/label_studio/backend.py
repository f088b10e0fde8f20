"""What is done for a task, unless a team names a class of its own: `DIARIST_BACKEND=module:Class` (see `own_logic`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diarist.errors import AudioUnreachable, BadRequest, ModelFailed
from diarist.formats import seed
from diarist.types import Span, Transcript
from diarist_proxy.endpoint import Recording
from diarist_proxy.label_studio import labeling, prediction
from diarist_proxy.label_studio.corrections import evaluation, hints
from diarist_proxy.label_studio.labeling import Labeling, options
from diarist_proxy.label_studio.own_logic import Backend, Task
from diarist_proxy.label_studio.prediction import speakers
from diarist_proxy.label_studio.recordings import cropped
from diarist_proxy.store import Correction

__all__ = ["Backend", "DiaristBackend"]

UNFETCHED = AudioUnreachable.status

logger = logging.getLogger(__name__)


class DiaristBackend(Backend):
    """Who said what, when, by diarist's model; and what people made of it."""

    @property
    def labeling(self) -> Labeling:
        """What the labeling config offers to write to."""
        return labeling.parse(self.label_config)

    def check(self) -> None:
        """Refuse a config without an Audio, or with nothing that points to it, and options that are none."""
        options.merged(self.services.settings, self.extra_params, self.labeling, {}, None)

    @property
    def keys_of_its_own(self) -> frozenset[str]:
        """The key of the labels that a task brings: speakers who are heard are added there."""
        key = self.labeling.dynamic_key
        return frozenset() if key is None else frozenset({key})

    def predict(
        self,
        tasks: Sequence[Task],
        context: Mapping[str, Any] | None = None,
        **_: Any,  # noqa: ANN401
    ) -> list[dict[str, Any]]:
        """One prediction a task; with a context, the text of the regions drawn.

        Raises:
            ConfigUnusable, BadRequest: the config, an option or the recording cannot work; says what to change.
        """
        regions = (context or {}).get("result")
        return [self._heard_again(task, regions) if regions else self._whole(task) for task in tasks]

    def transcribe(self, task: Task) -> Transcript:
        """The transcript of a task's recording, with the options of service, project and task."""
        try:
            return self._heard(task, fetches_urls=self.services.endpoint.fetches_urls)
        except BadRequest as error:
            if error.status != UNFETCHED or not self.services.endpoint.fetches_urls:
                raise
            # A presigned URL lives for minutes, and may have waited longer in the model's queue.
            logger.info(
                "task %s: the model could not have its URL (%s); the recording is sent along", task["id"], error
            )
            return self._heard(task, fetches_urls=False)

    def _heard(self, task: Task, *, fetches_urls: bool) -> Transcript:
        opened = self.services.recordings.opened(
            self.value(task),
            task=int(task["id"]),
            project=self.project_id,
            fetches_urls=fetches_urls,
            cancelled=self.call.cancelled,
        )
        with opened as recording:
            return self._read(self.services.endpoint.transcribe(recording, self._options(task).request, self.call))

    def value(self, task: Task) -> str:
        """Where a task's recording is, as its data says.

        Raises:
            BadRequest: the data lacks the key that the config's Audio shows.
        """
        data, key = task["data"], self.labeling.audio_key
        value = data.get(key) or data.get("$undefined$")  # Label Studio's key where a config names none
        if not isinstance(value, str) or not value.strip():
            raise BadRequest(
                f"the task's data has no recording under \"{key}\", which the labeling config's Audio shows; "
                f"it has {', '.join(sorted(data)) or 'nothing'}"
            )
        return value.strip()

    def fit(self, event: str, data: Mapping[str, Any], **_: Any) -> str | None:  # noqa: ANN401
        """Measure a correction; on START_TRAINING, learn the words and the speakers' names that people put right."""
        return self._learn() if event == "START_TRAINING" else self._measure(data)

    def _options(self, task: Task) -> options.TaskOptions:
        return options.merged(
            self.services.settings,
            self.extra_params,
            self.labeling,
            task["data"],
            self.services.projects.hints(self.project_id),
        )

    def _whole(self, task: Task) -> dict[str, Any]:
        transcript, data = self.transcribe(task), task["data"]
        renames = self.services.projects.renames(self.project_id)
        speakers_of_task = prediction.dynamic_labels(transcript, self.labeling, data, renames=renames)
        if speakers_of_task is not None and self.labeling.dynamic_key is not None:
            data = {**data, self.labeling.dynamic_key: speakers_of_task}
            self.services.client.update_task(int(task["id"]), data=data)
        built = prediction.build(
            transcript,
            self.labeling,
            text_format=self._options(task).text_format,
            renames=renames,
            task_data=data,
        )
        return {**built, "model_version": self.model_version, "duration": transcript.duration}

    def _heard_again(self, task: Task, regions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The text of drawn regions, each heard alone."""
        request = options.for_region(self._options(task).request)
        path = self.get_local_path(self.value(task), int(task["id"]))
        answers = {}
        for region_id, span in _spans(regions).items():
            with cropped(path, span) as clip:
                answer = self.services.endpoint.transcribe(Recording(path=clip), request, self.call)
            answers[region_id] = self._read(answer)
        items = prediction.retranscribed(list(regions), answers, self.labeling)
        return {"result": items, "score": None, "model_version": self.model_version}

    def _read(self, answer: Mapping[str, Any]) -> Transcript:
        try:
            transcript = seed.from_dict(answer)
        except BadRequest as error:
            raise ModelFailed(f"the model's answer is not a transcript: {error}") from None
        self.services.projects.heard_from(transcript.model_version)
        return transcript

    def _measure(self, data: Mapping[str, Any]) -> str | None:
        annotation = data["annotation"]
        before = self._prediction_behind(annotation)
        if before is None:
            return "nothing to compare with: the task has no prediction"
        measured = evaluation.measure(
            before["result"], annotation["result"], lead_time=annotation.get("lead_time"), duration=data.get("duration")
        )
        self.services.store.save_correction(
            Correction(
                project=self.project_id,
                task=int(annotation["task"]),
                annotation=int(annotation["id"]),
                model_version=before.get("model_version"),
                lead_time=annotation.get("lead_time"),
                measured=measured.to_json(),
                updated_at=float(data["updated_at"]),
            )
        )
        return None

    def _prediction_behind(self, annotation: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The prediction that an annotation began with; else the task's newest."""
        found = sorted(self.services.client.predictions(int(annotation["task"])), key=lambda item: int(item["id"]))
        parents = [item for item in found if item["id"] == annotation.get("parent_prediction")]
        chosen = parents or found
        return chosen[-1] if chosen else None

    def _learn(self) -> str:
        pairs = list(self._pairs())
        kept = self.services.projects.hints(self.project_id) or {}
        learned = hints.mined(pairs, known=kept.get("hotwords", ()))  # a word that helps must not be lost by helping
        renames = speakers.renames(pairs, self.labeling)
        self.services.projects.learn(self.project_id, learned, renames)
        return f"{len(pairs)} corrected tasks: {len(learned.hotwords)} words to expect, {len(renames)} speakers' labels"

    def _pairs(self) -> Iterable[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
        """What the model said and what people made of it, for each corrected task of the project."""
        for task in self.services.client.tasks(self.project_id, corrected=True):
            by_id = {item["id"]: item for item in task["predictions"]}
            for annotation in task["annotations"]:
                before = by_id.get(annotation.get("parent_prediction"))
                if before is not None and not annotation.get("was_cancelled"):
                    yield before["result"], annotation["result"]


def _spans(regions: Iterable[Mapping[str, Any]]) -> dict[str, Span]:
    """The times of drawn regions, by their ids."""
    spans = {}
    for item in regions:
        value = item.get("value", {})
        times = [value.get("start"), value.get("end")]
        if all(isinstance(time, (int, float)) for time in times):
            start, end = sorted(map(float, times))
            spans[str(item["id"])] = Span(max(0.0, start), max(0.0, end))
    return spans
