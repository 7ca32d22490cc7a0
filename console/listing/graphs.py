"""The API of the graphs: what the folder has, one of them as a picture and as a text, and the start of a run."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from anabranch.console.access.caller import Role
from anabranch.console.listing.shelf import Shelved
from anabranch.console.listing.starting import start
from anabranch.console.routes import reads, writes
from anabranch.console.services import services_of
from anabranch.display import plain
from anabranch.errors import Problem
from anabranch.graph.drawing.svg import embedded


def graphs_routes() -> list[Route]:
    """The routes below `/api/graphs`."""
    return [
        reads("/api/graphs", _graphs),
        reads("/api/graphs/one/{name:path}", _graph),
        reads("/api/graphs/tests/{name:path}", _tests),
        writes("/api/graphs/start/{name:path}", start, role=Role.OPERATOR),
    ]


async def _graphs(request: Request) -> Any:
    return {"graphs": [_summary(each) for each in await services_of(request).graphs.all()]}


async def _graph(request: Request) -> Any:
    found = await _asked(request)
    picture = None if found.loaded is None else embedded(found.loaded.graph, details=True)
    return {
        **_summary(found),
        "picture": picture,
        "text": plain(found.text),
        "file": found.file.name,
        "problems": [_problem(each, found) for each in found.problems],
        "inputs": json.dumps(found.inputs),
    }


async def _tests(request: Request) -> Any:
    return await services_of(request).tests.of(await _asked(request))


async def _asked(request: Request) -> Shelved:
    return await services_of(request).graphs.named(request.path_params["name"])


def _summary(found: Shelved) -> dict[str, Any]:
    errors = sum(not each.warning for each in found.problems)
    graph = None if found.loaded is None else found.loaded.graph
    return {
        "name": found.name,
        "version": None if graph is None else graph.version,
        "description": "" if graph is None else graph.description,
        "nodes": None if graph is None else len(graph.nodes),
        "errors": errors,
        "warnings": len(found.problems) - errors,
    }


def _problem(problem: Problem, found: Shelved) -> dict[str, Any]:
    place = problem.place
    is_here = place is not None and place.file == str(found.file)
    return {
        "code": problem.code,
        "message": problem.message,
        "place": None if place is None else str(place),
        "line": place.line if is_here and place is not None else None,
        "suggestion": problem.suggestion,
        "is_warning": problem.warning,
    }
