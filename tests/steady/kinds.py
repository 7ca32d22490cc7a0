"""The kinds of runs of the steady load: what each is given, what is done to it, and what must come of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from tests.steady.graphs import STEPS, TURNS

Handle = WorkflowHandle[Any, dict[str, Any]]
Given = Mapping[str, Any]
_LOOK_SECONDS = 0.1
_KEYS = 50
"""Different keys of the cached node."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What comes of a run: how it ends, the data that it then has beside what it was given, the rows of its ledger."""

    ends: Literal["completed", "failed"] = "completed"
    data: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[tuple[str, str], ...] = ()
    continues: bool = False
    """Whether it continues as new on the way."""
    is_shared: bool = False
    """Whether its context is in the store afterwards."""


async def _leave(handle: Handle, given: Given) -> None:
    """Nothing is done to it."""


async def _ask(handle: Handle, given: Given) -> None:
    """Ask while it runs."""
    for query in ("status", "context", "history"):
        await _asked(handle, query)


async def _sign(handle: Handle, given: Given) -> None:
    """Answer its question as soon as it asks."""
    while not _waits(await _asked(handle, "status")):  # noqa: ASYNC110 - it is asked of a server
        await asyncio.sleep(_LOOK_SECONDS)
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"signed": given["n"]}})


def _waits(status: Any) -> bool:
    return bool(status and status["nodes"].get("ask", {}).get("status") == "waiting")


async def _asked(handle: Handle, query: str) -> Any:
    """The answer; None where the server cannot ask yet, which it cannot before the run's first task."""
    with suppress(RPCError):
        return await handle.query(query)
    return None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of runs. `share` of a hundred runs are of it."""

    name: str
    graph: str
    share: int
    given: Callable[[random.Random], dict[str, Any]]
    expected: Callable[[Given], Expected]
    meet: Callable[[Handle, Given], Awaitable[None]] = _leave
    """What is done to a run while it goes on."""


def _n(rng: random.Random) -> dict[str, Any]:
    return {"n": rng.randrange(1_000)}


def _merged(given: Given) -> Expected:
    n = given["n"]
    total = n + 111
    return Expected(data={"total": total, "seen": total, "best": n + 7, "names": ["left", "middle", "right"]})


def _computed(given: Given) -> Expected:
    price, fee = given["n"] * 2, 0 if given["n"] > 100 else given["n"] * 2
    return Expected(data={"price": price, "fee": fee, "doubled": price * 2, "answer": "/call"})


_DONE = tuple((step, "do") for step in STEPS)
_UNDONE = tuple((step, "undo") for step in reversed(STEPS))
_ORDER = Expected(data={"reserve": 1, "charge": 1, "verdict": 1}, rows=_DONE)
KINDS = (
    Kind("order", "steady_order", 20, lambda _: {"ok": 1}, lambda _: _ORDER, _ask),
    Kind("order undone", "steady_order", 15, lambda _: {"ok": 0}, lambda _: Expected("failed", rows=_DONE + _UNDONE)),
    Kind(
        "foreach",
        "steady_lines",
        15,
        lambda rng: {"lines": [rng.randrange(100) for _ in range(10)]},
        lambda given: Expected(data={"prices": [line * 3 for line in given["lines"]], "done": True}, is_shared=True),
    ),
    Kind("branches", "steady_branches", 20, _n, _merged),
    Kind(
        "question",
        "steady_question",
        10,
        _n,
        lambda given: Expected(data={"signed": given["n"], "after": given["n"] * 2}),
        _sign,
    ),
    Kind("loop", "steady_loop", 5, lambda _: {"count": 0}, lambda _: Expected(data={"count": TURNS}, continues=True)),
    Kind("cached", "steady_cached", 15, lambda rng: {"n": 80 + rng.randrange(_KEYS), "doubled": None}, _computed),
)
