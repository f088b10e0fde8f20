"""Label Studio predictions: a region for each segment, with the speaker as its label and the text beside it.

A prediction is `{"result": [item, …], "score": …, "model_version": …}`. An item of an Audio region is

    {"id": "0001", "from_name": "labels", "to_name": "audio", "type": "labels", "origin": "prediction",
     "original_length": 9.0, "score": 0.91, "value": {"start": 0.5, "end": 2.0, "channel": 0, "labels": ["Agent"]}}

and, for the text, the same `id`, times and length with the TextArea's name, `"type": "textarea"` and
`"value": {…, "text": ["Hello."]}`: items that share an id are one region (https://labelstud.io/guide/predictions,
and what Label Studio 1.23 stores). Times are seconds, channels count from 0.

Regions are numbered in the order of time, so the same transcript gives the same ids. What is decided here:

- A control that the target does not name gets no item. With a TextArea, regions are the segments; with labels
  alone they are the turns, overlaps included (the segments, where nobody was diarized).
- A segment without text has no textarea item. One without a speaker has no labels item unless there is a
  fallback label: Label Studio shows it as an unlabelled region for a person to decide.
- A region's score is the mean of its words' scores, weighted by their durations; the prediction's is that of all
  words, where speech that no word covers counts as zero. Sorting by it brings the doubtful tasks first. Without
  any scored word it is null.
- `original_length` is the recording's duration, and no region reaches beyond it.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diarist.errors import BadRequest
from diarist.request import LabelStudioTarget
from diarist.text import flat
from diarist.types import Span, Transcript, Word

_LEAST_WEIGHT = 0.001  # seconds; a word of no duration still counts


def write(transcript: Transcript, target: LabelStudioTarget) -> str:
    """The prediction as JSON text."""
    return json.dumps(predict(transcript, target), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def predict(transcript: Transcript, target: LabelStudioTarget) -> dict[str, Any]:
    """One prediction, as a dict of JSON's own types.

    >>> from diarist.types import Segment
    >>> hello = Segment(Span(0.5, 2.0), "Hello.", "SPEAKER_00")
    >>> labels, text = predict(Transcript((hello,), "en", 9.0), LabelStudioTarget())["result"]
    >>> labels["value"], labels["id"] == text["id"]
    ({'start': 0.5, 'end': 2.0, 'channel': 0, 'labels': ['SPEAKER_00']}, True)

    Raises:
        BadRequest: the target has too few labels for the speakers, and no fallback.
    """
    regions = sorted(_regions(transcript, target), key=lambda region: region.span)
    labels = _labels(_speakers(transcript, regions), target)
    items = [
        item
        for number, region in enumerate(regions, start=1)
        for item in _items(f"{number:04}", region, labels, target, transcript.duration)
    ]
    return {
        "result": items,
        "score": _score(transcript.words, transcript.uncovered),
        "model_version": transcript.model_version,
    }


@dataclass(frozen=True, slots=True)
class _Region:
    span: Span
    speaker: str | None
    text: str
    score: float | None


def _regions(transcript: Transcript, target: LabelStudioTarget) -> Iterator[_Region]:
    if target.text_name is None and transcript.turns:
        words_in = _WordsOf(transcript.words)
        for turn in transcript.turns:
            yield _Region(turn.span, turn.speaker, "", _score(words_in(turn.speaker, turn.span)))
    else:
        for segment in transcript.segments:
            yield _Region(segment.span, segment.speaker, flat(segment.text), _score(segment.words))


class _WordsOf:
    """Finds a speaker's words by the time of their start."""

    def __init__(self, words: Iterable[Word]) -> None:
        self._words: dict[str | None, list[Word]] = {}
        for word in sorted(words, key=lambda word: word.span.start):
            self._words.setdefault(word.speaker, []).append(word)

    def __call__(self, speaker: str, span: Span) -> Sequence[Word]:
        words = self._words.get(speaker, [])
        first, last = (bisect_left(words, time, key=lambda word: word.span.start) for time in (span.start, span.end))
        return words[first:last]


def _score(words: Iterable[Word], uncovered: float = 0.0) -> float | None:
    """The mean score of words by duration, 0..1, with seconds that count as zero; None without words or seconds."""
    total, seconds = 0.0, uncovered if math.isfinite(uncovered) else 0.0
    for word in words:
        if word.score is not None and math.isfinite(word.score):
            weight = max(word.span.duration, _LEAST_WEIGHT)
            total += weight * min(max(word.score, 0.0), 1.0)
            seconds += weight
    return round(float(total / seconds), 4) if seconds > 0 else None


def _items(
    region_id: str, region: _Region, labels: Mapping[str | None, str | None], target: LabelStudioTarget, length: float
) -> Iterator[dict[str, Any]]:
    """The labels item and the textarea item of a region, each where there is something to say and a control for it."""
    label = labels[region.speaker]
    contents = [
        (target.labels_name, "labels", {"labels": [label]} if label is not None else None),
        (target.text_name, "textarea", {"text": [region.text]} if region.text else None),
    ]
    for control, kind, content in contents:
        if control is not None and content is not None:
            yield {
                "id": region_id,
                "from_name": control,
                "to_name": target.audio_name,
                "type": kind,
                "origin": "prediction",
                "original_length": round(float(length), 3),
                "score": region.score,
                "value": {**_times(region.span, length), "channel": 0, **content},
            }


def _times(span: Span, length: float) -> dict[str, float]:
    start, end = (round(float(min(max(time, 0.0), length)), 3) for time in (span.start, span.end))
    return {"start": start, "end": end}


def _speakers(transcript: Transcript, regions: Iterable[_Region]) -> tuple[str, ...]:
    """Every speaker once, in the order of first speech."""
    heard = (region.speaker for region in regions)
    return tuple(dict.fromkeys(speaker for speaker in (*transcript.speakers, *heard) if speaker is not None))


def _labels(speakers: tuple[str, ...], target: LabelStudioTarget) -> dict[str | None, str | None]:
    """The label for each speaker, and under None the one for nobody.

    The target's own map goes first, then a label of the speaker's name, then the labels that nobody has claimed,
    in the order in which the speakers first speak, then the fallback label, which is never given out before.
    """
    if target.labels is None:
        return {None: target.fallback_label} | {name: target.speaker_labels.get(name, name) for name in speakers}
    claimed = dict(target.speaker_labels)
    for name in speakers:
        if name not in claimed and (label := _label_named(name, target.labels)) is not None:
            claimed[name] = label
    taken = {*claimed.values(), target.fallback_label}
    free = iter([label for label in target.labels if label not in taken])
    given = {name: claimed.get(name) or next(free, target.fallback_label) for name in speakers}
    missing = [name for name, label in given.items() if label is None]
    if missing and target.labels_name is not None:
        raise BadRequest(
            f"{len(speakers)} speakers, but no label is left for {', '.join(missing)}: "
            f"add labels beside {', '.join(target.labels)}, or set fallback_label to one of them"
        )
    return {None: target.fallback_label} | given


def _label_named(name: str, labels: tuple[str, ...]) -> str | None:
    by_folded = {label.casefold(): label for label in reversed(labels)}  # of equals, the first
    return name if name in labels else by_folded.get(name.casefold())
