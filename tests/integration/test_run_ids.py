"""A graph's own workflow id on a real server: what another run of that id means, for each kind of start."""

from __future__ import annotations

import asyncio
import json

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from anabranch.console.access.access import Access
from anabranch.dev.devserver import DevServer
from anabranch.errors import RunExists
from anabranch.events.event_workflow import EventContext, EventOutcome, EventRun, EventWorkflow
from anabranch.graph.policies import Conflict, Reuse, RunId
from anabranch.settings import Settings
from anabranch.transport.starting import Start, start_run
from tests.command import anabranch
from tests.console.kit import OWN, asking
from tests.integration.graph_kit import PATIENCE, Served, chain, put, until_status

ASK = {"type": "approval", "prompt": "Well?"}
ANSWER = {"node": "ask", "answer": {}}


async def started(served: Served, reuse: Reuse = "allow_duplicate", conflict: Conflict = "fail") -> Start:
    said = RunId(value="order", reuse=reuse, conflict=conflict)
    given = {"graph": {"name": "g", **chain(first=put(n=1), ask=ASK)}}
    made = f"{served.task_queue}/order-7"
    return await start_run(served.client, "GraphWorkflow", given, made, said, task_queue=served.task_queue)


async def test_while_a_run_is_under_way_another_start_is_refused_joins_it_or_takes_its_place(served: Served) -> None:
    first = await started(served)
    await until_status(first.handle, "ask", "waiting")
    with pytest.raises(RunExists, match="is under way"):
        await started(served)
    joined = await started(served, conflict="use_existing")
    assert (first.is_new, joined.is_new, joined.handle.id) == (True, False, first.handle.id)
    other = await started(served, conflict="terminate_existing")
    assert other.is_new
    replaced = served.client.get_workflow_handle(first.handle.id, run_id=first.handle.first_execution_run_id)
    assert (await replaced.describe()).status is WorkflowExecutionStatus.TERMINATED
    await until_status(other.handle, "ask", "waiting")
    await other.handle.execute_update("complete_task", ANSWER)
    await asyncio.wait_for(other.handle.result(), PATIENCE)
    with pytest.raises(RunExists, match=r"has completed, and the graph's `id` says `reuse: reject_duplicate`"):
        await started(served, "reject_duplicate", "use_existing")
    with pytest.raises(RunExists, match="`reuse: allow_duplicate_failed_only`"):
        await started(served, "allow_duplicate_failed_only")
    again = await started(served)
    await until_status(again.handle, "ask", "waiting")
    await again.handle.cancel()
    await asyncio.wait([asyncio.ensure_future(again.handle.result())])
    assert (await started(served, "allow_duplicate_failed_only")).is_new


async def outcome(served: Served, event: str, conflict: Conflict) -> EventOutcome:
    """What became of an event whose run has an id of the graph's own."""
    context, own = EventContext("s", {}, 0, 0, 1), f"{served.task_queue}/7"
    run = EventRun("ask", event, served.task_queue, context, "json", "1", None, "dead", {}, own, conflict=conflict)
    queue = f"{served.task_queue}/events"
    return await served.client.execute_workflow(EventWorkflow.run, run, id=f"{queue}/{event}", task_queue=queue)


async def test_an_event_whose_run_is_there_is_done_with_where_the_graph_says_so(served: Served) -> None:
    served.write("ask", "{name: ask, nodes: {ask: {type: approval, prompt: p}}}")
    worker = Worker(
        served.client,
        task_queue=f"{served.task_queue}/events",
        workflows=[EventWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        first = asyncio.ensure_future(outcome(served, "1", "fail"))
        handle = served.client.get_workflow_handle(f"{served.task_queue}/7")
        await until_status(handle, "ask", "waiting")
        second = await asyncio.wait_for(outcome(served, "2", "use_existing"), PATIENCE)
        await handle.execute_update("complete_task", ANSWER)
        done = await asyncio.wait_for(first, PATIENCE)
    run = f"{served.task_queue}/7"
    assert (second, done) == (EventOutcome(run, "existing", None), EventOutcome(run, "completed", None))


async def test_the_console_starts_an_order_once(served: Served) -> None:
    ask = "nodes: {ask: {type: approval, prompt: p}}"
    served.write("order", f'name: order\nid: "{{{{ queue }}}}/{{{{ n }}}}"\n{ask}\n')
    served.write("bill", f'name: bill\nid: {{value: "{{{{ queue }}}}", conflict: use_existing}}\n{ask}\n')
    settings = Settings(graphs=served.graphs, task_queue=served.task_queue)
    body = {"input": json.dumps({"queue": served.task_queue, "n": 7})}
    async with asking(Access(login="ada"), settings, client=served.client) as http:
        told = [
            await http.post(f"/api/graphs/start/{graph}", json=body, headers=OWN)
            for graph in ("order", "order", "bill", "bill")
        ]
    order, again, bill, joined = told
    assert (order.status_code, order.json()["workflow_id"]) == (200, f"{served.task_queue}/7")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "RUN_EXISTS")
    assert (bill.status_code, joined.status_code, joined.json()) == (200, 200, bill.json())


async def test_the_command_runs_an_order_once(served: Served, dev_server: DevServer) -> None:
    rule = "{type: rule, rules: [{then: {m: 1}}]}"
    served.write("order", f'name: order\nid: {{value: "{{{{ n }}}}", reuse: reject_duplicate}}\nnodes: {{a: {rule}}}\n')
    environ = {"TEMPORAL_ADDRESS": dev_server.address, "ANABRANCH_TASK_QUEUE": served.task_queue}

    said, order = RunId(value="{{ n }}", reuse="reject_duplicate"), served.task_queue
    given = await start_run(served.client, "order", {"n": order}, order, said, task_queue=served.task_queue)
    await asyncio.wait_for(given.handle.result(), PATIENCE)

    def run() -> tuple[int, str]:
        path = served.graphs / "order.yaml"
        with anabranch("run", path, "--set", f"n={order}", "--json", environ=environ) as command:
            return command.leave(), command.stderr

    code, told = await asyncio.to_thread(run)
    assert (code, f"error[RUN_EXISTS]: --id: a run with the id {order!r} has completed" in told) == (1, True)
