"""Who asks, of `http` nodes: bearer, Basic, and tokens of a real OAuth 2.0 issuer; and that no secret gets out."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_httpserver import HTTPServer
from temporalio.client import Client
from werkzeug import Request, Response

from anabranch.activities.http.handler import HttpActivity
from anabranch.errors import ConfigurationError, NodeError, Unavailable
from anabranch.graph.model import HttpNode
from tests.integration.graph_kit import Served, chain, error_of, worker_for
from tests.integration.issuer import CLIENT, CLIENT_SECRET, LIFETIME, SCOPES, Issuer
from tests.metrics_kit import hearing
from tests.node_tasks import task_of

CANARY = "canary-7f3a"
"""What is no secret."""
_FORMS: tuple[Callable[[str], str], ...] = (
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: quote(secret, safe=""),
    quote_plus,
    lambda secret: base64.b64encode(secret.encode()).decode(),
)
"""In which a secret could have got out."""
TOKEN = "tok/s3cr3t"
PASSWORD = "pass:w0rd ä"


@pytest.fixture
def environ(httpserver: HTTPServer) -> dict[str, str]:
    here = f"http://localhost:{httpserver.port}"
    held = {"TOKEN": TOKEN, "PASSWORD": PASSWORD, "CLIENT": CLIENT_SECRET}
    secrets = {f"HTTP_SECRET_{name}": value for name, value in held.items()}
    hosts = {f"HTTP_SECRET_{name}_HOSTS": here for name in held}
    return {**secrets, **hosts, "HTTP_SECRET_CLIENT_TOKENS_TO": here}


@pytest.fixture
def issuer(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Issuer:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    issuer = Issuer()
    issuer.served_by(httpserver)
    return issuer


@pytest.fixture
async def activity(environ: dict[str, str], issuer: Issuer) -> AsyncIterator[HttpActivity]:
    activity = HttpActivity(allow_private=True, environ=environ, clock=issuer.clock)
    yield activity
    await activity.aclose()


@pytest.fixture
async def serving(
    client: Client, task_queue: str, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    """A worker whose environment has the secrets."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with worker_for(client, task_queue, tmp_path, http_allow_private=True) as served:
        yield served


@pytest.fixture
def echo(httpserver: HTTPServer) -> str:
    def handler(request: Request) -> Response:
        return Response(request.get_data() or request.headers.get("Authorization", ""))

    httpserver.expect_request("/echo").respond_with_handler(handler)
    return httpserver.url_for("/echo")


async def body_of(activity: HttpActivity, data: dict[str, Any] | None = None, **fields: Any) -> Any:
    return (await activity(task_of(data=data), HttpNode(**{"type": "http", **fields}))).writes["reserve"]


def by_client(server: HTTPServer, **more: Any) -> dict[str, Any]:
    """The `auth` of the client that the issuer knows."""
    given = {"token_url": server.url_for("/token"), "client_id": CLIENT, "client_secret": "env:HTTP_SECRET_CLIENT"}
    return {"oauth2": {**given, **more}}


async def orders(activity: HttpActivity, server: HTTPServer, **more: Any) -> Any:
    return await body_of(activity, url=server.url_for("/orders"), auth=by_client(server, **more))


def paths(server: HTTPServer) -> list[str]:
    return [request.path for request, _ in server.log]


async def test_a_bearer_token_is_sent_with_its_scheme_and_masked_in_the_answer(
    activity: HttpActivity, echo: str, httpserver: HTTPServer
) -> None:
    assert await body_of(activity, url=echo, auth={"bearer": "env:HTTP_SECRET_TOKEN"}) == "***"
    assert httpserver.log[0][0].headers["Authorization"] == f"Bearer {TOKEN}"


async def test_basic_sends_name_and_password_and_neither_comes_back(
    activity: HttpActivity, echo: str, httpserver: HTTPServer
) -> None:
    auth = {"basic": {"user": "{{ tenant }}", "password": "env:HTTP_SECRET_PASSWORD"}}
    assert await body_of(activity, {"tenant": "münchen"}, url=echo, auth=auth) == "***"
    sent = httpserver.log[0][0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent).decode() == f"münchen:{PASSWORD}"
    with pytest.raises(NodeError, match="has a colon"):
        await body_of(activity, {"tenant": "a:b"}, url=echo, auth=auth)


async def test_a_body_may_hold_secrets_at_any_depth_and_a_context_value_cannot_ask_for_one(
    activity: HttpActivity, echo: str, httpserver: HTTPServer
) -> None:
    body = {"key": "env:HTTP_SECRET_TOKEN", "all": [{"a": "{{ evil }}"}, "env:HTTP_SECRET_TOKEN"], "b": "{{ whole }}"}
    data = {"evil": "env:HTTP_SECRET_TOKEN", "whole": {"c": "env:HTTP_SECRET_TOKEN"}}
    said = await body_of(activity, data, url=echo, method="POST", body=body)
    sent = httpserver.log[0][0].get_json()
    assert sent == {"key": TOKEN, "all": [{"a": data["evil"]}, TOKEN], "b": data["whole"]}
    assert json.loads(said) == {"key": "***", "all": [{"a": data["evil"]}, "***"], "b": data["whole"]}


