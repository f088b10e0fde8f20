"""Write the tables of the documentation from the code that they describe.

    make docs                     the documents named below, in place
    python tools/tables.py FILE…  other files

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what is between them is replaced. The names are
those of `TABLES`. `tests/test_docs.py` fails where a table differs from its code.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from platformdirs import user_cache_path
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from diarist.engines import DEFAULTS
from diarist.request import LabelStudioTarget, TranscriptionOptions, TranscriptionRequest
from diarist.settings import Settings
from diarist_proxy.settings import ProxySettings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/http.md", "docs/label-studio.md")

_BLOCK = re.compile(r"(<!-- table: (?P<name>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings_table() -> str:
    """Every setting: its variable, its default, and what it is for."""
    prefix = Settings.model_config["env_prefix"]
    rows = (
        (f"`{prefix}{name.upper()}`", _setting_default(name, field), _with_values(field))
        for name, field in Settings.model_fields.items()
    )
    return _table(("variable", "default", "what it sets"), rows)


def _setting_default(name: str, field: FieldInfo) -> str:
    by_profile = {profile: engines[name] for profile, engines in DEFAULTS.items() if name in engines}
    if by_profile:
        return ", ".join(f"`{value}` ({profile})" for profile, value in by_profile.items())
    if field.default_factory is not None:
        value = field.get_default(call_default_factory=True, validated_data={})
        return f"`{value.relative_to(user_cache_path('diarist').parent).as_posix()}` in the user's cache"
    return "" if field.default in {None, ()} else f"`{field.default}`"


def proxy_settings_table() -> str:
    """Every setting of the proxy: its variables, the first in front, its default, and what it is for."""
    rows = (
        (" or ".join(f"`{name}`" for name in variables(field)), _proxy_default(field), _with_values(field))
        for field in ProxySettings.model_fields.values()
    )
    return _table(("variable", "default", "what it sets"), rows)


def variables(field: FieldInfo) -> list[str]:
    """The environment variables of a field: the choices of its alias that are written in capitals."""
    choices = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else []
    return [choice for choice in choices if isinstance(choice, str) and choice.isupper()]


def _proxy_default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "`diarist/proxy` in the user's data folder"
    return "" if field.default in {None, ()} else f"`{field.default}`"


def _with_values(field: FieldInfo) -> str:
    """A setting's description, and its values where they are few."""
    values = [value for part in _alternatives(field.annotation) for value in get_args(part)]
    return f"{field.description}; {_any_of(values)}" if values else str(field.description)


def _alternatives(annotation: Any) -> list[Any]:  # noqa: ANN401 - a type
    """The literal types in an annotation."""
    if get_origin(annotation) is Literal:
        return [annotation]
    return [part for part in get_args(annotation) if get_origin(part) is Literal]


def request_table() -> str:
    """Every key of a request: its type, its default, and what it means."""
    return _keys_of(TranscriptionRequest.model_json_schema())


def label_studio_table() -> str:
    """Every key of the request's `label_studio`."""
    return _keys_of(LabelStudioTarget.model_json_schema())


def transcription_table() -> str:
    """Every key of the request's `transcription`."""
    return _keys_of(TranscriptionOptions.model_json_schema())


def _keys_of(schema: Mapping[str, Any]) -> str:
    types = schema.get("$defs", {})
    rows = (
        (f"`{key}`", _type(value, types), _json_default(value), value.get("description", ""))
        for key, value in schema["properties"].items()
    )
    return _table(("key", "type", "default", "meaning"), rows)


def _type(schema: Mapping[str, Any], types: Mapping[str, Any]) -> str:
    """A JSON schema in words. Null is left out: every default that is empty is null."""
    if "$ref" in schema:
        return _type(types[schema["$ref"].rpartition("/")[2]], types)
    if "anyOf" in schema:
        names = (_type(item, types) for item in schema["anyOf"] if item.get("type") != "null")
        return " or ".join(dict.fromkeys(names))
    if "enum" in schema or "const" in schema:
        return _any_of(schema.get("enum") or [schema["const"]])
    if schema["type"] == "array":
        items = schema.get("items", {})
        return f"list of {_type(items, types)}s" if items else "list"
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['type']} {schema['minimum']} to {schema['maximum']}"
    return str(schema["type"])


def _json_default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    return "" if default in (None, [], {}) else f"`{json.dumps(default)}`"


def _any_of(values: Iterable[object]) -> str:
    *others, last = [f"`{value}`" for value in values]
    return f"{', '.join(others)} or {last}" if others else last


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


TABLES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "settings": settings_table,
        "proxy_settings": proxy_settings_table,
        "request": request_table,
        "label_studio": label_studio_table,
        "transcription": transcription_table,
    }
)


def tables_in(text: str) -> tuple[str, ...]:
    """The names of the tables that a document has a place for."""
    return tuple(match["name"] for match in _BLOCK.finditer(text))


def rewritten(text: str) -> str:
    """A document with all its tables made anew.

    Raises:
        KeyError: it has a place for a table that there is not.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}{TABLES[match['name']]()}{match[3]}", text)


def main(paths: Iterable[Path]) -> None:
    """Rewrite documents in place, and name those that changed."""
    for path in paths:
        text = path.read_text(encoding="utf-8")
        new = rewritten(text)
        if new != text:
            path.write_text(new, encoding="utf-8")
            print(f"{path.name}: tables rewritten")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]] or [ROOT / name for name in DOCUMENTS])
