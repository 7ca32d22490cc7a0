"""Workflows written by hand, of no-op activities: six in a chain, and a diamond of five branches.

It imports nothing of this project: the workflow sandbox and the environments of other libraries load it.

- The floor keeps the state in the workflow: one key goes into each activity, and one comes out.
- The usual workflow hands the whole state into each activity and takes it back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from temporalio import activity, workflow

CHAIN: Final = ("validate", "inventory", "shipping", "payment", "status", "notify")
SPLIT: Final = "order"
BRANCHES: Final = ("stock", "price", "tax", "freight", "fraud")
JOIN: Final = "confirm"
SHAPES: Final[Mapping[str, tuple[str, ...]]] = {"chain": CHAIN, "diamond": (SPLIT, *BRANCHES, JOIN)}
"""The steps of each shape."""
TIMEOUT: Final = timedelta(seconds=30)


def state_of(size: int) -> dict[str, Any]:
    """A context of about `size` bytes of JSON: a list of orders that compresses as business data does."""
    rng = random.Random(size)
    state: dict[str, Any] = {"count": 1}
    rows: list[dict[str, Any]] = []
    while size - 100 * len(rows) > 50:
        rows.append({"sku": f"SKU-{rng.getrandbits(40):010x}", "price": round(rng.random() * 1000, 2),
                     "qty": rng.randrange(9), "note": rng.randbytes(12).hex()})  # fmt: skip
    return {**state, "rows": rows} if rows else state


def check(shape: str, state: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Each step has written its key, and what the run began with is all there."""
    assert result == {**state, **dict.fromkeys(SHAPES[shape], 2)}, result


@activity.defn
async def one_key(step: str, value: int) -> int:
    """The floor's activity: one key in, one out."""
    return value + 1


@activity.defn
async def whole_state(step: str, state: dict[str, Any]) -> dict[str, Any]:
    """The usual activity: the whole state in and out."""
    return {**state, step: state["count"] + 1}


async def _one(state: dict[str, Any], step: str) -> None:
    state[step] = await workflow.execute_activity(one_key, args=[step, state["count"]], start_to_close_timeout=TIMEOUT)


async def _whole(state: dict[str, Any], step: str) -> dict[str, Any]:
    return await workflow.execute_activity(whole_state, args=[step, state], start_to_close_timeout=TIMEOUT)


@workflow.defn(name="floor-chain")
class FloorChain:
    """One key in, one out."""

    @workflow.run
    async def run(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state."""
        for step in CHAIN:
            await _one(state, step)
        return state


@workflow.defn(name="floor-diamond")
class FloorDiamond:
    """One key in, one out."""

    @workflow.run
    async def run(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state."""
        await _one(state, SPLIT)
        await asyncio.gather(*(_one(state, step) for step in BRANCHES))
        await _one(state, JOIN)
        return state


@workflow.defn(name="usual-chain")
class UsualChain:
    """The whole state in and out."""

    @workflow.run
    async def run(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state."""
        for step in CHAIN:
            state = await _whole(state, step)
        return state


@workflow.defn(name="usual-diamond")
class UsualDiamond:
    """The whole state in and out."""

    @workflow.run
    async def run(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state."""
        state = await _whole(state, SPLIT)
        for branch in await asyncio.gather(*(_whole(state, step) for step in BRANCHES)):
            state = {**state, **branch}
        return await _whole(state, JOIN)
