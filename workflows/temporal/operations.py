"""What the updates do to a run, once they are accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, format_path
from anabranch.workflows.interpreter.commands import Command
from anabranch.workflows.interpreter.decisions import Did
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.temporal import updates
from anabranch.workflows.temporal.clock import Clock
from anabranch.workflows.temporal.inbox import Inbox
from anabranch.workflows.temporal.requests import Request, checked, sender

_DID: dict[str, Did] = {"retry": "retried", "skip": "skipped", "fail": "failed"}


class Operations:
    """What people and services may do to one run. Each raises ApplicationError where it cannot be done any more."""

    def __init__(self, machine: Machine, inbox: Inbox, clock: Clock, dispatch: Callable[[list[Command]], None]) -> None:
        self._machine = machine
        self._inbox = inbox
        self._clock = clock
        self._dispatch = dispatch

    def resolve_conflict(self, request: Request) -> dict[str, Json]:
        """Settle one path; the join goes on when all of its paths are settled. Returns what is still open there."""
        machine, inbox = self._machine, self._inbox
        node, path, value = checked(lambda: updates.conflict_choice(machine, inbox, request))
        if "value" in request:
            machine.state.size.add(ChangeSet(0, {path: request["value"]}))
        by = sender(request)
        still_open = inbox.choose(node, path, value, by)
        machine.state.decisions.note(node, "settled", by)
        return {"node": node, "path": format_path(path), "open": [format_path(each) for each in still_open]}

    def complete_task(self, request: Request) -> dict[str, Json]:
        """Give the answer that an `approval` waits for."""
        machine, by = self._machine, sender(request)
        node, answer = checked(lambda: updates.task_answer(machine, self._inbox, request))
        known = machine.state.approvals.open.get(node)
        if known is None or known.ask.answers == 1 or by is None:
            machine.state.decisions.note(node, "answered", by)
            self._inbox.answer(node, answer)
            return {"node": node}
        at = self._clock.tick()
        self._dispatch(checked(lambda: machine.answer(node, answer, by, at)))
        return {"node": node, "answers": len(known.given), "needed": known.ask.answers}

    def write_context(self, request: Request) -> dict[str, Json]:
        """Write from outside; returns the `number` of the version that it made."""
        machine, at = self._machine, self._clock.tick()
        changes = checked(lambda: updates.outside_write(machine, request))
        number = checked(lambda: machine.write(changes, at))
        self._dispatch(machine.resume(at))
        return {"number": number}

    def operate(self, what: Literal["retry", "skip", "fail"], request: Request) -> dict[str, Json]:
        """Act on a paused node."""
        machine, at = self._machine, self._clock.tick()
        node, edits = checked(lambda: updates.paused_node(machine, request, edited=what != "fail"))
        machine.state.decisions.note(node, _DID[what], sender(request))
        if what == "retry":
            self._dispatch(machine.retry(node, edits, at))
        elif what == "skip":
            self._dispatch(machine.skip(node, edits, at))
        else:
            self._dispatch(machine.give_up(node, at))
        return {"node": node}
