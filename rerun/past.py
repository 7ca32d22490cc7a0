"""A run that has ended, told again to a fresh machine: how its nodes ended before anything was undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import HistoryInvalid, InputError, RerunRefused, RunOpen, SizeLimitExceeded
from anabranch.graph.plan import Plan
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.runs import Runs
from anabranch.inspection.visits import Visit
from anabranch.transport.node_protocol import PinnedGraph, RunInfo
from anabranch.workflows.interpreter.address import node_id
from anabranch.workflows.interpreter.commands import DEADLINE
from anabranch.workflows.interpreter.journal import Entry, catch_up
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.people import notice_at
from anabranch.workflows.interpreter.rerun import RerunMachine
from anabranch.workflows.interpreter.saga import COMPENSATION
from anabranch.workflows.interpreter.scope import BodyRun, Started
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.taken_over import TakenOver

MOST_EVENTS: Final = 100_000
"""Events of all histories of a run that is run again: reading them takes a worker a minute."""
_FAILED: Final = frozenset({Status.FAILED, Status.TIMED_OUT})


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """How far a `foreach` of the graph itself had come."""

    attempt: str
    """The address of its last attempt."""
    turns: frozenset[int]
    """Those that ended well."""
    has_failures: bool


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What is known of a run that has ended."""

    newest: Inspection
    """Its last workflow run."""
    pinned: PinnedGraph
    plan: Plan
    data: Mapping[str, Json]
    """The input."""
    started: int
    entries: tuple[Entry, ...]
    """What it was told until it failed, was cancelled or ended, and the successes of what was under way then."""
    visits: tuple[Visit, ...]
    done: frozenset[str]
    """The nodes of the graph that had ended, and after which the run went on."""
    failed: tuple[str, ...]
    """Those that failed, or items of which did."""
    undone: frozenset[str]
    """The steps that were undone with the run, or may have been."""
    given_up: frozenset[str]
    """The steps that were undone with an attempt around them."""
    loops: Mapping[str, Loop]
    keys: Mapping[str, str]
    """The keys of effects that are not of this run itself, by address."""

    @property
    def effects(self) -> str:
        """The run id that begins the keys of the others."""
        return self.newest.first_run_id

    def last_visits(self) -> dict[str, Visit]:
        """The last time that each node was started."""
        return {visit.address: visit for visit in self.visits}


async def past_of(runs: Runs, workflow_id: str, run_id: str | None) -> Past:
    """What the histories of a run tell.

    Raises InputError where there is none, RunOpen, RerunRefused, HistoryInvalid, SizeLimitExceeded, and what
    inspection does.
    """
    newest = await runs.inspect(workflow_id, run_id)
    if newest.closing is None:
        raise RunOpen(
            f"the run {workflow_id!r} has not ended",
            suggestion="cancel it, or let it end; where a node is paused, `anabranch retry` tries that again",
        )
    if newest.closing.kind == "continued":
        raise RunOpen(
            f"this workflow run of {workflow_id!r} continued as another one",
            suggestion=f"name that: {newest.next_run_id}",
        )
    chain = [newest]
    while chain[0].journal.is_continued and chain[0].previous_run_id is not None:
        chain.insert(0, await _earlier(runs, workflow_id, chain[0].previous_run_id))
        if sum(each.last_event for each in chain) > MOST_EVENTS:
            raise SizeLimitExceeded(
                f"the histories of {workflow_id!r} have more than {MOST_EVENTS} events",
                suggestion="start a new run with what is left to do",
            )
    return rebuilt(chain)


async def _earlier(runs: Runs, workflow_id: str, run_id: str) -> Inspection:
    try:
        return await runs.inspect(workflow_id, run_id)
    except InputError as error:
        if type(error) is not InputError:
            raise
        raise HistoryInvalid(
            f"the run {workflow_id!r} continued as new, and the server no longer has what came before: {error.message}",
            suggestion="start a new run; a longer retention of the namespace keeps histories",
        ) from None


def rebuilt(chain: list[Inspection]) -> Past:
    """What the workflow runs of a run tell, the first one first. Raises RerunRefused."""
    newest = chain[-1]
    if newest.pinned is None or newest.plan is None:
        raise RerunRefused("the run ended before it had its graph", suggestion="start a new one")
    told = Told(newest.plan, newest.pinned, chain)
    told.play()
    visits = tuple(visit for each in chain for visit in each.visits)
    undoing = {each.address.removeprefix(COMPENSATION) for each in visits if each.address.startswith(COMPENSATION)}
    keys = {address: key for each in chain for address, key in each.kept.items()}
    return Past(
        newest,
        newest.pinned,
        newest.plan,
        chain[0].journal.data,
        chain[0].journal.began,
        tuple(told.entries),
        visits,
        frozenset(told.done),
        told.failed(),
        frozenset(undoing & told.steps),
        frozenset(told.machine.state.saga.undone),
        told.loops,
        keys,
    )


