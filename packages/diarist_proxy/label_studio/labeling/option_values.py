"""Options' values as XML, CSV and JSON hold them -> as a request has them; ranges are the request's own to check."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

TextFormat = Literal["speakers", "plain", "srt", "vtt"]
TEXT_FORMATS: tuple[str, ...] = get_args(TextFormat)
LONGEST_TEXT = 4000  # characters of a prompt or of hotwords that a request may have


class Detected:
    """Stands for a language that shall be detected, whatever an earlier place said."""


DETECTED = Detected()


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        value = " ".join(value)
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        message = f"a text of at most {LONGEST_TEXT} characters is needed"
        raise ValueError(message)
    return value


def _language(value: Any) -> Any:  # noqa: ANN401
    is_text = isinstance(value, str)
    return DETECTED if is_text and value.casefold() in {"auto", "detect"} else value.lower() if is_text else value


def _list(value: Any) -> Any:  # noqa: ANN401
    return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value


def _whole(value: Any) -> int:  # noqa: ANN401
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    if is_number or (isinstance(value, str) and value.removesuffix(".0").isdecimal()):  # a CSV's column of floats
        return int(float(value))
    message = "a whole number is needed"
    raise ValueError(message)


def _number(value: Any) -> float:  # noqa: ANN401
    try:
        return float(str(value) if not isinstance(value, bool) else "")
    except ValueError:
        message = "a number is needed"
        raise ValueError(message) from None


def _flag(value: Any) -> bool:  # noqa: ANN401
    named = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    found = named.get(str(value).casefold())
    if found is None:
        message = "true or false is needed"
        raise ValueError(message)
    return found


def _text_format(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or value.casefold() not in TEXT_FORMATS:
        message = f"one of {', '.join(TEXT_FORMATS)} is needed"
        raise ValueError(message)
    return value.casefold()


def _lower(value: Any) -> Any:  # noqa: ANN401
    return value.casefold() if isinstance(value, str) else value


def _known(value: Any) -> Any:  # noqa: ANN401
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        message = 'a JSON array is needed, as [{"name": "Ann", "audio_file": "https://…"}]'
        raise ValueError(message) from None


CONVERT: Mapping[str, Callable[[Any], Any]] = {
    "language": _language,
    "languages": _list,
    "task": _lower,
    "num_speakers": _whole,
    "min_speakers": _whole,
    "max_speakers": _whole,
    "diarize": _flag,
    "align": _flag,
    "initial_prompt": _text,
    "hotwords": _text,
    "channels": _lower,
    "threshold": _number,
    "known_speakers": _known,
    "text_format": _text_format,
}
"""For each option, what makes its value; it raises ValueError, which says what is needed."""
