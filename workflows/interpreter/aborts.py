"""Failing scopes: what runs inside is cancelled and awaited, then the failure goes to whoever stands around.

An abort of the run's own graph (prefix `""`) leads to compensation; one inside a composite node becomes that node's
failure, which its failure edges may still handle.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from anabranch.workflows.interpreter.bodies import inside
from anabranch.workflows.interpreter.commands import CancelWork, Failure
from anabranch.workflows.interpreter.scope import NodeRun, Scope

if TYPE_CHECKING:
    from anabranch.workflows.interpreter.machine import Machine


class Aborts:
    """The aborts under way in one run, by the address of the composite node (`""`: the run itself)."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._open: dict[str, tuple[Scope, NodeRun, Failure]] = {}

    def cover(self, address: str) -> bool:
        """Whether what stands at an address is being aborted."""
        return any(inside(address, prefix) for prefix in self._open)

    def scope(self, scope: Scope, failure: Failure) -> None:
        """A node failed and nothing handles it: its scope fails, and with it the composite node around."""
        if scope.prefix == "":
            self.begin("", scope, scope.end, failure)
        else:
            owner = self._machine.composites.owners[scope.prefix]
            progress = self._machine.composites.under_way[owner]
            self.begin(owner, progress.scope, progress.run, failure)

    def begin(self, prefix: str, scope: Scope, run: NodeRun, failure: Failure) -> None:
        """Start nothing more inside, and cancel what runs there. `run` is the node that fails in the end."""
        machine = self._machine
        if prefix == "":
            machine.failure = failure
            machine.root.give_up()
        self._open = {each: abort for each, abort in self._open.items() if not inside(each, prefix)}
        self._open[prefix] = (scope, run, failure)
        machine.paused = {each: found for each, found in machine.paused.items() if not inside(each, prefix)}
        for address in [each for each in machine.work if inside(each, prefix)]:
            machine.emit(CancelWork(address))

    def end_one(self) -> bool:
        """End an abort inside which everything has come to rest, if there is one."""
        for prefix, (scope, run, failure) in self._open.items():
            if any(inside(address, prefix) for address in self._machine.work):
                continue
            del self._open[prefix]
            if prefix == "":
                self._machine.composites.cancel()
                self._machine.undo.proceed()
            else:
                self._forget_ready(prefix)
                self._machine.outcomes.fail(scope, run, failure)
            return True
        return False

    def _forget_ready(self, prefix: str) -> None:
        """What was held back inside, while the run was paused or drained, never starts."""
        machine = self._machine
        kept = [(scope, run) for scope, run in machine.ready if not inside(scope.address(run), prefix)]
        machine.ready = deque(kept)
