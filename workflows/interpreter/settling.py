"""Which edges are taken behind a node, what follows, and what is given up: losers of a race, scopes that fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from anabranch.context.merge.lineage import Line
from anabranch.graph.expressions.expressions import evaluate_condition
from anabranch.graph.plan_node import PlanEdge
from anabranch.workflows.interpreter.address import inside, node_inside
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.failing import Abort
from anabranch.workflows.interpreter.handled import errors_before
from anabranch.workflows.interpreter.last import last_of
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.scope import END, Scope, Started
from anabranch.workflows.interpreter.state import RunState


def routes_behind(state: RunState, scope: Scope, run: NodeRun, line: Line, outcome: str) -> list[tuple[PlanEdge, bool]]:
    """The node's outgoing edges, each taken or dead. Raises EvaluationError, naming the edge."""
    roots = state.roots(scope, run)
    roots["error"] = run.failure.root() if run.failure else roots.get("error")
    if run.failure is not None or "errors" not in roots:
        roots["errors"] = errors_before(scope, line)
    routes: list[tuple[PlanEdge, bool]] = []
    with state.budget.evaluating() as cost:
        for edge in run.planned.outgoing:
            taken = outcome in edge.ends
            if taken and edge.condition is not None:
                taken = evaluate_condition(edge.condition, line.data, roots, cost)
            routes.append((edge, taken))
    if outcome == "success" and (place := run.planned.otherwise) is not None:
        otherwise, _ = routes.pop(place)
        is_chosen = any(taken and planned.edge.outcome != "always" for planned, taken in routes)
        routes.insert(place, (otherwise, not is_chosen))
    return routes


def settle(state: RunState, scope: Scope, edges: Iterable[tuple[PlanEdge, bool]]) -> None:
    """Settle edges as taken or dead, and queue what may start then, including the end of the scope."""
    before = scope.open
    ready = scope.settle(edges)
    state.queue(scope, ready)
    state.budget.spend(before - scope.open)
    for run in ready:
        if run.planned.fires_at is not None and run.planned.node.losers == "cancel":
            abandon(state, scope, scope.plan.racing(run.planned.id))
    if scope.open == 0 and scope.end.status is Status.PENDING and not _must_go_on(state, scope):
        state.queue(scope, (scope.end,))


def _must_go_on(state: RunState, scope: Scope) -> bool:
    """Whether a scope may not end yet. The end of the run would cancel compensations that are under way."""
    if scope.lost and _waits_for_losers(state, scope):
        return True
    return state.is_aborting(scope.prefix + END) or (scope is state.root and bool(state.rollbacks or state.lasts))


def _waits_for_losers(state: RunState, scope: Scope) -> bool:
    """Whether nodes that lost a race still run the `finally` of a block, which begins now where it has not yet."""
    _give_up(state, scope, [name for name in scope.lost if not scope.nodes[name].status.final])
    return any(abort.node is not None and abort.node.scope is scope for abort in state.aborts.values())


def _give_up(state: RunState, scope: Scope, names: Iterable[str]) -> list[str]:
    """Cancel those of these nodes in which a block has a `finally`: they end behind that. Returns the others."""
    # A block that waits for its next attempt has no body, but a timer.
    begun = {address: body.node for address, body in state.bodies.items()}
    begun |= {each: node for each, node in state.work.items() if isinstance(node, Started)}
    begun |= _between_attempts(state)
    with_last = [address for address, node in begun.items() if last_of(node.run) is not None]
    if not with_last:
        return [*names]
    others: list[str] = []
    for name in names:
        address = scope.address(scope.nodes[name])
        if not any(inside(each, address) for each in with_last):
            others.append(name)
        elif address not in state.aborts:
            failure = Failure("cancelled", "CANCELLED", f"node {address!r} lost a race", address)
            abort(state, address, begun[address], failure)
    return others


def _between_attempts(state: RunState) -> dict[str, Started]:
    """Blocks with a `finally` that have begun and have no body now: paused ones, and those about to start again."""
    at = state.at
    found = {address: Started(each.scope, each.run, each.line, at) for address, each in state.paused_nodes.items()}
    for scope, run in state.ready:
        if run.is_undone and run.line is not None:
            found[scope.address(run)] = Started(scope, run, run.line, at)
    return {address: node for address, node in found.items() if last_of(node.run) is not None}


def abort(state: RunState, prefix: str, node: Started | None, failure: Failure, item: Scope | None = None) -> None:
    """Cancel what runs at, or inside, an address: when it has ended, the node there fails, or the item."""
    for address in [each for each in state.deadlines if state.cancels(prefix, each)]:
        state.stop_deadline(address)
    state.due |= {each: node for each, node in _between_attempts(state).items() if state.cancels(prefix, each)}
    state.aborts = {each: abort for each, abort in state.aborts.items() if not state.cancels(prefix, each)}
    state.aborts[prefix] = Abort(node, failure, item)
    state.paused_nodes = {each: one for each, one in state.paused_nodes.items() if not state.cancels(prefix, each)}
    state.cancelling.extend(address for address in state.work if state.cancels(prefix, address))


def abandon(state: RunState, scope: Scope, names: Collection[str]) -> None:
    """Of these nodes, those that lost a race are over: what runs of them is cancelled, and nobody waits for it.

    How it ends concerns the saga alone.
    """
    late = {name: run for name in names if name in scope.lost and not (run := scope.nodes[name]).status.final}
    if not late:
        return
    late = {name: late[name] for name in _give_up(state, scope, late)}

    def is_late(address: str) -> bool:
        return node_inside(address, scope.prefix) in late

    for address, node in state.work.items():
        if is_late(address):
            state.cancelling.append(address)
            if node.scope is not scope:
                node.scope.close(node.run, Status.CANCELLED)
    state.paused_nodes = {address: node for address, node in state.paused_nodes.items() if not is_late(address)}
    state.aborts = {address: abort for address, abort in state.aborts.items() if not is_late(address)}
    state.ready = deque((each, run) for each, run in state.ready if not is_late(each.address(run)))
    for run in late.values():
        state.close_body(scope.address(run))
        run.ended = state.at
        scope.close(run, Status.CANCELLED)
