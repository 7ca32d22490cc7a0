"""A worker in this process, handlers for `python` nodes, and what a run's history shows."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from anabranch.activities import node
from anabranch.activities.standard import node_activities
from anabranch.context.distributed import DistributedContext
from anabranch.errors import NodeError, Unavailable
from anabranch.limits import RUN_LIMITS, RunLimits
from anabranch.settings import Settings, on_this_machine
from anabranch.transport.node_protocol import NodeTask
from anabranch.transport.working import working
from anabranch.worker import build_worker, sandbox
from tests.json_values import number

MODES = ("cached", "replayed in the sandbox")
"""How workflow code runs: as in production; or from the start of its history at every task, in the strict sandbox."""
BOTH_WAYS = (MODES[0], pytest.param(MODES[1], marks=pytest.mark.slow))
"""Parameters of tests that `make test` runs the first way, and `make slow` the second."""
EVERY_RUN_REPLAYED = os.environ.get("ANABRANCH_TEST_EVERY_RUN_REPLAYED") == "1"
"""Whether all workers of tests run workflow code the second way, whatever their tests say (`make storm`)."""

PATIENCE = 200.0 if EVERY_RUN_REPLAYED else 100.0
"""Seconds that a run of well under a second may take on a busy machine. Replayed from its start, a large one takes more
with each task."""

SUGGESTED_AT = 24
"""From how many events on the `impatient_server` suggests to continue as new: at the first look, after eight nodes."""

Handle = WorkflowHandle[Any, dict[str, Any]]
attempts: Counter[str] = Counter()
"""How often a handler was called, by the `name` in its arguments."""
gates: dict[str, asyncio.Event] = {}


@dataclass(frozen=True)
class Served:
    """A worker that serves the graphs of a folder."""

    client: Client
    task_queue: str
    graphs: Path

    def write(self, name: str, text: str) -> None:
        (self.graphs / f"{name}.yaml").write_text(text)

    async def start(self, graph: Mapping[str, Any] | str, data: Mapping[str, Any] | None = None) -> Handle:
        """Start a graph that the input holds or names."""
        named = graph if isinstance(graph, str) else {"name": "g", **graph}
        return await self.start_type("GraphWorkflow", {"graph": named, "data": dict(data or {})})

    async def start_type(self, workflow_type: str, *args: Any) -> Handle:
        workflow_id = f"{self.task_queue}-{len(self.started)}"
        self.started.append(workflow_id)
        return await self.client.start_workflow(workflow_type, args=args, id=workflow_id, task_queue=self.task_queue)

    async def run(self, graph: Mapping[str, Any] | str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
        handle = await self.start(graph, data)
        return await asyncio.wait_for(handle.result(), PATIENCE)

    async def error(self, graph: Mapping[str, Any] | str, data: Mapping[str, Any] | None = None) -> ApplicationError:
        return await error_of(await self.start(graph, data))

    @property
    def started(self) -> list[str]:
        return _started.setdefault(self.task_queue, [])


_started: dict[str, list[str]] = {}


@contextmanager
def _nothing_collected() -> Generator[None]:
    """What is collected while the sandbox imports everything anew may import too: Python 3.11 loses a lock then."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@asynccontextmanager
async def worker_for(
    client: Client,
    task_queue: str,
    graphs: Path,
    *,
    mode: str = MODES[0],
    limits: RunLimits = RUN_LIMITS,
    **environment: Any,
) -> AsyncGenerator[Served]:
    """Serve `graphs` on `task_queue` while the block runs; `environment` are fields of Settings."""
    strict = EVERY_RUN_REPLAYED or mode != MODES[0]
    cache: dict[str, Any] = {"max_cached_workflows": 0} if strict else {}
    alone: dict[str, Any] = {"elsewhere_seconds": 0, "graph_elsewhere_seconds": 0}  # what it lacks nobody has
    given = Settings(task_queue=task_queue, graphs=graphs, **cache, **(alone | environment))
    settings = on_this_machine(given)
    activities = node_activities(settings, limits=limits)
    try:
        with _nothing_collected():
            worker = build_worker(client, settings, activities, runner=sandbox(strict=strict))
        async with working(worker, activities.running):
            yield Served(client, task_queue, graphs)
    finally:
        await activities.aclose()


async def error_of(handle: Handle) -> ApplicationError:
    """The error that a failed run ends with."""
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause


async def runs_of(client: Client, handle: Handle) -> int:
    """How many workflow runs one run of a graph took so far; each but the last one continued as new."""
    first, count = (await handle.describe()).run_id, 1
    while True:
        history = client.get_workflow_handle(handle.id, run_id=first).fetch_history_events()
        events = [event async for event in history]
        started = events[0].workflow_execution_started_event_attributes
        if not started.continued_execution_run_id:
            return count
        first, count = started.continued_execution_run_id, count + 1


async def until_status(handle: Handle, node_id: str, status: str) -> dict[str, Any]:
    """Wait until a node has this status, and for good; the answer of the query `status`.

    The run itself may not have started yet. A query may be answered ahead of the workflow task that makes it so.
    """
    reported: dict[str, Any] = {}
    for _ in range(2000):
        try:
            reported = await handle.query("status")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        if reported.get("nodes", {}).get(node_id, {}).get("status") == status:
            described = (await handle.describe()).raw_description
            if not described.HasField("pending_workflow_task"):
                return reported
        await asyncio.sleep(0.05)
    raise AssertionError(f"node {node_id!r} is not {status!r} in time: {reported}")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition of this process holds."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the condition does not hold in time")


