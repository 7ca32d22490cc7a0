"""What the Temporal Web UI makes of texts of others, in a real browser: texts, never markup."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import FrameLocator, Page, expect
from temporalio.client import Client

from anabranch.cli.run import details_of
from anabranch.dev.devserver import DevServer
from anabranch.display import code_span, one_line
from anabranch.graph.drawing.svg import svg
from anabranch.graph.load import load_text
from anabranch.graph.model import Graph
from anabranch.loopback import free_port
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.acceptance.browsing import browser_page, worker_beside
from tests.integration.graph_kit import until_status
from tests.markup import BLOCKS, CORPUS, HTML, LINKS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

ACTIVE = "a, img, script, svg, iframe, object, embed, form, input, h1, h2, blockquote, table, strong, em, del"
ASK = """
name: ask
context: {conflict_resolution: fail_on_conflict}
nodes:
  each: {type: foreach, items: texts, body: {nodes: {ask: {type: approval, prompt: "{{ item }}"}}}}
"""


@dataclass
class Browser:
    """A page of a browser, the Web UI that it looks at, and what the page did that no text may make it do."""

    page: Page
    ui_url: str
    client: Client
    graphs: Path
    done: list[str] = field(default_factory=list)

    def asked(self, url: str) -> None:
        """The page asks a server for something."""
        if urlsplit(url).hostname == "evil.example":
            self.done.append(url)

    async def rendered(self, markdown: str) -> Page:
        """The Web UI's own renderer, which it puts into a frame."""
        await self.page.goto(f"{self.ui_url}/render?content={quote(markdown)}")
        return self.page

    async def details(self, workflow_id: str, run_id: str | None) -> FrameLocator:
        """The frame of the current details of a run."""
        await self.page.goto(f"{self.ui_url}/namespaces/default/workflows/{workflow_id}/{run_id}/user-metadata")
        await expect(self.page.locator("iframe").last).to_be_visible()
        return self.page.frame_locator("iframe").last


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> AsyncIterator[Browser]:
    graphs = tmp_path_factory.mktemp("graphs")
    (graphs / "ask.yaml").write_text(ASK)
    settings = Settings(graphs=graphs)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await DevServer.start(ui_port=free_port()))
        client = await connect(settings, target_host=server.address, namespace="default", api_key=None, tls=False)
        await stack.enter_async_context(worker_beside(settings, client))
        page = await stack.enter_async_context(browser_page(chromium))
        found = Browser(page, str(server.ui_url), client, graphs)
        page.on("dialog", lambda dialog: found.done.append(dialog.message))
        page.on("request", lambda sent: found.asked(sent.url))
        yield found


async def test_no_text_is_markup_in_what_the_web_ui_renders(browser: Browser) -> None:
    """One page shows all of them. Without a code span most of them are markup, which shows that they are worth it."""
    page = await browser.rendered("\n".join(f"- {code_span(text)}" for text in CORPUS))
    assert len(CORPUS) > 150
    assert await page.locator(f"main :is({ACTIVE})").count() == 0
    shown = await page.locator("main li > code").all_text_contents()
    assert [text.strip() for text in shown] == [one_line(text, 200).strip() for text in CORPUS]
    assert browser.done == []
    raw = await browser.rendered("\n\n".join(CORPUS))
    assert await raw.locator(f"main :is({ACTIVE})").count() > 20
    assert browser.done != []
    browser.done.clear()


async def test_the_current_details_of_a_run_show_what_is_asked_as_text(browser: Browser) -> None:
    texts = [
        "`[x](javascript:alert(1))`",
        "<img src=x onerror=alert(1)>",
        "a\n~~~\n[x](javascript:alert(1))",
        "www.evil.example",
    ]
    handle: Any = await browser.client.start_workflow(
        "ask", {"texts": texts}, id="ask-`x`<img src=x>", task_queue=Settings().task_queue
    )
    await until_status(handle, "each[3]/ask", "waiting")
    frame = await browser.details(quote(handle.id, safe=""), handle.result_run_id)
    await expect(frame.get_by_text("complete_task").first).to_be_visible()
    assert await frame.locator(f"main :is({ACTIVE.replace(', table', '').replace(', strong', '')})").count() == 0
    codes = await frame.locator("main li > code").all_text_contents()
    assert [text.strip() for text in codes] == [one_line(text, 200) for text in texts]
    commands = await frame.locator("main pre").all_text_contents()
    assert [f" 'each[{index}]/ask'" in command for index, command in enumerate(commands)] == [True] * 4
    assert browser.done == []


@pytest.mark.parametrize("text", ["[x](javascript:alert(1)) `<img src=x onerror=alert(1)>` # a\n# b"])
async def test_the_details_of_a_graph_show_its_description_as_text(browser: Browser, text: str) -> None:
    graph = load_text("name: g\nnodes: {a: {type: wait, for: 1s}}").graph
    page = await browser.rendered(details_of(graph.model_copy(update={"description": text, "version": text})))
    assert await page.locator(f"main :is({ACTIVE.replace(', strong', '')})").count() == 0
    assert await page.locator("main code").all_text_contents() == ["g", one_line(text, 200), one_line(text, 200)]


async def test_no_text_is_more_than_a_label_in_a_picture(browser: Browser, tmp_path: Path) -> None:
    texts = (*LINKS[:8], *HTML[:12], *BLOCKS[:4])
    nodes = {f"n{index}": {"type": "approval", "description": text} for index, text in enumerate(texts)}
    picture = tmp_path / "graph.svg"
    picture.write_bytes(svg(Graph.model_validate({"name": "g", "nodes": nodes}), details=True))
    await browser.page.goto(picture.as_uri())
    assert await browser.page.locator("svg").count() == 1
    assert await browser.page.locator("a, image, script, iframe, foreignObject img, [onload], [onerror]").count() == 0
    assert browser.done == []
