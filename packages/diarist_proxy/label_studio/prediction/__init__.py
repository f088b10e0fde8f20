"""A transcript as a prediction for one labeling config, checked before it is sent.

Regions come from `diarist.formats.label_studio`; here stands what depends on the config: which labels speakers get,
renames that people made before, the labels that a task brings itself, and the text of a whole recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from diarist.errors import BadRequest
from diarist.formats import label_studio
from diarist.request import LabelStudioTarget
from diarist.text import flat, join
from diarist.types import Segment, Span, Transcript
from diarist_proxy.label_studio.labeling import Labeling
from diarist_proxy.label_studio.labeling.templates import COLOURS
from diarist_proxy.label_studio.prediction import recording_text
from diarist_proxy.label_studio.prediction.checking import PredictionInvalid, check

__all__ = ["PredictionInvalid", "build", "check", "dynamic_labels", "retranscribed"]

RENAMED_FROM = "renamed_from"  # in a region's meta: the label that the speaker had before people's renames
WHOLE_TEXT_ID = "text"  # of the item that holds a whole recording's text
Item = dict[str, Any]


def build(
    transcript: Transcript,
    labeling: Labeling,
    *,
    text_format: str,
    renames: Mapping[str, str],
    task_data: Mapping[str, Any],
) -> dict[str, Any]:
    """The prediction: result, score, model_version.

    Args:
        transcript: what was said.
        labeling: what the config offers.
        text_format: speakers, plain, srt or vtt, for the text of a whole recording.
        renames: the label that people gave, for the label that a speaker would get.
        task_data: the task's data; where it brings the labels, as `dynamic_labels` has made it.

    Raises:
        BadRequest: there are too few labels for the speakers, and no fallback.
    """
    target = _target(transcript, labeling, task_data)
    predicted = _predicted(transcript, target)
    allowed = None if target.labels is None else {*target.labels}
    given = _renamed_labels(predicted["result"], renames, labeling, allowed)
    items = [_renamed(item, given) for item in predicted["result"]]
    if labeling.text_name is not None and not labeling.per_region:
        names = _names(transcript, target, given)
        regions = items if labeling.labels_name is not None else []
        items = [*regions, *_whole_text(transcript, labeling, text_format, names, predicted["score"])]
    return {**predicted, "result": items}


def dynamic_labels(
    transcript: Transcript,
    labeling: Labeling,
    task_data: Mapping[str, Any],
    *,
    renames: Mapping[str, str] | None = None,
) -> list[dict[str, Any]] | None:
    """What the task's data must hold as its labels, so that every speaker has one; None where it does already.

    Labels that the task brings stay, and are given in their order; a speaker beyond them gets one of its own name.
    """
    if labeling.dynamic_key is None or labeling.labels_name is None:
        return None
    brought = _brought(task_data.get(labeling.dynamic_key))
    wanted = _needed(_speakers(transcript), [_value(label) for label in brought], labeling)
    wanted += [renames[label] for label in wanted if renames and label in renames]
    missing = [label for label in dict.fromkeys(wanted) if label not in {_value(each) for each in brought}]
    used = {each.get("background") for each in brought}
    free = [colour for colour in COLOURS if colour not in used] or [*COLOURS]
    added = [{"value": label, "background": free[number % len(free)]} for number, label in enumerate(missing)]
    made = [*brought, *added]
    return made if made != task_data.get(labeling.dynamic_key) else None


def retranscribed(
    context_result: Iterable[Mapping[str, Any]], answers: Mapping[str, Transcript], labeling: Labeling
) -> list[Item]:
    """The text of drawn regions: TextArea items with the regions' own ids, which replace the text they had.

    A region in which nothing was heard keeps its text.
    """
    if labeling.text_name is None or not labeling.per_region:
        return []
    drawn: dict[str, Mapping[str, Any]] = {}
    for item in context_result:
        if {"start", "end"} <= {*item.get("value", {})}:
            drawn.setdefault(str(item.get("id")), item)
    return [
        _text_item(drawn[region], text, labeling)
        for region, answer in answers.items()
        if region in drawn and (text := _said(answer))
    ]


def _text_item(region: Mapping[str, Any], text: str, labeling: Labeling) -> Item:
    value = region["value"]
    times = {"start": value["start"], "end": value["end"], "channel": value.get("channel", 0)}
    length = {"original_length": region["original_length"]} if "original_length" in region else {}
    return {
        "id": region["id"],
        "from_name": labeling.text_name,
        "to_name": labeling.audio_name,
        "type": "textarea",
        "origin": "prediction",
        **length,
        "value": {**times, "text": [text]},
    }


def _said(transcript: Transcript) -> str:
    ordered = sorted(transcript.segments, key=lambda segment: segment.span)
    return join((flat(segment.text) for segment in ordered), transcript.language)


# Labels.


def _target(transcript: Transcript, labeling: Labeling, task_data: Mapping[str, Any]) -> LabelStudioTarget:
    labels = _labels(transcript, labeling, task_data)
    known = {speaker: label for speaker, label in labeling.speaker_labels.items() if labels and label in labels}
    return LabelStudioTarget(
        labels_name=labeling.labels_name,
        text_name=labeling.text_name if labeling.per_region or labeling.labels_name is None else None,
        audio_name=labeling.audio_name,
        labels=labels,
        speaker_labels=known,
        fallback_label=labeling.fallback_label if labels and labeling.fallback_label in labels else None,
    )


def _labels(transcript: Transcript, labeling: Labeling, task_data: Mapping[str, Any]) -> tuple[str, ...] | None:
    if labeling.labels_name is None:
        return None
    if labeling.dynamic_key is None:
        return labeling.labels
    brought = [_value(label) for label in _brought(task_data.get(labeling.dynamic_key))]
    return tuple(brought) or tuple(_needed(_speakers(transcript), [], labeling)) or None


def _speakers(transcript: Transcript) -> list[str]:
    """Every speaker once, in the order of first speech."""
    heard = (segment.speaker for segment in sorted(transcript.segments, key=lambda segment: segment.span))
    return [name for name in dict.fromkeys((*transcript.speakers, *heard)) if name is not None]


def _needed(speakers: Sequence[str], brought: Sequence[str], labeling: Labeling) -> list[str]:
    """The labels that speakers get from a task: one of their name, else the next that nobody has, else a new one."""
    folded = {label.casefold(): label for label in reversed(brought)}
    named = {name: folded[name.casefold()] for name in speakers if name.casefold() in folded}
    free = [label for label in brought if label not in {*named.values(), labeling.fallback_label}]
    unnamed = iter(free)
    return [named.get(name) or next(unnamed, name) for name in speakers]


def _brought(given: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever the task holds
    """The labels of a task's data, as objects; Label Studio wants `[{"value": "Ann", "background": "#4477AA"}]`."""
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",") if part.strip()]
    listed = given if isinstance(given, list) else []
    objects = [{"value": each} if isinstance(each, str) else each for each in listed]
    return [dict(each) for each in objects if isinstance(each, Mapping) and _value(each)]


