"""What an operator may do with a node, or a compensation, that failed and is paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anabranch.context.changes import ChangeSet
from anabranch.workflows.interpreter.commands import Command
from anabranch.workflows.interpreter.scope import NodeRun, Scope

if TYPE_CHECKING:
    from anabranch.workflows.interpreter.machine import Machine


class Operator:
    """Decides for the paused nodes of one run. `edits` change the context that the node stands on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def retry(self, address: str, edits: ChangeSet | None, at: int) -> list[Command]:
        """Try it again."""
        machine = self._machine
        machine.at = at
        if (step := machine.undo.paused(address)) is not None:
            machine.undo.retry(step)
            return machine.drain()
        scope, run = machine.paused.pop(address)
        self._edit(scope, run, edits)
        run.failure = None
        machine.guarded(scope, run, machine.launch)
        return machine.drain()

    def skip(self, address: str, edits: ChangeSet | None, at: int) -> list[Command]:
        """Go on as if it had succeeded and written `edits`; its failure is forgotten.

        It is undone later only if it may have happened: after a definite failure it did nothing.
        """
        machine = self._machine
        machine.at = at
        if (step := machine.undo.paused(address)) is not None:
            machine.undo.give_up(step, done=True)
            return machine.drain()
        changes = edits or ChangeSet(base_version=0, set={})
        scope, run = machine.paused.pop(address)
        run.failure = None
        machine.guarded(scope, run, lambda scope, run: machine.outcomes.complete(scope, run, changes))
        return machine.drain()

    def give_up(self, address: str, at: int) -> list[Command]:
        """Let its failure stand."""
        machine = self._machine
        machine.at = at
        if (step := machine.undo.paused(address)) is not None:
            machine.undo.give_up(step, done=False)
        else:
            machine.outcomes.close_failed(*machine.paused.pop(address))
        return machine.drain()

    def _edit(self, scope: Scope, run: NodeRun, edits: ChangeSet | None) -> None:
        machine = self._machine
        if not edits or run.line is None:
            return
        writer = machine.branches.edit_writer(scope, run)
        line, refined = run.line.advance(edits, writer=writer, by=edits.by, at=machine.at)
        machine.size.add(refined)
        number = machine.trail.record("external", line, refined, by=edits.by, at=machine.at, parents=run.versions)
        run.line, run.versions = line, (number,)
        machine.branches.note(scope, writer, number)
