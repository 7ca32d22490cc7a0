"""Traces in a worker of somebody else, by the plugin; and what a process without traces does not pay for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import opentelemetry.trace
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin
from temporalio.worker import Worker

from anabranch import AnabranchPlugin
from anabranch.dev.devserver import DevServer

PATIENCE = 100.0
GRAPH = """
name: shop
nodes:
  check: {type: rule, rules: [{then: {ok: true}}]}
  ship: {type: activity, activity: ship, args: {}}
edges: [{from: check, to: ship}]
"""


@activity.defn
async def ship(_: dict[str, Any]) -> dict[str, Any]:
    with opentelemetry.trace.get_tracer("theirs").start_as_current_span("parcel"):
        return {"shipped": True}


@workflow.defn
class Shop:
    @workflow.run
    async def run(self) -> None:
        with opentelemetry.trace.get_tracer("theirs").start_as_current_span("their work"):
            await workflow.execute_child_workflow("shop", {}, execution_timeout=timedelta(minutes=5))


@pytest.mark.parametrize("cached", [1000, 0])
async def test_graphs_in_a_worker_of_others_are_below_what_started_them(
    dev_server: DevServer, task_queue: str, tmp_path: Path, exported: InMemorySpanExporter, cached: int
) -> None:
    tmp_path.joinpath("shop.yaml").write_text(GRAPH)
    plugins = [OpenTelemetryPlugin(), AnabranchPlugin(graphs=tmp_path)]
    client = await Client.connect(dev_server.address, plugins=plugins)
    async with Worker(client, task_queue=task_queue, workflows=[Shop], activities=[ship], max_cached_workflows=cached):
        running = client.execute_workflow(Shop.run, id=task_queue, task_queue=task_queue)
        await asyncio.wait_for(running, PATIENCE)
    found = exported.get_finished_spans()
    by_id = {span.context.span_id: span for span in found if span.context is not None}
    assert len(by_id) == len(found)
    assert sorted({path(span, by_id) for span in found}) == [
        "their work",
        "their work/shop",
        "their work/shop/check",
        "their work/shop/check/rule",
        "their work/shop/load_graph",
        "their work/shop/ship",
        "their work/shop/ship/parcel",
    ]


def path(span: ReadableSpan, by_id: dict[int, ReadableSpan]) -> str:
    names = [span.name]
    while span.parent is not None:
        span = by_id[span.parent.span_id]
        names.append(span.name)
    return "/".join(reversed(names))


def test_a_worker_without_traces_does_not_import_what_records_and_sends_them() -> None:
    script = """
import sys
import anabranch.worker, anabranch.plugin, anabranch.cli.run, anabranch.events.service
from anabranch import spans
assert spans.tracer() is None
with spans.span("nothing", {"a": 1}) as around:
    around.note({"b": 2})
recorders = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "temporalio.contrib.opentelemetry")
print([name for name in sys.modules if name.startswith(recorders)])
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=True)
    assert ended.stdout.strip() == "[]"
