"""What an operator may do with a node, or a compensation, that failed and is paused."""

from __future__ import annotations

from functools import partial

from anabranch.context.changes import ChangeSet, apply
from anabranch.errors import InputError
from anabranch.workflows.interpreter.edits import check_edits
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.input import check_schema
from anabranch.workflows.interpreter.last import last_of
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.scope import FailedNode, Started
from anabranch.workflows.interpreter.starts import Starts
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.undo import Undo

_NOTHING = ChangeSet(base_version=0, set={})


class Operator:
    """An operator's decisions on the paused nodes of one run. `edits` change the context that the node sees."""

    def __init__(self, state: RunState, merging: Merging, undo: Undo, endings: Endings, starts: Starts) -> None:
        self._state = state
        self._merging = merging
        self._undo = undo
        self._endings = endings
        self._starts = starts

    def check(self, address: str, edits: ChangeSet) -> None:
        """Raise what the context does not allow of an operator's edits: InputError, SchemaViolation and the like."""
        if self._undo.owns(address):
            raise InputError(
                f"{address!r} is a compensation: it runs on the context that its node left, and takes no changes",
                suggestion="leave `changes` and `removed` out",
            )
        failed = self._state.paused_nodes[address]
        check_edits(edits, failed.line.data, failed.scope.roots)
        preview = apply(failed.line.data, edits)
        check_schema(failed.scope.plan, preview, edits.by)
        self._state.size.check(preview, edits.by, edits)

    def retry(self, address: str, edits: ChangeSet | None) -> None:
        """Try it again."""
        if self._undo.owns(address):
            self._undo.retry(address)
            return
        failed = self._state.paused_nodes.pop(address)
        node = self._edited(failed, edits)
        node.run.failure = None
        self._endings.guarded(node.scope, node.run, partial(self._starts.launch, node))

    def skip(self, address: str, edits: ChangeSet | None) -> None:
        """Go on as if it had succeeded and written `edits`. Its failure is forgotten.

        It is undone later only if it may have had an effect: after a definite failure it had none.
        """
        if self._undo.owns(address):
            self._undo.give_up(address, done=True)
            return
        failed = self._state.paused_nodes.pop(address)
        failed.run.failure = None
        if last_of(failed.run) is not None:  # it sees the edits
            node = self._edited(failed, edits)
            self._endings.guarded(node.scope, node.run, partial(self._endings.go_on_with_last, node, _NOTHING))
            return
        node = Started(failed.scope, failed.run, failed.line, self._state.at)
        self._endings.guarded(
            node.scope,
            node.run,
            partial(self._endings.complete, node, edits or _NOTHING, operator=edits.by if edits else None),
        )

    def give_up(self, address: str) -> None:
        """Accept its failure."""
        if self._undo.owns(address):
            self._undo.give_up(address, done=False)
        else:
            self._endings.close_failed(self._state.paused_nodes.pop(address))

    def _edited(self, failed: FailedNode, edits: ChangeSet | None) -> Started:
        state, scope, run, line = self._state, failed.scope, failed.run, failed.line
        if edits:
            writer = self._merging.edit_writer(scope, run, line)
            line, refined = line.advance(edits, writer=writer, by=edits.by, at=state.at)
            state.size.add(refined)
            number = state.trail.record("external", line, refined, by=edits.by, at=state.at, parents=run.versions)
            run.line, run.versions = line, (number,)
            self._merging.note_version(scope, writer, number)
        return Started(scope, run, line, state.at)
