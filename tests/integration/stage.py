"""Runs on a server that are answered as their dry run was.

Stand-ins answer in the same order: each waits until the run has heard the answers before it. Rules are evaluated by the
worker, and expressions of `output` too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError

from anabranch.activities import heartbeat
from anabranch.activities.load_graph import GraphLoader
from anabranch.activities.node_result import NodeResult
from anabranch.activities.registry import NodeActivities
from anabranch.activities.search_attributes import SearchAttributes
from anabranch.activities.standard import node_activities
from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, Missing, format_path
from anabranch.graph.kinds.kind import Runs
from anabranch.graph.kinds.kinds import types_that_run
from anabranch.imports import OwnCode
from anabranch.settings import Settings, on_this_machine
from anabranch.testkit.addresses import static
from anabranch.transport.node_protocol import GraphRequest, NodeTask, PinnedGraph
from anabranch.transport.working import working
from anabranch.worker import build_worker
from anabranch.workflows.interpreter.commands import AskConflict, AskPerson, AwaitEvent, Command
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.receives import Receives
from anabranch.workflows.interpreter.scope import Started
from anabranch.workflows.interpreter.simulation import Answer, Chosen, Done, Evaluated, Failed
from tests.integration.graph_kit import Handle
from tests.integration.rehearsed import Outcome, Rehearsed, outcome_of, told

AT_A_TIME = 16
PATIENCE = 120.0
"""Seconds that a run of a second may take, beside others."""
NOT_OVER = "not over in time"
_OTHER_WAY = 2.0
"""Seconds after which a run seems to have gone another way than its dry run."""
_ROOT = ""
"""The path of a run's own workflow; that of a child is the address of its node, after its parent's."""


@dataclass
class _Staged:
    """A run on the server that follows a dry run."""

    rehearsed: Rehearsed
    handle: Handle
    loop: asyncio.AbstractEventLoop
    surprises: list[Json] = field(default_factory=list)
    """Work that the dry run never had."""

    def __post_init__(self) -> None:
        steps = (entry for entry in self.rehearsed.played.timeline if not isinstance(entry.work, Evaluated))
        self._steps = [(entry, asyncio.Event()) for entry in steps]
        self._tasks: set[asyncio.Task[None]] = set()

    async def turn(self, address: str) -> None:
        """Wait until the run has heard all that the dry run had heard before this work ended.

        Where other events are sent too the run may go another way: then nothing is waited for that long.
        """
        for entry, heard in self._steps:
            if entry.work.address == address and not heard.is_set():
                if _outcome_of(entry.answer) in ("cancelled", "timeout"):
                    await self._awaited(asyncio.Event(), _OTHER_WAY * 10)
                return
            if _outcome_of(entry.answer) != "cancelled":
                await self._awaited(heard, _OTHER_WAY)

    async def _awaited(self, heard: asyncio.Event, seconds: float) -> None:
        if not self.rehearsed.trial.sent:
            await heard.wait()
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(heard.wait(), seconds)

    def hear(self, address: object, commands: Sequence[Command]) -> None:
        """The run has heard how the work at an address ended, and asks for more."""
        for entry, heard in self._steps:
            if entry.work.address == address and not heard.is_set():
                heard.set()
                break
        if address == self.rehearsed.trial.script.cancel_after:
            self._begin(self.handle.cancel())
        if (events := self.rehearsed.trial.sent.get(_place(address))) is not None:
            self._begin(self.send(events))
        for command in commands:
            if isinstance(command, AskPerson | AskConflict):
                self._begin(self._answer(command))
            elif isinstance(command, AwaitEvent):
                self._begin(self._send(command.address))

    async def send(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Send events that nobody may wait for."""
        for each in events:
            with suppress(RPCError):  # the run may be over
                await self.handle.signal("event", each)

    async def _send(self, address: str) -> None:
        """Send the events that a node waits for. Each has an id of its own: one that came before is not taken."""
        await self.turn(address)
        for each in self.rehearsed.events.get(address, ()):
            with suppress(RPCError):
                await self.handle.signal(
                    "event", {"name": each.name, "id": f"{address} {each.name}", "data": each.data}
                )

    async def _answer(self, command: AskPerson | AskConflict) -> None:
        ends = {(type(entry.work), entry.work.address): entry.answer for entry, _ in self._steps}
        answer = ends.get((type(command), command.address))
        if answer is None:
            self.surprises.append(f"{type(command).__name__} {command.address}")
        await self.turn(command.address)
        for each in (said := self.rehearsed.said.get(command.address, ())):
            told = {"node": command.address, "answer": each.answer, "by": each.by}
            with suppress(RPCError):
                await self.handle.execute_update("complete_task", told)
        if isinstance(answer, Done) and not said:
            request = {"node": command.address, "answer": answer.result}
            with suppress(RPCError):  # the run may be over before it has confirmed the update
                await self.handle.execute_update("complete_task", request)
        elif isinstance(answer, Chosen):
            for path, value in answer.choices.items():
                choice = {"remove": True} if isinstance(value, Missing) else {"value": value}
                request = {"node": command.address, "path": format_path(path), **choice}
                with suppress(RPCError):
                    await self.handle.execute_update("resolve_conflict", request)

    def _begin(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _place(address: object) -> str:
    """Where a node stands, whatever the item or the attempt around it; nowhere for what is no address."""
    return static(address) if isinstance(address, str) else "?"


def _outcome_of(answer: Answer) -> str:
    return answer.failure.outcome if isinstance(answer, Failed) else "success"


class _Library(GraphLoader):
    """Gives each run the graph of its trial."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._found = SearchAttributes()
        self.staged: dict[str, _Staged] = {}

    @activity.defn
    async def load_graph(self, request: GraphRequest) -> PinnedGraph:
        """The graph of the trial that the run is of."""
        trial = self.staged[activity.info().workflow_id or ""].rehearsed.trial
        pinned = self.pinned(trial.loaded)
        return await self._found.noted(pinned) if trial.loaded.graph.search_attributes else pinned

    def of_run(self, workflow_id: str) -> tuple[_Staged, str]:
        """The trial that a workflow belongs to, and the path of the workflow in it."""
        root = workflow_id.partition("/")[0]
        return self.staged[root], workflow_id[len(root) :]


class _StandIns(NodeActivities):
    """Evaluates rules, and answers for all else as the dry run was answered."""

    def __init__(self, rules: NodeActivities, library: _Library) -> None:
        names = types_that_run(by={Runs.HANDLER})
        super().__init__({name: lambda: _brought for name in names}, library)
        self._library = library
        self._rules = rules

    async def execute(self, task: NodeTask) -> ChangeSet:
        """As in the dry run."""
        given = await self._given(task.address)
        if given is None:
            return await self._rules.execute(task)
        if isinstance(given, ChangeSet):
            return replace(given, base_version=task.context.metadata.version)
        with _bringing(given):
            return await super().execute(task)

    def activity_named(self, name: str) -> Callable[..., Any]:
        """An activity that nodes call by its name, and that answers as in the dry run."""

        @activity.defn(name=name)
        async def answer(*_: Any) -> Json:
            with heartbeat.heartbeats(activity.info()):
                return await self._answer()

        return answer

    async def _answer(self) -> Json:
        given = await self._given(activity.info().activity_id)
        if isinstance(given, ChangeSet):
            return {format_path(path): value for path, value in given.set.items()}
        return given

    async def _given(self, address: str) -> ChangeSet | Json:
        """What the node at an address brings; None where the worker evaluates it. Raises as the node fails."""
        staged, path = self._library.of_run(activity.info().workflow_id or "")
        answer, origin = staged.rehearsed.answers.get((path, address), (None, ""))
        if answer is None:
            staged.surprises.append(f"{path} {address}")
            raise ApplicationError("the dry run never came here", type="SURPRISE", non_retryable=True)
        if path == _ROOT and not activity.info().is_local:
            await staged.turn(address)
        if origin == "evaluated":
            return None
        if isinstance(answer, Failed):
            failure = answer.failure
            raise ApplicationError(failure.message, type=failure.code, non_retryable=not failure.is_retryable)
        assert isinstance(answer, Done)
        return answer.result


_brings: ContextVar[Json] = ContextVar("both_ways_brings")


@contextmanager
def _bringing(result: Json) -> Generator[None]:
    token = _brings.set(result)
    try:
        yield
    finally:
        _brings.reset(token)


async def _brought(task: NodeTask, _: Any) -> NodeResult:
    """What any handler returns that has this result."""
    result = _brings.get()
    return NodeResult(result, result) if isinstance(result, dict) else NodeResult.under_id(task, result)


class Stage:
    """A worker that runs trials on a server, side by side."""

    def __init__(self, client: Client, task_queue: str, library: _Library) -> None:
        self._client, self._task_queue, self._library = client, task_queue, library
        self._places = asyncio.Semaphore(AT_A_TIME)

    async def run(self, name: str, rehearsed: Rehearsed) -> Outcome:
        """Run a trial as its dry run went; what it came to."""
        async with self._places:
            return await self._run(name, rehearsed)

    async def _run(self, name: str, rehearsed: Rehearsed) -> Outcome:
        trial, workflow_id = rehearsed.trial, f"{name} on {self._task_queue}"
        steered: Handle = self._client.get_workflow_handle(workflow_id)
        staged = self._library.staged[workflow_id] = _Staged(rehearsed, steered, asyncio.get_running_loop())
        request = {"graph": trial.loaded.graph.name, "data": dict(trial.script.data)}
        handle: Handle = await self._client.start_workflow(
            "GraphWorkflow", request, id=workflow_id, task_queue=self._task_queue
        )
        await staged.send(trial.sent.get("", ()))
        try:
            status, result, error = await asyncio.wait_for(_ended(handle, rehearsed.played.status), PATIENCE)
        except TimeoutError:
            return Outcome(NOT_OVER, None, staged.surprises, await handle.query("status"))
        if staged.surprises:
            return Outcome(status, result, {"never asked in the dry run": staged.surprises}, None)
        versions = await handle.query("history") if rehearsed.played.refused is None else []
        return outcome_of(status, result, error, versions, [str(handle.first_execution_run_id), workflow_id])


@asynccontextmanager
async def stage(client: Client, task_queue: str, activities: Iterable[str] = ()) -> AsyncGenerator[Stage]:
    """A stage while the block runs; `activities` are the names of those that nodes call by name."""
    settings = on_this_machine(Settings(task_queue=task_queue))
    library, rules = _Library(), node_activities(settings)
    stand_ins = _StandIns(rules, library)
    own = OwnCode(activities=tuple(map(stand_ins.activity_named, activities)))
    try:
        with _overheard(library), patch.object(heartbeat, "_SECONDS", 0.2):
            async with working(build_worker(client, settings, stand_ins, own=own), stand_ins.running):
                yield Stage(client, task_queue, library)
    finally:
        await stand_ins.aclose()
        await rules.aclose()


@contextmanager
def _overheard(library: _Library) -> Generator[None]:
    """While the block runs, each staged run tells what its machine hears and asks."""
    loop = asyncio.get_running_loop()

    def overhearing(plain: Callable[..., list[Command]]) -> Callable[..., list[Command]]:
        def heard(machine: Machine, address: Any, *rest: Any) -> list[Command]:
            commands = plain(machine, address, *rest)
            staged, path = library.of_run(str(machine.state.run["session_id"]))
            if path == _ROOT:
                loop.call_soon_threadsafe(staged.hear, address, commands)
            return commands

        return heard

    plain_start = Receives.start

    def started(receives: Receives, node: Started, command: AwaitEvent) -> None:
        plain_start(receives, node, command)
        state = receives._state
        if command.address not in state.work:  # its event was there before it
            staged, path = library.of_run(str(state.run["session_id"]))
            if path == _ROOT:
                loop.call_soon_threadsafe(staged.hear, command.address, ())

    names = ("start", "succeeded", "failed", "choose")
    with ExitStack() as patches:
        patches.enter_context(patch.object(Receives, "start", started))
        for name in names:
            patches.enter_context(patch.object(Machine, name, overhearing(getattr(Machine, name))))
        yield


async def _ended(handle: Handle, expected: str) -> tuple[str, dict[str, Any] | None, Json]:
    """How a run ended: its status, result and error. One that is to pause is looked at then."""
    if expected == "paused":
        for _ in range(2000):
            if (await handle.query("status"))["status"] == "paused":
                break
            await asyncio.sleep(0.05)
        await handle.terminate()
        return "paused", None, None
    try:
        return "completed", await handle.result(), None
    except WorkflowFailureError as failed:
        if isinstance(failed.cause, ApplicationError):
            return "failed", None, told(failed.cause)
        return "cancelled" if isinstance(failed.cause, CancelledError) else "lost", None, None
