"""The Temporal driver around the machine: commands become activities, timers and waits; outcomes become events."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from anabranch.context.values import Json, Missing, Path
from anabranch.errors import AnabranchError
from anabranch.graph.model import MAX_SECONDS, Retry
from anabranch.graph.plan import plan_of
from anabranch.transport.node_protocol import GraphRequest, PinnedGraph, RunInfo
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.commands import AskConflict, AskPerson, CancelWork, Command, Finish, Work, Yield
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.snapshot import dump_choices, load_choices
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.temporal.continue_as_new import Renewal
from anabranch.workflows.temporal.effects import Effects
from anabranch.workflows.temporal.failures import check_revision, failure_of, run_error
from anabranch.workflows.temporal.node_options import retry_policy
from anabranch.workflows.temporal.sharing import Sharing

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
        self.run_info = RunInfo("", "", "", "")
        self._done: asyncio.Future[Finish] = asyncio.get_event_loop().create_future()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self._effects = Effects(self)
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
        machine.state.is_paused = bool(self._held)
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
        snapshot.load(machine.state, carried["machine"])
        if self._held is not None:  # a signal came since
            machine.state.is_paused = self._held
        self.obey(machine.resume_from_snapshot(self.now()))
        return await self._play(machine)

    def _prepare(self, pinned: PinnedGraph, data: Mapping[str, Json]) -> Machine:
        self.pinned = pinned
        check_revision(pinned)
        plan = plan_of(pinned.definition, pinned.graphs, revision=pinned.revision, inputs=pinned.inputs[pinned.name])
        self.run_info = RunInfo(self.info.first_execution_run_id, self.info.workflow_id, plan.graph.name, "")
        self.machine = Machine(RunState(plan, data, run=self.run_info.root()))
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
            return views.result(machine.state, finish, self.info.workflow_id) | told
        if finish.cancelled and not finish.not_compensated:
            raise asyncio.CancelledError(finish.failure.message)
        raise run_error(finish, finish.failure)

    async def _share_end(self, machine: Machine, finish: Finish) -> dict[str, Json]:
        """Publish what the run came to; returns what the result must say of it."""
        if self.sharing is None:
            return {}
        await self.sharing.finish(finish.line, machine.state.trail.count)
        return {} if self.sharing.failed is None else {"not_shared": self.sharing.failed}

    def _at_rest(self) -> bool:
        if self._done.done():
            return workflow.all_handlers_finished()
        machine = self.machine
        if machine is None or not machine.state.is_draining or machine.state.failure is not None:
            return False
        under_way = machine.state.under_way
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
            "machine": snapshot.dump(machine.state),
        }

    def now(self) -> int:
        """The workflow's own time in Unix milliseconds."""
        return int(workflow.time() * 1000)

    def hold(self, *, held: bool) -> None:
        """Start nothing new while held."""
        self._held = held
        if self.machine is not None:
            self.machine.state.is_paused = held
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
                    self._effects.ask(command)
                self._tasks[command.address] = asyncio.create_task(self._carry_out(self.machine, command))
        if self.sharing is not None:
            self.sharing.changed(self.machine.state.trail.count, self.machine.context)
        self._renewal.consider(self.machine)
        self._mark_pauses(self.machine)
        if not self._telling:  # once for all that happens in one workflow task
            self._telling = True
            asyncio.get_event_loop().call_soon(self._tell, self.machine)

    def _tell(self, machine: Machine) -> None:
        self._telling = False
        workflow.set_current_details(views.details(machine.state))

    def _mark_pauses(self, machine: Machine) -> None:
        """A timer for each paused node, for the same reasons as those of `_answer`."""
        paused = machine.state.waiting_for_operator
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

    async def _carry_out(self, machine: Machine, command: Work | Yield) -> None:
        try:
            try:
                result = await self._effects.of(command)
            except (Exception, asyncio.CancelledError) as error:
                commands = machine.failed(command.address, failure_of(error, command.address), self.now())
            else:
                if isinstance(command, AskConflict):
                    commands = self._choose(machine, command.address, result)
                else:
                    commands = machine.succeeded(command.address, result, self.now())
            self._tasks.pop(command.address, None)
            self.obey(commands)
        except BaseException as error:
            self._fault(error)

    def _choose(self, machine: Machine, address: str, choices: dict[Path, Json | Missing]) -> list[Command]:
        commands = machine.choose(address, choices, self.now())
        if address in machine.state.open_joins:
            self.choices[address] = choices  # of what came meanwhile somebody must settle more
        return commands

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
