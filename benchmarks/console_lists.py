"""How quickly the console lists many runs, and shows its inbox: `python -m benchmarks.console_lists`.

10,000 runs are open on a server of this machine, and 200 of others wait for an approval.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import httpx2
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from anabranch.console.access.access import Access
from anabranch.console.app import console
from anabranch.console.services import Services
from anabranch.dev.devserver import DevServer
from anabranch.loopback import serving
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.search_attributes import GRAPH, SEARCH_ATTRIBUTES, STATE
from anabranch.worker import build_worker

OPEN: Final = 10_000
WAITING: Final = 200
QUEUE: Final = "console-lists"
ASKS: Final = "name: ask\nnodes: {ask: {type: approval, prompt: Go on}}\n"
_STATES: Final = ("running", "paused", "compensating")
_TIMES: Final = 20


async def measure(folder: Path) -> None:
    """Print the figures."""
    (folder / "ask.yaml").write_text(ASKS, encoding="utf-8")
    settings = Settings(graphs=folder, task_queue=QUEUE)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await DevServer.start(search_attributes=SEARCH_ATTRIBUTES))
        client = await connect(settings, target_host=server.address)
        await _open(client)
        services = Services.of(client, settings)
        stack.push_async_callback(services.close)
        url = await stack.enter_async_context(serving(console(services, Access())))
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60))
        async with build_worker(client, settings):
            await asyncio.gather(
                *(client.start_workflow("ask", {}, id=f"ask-{at}", task_queue=QUEUE) for at in range(WAITING))
            )
            for _ in range(600):
                if (await http.get("/api/inbox/count")).json()["runs"] == WAITING:
                    break
                await asyncio.sleep(0.5)
        for path in ("/api/runs", "/api/runs?state=paused&id=open-1", "/api/runs/counts"):
            print(f"{path}: {await _median(http, path):.0f} ms, the median of {_TIMES}")
        await _inbox(http)


async def _open(client: Client) -> None:
    """Start runs that no worker takes, as far as their search attributes tell in all states."""
    turns = asyncio.Semaphore(40)

    async def one(number: int) -> None:
        state = _STATES[number % len(_STATES)]
        found = TypedSearchAttributes([SearchAttributePair(GRAPH, "open"), SearchAttributePair(STATE, state)])
        async with turns:
            await client.start_workflow("open", {}, id=f"open-{number}", task_queue="nobody", search_attributes=found)

    await asyncio.gather(*map(one, range(OPEN)))


async def _median(http: httpx2.AsyncClient, path: str) -> float:
    return statistics.median([(await _timed(http, path))[0] for _ in range(_TIMES)])


async def _timed(http: httpx2.AsyncClient, path: str) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = (await http.get(path)).raise_for_status().json()
    return (time.perf_counter() - began) * 1000, answer


async def _inbox(http: httpx2.AsyncClient) -> None:
    began = time.perf_counter()
    first, found = await _timed(http, "/api/inbox")
    print(f"/api/inbox: the first answer after {first:.0f} ms")
    while found["unread"]:
        await asyncio.sleep(0.1)
        _, found = await _timed(http, "/api/inbox")
    print(f"/api/inbox: all {found['total']} questions after {time.perf_counter() - began:.1f} s")
    print(f"/api/inbox: {await _median(http, '/api/inbox'):.0f} ms from then on, the median of {_TIMES}")


def main() -> None:
    """Measure in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    main()
