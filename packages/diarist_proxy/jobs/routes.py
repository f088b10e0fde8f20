"""The native door to the jobs: `/v1/jobs`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from diarist_proxy.jobs import Job, Jobs
from diarist_proxy.jobs.job import State

LONGEST_LIST = 10_000


def router(jobs: Jobs) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])

    @routes.get("")
    def listed(
        project: int | None = None,
        task: int | None = None,
        kind: str | None = None,
        state: Annotated[list[State] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=LONGEST_LIST)] = 100,
    ) -> dict[str, Any]:
        """The newest jobs that have all that is given, and how many there are in each state."""
        attributes = {name: value for name, value in (("project", project), ("task", task)) if value is not None}
        found = jobs.list(kind=kind, attributes=attributes, states=state, limit=limit)
        return {"jobs": [_shown(job) for job in found], "counts": jobs.counts(attributes)}

    @routes.get("/{id}")
    def one(id: str) -> dict[str, Any]:  # noqa: A002 - the path's own name
        """How a job stands."""
        return _shown(_found(jobs, id))

    @routes.delete("/{id}", status_code=202)
    def cancel(id: str) -> dict[str, Any]:  # noqa: A002
        """End a job: at once where it waits, soon where it runs; nothing happens to one that has ended."""
        _found(jobs, id)
        jobs.cancel(id=id)
        return _shown(_found(jobs, id))

    return routes


def _found(jobs: Jobs, id: str) -> Job:  # noqa: A002
    job = jobs.get(id)
    if job is None:
        raise HTTPException(404, f"there is no job {id[:64]}: GET /v1/jobs lists those that there are")
    return job


def _shown(job: Job) -> dict[str, Any]:
    return asdict(job)
