"""Runs that failed are run again, many at once: how many and what that would do is shown first."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from anabranch.console.access.caller import Caller, Role
from anabranch.console.listing.many import MOST, Chosen, chosen_runs, each_of, named
from anabranch.console.listing.runs import selection_of
from anabranch.console.routes import Body, reads, writes
from anabranch.console.services import Services, services_of
from anabranch.errors import AnabranchError, InputError
from anabranch.inspection.selection import CLOSED_STATES
from anabranch.rerun.starting import plan_rerun, rerun_before, start_rerun
from anabranch.transport.rerun import RerunRequest

_STATES: Final = ("failed",)
"""Runs in other states have no node that failed, or were ended by somebody."""
_PLANNED: Final = 20
"""Runs whose plans are made for the preview: each takes a replay."""
_AT_ONCE: Final = 4


def rerun_routes() -> list[Route]:
    """The routes below `/api/runs` for reruns."""
    return [
        reads("/api/runs/failed", _failed),
        writes("/api/runs/rerun-plan", _plan, role=Role.OPERATOR),
        writes("/api/runs/rerun", _rerun, role=Role.OPERATOR),
    ]


async def _failed(request: Request) -> Any:
    """The runs that a rerun of all that are listed would reach: those that failed, as far as a limit."""
    selection = selection_of(request)
    states = [state for state in selection.states or CLOSED_STATES if state in _STATES]
    if not states:
        return {"runs": [], "is_all": True}
    found = await services_of(request).listing.newest(replace(selection, states=states), MOST + 1)
    return {"runs": named(found[:MOST]), "is_all": len(found) <= MOST}


async def _plan(request: Request, _caller: Caller, body: Body) -> Any:
    """What reruns of the first of some runs would do, those that would do the same together."""
    services, keeps = services_of(request), body.get("keep_unchanged") is True
    chosen, turns = chosen_runs(body), asyncio.Semaphore(_AT_ONCE)

    async def one(each: Chosen) -> tuple[str, ...] | dict[str, Any]:
        async with turns:
            try:
                await _check_new(services, each)
                found = (await plan_rerun(services.runs, _asked(each, keeps=keeps))).described()
            except AnabranchError as error:
                return {"workflow_id": each.workflow_id, "run_id": each.run_id, "message": error.message}
        return tuple(", ".join(found[name]) for name in ("first", "effects_again", "undone_before"))

    made = await asyncio.gather(*map(one, chosen[:_PLANNED]))
    groups: dict[tuple[str, ...], int] = defaultdict(int)
    for each in made:
        if isinstance(each, tuple):
            groups[each] += 1
    told = [
        {"runs": count, "first": first, "effects_again": again, "undone_before": undone}
        for (first, again, undone), count in groups.items()
    ]
    return {"plans": told, "refused": [each for each in made if isinstance(each, dict)], "planned": len(made)}


async def _rerun(request: Request, caller: Caller, body: Body) -> Any:
    """Run each run again from the nodes that failed; one that was run again before is refused."""
    services, keeps = services_of(request), body.get("keep_unchanged") is True

    async def one(each: Chosen) -> None:
        await _check_new(services, each)
        asked = replace(_asked(each, keeps=keeps), by=caller.name)
        await plan_rerun(services.runs, asked)  # what is wrong is said before a run is started that would fail
        run = await services.runs.inspect(each.workflow_id, each.run_id)
        await start_rerun(services.client, asked, task_queue=run.task_queue)

    return await each_of(chosen_runs(body), one)


def _asked(each: Chosen, *, keeps: bool) -> RerunRequest:
    return RerunRequest(each.workflow_id, each.run_id, failed=True, keep_unchanged=keeps)


async def _check_new(services: Services, each: Chosen) -> None:
    """Raises InputError: who asks for many twice, since no answer came, means each of them once."""
    if (found := await rerun_before(services.client, each.workflow_id, each.run_id)) is not None:
        raise InputError(f"it was run again as {found!r}", suggestion="run it again from its own page")
