"""Routes of the API: reads answer with JSON, and writes take it from a caller who has the role."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anabranch.console.access.caller import Caller, Role, caller_of
from anabranch.console.refusal import Refused
from anabranch.errors import InputError
from anabranch.graph.source.files import refuse_constant

Body: TypeAlias = dict[str, Any]
Read: TypeAlias = Callable[[Request], Awaitable[Any]]
Write: TypeAlias = Callable[[Request, Caller, Body], Awaitable[Any]]
_BODY_SECONDS: Final = 10.0


def reads(path: str, read: Read) -> Route:
    """A route whose answer is what `read` returns, as JSON."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse(await read(request))

    return Route(path, endpoint, methods=["GET"])


def writes(path: str, write: Write, *, role: Role) -> Route:
    """A route that takes a JSON object from a caller of the role. The gate has looked at origin, kind and size."""

    async def endpoint(request: Request) -> Response:
        caller = caller_of(request)
        caller.require(role)
        return JSONResponse(await write(request, caller, await body_of(request)))

    return Route(path, endpoint, methods=["POST"])


async def body_of(request: Request) -> Body:
    """The JSON object that a request brings. Raises InputError, Refused, SizeLimitExceeded."""
    received = await _received(request)
    try:
        body = json.loads(received, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not JSON: {error!s:.200}") from None
    if not isinstance(body, dict):
        raise InputError("the body is not a JSON object", suggestion="send {…}")
    return body


async def _received(request: Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.body()
    except TimeoutError:
        raise Refused(408, "TIMEOUT", f"the body has not come within {_BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise InputError("the body has not come") from None
