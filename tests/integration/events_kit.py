"""A flow of events in this process, and the graph that it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import Client

from anabranch.brokers.address import parse_address
from anabranch.events.consumer import Flow
from anabranch.events.event import Reading
from anabranch.events.service import Route, events_queue, serve_events
from tests.integration.graph_kit import PATIENCE, worker_for

GRAPH = """
name: order
nodes:
  check: {type: rule, local: true, rules: [{when: quantity > 0, then: {valid: true}}, {otherwise: {valid: false}}]}
  total: {type: rule, local: true, rules: [{when: valid, then: {total: "{{ price * quantity }}"}}]}
edges: [{from: check, to: total, when: valid}]
"""
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def route(source: str, sink: str) -> Route:
    return Route(parse_address(source, "--from"), parse_address(sink, "--to"), "anabranch-order")


def flow(of: Route, task_queue: str, **changes: Any) -> Flow:
    topic = of.sink.topic
    queue = events_queue(task_queue, "order", of.source)
    return replace(Flow("order", topic, f"{topic}.dead", task_queue, queue, Reading()), **changes)


@asynccontextmanager
async def serving(client: Client, of: Route, chosen: Flow) -> AsyncGenerator[None]:
    """Consume and publish while the block runs; then drain."""
    stop = asyncio.Event()
    task = asyncio.create_task(serve_events(client, chosen, of, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE)


@asynccontextmanager
async def graph_worker(client: Client, task_queue: str, folder: Path) -> AsyncGenerator[None]:
    """A worker that serves the graph `order`."""
    (folder / "order.yaml").write_text(GRAPH)
    async with worker_for(client, task_queue, folder):
        yield