async def test_one_token_serves_all_requests_until_it_expires(
    activity: HttpActivity, httpserver: HTTPServer, issuer: Issuer
) -> None:
    answers = await asyncio.gather(*(orders(activity, httpserver) for _ in range(5)))
    assert answers == [{"known": True, "sent": "Bearer ***"}] * 5
    assert len(issuer.asked) == 1
    issuer.clock.now += LIFETIME - 60
    await orders(activity, httpserver)
    assert len(issuer.asked) == 1
    issuer.clock.now += 60
    assert (await orders(activity, httpserver))["known"]
    assert len(issuer.asked) == 2
    assert paths(httpserver).count("/orders") == 7  # none was refused: the token was fetched before it expired


async def test_a_token_that_is_refused_is_fetched_anew_once(
    activity: HttpActivity, httpserver: HTTPServer, issuer: Issuer
) -> None:
    await orders(activity, httpserver)
    issuer.lives_until.clear()
    httpserver.clear_log()
    assert (await orders(activity, httpserver))["known"]
    assert paths(httpserver) == ["/orders", "/token", "/orders"]


async def test_a_new_token_that_is_refused_fails_the_node(activity: HttpActivity, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/closed").respond_with_data("no", status=401)
    for _ in range(2):
        with pytest.raises(NodeError, match="answered 401"):
            await body_of(activity, url=httpserver.url_for("/closed"), auth=by_client(httpserver))
    assert paths(httpserver) == ["/token", "/closed", "/closed", "/token", "/closed"]


@pytest.mark.parametrize("way", ["header", "body"])
async def test_the_issuer_gets_the_client_as_it_wants_it_with_scope_and_audience(
    activity: HttpActivity, httpserver: HTTPServer, issuer: Issuer, way: str
) -> None:
    wanted = {"scope": SCOPES[0], "audience": "https://api.example"}
    await orders(activity, httpserver, client_auth=way, **wanted)
    await orders(activity, httpserver, client_auth=way)  # another token, by what it is for
    assert issuer.by == [way, way]
    with_secret = {"client_id": CLIENT, "client_secret": CLIENT_SECRET} if way == "body" else {}
    assert issuer.asked[0] == {"grant_type": "client_credentials", **wanted, **with_secret}


async def test_an_issuer_that_refuses_says_why_and_no_secret(activity: HttpActivity, httpserver: HTTPServer) -> None:
    with pytest.raises(
        ConfigurationError, match=r"client was refused: .*/token answered 401: invalid_client"
    ) as caught:
        await orders(activity, httpserver, client_id="nobody")
    assert "HTTP_SECRET_CLIENT" in (caught.value.suggestion or "")
    with pytest.raises(NodeError, match=r"/token answered 400: invalid_scope") as other:
        await orders(activity, httpserver, scope="all")
    for error in (caught.value, other.value):
        assert error.happened is False
        assert "s3cr3t" not in str(error)
    assert "/orders" not in paths(httpserver)


async def test_an_issuer_that_is_busy_names_the_pause(activity: HttpActivity, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/busy").respond_with_data("", status=503, headers={"Retry-After": "7"})
    with pytest.raises(Unavailable) as caught:
        await orders(activity, httpserver, token_url=httpserver.url_for("/busy"))
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    "answer",
    ["", "[]", '{"access_token": ""}', '{"access_token": "a\\nb"}', '{"access_token": "a", "token_type": "mac"}'],
)
async def test_an_answer_without_a_token_fails_the_node(
    activity: HttpActivity, httpserver: HTTPServer, answer: str
) -> None:
    httpserver.expect_request("/odd").respond_with_data(answer, content_type="application/json")
    with pytest.raises(NodeError, match="issuer"):
        await orders(activity, httpserver, token_url=httpserver.url_for("/odd"))
    assert paths(httpserver) == ["/odd"]


async def test_a_token_goes_only_to_the_hosts_that_its_secret_lists(
    environ: dict[str, str], httpserver: HTTPServer, issuer: Issuer
) -> None:
    environ["HTTP_SECRET_CLIENT_TOKENS_TO"] = "api.shop.example"
    activity = HttpActivity(allow_private=True, environ=environ)
    with pytest.raises(ConfigurationError, match="sends no token that it gets for HTTP_SECRET_CLIENT to http://local"):
        await orders(activity, httpserver)
    with pytest.raises(ConfigurationError, match="may not send the environment variable"):
        await body_of(activity, url=httpserver.url_for("/"), headers={"A": "env:HTTP_SECRET_CLIENT_TOKENS_TO"})
    assert httpserver.log == []
    await activity.aclose()


def _repeat(request: Request) -> Response:
    said = {"headers": dict(request.headers), "body": request.get_data(as_text=True), "url": request.url}
    status = {"/busy": 503, "/wrong": 422}.get(request.path, 200)
    return Response(json.dumps(said), status, content_type="application/json")


def _nodes_with_secrets(asking: dict[str, Any], httpserver: HTTPServer) -> dict[str, Any]:
    """A node for each way in which a request has a secret; `busy` is tried again, and passed over."""
    bearer, basic = (
        {"bearer": "env:HTTP_SECRET_TOKEN"},
        {"basic": {"user": "shop", "password": "env:HTTP_SECRET_PASSWORD"}},
    )
    return {
        "oauth": {**asking, "auth": by_client(httpserver), "body": {"deep": ["env:HTTP_SECRET_TOKEN", CANARY]}},
        "basic": {**asking, "auth": basic},
        "bearer": {**asking, "auth": bearer, "query": {"key": "env:HTTP_SECRET_TOKEN"}},
        "busy": {
            "type": "http",
            "url": httpserver.url_for("/busy"),
            "auth": by_client(httpserver),
            "retry": {"max_attempts": 2, "initial_interval": 0.01},
            "on_failure": "continue",
        },
    }


def _leaks(told: dict[str, str], token: str) -> list[tuple[str, str]]:
    """Each place that tells a secret, in any form, with the secret."""
    pair = base64.b64encode(f"shop:{PASSWORD}".encode()).decode()
    forms = {
        secret: (secret, *(make(secret) for make in _FORMS)) for secret in (token, TOKEN, PASSWORD, CLIENT_SECRET, pair)
    }
    return [
        (place, secret)
        for place, text in told.items()
        for secret, all_ in forms.items()
        if any(each in text for each in all_)
    ]


async def test_secrets_and_tokens_are_nowhere_in_what_a_run_leaves(
    serving: Served,
    httpserver: HTTPServer,
    issuer: Issuer,
    exported: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server repeats all that it is sent, in successes and in failures: one that is tried again, one that ends it.

    (The issuer is in this process too, and what it logs is its own.)

    A canary that is no secret is found in each place in which a context may be, so that the others were looked for.
    """

    for path in ("/repeat", "/busy", "/wrong"):
        httpserver.expect_request(path).respond_with_handler(_repeat)
    asking: dict[str, Any] = {"type": "http", "url": httpserver.url_for("/repeat"), "method": "POST"}
    nodes = _nodes_with_secrets(asking, httpserver)
    wrong = {**asking, "url": httpserver.url_for("/wrong"), "auth": by_client(httpserver), "body": CANARY}
    with hearing() as heard, caplog.at_level(logging.DEBUG):
        handle = await serving.start({"nodes": nodes})
        result = await handle.result()
        failed = await serving.start(chain(wrong={**wrong, "headers": {"X-Key": "env:HTTP_SECRET_PASSWORD"}}))
        error = await error_of(failed)
        trails = [await each.query(query) for each in (handle, failed) for query in ("status", "history", "context")]
    assert result["data"]["oauth"]["headers"]["Authorization"] == "Bearer ***"
    assert issuer.asked
    (token,) = issuer.lives_until
    told = {
        "result": json.dumps(result),
        "history": (await handle.fetch_history()).to_json() + (await failed.fetch_history()).to_json(),
        "error": f"{error} {error.message} {error.details}",
        "trail": json.dumps(trails),
        "logs": "\n".join(each.getMessage() for each in caplog.records if not each.name.startswith("oauthlib")),
        "spans": "".join(span.to_json() for span in exported.get_finished_spans()),
        "metrics": str(heard.records),
    }
    assert [place for place, text in told.items() if not text] == []
    assert CANARY in told["result"]
    assert CANARY in told["trail"]
    assert _leaks(told, token) == []


@pytest.mark.parametrize("said", ["1e999", "NaN", "-1", '"soon"', "1" + "0" * 400, "null"])
async def test_a_token_whose_end_is_no_time_is_used_all_the_same(
    activity: HttpActivity, httpserver: HTTPServer, echo: str, said: str
) -> None:
    answer = f'{{"access_token": "t0k3n", "token_type": "bearer", "expires_in": {said}}}'
    httpserver.expect_request("/odd").respond_with_data(answer, content_type="application/json")
    auth = by_client(httpserver, token_url=httpserver.url_for("/odd"))
    assert await body_of(activity, url=echo, auth=auth) == "Bearer ***"
