"""What tests of the Web UI share: a worker beside the test, a page of the system's Chromium, places on the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from playwright.async_api import Locator, Page, async_playwright, expect
from temporalio.client import Client

from anabranch.settings import Settings
from anabranch.worker import serve

QUIET_CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=30_000)  # a shared machine may take seconds to draw the first page


@asynccontextmanager
async def worker_beside(settings: Settings, client: Client) -> AsyncGenerator[None]:
    """A worker beside the test."""
    stop = asyncio.Event()
    worker = asyncio.create_task(serve(settings, client, stop))
    try:
        yield
    finally:
        stop.set()
        await worker


@asynccontextmanager
async def browser_page(chromium: str) -> AsyncGenerator[Page]:
    """A page of the system's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=QUIET_CHROMIUM)
        yield await browser.new_page(viewport={"width": 1400, "height": 1200})
        await browser.close()


def code(page: Page, text: str) -> Locator:
    """The code block that holds a text."""
    return page.locator(".cm-content").filter(has_text=text)
