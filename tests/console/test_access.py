from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from anabranch.console.access.access import Access
from anabranch.console.access.caller import Caller, Role
from anabranch.console.access.configured import access_of
from anabranch.console.access.gate import BODY_BYTES
from anabranch.console.access.tokens import Tokens
from anabranch.console.codec.server import codec_server
from anabranch.console.refusal import Refused
from anabranch.errors import ConfigurationError
from anabranch.settings import Settings
from anabranch.transport.converter import data_converter
from tests.console.kit import ADA, CY, ORIGIN, OWN, TOKENS, asking, bearer
from tests.encryption_keys import key

SIGNED_IN = Access(TOKENS)
OPEN = Access(login="ada")


@pytest.fixture
async def closed() -> AsyncIterator[httpx2.AsyncClient]:
    """A console that asks for tokens."""
    async with asking(SIGNED_IN) as client:
        yield client


@pytest.fixture
async def open_() -> AsyncIterator[httpx2.AsyncClient]:
    """A console of this machine that asks for none."""
    async with asking(OPEN) as client:
        yield client


async def test_every_answer_forbids_scripts_frames_and_requests_of_others(closed: httpx2.AsyncClient) -> None:
    for path in ("/", "/sign-in", "/static/base.js", "/api/me", "/nowhere"):
        headers = (await closed.get(path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), path
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8234", "10.0.0.1"])
async def test_a_name_that_is_not_its_own_is_refused(open_: httpx2.AsyncClient, host: str) -> None:
    assert (await open_.get("/", headers={"Host": host})).status_code == 400
    assert (await open_.get("/api/me", headers={"Host": host})).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:8234"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
)
async def test_a_write_of_another_origin_is_refused(open_: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    refused = await open_.post("/api/me", json={"name": "eve"}, headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "ORIGIN_REFUSED"
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize("headers", [OWN, {"Sec-Fetch-Site": "same-origin"}])
async def test_a_write_of_its_own_pages_is_taken(open_: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    assert (await open_.post("/api/me", json={"name": "Ada L."}, headers=headers)).json() == {"name": "Ada L."}
    assert (await open_.get("/api/me")).json()["name"] == "Ada L."


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_form_of_any_kind_is_refused(open_: httpx2.AsyncClient, kind: str) -> None:
    refused = await open_.post("/api/me", content=b'{"name": "eve"}', headers={**OWN, "Content-Type": kind})
    assert refused.status_code == 415


async def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not(open_: httpx2.AsyncClient) -> None:
    large = json.dumps({"name": "x" * BODY_BYTES}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    headers = {**OWN, "Content-Type": "application/json"}
    for content in (large, chunks()):
        refused = await open_.post("/api/me", content=content, headers=headers)
        assert refused.status_code == 413
        assert refused.json()["error"]["code"] == "SIZE_LIMIT_EXCEEDED"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": NaN}', b"[" * 100_000, b"\xff"])
async def test_a_body_that_is_no_json_object_is_refused(open_: httpx2.AsyncClient, body: bytes) -> None:
    refused = await open_.post("/api/me", content=body, headers={**OWN, "Content-Type": "application/json"})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "INPUT_INVALID"


async def test_without_a_token_the_api_answers_401_and_pages_lead_to_the_sign_in(closed: httpx2.AsyncClient) -> None:
    refused = await closed.get("/api/me")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    shown = await closed.get("/graphs/a b?x=1")
    assert shown.status_code == 303
    assert shown.headers["location"] == "/sign-in?why=NOT_SIGNED_IN&next=%2Fgraphs%2Fa%20b%3Fx%3D1"


async def test_who_opens_a_page_that_is_not_there_is_shown_one(open_: httpx2.AsyncClient) -> None:
    shown = await open_.get("/nowhere/<b>", headers={"Accept": "text/html"})
    assert shown.status_code == 404
    assert "<h1>There is no such page</h1>" in shown.text
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    assert (await open_.get("/nowhere")).json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("token", ["", "wrong", ADA[:-1], f"{ADA}x", ADA.upper(), "ü" * 20])
async def test_a_token_that_nobody_has_is_refused(closed: httpx2.AsyncClient, token: str) -> None:
    assert (await closed.get("/api/me", headers=[(b"authorization", f"Bearer {token}".encode())])).status_code == 401
    refused = await closed.post("/sign-in", json={"token": token}, headers=OWN)
    assert refused.status_code == 401
    assert "set-cookie" not in refused.headers


async def test_a_sign_in_gives_a_cookie_that_scripts_and_other_sites_do_not_get(closed: httpx2.AsyncClient) -> None:
    signed_in = await closed.post("/sign-in", json={"token": ADA}, headers=OWN)
    assert signed_in.json() == {"name": "ada", "role": "operator"}
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # 127.0.0.1 has no https
    assert (await closed.get("/api/me")).json()["name"] == "ada"
    await closed.post("/sign-out", json={}, headers=OWN)
    assert (await closed.get("/api/me")).status_code == 401


async def test_behind_https_the_cookie_is_for_https_only() -> None:
    async with asking(Access(TOKENS, hosts=("console.example",))) as client:
        proxied = {"Origin": "https://console.example", "Host": "console.example"}
        signed_in = await client.post("/sign-in", json={"token": ADA}, headers=proxied)
        assert "Secure" in signed_in.headers["set-cookie"]


async def test_a_console_for_looking_makes_everybody_a_viewer() -> None:
    async with asking(Access(TOKENS, read_only=True)) as client:
        me = (await client.get("/api/me", headers=bearer(ADA))).json()
        assert (me["role"], me["read_only"]) == ("viewer", True)


async def test_who_has_a_token_cannot_say_another_name(closed: httpx2.AsyncClient) -> None:
    refused = await closed.post("/api/me", json={"name": "ada"}, headers={**OWN, **bearer(CY)})
    assert refused.status_code == 400
    me = await closed.get("/api/me", headers={**bearer(CY), "Cookie": "anabranch_name=ada"})
    assert me.json()["name"] == "cy"


async def test_a_name_that_no_audit_trail_takes_is_left_out(open_: httpx2.AsyncClient) -> None:
    for name in ("", " ", "x" * 101, "a\nb", "\u202eada"):
        assert (await open_.post("/api/me", json={"name": name}, headers=OWN)).status_code == 400
    assert (await open_.get("/api/me", headers={"Cookie": "anabranch_name=a%0Ab"})).json()["name"] == "ada"


async def test_the_codec_server_has_an_access_of_its_own() -> None:
    ui = "http://127.0.0.1:8233"
    async with asking(SIGNED_IN, codec=codec_server([ui], data_converter())) as client:
        decoded = await client.post("/codec/decode", json={"payloads": []}, headers={"Origin": ui})
        assert (decoded.status_code, decoded.json()) == (200, {})
        assert (await client.post("/codec/decode", json={}, headers={"Origin": ORIGIN})).status_code == 403
        assert (await client.post("/codecs", json={}, headers={"Origin": ui})).status_code == 403


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no token"),
        ("ada:operator:short", "entry 1 has a token of fewer than 16 characters"),
        (f"ada:operator:{ADA},bo:admin:{'x' * 20}", "entry 2 names no role"),
        (f"ada:operator:{ADA},bo:viewer:{ADA}", "entry 2 has the token of an entry before it"),
        (f"ada:answerer+:{ADA}", "entry 1 has a group without a name"),
        (f":operator:{ADA}", "entry 1 does not begin with a name"),
        (ADA, "entry 1 names no role"),
    ],
)
def test_a_setting_of_tokens_that_is_wrong_is_told_without_a_token(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as raised:
        Tokens.read(text)
    assert ADA not in str(raised.value)


def test_groups_stand_behind_the_role_of_a_token() -> None:
    di = Tokens.read(f"di:answerer+finance+the board:{ADA}").caller(ADA)
    assert di is not None
    assert (di.role, di.groups, di.is_known) == (Role.ANSWERER, frozenset({"finance", "the board"}), True)


@pytest.mark.parametrize(
    ("caller", "assignee", "groups", "may"),
    [
        (Caller("ann", Role.ANSWERER, is_known=True), ("bo",), (), False),
        (Caller("ann", Role.ANSWERER, is_known=True), ("bo", "ann"), (), True),
        (Caller("ann", Role.ANSWERER, is_known=True), (), ("finance",), False),
        (Caller("ann", Role.ANSWERER, groups=frozenset({"finance"}), is_known=True), ("bo",), ("finance",), True),
        (Caller("ann", Role.ANSWERER, is_known=True), (), (), True),
        (Caller("ann", Role.OPERATOR, is_known=True), ("bo",), (), True),
        (Caller("ann", Role.ANSWERER), ("bo",), (), True),
    ],
)
def test_who_is_known_answers_what_is_asked_of_them(
    caller: Caller, assignee: tuple[str, ...], groups: tuple[str, ...], may: bool
) -> None:
    if may:
        caller.require_asked("ask", assignee, groups)
    else:
        with pytest.raises(Refused) as refused:
            caller.require_asked("ask", assignee, groups)
        assert (refused.value.status_code, refused.value.code) == (403, "NOT_ASSIGNED")


def test_on_an_address_that_others_reach_it_needs_a_token_or_an_issuer() -> None:
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0"):
        access_of(Settings(), "0.0.0.0", read_only=True, login="ada")
    given = Settings.model_validate({"console_tokens": f"ada:operator:{ADA}", "console_hosts": "console.example"})
    access = access_of(given, "10.0.0.7", read_only=False, login="ada")
    assert access.asks
    assert access.hosts == ("127.0.0.1", "localhost", "[::1]", "10.0.0.7", "console.example")
    assert not access_of(Settings(), "127.0.0.1", read_only=False, login="ada").asks


def test_where_payloads_are_encrypted_it_needs_a_token_on_this_machine_too() -> None:
    with pytest.raises(ConfigurationError, match="payloads are encrypted"):
        access_of(Settings.model_validate({"encryption_keys": key()}), "127.0.0.1", read_only=False, login="ada")
