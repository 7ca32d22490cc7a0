"""A graph played on a Temporal server with stand-ins for what its nodes call: what a run leaves there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, cast

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.graph.dataflow.walk import levels
from anabranch.graph.load import LoadedGraph
from anabranch.graph.model import ApprovalNode, Graph, ReceiveNode
from anabranch.settings import Settings
from anabranch.testkit.answers import Answers
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.stand_ins import StandIns
from anabranch.transport.working import working
from anabranch.worker import build_worker
from anabranch.workflows.interpreter.commands import AskPerson, AwaitEvent
from anabranch.workflows.interpreter.simulation import Arrived, Done, Failed

PATIENCE: Final = 120.0
"""Seconds after which a run that is played waits for something that nobody brings."""
_LOOK: Final = 0.1
History = Sequence[HistoryEvent]


async def rehearsed(
    client: Client,
    settings: Settings,
    loaded: LoadedGraph,
    data: Mapping[str, Json],
    given: Mapping[str, GivenOutcome],
    *,
    run: str,
) -> list[History]:
    """The histories of a run with this workflow id, and of its children. Raises InputError for one without an end."""
    stand_ins = StandIns(settings, loaded, given)
    try:
        async with working(build_worker(client, settings, stand_ins)):
            handle = await client.start_workflow(loaded.graph.name, dict(data), id=run, task_queue=settings.task_queue)
            async with asyncio.timeout(PATIENCE):
                await _until_over(client, handle, stand_ins)
            return await histories_of(client, run, handle.first_execution_run_id)
    except TimeoutError:
        raise InputError(
            "the run has no end: it waits for what nobody brings",
            place=f"graph {loaded.graph.name!r}",
            suggestion="give --outcomes with which it ends",
        ) from None
    finally:
        await stand_ins.aclose()


async def histories_of(client: Client, run: str, run_id: str | None = None) -> list[History]:
    """Those of a run, whatever it continued as, and of its children."""
    return [events async for events in _all(client, run, run_id)]


async def _until_over(client: Client, handle: WorkflowHandle[Any, Any], stand_ins: StandIns) -> None:
    over = asyncio.ensure_future(_ended(handle))
    if any(_asks(plan.graph) for plan in stand_ins.plans.values()):
        sent: set[tuple[str, str]] = set()
        while not over.done():
            await _answer(client, handle, stand_ins, sent)
            await asyncio.wait({over}, timeout=_LOOK)
    await over


async def _ended(handle: WorkflowHandle[Any, Any]) -> None:
    try:
        await handle.result()
    except WorkflowFailureError:
        return  # so do runs end, and are paid for


def _asks(graph: Graph) -> bool:
    """Whether a run may wait for people, or for events. To look costs queries, which may end a workflow task."""
    spec = graph.context
    if spec.conflict_resolution == "fail_on_conflict" or "fail_on_conflict" in spec.merge.values():
        return True
    return any(isinstance(node, ApprovalNode | ReceiveNode) for level in levels(graph) for _, _, node in level.nodes())


async def _answer(
    client: Client, handle: WorkflowHandle[Any, Any], stand_ins: StandIns, sent: set[tuple[str, str]]
) -> None:
    """Answer what the run and its children ask now, as the dry run does; each event is `sent` once."""
    async for events in _all(client, handle.id, handle.first_execution_run_id):
        started = events[0].workflow_execution_started_event_attributes
        asking = client.get_workflow_handle(started.workflow_id, run_id=started.original_execution_run_id)
        status: dict[str, Any] = await asking.query("status")
        for address in status.get("approvals", {}):
            answer = stand_ins.answers[status["graph"]](AskPerson(address, "", None, None))
            if not isinstance(answer, Done):
                raise InputError("a person who does not answer is not played", place=f"node {address!r}")
            given = {"node": address, "answer": answer.result}
            await asking.execute_update("complete_task", given)
        for address, wait in status.get("events", {}).items():
            if (asking.id, address) not in sent:
                sent.add((asking.id, address))
                await _send(asking, stand_ins.answers[status["graph"]], address, wait)
        for address, conflicts in status.get("conflicts", {}).items():
            for conflict in conflicts:
                chosen = {"node": address, "path": conflict["path"], "writer": conflict["candidates"][-1]["by"]}
                await asking.execute_update("resolve_conflict", chosen)


async def _send(asking: WorkflowHandle[Any, Any], answers: Answers, address: str, wait: Mapping[str, Any]) -> None:
    """Send what a `receive` waits for: the events that are given, else ones without data."""
    needs_all = wait.get("mode") == "all"
    names = tuple(wait["names"])
    answer = answers(AwaitEvent(address, names, needs_all, None))
    if isinstance(answer, Failed):
        raise InputError("an event that does not come is not played", place=f"node {address!r}")
    data = {each.name: each.data for each in answer.events} if isinstance(answer, Arrived) else {}
    for name in tuple(data) or (names if needs_all else names[:1]):
        await asking.signal("event", {"name": name, "id": address, "data": data.get(name, {})})


async def _all(client: Client, run: str, run_id: str | None) -> AsyncIterator[History]:
    """The history of a workflow run, of those that it continued as, and of their children."""
    waiting: list[tuple[str, str | None]] = [(run, run_id)]
    while waiting:
        handle = client.get_workflow_handle(waiting[0][0], run_id=waiting.pop(0)[1])
        events = [event async for event in handle.fetch_history_events()]
        yield cast("History", events)
        next_id = events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        waiting += [(handle.id, next_id)] if next_id else []
        for event in events:
            if event.HasField("child_workflow_execution_started_event_attributes"):
                child = event.child_workflow_execution_started_event_attributes.workflow_execution
                waiting.append((child.workflow_id, child.run_id))
