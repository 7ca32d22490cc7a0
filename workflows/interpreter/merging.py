"""Where lines of descent meet: at joins, at the end of a graph, and with writes from outside the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.reduction import why_not
from anabranch.context.merge.resolution import Candidate, ConflictResolution, Policies, Reducer, winner
from anabranch.context.merge.union import Conflict, MergeResult, line_as_known, merge_heads
from anabranch.context.values import Json, Missing, Path, format_path
from anabranch.errors import ConflictError, VersionMismatch
from anabranch.graph.expressions.json_text import text_of
from anabranch.workflows.interpreter.commands import AskConflict, Failure
from anabranch.workflows.interpreter.edits import check_edits
from anabranch.workflows.interpreter.input import check_schema
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.scope import OpenJoin, Scope, Started
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import describe_conflict, merge_changes

_WRITERS = 3
"""Writers of one write from outside: the merge of the lines that it is based on, the write itself, and the merge with
earlier writes from outside."""
_SHOWN = 100
"""Characters of a value in an error."""
_LAST_WRITE = Policies(ConflictResolution.LAST_WRITE_WINS, {})


class Merging:
    """The merges of one run."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._policies: dict[int, Policies] = {}
        self.choosers: Mapping[Path, str] = {}
        """Who made the choices of the current event, by the path."""

    def join(self, scope: Scope, run: NodeRun, choices: Mapping[Path, Json | Missing]) -> Line | None:
        """The merged line for a node that starts; None while a person must settle a conflict first."""
        lines = self._arriving(scope, run)
        if len(lines) == 1:
            return lines[0]
        merged = self._merged(scope, run, lines, choices)
        if merged.line is None:
            _refuse_irreducible(merged, scope.address(run))
            self._ask(scope, run, _unsettled(merged))
        return merged.line

    def by_last_write(self, scope: Scope, run: NodeRun) -> Line:
        """The merged line for a node whose join failed: the last write wins where a conflict is not settled."""
        lines = self._arriving(scope, run)
        choices: dict[Path, Json | Missing] = {}
        while (merged := self._merged(scope, run, lines, choices)).line is None:
            for conflict in merged.conflicts:
                if not conflict.settled and (last := winner(conflict.candidates, _LAST_WRITE.default)) is not None:
                    choices[conflict.path] = last.value
        return merged.line

    def items(
        self, node: Started, lines: Sequence[Line], choices: Mapping[Path, Json | Missing], *, writer: int
    ) -> Line | None:
        """The merged line of a `foreach`'s items; None while a person must settle a conflict between them first."""
        scope, run, state = node.scope, node.run, self._state
        by, policies = scope.address(run), self._policies_of(scope)
        merged = merge_heads(lines, policies, writer=writer, by=by, at=state.at, choices=choices)
        if merged.line is None:
            _refuse_irreducible(merged, by)
            self._ask(scope, run, _unsettled(merged))
        elif merged.conflicts and not choices:
            state.watcher.conflicts_found(by, merged.conflicts)
        run.conflicts = self._signed(merged.conflicts)
        return merged.line

    def now(self) -> Line:
        """The current context: all open lines merged; the last write wins where a conflict is not settled."""
        lines = self._open_lines()
        if len(lines) == 1:
            return lines[0]
        merged = merge_heads(lines, _LAST_WRITE, writer=self.next_outside_writer, by="now", at=self._state.at)
        if merged.line is None:
            raise AssertionError("last_write_wins settles every conflict")
        return merged.line

    def unsettled(self) -> tuple[Conflict, ...]:
        """The conflicts between the open lines that no policy settles: in `now` the last write stands for them."""
        if len(lines := self._open_lines()) == 1:
            return ()
        policies, writer = self._policies_of(self._state.root), self.next_outside_writer
        merged = merge_heads(lines, policies, writer=writer, by="now", at=self._state.at)
        return tuple(conflict for conflict in merged.conflicts if not conflict.settled)

    def check_write(self, changes: ChangeSet) -> None:
        """Raise what `write` would raise, and SchemaViolation or SizeLimitExceeded if the context would not fit."""
        self._rejoined(changes)
        writer, at = self.next_outside_writer, self._state.at
        preview, _ = self.now().advance(changes, writer=writer, by=changes.by, at=at)
        check_schema(self._state.plan, preview.data, changes.by)
        self._state.size.check(preview.data, changes.by, changes)

    def write(self, changes: ChangeSet) -> int:
        """Write from outside: the line leaves the run at version `base_version` and rejoins at the next joins.

        Returns the number of the version that it made. Raises VersionMismatch, ConflictError.
        """
        state, writer = self._state, self.next_outside_writer
        line, refined = self._rejoined(changes)
        state.outside.count += 1
        parents = (changes.base_version,)
        number = state.trail.record("external", line, refined, by=changes.by, at=state.at, parents=parents)
        state.version_numbers |= dict.fromkeys(range(writer, writer + _WRITERS), number)
        state.outside.line, state.outside.versions = line, (number,)
        state.size.add(changes)
        self._ask_anew()
        return number

    @property
    def next_outside_writer(self) -> int:
        """The first writer of the next write from outside the graph. No line has seen it yet."""
        return self._state.root.first_outside_writer + _WRITERS * self._state.outside.count

    def edit_writer(self, scope: Scope, run: NodeRun, line: Line) -> int:
        """The writer of an operator's edits. It differs from every writer that a service outside may have seen."""
        writer = scope.merge_writer(run)
        if scope.prefix or not line.seen >> writer & 1:
            return writer
        self._state.outside.count += 1
        return self.next_outside_writer - _WRITERS

    def _merge_writer(self, scope: Scope, run: NodeRun) -> int:
        """The writer of the merge at a node's join. Before another attempt, others may have seen that of the first."""
        if run.rejoins and run.line is not None:
            return self.edit_writer(scope, run, run.line)
        return scope.merge_writer(run)

    def timed_out(self, join: OpenJoin) -> Failure:
        """Why a join fails whose conflicts were not settled in time: a definite failure, since the node never ran."""
        address = join.scope.address(join.run)
        error = ConflictError(_describe_unsettled(join.conflicts), place=f"node {address!r}")
        return Failure("failure", error.code, str(error), address)

    def note_version(self, scope: Scope, writer: int, number: int) -> None:
        """Remember the version that a writer made, if it is in the run's own graph: bodies are not visible outside."""
        if scope.prefix == "":
            self._state.version_numbers[writer] = number

    def _policies_of(self, scope: Scope) -> Policies:
        key = id(scope.plan)
        if key not in self._policies:
            self._policies[key] = scope.plan.policies(ConflictResolution.LAST_WRITE_WINS)
        return self._policies[key]

    def _open_lines(self) -> list[Line]:
        """The lines of the run's own graph on which no node has started, the line from outside last."""
        root, outside = self._state.root, self._state.outside.line
        lines = [head.line for head in root.heads()] or [root.base]
        return lines if outside is None else [*lines, outside]

    def _arriving(self, scope: Scope, run: NodeRun) -> list[Line]:
        """The lines that meet at a node, the line from outside last. Notes their versions at the node."""
        heads, outside = scope.arriving(run), self._state.outside
        lines = [head.line for head in heads] or [scope.base]
        versions = [number for head in heads for number in head.versions] or list(scope.versions)
        if scope.prefix == "" and outside.line is not None:
            lines.append(outside.line)
            versions.extend(outside.versions)
        run.versions = tuple(dict.fromkeys(versions))
        return lines

    def _merged(
        self, scope: Scope, run: NodeRun, lines: Sequence[Line], choices: Mapping[Path, Json | Missing]
    ) -> MergeResult:
        state, address, writer = self._state, scope.address(run), self._merge_writer(scope, run)
        policies = self._policies_of(scope)
        merged = merge_heads(lines, policies, writer=writer, by=address, at=state.at, choices=choices)
        if merged.line is not None and merged.conflicts and not scope.has_lost(run):
            if not choices:  # else they were found when people were asked
                state.watcher.conflicts_found(address, merged.conflicts)
            changes = merge_changes(merged.conflicts, base_version=lines[0].version, by=address, at=state.at)
            conflicts = self._signed(merged.conflicts)
            number = state.trail.record(
                "merge",
                merged.line,
                changes,
                by=address,
                at=state.at,
                parents=run.versions,
                conflicts=conflicts,
            )
            run.versions = (number,)
            self.note_version(scope, writer, number)
        return merged

    def _signed(self, conflicts: tuple[Conflict, ...]) -> tuple[Conflict, ...]:
        """The conflicts of a merge, with the names of those who settled them."""
        by = self.choosers
        return tuple(replace(each, settled_by=by.get(each.path)) for each in conflicts) if by else conflicts

    def _ask_anew(self) -> None:
        """After a write from outside: joins that wait ask again where it is a new candidate, or takes one away."""
        state = self._state
        for address, join in list(state.open_joins.items()):
            if join.scope.prefix or address in state.bodies or state.is_aborting(address):
                continue
            conflicts = self._open_conflicts(join.scope, join.run)
            if conflicts != join.conflicts:
                self._ask(join.scope, join.run, conflicts)

    def _open_conflicts(self, scope: Scope, run: NodeRun) -> tuple[Conflict, ...]:
        """What a person must settle before a node starts, as it stands now."""
        lines, policies = self._arriving(scope, run), self._policies_of(scope)
        address, writer = scope.address(run), self._merge_writer(scope, run)
        return _unsettled(merge_heads(lines, policies, writer=writer, by=address, at=self._state.at))

    def _ask(self, scope: Scope, run: NodeRun, unsettled: tuple[Conflict, ...]) -> None:
        timeout = scope.plan.graph.context.conflict_timeout
        seconds = None if timeout is None else timeout.total_seconds()
        address, at = scope.address(run), self._state.at
        if run.asked is None:
            self._state.watcher.conflicts_found(address, unsettled)
        if seconds == 0:
            raise ConflictError(_describe_unsettled(unsettled), place=f"node {address!r}")
        if run.asked is None:
            run.asked = at
        if run.started is None:
            run.started = at
        if seconds is not None:  # who is asked again has the rest of the time
            seconds = max(0.001, seconds - (at - run.asked) / 1000)
        join = OpenJoin(scope, run, unsettled)
        self._state.expect(join, AskConflict(address, unsettled, seconds), Status.CONFLICT)

    def _rejoined(self, changes: ChangeSet) -> tuple[Line, ChangeSet]:
        """The line from outside including these changes, and the changes reduced to what differs from their base."""
        state, writer = self._state, self.next_outside_writer
        base = self._at_version(changes.base_version)
        check_edits(changes, base.data)
        line, refined = base.advance(changes, writer=writer + 1, by=changes.by, at=state.at)
        if state.outside.line is not None:
            line = self._with_earlier(state.outside.line, line, writer=writer + 2, by=changes.by)
        return line, refined

    def _with_earlier(self, earlier: Line, line: Line, *, writer: int, by: str) -> Line:
        """The line of a write from outside, with what was written from outside before. Raises ConflictError."""
        policies = self._policies_of(self._state.root)
        merged = merge_heads([earlier, line], policies, writer=writer, by=by, at=self._state.at)
        if merged.line is None:
            raise ConflictError(_describe_unsettled(merged.conflicts), place=f"node {by!r}")
        return merged.line

    def _at_version(self, number: int) -> Line:
        """The context as it was when version `number` was recorded."""
        state = self._state
        if not 1 <= number <= state.trail.count:
            raise VersionMismatch(
                f"the run has no version {number}; its newest version is {state.trail.count}",
                suggestion="read the query `context` and use its `number` as base_version",
            )
        known = sum(1 << writer for writer, made in state.version_numbers.items() if made <= number)
        lines = [line_as_known(line, known) for line in self._open_lines()]
        policies, writer = self._policies_of(state.root), self.next_outside_writer
        merged = merge_heads(lines, policies, writer=writer, by="outside", at=state.at)
        if merged.line is None:
            raise ConflictError(
                _describe_unsettled(merged.conflicts),
                suggestion="settle it first (`resolve_conflict`), or base the write on an earlier version",
            )
        return merged.line


def _unsettled(merged: MergeResult) -> tuple[Conflict, ...]:
    return tuple(conflict for conflict in merged.conflicts if not conflict.settled)


def _refuse_irreducible(merged: MergeResult, address: str) -> None:
    """Raise ConflictError where a reducer has no result: nobody is asked to calculate in its place."""
    found = [
        f"{format_path(each.path)!r}: {why_not(each.policy, [side.value for side in each.candidates])}; "
        + ", ".join(map(_described, each.candidates))
        for each in _unsettled(merged)
        if isinstance(each.policy, Reducer)
    ]
    if found:
        raise ConflictError(
            "; ".join(found),
            place=f"node {address!r}",
            suggestion="write what the reducer takes, or give the path another policy under `context.merge`",
        )


def _described(side: Candidate) -> str:
    if isinstance(side.value, Missing):
        return f"{side.by!r} removed it"
    text = text_of(side.value) if not isinstance(side.value, str) else repr(side.value)
    return f"{side.by!r} wrote {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"


def _describe_unsettled(conflicts: Sequence[Conflict]) -> str:
    described = [f"{format_path(each.path)!r}: {describe_conflict(each)['candidates']}" for each in conflicts]
    return f"{len(described)} unsettled conflict(s): " + "; ".join(described)
