"""What the model is asked for a task: service < project's extra parameters < labeling config < the task's data.

Extra parameters are a JSON object, in Label Studio's field or by its API; attributes of the config and keys of a
task's data are `diarist_language`, `diarist_num_speakers`, …, and a task's data may have an object `diarist` too.
Values may be strings, as XML and CSV have them; an empty one, or null, says nothing. What a later place says replaces
what an earlier one said, and what contradicts it: an exact number of speakers replaces bounds, a language the list of
expected ones. `auto` as a language has it detected, whatever was said before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from diarist.errors import BadRequest
from diarist.request import parse_request
from diarist_proxy.label_studio.labeling import Labeling
from diarist_proxy.label_studio.labeling.option_values import CONVERT, DETECTED, LONGEST_TEXT, TextFormat
from diarist_proxy.settings import ProxySettings

_PREFIX = "diarist_"
_LONGEST_SHOWN = 40  # characters of a wrong value that a message repeats
_SERVICE = "the service's settings"


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What one task is transcribed with."""

    request: Mapping[str, Any]  # keys of the request to the model, beside the recording
    text_format: TextFormat  # how a whole recording's text is written


def merged(
    settings: ProxySettings,
    extra_params: str | Mapping[str, Any] | None,
    labeling: Labeling,
    task_data: Mapping[str, Any],
    hints: Mapping[str, Any] | None = None,
) -> TaskOptions:
    """The options of a task, each from the nearest place that says something.

    Words to expect that were learned from corrections (`hints`) follow those that people set; a prompt that was
    learned stands where nobody set one. Where the config has one label for each of so many speakers and none for
    more, that is the most speakers to look for, unless a number is set.

    Raises:
        BadRequest: an option is unknown or has a value that cannot be; the message names the place.
    """
    values: dict[str, Any] = {}
    for place, given in _places(settings, extra_params, labeling, task_data):
        stated = dict(_stated(place, given))
        _check_together(place, stated)
        values = {**_without_contradicted(values, stated), **stated}
    text_format = cast("TextFormat", values.pop("text_format", "speakers"))
    request = {key: value for key, value in values.items() if value is not DETECTED}
    request = _limited(_hinted(request, hints or {}), labeling)
    if labeling.labels_name is None and text_format == "plain" and not labeling.per_region:
        request = _undiarized(request)
    _check_together("the options of the task", request)
    return TaskOptions(request, text_format)


