"""A run's state as plain JSON, for continue-as-new: what is needed to go on, and no more.

Carried are the lines that something can still stand on, the states of the nodes, bodies under way, the saga log and the
newest versions. Activities are not: the driver lets them finish first. Timers, people and conflicts are asked anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.line_wire import dump_lines, load_lines
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.resolution import Candidate, parse_policy
from anabranch.context.merge.union import Conflict
from anabranch.context.values import MISSING, Json, Missing, Path
from anabranch.graph.plan import Plan, PlanNode
from anabranch.workflows.interpreter.bodies import BodyRun
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.saga import Ancestry, Step, StepState
from anabranch.workflows.interpreter.scope import NodeRun, Scope, Status
from anabranch.workflows.interpreter.trail import Version

State = dict[str, Any]
MAX_VERSIONS = 50
"""Versions of the audit trail that go along; older ones stay in the history of the runs before."""


def dump(machine: Machine) -> State:
    """The state of a run in which no activity is under way and nothing has failed."""
    lines = _Lines()
    composites = machine.composites
    state = {
        "is_paused": machine.is_paused,
        "branches": machine.branches.dump(lines.name),
        "scopes": [_dump_scope(scope, lines) for scope in (machine.root, *composites.scopes.values())],
        "bodies": [_dump_progress(address, progress, lines) for address, progress in composites.under_way.items()],
        "owners": composites.owners,
        "ready": [[scope.prefix, run.planned.id] for scope, run in machine.ready],
        "steps": [_dump_step(step, lines) for step in machine.undo.saga.steps.values()],
        "clock": machine.undo.saga.clock,
        "pivoted": machine.undo.saga.pivoted,
        "effects_left": machine.undo.saga.effects_left,
        "written": machine.size.written,
        "count": machine.trail.count,
        "conflicts": [_dump_conflict(conflict) for conflict in machine.trail.settled],
        "versions": [_dump_version(version) for version in machine.trail.versions[-MAX_VERSIONS:]],
    }
    return {**state, "lines": dump_lines(lines.by_name)}


def load(machine: Machine, state: State) -> None:
    """Put a fresh machine of the same plan into a dumped state, to be continued by `resume_from_snapshot`."""
    lines = load_lines(state["lines"])
    machine.is_paused = state["is_paused"]
    machine.branches.load(state["branches"], lines.__getitem__)
    machine.size.written = state["written"]
    machine.trail.count = state["count"]
    machine.trail.settled = [_load_conflict(told) for told in state["conflicts"]]
    machine.trail.versions = [_load_version(version) for version in state["versions"]]
    machine.undo.saga.clock = state["clock"]
    machine.undo.saga.pivoted = state["pivoted"]
    machine.undo.saga.effects_left = state.get("effects_left", False)  # older states do not tell
    for step in state["steps"]:
        machine.undo.saga.register(_load_step(machine.plan, step, lines))
    _load_scopes(machine, state, lines)
    scopes = {"": machine.root, **machine.composites.scopes}
    for prefix, name in state["ready"]:
        scope = scopes[prefix]
        machine.ready.append((scope, scope.node(name)))


def dump_choices(choices: Mapping[Path, Json | Missing]) -> list[Any]:
    """What was settled of the conflicts at a join, while others still wait."""
    return [[list(path), _optional(value)] for path, value in choices.items()]


def load_choices(dumped: list[Any]) -> dict[Path, Json | Missing]:
    """The inverse of `dump_choices`."""
    return {tuple(path): _present(told) for path, told in dumped}


class _Lines:
    """Gives each line a name, the same line the same one."""

    def __init__(self) -> None:
        self.by_name: dict[str, Line] = {}
        self._names: dict[int, str] = {}

    def name(self, line: Line | None) -> str | None:
        if line is None:
            return None
        if id(line) not in self._names:
            self._names[id(line)] = str(len(self._names))
            self.by_name[self._names[id(line)]] = line
        return self._names[id(line)]


def _dump_scope(scope: Scope, lines: _Lines) -> State:
    nodes = {name: _dump_node(run, lines) for name, run in scope.nodes.items() if run.status is not Status.PENDING}
    return {
        "prefix": scope.prefix,
        "turn": scope.turn,
        "name": scope.name,
        "base": lines.name(scope.base),
        "versions": list(scope.versions),
        "roots": dict(scope.roots),
        "nodes": nodes,
        "settled": {name: _settled(run) for name, run in scope.nodes.items() if run.status is Status.PENDING},
        "end": _dump_node(scope.end, lines),
    }


def _settled(run: NodeRun) -> list[Any]:
    return [run.unsettled, [edge.index for edge in run.taken]]


def _dump_node(run: NodeRun, lines: _Lines) -> list[Any]:
    failure = run.failure
    told = None if failure is None else [failure.outcome, failure.code, failure.message, failure.node, failure.details]
    return [
        run.status.value,
        run.unsettled,
        [edge.index for edge in run.taken],
        lines.name(run.line),
        list(run.versions),
        told,
        run.followed,
        run.started,
        run.ended,
    ]


def _load_scopes(machine: Machine, state: State, lines: Mapping[str, Line]) -> None:
    composites = machine.composites
    first, *inner = state["scopes"]
    _load_nodes(machine.root, first, lines)
    bodies = {body["address"]: body for body in state["bodies"]}
    waiting = {dumped["prefix"]: dumped for dumped in inner}
    for address, body in bodies.items():  # an outer body stands before those inside it
        scope = composites.scopes.get(body["scope"], machine.root)
        composites.under_way[address] = _load_progress(scope, body, lines)
        plan = scope.plan.body(body["node"])
        for prefix in [prefix for prefix, owner in state["owners"].items() if owner == address]:
            composites.owners[prefix] = address
            composites.scopes[prefix] = _load_scope(plan, waiting[prefix], lines)


def _load_scope(plan: Plan, dumped: State, lines: Mapping[str, Line]) -> Scope:
    scope = Scope(
        plan, dumped["prefix"], lines[dumped["base"]], roots=dumped["roots"], turn=dumped["turn"], loop=dumped["name"]
    )
    _load_nodes(scope, dumped, lines)
    return scope


def _load_nodes(scope: Scope, dumped: State, lines: Mapping[str, Line]) -> None:
    scope.base = lines[dumped["base"]]
    scope.versions = tuple(dumped["versions"])
    edges = {edge.index: edge for planned in scope.plan.nodes.values() for edge in planned.incoming}
    for name, (unsettled, taken) in dumped["settled"].items():
        run = scope.nodes[name]
        run.unsettled, run.taken = unsettled, [edges[index] for index in taken]
    for name, told in (*dumped["nodes"].items(), (scope.end.planned.id, dumped["end"])):
        run = scope.node(name)
        status, run.unsettled, taken, line, versions, failure, run.followed, run.started, run.ended = told
        scope.mark(run, Status(status))
        run.taken = [edges[index] for index in taken]
        run.line = None if line is None else lines[line]
        run.versions = tuple(versions)
        run.failure = None if failure is None else _load_failure(failure)
    scope.open = sum(not run.status.final for run in scope.nodes.values())


def _load_failure(told: list[Any]) -> Failure:
    outcome, code, message, node, details = told
    return Failure(outcome, code, message, node, tuple(details))


def _dump_progress(address: str, progress: BodyRun, lines: _Lines) -> State:
    return {
        "address": address,
        "scope": progress.scope.prefix,
        "node": progress.run.planned.id,
        "items": progress.items,
        "begun": progress.begun,
        "running": progress.running,
        "changes": {str(at): each.to_wire() for at, each in progress.results.items() if isinstance(each, ChangeSet)},
        "values": {str(at): each for at, each in progress.results.items() if not isinstance(each, ChangeSet)},
        "line": lines.name(progress.line),
    }


def _load_progress(scope: Scope, body: State, lines: Mapping[str, Line]) -> BodyRun:
    progress = BodyRun(scope, scope.nodes[body["node"]], body["items"], body["begun"], body["running"])
    progress.results.update({int(at): value for at, value in body["values"].items()})
    progress.results.update({int(at): ChangeSet.from_wire(each) for at, each in body["changes"].items()})
    progress.line = None if body["line"] is None else lines[body["line"]]
    return progress


def _dump_step(step: Step, lines: _Lines) -> list[Any]:
    ancestry = [[each.scope, each.turn, each.writer, str(each.seen)] for each in step.ancestry]
    name, roots = lines.name(step.line), dict(step.roots)
    return [step.address, name, roots, step.key, ancestry, step.order, step.state.value]


def _load_step(plan: Plan, told: list[Any], lines: Mapping[str, Line]) -> Step:
    address, line, roots, key, ancestry, order, state = told
    stands = tuple(Ancestry(scope, turn, writer, int(seen)) for scope, turn, writer, seen in ancestry)
    return Step(address, _compensation(plan, address), lines[line], roots, key, stands, order, StepState(state))


def _compensation(plan: Plan, address: str) -> PlanNode:
    """The compensation of the node at an address such as `pack[3]/weigh`."""
    *bodies, name = (part.partition("[")[0] for part in address.split("/"))
    for body in bodies:
        plan = plan.body(body)
    planned = plan.nodes[name].compensation
    if planned is None:
        raise AssertionError(f"node {address!r} is in the saga's log and has no compensation")
    return planned


def _dump_version(version: Version) -> list[Any]:
    told = [version.number, version.version, version.kind, version.by, version.at]
    conflicts = [_dump_conflict(conflict) for conflict in version.conflicts]
    return [*told, list(version.parents), version.changes.to_wire(), conflicts]


def _load_version(told: list[Any]) -> Version:
    number, version, kind, by, at, parents, changes, conflicts = told
    settled = tuple(_load_conflict(each) for each in conflicts)
    return Version(number, version, kind, by, at, tuple(parents), ChangeSet.from_wire(changes), settled)


def _dump_conflict(conflict: Conflict) -> list[Any]:
    candidates = [[_optional(each.value), each.version, each.at, each.by] for each in conflict.candidates]
    base, value = _optional(conflict.base), _optional(conflict.value)
    return [list(conflict.path), base, candidates, str(conflict.policy), value, conflict.settled]


def _load_conflict(told: list[Any]) -> Conflict:
    path, base, candidates, policy, value, settled = told
    sides = tuple(Candidate(_present(each), version, at, by) for each, version, at, by in candidates)
    return Conflict(tuple(path), _present(base), sides, parse_policy(policy), _present(value), settled)


def _optional(value: Json | Missing) -> list[Json]:
    return [] if isinstance(value, Missing) else [value]


def _present(told: list[Json]) -> Json | Missing:
    return told[0] if told else MISSING
