"""The API of the list of runs: a page of it, how many there are in each state, and a cancel of many."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route
from temporalio.service import RPCError

from anabranch.console.access.caller import Caller, Role
from anabranch.console.listing.many import MOST, Chosen, chosen_runs, each_of, named
from anabranch.console.routes import Body, reads, writes
from anabranch.console.services import services_of
from anabranch.inspection.selection import OPEN_STATES, Selection
from anabranch.steering.sending import Handle, unheard

_PAGE: Final = 50


def runs_routes() -> list[Route]:
    """The routes below `/api/runs`."""
    return [
        reads("/api/runs", _page),
        reads("/api/runs/counts", _counts),
        reads("/api/runs/open", _open),
        writes("/api/runs/cancel", _cancel, role=Role.OPERATOR),
    ]


async def _page(request: Request) -> Any:
    after = request.query_params.get("after")
    found = await services_of(request).listing.page(selection_of(request), size=_PAGE, after=after)
    return {"runs": [asdict(each) for each in found.runs], "next": found.next}


async def _counts(request: Request) -> Any:
    return {"counts": await services_of(request).listing.counts(selection_of(request))}


async def _open(request: Request) -> Any:
    """The runs that a cancel of all that are listed would reach: those under way, as far as a limit."""
    selection = selection_of(request)
    states = [state for state in selection.states or OPEN_STATES if state in OPEN_STATES]
    if not states:
        return {"runs": [], "is_all": True}
    found = await services_of(request).listing.newest(replace(selection, states=states), MOST + 1)
    return {"runs": named(found[:MOST]), "is_all": len(found) <= MOST}


async def _cancel(request: Request, caller: Caller, body: Body) -> Any:
    client = services_of(request).client

    async def cancel(each: Chosen) -> None:
        handle: Handle = client.get_workflow_handle(each.workflow_id, run_id=each.run_id)
        try:
            await handle.cancel(reason=f"by {caller.name}")
        except RPCError as error:
            raise unheard(error, each.workflow_id) from error

    return await each_of(chosen_runs(body), cancel)


def selection_of(request: Request) -> Selection:
    """The runs that the filters of a request show."""
    asked = request.query_params
    return Selection(
        graph=asked.get("graph") or None,
        states=asked.getlist("state"),
        waiting_for=asked.getlist("waiting"),
        id_starts=asked.get("id", ""),
    )
