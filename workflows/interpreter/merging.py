"""Where lines of descent meet: the merge at a join, at the end of a graph, and with writes from outside the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.resolution import ConflictResolution, Policies, winner
from anabranch.context.merge.union import Conflict, MergeResult, line_as_known, merge_heads
from anabranch.context.values import Json, Missing, Path, format_path
from anabranch.errors import ConflictError, VersionMismatch
from anabranch.workflows.interpreter.commands import AskConflict, Failure
from anabranch.workflows.interpreter.input import check_schema
from anabranch.workflows.interpreter.scope import NodeRun, Scope, Status
from anabranch.workflows.interpreter.trail import describe_conflict, merge_changes

if TYPE_CHECKING:
    from anabranch.workflows.interpreter.machine import Machine

_WRITERS = 3
"""Of one write from outside: the merge of the lines that it leaves, the write, the merge with those before it."""
_LAST_WRITE = Policies(ConflictResolution.LAST_WRITE_WINS, {})


class Branches:
    """The merges of one run."""

    def __init__(self, machine: Machine, default: ConflictResolution) -> None:
        self._machine = machine
        self._default = default
        self._policies: dict[int, Policies] = {}
        self._outside: Line | None = None
        """What services outside wrote, as one line of descent."""
        self._outside_versions: tuple[int, ...] = ()
        self._outside_writes = 0
        self._numbers: dict[int, int] = {}
        """The number of the version that each writer of the run's own graph made."""
        self.open: dict[str, tuple[Conflict, ...]] = {}
        """Conflicts that wait for somebody, by the address of the join."""

    def policies(self, scope: Scope) -> Policies:
        """How conflicts are settled in a scope."""
        key = id(scope.plan)
        if key not in self._policies:
            self._policies[key] = scope.plan.policies(self._default)
        return self._policies[key]

    def join(self, scope: Scope, run: NodeRun, choices: Mapping[Path, Json | Missing]) -> Line | None:
        """The one line that a node stands on; None while somebody must settle a conflict first."""
        lines = self._arriving(scope, run)
        if len(lines) == 1:
            return lines[0]
        united = self._united(scope, run, lines, choices)
        if united.line is None:
            self._ask(scope, run, united.conflicts)
        return united.line

    def by_last_write(self, scope: Scope, run: NodeRun) -> Line:
        """The line of a node whose join failed: conflicts that nobody settled show the last write."""
        lines = self._arriving(scope, run)
        choices: dict[Path, Json | Missing] = {}
        while (united := self._united(scope, run, lines, choices)).line is None:
            for conflict in united.conflicts:
                if not conflict.settled and (last := winner(conflict.candidates, _LAST_WRITE.default)) is not None:
                    choices[conflict.path] = last.value
        return united.line

    def settled(
        self, scope: Scope, lines: Sequence[Line], *, writer: int, by: str
    ) -> tuple[Line, tuple[Conflict, ...]]:
        """The lines united here and now. Raises ConflictError where somebody would have to choose."""
        united = merge_heads(lines, self.policies(scope), writer=writer, by=by, at=self._machine.at)
        if united.line is None:
            raise ConflictError(*_refusal(united.conflicts), place=f"node {by!r}")
        return united.line, united.conflicts

    def now(self) -> Line:
        """The context of all lines that are open now; what is not settled yet shows the last write."""
        return self._by_last_write(self._open_lines())

    def check_write(self, changes: ChangeSet) -> None:
        """Refuse what `write` would refuse, and what does not fit the schema on top of all that is known now.

        Raises VersionMismatch, ConflictError, SchemaViolation.
        """
        self._rejoined(changes)
        check_schema(self._machine.plan, self._preview(changes).data, changes.by)

    def check_size(self, changes: ChangeSet) -> None:
        """Refuse a write from outside that makes the context too large. Raises SizeLimitExceeded."""
        self._machine.size.check(self._preview(changes).data, changes.by, changes)

    def _preview(self, changes: ChangeSet) -> Line:
        line, _ = self.now().advance(changes, writer=self.next_outside_writer, by=changes.by, at=self._machine.at)
        return line

    def write(self, changes: ChangeSet) -> int:
        """Write from outside: a line that leaves the run at version `base_version` and rejoins at the next joins.

        Returns the number of the version that it made. Raises VersionMismatch, ConflictError.
        """
        machine, writer = self._machine, self.next_outside_writer
        line, refined = self._rejoined(changes)
        self._outside_writes += 1
        number = machine.trail.record(
            "external", line, refined, by=changes.by, at=machine.at, parents=(changes.base_version,)
        )
        self._numbers |= dict.fromkeys(range(writer, writer + _WRITERS), number)
        self._outside, self._outside_versions = line, (number,)
        return number

    def _rejoined(self, changes: ChangeSet) -> tuple[Line, ChangeSet]:
        """The line of all that came from outside with these changes, and the changes as a deep diff."""
        machine, writer = self._machine, self.next_outside_writer
        base = self._at_version(changes.base_version)
        line, refined = base.advance(changes, writer=writer + 1, by=changes.by, at=machine.at)
        if self._outside is not None:
            line, _ = self.settled(machine.root, [self._outside, line], writer=writer + 2, by=changes.by)
        return line, refined

    @property
    def next_outside_writer(self) -> int:
        """The first writer of what is written next from outside the graph: no line has seen it yet."""
        return self._machine.root.first_outside_writer + _WRITERS * self._outside_writes

    def edit_writer(self, scope: Scope, run: NodeRun) -> int:
        """Who writes an operator's edits: nobody whose write a service outside may have seen."""
        writer = scope.merge_writer(run)
        if scope.prefix or run.line is None or not run.line.seen >> writer & 1:
            return writer
        self._outside_writes += 1
        return self.next_outside_writer - _WRITERS

    def timed_out(self, address: str, conflicts: Sequence[Conflict]) -> Failure:
        """Why a join fails whose conflicts nobody settled in time: a definite failure, for the node never ran."""
        error = ConflictError(*_refusal(conflicts), place=f"node {address!r}")
        return Failure("failure", error.code, str(error), address)

    def _open_lines(self) -> list[Line]:
        """The lines of the run's own graph on which nothing stands yet, what came from outside last."""
        scope = self._machine.root
        lines = [run.line for run in scope.frontier() if run.line is not None] or [scope.base]
        return lines if self._outside is None else [*lines, self._outside]

    def _arriving(self, scope: Scope, run: NodeRun) -> list[Line]:
        """The lines that meet at a node, what came from outside last; notes their versions."""
        predecessors = scope.predecessors(run)
        lines = [each.line for each in predecessors if each.line is not None] or [scope.base]
        versions = [number for each in predecessors for number in each.versions] or list(scope.versions)
        if scope.prefix == "" and self._outside is not None:
            lines.append(self._outside)
            versions.extend(self._outside_versions)
        run.versions = tuple(dict.fromkeys(versions))
        return lines

    def _united(
        self, scope: Scope, run: NodeRun, lines: Sequence[Line], choices: Mapping[Path, Json | Missing]
    ) -> MergeResult:
        machine, address = self._machine, scope.address(run)
        writer = scope.merge_writer(run)
        united = merge_heads(lines, self.policies(scope), writer=writer, by=address, at=machine.at, choices=choices)
        if united.line is not None and united.conflicts:
            changes = merge_changes(united.conflicts, base_version=lines[0].version, by=address, at=machine.at)
            number = machine.trail.record(
                "merge",
                united.line,
                changes,
                by=address,
                at=machine.at,
                parents=run.versions,
                conflicts=united.conflicts,
            )
            run.versions = (number,)
            self.note(scope, writer, number)
        return united

    def _ask(self, scope: Scope, run: NodeRun, conflicts: tuple[Conflict, ...]) -> None:
        open_ones = tuple(conflict for conflict in conflicts if not conflict.settled)
        timeout = scope.plan.graph.context.conflict_timeout
        seconds = None if timeout is None else timeout.total_seconds()
        if seconds == 0:
            raise ConflictError(*_refusal(open_ones), place=f"node {scope.address(run)!r}")
        address, at = scope.address(run), self._machine.at
        if run.started is None:
            run.started = at
        if seconds is not None:  # a run that continued as new asks again
            seconds = max(0.001, seconds - (at - run.started) / 1000)
        self.open[address] = open_ones
        self._machine.expect(scope, run, AskConflict(address, open_ones, seconds), Status.CONFLICT)

    def dump(self, name: Callable[[Line | None], str | None]) -> dict[str, Any]:
        """What must go along when the run continues as new; `name` names a line."""
        return {
            "outside": name(self._outside),
            "outside_versions": list(self._outside_versions),
            "outside_writes": self._outside_writes,
            "numbers": [list(item) for item in self._numbers.items()],
        }

    def load(self, dumped: dict[str, Any], line: Callable[[str], Line]) -> None:
        """The inverse of `dump`."""
        self._outside = None if dumped["outside"] is None else line(dumped["outside"])
        self._outside_versions = tuple(dumped["outside_versions"])
        self._outside_writes = dumped["outside_writes"]
        self._numbers = dict(dumped["numbers"])

    def note(self, scope: Scope, writer: int, number: int) -> None:
        """Remember which version a writer of the run's own graph made; bodies are not seen from outside."""
        if scope.prefix == "":
            self._numbers[writer] = number

    def _at_version(self, number: int) -> Line:
        """The context as it stood when version `number` was recorded."""
        machine = self._machine
        if not 1 <= number <= machine.trail.count:
            raise VersionMismatch(
                f"the run has no version {number}; it has made {machine.trail.count}",
                suggestion="read the query `context` and use its `number` as base_version",
            )
        known = sum(1 << writer for writer, made in self._numbers.items() if made <= number)
        lines = [line_as_known(line, known) for line in self._open_lines()]
        policies, writer = self.policies(machine.root), self.next_outside_writer
        united = merge_heads(lines, policies, writer=writer, by="outside", at=machine.at)
        if united.line is None:
            raise ConflictError(
                *_refusal(united.conflicts),
                suggestion="settle it first (`resolve_conflict`), or base the write on a version before it",
            )
        return united.line

    def _by_last_write(self, lines: Sequence[Line]) -> Line:
        if len(lines) == 1:
            return lines[0]
        united = merge_heads(lines, _LAST_WRITE, writer=self.next_outside_writer, by="now", at=self._machine.at)
        if united.line is None:
            raise AssertionError("last_write_wins settles every conflict")
        return united.line


def _refusal(conflicts: Sequence[Conflict]) -> tuple[str]:
    told = [f"{format_path(each.path)!r}: {describe_conflict(each)['candidates']}" for each in conflicts]
    return (f"{len(told)} unsettled conflict(s): " + "; ".join(told),)
