"""What the labels of a Labels control mean for speakers: who gets which, and who gets none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from diarist_proxy.label_studio.labeling.label_names import Kind, kind, says_speaker
from diarist_proxy.label_studio.labeling.tags import ConfigUnusable, Tag

FALLBACK_OPTION = "fallback_label"


@dataclass(frozen=True, slots=True)
class SpeakerLabels:
    """A Labels control, and what its labels mean."""

    control: Tag
    labels: tuple[str, ...]
    rank: int  # how much it looks like one for speakers
    mapped: Mapping[str, str] = field(default_factory=dict)
    fallback: str | None = None
    dynamic_key: str | None = None

    def shown_with(self, text: Tag) -> SpeakerLabels:
        """Without the labels beside which the TextArea is hidden, if some are left then."""
        shown = [label for label in self.labels if is_shown(text, self.control.name, label)]
        if not shown or len(shown) == len(self.labels):
            return self
        mapped = {speaker: label for speaker, label in self.mapped.items() if label in shown}
        fallback = self.fallback if self.fallback in shown else None
        return replace(
            self,
            labels=tuple(shown),
            mapped=mapped,
            fallback=fallback or (shown[0] if len(shown) == 1 else None),
        )

    def with_fallback(self, label: str | None) -> SpeakerLabels:
        """With the fallback that an attribute names."""
        if label is None:
            return self
        known = [value for value, _ in _values(self.control)]
        if self.dynamic_key is None and label not in known:
            raise ConfigUnusable(f'diarist_{FALLBACK_OPTION}="{label}" is no label of it: {", ".join(known)} are')
        return replace(self, fallback=label, labels=_unique([*self.labels, label]) if self.labels else ())


RANKS: Mapping[Kind, int] = {"speaker": 40, "speech": 30, "name": 15, "other": 10}
_CHOSEN, _MAPPED, _DYNAMIC, _NAMED = 100, 50, 20, 5


def meaning(control: Tag) -> SpeakerLabels | None:
    """What the labels of a control mean; None where all of them name sounds."""
    bonus = (_CHOSEN if control.role == "speakers" else 0) + (_NAMED if says_speaker(control.name) else 0)
    values = [(value, attributes) for value, attributes in _values(control) if attributes.get("diarist") != "ignore"]
    source = control.attributes.get("value", "").strip()
    if not values and source.startswith("$") and source[1:]:
        named = RANKS["speaker"] if says_speaker(source) else _DYNAMIC
        return SpeakerLabels(control, (), named + bonus, dynamic_key=source[1:])
    mapped = {
        speaker.strip(): value
        for value, attributes in values
        for speaker in attributes.get("predicted_values", "").split(",")
        if speaker.strip()
    }
    kinds: dict[str, Kind] = {value: kind(attributes.get("value", value)) for value, attributes in values}
    chosen = next((value for value, attributes in values if attributes.get("diarist") == "fallback"), None)
    labels, fallback, rank = _assignable(kinds, {*mapped.values()}, chosen, is_chosen=control.role == "speakers")
    if not labels:
        return None
    return SpeakerLabels(control, labels, (_MAPPED if mapped else rank) + bonus, mapped, fallback)


def _assignable(
    kinds: Mapping[str, Kind], mapped: set[str], chosen: str | None, *, is_chosen: bool
) -> tuple[tuple[str, ...], str | None, int]:
    """Labels that speakers may get, the fallback among them, and how much they look like speakers."""
    of: dict[Kind, list[str]] = {}
    for label, each in kinds.items():
        of.setdefault(each, []).append(label)
    general = chosen or next(iter([*of.get("other", []), *of.get("speech", [])]), None)
    if "speaker" in of or mapped:
        people = [label for label, each in kinds.items() if each in {"speaker", "name"} or label in mapped]
        rank = RANKS["speaker"]
    elif "speech" in of:
        people, general, rank = of["speech"][:1], chosen or of["speech"][0], RANKS["speech"]
    else:
        people = of.get("name", []) or of.get("other", []) or ([*kinds] if is_chosen else [])
        rank = RANKS["name" if "name" in of else "other"]
    if general is None and len(people) == 1 and not mapped:
        general = people[0]
    labels = tuple(label for label in kinds if label in people or label == general)
    return labels, general if labels else None, rank


def _values(control: Tag) -> list[tuple[str, Mapping[str, str]]]:
    """Each label as it stands in a result, its alias where it has one, with its attributes."""
    named = [(each.get("alias") or each.get("value") or "", each) for each in control.inner]
    return [(value, attributes) for value, attributes in named if value]


def is_shown(text: Tag, control: str, label: str) -> bool:
    """Whether Label Studio shows a TextArea for a region with this label (whenTagName, whenLabelValue)."""
    tag, wanted = text.attributes.get("whenTagName"), text.attributes.get("whenLabelValue")
    if not text.says("perRegion") or not wanted or (tag and tag != control):
        return True
    return label in (part.strip() for part in wanted.split(","))


def _unique(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(labels))
