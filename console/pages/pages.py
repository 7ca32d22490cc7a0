"""The pages but that of one run: each is a shell with the script that fills it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anabranch.console.pages.shell import page


def page_routes() -> list[Route]:
    """The runs, the inbox, the graphs."""

    async def runs(_: Request) -> Response:
        return page("Runs", "pages/runs.js", active="runs", styles=("listing.css",))

    async def inbox(_: Request) -> Response:
        return page("Inbox", "pages/inbox.js", active="inbox", styles=("listing.css",))

    async def graphs(_: Request) -> Response:
        return page("Graphs", "pages/graphs.js", active="graphs", styles=("listing.css",))

    async def graph(request: Request) -> Response:
        return page(
            request.path_params["name"], "pages/graph.js", active="graphs", styles=("listing.css", "drawing.css")
        )

    return [
        Route("/", runs),
        Route("/inbox", inbox),
        Route("/graphs", graphs),
        Route("/graphs/{name:path}", graph),
    ]
