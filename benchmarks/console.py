"""How quickly the page of a large run is shown, follows and scrubs: `python -m benchmarks.console`.

A graph of 500 nodes, whose `foreach` has it write 5,000 versions, is run on a server of this machine and shown in
Chromium. The run continues as new where the server suggests it, and the page follows.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright
from temporalio.client import Client

from anabranch.console.access.access import Access
from anabranch.console.app import console
from anabranch.console.services import Services
from anabranch.dev.devserver import FAST, DevServer
from anabranch.loopback import serving
from anabranch.settings import Settings
from anabranch.transport.client import connect

QUEUE = "console-benchmark"
NODES = 500
VERSIONS = 5000
_BROWSER = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_STEPS = 200
Position = tuple[str, int]
"""The id of a workflow run, and an event in it. Ids are in the order of the starts."""
_PAINTED = """() => {
  const drawn = document.querySelector('.canvas [data-address]');
  return drawn !== null && performance.getEntriesByName('first-contentful-paint').length > 0;
}"""
_SHOWN = """() => {
  const { run, event } = document.querySelector('.run-head')?.dataset ?? {};
  return [run ?? '', event ?? '0'];
}"""
_SCRUB = """async (steps) => {
  const slider = document.querySelector('input[type=range]');
  const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  const began = performance.now();
  for (let step = 0; step < steps; step += 1) {
    setter.call(slider, String(Math.floor((Number(slider.max) * step) / (steps - 1))));
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise(requestAnimationFrame);
  }
  return (steps * 1000) / (performance.now() - began);
}"""


def graph() -> dict[str, Any]:
    """Layers of ten nodes each, and at their end a node that writes a version for each item."""
    nodes: dict[str, Any] = {
        f"n{index}": {"type": "rule", "rules": [{"then": {f"k{index}": index}}]} for index in range(NODES - 2)
    }
    edges = [{"from": f"n{index}", "to": f"n{index + 10}"} for index in range(NODES - 12)]
    last = [{"from": f"n{NODES - 3 - index}", "to": "each"} for index in range(10)]
    step = {"type": "rule", "rules": [{"then": {"seen": "{{ item }}"}}]}
    nodes["each"] = {
        "type": "foreach",
        "items": "items",
        "max_concurrency": 10,
        "body": {"nodes": {"step": step}},
        "collect": {"into": "all", "value": "seen"},
    }
    return {"name": "large", "nodes": nodes, "edges": [*edges, *last]}


async def measure(stack: AsyncExitStack) -> None:
    """Print the figures."""
    server = await stack.enter_async_context(await DevServer.start(dynamic_config=FAST))
    client = await connect(Settings(), target_host=server.address)
    services = Services.of(client, Settings())
    url = await stack.enter_async_context(serving(console(services, Access())))
    stack.push_async_callback(services.close)
    playwright = await stack.enter_async_context(async_playwright())
    browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_BROWSER)
    stack.push_async_callback(browser.close)
    page = await browser.new_page(viewport={"width": 1440, "height": 900})
    await stack.enter_async_context(_worker(server.address))
    await client.start_workflow("large", {"items": [*range(VERSIONS - NODES)]}, id="large", task_queue=QUEUE)
    await page.goto(f"{url}/runs/large")
    lags = await _lags(client, page)
    await client.get_workflow_handle("large").result()
    lags.sort()
    _tell("lag behind the run, median", f"{statistics.median(lags) * 1000:.0f} ms")
    _tell("lag behind the run, 9 of 10 times at most", f"{lags[len(lags) * 9 // 10] * 1000:.0f} ms")
    _tell("lag behind the run, longest", f"{lags[-1] * 1000:.0f} ms")
    _tell("first paint of the closed run", f"{await _first_paint(page, f'{url}/runs/large') * 1000:.0f} ms")
    _tell("again, inspected already", f"{await _first_paint(page, f'{url}/runs/large') * 1000:.0f} ms")
    count = await page.evaluate("Number(document.querySelector('input[type=range]').max) + 1")
    for name in ("Node", "Context", "Log", "All nodes"):
        await page.get_by_role("tab", name=name, exact=True).click()
        rate = await page.evaluate(_SCRUB, _STEPS)
        _tell(f"scrubbing over {count} frames, {name.lower()} shown", f"{rate:.0f} frames/s")


@asynccontextmanager
async def _worker(address: str) -> AsyncGenerator[None]:
    """A worker in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(Path(folder, "large.yaml").write_text, json.dumps(graph()))
        environment = {**os.environ, "TEMPORAL_ADDRESS": address, "ANABRANCH_TASK_QUEUE": QUEUE}
        command = (sys.executable, "-m", "anabranch", "worker", "--graphs", folder)
        worker = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
        try:
            yield
        finally:
            worker.terminate()
            await worker.wait()


async def _lags(client: Client, page: Page) -> list[float]:
    """How far the page is behind, looked at ten times a second until the run is over and shown so.

    That is for how long the server has had the oldest event that the page does not know.
    """
    handle, found = client.get_workflow_handle("large"), list[float]()
    had: list[tuple[float, Position]] = []
    while True:
        described = await handle.describe()
        newest = described.run_id, described.raw_description.workflow_execution_info.history_length
        had.append((time.perf_counter(), newest))
        run_id, event = await page.evaluate(_SHOWN)
        shown = run_id, int(event)
        had = [each for each in had if each[1] > shown]
        found.append(time.perf_counter() - had[0][0] if had else 0.0)
        if described.close_time is not None and not had:
            return found
        await asyncio.sleep(0.1)


async def _first_paint(page: Page, url: str) -> float:
    """Until the drawing is there."""
    await page.goto("about:blank")
    began = time.perf_counter()
    await page.goto(url)
    await page.wait_for_function(_PAINTED)
    return time.perf_counter() - began


def _tell(what: str, figure: str) -> None:
    sys.stdout.write(f"{what:<48}{figure:>14}\n")
    sys.stdout.flush()


async def main() -> None:
    """Measure once."""
    async with AsyncExitStack() as stack:
        await measure(stack)


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # an interpreter that used Temporal's client may crash while it is torn down
