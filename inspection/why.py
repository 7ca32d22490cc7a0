"""Why a value is what it is: its writer, what that read, who wrote that, and so on to the input; and why a node ran.

What decided is evaluated again, on the context that the node saw: rules, prompts, the conditions of edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from anabranch.context.values import Json, Missing, Path, format_path
from anabranch.errors import InputError
from anabranch.graph.expressions.expressions import Expression
from anabranch.graph.plan_node import PlanNode
from anabranch.inspection.blame import blame
from anabranch.inspection.calls import what_it_did
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.lineage import Lineage, Past, changed, overlap
from anabranch.inspection.planned import planned_at
from anabranch.inspection.visits import Route, Visit
from anabranch.transport.node_protocol import iso_time
from anabranch.workflows.interpreter.node_run import CLOSED, Status
from anabranch.workflows.interpreter.trail import Version, describe_conflict

_MOST = 200
"""Causes that one answer has at most."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A value that something decided by, and the versions that wrote it."""

    path: str
    value: Json | Missing
    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """An edge to a node, or the node's own `when` (`source` is None), with the values that decided."""

    source: str | None
    source_status: str
    text: str
    """The condition, or how the source had to end."""
    held: bool
    values: tuple[Seen, ...]
    because: tuple[Condition, ...] = ()
    """Where its source was skipped too: why."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A version of the context, what made it, and what it was made from."""

    version: int
    by: str
    kind: str
    type: str
    """The type of the node that wrote it, if one did."""
    at: int
    wrote: Mapping[str, Json]
    removed: tuple[str, ...]
    did: tuple[str, ...]
    """What decided: the rule that fired, the model and its prompt, the statement, the merge."""
    conditions: tuple[Condition, ...]
    """Why the node ran at all."""
    reads: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """Why something is as it is: the versions that it goes back to, the nearest first."""

    about: str
    value: Json | Missing
    conditions: tuple[Condition, ...]
    """Of a node: why it ran, or did not."""
    status: str | None
    """Of a node."""
    roots: tuple[int, ...]
    """The versions that wrote it last."""
    causes: tuple[Cause, ...]


