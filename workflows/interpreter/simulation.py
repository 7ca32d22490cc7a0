"""Drives a machine without a server, in virtual time: a function answers its commands, and timers fire at once.

The dry run and the test kit are this loop with different answers.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from anabranch.context.changes import ChangeSet
from anabranch.errors import InputError, SizeLimitExceeded
from anabranch.graph.leaving import may_leave_effects
from anabranch.graph.policies import Defaults
from anabranch.workflows.interpreter.commands import (
    DEADLINE,
    NO_EVENT,
    NOT_STARTED,
    YIELD,
    AskConflict,
    AskPerson,
    AwaitEvent,
    CancelWork,
    Command,
    EventCame,
    Failure,
    Finish,
    RunNode,
    StartChild,
    StartTimer,
    Work,
    Yield,
)
from anabranch.workflows.interpreter.ends import ENDS
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.simulated import (
    Answer,
    AnswerOf,
    Arrived,
    Chosen,
    Done,
    DryRun,
    Evaluated,
    Failed,
    Heard,
    Said,
    TimelineEntry,
)
from anabranch.workflows.interpreter.talk import shown
from anabranch.workflows.interpreter.watcher import Watcher, Watchers

__all__ = [
    "Answer",
    "AnswerOf",
    "Arrived",
    "Chosen",
    "Done",
    "DryRun",
    "Evaluated",
    "Failed",
    "Heard",
    "Said",
    "TimelineEntry",
    "Work",
    "drive",
]

MAX_STEPS = 100_000
LAST_MOMENT = 253_402_300_799_000
"""The end of the year 9999, in Unix milliseconds: the latest time that can be written as text."""


def drive(
    machine: Machine,
    answer_of: AnswerOf,
    *,
    at: int = 0,
    max_steps: int = MAX_STEPS,
    order: Sequence[str] = (),
    cancel_after: str | None = None,
) -> DryRun:
    """Run to the end, starting at the time `at`.

    The addresses in `order` end in this order, each at least a millisecond after the one before. The run is cancelled
    as soon as the work at `cancel_after` has ended. Raises SizeLimitExceeded after `max_steps` pieces of work or the
    year 9999, InputError for an order that no run can have.
    """
    driver = _Driver(machine, answer_of, at, deque(order), cancel_after)
    machine.state.watcher = Watchers(machine.state.watcher, _Ends(driver))
    driver.dispatch(machine.start(at))
    while driver.finish is None and (driver.yielded or driver.pending):
        if driver.yielded:
            driver.answer_yield()
            continue
        if len(driver.timeline) >= max_steps:
            raise SizeLimitExceeded(
                f"the run is not over after {max_steps} pieces of work",
                place=f"graph {machine.state.plan.graph.name!r}",
                suggestion="look for a `while` whose condition never turns false",
            )
        driver.answer_next()
    return DryRun(tuple(driver.timeline), driver.finish)


@dataclass(slots=True)
class _Driver:
    """Work under way, ordered by when it ends; work that ends at the same time is ordered by its start."""

    machine: Machine
    answer_of: AnswerOf
    now: int
    order: deque[str]
    cancel_after: str | None
    finish: Finish | None = None
    timeline: list[TimelineEntry] = field(default_factory=list)
    pending: list[tuple[int, int, TimelineEntry]] = field(default_factory=list)
    said: dict[int, Said] = field(default_factory=dict)
    """Answers of several people to come, by the number of their place among what is pending."""
    count: int = 0
    yielded: bool = False

    def dispatch(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Finish):
                self.finish = command
            elif isinstance(command, CancelWork):
                self._cancel(command.address)
            elif isinstance(command, Yield):
                self.yielded = True
            elif isinstance(command, EventCame):
                self._come(command)
            else:
                self._start(command)

    def answer_yield(self) -> None:
        """Let the machine continue before anything else happens: a simulation has no workflow tasks."""
        self.yielded = False
        self.dispatch(self.machine.succeeded(YIELD, None, self.now))

    def answer_next(self) -> None:
        number, entry = self._next()
        if (said := self.said.pop(number, None)) is not None:
            self.now = max(self.now, entry.ended)
            self.dispatch(self.machine.answer(entry.work.address, said.answer, said.by, self.now))
            return
        if entry.ended > LAST_MOMENT:
            raise SizeLimitExceeded("the run would last beyond the year 9999", place=f"node {entry.work.address!r}")
        self.now = max(self.now, entry.ended)
        if not _is_of_interpreter(entry.work):
            self.timeline.append(replace(entry, ended=self.now, answer=_shown(entry.answer)))
        self.dispatch(self._answer(entry))
        if entry.work.address == self.cancel_after and not _is_beside(entry.work):
            self.cancel_after = None
            self.dispatch(self.machine.cancel("the run was cancelled", self.now))

    def _next(self) -> tuple[int, TimelineEntry]:
        """What ends next, with its number. Work that must end after other work waits until that has ended."""
        if not self.order:
            return heapq.heappop(self.pending)[1:]
        ordered, first = set(self.order), self.order[0]
        free = [entry for entry in self.pending if entry[2].work.address not in ordered - {first}]
        if not free:
            waiting = ", ".join(repr(entry[2].work.address) for entry in sorted(self.pending)[:10])
            raise InputError(
                f"{waiting} would have to end after {first!r}, which cannot start before",
                place="order",
                suggestion="give an order that a run can have",
            )
        entry = min(free)
        self.pending.remove(entry)
        heapq.heapify(self.pending)
        if entry[2].work.address == first and entry[1] not in self.said and not _is_beside(entry[2].work):
            self.order.popleft()
            self.now += 1
        return entry[1:]

    def _answer(self, entry: TimelineEntry) -> list[Command]:
        address, answer = entry.work.address, entry.answer
        if isinstance(answer, Failed):
            return self.machine.failed(address, answer.failure, self.now)
        if isinstance(answer, Chosen):
            return self.machine.choose(address, answer.choices, self.now)
        return self.machine.succeeded(address, answer.result, self.now)

    def _start(self, work: Work) -> None:
        found = self.answer_of(work)
        if isinstance(found, Arrived):
            found = Done(self.machine.received(work.address, found.events), found.seconds)
        if isinstance(found, Heard):
            found = self._hear(work, found)
        answer = _in_time(work, found, self.machine.state.plan.graph.defaults)
        self._push(TimelineEntry(work, self.now, self.now + round(answer.seconds * 1000), answer))

    def _hear(self, work: Work, heard: Heard) -> Answer:
        """Have people answer; what the approval comes to where they are too few."""
        limit = _timeout(work, self.machine.state.plan.graph.defaults)
        last = LAST_MOMENT + 1 if limit is None else self.now + round(limit * 1000)
        for said in heard.answers:
            if (at := self.now + round(said.seconds * 1000)) <= last:
                self.said[self.count + 1] = said
                self._push(TimelineEntry(work, self.now, at, Done(said.answer, said.seconds)))
        message = f"nobody answered node {work.address!r} in time"
        return Failed(Failure("timeout", "NO_ANSWER", message, work.address), (last - self.now) / 1000)

    def _come(self, command: EventCame) -> None:
        """What an approval waits for is there. Events are not sent here: what waits for one is answered."""
        if (entry := self._taken(command.address)) is not None:
            self._push(replace(entry, ended=self.now, answer=Done(command.result)))

    def _taken(self, address: str) -> TimelineEntry | None:
        """The work at an address, which is not pending any more; nor is what people would have said there."""
        mine = [each for each in self.pending if each[2].work.address == address]
        if not mine:
            return None
        self.pending = [each for each in self.pending if each[2].work.address != address]
        heapq.heapify(self.pending)
        found = [entry for _, number, entry in mine if self.said.pop(number, None) is None]
        return found[0] if found else None

    def _cancel(self, address: str) -> None:
        if (entry := self._taken(address)) is not None:
            self.order = deque(each for each in self.order if each != address)
            self._push(replace(entry, ended=self.now, answer=Failed(self._cancelled(entry.work))))

    def _cancelled(self, work: Work | Evaluated) -> Failure:
        """A child undoes itself, as far as it can. A node whose join waits has not begun."""
        address, library = work.address, self.machine.state.plan.library
        if isinstance(work, AskConflict):
            return Failure("cancelled", NOT_STARTED, f"node {address!r} was cancelled before it started", address)
        undone = isinstance(work, StartChild) and not may_leave_effects(library[work.graph], library)
        happened = False if undone else None
        return Failure("cancelled", "CANCELLED", f"node {address!r} was cancelled", address, happened=happened)

    def _push(self, entry: TimelineEntry) -> None:
        self.count += 1
        heapq.heappush(self.pending, (entry.ended, self.count, entry))


class _Ends(Watcher):
    """Puts `fail` and `stop` nodes on the timeline of a driver."""

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver

    def node_ended(self, scope: Scope, run: NodeRun, failure: Failure | None) -> None:
        """See Watcher."""
        if run.planned.node.type in ENDS:
            driver, work = self._driver, Evaluated(scope.address(run), run.planned)
            answer = Done() if failure is None else Failed(failure)
            driver.timeline.append(TimelineEntry(work, driver.now, driver.now, answer))
            if driver.order and driver.order[0] == work.address:
                driver.order.popleft()


def _shown(answer: Answer) -> Answer:
    """An answer as people see it: of what a model said, what it calls."""
    if isinstance(answer, Done) and isinstance(answer.result, ChangeSet):
        return replace(answer, result=shown(answer.result))
    return answer


def _is_of_interpreter(work: Work | Evaluated) -> bool:
    """Whether the work is a time-out, or the pause before another attempt: not work of a node of its own."""
    if isinstance(work, StartTimer) and (work.attempt is not None or work.is_beside):
        return True
    return work.address.startswith(DEADLINE)


def _is_beside(work: Work | Evaluated) -> bool:
    """Whether the node's own work, at the same address, is another."""
    return isinstance(work, AskConflict) or _is_of_interpreter(work)


def _in_time(work: Work, answer: Answer, defaults: Defaults) -> Answer:
    """The answer, or a timeout if the answer comes too late."""
    timeout = _timeout(work, defaults)
    if timeout is None or answer.seconds <= timeout:
        return answer
    if isinstance(work, RunNode):
        failure = Failure("timeout", "TIMEOUT", f"node {work.address!r} timed out (schedule to close)", work.address)
    elif isinstance(work, AwaitEvent):
        failure = Failure("timeout", NO_EVENT, f"no event came for node {work.address!r} in time", work.address)
    else:
        failure = Failure("timeout", "NO_ANSWER", f"nobody answered node {work.address!r} in time", work.address)
    return Failed(failure, timeout)


def _timeout(work: Work, defaults: Defaults) -> float | None:
    """How long the work may take as a whole: of a node's attempts nothing is known here."""
    if isinstance(work, RunNode):
        total = work.planned.node.total_timeout or (None if work.undo else defaults.total_timeout)
        return None if total is None else total.total_seconds()
    return work.timeout if isinstance(work, AskPerson | AskConflict | AwaitEvent) else None
