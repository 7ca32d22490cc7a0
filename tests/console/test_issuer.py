"""Tokens of an OpenID Connect issuer, which here is a server of the test's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from pytest_httpserver import HTTPServer

from anabranch.console.access.access import Access
from anabranch.console.access.issuer import Issuer
from anabranch.errors import ConfigurationError
from tests.console.kit import OWN, asking, bearer

FIRST, OTHER, NEXT = ("first", 0), ("first", 1), ("next", 0)


@cache
def key(kid: str, _which: int = 0) -> RSAKey:
    """One key for a whole process: a fifth of a second of work, which no process does that only collects this file."""
    return RSAKey.generate_key(2048, {"kid": kid}, private=True)


@pytest.fixture
def issuer(httpserver: HTTPServer) -> Iterator[HTTPServer]:
    serve(httpserver, key(*FIRST))
    yield httpserver
    httpserver.clear()


def serve(server: HTTPServer, *keys: RSAKey) -> None:
    server.clear()
    url = server.url_for("")
    about = {"issuer": url, "jwks_uri": server.url_for("/keys")}
    server.expect_request("/.well-known/openid-configuration").respond_with_json(about)
    server.expect_request("/keys").respond_with_json(dict(KeySet(list(keys)).as_dict(private=False)))


def signed(server: HTTPServer, by: tuple[str, int] = FIRST, **claims: Any) -> str:
    known = {"iss": server.url_for(""), "aud": "console", "sub": "ada", "exp": int(time.time()) + 600}
    given = {name: value for name, value in {**known, "roles": ["operator"], **claims}.items() if value is not None}
    return jwt.encode({"alg": "RS256", "kid": by[0]}, given, key(*by))


def access(server: HTTPServer) -> Access:
    return Access(issuer=Issuer(server.url_for(""), "console", "roles"))


async def test_the_subject_and_the_highest_role_of_a_token_count(issuer: HTTPServer) -> None:
    async with asking(access(issuer)) as client:
        expires = int(time.time()) + 900
        token = signed(issuer, roles=["viewer", "answerer", "of-others", 7], exp=expires)
        me = (await client.get("/api/me", headers=bearer(token))).json()
        assert (me["name"], me["role"], me["expires"]) == ("ada", "answerer", expires)
        by_word = (await client.get("/api/me", headers=bearer(signed(issuer, roles="viewer")))).json()
        assert by_word["role"] == "viewer"


async def test_the_groups_of_a_token_count(issuer: HTTPServer) -> None:
    async with asking(access(issuer)) as client:
        for given, groups in ((["legal", "finance", 7], ["finance", "legal"]), ("finance", ["finance"]), (None, [])):
            me = (await client.get("/api/me", headers=bearer(signed(issuer, groups=given)))).json()
            assert me["groups"] == groups


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": -60}, "TOKEN_EXPIRED"),
        ({"exp": None}, "TOKEN_INVALID"),
        ({"iss": "https://evil.example"}, "TOKEN_INVALID"),
        ({"aud": "another"}, "TOKEN_INVALID"),
        ({"aud": None}, "TOKEN_INVALID"),
        ({"nbf": 600}, "TOKEN_INVALID"),
        ({"sub": None}, "TOKEN_INVALID"),
        ({"sub": "a\nb"}, "TOKEN_INVALID"),
    ],
)
async def test_a_token_that_does_not_hold_here_is_refused(
    issuer: HTTPServer, claims: dict[str, Any], code: str
) -> None:
    async with asking(access(issuer)) as client:
        moments = {name: int(time.time()) + claims[name] for name in ("exp", "nbf") if claims.get(name)}
        token = signed(issuer, **{**claims, **moments})
        refused = await client.get("/api/me", headers=bearer(token))
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, code)
        assert (await client.post("/sign-in", json={"token": token}, headers=OWN)).status_code == 401


async def test_a_forged_token_is_refused(issuer: HTTPServer) -> None:
    public = json.dumps(key(*FIRST).as_dict(private=False))
    claims = {"iss": issuer.url_for(""), "aud": "console", "sub": "ada", "exp": int(time.time()) + 600}
    head, body, signature = signed(issuer).split(".")
    forged = [
        signed(issuer, OTHER),
        jwt.encode({"alg": "HS256", "kid": "first"}, claims, OctKey.import_key(public)),
        f"{head}.{body}.",
        f"eyJhbGciOiJub25lIn0.{body}.",
        f"{head}.{body[:-2]}xx.{signature}",
        f"eyJhbGciOiJSUzI1NiIsImNyaXQiOjV9.{body}.{signature}",
        "a.b.c",
        "x" * 20_000,
    ]
    async with asking(access(issuer)) as client:
        for token in forged:
            refused = await client.get("/api/me", headers=bearer(token))
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "TOKEN_INVALID"), token[:40]


async def test_a_token_without_a_role_of_the_console_is_of_somebody_who_may_not_look(issuer: HTTPServer) -> None:
    async with asking(access(issuer)) as client:
        refused = await client.get("/api/me", headers=bearer(signed(issuer, roles=["billing"])))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "ROLE_MISSING")


async def test_new_keys_of_the_issuer_are_fetched_when_a_token_names_one(
    issuer: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anabranch.console.access.issuer._PAUSE_SECONDS", -1.0)
    async with asking(access(issuer)) as client:
        assert (await client.get("/api/me", headers=bearer(signed(issuer)))).status_code == 200
        serve(issuer, key(*NEXT))
        assert (await client.get("/api/me", headers=bearer(signed(issuer, NEXT)))).status_code == 200
        assert (await client.get("/api/me", headers=bearer(signed(issuer)))).status_code == 401


async def test_unknown_keys_make_the_issuer_be_asked_once_in_a_while_only(issuer: HTTPServer) -> None:
    async with asking(access(issuer)) as client:
        for _ in range(5):
            assert (await client.get("/api/me", headers=bearer(signed(issuer, NEXT)))).status_code == 401
    assert len(issuer.log) == 2


async def test_without_the_issuers_keys_nobody_gets_in(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/.well-known/openid-configuration").respond_with_json({"issuer": "https://evil.example"})
    async with asking(access(httpserver)) as client:
        refused = await client.get("/api/me", headers=bearer(signed(httpserver)))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "UNAVAILABLE")


@pytest.mark.parametrize("url", ["http://issuer.example", "issuer.example", "ftp://127.0.0.1", ""])
def test_an_issuer_that_anybody_could_pass_for_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        Issuer(url, "console", "roles")