def for_region(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request for a drawn region that is heard alone: what is said in it, and nothing of speakers."""
    kept = {key: value for key, value in request.items() if key not in _FOR_DIARIZING}
    return kept if kept.get("channels") == "split" else {**kept, "diarize": False}


def _places(
    settings: ProxySettings,
    extra_params: str | Mapping[str, Any] | None,
    labeling: Labeling,
    task_data: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where options may stand, the nearest last: the place's name, and what stands there by option."""
    yield _SERVICE, {key: getattr(settings, key) for key in CONVERT if hasattr(settings, key)}
    yield "the project's extra parameters", _unprefixed(_object(extra_params, "the project's extra parameters"))
    yield "the labeling config's diarist_ attributes", labeling.options
    flat = {key.removeprefix(_PREFIX): value for key, value in task_data.items() if key.startswith(_PREFIX)}
    yield (
        "the task's data",
        {**_unprefixed(_object(task_data.get("diarist"), 'the task\'s data under "diarist"')), **flat},
    )


def _unprefixed(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {str(key).removeprefix(_PREFIX): value for key, value in given.items()}


def _object(given: Any, place: str) -> Mapping[str, Any]:  # noqa: ANN401 - whatever JSON held
    """The object that a JSON text, or an object, is; nothing at all is an empty one."""
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            reason = f"line {error.lineno}, column {error.colno}: {error.msg}"
            raise BadRequest(f'{place} are no JSON ({reason}): write {{"language": "de"}}') from None
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    if not isinstance(given, Mapping):
        raise BadRequest(f'{place} must be a JSON object, such as {{"language": "de", "num_speakers": 2}}')
    return given


def _stated(place: str, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        if key not in CONVERT:
            raise BadRequest(f"{place}: unknown option {key[:100]!r}; known options: {', '.join(CONVERT)}")
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        try:
            yield key, CONVERT[key](value.strip() if isinstance(value, str) else value)
        except ValueError as error:
            raise BadRequest(f"{place}, {key}: {error}, not {_shown(value)}") from None


def _shown(value: Any) -> str:  # noqa: ANN401
    """A value for a message: short, and no URL, which may be a signed one."""
    if isinstance(value, str) and (len(value) > _LONGEST_SHOWN or "://" in value):
        return f"a text of {len(value)} characters"
    return repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"


_REPLACES: Mapping[str, tuple[str, ...]] = {
    "language": ("languages",),
    "languages": ("language",),
    "num_speakers": ("min_speakers", "max_speakers", "threshold"),
    "min_speakers": ("num_speakers",),
    "max_speakers": ("num_speakers",),
    "threshold": ("num_speakers",),
}
_FOR_DIARIZING = ("num_speakers", "min_speakers", "max_speakers", "threshold", "diarization", "known_speakers")


def _without_contradicted(values: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """What was said before, without what the nearer place contradicts."""
    gone = {key for nearer in stated for key in _REPLACES.get(nearer, ())}
    if stated.get("diarize") is False:
        gone |= {*_FOR_DIARIZING}
    if stated.get("channels") == "split":
        gone |= {*_FOR_DIARIZING, "diarize"}
    if {*stated} & {*_FOR_DIARIZING}:
        gone |= {"channels", "diarize"}
    if "diarize" in stated:
        gone.add("channels")
    kept = {key: value for key, value in values.items() if key not in gone}
    bounds = {**kept, **stated}
    if bounds.get("min_speakers", 0) > bounds.get("max_speakers", 50):
        kept = {key: value for key, value in kept.items() if key not in {"min_speakers", "max_speakers"}}
    return kept


def _check_together(place: str, values: Mapping[str, Any]) -> None:
    """Let the request's own rules judge; their messages name the key."""
    asked = {key: value for key, value in _as_request(values).items() if value is not DETECTED}
    try:
        parse_request({"audio_file": "https://example.com/recording", **asked})
    except BadRequest as error:
        raise BadRequest(f"{place}: {error}") from None


def _as_request(values: Mapping[str, Any]) -> dict[str, Any]:
    asked = {key: value for key, value in values.items() if key not in {"text_format", "threshold"}}
    return asked | ({"diarization": {"threshold": values["threshold"]}} if "threshold" in values else {})


def _hinted(request: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    """With what was learned from corrections, as far as there is room."""
    result = _as_request(request)
    words = [*_words(result.get("hotwords")), *_words(hints.get("hotwords"))]
    if hotwords := _fitting(dict.fromkeys(words)):
        result["hotwords"] = hotwords
    if not result.get("initial_prompt") and (prompt := hints.get("initial_prompt")):
        result["initial_prompt"] = str(prompt)[:LONGEST_TEXT]
    return result


def _words(given: Any) -> list[str]:  # noqa: ANN401 - a text, or a list of texts
    return [given] if isinstance(given, str) and given else [str(word) for word in given or ()]


def _fitting(words: Iterable[str]) -> str:
    """The words that fit in a request, the first ones first."""
    text = ""
    for word in words:
        if len(text) + len(word) + 1 <= LONGEST_TEXT:
            text = f"{text} {word}".strip()
    return text


def _limited(request: dict[str, Any], labeling: Labeling) -> dict[str, Any]:
    """Without more speakers than the config has labels for, unless a number was set."""
    most = labeling.most_speakers
    counts = {"num_speakers", "max_speakers", "known_speakers"}
    if most is None or counts & {*request} or request.get("channels") == "split" or request.get("diarize") is False:
        return request
    return request if request.get("min_speakers", 1) > most else {**request, "max_speakers": most}


def _undiarized(request: dict[str, Any]) -> dict[str, Any]:
    """Without telling speakers apart, which nobody will see, unless somebody asked for it."""
    asked = {*_FOR_DIARIZING, "diarize", "channels"} & {*request}
    return request if asked else {**request, "diarize": False}