class Why:
    """Answers for one run, at its last event. `lineage` has the versions of the whole chain."""

    def __init__(self, inspection: Inspection, lineage: Lineage) -> None:
        self._inspection = inspection
        self._lineage = lineage

    def path(self, path: Path) -> Slice:
        """Why a value is what it is. Raises InputError where nothing was ever written."""
        line = self._inspection.line
        found = [] if line is None else blame(line, self._lineage, path)
        within = [each for each in found if len(each.path) >= len(path)] or found[-1:]
        roots = tuple(dict.fromkeys(each.version for each in within if each.version is not None))
        if not roots or line is None:
            raise InputError(
                f"nothing was ever written at {format_path(path)!r}",
                place="PATH",
                suggestion="`anabranch blame` lists the paths that there are",
            )
        value = self._lineage.of(roots).value(path) if len(roots) == 1 else Past(line.data, {}).value(path)
        return Slice(format_path(path), value, (), None, roots, self._causes(roots, path))

    def node(self, address: str) -> Slice:
        """Why a node ran, or was skipped. Raises InputError for one that the run does not know, or has not reached."""
        visits = self._inspection.visited(address)
        state = self._inspection.nodes().get(address)
        if not visits and address not in self._inspection.skipped:
            if state is not None:
                state_of = "in conflict" if state.status is Status.CONFLICT else str(state.status)
                raise InputError(f"the node {address!r} is {state_of}: nothing has decided about it yet")
            raise self._unknown(address)
        if visits:
            routes, read, roots = visits[-1].routes, visits[-1].read, visits[-1].roots
        else:
            read, routes = self._inspection.skipped[address]
            roots = {}
        conditions = (*self._routes(routes, {address}), *self._own(address, read, routes, skipped=not visits))
        seen = [number for each in _all(conditions) for value in each.values for number in value.versions]
        reads = self._reads(address, self._lineage.of(read), roots) if visits else ()
        seen += [number for each in reads for number in each.versions]
        status = "skipped" if not visits else str(state.status) if state is not None else _outcome(visits[-1])
        return Slice(address, _nothing(), conditions, status, tuple(dict.fromkeys(seen)), self._causes(seen, ()))

    def _unknown(self, address: str) -> InputError:
        if self._planned(address) is not None:  # a graph's own nodes are known, whether they ran or not
            return InputError(
                f"the node {address!r} did not run",
                place="--node",
                suggestion="why is not known of items and turns that are over; it is of the nodes that ran in them",
            )
        return InputError(f"the run has no node {address!r}", place="--node", suggestion="look at `anabranch show`")

    def _causes(self, roots: Iterable[int], path: Path) -> tuple[Cause, ...]:
        queue, found = list(dict.fromkeys(roots)), dict[int, Cause]()
        for number in queue:  # grows while it is walked
            if number in found or len(found) >= _MOST:
                continue
            try:
                version = self._lineage[number]
            except InputError:
                continue  # an earlier run of the chain has it
            found[number] = cause = self._cause(version, path if number in queue[:1] else ())
            queue.extend(each for read in cause.reads for each in read.versions)
        return tuple(found.values())

    def _cause(self, version: Version, path: Path) -> Cause:
        planned = self._planned(version.by)
        visit = self._visit(version)
        before = self._lineage.before(version.number)
        roots = self._roots(visit, version)
        did: tuple[str, ...] = ()
        if version.kind == "merge":
            did = tuple(_merged(version))
        elif planned is not None and version.kind in {"node", "compensation"}:
            did = (*(() if visit is None else visit.events), *what_it_did(planned, before.data, roots, version))
            did += () if version.answered_by is None else (f"answered by {version.answered_by}",)
        elif version.kind == "fallback":
            did = ("the node failed, and the run went on with the values of its `on_failure`",)
        elif version.kind == "rollback":
            did = ("the saga was undone: the data from before it, and what compensations wrote",)
        return Cause(
            version.number,
            version.by,
            version.kind,
            "" if planned is None else planned.node.type,
            version.at,
            {format_path(each): value for each, value in version.changes.set.items()},
            tuple(map(format_path, version.changes.removed)),
            did,
            () if visit is None else tuple(self._routes(visit.routes)),
            tuple(self._made_from(version, planned, before, roots, path)),
        )

    def _made_from(
        self, version: Version, planned: PlanNode | None, before: Past, roots: Mapping[str, Json], path: Path
    ) -> Iterator[Seen]:
        if version.kind == "merge":
            yield from self._candidates(version, path)
        elif version.kind == "rollback":
            undone = [each for each in self._lineage if each.kind == "compensation" and each.number < version.number]
            for each in undone:
                for where in changed(each):
                    yield Seen(format_path(where), self._lineage.after(each.number).value(where), (each.number,))
        elif inner := list(self._inside(version, path)):
            yield from inner
        elif planned is not None:
            yield from self._reads(version.by, before, roots)

    def _candidates(self, version: Version, path: Path) -> Iterator[Seen]:
        for conflict in version.conflicts:
            if path and not overlap(conflict.path, path):
                continue
            for side in conflict.candidates:
                numbers = tuple(
                    each.number for each in self._lineage.by(side.by) if each.at == side.at and each is not version
                )
                yield Seen(format_path(conflict.path), side.value, numbers)

    def _inside(self, version: Version, path: Path) -> Iterator[Seen]:
        """What was written at a path in the body of a composite, or all that was, where its value was collected."""
        prefixes = (f"{version.by}/", f"{version.by}[", f"{version.by}~")
        inner = [each for each in self._lineage if each.number < version.number and each.by.startswith(prefixes)]
        written = [(each.number, where) for each in inner for where in changed(each)]
        about = [(number, where) for number, where in written if overlap(where, path)]
        for number, where in about or written:
            yield Seen(format_path(where), self._lineage.after(number).value(where), (number,))

    def _reads(self, address: str, before: Past, roots: Mapping[str, Json]) -> tuple[Seen, ...]:
        planned = self._planned(address)
        if planned is None:
            return ()
        keys = planned.reads if planned.reads is not None else tuple(before.data)
        return tuple(_seen((key,), before) for key in keys if key in before.data and key not in roots)

    def _routes(self, routes: Iterable[Route], asked: set[str] | None = None) -> Iterator[Condition]:
        """The edges to a node. Of sources that were skipped it is told why, unless `asked` has them."""
        for route in routes:
            text = "otherwise" if route.is_otherwise else route.when
            needed = "always" if len(route.outcomes) == len(CLOSED) + 1 else f"on {' or '.join(route.outcomes)}"
            said = f"when {text}" if route.when is not None else text or needed
            values = () if route.condition is None else self._values(route.condition, self._lineage.of(route.read))
            because: tuple[Condition, ...] = ()
            if asked is not None and route.source not in asked and route.source in self._inspection.skipped:
                asked.add(route.source)
                read, before = self._inspection.skipped[route.source]
                because = (*self._routes(before, asked), *self._own(route.source, read, before, skipped=True))
            yield Condition(route.source, route.source_status, said, route.is_taken, values, because)

    def _own(
        self, address: str, read: tuple[int, ...], routes: tuple[Route, ...], *, skipped: bool
    ) -> Iterator[Condition]:
        planned = self._planned(address)
        if planned is None or planned.condition is None or (skipped and routes and not any(r.is_taken for r in routes)):
            return
        numbers = read or tuple(number for route in routes if route.is_taken for number in route.read)
        values = self._values(planned.condition, self._lineage.of(numbers))
        yield Condition(None, "", f"when {planned.condition.source}", not skipped, values)

    def _values(self, condition: Expression, past: Past) -> tuple[Seen, ...]:
        paths = set(condition.paths) | {(key,) for key in condition.keys or () if key in past.data}
        longest = {path for path in paths if not any(other != path and other[: len(path)] == path for other in paths)}
        return tuple(_seen(path, past) for path in sorted(longest))

    def _planned(self, address: str) -> PlanNode | None:
        plan = self._inspection.plan
        return None if plan is None else planned_at(plan, address)

    def _visit(self, version: Version) -> Visit | None:
        """The start of the node that wrote a version."""
        visits = [visit for visit in self._inspection.visited(version.by) if visit.started <= version.at]
        return visits[-1] if visits else None

    def _roots(self, visit: Visit | None, version: Version) -> dict[str, Json]:
        """The names beside the context's keys that a node's expressions saw."""
        inspection, graph = self._inspection, self._inspection.graph
        at = version.at if visit is None else visit.started
        run: dict[str, Json] = {
            "id": inspection.first_run_id,
            "session_id": inspection.workflow_id,
            "graph": "" if graph is None else graph.name,
            "time": iso_time(at),
            "attempt": 1,
        }
        return {"run": run, **({} if visit is None else visit.roots)}


def _all(conditions: Iterable[Condition]) -> Iterator[Condition]:
    for each in conditions:
        yield each
        yield from _all(each.because)


def _seen(path: Path, past: Past) -> Seen:
    return Seen(format_path(path), past.value(path), tuple(dict.fromkeys(past.writers_of(path).values())))


def _merged(version: Version) -> Iterator[str]:
    for conflict in version.conflicts:
        told = describe_conflict(conflict)
        by = "" if conflict.settled_by is None else f", chosen by {conflict.settled_by}"
        yield f"merged {told['path']} by {told['strategy']}{by}"


def _outcome(visit: Visit) -> str:
    if visit.ended is None:
        return "running"
    return "succeeded" if visit.failure is None else "failed"


def _nothing() -> Missing:
    return Missing.MISSING
