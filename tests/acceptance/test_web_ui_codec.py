"""What only the codec server can show in Temporal's Web UI: encrypted payloads, and those of a payload store."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from anabranch.cli.codec import codec_token
from anabranch.console.codec.alone import CODEC_PATH, codec_alone
from anabranch.dev.devserver import DevServer
from anabranch.loopback import LOOPBACK, free_port, serving
from anabranch.settings import Settings
from anabranch.transport.client import connect, converter_for
from tests.acceptance.browsing import browser_page, code, worker_beside
from tests.encryption_keys import key
from tests.json_values import unchecked

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

GRAPH = """
name: archive
nodes:
  count: {type: rule, rules: [{then: {counted: "{{ size(document) }}"}}]}
"""
DOCUMENT = os.urandom(500_000).hex()
"""A megabyte that zstd makes no smaller than half."""
TOKEN = "the-token-of-this-codec-server"


@dataclass(frozen=True, slots=True)
class Archive:
    """A finished run whose payloads are encrypted and in a store, and a browser's page."""

    url: str
    page: Page
    codec_endpoint: str


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def archive(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> AsyncIterator[Archive]:
    folder = tmp_path_factory.mktemp("archive")
    (folder / "archive.yaml").write_text(GRAPH)
    settings = Settings.model_validate(
        {
            "graphs": folder,
            "payload_store_url": f"sqlite:///{folder}/payloads.db",
            "encryption_keys": key(),
            "codec_token": TOKEN,
        }
    )
    ui_port = free_port()
    async with AsyncExitStack() as stack:
        converter = converter_for(settings)
        stack.push_async_callback(unchecked(converter.external_storage).drivers[0]._engine.dispose)
        app = codec_alone([f"http://{LOOPBACK}:{ui_port}"], converter, token=codec_token(settings))
        endpoint = await stack.enter_async_context(serving(app)) + CODEC_PATH
        server = await stack.enter_async_context(await DevServer.start(ui_port=ui_port, codec_endpoint=endpoint))
        client = await connect(settings, target_host=server.address, data_converter=converter)
        await stack.enter_async_context(worker_beside(settings, client))
        given = {"document": DOCUMENT}
        handle = await client.start_workflow("archive", given, id="archive-1", task_queue=settings.task_queue)
        assert (await handle.result())["data"]["counted"] == 1_000_000
        page = await stack.enter_async_context(browser_page(chromium))
        url = f"{server.ui_url}/namespaces/default/workflows/archive-1/{handle.result_run_id}"
        yield Archive(url, page, endpoint)


async def test_a_browser_that_has_signed_in_shows_an_encrypted_megabyte_of_the_payload_store(archive: Archive) -> None:
    page = archive.page
    await page.goto(f"{archive.url}/timeline")
    await expect(page.locator("#content").get_by_text("Codec Server could not connect")).to_be_visible()
    await sign_in(archive)
    await send_credentials(archive)
    await page.goto(f"{archive.url}/timeline")
    await expect(page.locator("#content").get_by_text("Codec Server could not connect")).to_have_count(0)
    sizes = page.get_by_role("button", name="KB")
    await expect(sizes).to_have_count(2)  # the input and the result are references, until somebody asks
    await expect(code(page, '"driverName": "anabranch-sql"')).to_have_count(2)
    async with page.expect_download() as saved:
        await sizes.first.click()
    file = await (await saved.value).path()
    assert json.loads(await asyncio.to_thread(file.read_text)) == {"document": DOCUMENT}
    await page.goto(f"{archive.url}/history")
    await page.get_by_text("count", exact=True).first.click()
    await expect(code(page, '"base_version": 1')).to_contain_text('"counted": 1000000')


async def sign_in(archive: Archive) -> None:
    """Open the codec server's page, and give the browser what it asks for."""
    answer = await archive.page.goto(f"{archive.codec_endpoint.replace('://', f'://me:{TOKEN}@')}/")
    assert answer is not None
    assert answer.status == 200
    await expect(archive.page.get_by_text("This browser is signed in.")).to_be_visible()


async def send_credentials(archive: Archive) -> None:
    """Set what that page says: this browser's own endpoint, with credentials."""
    page = archive.page
    await page.goto(f"{archive.url}/timeline")
    await page.get_by_role("button", name="Codec").first.click()
    await page.get_by_test_id("use-local-endpoint-input").check()
    await page.locator("#data-encoder-endpoint-input").fill(archive.codec_endpoint)
    await page.get_by_text("Include cross-origin credentials").click()
    await page.get_by_role("button", name="Apply").click()
