"""A run that has ended is run again from some of its nodes on: it is shown what that would do, then done."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from anabranch.console.access.caller import Caller
from anabranch.console.exact import line_of
from anabranch.console.refusal import Refused
from anabranch.console.routes import Body
from anabranch.console.run.steering import changes_of
from anabranch.console.services import services_of
from anabranch.errors import InputError
from anabranch.rerun.plan import RerunPlan
from anabranch.rerun.starting import plan_rerun, start_rerun
from anabranch.transport.rerun import RerunRequest


async def plan(request: Request, caller: Caller, body: Body) -> Any:
    """What a rerun would do."""
    return _plan(await plan_rerun(services_of(request).runs, await _asked(request, caller, body)))


async def rerun(request: Request, caller: Caller, body: Body) -> Any:
    """Start a rerun; its workflow id."""
    services, asked = services_of(request), await _asked(request, caller, body)
    await plan_rerun(services.runs, asked)  # what is wrong is said before a run is started that would fail
    run = await services.runs.inspect(asked.workflow_id, asked.run_id)
    handle = await start_rerun(services.client, asked, task_queue=run.task_queue)
    return {"workflow_id": handle.id}


async def _asked(request: Request, caller: Caller, body: Body) -> RerunRequest:
    """Raises InputError, and Refused where there is no such run."""
    workflow_id, given = request.path_params["workflow_id"], request.query_params.get("run_id")
    try:
        run_id = given or await services_of(request).runs.newest(workflow_id)
    except InputError as error:
        raise Refused.of(error, 404) from None
    asked = RerunRequest(
        workflow_id,
        run_id,
        _texts(body, "from"),
        body.get("failed") is True,
        changes_of(body.get("set", {})),
        _texts(body, "removed"),
        body.get("keep_unchanged") is True,
        by=caller.name,
    )
    if not (asked.nodes or asked.failed):
        raise InputError("a rerun says from where", place="from", suggestion="name nodes, or say `failed`")
    asked.edits()
    return asked


def _texts(body: Body, field: str) -> tuple[str, ...]:
    given = body.get(field, [])
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise InputError("it is a list of texts", place=field)
    return tuple(given)


def _plan(found: RerunPlan) -> dict[str, Any]:
    told = found.described()
    return told | {"set": [[path, line_of(value)] for path, value in found.set.items()]}
