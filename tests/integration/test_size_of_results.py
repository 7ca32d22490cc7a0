"""What a run returns and what it answers fit into what the server takes, however many conflicts there were."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import Any

from anabranch.activities import node
from anabranch.context.distributed import DistributedContext
from tests.integration.graph_kit import PATIENCE, Served, chain, edge, leaf

KEYS = 150


@node("noise")
async def noise(_: DistributedContext, seed: int, name: str) -> dict[str, Any]:
    """Write 1 MB that compresses badly."""
    source = random.Random(seed)
    return {f"{name}{index}": base64.b85encode(source.randbytes(5_200)).decode() for index in range(KEYS)}


def noisy(seed: int, name: str) -> dict[str, Any]:
    return leaf("noise", args={"seed": seed, "name": name})


async def test_a_result_tells_as_many_conflicts_as_fit_and_how_many_it_left_out(served: Served) -> None:
    """Two branches write other values to the same keys, twice: of 1.95 MB of data each value was in conflict."""
    names = [f"{side}{turn}" for turn in "ab" for side in ("left", "right")]
    graph = {
        "nodes": {name: noisy(index, name[-1]) for index, name in enumerate(names)},
        "edges": [edge(f"{side}a", f"{side}b") for side in ("left", "right")],
    }
    handle = await served.start(graph)
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert sum(len(value) for value in result["data"].values()) == 2 * KEYS * 6_500
    reported, left_out = result["conflicts"], result["conflicts_left_out"]
    assert len(reported) + left_out == 200
    settled = [f"{name}{index}" for name in "ab" for index in range(KEYS)]
    history = await handle.query("history")
    assert [entry["kind"] for entry in history][-1] == "merge"
    assert history[-1]["conflicts"][0]["path"] == "a0"
    assert history[0].get("left_out", {}).get("versions", 0) == 6 - len(history)
    for query in ("status", "context"):
        assert "left_out" not in await handle.query(query)
    assert 0 < left_out < 200
    assert [conflict["path"] for conflict in reported] == settled[-len(reported) :]


async def test_of_fifty_large_versions_the_newest_are_told(served: Served) -> None:
    """Five megabytes in all, of which the server accepts less than four in one answer."""
    steps = {f"n{index}": leaf("fill", args={"key": "k", "size": 100_000, "seed": index}) for index in range(50)}
    handle = await served.start(chain(**steps))
    await asyncio.wait_for(handle.result(), PATIENCE)
    history = await handle.query("history")
    assert [entry["by"] for entry in history if entry["set"]] == [f"n{index}" for index in range(30, 50)]
    assert history[0].get("left_out", {}).get("versions", 0) == 51 - len(history)
