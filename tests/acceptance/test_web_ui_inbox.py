"""What waits for people, as a list of Temporal's Web UI, and what one of these runs says there of itself."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect
from temporalio.client import Client, WorkflowFailureError

from anabranch.dev.devserver import DevServer
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.search_attributes import SEARCH_ATTRIBUTES
from tests.acceptance.browsing import browser_page, worker_beside

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CONSOLE = "http://console.example"
GRAPH = """
name: trip
nodes:
  book: {type: rule, rules: [{then: {booked: true}}], compensate: {type: rule, rules: [{then: {booked: false}}]}}
  agree:
    type: approval
    prompt: "Does {{ who }} travel?"
    schema: {type: object, properties: {travels: {type: boolean}}}
    timeout: 1h
  pay: {type: fail, code: NO_MONEY, message: "nobody pays for {{ who }}"}
edges:
  - {from: book, to: agree}
  - {from: agree, to: pay}
"""
QUERY = "AnabranchWaitingFor = 'approval'"


async def test_what_waits_is_a_list_and_each_run_says_what_it_asks_and_what_it_undid(
    tmp_path: Path, chromium: str
) -> None:
    (tmp_path / "trip.yaml").write_text(GRAPH)
    settings = Settings(graphs=tmp_path, console_url=CONSOLE)
    async with AsyncExitStack() as stack:
        started = await DevServer.start(ui_port=0, search_attributes=SEARCH_ATTRIBUTES)
        server = await stack.enter_async_context(started)
        client = await connect(settings, target_host=server.address)
        await stack.enter_async_context(worker_beside(settings, client))
        ada, _, cleo = [
            await client.start_workflow("trip", {"who": who}, id=f"trip-{who}", task_queue=settings.task_queue)
            for who in ("ada", "bob", "cleo")
        ]
        await until_listed(client, 3)
        await cleo.execute_update("complete_task", {"node": "agree", "answer": {}})
        with pytest.raises(WorkflowFailureError):
            await cleo.result()
        await until_listed(client, 2)
        page = await stack.enter_async_context(browser_page(chromium))
        runs = f"{server.ui_url}/namespaces/default/workflows"
        await page.goto(f"{runs}?query={quote(QUERY)}")
        await expect(page.get_by_role("link", name="trip-ada")).to_be_visible()
        await expect(page.get_by_role("link", name="trip-bob")).to_be_visible()
        await expect(page.get_by_role("link", name="trip-cleo")).to_have_count(0)
        shown = await details(page, f"{runs}/trip-ada/{ada.result_run_id}")
        assert "Does ada travel?" in shown
        assert re.search(r"Node agree waits for the update complete_task until \d{4}-\d\d-\d\dT", shown)
        assert '{"type": "object", "properties": {"travels": {"type": "boolean"}}}' in shown
        assert """anabranch answer trip-ada agree --input '{"travels": true}'""" in shown
        await page.context.route(f"{CONSOLE}/**", lambda route: route.fulfill(body=f"shows {route.request.url}"))
        link = page.frame_locator("iframe").last.get_by_role("link", name="Open in the console")
        async with page.expect_popup() as opened:
            await link.click()
        await expect((await opened.value).get_by_text(f"shows {CONSOLE}/runs/trip-ada")).to_be_visible()
        shown = await details(page, f"{runs}/trip-cleo/{cleo.result_run_id}")
        assert "It fails with NO_MONEY at pay" in shown
        assert "nobody pays for cleo" in shown
        assert "Undone: book" in shown


async def until_listed(client: Client, count: int) -> None:
    for _ in range(500):
        if (await client.count_workflows(QUERY)).count == count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{count} runs are not listed in time")


async def details(page: Page, run: str) -> str:
    """The text of a run's current details."""
    await page.goto(f"{run}/user-metadata")
    await expect(page.locator("iframe").last).to_be_visible()
    frame = page.frame_locator("iframe").last
    await expect(frame.get_by_text("trip").first).to_be_visible()
    return await frame.locator("main").inner_text()
