"""A run as a person sees it in Temporal's Web UI, in a real browser, and with the bare `temporal` command."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from temporalio.client import WorkflowHandle

from anabranch.console.codec.alone import CODEC_PATH, codec_alone
from anabranch.dev.devserver import DevServer, temporal_command
from anabranch.loopback import LOOPBACK, free_port, serving
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.acceptance.browsing import browser_page, code, worker_beside

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

GRAPH = """
name: shipping
nodes:
  validate_order:
    type: rule
    rules:
      - when: order_total > 0 && size(remarks) > 0
        then: {validated: true}
  price_parcel:
    type: rule
    rules:
      - when: weight > 1
        then: {price: "{{ weight * 2.5 }}"}
  pack_parcel:
    type: rule
    rules:
      - when: validated
        then: {packed: true}
edges:
  - {from: validate_order, to: price_parcel, when: validated}
  - {from: price_parcel, to: pack_parcel}
"""
# Long enough for its payloads to be compressed; the UI shows the keys in alphabetical order and cuts what is far below.
ORDER = {"order_total": 120, "remarks": "fragile " * 200, "weight": 4}


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run of the graph, the servers that know it, and a browser's page."""

    handle: WorkflowHandle[object, object]
    result: dict[str, object]
    address: str
    url: str
    codec_endpoint: str
    page: Page


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> AsyncIterator[Run]:
    graphs = tmp_path_factory.mktemp("graphs")
    (graphs / "shipping.yaml").write_text(GRAPH)
    settings = Settings(graphs=graphs)
    ui_port = free_port()
    async with AsyncExitStack() as stack:
        console_url = await stack.enter_async_context(serving(codec_alone([f"http://{LOOPBACK}:{ui_port}"])))
        endpoint = console_url + CODEC_PATH
        server = await stack.enter_async_context(await DevServer.start(ui_port=ui_port, codec_endpoint=endpoint))
        client = await connect(settings, target_host=server.address, namespace="default", api_key=None, tls=False)
        await stack.enter_async_context(worker_beside(settings, client))
        handle = await client.start_workflow("shipping", ORDER, id="order-1", task_queue=settings.task_queue)
        result = await handle.result()
        page = await stack.enter_async_context(browser_page(chromium))
        url = f"{server.ui_url}/namespaces/default/workflows/order-1/{handle.result_run_id}"
        yield Run(handle, result, server.address, url, endpoint, page)


async def test_the_timeline_names_every_node(run: Run) -> None:
    await run.page.goto(f"{run.url}/timeline")
    for node in ("validate_order", "price_parcel", "pack_parcel"):
        await expect(run.page.get_by_text(f"rule • {node}")).to_be_visible()


async def test_input_and_result_are_readable(run: Run) -> None:
    await run.page.goto(f"{run.url}/timeline")
    await expect(code(run.page, '"order_total": 120')).to_have_count(2)
    await expect(code(run.page, '"session_id": "order-1"')).to_have_count(1)
    assert run.result["data"] == {**ORDER, "validated": True, "price": 10, "packed": True}


async def test_a_node_s_task_and_changes_are_stored_compressed_and_shown_as_json_with_named_fields(run: Run) -> None:
    assert await stored_encodings(run) == {b"binary/zstd", b"binary/msgpack"}
    await run.page.goto(f"{run.url}/history")
    await run.page.get_by_text("validate_order", exact=True).first.click()
    task = code(run.page, '"address": "validate_order"')
    await expect(task).to_contain_text('"when": "order_total > 0 && size(remarks) > 0"')
    await expect(task).to_contain_text('"session_id": "order-1"')
    changes = code(run.page, '"base_version": 1')
    await expect(changes).to_contain_text('"validated": true')
    await expect(changes).to_contain_text('"by": "validate_order"')


async def test_the_temporal_command_shows_the_same_with_the_codec_endpoint_and_not_without(run: Run) -> None:
    show = ["workflow", "show", "--detailed", "--workflow-id", "order-1", "--address", run.address]
    readable = await temporal(*show, "--codec-endpoint", run.codec_endpoint)
    assert "input[0].address: validate_order\n" in readable
    assert "input[0].context.data.order_total: 120\n" in readable
    assert "result[0].set.price: 10\n" in readable
    assert "address: validate_order" not in await temporal(*show)


async def stored_encodings(run: Run) -> set[bytes]:
    """The encodings of what went to remote activities and came back, as the server keeps them."""
    stored: set[bytes] = set()
    async for event in run.handle.fetch_history_events():
        for payloads in (
            event.activity_task_scheduled_event_attributes.input,
            event.activity_task_completed_event_attributes.result,
        ):
            stored |= {payload.metadata["encoding"] for payload in payloads.payloads}
    return stored


async def temporal(*arguments: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run, [temporal_command(), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout
