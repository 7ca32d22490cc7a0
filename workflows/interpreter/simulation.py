"""A machine driven without a server, in virtual time: whatever it asks for is answered by a function.

Timers fire without anybody waiting. The dry run and the tests of graphs are this loop with different answers.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, Missing, Path
from anabranch.errors import InputError, SizeLimitExceeded
from anabranch.workflows.interpreter.commands import (
    AskConflict,
    AskPerson,
    CancelWork,
    Command,
    Failure,
    Finish,
    Work,
)
from anabranch.workflows.interpreter.machine import Machine

__all__ = ["Answer", "AnswerOf", "Chosen", "Done", "DryRun", "Failed", "Step", "Work", "drive"]

MAX_STEPS = 100_000
LAST_MOMENT = 253_402_300_799_000
"""The end of the year 9999, in Unix milliseconds: no later time can be written."""


@dataclass(frozen=True, slots=True)
class Done:
    """The work succeeds after `seconds`: with a node's changes, a person's answer, a child's data."""

    result: ChangeSet | Json = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The work fails after `seconds`."""

    failure: Failure
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """Every conflict at a join is settled after `seconds`."""

    choices: Mapping[Path, Json | Missing]
    seconds: float = 0.0


Answer: TypeAlias = Done | Failed | Chosen
AnswerOf: TypeAlias = Callable[[Work], Answer]


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of work, when it was asked for and answered (Unix milliseconds), and how it ended."""

    work: Work
    started: int
    ended: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class DryRun:
    """What happened, in the order of the answers. `finish` is None where paused nodes wait for an operator."""

    steps: tuple[Step, ...]
    finish: Finish | None


def drive(
    machine: Machine,
    answer_of: AnswerOf,
    *,
    at: int = 0,
    max_steps: int = MAX_STEPS,
    order: Sequence[str] = (),
    cancel_after: str | None = None,
) -> DryRun:
    """Run to the end, from the time `at` on.

    What stands in `order` ends in this order, each at least a millisecond after the one before. The run is cancelled
    as soon as the work at `cancel_after` has ended. Raises SizeLimitExceeded after `max_steps` pieces of work or the
    year 9999, InputError for an order that no run can have.
    """
    driver = _Driver(machine, answer_of, at, deque(order), cancel_after)
    driver.obey(machine.start(at))
    while driver.finish is None and driver.pending:
        if len(driver.steps) >= max_steps:
            raise SizeLimitExceeded(
                f"the run is not over after {max_steps} steps",
                place=f"graph {machine.plan.graph.name!r}",
                suggestion="look for a `while` whose condition never turns false",
            )
        driver.answer_next()
    return DryRun(tuple(driver.steps), driver.finish)


@dataclass(slots=True)
class _Driver:
    """Work that is under way, ordered by when it ends; what ends at one time ends in the order of its start."""

    machine: Machine
    answer_of: AnswerOf
    now: int
    order: deque[str]
    cancel_after: str | None
    finish: Finish | None = None
    steps: list[Step] = field(default_factory=list)
    pending: list[tuple[int, int, Step]] = field(default_factory=list)
    count: int = 0

    def obey(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Finish):
                self.finish = command
            elif isinstance(command, CancelWork):
                self._cancel(command.address)
            else:
                self._begin(command)

    def answer_next(self) -> None:
        step = self._next()
        if step.ended > LAST_MOMENT:
            raise SizeLimitExceeded("the run would last beyond the year 9999", place=f"node {step.work.address!r}")
        self.now = max(self.now, step.ended)
        self.steps.append(replace(step, ended=self.now))
        self.obey(self._tell(step))
        if step.work.address == self.cancel_after and not isinstance(step.work, AskConflict):
            self.cancel_after = None
            self.obey(self.machine.cancel("the run was cancelled", self.now))

    def _next(self) -> Step:
        """What ends next. Work that is to end after other work is held back until that has ended."""
        if not self.order:
            return heapq.heappop(self.pending)[2]
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
        if entry[2].work.address == first and not isinstance(entry[2].work, AskConflict):
            self.order.popleft()
            self.now += 1
        return entry[2]

    def _tell(self, step: Step) -> list[Command]:
        address, answer = step.work.address, step.answer
        if isinstance(answer, Failed):
            return self.machine.failed(address, answer.failure, self.now)
        if isinstance(answer, Chosen):
            return self.machine.choose(address, answer.choices, self.now)
        return self.machine.succeeded(address, answer.result, self.now)

    def _begin(self, work: Work) -> None:
        answer = _in_time(work, self.answer_of(work))
        self._push(Step(work, self.now, self.now + round(answer.seconds * 1000), answer))

    def _cancel(self, address: str) -> None:
        for index, (_, _, step) in enumerate(self.pending):
            if step.work.address == address:
                del self.pending[index]
                heapq.heapify(self.pending)
                self.order = deque(each for each in self.order if each != address)
                failure = Failure("cancelled", "CANCELLED", f"node {address!r} was cancelled", address)
                self._push(replace(step, ended=self.now, answer=Failed(failure)))
                return

    def _push(self, step: Step) -> None:
        self.count += 1
        heapq.heappush(self.pending, (step.ended, self.count, step))


def _in_time(work: Work, answer: Answer) -> Answer:
    """The answer, or the timeout of a question that is answered too late."""
    timeout = work.timeout if isinstance(work, AskPerson | AskConflict) else None
    if timeout is None or answer.seconds <= timeout:
        return answer
    failure = Failure("timeout", "NO_ANSWER", f"nobody answered node {work.address!r} in time", work.address)
    return Failed(failure, timeout)
