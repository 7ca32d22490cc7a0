"""The console: one ASGI app with pages, their API, and the codec server at `/codec`."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp

from anabranch.console.access.access import Access
from anabranch.console.access.gate import Gate
from anabranch.console.access.headers import SecurityHeaders
from anabranch.console.access.sign_in import sign_in_routes
from anabranch.console.codec.alone import CODEC_PATH
from anabranch.console.listing.graphs import graphs_routes
from anabranch.console.listing.inbox import inbox_routes
from anabranch.console.listing.reruns import rerun_routes
from anabranch.console.listing.runs import runs_routes
from anabranch.console.pages.files import file_routes
from anabranch.console.pages.pages import page_routes
from anabranch.console.refusal import refusal
from anabranch.console.run.routes import run_routes
from anabranch.console.services import Services
from anabranch.errors import AnabranchError


def console(services: Services, access: Access, *, codec: ASGIApp | None = None) -> Starlette:
    """Make the app. `codec` is the codec server, which has an access of its own; without it none is served."""
    routes = [
        *sign_in_routes(access),
        *runs_routes(),
        *rerun_routes(),
        *inbox_routes(),
        *graphs_routes(),
        *page_routes(),
        *run_routes(),
        *file_routes(),
        *([] if codec is None else [Mount(CODEC_PATH, codec)]),
    ]
    middleware = [
        Middleware(SecurityHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(access.hosts), www_redirect=False),
        Middleware(Gate, access=access, apart=() if codec is None else (f"{CODEC_PATH}/",)),
    ]
    handlers = {AnabranchError: refusal, HTTPException: refusal}
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)
    app.state.services = services
    return app