def machine_for(plan: Plan, pinned: PinnedGraph, run: Inspection, taken: TakenOver) -> RerunMachine:
    """A machine that is told again what a run was told."""
    info = RunInfo(run.first_run_id, run.workflow_id, plan.graph.name, "")
    limits = pinned.limits
    state = RunState(
        plan,
        taken.data,
        run=info.root(),
        task_nodes=limits.task_nodes,
        step_units=limits.step_units,
        context_bytes=limits.context_bytes,
    )
    state.mailbox_limits = {"events": limits.mailbox_events, "size": limits.mailbox_bytes, "ids": limits.event_ids}
    return RerunMachine(state, taken)


def root_of(address: str) -> str:
    """The node of the graph itself that an address is, or is in the body of."""
    if (about := notice_at(address)) is not None:
        return root_of(about[1])
    return node_id(address.removeprefix(DEADLINE).removeprefix(COMPENSATION).partition("/")[0].partition(" since ")[0])


class Told:
    """A run, told again to a fresh machine."""

    def __init__(self, plan: Plan, pinned: PinnedGraph, chain: list[Inspection]) -> None:
        first, journals = chain[0], [each.journal for each in chain]
        self._taken = TakenOver("", "", dict(first.journal.data), first.journal.began)
        self.machine = machine_for(plan, pinned, first, self._taken)
        self._entries = [entry for each in journals for entry in each.entries]
        self._late = [entry for each in journals for entry in each.late]
        self._is_ended = journals[-1].is_ended
        self.entries: list[Entry] = []
        self.steps: set[str] = set()
        """Those of the saga, before any was undone with the run."""
        self.done: set[str] = set()
        self.loops: dict[str, Loop] = {}
        self._failed: dict[str, None] = {}
        self._bodies: dict[str, BodyRun] = {}

    def play(self) -> None:
        """Tell all that counts."""
        state = self.machine.state
        self.machine.start(self._taken.at)
        catch_up(self.machine)
        before = self._entries[:-1] if self._is_ended else self._entries
        self._tell(before)
        self.steps = set(state.saga.steps)
        self.done = {name for name, run in state.main.nodes.items() if _has_ended(run.status)}
        self._failed = dict.fromkeys([*self._names(_FAILED), *map(root_of, state.paused_nodes)])
        self.loops = {name: _loop(body) for name, body in self._bodies.items()}
        self._tell(self._entries[len(before) :])
        self._tell(entry for entry in self._late if self._counts(entry))
        self.done.update(self._names({Status.SUCCEEDED}))
        if state.failure is not None and state.failure.node:
            self._failed[root_of(state.failure.node)] = None

    def failed(self) -> tuple[str, ...]:
        """The nodes that failed, or items of which did, in the order of the graph."""
        found = {*self._failed, *(name for name, loop in self.loops.items() if loop.has_failures)}
        return tuple(name for name in self.machine.state.plan.nodes if name in found)

    def _tell(self, entries: Iterable[Entry]) -> None:
        state = self.machine.state
        for entry in entries:
            self.machine.tell(entry)
            catch_up(self.machine)
            self.entries.append(_without_usage(entry))
            for address, body in state.bodies.items():
                if address in state.main.nodes and body.node.run.progress is not None:
                    self._bodies[address] = body

    def _names(self, statuses: set[Status] | frozenset[Status]) -> Iterator[str]:
        return (name for name, run in self.machine.state.main.nodes.items() if run.status in statuses)

    def _counts(self, entry: Entry) -> bool:
        """Whether it is the success of a node that was under way when the run failed, or an event that came then."""
        return entry.event == "hear" or (
            entry.event == "succeeded" and isinstance(self.machine.state.work.get(entry.address), Started)
        )


def _without_usage(entry: Entry) -> Entry:
    """The same, without what was spent at models: the run before has counted that."""
    changes = entry.given
    if not (isinstance(changes, ChangeSet) and changes.usage):
        return entry
    return replace(entry, given=replace(changes, usage=()))


def _has_ended(status: Status) -> bool:
    return status.final and status not in {Status.SKIPPED, Status.CANCELLED}


def _loop(body: BodyRun) -> Loop:
    node = body.node.run.planned.node
    size = getattr(node, "batch", None) or 1
    bad = {index // size for index in body.failures} | body.turns.keys()
    turns = frozenset(turn for turn in range(body.entered) if turn not in bad)
    return Loop(body.attempt, turns, bool(body.failures))
