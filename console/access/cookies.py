"""The cookies of a browser: its token, which no script can read, and the name of who uses a console without tokens."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote

from starlette.requests import HTTPConnection
from starlette.responses import Response

from anabranch.console.access.caller import Caller

_TOKEN: Final = "anabranch_token"  # noqa: S105 - the name of the cookie
_NAME: Final = "anabranch_name"
_YEAR: Final = 365 * 24 * 3600


def token_of(connection: HTTPConnection) -> str | None:
    """The token of a request: a program's header, or a browser's cookie."""
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else connection.cookies.get(_TOKEN)


def name_of(connection: HTTPConnection) -> str | None:
    """The name that somebody has given in the browser."""
    given = connection.cookies.get(_NAME)
    return None if given is None else unquote(given)


def keep_token(response: Response, token: str, caller: Caller, *, secure: bool) -> None:
    """Have the browser send a token with each request from the console's own pages, and none from others."""
    response.set_cookie(
        _TOKEN,
        token,
        expires=None if caller.expires is None else _moment(caller.expires),
        httponly=True,
        samesite="strict",
        secure=secure,
    )


def forget_token(response: Response) -> None:
    """Have the browser forget its token."""
    response.delete_cookie(_TOKEN, httponly=True, samesite="strict")


def keep_name(response: Response, name: str, *, secure: bool) -> None:
    """Have the browser remember a name."""
    response.set_cookie(_NAME, quote(name, safe=""), max_age=_YEAR, httponly=True, samesite="strict", secure=secure)


def _moment(seconds: float) -> str:
    from email.utils import formatdate

    return formatdate(seconds, usegmt=True)
