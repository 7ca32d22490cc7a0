"""Texts of others where people see them, in Chromium: Temporal's own renderer of details, SVG, Mermaid's labels; and as
text on a terminal.

Nothing of them is an element, a link, a request or a dialog; no control character reaches a terminal.
"""

from __future__ import annotations

import random
import tempfile
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from anabranch.cli.run import details_of
from anabranch.dev.devserver import DevServer
from anabranch.display import code_span, one_line
from anabranch.graph.drawing.svg import svg
from anabranch.graph.load import load_text
from anabranch.graph.model import Graph
from anabranch.loopback import free_port
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests import servers
from tests.acceptance.browsing import browser_page
from tests.acceptance.test_markup import ACTIVE, Browser
from tests.attack.attack import Attack, Tally
from tests.markup import BACKTICKS, CORPUS, HTML, LINKS

_IN_DETAILS = ACTIVE.replace(", strong", "")
_IN_A_PICTURE = "a, image, script, iframe, foreignObject img, [onload], [onerror]"
_GRAPH = load_text("name: g\nnodes: {a: {type: wait, for: 1s}}").graph
_ON_A_PAGE = 10
_MAX_SHOWN = 200


async def run(tally: Tally, numbers: range) -> None:
    """Show the texts with these numbers, several on a page."""
    with tempfile.TemporaryDirectory(prefix="anabranch-attack-") as folder:
        async with _browser(Path(folder)) as browser:
            for first in range(numbers.start, numbers.stop, _ON_A_PAGE):
                batch = range(first, min(first + _ON_A_PAGE, numbers.stop))
                texts = [_text(number, tally.rng) for number in batch]
                wrong = await _rendered(browser, texts) or await _described(browser, texts[0])
                wrong = wrong or await _pictured(browser, texts, Path(folder))
                for number, text in zip(batch, texts, strict=True):
                    tally.judge(f"{number} {text[:200]!r} on its page", wrong or on_a_terminal(one_line(text, 200)))
            await _controls(tally, browser)


def on_a_terminal(line: str) -> str | None:
    """What a line would make a terminal do, or hide from who reads it."""
    wrong = [character for character in line if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    return f"it holds {wrong[0]!r}" if wrong else None


@asynccontextmanager
async def _browser(folder: Path) -> AsyncGenerator[Browser]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await DevServer.start(ui_port=free_port()))
        client = await connect(
            Settings(), target_host=server.address, namespace="default", api_key=None, tls=False, rpc_metadata={}
        )
        page = await stack.enter_async_context(browser_page(servers.program("chromium")))
        found = Browser(page, str(server.ui_url), client, folder)
        page.on("dialog", lambda dialog: found.done.append(dialog.message))
        page.on("request", lambda sent: found.asked(sent.url))
        yield found


def _text(number: int, rng: random.Random) -> str:
    if number < len(CORPUS):
        return CORPUS[number]
    parts = [rng.choice(rng.choice((CORPUS, LINKS, HTML, BACKTICKS))) for _ in range(rng.randint(2, 4))]
    return rng.choice(("", " ", "`", "\n", "\n\n")).join(parts)


async def _rendered(browser: Browser, texts: list[str]) -> str | None:
    """As the answers and prompts in a run's details."""
    page = await browser.rendered("\n".join(f"- {code_span(text)}" for text in texts))
    if (count := await page.locator(f"main :is({ACTIVE})").count()) > 0:
        return f"{count} elements in the details"
    shown = [text.strip() for text in await page.locator("main li > code").all_text_contents()]
    if shown != [one_line(text, _MAX_SHOWN).strip() for text in texts]:
        return f"the details show {shown!r:.300}"
    return _done(browser)


async def _described(browser: Browser, text: str) -> str | None:
    """As a graph's description and version, which are the static details."""
    page = await browser.rendered(details_of(_GRAPH.model_copy(update={"description": text, "version": text})))
    if (count := await page.locator(f"main :is({_IN_DETAILS})").count()) > 0:
        return f"{count} elements in the static details"
    return _done(browser)


async def _pictured(browser: Browser, texts: list[str], folder: Path) -> str | None:
    """As labels in the drawing of a graph."""
    nodes = {f"n{index}": {"type": "approval", "description": text} for index, text in enumerate(texts)}
    picture = folder / "graph.svg"
    picture.write_bytes(svg(Graph.model_validate({"name": "g", "nodes": nodes}), details=True))
    await browser.page.goto(picture.as_uri())
    if await browser.page.locator("svg").count() != 1:
        return "the picture is none"
    if (count := await browser.page.locator(_IN_A_PICTURE).count()) > 0:
        return f"{count} elements in the picture"
    return _done(browser)


def _done(browser: Browser) -> str | None:
    """What the page did that no text may make it do."""
    done = browser.done.copy()
    browser.done.clear()
    return f"the page did {done}" if done else None


async def _controls(tally: Tally, browser: Browser) -> None:
    """The same texts where nothing is escaped."""
    page = await browser.rendered("\n\n".join(CORPUS))
    tally.control("markup that is not escaped", seen=await page.locator(f"main :is({ACTIVE})").count() > 0)
    tally.control("a request of the page", seen=_done(browser) is not None)
    raw = '<svg xmlns="http://www.w3.org/2000/svg"><a href="javascript:alert(1)"><text>x</text></a></svg>'
    picture = browser.graphs / "raw.svg"
    picture.write_text(raw)
    await browser.page.goto(picture.as_uri())
    tally.control("a link in a picture", seen=await browser.page.locator(_IN_A_PICTURE).count() > 0)
    tally.control("an escape sequence", seen=on_a_terminal("a\x1b[2Jb") is not None)


MARKUP = Attack("markup", run, small=200, release=1_000, chunk=1_000)
