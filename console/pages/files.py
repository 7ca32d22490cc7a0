"""The files that pages load: scripts, stylesheets, the vendored library. Nothing comes from elsewhere."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from anabranch.console.pages.modules import STATIC
from anabranch.graph.drawing.stylesheet import stylesheet


def file_routes() -> list[BaseRoute]:
    """The files below `/static/`; the stylesheet of drawings is among them."""

    async def drawing(_: Request) -> Response:
        return Response(stylesheet(), media_type="text/css", headers={"Cache-Control": "no-cache"})

    return [Route("/static/drawing.css", drawing), Mount("/static", _Files(directory=STATIC))]


class _Files(StaticFiles):
    """Files that a browser keeps, and asks about by their ETag: an update shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
