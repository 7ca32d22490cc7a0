"""A console with a server, a worker and a browser, for tests of its pages."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from playwright.async_api import Browser, Page, async_playwright
from temporalio.client import Client, WorkflowHandle

from anabranch.console.access.access import Access
from anabranch.console.app import console
from anabranch.console.services import Services
from anabranch.dev.devserver import FAST, DevServer
from anabranch.loopback import serving
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.search_attributes import SEARCH_ATTRIBUTES
from tests.acceptance.browsing import QUIET_CHROMIUM, worker_beside
from tests.console.kit import TOKENS

WIDE, NARROW = (1440, 900), (390, 844)
GRAPHS = Path(__file__).parent.parent / "fixtures/console"


@dataclass(slots=True)
class House:
    """The console of this test, what it shows, and a browser that is told of everything it should not do."""

    url: str
    closed_url: str
    """Of a console over the same runs at which people sign in."""
    http: httpx2.AsyncClient
    client: Client
    queue: str
    browser: Browser
    wrongs: list[str] = field(default_factory=list)
    """Requests to elsewhere, errors of scripts, what the policy refused."""

    async def start(
        self, graph: str, data: dict[str, Any] | None = None, *, name: str | None = None
    ) -> WorkflowHandle[Any, Any]:
        workflow_id = name or f"{graph}-{uuid.uuid4().hex[:6]}"
        return await self.client.start_workflow(graph, data or {}, id=workflow_id, task_queue=self.queue)

    async def refunds(self, prefix: str, count: int) -> list[WorkflowHandle[Any, Any]]:
        orders = [{"order": {"id": f"A-{number}", "amount": 25}} for number in range(count)]
        return [await self.start("refund", order, name=f"{prefix}-{at}") for at, order in enumerate(orders)]

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def tell(self, path: str, body: dict[str, Any]) -> Any:
        answer = await self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until_waiting(self, prefix: str, count: int) -> list[dict[str, Any]]:
        """The questions of the runs whose ids begin so, once there are as many."""
        found: dict[str, Any] = {}
        for _ in range(600):
            found = await self.get("/api/inbox", id=prefix)
            if found["total"] >= count and not found["unread"]:
                items: list[dict[str, Any]] = found["items"]
                return items
            await asyncio.sleep(0.1)
        raise AssertionError(f"{prefix}: {found}")

    @asynccontextmanager
    async def page(
        self, path: str, size: tuple[int, int] = WIDE, scheme: Any = "light", url: str | None = None
    ) -> AsyncGenerator[Page]:
        """A page of a new profile. What it does that it should not is noted."""
        base = url or self.url
        context = await self.browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, base_url=base, reduced_motion="reduce"
        )
        page = await context.new_page()
        page.on("pageerror", lambda error: self.wrongs.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.wrongs.append(f"dialog: {dialog.message}"))
        page.on("request", lambda sent: None if sent.url.startswith(base) else self.wrongs.append(f"to: {sent.url}"))
        page.on(
            "console", lambda said: self.wrongs.append(said.text) if "Content Security Policy" in said.text else None
        )
        await page.goto(path)
        try:
            yield page
            assert await page.evaluate("typeof pwned") == "undefined"
        finally:
            await context.close()


@asynccontextmanager
async def house(chromium: str) -> AsyncGenerator[House]:
    """Everything, while the block runs."""
    settings = Settings(graphs=GRAPHS, task_queue="console", elsewhere_seconds=0)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            await DevServer.start(search_attributes=SEARCH_ATTRIBUTES, dynamic_config=FAST)
        )
        client = await connect(settings, target_host=server.address)
        services = Services.of(client, settings)
        stack.push_async_callback(services.close)
        url = await stack.enter_async_context(serving(console(services, Access(login="ada"))))
        closed_url = await stack.enter_async_context(serving(console(services, Access(TOKENS))))
        await stack.enter_async_context(worker_beside(settings, client))
        http = httpx2.AsyncClient(base_url=url, trust_env=False, headers={"Origin": url}, timeout=60)
        await stack.enter_async_context(http)
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=QUIET_CHROMIUM)
        stack.push_async_callback(browser.close)
        yield House(url, closed_url, http, client, settings.task_queue, browser)
