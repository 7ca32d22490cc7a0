"""An OAuth 2.0 issuer on this machine, and an API that asks it about tokens: oauthlib's server behind HTTP.

Tokens are checked, expire and are revoked by oauthlib, by a clock that the test moves.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_plus

from oauthlib.oauth2 import BackendApplicationServer, RequestValidator
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

CLIENT: Final = "shop & co"
CLIENT_SECRET: Final = "cl1ent/s3cr3t+="
SCOPES: Final = ("orders:read", "orders:write")
LIFETIME: Final = 600


@dataclass(slots=True)
class Clock:
    """Seconds that a test moves on."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class _Client:
    client_id: str


@dataclass(slots=True)
class Issuer(RequestValidator):
    """One client, whose tokens live for `LIFETIME`."""

    clock: Clock = field(default_factory=Clock)
    lives_until: dict[str, float] = field(default_factory=dict)
    """By token."""
    asked: list[Mapping[str, str]] = field(default_factory=list)
    """The form of each request for a token."""
    by: list[str] = field(default_factory=list)
    """How the client of each said who it is: `header` or `body`."""

    def served_by(self, server: HTTPServer) -> None:
        """Answer at `/token` and, to whoever brings a token, at `/orders`."""
        endpoint = BackendApplicationServer(self, token_expires_in=LIFETIME)

        def token(request: Request) -> Response:
            self.asked.append(dict(request.form))
            body = request.get_data(as_text=True) or "&".join(f"{k}={v}" for k, v in request.form.items())
            headers, text, status = endpoint.create_token_response(request.url, "POST", body, dict(request.headers))
            return Response(text, status, headers)

        def orders(request: Request) -> Response:
            scopes = list(SCOPES[:1])
            known, _ = endpoint.verify_request(request.url, "GET", None, dict(request.headers), scopes)
            said = {"known": known, "sent": request.headers.get("Authorization", "")}
            return Response(json.dumps(said), 200 if known else 401, content_type="application/json")

        server.expect_request("/token", method="POST").respond_with_handler(token)
        server.expect_request("/orders").respond_with_handler(orders)

    def authenticate_client(self, request: Any, *_: Any, **__: Any) -> bool:
        kind, _, pair = request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            name, secret = map(unquote_plus, base64.b64decode(pair).decode().split(":"))
        else:
            name, secret = request.client_id or "", request.client_secret or ""
        self.by.append("header" if kind == "Basic" else "body")
        request.client = _Client(name)
        return (name, secret) == (CLIENT, CLIENT_SECRET)

    def validate_grant_type(self, client_id: str, grant_type: str, *_: Any, **__: Any) -> bool:
        return grant_type == "client_credentials"

    def validate_scopes(self, client_id: str, scopes: list[str], *_: Any, **__: Any) -> bool:
        return set(scopes) <= set(SCOPES)

    def get_default_scopes(self, *_: Any, **__: Any) -> list[str]:
        return list(SCOPES)

    def save_bearer_token(self, token: Mapping[str, Any], *_: Any, **__: Any) -> None:
        self.lives_until[token["access_token"]] = self.clock() + token["expires_in"]

    def validate_bearer_token(self, token: str, scopes: list[str], request: Any) -> bool:
        return self.lives_until.get(token, 0.0) > self.clock()
