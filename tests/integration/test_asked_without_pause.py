"""Runs that are queried without pause while they start and run: each can be replayed as it was."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHistory, WorkflowQueryFailedError
from temporalio.service import RPCError

from tests.integration.graph_kit import PATIENCE, Handle, Served, edge, events, leaf, put, worker_for
from tests.replay.test_replay import replayer

AT_ONCE = 6
QUERIES = ("status", "context")


def lanes(rng: random.Random) -> dict[str, Any]:
    """Lanes beside each other in which local nodes, activities and timers take turns, of which few fail."""
    nodes, edges = dict[str, Any](), list[dict[str, Any]]()
    for lane in range(rng.randint(2, 4)):
        for place in range(rng.randint(3, 6)):
            nodes[f"n{lane}_{place}"] = _node(rng, f"k{lane}_{place}")
            if place:
                edges.append(edge(f"n{lane}_{place - 1}", f"n{lane}_{place}"))
    return {"nodes": nodes, "edges": edges}


def _node(rng: random.Random, key: str) -> dict[str, Any]:
    undo = {"compensate": put()} if rng.random() < 0.3 else {}
    kind = rng.random()
    if kind < 0.45:
        return {**put(**{key: 1}), "local": True, **undo}
    if kind < 0.75:
        return {**put(**{key: 1}), **undo}
    if kind < 0.95:
        return {"type": "wait", "for": f"{rng.choice([1, 3, 8])}ms"}
    fails = {"name": key, "how": "typed"}
    return leaf("break", args=fails, retry={"max_attempts": 1}, local=rng.random() < 0.5)


@asynccontextmanager
async def asked(handle: Handle) -> AsyncGenerator[list[str]]:
    """Ask without pause; gives what a query failed with."""
    failures: list[str] = []

    async def ask(query: str) -> None:
        while True:
            try:
                await handle.query(query)
            except WorkflowQueryFailedError as error:
                failures.append(str(error))
            except RPCError:  # the server keeps only some queries of a run
                await asyncio.sleep(0.01)

    asking = [asyncio.create_task(ask(query)) for query in QUERIES]
    try:
        yield failures
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def poke(handle: Handle, rng: random.Random) -> None:
    """Pause and resume it, write into it, or cancel it: at any moment, also while its graph is loaded."""
    for _ in range(rng.randint(0, 3)):
        await asyncio.sleep(rng.random() * 0.03)
        kind = rng.random()
        with contextlib.suppress(RPCError):  # the run may be over
            if kind < 0.5:
                await handle.signal("pause")
                await handle.signal("resume")
            elif kind < 0.6:
                await handle.cancel()


async def played(served: Served, seed: int, limit: asyncio.Semaphore) -> tuple[WorkflowHistory, list[str]]:
    rng = random.Random(seed)
    async with limit:
        handle = await served.start(lanes(rng))
        async with asked(handle) as failures:
            poking = asyncio.create_task(poke(handle, rng))
            with contextlib.suppress(WorkflowFailureError):
                await asyncio.wait_for(handle.result(), PATIENCE)
            await poking
    return WorkflowHistory(handle.id, await events(handle)), failures


@pytest.mark.parametrize("runs", [20, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_runs_that_are_asked_without_pause_replay_as_they_were(
    client: Client, task_queue: str, tmp_path: Path, runs: int
) -> None:
    limit = asyncio.Semaphore(AT_ONCE)
    async with worker_for(client, task_queue, tmp_path) as served:
        found = await asyncio.gather(*(played(served, seed, limit) for seed in range(runs)))
    disagree = {}
    for seed, (history, failures) in enumerate(found):
        replayed = await replayer().replay_workflow(history, raise_on_replay_failure=False)
        if replayed.replay_failure is not None or failures:
            disagree[seed] = (replayed.replay_failure, failures)
            (tmp_path / f"{seed}.json").write_text(history.to_json())  # pytest keeps it for a while, to look at
    assert len(found) == runs
    assert disagree == {}
