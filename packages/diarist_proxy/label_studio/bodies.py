"""The bodies that Label Studio 1.23 sends to an ML backend, as far as they are read; another shape is a 400."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class _Body(BaseModel):
    """What Label Studio sends; keys that are not named here are none of ours."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Setup(_Body):
    """`POST /setup`."""

    project: str | int
    label_schema: str = Field(alias="schema")
    extra_params: Any = None


Id = Annotated[int, Field(ge=0, lt=2**63)]


class Task(_Body):
    """A task, with all its keys."""

    model_config = ConfigDict(extra="allow")

    id: Id
    data: dict[str, Any]
    project: Id | None = None


class Region(_Body):
    """An item of a result, with all its keys."""

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    value: dict[str, Any] = Field(default_factory=dict)


class Context(_Body):
    """The regions that somebody waits for."""

    result: list[Region] = Field(default_factory=list)


class Params(_Body):
    """The parameters of `POST /predict`; `context` is null unless somebody waits for a region."""

    context: Context | None = None


class Predict(_Body):
    """`POST /predict`."""

    tasks: list[Task]
    project: str | int | None = None
    label_config: str | None = None
    params: Params = Field(default_factory=Params)


class Numbered(_Body):
    """What was deleted, or where something happened, by its id; the other keys are kept."""

    model_config = ConfigDict(extra="allow")

    id: Id


class Project(_Body):
    """The project of an event."""

    id: Id | None = None
    label_config: str | None = None


class Annotation(_Body):
    """An annotation as it is measured."""

    id: Id
    task: Id
    result: list[Region]
    lead_time: float | None = None
    parent_prediction: Id | None = None
    was_cancelled: bool | None = None
    updated_at: str | None = None


class Event(_Body):
    """`POST /webhook`: an action, and what it is about."""

    action: str
    project: Project = Field(default_factory=Project)
    tasks: list[Numbered] = Field(default_factory=list)
    annotation: Annotation | None = None
    annotations: list[Numbered] = Field(default_factory=list)
