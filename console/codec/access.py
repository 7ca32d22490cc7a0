"""Who may use the codec server: pages of listed origins, programs of this machine, and who has the token.

A browser sends the token by itself once somebody has signed in on the server's page (HTTP Basic: any name, the token as
the password), to this server only. So the Web UI needs no more than its setting "Include cross-origin credentials".
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

SENT_BY_THE_WEB_UI = ("Content-Type", "X-Namespace", "Authorization", "Authorization-Extras")
"""The headers of its requests: the latter two where it passes the tokens of who is signed in there."""
_NO_STORE = {"Cache-Control": "no-store"}
_SIGN_IN = {"WWW-Authenticate": 'Basic realm="Anabranch codec server", charset="UTF-8"', **_NO_STORE}
_HOW = (
    "In the Web UI open the codec server's settings, choose your browser's settings with this endpoint,\n"
    "and switch on “Include cross-origin credentials”.\n"
)


class Access:
    """What a request must bring. Without a token only its origin is looked at."""

    def __init__(self, origins: Sequence[str], token: str | None) -> None:
        self._origins = frozenset(origins)
        self._token = None if token is None else token.encode()

    def check(self, request: Request) -> None:
        """Refuse pages of other origins, and who has not the token. Raises HTTPException."""
        origin = request.headers.get("origin")
        if origin is not None and origin not in self._origins:
            raise HTTPException(403, f"pages of {origin!r:.200} may not use this server")
        if not self._is_known(request):
            # Not a challenge that a browser understands: it would ask who looks at the Web UI, again and again.
            challenge = {"WWW-Authenticate": "Bearer", **_NO_STORE}
            raise HTTPException(401, "this server asks for its token: Authorization: Bearer …", challenge)

    async def sign_in(self, request: Request) -> Response:
        """The page on which a browser asks for the token, and keeps it until it is closed."""
        if not self._is_known(request):
            text = "Sign in with any name, and the codec server's token as the password.\n"
            return PlainTextResponse(text, status_code=401, headers=_SIGN_IN)
        asked = "This server asks for no token." if self._token is None else "This browser is signed in."
        return PlainTextResponse(f"{asked}\n{_HOW}", headers=_NO_STORE)

    def _is_known(self, request: Request) -> bool:
        if self._token is None:
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        found = given.strip().encode()
        if scheme.lower() == "basic":
            found = _password(found)
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(found, self._token)


def _password(given: bytes) -> bytes:
    """The password of `name:password` in Base64; nothing where it is not that."""
    try:
        return base64.b64decode(given, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
