"""A run's state as plain JSON, for continue-as-new: what is needed to continue, and no more.

It holds the lines on which something can still start, the states of the nodes, bodies under way, the saga log and the
newest versions. Activities are not part of it: the driver lets them finish first. What waits for timers and people is
asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.line_wire import dump_lines, load_lines
from anabranch.context.merge.lineage import Line
from anabranch.graph.plan import Plan
from anabranch.graph.plan_node import PlanEdge, PlanNode
from anabranch.workflows.interpreter.address import node_id
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.mailbox import Mailbox
from anabranch.workflows.interpreter.node_run import Head, NodeRun, Status
from anabranch.workflows.interpreter.progress import Progress
from anabranch.workflows.interpreter.routes import route_of, with_route
from anabranch.workflows.interpreter.saga import Ancestry, Saga, Step, StepState
from anabranch.workflows.interpreter.scope import BodyRun, FailedNode, OpenJoin, Scope, Started
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.talk import Talk
from anabranch.workflows.interpreter.trail_wire import dump_trail, load_trail

Dump = dict[str, Any]


def dump(state: RunState) -> Dump:
    """The snapshot of a run in which no activity is under way and nothing has failed."""
    lines, outside = _Lines(), state.outside
    dumped = {
        "is_paused": state.is_paused,
        "outside": [lines.optional(outside.line), list(outside.versions), outside.count],
        "version_numbers": [list(item) for item in state.version_numbers.items()],
        "scopes": [_dump_scope(scope, lines) for scope in (state.root, *state.scopes.values())],
        "bodies": [_dump_body(body, lines) for body in state.bodies.values()],
        "ready": [[scope.prefix, run.planned.id] for scope, run in state.ready],
        "saga": _dump_saga(state.saga, lines),
        "not_undone": {step: dump_failure(failure) for step, failure in state.compensation_failures.items()},
        "written": state.size.written,
        "trail": dump_trail(state.trail, state.size.written),
    }
    if state.until is not None:
        dumped["until"] = state.until
    if state.decisions.newest:
        dumped["decisions"] = state.decisions.dump()
    if approvals := state.approvals.dump():
        dumped["approvals"] = approvals
    if state.mailbox is not None:
        dumped["mailbox"] = state.mailbox.dump()
    if state.trail.warnings:  # some belong to no version
        dumped["warnings"] = [[by, text] for by, text in state.trail.warnings]
    return {**dumped, "lines": dump_lines(lines.by_name)}


def load(state: RunState, dumped: Dump) -> None:
    """Restore a snapshot into the fresh state of a run of the same plan, for `Machine.resume_from_snapshot`."""
    lines = load_lines(dumped["lines"])
    state.is_paused = dumped["is_paused"]
    state.until = dumped.get("until")
    name, versions, state.outside.count = dumped["outside"]
    state.outside.line = None if name is None else lines[name]
    state.outside.versions = tuple(versions)
    state.version_numbers = dict(dumped["version_numbers"])
    state.size.written = dumped["written"]
    state.decisions.load(dumped.get("decisions", {}))
    load_trail(state.trail, dumped["trail"])
    if (warned := dumped.get("warnings")) is not None:
        state.trail.warnings = [(by, text) for by, text in warned]
    _load_saga(state.saga, state.plan, dumped["saga"], lines)
    state.compensation_failures = {step: load_failure(each) for step, each in dumped["not_undone"].items()}
    state.approvals.kept = dict(dumped.get("approvals", {}))
    if (kept := dumped.get("mailbox")) is not None:
        state.mailbox = Mailbox.load(kept, **state.mailbox_limits)
    _Loader(state, lines).load(dumped)


class _Lines:
    """Names lines: the same line has the same name."""

    def __init__(self) -> None:
        self.by_name: dict[str, Line] = {}
        self._names: dict[int, str] = {}

    def name(self, line: Line) -> str:
        if id(line) not in self._names:
            self._names[id(line)] = str(len(self._names))
            self.by_name[self._names[id(line)]] = line
        return self._names[id(line)]

    def optional(self, line: Line | None) -> str | None:
        return None if line is None else self.name(line)


def _dump_scope(scope: Scope, lines: _Lines) -> Dump:
    lost = scope.lost.items()
    nodes = {name: _dump_node(run, lines) for name, run in scope.nodes.items() if run.status is not Status.PENDING}
    return {
        "prefix": scope.prefix,
        "body": None if scope.body is None else scope.body.address,
        "turn": scope.turn,
        "name": scope.name,
        "base": lines.name(scope.base),
        "versions": list(scope.versions),
        "roots": dict(scope.roots),
        "nodes": nodes,
        "pending": {name: _dump_edges(run) for name, run in scope.nodes.items() if run.status is Status.PENDING},
        "end": _dump_node(scope.end, lines),
        "handled": {name: dump_failure(run.handled) for name, run in scope.nodes.items() if run.handled is not None},
        "lost": {name: None if head is None else [lines.name(head.line), *head.versions] for name, head in lost},
    }


def _dump_edges(run: NodeRun) -> list[Any]:
    return [run.unsettled, [edge.index for edge in run.taken]]


def _dump_node(run: NodeRun, lines: _Lines) -> list[Any]:
    failure = None if run.failure is None else dump_failure(run.failure)
    line, versions = lines.optional(run.line), list(run.versions)
    return [
        run.status.value,
        *_dump_edges(run),
        line,
        versions,
        failure,
        run.followed,
        run.asked,
        run.started,
        run.ended,
        run.attempt,
        run.is_undone,
        run.next_at,
        run.rejoins,
        *([] if (made := run.progress) is None else [made.all, made.done, made.failed, made.skipped, made.passed_over]),
    ]


class _Loader:
    """Restores scopes, nodes and bodies."""

    def __init__(self, state: RunState, lines: Mapping[str, Line]) -> None:
        self._state = state
        self._lines = lines

    def load(self, dumped: Dump) -> None:
        state = self._state
        root, *turns = dumped["scopes"]
        state.root.base = self._lines[root["base"]]
        self._load_nodes(state.root, root)
        for dumped_body in dumped["bodies"]:  # in the order of their start: outer bodies before those inside them
            body = self._load_body(state.scopes.get(dumped_body["scope"], state.root), dumped_body)
            state.bodies[body.address] = body
            for turn in turns:
                if turn["body"] == body.address:
                    self._load_turn(body, turn)
        scopes = {"": state.root, **state.scopes}
        state.ready.extend((scopes[prefix], scopes[prefix].node(name)) for prefix, name in dumped["ready"])

    def _load_body(self, scope: Scope, dumped: Dump) -> BodyRun:
        node = Started(scope, scope.nodes[dumped["node"]], self._lines[dumped["node_line"]], dumped["at"])
        body = BodyRun(node, self._lines[dumped["line"]], dumped["items"], dumped["entered"], dumped.get("at_once", 0))
        body.results.update({int(turn): value for turn, value in dumped["values"].items()})
        body.results.update({int(turn): ChangeSet.from_wire(each) for turn, each in dumped["changes"].items()})
        body.failures.update({int(turn): load_failure(each) for turn, each in dumped.get("failures", {}).items()})
        body.talk = Talk.from_wire(dumped["talk"]) if "talk" in dumped else None
        body.passed_over.update({int(turn): each for turn, each in dumped.get("passed_over", {}).items()})
        return body

    def _load_turn(self, body: BodyRun, dumped: Dump) -> None:
        plan, node_id = body.node.scope.plan, body.node.run.planned.id
        step = None if body.talk is None else next(iter({**dumped["nodes"], **dumped["pending"]}))
        scope = Scope(
            plan.body(node_id) if step is None else plan.step(node_id, step),
            dumped["prefix"],
            self._lines[dumped["base"]],
            body=body,
            roots=dumped["roots"],
            turn=dumped["turn"],
            name=dumped["name"],
        )
        body.turns[scope.turn] = scope
        self._state.scopes[scope.prefix] = scope
        self._load_nodes(scope, dumped)

    def _load_nodes(self, scope: Scope, dumped: Dump) -> None:
        scope.versions = tuple(dumped["versions"])
        edges = {edge.index: edge for planned in scope.plan.nodes.values() for edge in planned.incoming}
        for name, (unsettled, taken) in dumped["pending"].items():
            run = scope.nodes[name]
            run.unsettled, run.taken = unsettled, [edges[index] for index in taken]
        for name, node in (*dumped["nodes"].items(), (scope.end.planned.id, dumped["end"])):
            self._load_node(scope, scope.node(name), node, edges)
        for name, failure in dumped.get("handled", {}).items():
            scope.nodes[name].handled = load_failure(failure)
        for name, head in dumped["lost"].items():
            scope.lost[name] = None if head is None else Head(self._lines[head[0]], tuple(head[1:]))
        scope.open = sum(not run.status.final and not scope.has_lost(run) for run in scope.nodes.values())

    def _load_node(self, scope: Scope, run: NodeRun, dumped: list[Any], edges: Mapping[int, PlanEdge]) -> None:
        state, address = self._state, scope.address(run)
        status, run.unsettled, taken, line, versions, failure, run.followed, run.asked, *rest = dumped
        started, run.ended, run.attempt, run.is_undone, run.next_at, run.rejoins, *progress = rest
        run.progress = Progress(*progress) if progress else None
        scope.mark(run, Status(status))
        run.taken = [edges[index] for index in taken]
        run.line = self._line(line)
        run.versions = tuple(versions)
        run.failure = _failure_of(failure)
        run.started = started
        match run.status:
            case Status.WAITING:
                state.work[address] = Started(scope, run, self._lines[line], started)
            case Status.CONFLICT:
                state.work[address] = OpenJoin(scope, run, ())
            case Status.PAUSED:
                state.paused_nodes[address] = FailedNode(scope, run, self._lines[line], load_failure(failure))

    def _line(self, dumped: str | None) -> Line | None:
        return None if dumped is None else self._lines[dumped]


def _failure_of(dumped: list[Any] | None) -> Failure | None:
    return None if dumped is None else load_failure(dumped)


def _dump_body(body: BodyRun, lines: _Lines) -> Dump:
    node, results = body.node, body.results
    dumped: Dump = {
        "address": body.address,
        "scope": node.scope.prefix,
        "node": node.run.planned.id,
        "node_line": lines.name(node.line),
        "at": node.at,
        "line": lines.name(body.line),
        "items": body.items,
        "entered": body.entered,
        **({"at_once": body.at_once} if body.at_once else {}),
        "changes": {str(turn): each.to_wire() for turn, each in results.items() if isinstance(each, ChangeSet)},
        "values": {str(turn): each for turn, each in results.items() if not isinstance(each, ChangeSet)},
    }
    if body.failures:
        dumped["failures"] = {str(turn): dump_failure(each) for turn, each in body.failures.items()}
    if body.talk is not None:
        dumped["talk"] = body.talk.to_wire()
    if body.passed_over:
        dumped["passed_over"] = {str(turn): each for turn, each in body.passed_over.items()}
    return dumped


def dump_failure(failure: Failure) -> list[Any]:
    """A failure as JSON."""
    head = [failure.outcome, failure.code, failure.message, failure.node]
    return [*head, failure.details, failure.happened, failure.is_final]


def load_failure(dumped: list[Any]) -> Failure:
    """From what `dump_failure` gave."""
    outcome, code, message, node, details, happened, is_final = dumped
    return Failure(outcome, code, message, node, tuple(details), happened, is_final)


def _dump_saga(saga: Saga, lines: _Lines) -> Dump:
    return {
        "clock": saga.clock,
        "pivoted": saga.pivoted,
        "effects_left": saga.effects_left,
        "attempts": [*saga.attempts],
        "undone": [*saga.undone],
        "written": [[address, changes.to_wire()] for address, changes in saga.written],
        "steps": [_dump_step(step, lines) for step in saga.steps.values()],
    }


def _load_saga(saga: Saga, plan: Plan, dumped: Dump, lines: Mapping[str, Line]) -> None:
    saga.clock, saga.effects_left, saga.pivoted = dumped["clock"], dumped["effects_left"], dumped["pivoted"]
    saga.attempts = dict.fromkeys(dumped["attempts"])
    saga.undone = dumped["undone"]
    saga.written = [(address, ChangeSet.from_wire(changes)) for address, changes in dumped["written"]]
    for loaded in (_load_step(plan, step, lines) for step in dumped["steps"]):
        saga.steps[loaded.address] = loaded


def _dump_step(step: Step, lines: _Lines) -> list[Any]:
    ancestry = [[each.scope, each.turn, each.writer, str(each.seen)] for each in step.ancestry]
    name, roots = lines.name(step.line), dict(step.roots)
    route = [route_of(step.planned)] if step.planned.is_routed else []
    return [step.address, name, roots, step.key, ancestry, step.order, step.state.value, *route]


def _load_step(plan: Plan, dumped: list[Any], lines: Mapping[str, Line]) -> Step:
    address, line, roots, key, ancestry, order, state, *route = dumped
    places = tuple(Ancestry(scope, turn, writer, int(seen)) for scope, turn, writer, seen in ancestry)
    planned = _compensation(plan, address)
    for made in route:
        planned = with_route(planned, made)
    return Step(address, planned, lines[line], roots, key, places, order, StepState(state))


def _compensation(plan: Plan, address: str) -> PlanNode:
    """The compensation of the node at an address such as `pack[3]/weigh`."""
    *bodies, name = map(node_id, address.split("/"))
    for body in bodies:
        plan = plan.body(body)
    planned = plan.nodes[name].compensation
    if planned is None:
        raise AssertionError(f"node {address!r} is in the saga log but has no compensation")
    return planned