@asynccontextmanager
async def gate(name: str) -> AsyncGenerator[asyncio.Event]:
    """What `pass_gate` nodes of this name wait for; it opens at the end, however the test ends."""
    gates[name] = asyncio.Event()
    try:
        yield gates[name]
    finally:
        gates.pop(name).set()


def leaf(handler: str = "put", *, reads: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """A `python` node; `args` are its handler's."""
    return {"type": "python", "handler": handler, "reads": reads, **fields}


def put(**values: Any) -> dict[str, Any]:
    """A node that writes constants (and `{{ holes }}`)."""
    return leaf(args=values)


def halves(count: int, batch: int, **fields: Any) -> dict[str, Any]:
    """A `foreach` over numbers in batches, in which every odd one fails."""
    return {
        "type": "foreach",
        "items": str([*range(count)]),
        "batch": batch,
        "body": {"nodes": {"halve": leaf("halve", args={"numbers": "{{ items }}"})}},
        "item_errors": "answers.map(each, each.error)",
        "collect": {"into": "halves", "value": "answers.map(each, each.half)"},
        "on_item_failure": "collect",
        "failed": "odd",
        **fields,
    }


def edge(source: str, target: str, **fields: Any) -> dict[str, Any]:
    return {"from": source, "to": target, **fields}


def chain(**nodes: dict[str, Any]) -> dict[str, Any]:
    """A graph of the nodes one after the other."""
    return {"nodes": nodes, "edges": [edge(*pair) for pair in pairwise(nodes)]}


def diamond(left: dict[str, Any], right: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Two parallel nodes between `start` and `join`."""
    pairs = [("start", "left"), ("start", "right"), ("left", "join"), ("right", "join")]
    nodes = {"start": put(), "left": left, "right": right, "join": put()}
    return {"nodes": nodes, "edges": [edge(*pair) for pair in pairs], **fields}


async def events(handle: Handle) -> list[HistoryEvent]:
    return [event async for event in handle.fetch_history_events()]


async def scheduled(client: Client, handle: Handle) -> dict[str, HistoryEvent]:
    """The events of scheduled activities, by activity id."""
    found = [event for event in await events(handle) if event.HasField("activity_task_scheduled_event_attributes")]
    return {event.activity_task_scheduled_event_attributes.activity_id: event for event in found}


async def tasks(client: Client, handle: Handle) -> dict[str, NodeTask]:
    """What crossed to the activities, by address."""
    found: dict[str, NodeTask] = {}
    for address, event in (await scheduled(client, handle)).items():
        payloads = event.activity_task_scheduled_event_attributes.input.payloads
        (found[address],) = await client.data_converter.decode(payloads, [NodeTask])
    return found


# handlers


@node("put")
async def put_values(_: DistributedContext, **values: Any) -> dict[str, Any]:
    return values


@node("halve")
async def halve(_: DistributedContext, numbers: list[int]) -> dict[str, Any]:
    """Of each number its half or, where it is odd, an error: as a service that takes a batch answers."""
    return {"answers": [{"half": each // 2, "error": f"{each} is odd" if each % 2 else None} for each in numbers]}


@node("copy")
async def copy_context(context: DistributedContext, into: str) -> dict[str, Any]:
    """Write what crossed under one key."""
    return {into: dict(context.data)}


@node("add")
async def add(context: DistributedContext, key: str, amount: int) -> None:
    context.set(key, number(context.get(key)) + amount)


@node("fill")
async def fill(_: DistributedContext, key: str, size: int, seed: int | None = None) -> dict[str, Any]:
    """Write so many characters, which do not compress where there is a `seed`."""
    return {key: "x" * size if seed is None else random.Random(seed).randbytes(size // 2).hex()}


@node("pass_gate")
async def pass_gate(_: DistributedContext, name: str, **values: Any) -> dict[str, Any]:
    attempts[name] += 1
    await gates[name].wait()
    return values


@node("place")
async def place(_: DistributedContext) -> dict[str, Any]:
    """Write under the node's id where it ran."""
    info = activity.info()
    return {info.activity_id.replace("-", "_"): info.task_queue}


@node("break")
async def break_down(_: DistributedContext, name: str, how: str = "definite", until: int = 1000) -> dict[str, Any]:
    """Fail until the attempt `until`."""
    attempts[name] += 1
    attempt = activity.info().attempt
    if attempt >= until:
        return {"attempt": attempt}
    if how == "definite":
        raise NodeError("it is broken", suggestion="fix it")
    if how == "unavailable":
        raise Unavailable("nobody answers")
    if how == "typed":
        raise ApplicationError("no stock", {"left": 0}, type="NO_STOCK")
    raise RuntimeError("something else")


@node("break_first")
async def break_first(_: DistributedContext) -> dict[str, Any]:
    """Fail in the first attempt of the composite around it, a child workflow or not."""
    info = activity.info()
    if "~" not in f"{info.workflow_id}/{info.activity_id}":
        raise ApplicationError("no stock", type="NO_STOCK")
    return {"arrived": info.activity_id}


@node("dawdle")
async def dawdle(_: DistributedContext, name: str) -> None:
    """Never end; note the beginning and the cancellation."""
    attempts[f"{name} begun"] += 1
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    attempts[f"{name} cancelled"] += 1
    raise asyncio.CancelledError
