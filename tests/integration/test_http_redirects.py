"""Redirects of `http` nodes by their rule: what is followed, how, and that no secret goes to another origin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request

from anabranch.activities.http.handler import HttpActivity
from anabranch.errors import NodeError, Unavailable
from anabranch.graph.model import HttpNode
from tests.node_tasks import task_of

SECRET = "tok/s3cr3t"


@pytest.fixture
async def activity(httpserver: HTTPServer) -> AsyncIterator[HttpActivity]:
    here = f"http://localhost:{httpserver.port}"
    activity = HttpActivity(allow_private=True, environ={"HTTP_SECRET_A": SECRET, "HTTP_SECRET_A_HOSTS": here})
    yield activity
    await activity.aclose()


@pytest.fixture
def moved(httpserver: HTTPServer) -> str:
    """An address that leads on to `/there` of the same server: another origin is the same server by another name."""
    httpserver.expect_request("/there").respond_with_data("arrived")
    return "/there"


def leads(server: HTTPServer, target: str, status: int = 307) -> str:
    server.expect_request("/here").respond_with_data("", status=status, headers={"Location": target})
    return server.url_for("/here")


async def body_of(activity: HttpActivity, **fields: Any) -> Any:
    return (await activity(task_of(), HttpNode(**{"type": "http", **fields}))).writes["reserve"]


def last(server: HTTPServer) -> Request:
    return server.log[-1][0]


def elsewhere(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.port}/there"


async def test_within_an_origin_all_goes_along(activity: HttpActivity, httpserver: HTTPServer, moved: str) -> None:
    body = await body_of(
        activity,
        url=leads(httpserver, moved),
        redirects="same_origin",
        method="POST",
        headers={"X-A": "env:HTTP_SECRET_A"},
        auth={"bearer": "env:HTTP_SECRET_A"},
        body={"key": "env:HTTP_SECRET_A"},
    )
    assert body == "arrived"
    assert (last(httpserver).method, last(httpserver).get_json()) == ("POST", {"key": SECRET})
    assert last(httpserver).headers["Authorization"] == f"Bearer {SECRET}"
    assert last(httpserver).headers["X-A"] == SECRET


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "DELETE", "GET"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (301, "PUT", "PUT"),
        (303, "HEAD", "HEAD"),
        (302, "GET", "GET"),
    ],
)
async def test_the_method_becomes_get_where_http_says_so(
    activity: HttpActivity, httpserver: HTTPServer, status: int, method: str, then: str
) -> None:
    moved = "/there"
    httpserver.expect_request(moved).respond_with_data("arrived")
    body = {"a": 1} if method in ("POST", "PUT") else None
    await body_of(activity, url=leads(httpserver, moved, status), redirects="same_origin", method=method, body=body)
    sent = last(httpserver)
    assert (sent.path, sent.method, bool(sent.get_data())) == ("/there", then, body is not None and then == method)


async def test_another_origin_gets_no_secret(activity: HttpActivity, httpserver: HTTPServer, moved: str) -> None:
    url, headers = leads(httpserver, elsewhere(httpserver)), {"X-A": "env:HTTP_SECRET_A", "X-B": "b", "Cookie": "c=1"}
    query = {"key": "env:HTTP_SECRET_A"}
    given = {"url": url, "headers": headers, "auth": {"bearer": "env:HTTP_SECRET_A"}, "query": query}
    with pytest.raises(NodeError, match="leads to another origin"):
        await body_of(activity, **given, redirects="same_origin")
    assert len(httpserver.log) == 1
    assert await body_of(activity, **given, redirects="any") == "arrived"
    sent = last(httpserver)
    assert sent.headers["X-B"] == "b"
    assert "Authorization" not in sent.headers
    assert "Cookie" not in sent.headers
    assert SECRET not in f"{sent.headers} {sent.url} {sent.query_string!r}"


async def test_a_redirect_that_would_take_a_secret_along_is_refused(
    activity: HttpActivity, httpserver: HTTPServer, moved: str
) -> None:
    url, body = leads(httpserver, elsewhere(httpserver)), {"key": "env:HTTP_SECRET_A"}
    with pytest.raises(NodeError, match="would take a secret to another origin"):
        await body_of(activity, url=url, redirects="any", method="POST", body=body)
    httpserver.clear()
    url = leads(httpserver, f"{elsewhere(httpserver)}?key=tok%2Fs3cr3t")
    with pytest.raises(NodeError, match="would take a secret to another origin") as caught:
        await body_of(activity, url=url, redirects="any", headers={"X-A": "env:HTTP_SECRET_A"})
    assert "s3cr3t" not in str(caught.value)
    assert [request.path for request, _ in httpserver.log] == ["/here"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/here", "is behind more than 5 redirects"),
        ("ftp://localhost/", "leads to what is no address of HTTP"),
        ("http://u:p@localhost/", "leads to what is no address of HTTP"),
    ],
)
async def test_redirects_end(activity: HttpActivity, httpserver: HTTPServer, target: str, message: str) -> None:
    with pytest.raises(NodeError, match=message):
        await body_of(activity, url=leads(httpserver, target), redirects="any")


@pytest.mark.parametrize("fields", [{}, {"redirects": "any", "expect": {"status": [302]}}])
async def test_a_redirect_is_an_answer_where_none_is_followed_or_the_node_expects_it(
    activity: HttpActivity, httpserver: HTTPServer, moved: str, fields: dict[str, Any]
) -> None:
    node = {"url": leads(httpserver, moved, 302), "expect": {"status": [302]}, **fields}
    assert await body_of(activity, **node) is None
    assert len(httpserver.log) == 1


@pytest.mark.parametrize(("status", "happened"), [(303, True), (307, None)])
async def test_a_failure_behind_a_post_that_was_carried_out_says_so(
    activity: HttpActivity, httpserver: HTTPServer, status: int, happened: bool | None
) -> None:
    httpserver.expect_request("/gone").respond_with_data("", status=410)
    with pytest.raises(NodeError, match="answered 410") as caught:
        await body_of(activity, url=leads(httpserver, "/gone", status), redirects="same_origin", method="POST")
    assert caught.value.happened is happened


async def test_an_address_that_repeats_a_secret_and_does_not_answer_is_told_without_it() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if b"s3cr3t" not in line:
            writer.write(b"HTTP/1.1 307 -\r\nLocation: /of/tok%2Fs3cr3t/\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        here = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        told = HttpActivity(allow_private=True, environ={"HTTP_SECRET_A": SECRET, "HTTP_SECRET_A_HOSTS": here})
        with pytest.raises(Unavailable, match="got no answer") as caught:
            await body_of(told, url=f"{here}/here", redirects="same_origin", headers={"X-A": "env:HTTP_SECRET_A"})
        await told.aclose()
    assert "s3cr3t" not in str(caught.value)
