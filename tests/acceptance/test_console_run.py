"""The page of a run in a browser: followed live, scrubbed, explained and steered, by keyboard, wide and narrow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect
from temporalio.client import Client, WorkflowHandle

from anabranch.console.access.access import Access
from anabranch.console.app import console
from anabranch.console.run.live import LiveRuns
from anabranch.console.services import Services
from anabranch.dev.devserver import DevServer
from anabranch.loopback import serving
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.acceptance.browsing import QUIET_CHROMIUM, worker_beside

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

QUEUE = "console-run"
PATIENCE = 90_000
"""Milliseconds that a busy machine may take to show a first page."""
SCREENSHOTS = os.environ.get("ANABRANCH_SCREENSHOTS")
"""A folder for pictures of what the tests see."""
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>\u202e'

ORDER = """
name: order
version: 2.1.0
description: Take an order, from its check to its parcels
saga: {}
nodes:
  check: {type: rule, rules: [{when: total > 0, then: {checked: true}}]}
  reserve:
    type: rule
    rules: [{then: {stock.reserved: "{{ items }}"}}]
    compensate: {type: rule, rules: [{then: {stock.released: true}}]}
  charge:
    type: rule
    rules: [{then: {payment.cents: "{{ total * 100 }}"}}]
    compensate: {type: rule, rules: [{then: {payment.refunded: true}}]}
  fraud: {type: rule, rules: [{then: {risk: low, discount: 5}}]}
  loyalty: {type: rule, rules: [{then: {discount: 10}}]}
  price: {type: rule, rules: [{then: {price: "{{ total - discount }}"}}]}
  approve:
    type: approval
    prompt: "Ship {{ size(items) }} parcels for {{ price }}?"
    schema: {type: object, required: [approved], properties: {approved: {type: boolean}, note: {type: string}}}
  pack:
    type: foreach
    items: items
    max_concurrency: 3
    body:
      nodes:
        weigh: {type: rule, rules: [{then: {w: "{{ item }}"}}]}
        wrap: {type: rule, rules: [{then: {x: "{{ item }}"}}]}
      edges: [{from: weigh, to: wrap}]
    collect: {into: parcels, value: item}
  ship: {type: rule, rules: [{then: {shipped: true}}]}
  decline: {type: fail, code: DECLINED, message: the order was declined}
edges:
  - {from: check, to: reserve, when: checked}
  - {from: check, to: fraud, when: checked}
  - {from: check, to: loyalty}
  - {from: reserve, to: charge}
  - {from: fraud, to: price}
  - {from: loyalty, to: price}
  - {from: charge, to: approve}
  - {from: price, to: approve}
  - {from: approve, to: pack, when: approved}
  - {from: approve, to: decline, otherwise: true}
  - {from: pack, to: ship}
