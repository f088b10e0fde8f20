"""What a project's labeling config offers to write to: an Audio object, Labels for speakers, a TextArea for text.

Any config will do that has an Audio and, pointing to it, Labels, a TextArea, or both, whatever their names
(https://labelstud.io/tags/audio). Where it has several, the one that looks right is taken: Labels that name speakers
before those that name sounds or topics, a TextArea for each region before one for the recording. An attribute decides
where looks deceive; Label Studio itself pays no heed to it:

    diarist="speakers" on Labels, diarist="text" on a TextArea, diarist="audio" on an Audio: this one
    diarist="ignore" on any of them, or on a Label: not this one
    diarist="fallback" on a Label: for speakers beyond the labels, and for nobody
    predicted_values="SPEAKER_00" on a Label: for this speaker of the model, as label-studio-ml has it
    diarist_language="de", diarist_num_speakers="2", … on any tag: options (see `options`)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from diarist_proxy.label_studio.labeling.label_names import says_no_transcript
from diarist_proxy.label_studio.labeling.speaker_labels import FALLBACK_OPTION, RANKS, SpeakerLabels, is_shown, meaning
from diarist_proxy.label_studio.labeling.tags import AUDIO_TAGS, GOOD_CONFIG, ConfigUnusable, Tag, read

__all__ = ["GOOD_CONFIG", "ConfigUnusable", "Labeling", "parse"]

_OPTION = "diarist_"


@dataclass(frozen=True, slots=True)
class Labeling:
    """Where a prediction's parts go."""

    audio_name: str
    audio_key: str  # of the task's data: "audio" for value="$audio"
    labels_name: str | None  # the Labels control that speakers go to; None: there is none
    labels: tuple[str, ...]  # those that speakers may get, the fallback included; empty where a task has its own
    dynamic_key: str | None  # of the task's data, where that holds the labels: "speakers" for value="$speakers"
    speaker_labels: Mapping[str, str]  # label for a speaker of the model, by predicted_values
    fallback_label: str | None  # for speakers beyond the labels, and for nobody
    text_name: str | None  # the TextArea that text goes to; None: there is none
    per_region: bool  # whether that TextArea belongs to each region, not to the recording
    options: Mapping[str, str]  # diarist_* attributes, without the prefix
    xml: str

    @property
    def most_speakers(self) -> int | None:
        """So many speakers can be told apart by the labels; None: any number can be labelled."""
        if self.labels_name is None or self.dynamic_key is not None or self.fallback_label is not None:
            return None
        return len({*self.labels} - {*self.speaker_labels.values()}) + len(self.speaker_labels)


@lru_cache(maxsize=256)
def parse(xml: str) -> Labeling:
    """What a labeling config offers.

    >>> found = parse(GOOD_CONFIG)
    >>> found.labels_name, found.labels, found.text_name, found.per_region
    ('speaker', ('Speaker 1', 'Speaker 2'), 'transcription', True)

    Raises:
        ConfigUnusable: there is no Audio, or nothing that points to it; says what to change.
    """
    tags = tuple(read(xml))
    audio = _audio(tags)
    labels = _labels(tags, audio)
    text = _text(tags, audio, labels)
    if labels is None and text is None:
        raise ConfigUnusable(_nothing_to_write_to(tags, audio))
    if labels is not None and text is not None:
        labels = labels.shown_with(text)
    options = _options(tags)
    labels = labels and labels.with_fallback(options.pop(FALLBACK_OPTION, None))
    return Labeling(
        audio_name=audio.name,
        audio_key=audio.attributes["value"].strip().removeprefix("$"),
        labels_name=labels.control.name if labels else None,
        labels=labels.labels if labels else (),
        dynamic_key=labels.dynamic_key if labels else None,
        speaker_labels=MappingProxyType(dict(labels.mapped) if labels else {}),
        fallback_label=labels.fallback if labels else None,
        text_name=text.name if text else None,
        per_region=text is not None and text.says("perRegion"),
        options=MappingProxyType(options),
        xml=xml,
    )


