"""`anabranch replay-check`: which runs in flight this release replays, and which hold another definition."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from anabranch.dev.devserver import DevServer
from tests.inspection.test_live_commands import anabranch
from tests.integration.graph_kit import Handle, events, until_status, worker_for

NAME = "released"
GRAPH = """
name: {name}
nodes:
  ask: {{type: approval, prompt: "{prompt}"}}
  inner: {{type: graph, graph: {name}_inner}}
edges:
  - {{from: ask, to: inner}}
"""
INNER = "name: {name}_inner\nnodes: {{a: {{type: rule, rules: [{{then: {{x: {x}}}}}]}}}}\n"


@workflow.defn(name=NAME)
class OfAnotherProgram:
    """A workflow that has the name of the graph."""

    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(3600)


async def of_another_program(client: Client, task_queue: str) -> Handle:
    """A run of it that has begun."""
    queue = f"{task_queue}-other"
    async with Worker(
        client, task_queue=queue, workflows=[OfAnotherProgram], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        handle: Handle = await client.start_workflow(NAME, id=queue, task_queue=queue)
        for _ in range(2000):
            if any(each.event_type == EventType.EVENT_TYPE_TIMER_STARTED for each in await events(handle)):
                return handle
            await asyncio.sleep(0.05)
    raise AssertionError("the run has not begun in time")


async def test_runs_in_flight_are_replayed_and_those_of_another_definition_counted(
    client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path
) -> None:
    def write(prompt: str, x: int) -> None:
        (tmp_path / f"{NAME}.yaml").write_text(GRAPH.format(name=NAME, prompt=prompt))
        (tmp_path / f"{NAME}_inner.yaml").write_text(INNER.format(name=NAME, x=x))

    write("Ship?", 1)
    async with worker_for(client, task_queue, tmp_path) as served:
        older = await served.start_type(NAME, {})
        await until_status(older, "ask", "waiting")
    write("Ship it?", 1)
    async with worker_for(client, task_queue, tmp_path) as served:
        newer = await served.start_type(NAME, {})
        over = await served.start_type(NAME, {})
        for handle in (newer, over):
            await until_status(handle, "ask", "waiting")
        await over.terminate()
    file = tmp_path / f"{NAME}.yaml"

    async def checked(*runs: Handle, code: int = 0) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for _ in range(200):  # visibility knows of a run a little later
            done = await anabranch(dev_server, "replay-check", file, "--json")
            assert done.exit_code == code, (done.output, done.exception)
            told = json.loads(done.stdout)
            if {each["workflow_id"] for each in told["runs"]} == {run.id for run in runs}:
                return told
        raise AssertionError(told)

    told = await checked(older, newer)
    assert (told["graph"], told["running"], told["clean"], told["older"]) == (NAME, 2, 2, 1)
    assert {each["workflow_id"]: each["current"] for each in told["runs"]} == {older.id: False, newer.id: True}
    table = (await anabranch(dev_server, "replay-check", file)).stdout.splitlines()
    assert table[0] == f"{NAME}: 2 runs in flight, 2 replayed by this release"
    assert [" ".join(line.split()[:3]) for line in table[2:]] == ["1 this one", "1 another one"]
    write("Ship it?", 2)  # a graph that it names is another one now
    assert (await checked(older, newer))["older"] == 2

    foreign = await of_another_program(client, task_queue)
    told = await checked(older, newer, foreign, code=1)
    assert (told["running"], told["clean"], told["older"]) == (3, 2, 2)
    broken = next(each for each in told["runs"] if not each["clean"])
    assert (broken["workflow_id"], broken["code"]) == (foreign.id, "HISTORY_INVALID")
    named = await anabranch(dev_server, "replay-check", file)
    assert f"error[HISTORY_INVALID]: {foreign.id}: the history is not that of a graph's run" in named.stderr
    for handle in (older, newer, foreign):
        await handle.terminate()
