"""How people sign in with a browser, sign out, and say their name where no token does."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anabranch.console.access.access import Access
from anabranch.console.access.caller import caller_of
from anabranch.console.access.cookies import forget_token, keep_name, keep_token
from anabranch.console.access.gate import is_secure
from anabranch.console.pages.shell import page
from anabranch.console.routes import body_of
from anabranch.errors import InputError
from anabranch.workflows.interpreter.writers import outsider


def sign_in_routes(access: Access) -> list[Route]:
    """The page, and what it sends."""

    async def shown(_: Request) -> Response:
        return page("Sign in", "pages/sign-in.js", active=None)

    async def sign_in(request: Request) -> Response:
        token = _text(await body_of(request), "token").strip()
        caller = await access.caller(token)
        response = JSONResponse({"name": caller.name, "role": caller.role.word})
        keep_token(response, token, caller, secure=is_secure(request))
        return response

    async def sign_out(_: Request) -> Response:
        response = JSONResponse({})
        forget_token(response)
        return response

    async def me(request: Request) -> Response:
        caller = caller_of(request)
        about = {
            "name": caller.name,
            "role": caller.role.word,
            "signed_in": access.asks,
            "groups": sorted(caller.groups),
        }
        return JSONResponse({**about, "read_only": access.read_only, "expires": caller.expires})

    async def rename(request: Request) -> Response:
        if access.asks:
            raise InputError("the token says who you are")
        name = outsider("operator", _text(await body_of(request), "name").strip()).partition(":")[2]
        response = JSONResponse({"name": name})
        keep_name(response, name, secure=is_secure(request))
        return response

    return [
        Route("/sign-in", shown, methods=["GET"]),
        Route("/sign-in", sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
        Route("/api/me", me, methods=["GET"]),
        Route("/api/me", rename, methods=["POST"]),
    ]


def _text(body: dict[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str):
        raise InputError(f"`{field}` is missing", suggestion=json.dumps({field: "…"}))
    return value
