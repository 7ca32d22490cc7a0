"""What people tell a run on its page, checked on its newest history before it is sent.

Each write has an id that the page makes up: one that is sent again, since its answer was lost, is carried out once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from starlette.requests import Request

from anabranch.console.access.caller import Caller
from anabranch.console.exact import value_of
from anabranch.console.refusal import Refused
from anabranch.console.routes import Body
from anabranch.console.sent_once import sent_id
from anabranch.console.services import Services, services_of
from anabranch.context.values import Json
from anabranch.errors import AnabranchError, InputError
from anabranch.inspection.history import History
from anabranch.inspection.inspection import Inspection
from anabranch.steering.checking import check
from anabranch.steering.sending import Handle, answered, cancel, deliver, send, signal
from anabranch.steering.waiting import waiting_of
from anabranch.workflows.interpreter.event import Event, event_of

_SECONDS: Final = 20
"""How long a run may take to answer. Where no worker runs it takes what it was told later."""
_OVER: Final = "RUN_OVER"


@dataclass(frozen=True, slots=True)
class Steered:
    """A run that somebody tells something, as its history has it now."""

    services: Services
    handle: Handle
    history: History
    inspection: Inspection
    caller: Caller

    @classmethod
    async def of(cls, request: Request, caller: Caller) -> Self:
        """Raises Refused for a run that is not there, or is over."""
        services, workflow_id = services_of(request), request.path_params["workflow_id"]
        run_id = request.query_params.get("run_id")
        try:
            history = await services.runs.history(workflow_id, run_id)
        except InputError as error:
            raise Refused.of(error, 404) from None
        if history.closed is not None:
            raise Refused(409, _OVER, "the run is over", place=workflow_id)
        inspection = await services.inspector.inspect(history)
        handle: Handle = services.client.get_workflow_handle(
            workflow_id, run_id=history.run_id, first_execution_run_id=inspection.first_run_id
        )
        return cls(services, handle, history, inspection, caller)

    async def update(self, name: str, request: Mapping[str, Json], update_id: str) -> dict[str, Any]:
        """Check an update, and send it; the run's answer. Raises Refused, TimedOut, Unavailable."""
        try:
            await check(self.services.inspector, self.history, name, request)
        except AnabranchError as error:
            if (told := await answered(self.handle, update_id=update_id, within=_SECONDS)) is not None:
                return told
            raise Refused.of(error, 422 if self._waits_at(request.get("node")) else 409) from None
        try:
            return await send(self.handle, name, request, update_id=update_id, within=_SECONDS)
        except InputError as error:
            raise Refused.of(error, 409) from None

    def _waits_at(self, address: Json) -> bool:
        waiting = waiting_of(self.inspection)
        asked = {each.address for each in waiting.approvals} | {each.address for each in waiting.conflicts}
        return address in asked or address in waiting.paused


async def answer(request: Request, caller: Caller, body: Body) -> Any:
    """Answer an approval."""
    steered = await Steered.of(request, caller)
    given, node = value_of(body.get("value"), place="value"), _text(body, "node")
    check_asked(caller, steered.inspection, node)
    told: dict[str, Json] = {"node": node, "answer": given, "by": caller.name}
    return await steered.update("complete_task", told, _update_id(body))


def check_asked(caller: Caller, inspection: Inspection, node: str) -> None:
    """Refuse who answers an approval that others are asked. Raises Refused."""
    for each in waiting_of(inspection).approvals:
        if each.address == node:
            caller.require_asked(node, each.assignee, each.groups)


async def resolve(request: Request, caller: Caller, body: Body) -> Any:
    """Settle a conflict: by one of its candidates, by another value, or by removing what it is about."""
    steered = await Steered.of(request, caller)
    told: dict[str, Json] = {"node": _text(body, "node"), "path": _text(body, "path"), "by": caller.name}
    told |= {name: body[name] for name in ("choose", "remove") if name in body}
    if "value" in body:
        told["value"] = value_of(body["value"], place="value")
    return await steered.update("resolve_conflict", told, _update_id(body))


def operates(update: str, *, edits: bool) -> Callable[[Request, Caller, Body], Any]:
    """What an operator does with a paused node; some of it on an edited context."""

    async def operate(request: Request, caller: Caller, body: Body) -> Any:
        steered = await Steered.of(request, caller)
        told: dict[str, Json] = {"node": _text(body, "node"), "by": caller.name}
        if edits and "set" in body:
            told["changes"] = changes_of(body["set"])
        if edits and "removed" in body:
            told["removed"] = body["removed"]
        return await steered.update(update, told, _update_id(body))

    return operate


async def deliver_event(request: Request, caller: Caller, body: Body) -> Any:
    """Send an event. One without an id has that of the request: sent again, it is taken once."""
    steered = await Steered.of(request, caller)
    event = event_said(body, caller)
    await deliver(steered.handle, event if event.id is not None else replace(event, id=_update_id(body)))
    return {"workflow_id": steered.handle.id}


def event_said(body: Body, caller: Caller) -> Event:
    """The event of a request, in the caller's name. Raises InputError for what a run would not take."""
    event = event_of(value_of(body.get("value"), place="the event"))
    if event.by is not None:
        raise InputError("an event has no field 'by' here", suggestion="leave it out: it is sent in your name")
    return replace(event, by=caller.name)


def signals(name: str) -> Callable[[Request, Caller, Body], Any]:
    """A signal: the server keeps it until a worker takes it."""

    async def tell(request: Request, caller: Caller, body: Body) -> Any:
        steered = await Steered.of(request, caller)
        await signal(steered.handle, name, by=caller.name)
        return {"workflow_id": steered.handle.id}

    return tell


async def cancel_run(request: Request, caller: Caller, body: Body) -> Any:
    """Cancel a run whose undo plan was shown: `undoes` are its steps. Raises Refused where that has changed."""
    steered = await Steered.of(request, caller)
    plan = steered.inspection.undo_plan
    undoes = [] if plan is None else [step.address for step in plan.steps]
    if body.get("undoes") != undoes:
        raise Refused(
            409, "PLAN_CHANGED", "the run has gone on: a cancel undoes something else by now", suggestion="look again"
        )
    await cancel(steered.handle, by=caller.name)
    return {"workflow_id": steered.handle.id}


def _text(body: Body, field: str) -> str:
    if not isinstance(value := body.get(field), str):
        raise InputError(f"`{field}` is missing", place=field)
    return value


def _update_id(body: Body) -> str:
    return sent_id(body, "update_id") or str(uuid.uuid4())


def changes_of(given: object) -> dict[str, Json]:
    """Paths with the texts of their new values. Raises InputError."""
    if not isinstance(given, dict):
        raise InputError("it is an object of paths, each with the text of a JSON value", place="set")
    return {path: value_of(text, place=path) for path, text in given.items()}
