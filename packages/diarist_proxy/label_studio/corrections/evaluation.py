"""How far a prediction was from what people made of it: words, speakers, regions, and the time they took.

The annotation is the truth and the prediction is judged by it:

- **cpWER** (meeteval): the words of each speaker in the order of time, speakers matched as suits best, so a speaker
  who was only renamed costs nothing and words given to the wrong one do. Both sides go through Whisper's
  normalizer first: the English one for English, else the basic one, which makes single characters of the words
  of languages without spaces.
- **DER** (pyannote.metrics): seconds of missed, false and confused speech; collar 0, overlap scored.
- **Regions**: what stands under a predicted id is compared with what the model said. Label Studio's own mark, the
  `origin` of an item, is not asked: it tells that somebody touched a region in the page, not that it is another one
  now, and annotations that come by the API keep whatever it was. A text of the whole recording counts as one region.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from diarist.text import SPACELESS
from diarist.types import Segment, Span, Transcript, Turn
from diarist_proxy.label_studio.corrections.annotation import (
    Controls,
    Item,
    Region,
    find_controls,
    read,
    regions,
    whole_text,
)
from diarist_proxy.label_studio.corrections.measured import Measured
from diarist_proxy.label_studio.corrections.scripts import spaceless

__all__ = ["Measured", "measure"]

_MOST_SPEAKERS = 20  # meeteval matches no more
_WHOLE = "the whole recording"  # stands for the id of its text
_SAME_TIME = 0.005  # seconds: Label Studio and the model round differently


def measure(
    prediction: Sequence[Item],
    annotation: Sequence[Item],
    *,
    lead_time: float | None,
    duration: float | None,
    language: str | None = None,
) -> Measured:
    """Count what people had to mend in one recording.

    Args:
        prediction: result items of the prediction that they started from.
        annotation: result items that they submitted.
        lead_time: seconds that they worked, where Label Studio counted them.
        duration: seconds of the recording; None takes what the items say.
        language: Whisper's code, where it is known; it chooses the normalizer.
    """
    controls = _controls(prediction, annotation)
    hypothesis = read(prediction, duration=duration, controls=controls)
    reference = read(annotation, duration=duration, controls=controls)
    length = max(hypothesis.duration, reference.duration)
    timed = lead_time is not None and lead_time > 0
    return (
        Measured(
            recordings=1,
            audio_seconds=length,
            lead_seconds=float(lead_time) if lead_time is not None and timed else 0.0,
            timed_seconds=length if timed else 0.0,
        )
        + words_measured(hypothesis, reference, language)
        + speakers_measured(hypothesis.turns, reference.turns, length)
        + regions_measured(_regions(prediction, controls, length), _regions(annotation, controls, length))
    )


def _controls(prediction: Sequence[Item], annotation: Sequence[Item]) -> Controls:
    """Those that the model filled; a TextArea that it left alone holds people's notes, not what was said."""
    predicted, corrected = find_controls(prediction), find_controls(annotation)
    return Controls(predicted.labels or corrected.labels, predicted.text if prediction else corrected.text)


# --- words ------------------------------------------------------------------------------------------------


def words_measured(hypothesis: Transcript, reference: Transcript, language: str | None) -> Measured:
    """The errors in words, with the best match of speakers."""
    from meeteval.wer import cp_word_error_rate  # noqa: PLC0415 - slow to import

    name, normalize = _normalizer(_language(language, reference))
    said, heard = (_streams(transcript.segments, normalize) for transcript in (reference, hypothesis))
    if not said and not heard:
        return Measured()
    # Plain texts have no times by which meeteval could sort them; they are in order already.
    errors = cp_word_error_rate(reference=said, hypothesis=heard, reference_sort=False, hypothesis_sort=False)
    return Measured(
        words=int(errors.length),
        insertions=int(errors.insertions),
        deletions=int(errors.deletions),
        substitutions=int(errors.substitutions),
        normalizers=(name,),
    )


class _Normalizer(Protocol):
    def __call__(self, text: str) -> str: ...


