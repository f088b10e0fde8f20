"""What stands in a Label Studio result, read as Label Studio reads it: items that share an id are one region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diarist.types import Turn


@dataclass(frozen=True)
class Region:
    """One region of a recording, with what its items say of it."""

    id: str
    start: float
    end: float
    label: str | None
    text: str | None


def regions(result: Sequence[Mapping[str, Any]]) -> list[Region]:
    """The regions of a result in the order of time; its items without times are no regions."""
    items: dict[str, list[Mapping[str, Any]]] = {}
    for item in result:
        if "start" in item["value"]:
            items.setdefault(item["id"], []).append(item)
    return sorted((_region(name, of_one) for name, of_one in items.items()), key=lambda region: region.start)


def _region(name: str, items: Sequence[Mapping[str, Any]]) -> Region:
    values = [item["value"] for item in items]
    times = {(value["start"], value["end"]) for value in values}
    assert len(times) == 1, f"the items of region {name} have different times"
    (start, end), *_ = times
    labels = [label for value in values for label in value.get("labels", ())]
    texts = [text for value in values for text in value.get("text", ())]
    assert len(labels) <= 1
    assert len(texts) <= 1
    return Region(name, start, end, next(iter(labels), None), next(iter(texts), None))


def speakers_match(found: Sequence[Region], turns: Sequence[Turn]) -> bool:
    """Whether each turn's time is mostly one label's, the same for all turns of a speaker and no other's."""
    labels: dict[str, set[str | None]] = {}
    for turn in turns:
        shared: dict[str | None, float] = {}
        for region in found:
            overlap = min(region.end, turn.span.end) - max(region.start, turn.span.start)
            shared[region.label] = shared.get(region.label, 0.0) + max(0.0, overlap)
        labels.setdefault(turn.speaker, set()).add(max(shared, key=lambda label: shared[label], default=None))
    given = [label for one in labels.values() for label in one]
    return all(len(one) == 1 for one in labels.values()) and len(set(given)) == len(labels) and None not in given
