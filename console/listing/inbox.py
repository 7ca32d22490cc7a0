"""The API of the inbox: what all runs wait for people to do, or which events, and one answer for one or for many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from anabranch.console.access.caller import Caller, Role, caller_of
from anabranch.console.listing.telling import role_of, tell
from anabranch.console.listing.waiting import KINDS, Question
from anabranch.console.routes import Body, reads, writes
from anabranch.console.services import services_of
from anabranch.inspection.selection import Selection

_SHOWN: Final = 500


def inbox_routes() -> list[Route]:
    """The routes below `/api/inbox`."""
    return [
        reads("/api/inbox", _inbox),
        reads("/api/inbox/count", _count),
        writes("/api/inbox/tell", _tell, role=Role.ANSWERER),
    ]


async def _inbox(request: Request) -> Any:
    services, asked, caller = services_of(request), request.query_params, caller_of(request)
    found = await (services.awaiting if asked.get("kind") == "event" else services.waiting).now()
    questions = [each for each in found.all if _fits(each, asked) and _is_for(each, asked.get("for", ""), caller)]
    return {
        "items": [_told(each) for each in questions[:_SHOWN]],
        "total": len(questions),
        "runs": found.runs,
        "unread": found.unread,
        "is_all": found.is_all,
        "graphs": sorted({each.graph for each in found.all}),
        "people": _named(found.all, "assignee"),
        "groups": _named(found.all, "groups"),
    }


async def _count(request: Request) -> Any:
    return {"runs": await services_of(request).listing.count(Selection(waiting_for=KINDS))}


async def _tell(request: Request, caller: Caller, body: Body) -> Any:
    caller.require(role_of(body))
    services = services_of(request)
    told = await tell(services, caller, body)
    run_ids = [each["run_id"] for each in body["items"]]
    services.waiting.changed(run_ids)
    services.awaiting.changed(run_ids)
    return told


def _fits(question: Question, asked: Mapping[str, str]) -> bool:
    kind, graph, text = asked.get("kind"), asked.get("graph"), asked.get("id", "")
    return (
        (not kind or question.kind == kind)
        and (not graph or question.graph == graph)
        and question.workflow_id.startswith(text)
    )


def _is_for(question: Question, whom: str, caller: Caller) -> bool:
    """Whether a question is for whom it is looked for: `mine`, `person:ann`, `group:finance`, or everybody."""
    assignee, groups = question.told.get("assignee", ()), question.told.get("groups", ())
    kind, _, name = whom.partition(":")
    if kind == "mine":
        has_answered = any(each["by"] == caller.name for each in question.told.get("given", ()))
        return bool(assignee or groups) and caller.is_asked(assignee, groups) and not has_answered
    if kind in ("person", "group"):
        return name in (assignee if kind == "person" else groups)
    return True


def _named(questions: Iterable[Question], field: str) -> list[str]:
    return sorted({name for each in questions for name in each.told.get(field, ())})


def _told(each: Question) -> dict[str, Any]:
    return {
        **each.told,
        "workflow_id": each.workflow_id,
        "run_id": each.run_id,
        "graph": each.graph,
        "asked": each.asked,
        "alike": each.alike,
    }
