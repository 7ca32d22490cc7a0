"""One answer, told to the runs that wait for it: the update, and its request, are those of the command line.

An event is a signal: nobody answers it. What is sent twice by one form, since the first answer was lost, is told once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from anabranch.console.access.caller import Caller, Role
from anabranch.console.exact import value_of
from anabranch.console.listing.many import Chosen, each_of, listed, text
from anabranch.console.routes import Body
from anabranch.console.run.steering import check_asked, event_said
from anabranch.console.sent_once import sent_id, sign_of
from anabranch.console.services import Services
from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.steering.sending import Handle, answered, deliver, send
from anabranch.workflows.temporal.messages import EVENT

_UPDATES: Final[Mapping[str, tuple[str, Role]]] = {
    "answer": ("complete_task", Role.ANSWERER),
    "resolve": ("resolve_conflict", Role.ANSWERER),
    "retry": ("retry_node", Role.OPERATOR),
    "skip": ("skip_node", Role.OPERATOR),
    "fail": ("fail_node", Role.OPERATOR),
    "deliver": (EVENT, Role.OPERATOR),
}
_PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Waiting(Chosen):
    """A run, and where it waits."""

    node: str


def role_of(body: Body) -> Role:
    """The role that it takes to tell something. Raises InputError for what nobody can tell."""
    return _update(body)[1]


async def tell(services: Services, caller: Caller, body: Body) -> dict[str, Any]:
    """Tell it to each item of the request, which are exactly those that were shown before. Raises InputError."""
    (update, _), verb, sent = _update(body), body["verb"], sent_id(body, "request_id")
    if update == EVENT:
        event = event_said(body, caller)
        if event.id is None and sent is not None:
            event = replace(event, id=sign_of(sent, event.name, event.data))

        async def hand(each: _Waiting) -> None:
            await deliver(services.client.get_workflow_handle(each.workflow_id, run_id=each.run_id), event)

        return await each_of(_items(body), hand)
    request: dict[str, Json] = {**_said(body), "by": caller.name}

    async def one(each: _Waiting) -> None:
        if verb == "answer" and caller.is_known:  # what is asked is read only where it decides who may answer
            check_asked(caller, await services.runs.inspect(each.workflow_id, each.run_id), each.node)
        handle: Handle = services.client.get_workflow_handle(each.workflow_id, run_id=each.run_id)
        asked = {**request, "node": each.node}
        update_id = f"{update}-{uuid.uuid4() if sent is None else sign_of(sent, update, asked)}"
        try:
            await send(handle, update, asked, update_id=update_id, within=_PATIENCE_SECONDS)
        except InputError:
            if await answered(handle, update_id=update_id, within=_PATIENCE_SECONDS) is None:
                raise

    return await each_of(_items(body), one)


def _update(body: Body) -> tuple[str, Role]:
    found = _UPDATES.get(text(body, "verb"))
    if found is None:
        raise InputError(f"there is no verb {body['verb']!r:.100}", suggestion=f"give one of {', '.join(_UPDATES)}")
    return found


def _items(body: Body) -> list[_Waiting]:
    return [
        _Waiting(text(each, "workflow_id"), text(each, "run_id"), text(each, "node")) for each in listed(body, "items")
    ]


def _said(body: Body) -> dict[str, Json]:
    """The answer, or the choice, as the update takes it."""
    verb, said = body["verb"], {}
    if verb == "answer":
        said["answer"] = value_of(body.get("value"), place="the answer")
    elif verb == "resolve":
        said["path"] = text(body, "path")
        if "value" in body:
            said["value"] = value_of(body["value"], place="the value")
        said |= {field: body[field] for field in ("choose", "remove") if field in body}
    return said
