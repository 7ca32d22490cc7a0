"""Polls and pages of `http` nodes whose worker is killed in the middle: the next worker goes on where it was."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import Client
from werkzeug import Request, Response

from anabranch.dev.devserver import DevServer
from tests.acceptance.worker_process import PATIENCE, Handle, kill, worker_process
from tests.integration.graph_kit import worker_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PAGES = 50
ASKING: dict[str, Any] = {"type": "http", "heartbeat": "3s"}


class Far:
    """A server of a job and of a list of 50 pages. Once, at the request `held_at`, it answers nobody until `opened`."""

    def __init__(self, server: HTTPServer, held_at: int) -> None:
        self.url = server.url_for("")
        self.keys: list[str] = []
        self.pages: list[int] = []
        self.polls = 10**9
        """After how many polls the job is done."""
        self.opened = threading.Event()
        self._held_at = held_at
        server.expect_request("/job").respond_with_handler(self._job)
        server.expect_request("/items").respond_with_handler(self._page)

    def _job(self, request: Request) -> Response:
        self._hear(request)
        state = "done" if len(self.keys) >= self.polls else "running"
        return Response(json.dumps({"state": state}), content_type="application/json")

    def _page(self, request: Request) -> Response:
        self._hear(request)
        page = int(request.args.get("page", "1"))
        self.pages.append(page)
        links = {"Link": f'</items?page={page + 1}>; rel="next"'} if page < PAGES else {}
        items = [page * 2 - 1, page * 2]
        return Response(json.dumps({"items": items}), headers=links, content_type="application/json")

    def _hear(self, request: Request) -> None:
        self.keys.append(request.headers["Idempotency-Key"])
        if len(self.keys) == self._held_at:
            self.opened.wait(PATIENCE)


@pytest.fixture
def far(httpserver: HTTPServer, request: pytest.FixtureRequest) -> Iterator[Far]:
    found = Far(httpserver, request.param)
    yield found
    found.opened.set()


@dataclass(frozen=True)
class Site:
    """A server, and a folder for the graph of one test."""

    client: Client
    server: DevServer
    task_queue: str
    folder: Path

    async def killed_at(self, told: dict[str, int], node: dict[str, Any]) -> Handle:
        """A run of the node, whose worker is killed when the server was told that it is so far."""
        (self.folder / "far.yaml").write_text(json.dumps({"name": "far", "nodes": {"ask": {**ASKING, **node}}}))
        handle: Handle = await self.client.start_workflow("far", {}, id=self.task_queue, task_queue=self.task_queue)
        environment = {
            "TEMPORAL_ADDRESS": self.server.address,
            "ANABRANCH_GRAPHS": str(self.folder),
            "ANABRANCH_TASK_QUEUE": self.task_queue,
            "HTTP_ALLOW_PRIVATE": "true",
            "ANABRANCH_MAX_CACHED_WORKFLOWS": "0",  # else the server would wait ten seconds for the dead worker
        }
        with worker_process(environment) as worker:
            await self._until_told(handle, told)
            kill(worker)
        return handle

    async def _until_told(self, handle: Handle, told: dict[str, int]) -> None:
        """Wait until the server knows how far the activity is: a heartbeat may be later than what it tells of."""
        deadline, found = time.monotonic() + PATIENCE, dict[str, Any]()
        while any(found.get(name, 0) < count for name, count in told.items()):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)
            for pending in (await handle.describe()).raw_description.pending_activities:
                for each in await self.client.data_converter.decode(pending.heartbeat_details.payloads):
                    found = each

    async def ended(self, handle: Handle) -> dict[str, Any]:
        """What becomes of the run with another worker."""
        async with worker_for(self.client, self.task_queue, self.folder, http_allow_private=True):
            data: dict[str, Any] = (await asyncio.wait_for(handle.result(), PATIENCE))["data"]
            return data


@pytest.fixture
def site(client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path) -> Site:
    return Site(client, dev_server, task_queue, tmp_path)


@pytest.mark.parametrize("far", [0, 6], indirect=True, ids=["it pauses", "it asks"])
async def test_a_poll_goes_on_where_it_was_and_is_one_activity(site: Site, far: Far) -> None:
    """The answers before are counted on, and each has a key of its own: an old one might bring an old answer back."""
    poll = {"until": "result.body.state == 'done'", "every": "100ms", "timeout": "10m"}
    handle = await site.killed_at(
        {"polls": 5}, {"url": f"{far.url}job", "poll": poll, "output": {"state": "result.body.state"}}
    )
    far.polls = len(far.keys) + 5
    far.opened.set()
    assert await site.ended(handle) == {"state": "done"}
    numbers = [int(key.partition("#")[2] or 0) for key in far.keys]
    assert numbers == sorted(numbers)
    assert len(numbers) - len(set(numbers)) <= 1  # what was asked when the worker died, under the same key
    assert numbers[-1] == len(set(numbers)) - 1
    history = (await handle.fetch_history()).events
    assert sum(each.HasField("activity_task_scheduled_event_attributes") for each in history) == 1


@pytest.mark.parametrize("far", [25], indirect=True, ids=["it asks"])
async def test_fifty_pages_are_there_once_and_only_the_one_in_hand_is_asked_again(site: Site, far: Far) -> None:
    node = {"url": f"{far.url}items", "pages": {"items": "result.body.items"}, "output": {"all": "result.body"}}
    handle = await site.killed_at({"pages": 24}, node)
    far.opened.set()
    assert await site.ended(handle) == {"all": [*range(1, 2 * PAGES + 1)]}
    assert far.pages == [*range(1, 26), *range(25, PAGES + 1)]
    assert far.keys[24] == far.keys[25] == f"{far.keys[0]}#24"
