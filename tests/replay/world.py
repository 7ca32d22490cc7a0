"""Runs that ask the world around them: models that follow each other, polls, pages, the server's search attributes."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from anabranch.loopback import serving
from tests.integration.graph_kit import Handle, Served, chain, put

OWN: dict[str, Any] = {
    "search_attributes": {
        "OrderStatus": "{{ status }}",
        "Total": {"type": "float", "value": "{{ total }}"},
        "Parts": {"type": "keyword_list", "value": "{{ parts }}"},
    }
}


async def models(served: Served) -> Handle:
    """A model that cannot be asked, and one whose budget is spent; the next ones, and what all of them took."""
    asking = {"type": "ai", "prompt": "An order of $20.00, 3 earlier orders"}
    first, second = "openai:stand-in", "ollama:stand-in"
    graph = chain(
        one={**asking, "model": ["anthropic:no-key", first], "output": {"one": "result.usage.model"}},
        two={**asking, "model": [first, second], "budget": {"tokens": 1}, "output": {"two": "result.usage.requests"}},
        late={**asking, "model": first, "budget": {"tokens": 1}, "on_failure": {"use": {"why": "{{ error.code }}"}}},
    )
    return await served.start(graph)


async def polls_and_pages(served: Served) -> Handle:
    """A job that is done at the third poll, and a list of five pages beside it."""
    poll = {"until": "result.body.state == 'done'", "every": "20ms", "timeout": "1m"}
    nodes = {
        "job": {"type": "http", "url": "{{ far }}/job", "poll": poll, "output": {"state": "result.body.state"}},
        "pages": {"type": "http", "url": "{{ far }}/items", "pages": {"items": "result.body"}},
        "end": put(found="{{ size(pages) }}", then="{{ state }}"),
    }
    edges = [{"from": each, "to": "end"} for each in ("job", "pages")]
    return await served.start({"nodes": nodes, "edges": edges}, {"far": os.environ["REPLAY_FAR"]})


async def own_attributes(served: Served) -> Handle:
    """Search attributes of the graph's own, set, changed, left as they are, refused and taken away."""
    graph = chain(
        open=put(status="open", total=5),
        paid=put(status="paid", total=7.5, parts=["A-1", "B-2"]),
        same=put(note="nothing else"),
        wrong=put(total="much"),
        gone=put(status=None),
    )
    return await served.start({**graph, **OWN}, {"status": "new"})


@asynccontextmanager
async def far() -> AsyncGenerator[str]:
    """The server that `polls_and_pages` asks; its URL."""
    polls = count(1)

    async def job(_: Request) -> JSONResponse:
        return JSONResponse({"state": "done" if next(polls) >= 3 else "running"})

    async def items(request: Request) -> JSONResponse:
        page = int(request.query_params.get("page", "1"))
        links = {"Link": f'</items?page={page + 1}>; rel="next"'} if page < 5 else {}
        return JSONResponse([page], headers=links)

    async with serving(Starlette(routes=[Route("/job", job), Route("/items", items)])) as url:
        yield url
