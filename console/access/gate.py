"""What every request has to pass: who sends it is known, and a write comes from the console's own pages.

A page of another origin can send neither JSON nor this origin; the browser sends it no cookie either (SameSite).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anabranch.console.access.access import Access
from anabranch.console.access.cookies import name_of, token_of
from anabranch.console.refusal import Refused, answer, refusal
from anabranch.errors import AnabranchError, SizeLimitExceeded

BODY_BYTES: Final = 1024 * 1024
_READING: Final = frozenset({"GET", "HEAD"})
_PUBLIC: Final = ("/sign-in", "/sign-out", "/static/")
_UNAUTHORIZED: Final = 401


class Gate:
    """Lets requests through to the console. `apart` are paths that have a gate of their own."""

    def __init__(self, app: ASGIApp, access: Access, apart: tuple[str, ...] = ()) -> None:
        self._app = app
        self._access = access
        self._apart = apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith(self._apart):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            if request.method not in _READING:
                _check_write(request)
                receive = _bounded(receive)
            if not scope["path"].startswith(_PUBLIC):
                request.state.caller = await self._access.caller(token_of(request), name_of(request))
        except (Refused, AnabranchError) as error:
            await (await _refused(request, error))(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _refused(request: Request, error: Refused | AnabranchError) -> Response:
    if not (isinstance(error, Refused) and error.status_code == _UNAUTHORIZED):
        return await refusal(request, error)
    if request.method in _READING and not request.url.path.startswith("/api/"):
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/sign-in?why={error.code}&next={quote(request.url.path + query, safe='')}", 303)
    error.headers = {"WWW-Authenticate": "Bearer"}
    return answer(error)


def is_secure(connection: HTTPConnection) -> bool:
    """Whether the browser reached the console by https, perhaps through a proxy: its own page says so."""
    return connection.url.scheme == "https" or connection.headers.get("origin", "").startswith("https://")


def _check_write(request: Request) -> None:
    """Refuse what a page of another origin may have sent, and what is no JSON or too large. Raises Refused."""
    headers = request.headers
    origin = headers.get("origin")
    if not (_is_own(request, origin) if origin is not None else headers.get("sec-fetch-site") == "same-origin"):
        raise Refused(
            403,
            "ORIGIN_REFUSED",
            f"pages of {origin or 'an unknown origin'!r:.200} may not write here",
            suggestion="send Origin with the console's own address",
        )
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "INPUT_INVALID", "the body must be JSON", suggestion="send Content-Type: application/json")
    if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")) > BODY_BYTES:
        raise _too_large()


def _is_own(request: Request, origin: str) -> bool:
    return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower() != ""


def _bounded(receive: Receive) -> Receive:
    """Read a body as far as the limit. Raises SizeLimitExceeded."""
    size = 0

    async def receiving() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_BYTES:
            raise _too_large()
        return message

    return receiving


def _too_large() -> SizeLimitExceeded:
    return SizeLimitExceeded(f"the request is over the limit of {BODY_BYTES} bytes")
