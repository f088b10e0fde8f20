"""What people call the speakers: labels that they put right again and again in a project, remembered.

A prediction's region keeps in its `meta` the label that it would have had without renames, so what was learned once
goes on being learned from tasks where it was right, and is unlearned where people change it back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diarist_proxy.label_studio.labeling import Labeling
from diarist_proxy.label_studio.prediction import RENAMED_FROM

LEAST_TASKS = 2  # in which people must have given the same label

Item = Mapping[str, Any]


def renames(pairs: Iterable[tuple[Sequence[Item], Sequence[Item]]], labeling: Labeling) -> dict[str, str]:
    """The label that people give, for each label that they changed in most tasks and in two at least.

    Within a task, a label counts as what most of its time was called in the end. Two labels never become one, and the
    label for everybody else is left alone.

    Args:
        pairs: for each corrected task, the result items of the prediction and of the annotation.
        labeling: what the project's config offers; other labels are not remembered.
    """
    given: dict[str, Counter[str]] = {}
    for prediction, annotation in pairs:
        for label, called in _called(prediction, annotation, labeling).items():
            given.setdefault(label, Counter())[called] += 1
    learned = {
        label: (called, tasks)
        for label, counts in given.items()
        for called, tasks in counts.most_common(1)
        if tasks >= LEAST_TASKS and 2 * tasks > counts.total()
    }
    return _one_to_one({old: (new, tasks) for old, (new, tasks) in learned.items() if _may_be(old, new, labeling)})


def _may_be(old: str, new: str, labeling: Labeling) -> bool:
    exists = not labeling.labels or new in labeling.labels
    return exists and old != new and labeling.fallback_label not in {old, new}


def _one_to_one(learned: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """The rename seen most often, where several lead to one label."""
    best: dict[str, str] = {}
    for old, (new, tasks) in sorted(learned.items()):
        if new not in best or tasks > learned[best[new]][1]:
            best[new] = old
    return {old: new for new, old in sorted(best.items())}


def _called(prediction: Sequence[Item], annotation: Sequence[Item], labeling: Labeling) -> dict[str, str]:
    """What each of the model's labels was called by people, for most of its time, in one task."""
    people = {str(item.get("id")): label for item in annotation if (label := _label(item, labeling))}
    seconds: dict[str, Counter[str]] = {}
    for item in prediction:
        label, called = _label(item, labeling), people.get(str(item.get("id")))
        if label is not None and called is not None:
            before = (item.get("meta") or {}).get(RENAMED_FROM) or label
            value = item["value"]
            seconds.setdefault(before, Counter())[called] += value.get("end", 0) - value.get("start", 0)
    return {label: counts.most_common(1)[0][0] for label, counts in seconds.items()}


def _label(item: Item, labeling: Labeling) -> str | None:
    """The only label of a region, where it has just one from the control for speakers."""
    labels = item.get("value", {}).get("labels")
    is_speaker = item.get("type") == "labels" and item.get("from_name") == labeling.labels_name
    return labels[0] if is_speaker and isinstance(labels, list) and len(labels) == 1 else None
