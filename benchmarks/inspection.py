"""How long it takes to rebuild a run from its history: `python -m benchmarks.inspection`.

Runs are played on a server of this machine first: a chain of three nodes, a loop of 830 turns, and 500 parallel nodes.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Any

from temporalio.client import Client

from anabranch.dev.devserver import FAST, DevServer
from anabranch.inspection.growing import Growing
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.runs import Runs
from anabranch.settings import Settings, on_this_machine
from anabranch.transport.client import connect
from anabranch.worker import build_worker

QUEUE = "inspection-benchmark"
LONG = {"limit.historyCount.suggestContinueAsNew": "40000"}
_ROUNDS = 5
_NEW = 12
"""Events of a run that has grown."""


def graphs() -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Each with its name and its input."""
    step = {"type": "rule", "local": False, "rules": [{"then": {"n": "{{ n + 1 }}"}}]}
    edges = [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}]
    yield "chain", {"nodes": dict.fromkeys("abc", step), "edges": edges}, {"n": 0}
    loop = {"type": "while", "while": "n < 830", "max_iterations": 1000, "body": {"nodes": {"up": step}}}
    yield "loop", {"nodes": {"loop": loop}}, {"n": 0}
    wide = {
        f"n{index}": {"type": "rule", "local": False, "rules": [{"then": {f"k{index}": 1}}]} for index in range(500)
    }
    yield "wide", {"nodes": wide}, {}


async def histories(client: Client) -> list[History]:
    """The graphs' histories."""
    found: list[History] = []
    async with build_worker(client, on_this_machine(Settings(task_queue=QUEUE))):
        for name, graph, data in graphs():
            given = {"graph": {"name": name, **graph}, "data": data}
            await client.execute_workflow("GraphWorkflow", given, id=name, task_queue=QUEUE)
            found.append(await Runs(client, Inspector(client.data_converter)).history(name))
    return found


async def measure() -> None:
    """Print the median time of each history."""
    async with await DevServer.start(dynamic_config={**FAST, **LONG}) as server:
        client = await connect(Settings(), target_host=server.address)
        for history in await histories(client):
            rounds = [await timed(client, history) for _ in range(_ROUNDS + 1)]
            seconds, frames = statistics.median(each for each, _ in rounds[1:]), rounds[0][1]
            again = statistics.median([await timed_again(client, history) for _ in range(_ROUNDS)])
            told = f"{len(history.events):>6} events, {frames:>5} frames"
            sys.stdout.write(f"{history.workflow_id:<8}{told}{seconds * 1000:>9.0f} ms, again {again * 1000:.0f} ms\n")


async def timed(client: Client, history: History) -> tuple[float, int]:
    """How many seconds an inspection takes, and how many frames it has."""
    began = time.perf_counter()
    inspection = await Inspector(client.data_converter).inspect(history)
    return time.perf_counter() - began, len(inspection.frames)


async def timed_again(client: Client, history: History) -> float:
    """How many seconds it takes when all but the newest events were looked at before."""
    inspector, growing = Inspector(client.data_converter), Growing()
    async with aclosing(growing):
        await inspector.inspect(history.until(max(1, len(history.events) - _NEW)), growing)
        began = time.perf_counter()
        await inspector.inspect(history, growing)
        return time.perf_counter() - began


if __name__ == "__main__":
    asyncio.run(measure())
    sys.stdout.flush()
    os._exit(0)  # an interpreter that used Temporal's client may crash while it is torn down
