"""Pages of `http` nodes: collected in bounds, within one server, and by a retry from where an attempt was."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio import activity as running
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from werkzeug import Request, Response

from anabranch.activities.heartbeat import heartbeats
from anabranch.activities.http.handler import HttpActivity
from anabranch.activities.node_result import NodeResult
from anabranch.errors import NodeError, SizeLimitExceeded, Unavailable
from anabranch.graph.model import HttpNode
from anabranch.limits import NodeLimits
from tests.integration.graph_kit import Served, worker_for
from tests.node_tasks import task_of

SECRET = "s3cr3t-k3y"


@pytest.fixture
async def activity(httpserver: HTTPServer) -> AsyncIterator[HttpActivity]:
    here = f"http://localhost:{httpserver.port}"
    environ = {"HTTP_SECRET_A": SECRET, "HTTP_SECRET_A_HOSTS": here}
    activity = HttpActivity(allow_private=True, environ=environ, limits=NodeLimits(written_bytes=5_000, rows=200))
    yield activity
    await activity.aclose()


class Shelf:
    """Items 0, 1, … by pages of four, whose address has a number; how it leads on is up to the test."""

    def __init__(self, server: HTTPServer, count: int) -> None:
        self.count = count
        self.asked: list[str] = []
        self.busy_at: int | None = None
        """The page that is refused once."""
        self.text = ""
        """What makes each item as large as it is."""
        self.url = server.url_for("/items")
        server.expect_request("/items").respond_with_handler(self._page)

    def _page(self, request: Request) -> Response:
        page = int(request.args.get("page", "1"))
        self.asked.append(request.full_path.removeprefix("/items"))
        if page == self.busy_at:
            self.busy_at = None
            return Response("", 503)
        numbers = range((page - 1) * 4, min(page * 4, self.count))
        items = [f"{number}{self.text}" if self.text else number for number in numbers]
        onward = f"/items?page={page + 1}" if page * 4 < self.count else None
        if onward and (key := request.args.get("key")):
            onward += f"&key={key}"
        links = {"Link": f'<{onward}>; rel="next", </items>; rel="first"'} if onward else {}
        said = {"items": items, "next": onward, "cursor": str(page + 1) if onward else ""}
        return Response(json.dumps(said), headers=links, content_type="application/json")


async def pages(activity: HttpActivity, url: str, pages: dict[str, Any], **more: Any) -> NodeResult:
    return await activity(task_of(data={"most": 3}), HttpNode(**{"type": "http", "url": url, "pages": pages, **more}))


@pytest.mark.parametrize(
    "onward",
    [
        {},
        {"next": "result.body.next"},
        {"next": 'result.body.cursor == "" ? null : {"page": result.body.cursor}'},
        {"next": 'size(result.body.items) < 4 ? null : {"page": page + 1, "none": null}'},
    ],
)
async def test_fifty_pages_are_put_together_however_they_lead_on(
    activity: HttpActivity, httpserver: HTTPServer, onward: dict[str, str]
) -> None:
    shelf = Shelf(httpserver, 199)
    outcome = await pages(activity, shelf.url, {"items": "result.body.items", **onward})
    assert outcome.writes == {"reserve": list(range(199))}
    assert isinstance(outcome.result, dict)
    told = {name: outcome.result[name] for name in ("status", "pages", "complete")}
    assert told == {"status": 200, "pages": 50, "complete": True}
    assert len(shelf.asked) == 50
    keys = [request.headers["Idempotency-Key"] for request, _ in httpserver.log]
    assert keys == ["run-1/reserve", *(f"run-1/reserve#{page}" for page in range(1, 50))]


@pytest.mark.parametrize(("limit", "asked", "complete"), [(6, 2, False), (8, 2, False), (10, 3, True), (11, 3, True)])
async def test_a_limit_asks_for_no_page_behind_it(
    activity: HttpActivity, httpserver: HTTPServer, limit: int, asked: int, complete: bool
) -> None:
    shelf = Shelf(httpserver, 10)
    outcome = await pages(activity, shelf.url, {"items": "result.body.items", "limit": limit})
    assert outcome.writes == {"reserve": list(range(min(limit, 10)))}
    assert isinstance(outcome.result, dict)
    assert (len(shelf.asked), outcome.result["complete"]) == (asked, complete)


async def test_an_expression_sees_the_context(activity: HttpActivity, httpserver: HTTPServer) -> None:
    onward = 'page < most ? {"page": page + 1} : null'
    outcome = await pages(activity, Shelf(httpserver, 99).url, {"items": "result.body.items", "next": onward})
    assert outcome.writes == {"reserve": list(range(12))}


async def test_too_many_and_too_large_items_fail_the_node(activity: HttpActivity, httpserver: HTTPServer) -> None:
    with pytest.raises(SizeLimitExceeded, match="51 pages have more than 200 items") as caught:
        await pages(activity, Shelf(httpserver, 999).url, {"items": "result.body.items"})
    assert "say a `limit`" in (caught.value.suggestion or "")
    large = "result.body.items.map(i, [result, result])"
    with pytest.raises(SizeLimitExceeded, match=r"the items of 3 pages have \d+ bytes, over the limit of 5000"):
        await pages(activity, Shelf(httpserver, 999).url, {"items": large})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"items": "result.body"}, "`pages.items` of page 1 is an object, not a list"),
        ({"items": "[]", "next": "page"}, "`pages.next` of page 1 is a number, not an address"),
        ({"items": "[]", "next": '"http://127.0.0.1/items"'}, "what follows page 1 is no address of the same server"),
        ({"items": "[]", "next": '"ftp://x/items"'}, "what follows page 1 is no address of the same server"),
        ({"items": "[]", "next": '"/items"'}, "what follows page 1 is that page itself"),
        ({"items": "[]", "next": '{"a": {"b": 1}}'}, "the parameter 'a' of `pages.next` is an object"),
    ],
)
async def test_what_is_no_page_fails_the_node(
    activity: HttpActivity, httpserver: HTTPServer, given: dict[str, str], message: str
) -> None:
    with pytest.raises(NodeError, match=message):
        await pages(activity, Shelf(httpserver, 99).url, given)


async def test_a_secret_of_the_query_goes_with_each_page_and_stays_out_of_what_is_kept(
    activity: HttpActivity, httpserver: HTTPServer
) -> None:
    shelf = Shelf(httpserver, 12)
    query = {"key": "env:HTTP_SECRET_A"}
    outcome = await pages(activity, shelf.url, {"items": "result.body.items"}, query=query)
    assert outcome.writes == {"reserve": list(range(12))}
    assert [request.args["key"] for request, _ in httpserver.log] == [SECRET] * 3
    httpserver.expect_request("/odd").respond_with_data("[]", headers={"Link": f"</{SECRET}/2>; rel=next"})
    with pytest.raises(NodeError, match="repeats a secret") as caught:
        await pages(activity, httpserver.url_for("/odd"), {"items": "[]"}, query=query)
    assert SECRET not in str(caught.value)


@pytest.fixture
async def serving(
    client: Client, task_queue: str, tmp_path: Any, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setenv("HTTP_SECRET_A", SECRET)
    monkeypatch.setenv("HTTP_SECRET_A_HOSTS", f"http://localhost:{httpserver.port}")
    async with worker_for(client, task_queue, tmp_path, http_allow_private=True) as served:
        yield served


async def test_a_retry_goes_on_at_the_page_that_failed(serving: Served, httpserver: HTTPServer) -> None:
    shelf = Shelf(httpserver, 22)
    shelf.busy_at = 4
    query, found = {"key": "env:HTTP_SECRET_A"}, {"found": "result.body", "pages": "result.pages"}
    node = {"type": "http", "url": shelf.url, "query": query, "output": found, "retry": {"initial_interval": 0.01}}
    node["pages"] = {"items": "result.body.items"}
    handle = await serving.start({"nodes": {"list": node}})
    assert (await handle.result())["data"] == {"found": list(range(22)), "pages": 6}
    asked = [int(each.partition("page=")[2].partition("&")[0] or 1) for each in shelf.asked]
    assert asked == [1, 2, 3, 4, 4, 5, 6]
    assert SECRET not in (await handle.fetch_history()).to_json()


class Attempts:
    """Attempts of an activity, each of which is given what the one before has kept."""

    def __init__(self, activity: HttpActivity) -> None:
        self._activity = activity
        self.kept: list[dict[str, Any]] = []

    async def attempt(self, url: str, found: dict[str, Any]) -> NodeResult:
        async def ran() -> NodeResult:
            with heartbeats(running.info()):
                return await pages(self._activity, url, found)

        environment = ActivityEnvironment()
        environment.on_heartbeat = self.kept.append
        environment.info = dataclasses.replace(environment.info, heartbeat_details=self.kept[-1:])
        outcome: NodeResult = await environment.run(ran)
        return outcome


async def test_of_large_pages_the_first_ones_are_kept_and_a_retry_goes_on_behind_them(httpserver: HTTPServer) -> None:
    activity = HttpActivity(allow_private=True, environ={}, limits=NodeLimits(written_bytes=8_000_000))
    shelf, attempts = Shelf(httpserver, 80), Attempts(activity)
    shelf.text = "x" * 30_000
    shelf.busy_at = 19
    found = {"items": "result.body.items"}
    with pytest.raises(Unavailable, match="503"):
        await attempts.attempt(shelf.url, found)
    assert [each["pages"] for each in attempts.kept] == [1, 2]
    assert len(json.dumps(attempts.kept[-1])) < 256 * 1024
    outcome = await attempts.attempt(shelf.url, found)
    await activity.aclose()
    assert outcome.writes == {"reserve": [f"{number}{shelf.text}" for number in range(80)]}
    asked = [int(each.partition("page=")[2] or 1) for each in shelf.asked]
    assert asked == [*range(1, 20), *range(3, 21)]
