"""The last look at a prediction before Label Studio gets it, which would store or drop it without a word.

Label Studio's own rules are those of label-studio-sdk's `LabelInterface.validate_prediction`; that one takes seconds
for thousands of regions, so each kind of item is shown to it once. What it does not look at is checked here for every
item: times, ids, and whether the parts of a region belong together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from diarist.errors import ModelFailed
from diarist_proxy.label_studio.labeling.tags import AUDIO_TAGS, ConfigUnusable

_MOST_REASONS = 5  # in a message
_KINDS_OF_VALUES = frozenset({"labels", "textarea"})


class PredictionInvalid(ModelFailed):
    """The prediction does not fit the labeling config; Label Studio would not show it as it is meant."""


def check(prediction: Mapping[str, Any], xml: str) -> None:
    """Refuse a prediction that Label Studio would refuse, drop or show wrongly.

    Raises:
        PredictionInvalid: with the first reasons.
        ConfigUnusable: the labeling config is none.
    """
    result = prediction.get("result")
    if not isinstance(result, list):
        raise PredictionInvalid('the prediction needs a list of regions under "result"')
    audio = {each.name for each in _interface(xml).objects if each.tag.lower() in AUDIO_TAGS}
    reasons = [*_wrong_in_whole(prediction), *_wrong_in_items(result, audio)]
    if not reasons:
        heard = [item for item in result if item.get("to_name") in audio]
        reasons = [*_wrong_together(heard), *_wrong_for_config(prediction, result, xml)]
    if reasons:
        more = f"; and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
        shown = "; ".join(reason[:300] for reason in reasons[:_MOST_REASONS])
        raise PredictionInvalid(f"the prediction does not fit the labeling config: {shown}{more}")


def _wrong_in_whole(prediction: Mapping[str, Any]) -> Iterator[str]:
    version = prediction.get("model_version")
    if "model_version" in prediction and not (isinstance(version, str) and version.strip()):
        yield "model_version must be a text, which Label Studio needs"
    if not _is_score(prediction.get("score")):
        yield "score must be a number from 0 to 1, or null"


def _is_score(value: Any) -> bool:  # noqa: ANN401
    return value is None or (_is_number(value) and 0 <= value <= 1)


def _is_number(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong_in_items(result: Iterable[Any], audio: set[str]) -> Iterator[str]:
    seen: set[tuple[str, Any]] = set()
    for number, item in enumerate(result):
        if not isinstance(item, Mapping):
            yield f"result.{number}: an object is needed"
            continue
        if item.get("type") == "relation":
            continue
        for reason in _wrong_in_item(item, is_heard=item.get("to_name") in audio):
            yield f"result.{number}: {reason}"
        key = (str(item.get("id")), item.get("from_name"))
        if key in seen and "id" in item:
            yield f"result.{number}: {key[1]} stands twice for the region {key[0]!r}"
        seen.add(key)


def _wrong_in_item(item: Mapping[str, Any], *, is_heard: bool) -> Iterator[str]:
    if not _is_score(item.get("score")):
        yield "score must be a number from 0 to 1, or null"
    value = item.get("value")
    if not isinstance(value, Mapping):
        yield "value must be an object"
        return
    if is_heard and ({"start", "end"} & {*value} or item.get("type") == "labels"):
        yield from _wrong_times(value)
        if not isinstance(item.get("id"), str) or not item["id"].strip():
            yield "id must be a text: the items of a region are linked by it"
    for key in ("labels", "text"):
        if key in value and not _is_texts(value[key]):
            yield f"{key} must be a list of texts, with one at least"


def _wrong_times(value: Mapping[str, Any]) -> Iterator[str]:
    if not (_is_number(value.get("start")) and _is_number(value.get("end"))):
        yield "start and end must be numbers, in seconds"
    elif not 0 <= value["start"] <= value["end"]:
        yield f"the region runs from {value['start']} to {value['end']}: 0 <= start <= end is needed"


def _is_texts(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _wrong_together(result: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Items of one id with different times, and items at the same time that an id should link."""
    times: dict[str, tuple[Any, ...]] = {}
    of_region: dict[str, set[str]] = {}
    for item in result:
        value = item.get("value", {})
        if item.get("type") not in _KINDS_OF_VALUES or "start" not in value:
            continue
        region, here = item["id"], (value["start"], value["end"], value.get("channel", 0))
        if times.setdefault(region, here) != here:
            yield f"the items of the region {region!r} have different times"
        of_region.setdefault(region, set()).add(item["type"])
    yield from _unlinked(times, of_region)


def _unlinked(times: Mapping[str, tuple[Any, ...]], of_region: Mapping[str, set[str]]) -> Iterator[str]:
    """Labels and texts that stand at the same times throughout, and share no id anywhere."""
    labels = {times[region] for region, kinds in of_region.items() if kinds == {"labels"}}
    texts = {times[region] for region, kinds in of_region.items() if kinds == {"textarea"}}
    if len(labels) > 1 and labels == texts and len(labels) + len(texts) == len(of_region):
        yield "labels and texts at the same times are not linked: those of a region need the same id"


def _wrong_for_config(prediction: Mapping[str, Any], result: list[Any], xml: str) -> list[str]:
    """What label-studio-sdk says, about one item of each kind."""
    kinds = {_kind(item): item for item in reversed(result)}
    examples = [item for item in kinds.values() if item.get("type") != "relation"]
    return list(_interface(xml).validate_prediction({**prediction, "result": examples}, return_errors=True))


def _kind(item: Mapping[str, Any]) -> str:
    """What the SDK's rules depend on: everything but the times, the texts and the id."""
    value = item.get("value", {})
    shape = {key: type(content).__name__ for key, content in value.items()}
    controls = [item.get("from_name"), item.get("to_name"), item.get("type"), value.get("labels")]
    return json.dumps([controls, shape, None if "text" in value else value.get("choices")], sort_keys=True, default=str)


@lru_cache(maxsize=64)
def _interface(xml: str) -> Any:  # noqa: ANN401 - label-studio-sdk's LabelInterface has no types
    from label_studio_sdk.label_interface import LabelInterface  # noqa: PLC0415 - its import takes a second

    try:
        return LabelInterface(xml)
    except Exception as error:  # noqa: BLE001 - it raises its XML library's own
        raise ConfigUnusable(f"the labeling config is no XML that Label Studio reads: {error}") from None