context: {merge: {discount: fail_on_conflict}}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A console over a server with a worker, and a browser."""

    client: Client
    url: str
    browser: Browser
    live: LiveRuns
    """The runs that somebody looks at."""

    async def start(self, workflow_id: str, data: dict[str, Any], graph: Any = None) -> WorkflowHandle[Any, Any]:
        given = data if graph is None else {"graph": graph, "data": data}
        kind = "order" if graph is None else "GraphWorkflow"
        return await self.client.start_workflow(kind, given, id=workflow_id, task_queue=QUEUE)

    async def page(self, workflow_id: str, *, width: int = 1440, height: int = 900, scheme: Any = "light") -> Page:
        context = await self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        page = await context.new_page()
        page.on("pageerror", lambda error: pytest.fail(f"the page failed: {error}"))
        page.on("request", lambda request: _check_origin(request.url, self.url))
        await page.goto(f"{self.url}/runs/{workflow_id}", wait_until="commit", timeout=PATIENCE)
        await expect(page.get_by_role("heading", level=1)).to_have_text(workflow_id, timeout=PATIENCE)
        return page


def _check_origin(url: str, own: str) -> None:
    assert url.startswith((own, "data:")), f"a request leaves the origin: {url}"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, chromium: str, dev_server: DevServer) -> AsyncIterator[Stage]:
    graphs = tmp_path_factory.mktemp("graphs")
    (graphs / "order.yaml").write_text(ORDER)
    settings = Settings(graphs=graphs, task_queue=QUEUE, inline_graphs=True)
    async with AsyncExitStack() as stack:
        client = await connect(settings, target_host=dev_server.address, namespace="default", api_key=None, tls=False)
        await stack.enter_async_context(worker_beside(settings, client))
        services = Services.of(client, settings, web_ui="http://127.0.0.1:8233")
        url = await stack.enter_async_context(serving(console(services, Access(login="ada"))))
        stack.push_async_callback(services.close)
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=QUIET_CHROMIUM)
        stack.push_async_callback(browser.close)
        yield Stage(client, url, browser, services.live)


async def seen(page: Page, name: str, *, whole: bool = False) -> None:
    """Nothing that axe finds is wrong with the page; a picture of it, if they are wanted."""
    found = await Axe().run(page)
    assert [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found.response["violations"]] == []
    if SCREENSHOTS:
        await page.evaluate("document.getElementById('toasts').replaceChildren()")
        await page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=whole)


def card(page: Page, address: str) -> Any:
    return page.locator(f'.drawing [data-address="{address}"]')


async def settle(page: Page) -> None:
    """A conflict is settled, once its sides were seen."""
    conflict = page.get_by_role("region", name="conflict at price")
    await expect(conflict).to_contain_text("before the branches")
    await expect(card(page, "price")).to_have_attribute("aria-label", "price, rule: 1 rule. conflict")
    await seen(page, "console-conflict")
    await conflict.get_by_label("loyalty").check()
    await conflict.get_by_role("button", name="Settle").click()
    await expect(conflict).to_have_count(0)


async def answer(page: Page) -> None:
    """An approval is answered by its form, by the keyboard alone; the run goes on in sight."""
    approval = page.get_by_role("region", name="approval at approve")
    await expect(approval).to_contain_text("Ship 5 parcels for 290?")
    await seen(page, "console-approval")
    await approval.get_by_role("radio").first.focus()
    await page.keyboard.press("Space")
    await page.keyboard.press("Tab")
    await page.keyboard.type("by express")
    await page.keyboard.press("Enter")
    await expect(page.locator(".run-head .state")).to_have_text("completed")
    done = "pack, foreach: for each item of items. succeeded, 5/5"
    await expect(card(page, "pack")).to_have_attribute("aria-label", done)
    await expect(page.locator('.drawing .edge[data-to="decline"]')).to_have_class("edge dead")


async def open_body(page: Page) -> None:
    """A body opens on demand: closed, it tells how far it is."""
    await expect(card(page, "pack/weigh")).to_have_count(0)
    await expect(card(page, "pack").locator(".count")).to_have_text("5/5")
    await card(page, "pack").click()
    await page.get_by_role("button", name="Open its body").click()
    shown = "weigh, rule: 1 rule. succeeded, 5 succeeded"
    await expect(card(page, "pack/weigh")).to_have_attribute("aria-label", shown)


async def scrub(page: Page) -> None:
    """The slider goes to the start and to the end by keys."""
    await page.get_by_role("slider", name="Moment").focus()
    await page.keyboard.press("Home")
    await expect(card(page, "ship")).to_have_attribute("aria-label", "ship, rule: 1 rule. pending")
    await page.keyboard.press("End")
    await expect(card(page, "ship")).to_have_attribute("aria-label", "ship, rule: 1 rule. succeeded")


async def explain(page: Page) -> None:
    """Arrow keys walk along the edges; beside the drawing is what a node did, who wrote a value, and why."""
    panel = page.get_by_role("tabpanel")
    await card(page, "check").click()
    for _ in range(2):
        await page.keyboard.press("ArrowDown")
    await expect(card(page, "price")).to_be_focused()
    await expect(panel.locator(".change").last).to_contain_text("290")
    await expect(panel.locator(".settled")).to_contain_text("by ada")
    await seen(page, "console-node")
    await page.get_by_role("tab", name="Context").click()
    await panel.get_by_role("button", name="price").click()
    await expect(panel.locator(".blame")).to_contain_text("price")
    await expect(panel.locator(".causes")).to_contain_text("read total = 300")
    await seen(page, "console-context")
    await page.get_by_role("tab", name="Log").click()
    await expect(panel.locator("li").first).to_contain_text("shipped")
    await seen(page, "console-log")
    await page.get_by_role("tab", name="All nodes").click()
    await expect(panel.get_by_role("row")).to_have_count(15)
    await seen(page, "console-nodes")


async def test_a_conflict_is_settled_an_approval_answered_and_the_run_scrubbed_and_explained(stage: Stage) -> None:
    handle = await stage.start("order-1", {"total": 300, "items": [1, 2, 3, 4, 5]})
    page = await stage.page("order-1")
    for step in (settle, answer, open_body, scrub, explain):
        await step(page)
    await page.context.close()
    assert (await handle.result())["status"] == "completed"


async def unseen(stage: Stage, handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until the server follows a run for nobody any more."""
    for _ in range(PATIENCE // 100):
        if stage.live.known(handle.id, handle.result_run_id or "") is None:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{handle.id} is still followed")


async def test_a_page_that_nobody_sees_holds_no_connection(stage: Stage) -> None:
    handle = await stage.start("order-4", {"total": 300, "items": [1]})
    page = await stage.page("order-4")
    await expect(page.get_by_role("region", name="conflict at price")).to_be_visible()
    turn = """isHidden => {
      Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await page.evaluate(turn, True)
    await unseen(stage, handle)
    await handle.terminate()
    await page.evaluate(turn, False)
    await expect(page.locator(".run-head .state")).to_have_text("terminated")
    await page.context.close()


@pytest.mark.slow
async def test_the_page_is_as_good_wide_in_the_dark_and_narrow_in_the_light(stage: Stage) -> None:
    handle = await stage.start("order-3", {"total": 300, "items": [1, 2, 3]})
    for name, width, height, scheme in (("dark", 1440, 900, "dark"), ("light", 390, 844, "light")):
        page = await stage.page("order-3", width=width, height=height, scheme=scheme)
        await expect(page.get_by_role("region", name="conflict at price")).to_be_visible()
        await seen(page, f"console-{name}-conflict", whole=True)
        await card(page, "charge").click()
        await expect(page.get_by_role("tabpanel").locator(".change").last).to_contain_text("30000")
        for tab in ("Node", "Context", "Log", "All nodes"):
            await page.get_by_role("tab", name=tab, exact=True).click()
            await seen(page, f"console-{name}-{tab.lower().replace(' ', '-')}", whole=True)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.context.close()
    await handle.terminate()


async def test_a_cancel_shows_first_what_it_undoes_then_the_run_is_seen_undone_and_run_again(stage: Stage) -> None:
    await stage.start("order-2", {"total": 300, "items": [1]})
    page = await stage.page("order-2", width=390, height=844, scheme="dark")
    await expect(page.get_by_role("region", name="conflict at price")).to_be_visible()
    await expect(card(page, "charge")).to_have_attribute("aria-label", "charge, rule: 1 rule. succeeded")
    await seen(page, "console-narrow", whole=True)

    # It is held and let go on, in the name of who looks.
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".run-head .facts")).to_contain_text("paused by ada")
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()

    await page.get_by_role("button", name="Cancel …").click()
    dialog = page.get_by_role("dialog", name="Cancel this run?")
    await expect(dialog).to_contain_text("This would undo 2 steps, one after the other:")
    assert await dialog.locator("li > strong").all_inner_texts() == ["charge", "reserve"]
    await seen(page, "console-cancel")
    await dialog.get_by_role("button", name="Cancel the run").click()
    await expect(page.locator(".run-head .state")).to_have_text("cancelled")
    await expect(card(page, "charge")).to_have_attribute("aria-label", "charge, rule: 1 rule. compensated")
    await expect(page.get_by_role("button", name="Cancel …")).to_have_count(0)
    await seen(page, "console-undone", whole=True)

    # From a node of its own choice the run is run again, as another one.
    await card(page, "price").click()
    await page.get_by_role("button", name="Run again from here …").click()
    dialog = page.get_by_role("dialog", name="Run again from price?")
    await expect(dialog.locator(".rerun-plan")).to_contain_text("price")
    await seen(page, "console-rerun")
    await dialog.get_by_role("button", name="Run it again").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("order-2-rerun-1", timeout=PATIENCE)
    await stage.client.get_workflow_handle("order-2-rerun-1").terminate()
    await page.context.close()


async def test_a_paused_node_is_tried_again_on_an_edited_context_and_hostile_texts_stay_texts(stage: Stage) -> None:
    graph = {
        "name": "hostile",
        "description": HOSTILE,
        "nodes": {
            "risky": {
                "type": "rule",
                "description": HOSTILE,
                "rules": [{"when": "int(text) > 0", "then": {"large": "{{ int(text) }}"}}],
                "on_failure": "pause",
                "retry": {"max_attempts": 1},
            },
            "ask": {"type": "approval", "prompt": HOSTILE, "schema": {"type": "object", "title": HOSTILE}},
        },
        "edges": [{"from": "risky", "to": "ask"}],
    }
    handle = await stage.start("hostile-1", {"text": HOSTILE, HOSTILE: {"<b>": [HOSTILE]}}, graph)
    page = await stage.page("hostile-1")
    paused = page.get_by_role("region", name="paused at risky")
    await expect(paused.get_by_role("button", name="Retry")).to_be_enabled()
    await page.get_by_role("tab", name="Context").click()
    await expect(page.get_by_role("tabpanel")).to_contain_text("<script>")
    await seen(page, "console-paused")
    await paused.get_by_role("button", name="Change the context before").click()
    await paused.get_by_label("Path to change").fill("text")
    await paused.get_by_label("New value, as JSON").fill('"9007199254740993"')
    await paused.get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("region", name="approval at ask")).to_be_visible()
    await expect(page.get_by_role("tabpanel")).to_contain_text("9007199254740993")
    assert await page.title() == "hostile-1 · Anabranch"
    assert await page.locator("main img, main script").count() == 0
    await handle.terminate()
    await expect(page.get_by_role("region", name="approval at ask")).to_have_count(0)
    await expect(page.locator(".run-head")).to_contain_text("TERMINATED")
    await page.context.close()