def _value(label: Mapping[str, Any]) -> str:
    return str(label.get("alias") or label.get("value") or "")


def _predicted(transcript: Transcript, target: LabelStudioTarget) -> dict[str, Any]:
    try:
        return label_studio.predict(transcript, target)
    except BadRequest:
        speakers, labels = _speakers(transcript), target.labels or ()
        raise BadRequest(
            f"{len(speakers)} speakers were heard, and the labeling config has the labels {', '.join(labels)}: add a "
            'Label for each, or one such as <Label value="Unknown" diarist="fallback"/> for the others, or set '
            "max_speakers"
        ) from None


# Renames.


def _renamed_labels(
    items: Iterable[Item], renames: Mapping[str, str], labeling: Labeling, allowed: set[str] | None
) -> dict[str, str]:
    """The renames that hold here: to a label that exists, and never two speakers into one."""
    used = {label for item in items if item["type"] == "labels" for label in item["value"]["labels"]}
    wanted = {
        label: renames[label]
        for label in used
        if label in renames and label != labeling.fallback_label and (allowed is None or renames[label] in allowed)
    }
    while clashing := {old for old, new in wanted.items() if _clashes(old, new, wanted, used)}:
        wanted = {old: new for old, new in wanted.items() if old not in clashing}
    return wanted


def _clashes(old: str, new: str, wanted: Mapping[str, str], used: set[str]) -> bool:
    """Whether another speaker keeps the new label, or gets it too."""
    keeps = new in used and new not in wanted
    return keeps or any(other != old and theirs == new for other, theirs in wanted.items())


def _renamed(item: Item, given: Mapping[str, str]) -> Item:
    if item["type"] != "labels" or not {*item["value"]["labels"]} & {*given}:
        return item
    [label] = item["value"]["labels"]
    return {**item, "value": {**item["value"], "labels": [given[label]]}, "meta": {RENAMED_FROM: label}}


# The text of a whole recording.


def _names(transcript: Transcript, target: LabelStudioTarget, given: Mapping[str, str]) -> Mapping[str, str]:
    """How speakers are called in a text: by their labels, but for those who share one."""
    if target.labels_name is None:
        return {}
    speakers = tuple(_speakers(transcript))
    said = tuple(Segment(Span(number, number), "", speaker) for number, speaker in enumerate(speakers))
    items = _predicted(Transcript(said, None, len(said), speakers=speakers), target)["result"]
    labels = [item["value"]["labels"][0] for item in items if item["type"] == "labels"]
    names = {speaker: given.get(label, label) for speaker, label in zip(speakers, labels, strict=True)}
    return {speaker: name for speaker, name in names.items() if [*names.values()].count(name) == 1}


def _whole_text(
    transcript: Transcript, labeling: Labeling, text_format: str, names: Mapping[str, str], score: float | None
) -> Iterator[Item]:
    text = recording_text.write(transcript, text_format, names)
    if text:
        yield {
            "id": WHOLE_TEXT_ID,
            "from_name": labeling.text_name,
            "to_name": labeling.audio_name,
            "type": "textarea",
            "origin": "prediction",
            "score": score,
            "value": {"text": [text]},
        }
