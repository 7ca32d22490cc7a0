"""The Temporal driver around the machine: commands become activities, timers and waits; outcomes become events."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from context.changes import ChangeSet
from context.distributed import ContextMetadata, DistributedContext
from context.values import Json, Missing, Path
from errors import AnabranchError
from graph.model import MAX_SECONDS, ActivityNode, Retry
from graph.plan import plan_of
from graph.templates import compile_template
from transport.node_io import GraphRequest, NodeTask, PinnedGraph, RunInfo
from workflows import carry, views
from workflows.carry import dump_choices, load_choices
from workflows.commands import (
    AskConflict,
    AskPerson,
    CancelWork,
    Command,
    Finish,
    RunNode,
    StartChild,
    StartTimer,
)
from workflows.failures import NeverScheduled, failure_of, run_error
from workflows.machine import Machine, iso_time
from workflows.node_options import local_options, remote_options, retry_policy, runs_locally
from workflows.outflow import Outflow
from workflows.patches import LEFT_UNDONE_FAILS
from workflows.renewal import Renewal
from workflows.scope import Status
from workflows.sharing import Sharing

_LOAD = Retry(max_attempts=10)
_LOAD_TIMEOUT = timedelta(seconds=10)
_NEXT_TASK = timedelta(milliseconds=1)


class GraphRun:
    """One workflow run. `machine` is None until the graph is loaded."""

    def __init__(self) -> None:
        self.machine: Machine | None = None
        self.pinned: PinnedGraph | None = None
        self.info = workflow.info()
        self.created_at = self.now()
        self._run = RunInfo("", "", "", "")
        self._done: asyncio.Future[Finish] = asyncio.get_event_loop().create_future()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self._outflow = Outflow()
        self._renewal = Renewal(self)
        self.sharing: Sharing | None = None
        self._telling = False
        self._pauses: dict[str, asyncio.Task[None]] = {}
        self._held: bool | None = None
        """What the last signal said; None where none came."""
        self.heard = 0
        """How long the history was when the last update was carried out."""
        self.answers: dict[str, asyncio.Future[Any]] = {}
        """What people still have to say, by address."""
        self.asked: dict[str, AskPerson] = {}
        """Approvals that wait, by address."""
        self.choices: dict[str, dict[Path, Json | Missing]] = {}
        """Conflicts that are settled at joins where others still wait, by address."""

    async def execute(
        self, request: GraphRequest, data: Mapping[str, Json], *, pinned: PinnedGraph | None = None
    ) -> dict[str, Json]:
        """Run a graph on `data`; returns `{session_id, status, version, data}`. Raises ApplicationError.

        The graph is the one that a parent workflow `pinned`, else it is loaded.
        """
        machine = self._prepare(await self._load(request) if pinned is None else pinned, data)
        machine.held = bool(self._held)
        try:
            self.obey(machine.start(self.now()))
        except AnabranchError as error:
            machine.refuse(error)
            raise ApplicationError(str(error), type=error.code, non_retryable=True) from None
        return await self._play(machine)

    async def go_on(self, carried: dict[str, Any]) -> dict[str, Json]:
        """Go on where the workflow run before continued as new."""
        machine = self._prepare(PinnedGraph.from_wire(carried["pinned"]), {})
        self.created_at = carried["created_at"]
        self.choices = {node: dict(load_choices(each)) for node, each in carried["choices"].items()}
        carry.load(machine, carried["machine"])
        if self._held is not None:  # a signal came since
            machine.held = self._held
        self.obey(machine.go_on(self.now()))
        return await self._play(machine)

    def _prepare(self, pinned: PinnedGraph, data: Mapping[str, Json]) -> Machine:
        self.pinned = pinned
        plan = plan_of(pinned.definition, pinned.graphs)
        self._run = RunInfo(self.info.first_execution_run_id, self.info.workflow_id, plan.graph.name, "")
        self.machine = Machine(plan, data, run=self._run.root())
        if plan.graph.share is not None:
            self.sharing = Sharing(plan.graph.share, self.info.workflow_id, self.created_at)
        return self.machine

    async def _play(self, machine: Machine) -> dict[str, Json]:
        """Until the run is over, or until it should continue as new and nothing is under way."""
        while not (self._done.done() and self._at_rest()):
            try:
                if not self._at_rest():
                    await workflow.wait_condition(self._at_rest)
                elif self._has_just_answered():
                    await workflow.sleep(_NEXT_TASK)
                else:
                    await self._renewal.hand_on(machine, self._carried(machine))
            except asyncio.CancelledError:
                self.obey(machine.cancel("the workflow was cancelled", self.now()))
        finish = self._done.result()
        told = await self._share_end(machine, finish)
        if finish.failure is None:
            return views.result(machine, finish, self.info.workflow_id) | told
        if finish.cancelled and not (finish.not_compensated and workflow.patched(LEFT_UNDONE_FAILS)):
            raise asyncio.CancelledError(finish.failure.message)
        raise run_error(finish, finish.failure)

    async def _share_end(self, machine: Machine, finish: Finish) -> dict[str, Json]:
        """Publish what the run came to; returns what the result must say of it."""
        if self.sharing is None:
            return {}
        await self.sharing.finish(finish.line, machine.trail.count)
        return {} if self.sharing.failed is None else {"not_shared": self.sharing.failed}

    def _at_rest(self) -> bool:
        if self._done.done():
            return workflow.all_handlers_finished()
        machine = self.machine
        if machine is None or not machine.draining or machine.failure is not None:
            return False
        under_way = any(run.status is Status.RUNNING for _, run in machine.work.values())
        answered = any(answer.done() for answer in self.answers.values())
        shared = self.sharing is None or self.sharing.idle
        return shared and not under_way and not answered and workflow.all_handlers_finished()

    def _has_just_answered(self) -> bool:
        """Whether an update was carried out in this workflow task, and the run would continue as new in the same one.

        If the server refuses to close the run then (something else has arrived), the updates' senders are told of a
        failure, or send again what was done already.
        """
        return not self._done.done() and self.heard == self.info.get_current_history_length()

    def _carried(self, machine: Machine) -> dict[str, Any]:
        assert self.pinned is not None  # noqa: S101 - loaded before anything runs
        return {
            "pinned": self.pinned.to_wire(),
            "created_at": self.created_at,
            "choices": {node: dump_choices(each) for node, each in self.choices.items()},
            "machine": carry.dump(machine),
        }

    def now(self) -> int:
        """The workflow's own time in Unix milliseconds."""
        return int(workflow.time() * 1000)

    def hold(self, *, held: bool) -> None:
        """Start nothing new while held."""
        self._held = held
        if self.machine is not None:
            self.machine.held = held
            self.obey(self.machine.resume(self.now()))

    def obey(self, commands: list[Command]) -> None:
        """Carry out what the machine asks for."""
        assert self.machine is not None  # noqa: S101 - only the machine commands
        for command in commands:
            if isinstance(command, Finish):
                self._done.set_result(command)
            elif isinstance(command, CancelWork):
                if (task := self._tasks.get(command.address)) is not None:
                    # A task that is cancelled before its first step never answers; by then it has taken that step.
                    asyncio.get_event_loop().call_soon(task.cancel)
            else:
                if isinstance(command, AskPerson | AskConflict):
                    self._ask(command)
                self._tasks[command.address] = asyncio.create_task(self._carry_out(self.machine, command))
        if self.sharing is not None:
            self.sharing.changed(self.machine.trail.count, self.machine.branches.now)
        self._renewal.consider(self.machine)
        self._mark_pauses(self.machine)
        if not self._telling:  # once for all that happens in one workflow task
            self._telling = True
            asyncio.get_event_loop().call_soon(self._tell, self.machine)

    def _tell(self, machine: Machine) -> None:
        self._telling = False
        workflow.set_current_details(views.details(machine))

    def _mark_pauses(self, machine: Machine) -> None:
        """A timer for each paused node, for the same reasons as those of `_answer`."""
        paused = (*machine.paused, *machine.undo.waiting)
        for address in [address for address in self._pauses if address not in paused]:
            self._pauses.pop(address).cancel()
        for address in paused:
            if address not in self._pauses:
                self._pauses[address] = asyncio.create_task(workflow.sleep(MAX_SECONDS, summary=f"{address} is paused"))

    async def _load(self, request: GraphRequest) -> PinnedGraph:
        try:
            pinned: PinnedGraph = await workflow.execute_local_activity(
                "load_graph",
                request,
                result_type=PinnedGraph,
                start_to_close_timeout=_LOAD_TIMEOUT,
                retry_policy=retry_policy(_LOAD),
                summary=request.name,
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError):
                raise error.cause from None  # the run's error is what is wrong with the graph, not that loading failed
            raise
        return pinned

    async def _carry_out(
        self, machine: Machine, command: RunNode | StartTimer | AskPerson | AskConflict | StartChild
    ) -> None:
        try:
            try:
                result = await self._effect(command)
            except (Exception, asyncio.CancelledError) as error:
                commands = machine.failed(command.address, failure_of(error, command.address), self.now())
            else:
                answer = machine.choose if isinstance(command, AskConflict) else machine.succeeded
                commands = answer(command.address, result, self.now())
            self._tasks.pop(command.address, None)
            self.obey(commands)
        except BaseException as error:
            self._fault(error)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something on the side."""

        async def guarded() -> None:
            try:
                await work
            except BaseException as error:
                self._fault(error)

        task = asyncio.create_task(guarded())
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    def _fault(self, error: BaseException) -> None:
        """A fault of ours must fail the workflow task, not vanish with an asyncio task."""
        if not self._done.done():
            self._done.set_exception(error)

    def _effect(self, command: RunNode | StartTimer | AskPerson | AskConflict | StartChild) -> Coroutine[Any, Any, Any]:
        if isinstance(command, RunNode):
            return self._activity(command)
        if isinstance(command, StartTimer):
            return workflow.sleep(command.seconds, summary=command.address)
        if isinstance(command, StartChild):
            return self._child(command)
        return self._answer(command)

    async def _activity(self, command: RunNode) -> ChangeSet | Json:
        planned, node = command.planned, command.planned.node
        assert self.machine is not None  # noqa: S101 - only the machine commands
        defaults = self.machine.plan.graph.defaults
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
                scheduled_at = self.info.get_current_history_length()
                encoded = {**options, "args": [RawValue(payload) for payload in payloads]}
                return await workflow.execute_activity(name, **encoded)
        except (ActivityError, asyncio.CancelledError) as error:
            # In the task that was to schedule it; in a later one it may even have completed.
            if is_cancelled_exception(error) and scheduled_at in {None, self.info.get_current_history_length()}:
                raise NeverScheduled from None
            raise

    def _task(self, command: RunNode) -> NodeTask:
        planned, line, now = command.planned, command.line, self.now()
        reads = planned.reads
        data = line.data if reads is None else {key: line.data[key] for key in reads if key in line.data}
        metadata = ContextMetadata(created_at=self.created_at, updated_at=now, version=line.version)
        return NodeTask(
            address=command.address,
            node=planned.wire,
            context=DistributedContext(self.info.workflow_id, data=data, metadata=metadata),
            run=replace(self._run, time=iso_time(now)),
            key=command.key,
            reads=reads,
            roots={name: value for name, value in command.roots.items() if name != "run"},
        )

    async def _child(self, command: StartChild) -> Json:
        assert self.pinned is not None  # noqa: S101 - loaded before anything runs
        node = command.planned.node
        given = [dict(command.data), {"pinned": self.pinned.child(command.graph).to_wire()}]
        payloads = workflow.payload_converter().to_payloads(given)
        try:
            await self._outflow.child_passage(sum(len(payload.data) for payload in payloads))
        except asyncio.CancelledError:
            raise NeverScheduled from None
        result: dict[str, Json] = await workflow.execute_child_workflow(
            command.graph,
            args=[RawValue(payload) for payload in payloads],
            id=f"{self.info.workflow_id}/{command.address}",
            task_queue=node.task_queue,
            static_summary=command.address,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return result["data"]

    def _ask(self, command: AskPerson | AskConflict) -> None:
        """From now on, in this very workflow task, updates may answer."""
        self.answers[command.address] = asyncio.get_event_loop().create_future()
        if isinstance(command, AskPerson):
            self.asked[command.address] = command

    async def _answer(self, command: AskPerson | AskConflict) -> Any:
        answer = self.answers[command.address]
        # Always a timer: the timeline shows it, and a workflow task without any command would be replayed together with
        # the update that follows it, which then finds nothing to answer.
        timeout = timedelta(seconds=MAX_SECONDS if command.timeout is None else command.timeout)
        try:
            await workflow.wait_condition(answer.done, timeout=timeout, timeout_summary=command.address)
        except TimeoutError:
            if not answer.done():  # in the very task in which the time was up, an answer was accepted
                raise
        finally:
            del self.answers[command.address]
            self.asked.pop(command.address, None)
            self.choices.pop(command.address, None)
        return answer.result()


def _plain(args: tuple[Json, ...] | dict[str, Json]) -> Json:
    return list(args) if isinstance(args, tuple) else args
