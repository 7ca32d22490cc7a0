"""A graph played on a Temporal server with stand-ins for what its nodes call: what a run leaves there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.graph.dataflow.walk import levels
from anabranch.graph.load import LoadedGraph
from anabranch.graph.model import ApprovalNode, Graph, ReceiveNode
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.attending import Attendant, History, histories, is_paused
from anabranch.testkit.dry_run import play_through
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.rules import rule_evaluator
from anabranch.testkit.stand_ins import StandIns
from anabranch.transport.working import working
from anabranch.worker import build_worker

PATIENCE: Final = 120.0
"""Seconds after which a run that is played waits for something that nobody brings."""
_LOOK: Final = 0.1


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
    await asyncio.to_thread(_check_end, settings, loaded, data, given)
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


def _check_end(
    settings: Settings, loaded: LoadedGraph, data: Mapping[str, Json], given: Mapping[str, GivenOutcome]
) -> None:
    """Raise what a dry run does, and InputError for one that waits for an operator: so nobody waits for it."""
    with rule_evaluator(settings) as evaluate:
        played = play_through(plan_graph(loaded.graph, loaded.graphs), dict(data), given, evaluate)
    if played.done.finish is None:
        raise is_paused(played.state.waiting_for_operator[0])


async def histories_of(client: Client, run: str, run_id: str | None = None) -> list[History]:
    """Those of a run, whatever it continued as, and of its children."""
    return [events async for events in histories(client, run, run_id)]


async def _until_over(client: Client, handle: WorkflowHandle[Any, Any], stand_ins: StandIns) -> None:
    over = asyncio.ensure_future(_ended(handle))
    if any(_asks(plan.graph) for plan in stand_ins.plans.values()):
        attendant = Attendant(client, handle, stand_ins)
        while not over.done():
            await attendant.look()
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