def _audio(tags: Sequence[Tag]) -> Tag:
    """The Audio that was chosen, else the one that most controls point to, else the first."""
    found = [tag for tag in tags if tag.tag in AUDIO_TAGS and tag.role != "ignore"]
    if not found:
        video = any(tag.tag == "video" for tag in tags)
        hint = ": add an Audio with the same value beside the Video" if video else ""
        raise ConfigUnusable(f"the labeling config has no Audio object{hint}; one that works is\n{GOOD_CONFIG}")
    pointed = Counter({tag.name: sum(other.points_to(tag.name) for other in tags) for tag in found})
    audio = max(found, key=lambda tag: (tag.role == "audio", pointed[tag.name]))
    value = audio.attributes.get("value", "").strip()
    if not audio.name or "{{" in audio.name + value:
        raise ConfigUnusable("the Audio is repeated or has no name: one Audio with a fixed name and value is needed")
    if not value.startswith("$") or not value[1:] or "$" in value[1:] or "/" in value:
        raise ConfigUnusable(
            f'value="{value[:60]}" of the Audio "{audio.name}" names no key of the task\'s data: '
            'write value="$audio", where "audio" is the key that holds the recording'
        )
    return audio


def _labels(tags: Sequence[Tag], audio: Tag) -> SpeakerLabels | None:
    """The control for speakers that was chosen, else the one that looks most like it, else the first."""
    controls = [tag for tag in tags if tag.tag == "labels" and tag.points_to(audio.name) and tag.role != "ignore"]
    found = [each for each in (meaning(control) for control in controls) if each is not None]
    if _is_timeline(tags, audio):
        found = [each for each in found if each.rank > RANKS["name"]]
    return max(found, key=lambda each: each.rank, default=None)


def _is_timeline(tags: Sequence[Tag], audio: Tag) -> bool:
    """An Audio that only carries the labels of a video: unless they name speakers, they name what is seen."""
    value = audio.attributes.get("value")
    has_text = any(tag.tag == "textarea" and tag.points_to(audio.name) for tag in tags)
    return not has_text and any(tag.tag == "video" and tag.attributes.get("value") == value for tag in tags)


def _text(tags: Sequence[Tag], audio: Tag, labels: SpeakerLabels | None) -> Tag | None:
    """The TextArea for the transcript: the one chosen, else for regions, else for the recording."""
    found = [tag for tag in tags if tag.tag == "textarea" and tag.points_to(audio.name) and tag.role != "ignore"]
    fitting = [tag for tag in found if tag.role == "text" or _may_hold_text(tag, labels)]
    if not fitting and labels is None and len(found) == 1:
        fitting = found  # whatever its name, there is nothing else to write to
    return max(fitting, key=lambda tag: (tag.role == "text", tag.says("perRegion")), default=None)


def _may_hold_text(text: Tag, labels: SpeakerLabels | None) -> bool:
    shown = labels is None or not labels.labels or any(is_shown(text, labels.control.name, it) for it in labels.labels)
    return shown and not says_no_transcript(text.name)


def _options(tags: Sequence[Tag]) -> dict[str, str]:
    options: dict[str, str] = {}
    given = (item for tag in tags for item in tag.attributes.items() if item[0].startswith(_OPTION))
    for attribute, value in given:
        if options.setdefault(attribute.removeprefix(_OPTION), value) != value:
            raise ConfigUnusable(f"{attribute} stands twice in the labeling config, with two values: leave one out")
    return options


def _nothing_to_write_to(tags: Sequence[Tag], audio: Tag) -> str:
    pointing = [tag for tag in tags if tag.points_to(audio.name)]
    labels = [tag for tag in pointing if tag.tag == "labels" and tag.role != "ignore"]
    if labels and _is_timeline(tags, audio):
        found = f'its Labels "{labels[0].name}" seem to name what is seen in the video, not who speaks'
    elif labels:
        found = f'its Labels "{labels[0].name}" have no label for a speaker or for speech'
    else:
        others = sorted({tag.tag for tag in pointing})
        found = f"to it point only {', '.join(others)}" if others else "nothing points to it"
    hint = ' (or mark it: <Labels diarist="speakers" …>)' if labels else ""
    paragraphs = any(tag.tag == "paragraphs" for tag in tags)
    more = "; Paragraphs show text of the task's data, which no prediction can fill" if paragraphs else ""
    return (
        f'the labeling config has an Audio "{audio.name}", but {found}{more}: '
        f"add Labels for speakers{hint} or a TextArea for text, as in\n{GOOD_CONFIG}"
    )
