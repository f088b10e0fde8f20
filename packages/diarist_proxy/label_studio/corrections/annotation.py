"""What stands in a Label Studio result, whoever made it: the regions of a recording, and their transcript.

A result is a list of items, and items that share an `id` are one region:

    {"id": "r1", "from_name": "speaker", "to_name": "audio", "type": "labels", "origin": "prediction-changed",
     "original_length": 9.0, "value": {"start": 0.5, "end": 2.0, "channel": 0, "labels": ["Agent"]}}
    {"id": "r1", "from_name": "text", "to_name": "audio", "type": "textarea", "value": {…, "text": ["Hello."]}}

Names of controls differ between projects, so none is expected here. Where a result has several Labels or
TextArea controls, the one that most regions use is the one that tells speakers, or what was said. A TextArea that
is not per region gives an item without times: the text of the whole recording.

What is not a region of audio is passed over: choices, ratings, relations, labels on texts and images, and times
that are not numbers. Label Studio shows a region that ends before it starts as if its ends were swapped, and so
it is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diarist.types import Segment, Span, Transcript, Turn
from diarist_proxy.label_studio.corrections.whole_text import segments_of

Item = Mapping[str, Any]

NOT_SPEECH = frozenset({"noise", "silence", "music", "background", "non-speech", "nonspeech", "no speech"})
"""Labels, without case, that no speaker bears: stock templates mark noise with the same control as speech."""

_ENDLESS = 1e7  # seconds, four months: no recording is so long; infinity and NaN are not less either


@dataclass(frozen=True, slots=True)
class Controls:
    """The `from_name`s of the controls that tell speakers and texts; None where there is none."""

    labels: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """The items of one id, as far as they tell who spoke, when and what."""

    id: str
    span: Span
    labels: tuple[str, ...] = ()  # several where people speak at once
    text: str = ""
    channel: int | None = None  # from 0, as Label Studio counts
    origin: str | None = None  # prediction, prediction-changed or manual; None from the API


def read(result: Sequence[Item], *, duration: float | None, controls: Controls | None = None) -> Transcript:
    """The transcript that a result holds: a segment for each region, a turn for each speaker of a region.

    Without a text in any region, the text of the whole recording makes the segments: its cues, where it is written
    as subtitles, else its lines, all over the recording.

    >>> item = {"id": "a", "from_name": "who", "type": "labels", "value": {"start": 0.5, "end": 2, "labels": ["Ann"]}}
    >>> read([item], duration=9.0).turns
    (Turn(span=Span(start=0.5, end=2.0), speaker='Ann'),)

    Args:
        result: items of an annotation or a prediction.
        duration: seconds of the recording; None takes what the items say, or else the last end.
        controls: which controls count; None finds them.
    """
    chosen = controls or find_controls(result)
    found = regions(result, chosen)
    length = duration if duration is not None and duration > 0 else _duration(result, found)
    turns = tuple(Turn(region.span, label) for region in found for label in region.labels if is_speaker(label))
    segments = tuple(Segment(region.span, region.text, next(iter(region.labels), None)) for region in found)
    if not any(region.text for region in found) and (text := whole_text(result, chosen)):
        segments = segments_of(text, duration=length)
        length = length or max((each.span.end for each in segments), default=0.0)
        cues = [each for each in segments if each.span != Span(0.0, length)]  # lines without times tell no turns
        turns = turns or tuple(Turn(each.span, each.speaker) for each in cues if each.speaker is not None)
    return Transcript(
        segments=segments,
        language=None,
        duration=length,
        turns=turns,
        speakers=tuple(dict.fromkeys(turn.speaker for turn in turns)),
    )


def is_speaker(label: str | None) -> bool:
    """Whether a label names somebody who speaks.

    >>> is_speaker("Agent"), is_speaker("Speech"), is_speaker("Noise"), is_speaker(None)
    (True, True, False, False)
    """
    return label is not None and label.strip().casefold() not in NOT_SPEECH


def regions(result: Iterable[Item], controls: Controls | None = None) -> tuple[Region, ...]:
    """The regions of audio that the controls made, by time; texts of one region become one line each."""
    items = tuple(result)
    chosen = controls or find_controls(items)
    spans = _spans(items)
    by_id: dict[str, list[Item]] = {}
    for item in items:
        if _id(item) in spans and _control(item) in {chosen.labels, chosen.text}:
            by_id.setdefault(_id(item), []).append(item)
    found = [_region(region_id, spans[region_id], of_region, chosen) for region_id, of_region in by_id.items()]
    return tuple(sorted(found, key=lambda region: region.span))


def find_controls(result: Iterable[Item]) -> Controls:
    """The Labels and the TextArea that most regions use; of equals, the first. A text without times comes last."""
    items = tuple(result)
    spans = _spans(items)
    labels = Counter(_control(item) for item in items if _labels(item) and _id(item) in spans)
    texts = Counter(_control(item) for item in items if _is_text(item) and _id(item) in spans)
    whole = Counter(_control(item) for item in items if _is_text(item) and _id(item) not in spans)
    return Controls(_most_common(labels), _most_common(texts) or _most_common(whole))


def whole_text(result: Iterable[Item], controls: Controls) -> str:
    """The text of the whole recording, empty where there is none."""
    items = tuple(result)
    spans = _spans(items)
    chosen = [item for item in items if _id(item) not in spans and _control(item) == controls.text]
    return "\n".join(text for item in chosen for text in _texts(item)).strip()


def _most_common(names: Counter[str]) -> str | None:
    return names.most_common(1)[0][0] if names else None


def _region(region_id: str, span: Span, items: Sequence[Item], controls: Controls) -> Region:
    labels = [label for item in items if _control(item) == controls.labels for label in _labels(item)]
    texts = [text for item in items if _control(item) == controls.text for text in _texts(item)]
    channels = [channel for item in items if isinstance(channel := _value(item).get("channel"), int)]
    origins = [origin for item in items if isinstance(origin := item.get("origin"), str)]
    return Region(
        id=region_id,
        span=span,
        labels=tuple(dict.fromkeys(labels)),
        text="\n".join(line for text in texts if (line := text.strip())),
        channel=next(iter(channels), None),
        origin=next(iter(origins), None),
    )


def _spans(items: Iterable[Item]) -> dict[str, Span]:
    """When each region of audio is, by id: one item of a region with times is enough."""
    found: dict[str, Span] = {}
    for item in items:
        if (_labels(item) or item.get("type") == "textarea") and (span := _span(_value(item))) is not None:
            found.setdefault(_id(item), span)
    return found


def _span(value: Mapping[str, Any]) -> Span | None:
    start, end = _seconds(value.get("start")), _seconds(value.get("end"))
    return None if start is None or end is None else Span(min(start, end), max(start, end))


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _ENDLESS:
        return None
    return max(0.0, float(value))


def _labels(item: Item) -> tuple[str, ...]:
    """The labels of a region of audio; a labelled stretch of a text has that text beside them."""
    value = _value(item)
    labels = value.get("labels")
    if item.get("type") != "labels" or "text" in value or not isinstance(labels, list):
        return ()
    return tuple(label for label in labels if isinstance(label, str) and label)


def _is_text(item: Item) -> bool:
    return item.get("type") == "textarea" and bool(tuple(_texts(item)))


def _texts(item: Item) -> Iterator[str]:
    text = _value(item).get("text") if item.get("type") == "textarea" else None
    for part in text if isinstance(text, list) else [text]:
        if isinstance(part, str):
            yield part


def _control(item: Item) -> str:
    return str(item.get("from_name"))


def _value(item: Item) -> Mapping[str, Any]:
    value = item.get("value")
    return value if isinstance(value, Mapping) else {}


def _id(item: Item) -> str:
    """The id, or for an item without one an id of its own, so that it links to nothing."""
    return str(item["id"]) if item.get("id") is not None else f"without id {id(item)}"


def _duration(result: Iterable[Item], found: Iterable[Region]) -> float:
    lengths = (_seconds(item.get("original_length")) for item in result)
    said = max((length for length in lengths if length), default=0.0)
    return said or max((region.span.end for region in found), default=0.0)
