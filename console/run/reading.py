"""What can be asked about a run: all of it at once, live, and at any moment what explains it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Self

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from anabranch.console.access.caller import Caller, caller_of
from anabranch.console.exact import text_of
from anabranch.console.refusal import Refused
from anabranch.console.run import causes
from anabranch.console.run.canvas import drawing
from anabranch.console.run.details import details
from anabranch.console.run.moments import Moment
from anabranch.console.services import Services, services_of
from anabranch.context.values import MISSING, parse_path, value_at
from anabranch.errors import AnabranchError, InputError
from anabranch.inspection.blame import blame
from anabranch.inspection.why import Why

_MOST: Final = 1000
"""Paths of one answer."""
_DIGITS: Final = 9
_WRITE_SECONDS: Final = 20
"""How long a viewer may take to read what it is given, before it is dropped."""
_PING_SECONDS: Final = 15


@dataclass(frozen=True, slots=True)
class Asked:
    """The run, and the moment, that a request is about."""

    services: Services
    workflow_id: str
    run_id: str
    is_pinned: bool
    """Whether the request names the workflow run. Else it is the newest one, and those that it continues as."""
    event: int | None
    query: Request

    @classmethod
    async def of(cls, request: Request) -> Self:
        """Raises Refused where there is no such run, InputError, Unavailable."""
        services, workflow_id = services_of(request), request.path_params["workflow_id"]
        given = request.query_params.get("run_id")
        try:
            run_id = given or await services.runs.newest(workflow_id)
        except InputError as error:
            raise Refused.of(error, 404) from None
        return cls(services, workflow_id, run_id, given is not None, _number(request, "at"), request)

    async def moment(self) -> Moment:
        """Raises Refused where there is no such run, and what `Moments.at` raises."""
        return await self.services.moments.at(self.workflow_id, self.run_id, self.event)

    def text(self, name: str) -> str | None:
        """What the query says by a name."""
        return self.query.query_params.get(name)


async def snapshot(request: Request) -> Response:
    """The run as it is now."""
    asked = await Asked.of(request)
    watching = asked.services.live.watching(asked.workflow_id, asked.run_id)
    async with watching as watched, aclosing(watched.messages()) as messages:
        message = await anext(messages)
    return Response(message.data, media_type="application/json")


async def live(request: Request) -> Response:
    """The run as it is now, and as it goes on: a stream of events."""
    return EventSourceResponse(_events(request), ping=_PING_SECONDS, send_timeout=_WRITE_SECONDS)


async def _events(request: Request) -> AsyncGenerator[ServerSentEvent]:
    """Snapshots, deltas, and at last `end`, or the `problem` that there is. A browser cannot read a refusal's body."""
    try:
        asked, caller = await Asked.of(request), caller_of(request)
        run = asked.workflow_id, asked.run_id
        async with aclosing(asked.services.live.messages(*run, goes_on=not asked.is_pinned)) as messages:
            async for message in messages:
                _check_token(caller)
                yield ServerSentEvent(message.data, event=message.kind)
        yield ServerSentEvent("{}", event="end")
    except (Refused, AnabranchError) as error:
        refused = error if isinstance(error, Refused) else Refused.of(error)
        yield ServerSentEvent(json.dumps(refused.told()), event="problem")


def _check_token(caller: Caller) -> None:
    if caller.expires is not None and caller.expires < time.time():
        raise Refused(401, "TOKEN_EXPIRED", "the token is no longer valid", suggestion="sign in again")


async def node(request: Request) -> Any:
    """What a card of the drawing did."""
    asked = await Asked.of(request)
    moment = await asked.moment()
    state = asked.services.live.known(asked.workflow_id, asked.run_id)
    pending = () if state is None else state.pending
    lineage = await asked.services.runs.whole(moment.inspection)
    card = asked.text("address") or ""
    return details(moment, lineage, card, _number(request, "visit"), pending)


async def opened(request: Request) -> Any:
    """The drawing with some bodies open."""
    asked = await Asked.of(request)
    plan = (await asked.moment()).inspection.plan
    if plan is None:
        raise InputError("the run has not begun: no worker has loaded its graph", place=asked.workflow_id)
    return {"drawing": await asyncio.to_thread(drawing, plan, request.query_params.getlist("opened"))}


async def context(request: Request) -> Any:
    """The context, or the value at a path, whole."""
    asked = await Asked.of(request)
    moment = await asked.moment()
    data = dict(moment.inspection.frames[moment.index].context)
    path = asked.text("path")
    value = data if path is None else value_at(data, parse_path(path))
    if value is MISSING:
        raise Refused(404, "NOT_FOUND", f"there is nothing at {path!r}", place="path")
    return {"path": path, "value": text_of(value)}


async def blamed(request: Request) -> Any:
    """Who wrote each path last."""
    asked = await Asked.of(request)
    inspection, lineage = await asked.services.moments.replayed(await asked.moment())
    inside = parse_path(asked.text("path") or "") if asked.text("path") else ()
    found = [] if inspection.line is None else blame(inspection.line, lineage, inside)
    return {"paths": causes.blamed(found[:_MOST]), "more": max(0, len(found) - _MOST)}


async def why(request: Request) -> Any:
    """Why a value is what it is, or why a node ran or did not."""
    asked = await Asked.of(request)
    inspection, lineage = await asked.services.moments.replayed(await asked.moment())
    explains = Why(inspection, lineage)
    if (address := asked.text("node")) is not None:
        return causes.why(explains.node(address))
    if (path := asked.text("path")) is None:
        raise InputError("say which path, or which node", place="path")
    return causes.why(explains.path(parse_path(path)))


async def undo_plan(request: Request) -> Any:
    """What a cancel would undo."""
    asked = await Asked.of(request)
    inspection, _ = await asked.services.moments.replayed(await asked.moment())
    if inspection.undo_plan is None:
        raise InputError("the run has not begun: no worker has loaded its graph", place=asked.workflow_id)
    return causes.plan(inspection.undo_plan)


def _number(request: Request, name: str) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > _DIGITS:
        raise InputError(f"{given!r:.40} is not a number", place=name)
    return int(given)
