"""What the machine asks of the world, as Temporal has it: activities, timers, children, people."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, is_cancelled_exception

from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.values import Json
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.load import named_graphs
from anabranch.graph.model import MAX_SECONDS, ActivityNode, Graph
from anabranch.transport.node_protocol import NodeTask
from anabranch.workflows.interpreter.commands import (
    AskConflict,
    AskPerson,
    RunNode,
    StartChild,
    StartTimer,
    Work,
    Yield,
)
from anabranch.workflows.interpreter.state import iso_time
from anabranch.workflows.temporal.failures import NeverScheduled
from anabranch.workflows.temporal.flow_control import Outflow
from anabranch.workflows.temporal.node_options import local_options, remote_options, runs_locally

if TYPE_CHECKING:
    from anabranch.workflows.temporal.driver import GraphRun

_NEXT_TASK = timedelta(milliseconds=1)


class Effects:
    """The effects of one workflow run."""

    def __init__(self, run: GraphRun) -> None:
        self._run = run
        self._outflow = Outflow()
        self._children: dict[str, list[Any]] = {}
        """What children are given, by the name of their graph."""

    def of(self, command: Work | Yield) -> Coroutine[Any, Any, Any]:
        """What a command asks for, to be awaited; it raises what `failures.failure_of` understands."""
        if isinstance(command, RunNode):
            return self._activity(command)
        if isinstance(command, StartTimer):
            return workflow.sleep(command.seconds, summary=command.address)
        if isinstance(command, Yield):
            return workflow.sleep(_NEXT_TASK, summary="continue in another workflow task")
        if isinstance(command, StartChild):
            return self._child(command)
        return self._answer(command)

    async def _activity(self, command: RunNode) -> ChangeSet | Json:
        planned, node = command.planned, command.planned.node
        assert self._run.machine is not None  # noqa: S101 - only the machine commands
        defaults = self._run.machine.state.plan.graph.defaults
        if isinstance(node, ActivityNode):
            args = compile_template(_plain(node.args), planned.roots).render(command.line.data, command.roots)
            options: dict[str, Any] = {"args": args if isinstance(args, list) else [args]}
            name = node.activity
        else:
            options = {"args": [self._task(command)], "result_type": ChangeSet}
            name = node.type
        options |= {"activity_id": command.address, "summary": command.address}
        result: ChangeSet | Json
        if runs_locally(node, defaults) and not isinstance(node, ActivityNode):
            options |= local_options(node, defaults, undo=command.undo, deadline=command.deadline)
            options["result_type"] = RawValue
            return await self._local(f"{command.address} ({node.type})", options)
        options |= remote_options(node, defaults, undo=command.undo, deadline=command.deadline)
        result = await self._remote(name, options)
        return result

    async def _local(self, name: str, options: dict[str, Any]) -> ChangeSet:
        """The change set of a local activity. Raises NeverScheduled where it did not come to its turn."""
        begun = False
        try:
            async with self._outflow.local_passage() as note:
                begun = True
                result: RawValue = await workflow.execute_local_activity(name, **options)
                note(len(result.payload.data))
        except asyncio.CancelledError:
            if begun:
                raise
            raise NeverScheduled from None
        changes: ChangeSet = workflow.payload_converter().from_payload(result.payload, ChangeSet)
        return changes

    async def _remote(self, name: str, options: dict[str, Any]) -> Any:
        """The result of an activity on a worker. Raises NeverScheduled where the server never heard of it."""
        payloads = workflow.payload_converter().to_payloads(options["args"])
        scheduled_at: int | None = None
        try:
            async with self._outflow.passage(sum(len(payload.data) for payload in payloads)):
                scheduled_at = self._run.info.get_current_history_length()
                encoded = {**options, "args": [RawValue(payload) for payload in payloads]}
                return await workflow.execute_activity(name, **encoded)
        except (ActivityError, asyncio.CancelledError) as error:
            # In the task that was to schedule it; in a later one it may even have completed.
            if is_cancelled_exception(error) and scheduled_at in {None, self._run.info.get_current_history_length()}:
                raise NeverScheduled from None
            raise

    def _task(self, command: RunNode) -> NodeTask:
        planned, line, now = command.planned, command.line, self._run.now()
        assert self._run.pinned is not None  # noqa: S101 - loaded before anything runs
        reads = planned.reads
        data = line.data if reads is None else {key: line.data[key] for key in reads if key in line.data}
        metadata = ContextMetadata(created_at=self._run.created_at, updated_at=now, version=line.version)
        return NodeTask(
            address=command.address,
            node=planned.wire,
            context=DistributedContext(self._run.info.workflow_id, data=data, metadata=metadata),
            run=replace(self._run.run_info, time=iso_time(now)),
            key=command.key,
            reads=reads,
            roots={name: value for name, value in command.roots.items() if name != "run"},
            revision=self._run.pinned.revision,
        )

    async def _child(self, command: StartChild) -> Json:
        node = command.planned.node
        given = [dict(command.data), {"pinned": self._pinned(command.graph)}]
        payloads = workflow.payload_converter().to_payloads(given)
        try:
            await self._outflow.child_passage(sum(len(payload.data) for payload in payloads))
        except asyncio.CancelledError:
            raise NeverScheduled from None
        result: dict[str, Json] = await workflow.execute_child_workflow(
            command.graph,
            args=[RawValue(payload) for payload in payloads],
            id=f"{self._run.info.workflow_id}/{command.address}",
            task_queue=node.task_queue,
            static_summary=command.address,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return result["data"]

    def _pinned(self, name: str) -> list[Any]:
        """What a child is given: its graph, and those that it leads to."""
        if name not in self._children:
            assert self._run.machine is not None  # noqa: S101 - only the machine commands
            assert self._run.pinned is not None  # noqa: S101 - loaded before anything runs
            reached = _reached_from(name, self._run.machine.state.plan.library)
            self._children[name] = self._run.pinned.child(name, reached).to_wire()
        return self._children[name]

    def ask(self, command: AskPerson | AskConflict) -> None:
        """From now on, in this very workflow task, updates may answer."""
        self._run.answers[command.address] = asyncio.get_event_loop().create_future()
        if isinstance(command, AskPerson):
            self._run.asked[command.address] = command

    async def _answer(self, command: AskPerson | AskConflict) -> Any:
        answer = self._run.answers[command.address]
        # Always a timer: the timeline shows it, and a workflow task without any command would be replayed together with
        # the update that follows it, which then finds nothing to answer.
        timeout = timedelta(seconds=MAX_SECONDS if command.timeout is None else command.timeout)
        try:
            await workflow.wait_condition(answer.done, timeout=timeout, timeout_summary=command.address)
        except TimeoutError:
            if not answer.done():  # in the very task in which the time was up, an answer was accepted
                raise
        except asyncio.CancelledError:
            if isinstance(command, AskConflict):
                raise NeverScheduled from None  # the node stands at its join
            raise
        finally:
            del self._run.answers[command.address]
            self._run.asked.pop(command.address, None)
            self._run.choices.pop(command.address, None)
        return answer.result()


def _plain(args: tuple[Json, ...] | dict[str, Json]) -> Json:
    return list(args) if isinstance(args, tuple) else args


def _reached_from(name: str, library: Mapping[str, Graph]) -> list[str]:
    """The graphs that a graph names, and that those name in turn."""
    found = [name]
    for each in found:  # grows while it is walked
        found.extend(dict.fromkeys(other for _, other in named_graphs(library[each]) if other not in found))
    return found[1:]