def _streams(segments: Iterable[Segment], normalize: _Normalizer) -> dict[str, str]:
    """Each speaker's normalized words in the order of time; those of nobody under an empty name."""
    texts: dict[str, list[str]] = {}
    for segment in segments:
        if text := normalize(segment.text).strip():
            texts.setdefault(segment.speaker or "", []).append(text)
    streams = {speaker: " ".join(parts) for speaker, parts in texts.items()}
    if len(streams) <= _MOST_SPEAKERS:
        return streams
    by_length = sorted(streams, key=lambda speaker: (-len(streams[speaker]), speaker))
    kept, rest = by_length[: _MOST_SPEAKERS - 1], by_length[_MOST_SPEAKERS - 1 :]
    return {speaker: streams[speaker] for speaker in kept} | {"all others": " ".join(streams[name] for name in rest)}


@lru_cache(maxsize=8)
def _normalizer(language: str | None) -> tuple[str, _Normalizer]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in the library's docstrings, when first compiled
        from whisper_normalizer.basic import BasicTextNormalizer  # noqa: PLC0415 - and slow to import
        from whisper_normalizer.english import EnglishTextNormalizer  # noqa: PLC0415
    if language == "en":
        return "whisper english", EnglishTextNormalizer()
    if language in SPACELESS:
        return "whisper basic, by character", BasicTextNormalizer(split_letters=True)
    return "whisper basic", BasicTextNormalizer()


def _language(language: str | None, reference: Transcript) -> str | None:
    """The language that was given; of an unknown one, its script tells whether it is written without spaces."""
    if language is not None:
        return language
    return "ja" if spaceless(" ".join(segment.text for segment in reference.segments)) else None


# --- speakers ---------------------------------------------------------------------------------------------


def speakers_measured(hypothesis: Iterable[Turn], reference: Iterable[Turn], duration: float) -> Measured:
    """The errors in who spoke when, in seconds of speech."""
    from pyannote.core import Annotation, Timeline  # noqa: PLC0415 - seconds to import
    from pyannote.core import Segment as Stretch  # noqa: PLC0415
    from pyannote.metrics.diarization import DiarizationErrorRate  # noqa: PLC0415

    def who(turns: Iterable[Turn]) -> Any:  # noqa: ANN401 - pyannote has no types
        found = Annotation()
        for number, turn in enumerate(turns):
            found[Stretch(turn.span.start, turn.span.end), number] = turn.speaker
        return found.support()  # regions of one speaker that overlap are speech once

    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    parts = metric(who(reference), who(hypothesis), uem=Timeline([Stretch(0, duration)]), detailed=True)
    return Measured(
        spoken=float(parts["total"]),
        missed=float(parts["missed detection"]),
        false_alarm=float(parts["false alarm"]),
        confusion=float(parts["confusion"]),
    )


# --- regions ----------------------------------------------------------------------------------------------


def _regions(result: Sequence[Item], controls: Controls, length: float) -> tuple[Region, ...]:
    """The regions, and for the text of the whole recording one more."""
    text = whole_text(result, controls)
    return (*regions(result, controls), *([Region(_WHOLE, Span(0.0, length), text=text)] if text else []))


def regions_measured(prediction: Iterable[Region], annotation: Iterable[Region]) -> Measured:
    """Which regions people left as they were, and which they changed, deleted or added."""
    predicted = {region.id: region for region in prediction}
    corrected = {region.id: region for region in annotation}
    both = predicted.keys() & corrected.keys()
    untouched = sum(_same(predicted[region_id], corrected[region_id]) for region_id in both)
    # A script that writes annotations gives new ids: what is the same under another id is untouched, too.
    gone, new = (
        Counter(_facts(region) for region_id, region in side.items() if region_id not in both)
        for side in (predicted, corrected)
    )
    copied = (gone & new).total()
    return Measured(
        untouched=untouched + copied,
        changed=len(both) - untouched,
        deleted=gone.total() - copied,
        added=new.total() - copied,
    )


def _same(one: Region, other: Region) -> bool:
    moved = max(abs(one.span.start - other.span.start), abs(one.span.end - other.span.end))
    return moved <= _SAME_TIME and set(one.labels) == set(other.labels) and one.text.split() == other.text.split()


def _facts(region: Region) -> tuple[object, ...]:
    return round(region.span.start, 2), round(region.span.end, 2), frozenset(region.labels), tuple(region.text.split())
