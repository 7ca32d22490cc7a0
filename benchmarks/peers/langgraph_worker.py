"""LangGraph's graphs as Temporal workflows, by Temporal's plugin, as its page shows it: each node is an activity.

It runs in the environment that `make peers` builds: `python -m benchmarks.peers.langgraph_worker ADDRESS QUEUE`.
"""

# The libraries are in that environment only, so that here they have no types.
# mypy: disable-error-code="import-not-found"
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, TypedDict

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.hand_written import BRANCHES, CHAIN, JOIN, SHAPES, SPLIT, TIMEOUT

with workflow.unsafe.imports_passed_through():
    from langgraph.graph import END, START, StateGraph
    from temporalio.langgraph import LangGraphPlugin, graph

Node = Callable[["State"], Awaitable[dict[str, int]]]


class _Begun(TypedDict):
    count: int


class State(_Begun, total=False):
    """What a run begins with, and a key for each step of either shape."""

    rows: list[dict[str, Any]]
    validate: int
    inventory: int
    shipping: int
    payment: int
    status: int
    notify: int
    order: int
    stock: int
    price: int
    tax: int
    freight: int
    fraud: int
    confirm: int


def _node(step: str) -> Node:
    async def run(state: State) -> dict[str, int]:
        return {step: state["count"] + 1}

    # The plugin knows a node by this name, and takes no function of a function.
    run.__qualname__ = step
    return run


def _graph(shape: str) -> StateGraph:
    built = StateGraph(State)
    for step in SHAPES[shape]:
        options = {"execute_in": "activity", "start_to_close_timeout": TIMEOUT}
        built.add_node(step, _node(step), metadata=options)
    if shape == "chain":
        built.add_edge(START, CHAIN[0])
        for source, target in pairwise(CHAIN):
            built.add_edge(source, target)
        built.add_edge(CHAIN[-1], END)
        return built
    built.add_edge(START, SPLIT)
    for branch in BRANCHES:
        built.add_edge(SPLIT, branch)
    built.add_edge(list(BRANCHES), JOIN)
    built.add_edge(JOIN, END)
    return built


@workflow.defn(name="langgraph-chain")
class Chain:
    """The six steps."""

    @workflow.run
    async def run(self, state: dict[str, Any]) -> Any:
        """Return the state."""
        return await graph("chain").compile().ainvoke(state)


@workflow.defn(name="langgraph-diamond")
class Diamond:
    """The five branches."""

    @workflow.run
    async def run(self, state: dict[str, Any]) -> Any:
        """Return the state."""
        return await graph("diamond").compile().ainvoke(state)


async def main(address: str, task_queue: str) -> None:
    """Work until the process is ended."""
    plugin = LangGraphPlugin(graphs={shape: _graph(shape) for shape in SHAPES})
    client = await Client.connect(address, plugins=[plugin])
    async with Worker(client, task_queue=task_queue, workflows=[Chain, Diamond]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    from benchmarks.peers import langgraph_worker  # the plugin takes no functions of `__main__`

    asyncio.run(langgraph_worker.main(*sys.argv[1:]))
