"""What nodes came to in the run before, for those that run again only if they see something else now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from anabranch.graph.kinds.kinds import has_body
from anabranch.graph.model import ForeachNode
from anabranch.graph.plan import Plan
from anabranch.graph.plan_node import PlanNode
from anabranch.rerun.past import Past, root_of
from anabranch.workflows.interpreter.address import inside, node_id
from anabranch.workflows.interpreter.journal import Entry
from anabranch.workflows.interpreter.saga import COMPENSATION
from anabranch.workflows.interpreter.taken_over import Answer, first_attempt, sight, sight_of_item


def of_items(past: Past, plan: Plan, loops: Iterable[str]) -> dict[str, Answer]:
    """What the nodes of items came to that ended well, in the body of these `foreach` nodes."""
    found: dict[str, Answer] = {}
    prefixes = {prefix for name in loops for prefix in kept_turns(past, plan, name)}
    sights = _sights(past, prefixes)
    for entry in past.entries:
        prefix, slash, _ = entry.address.partition("/")
        seen = sights.get(f"{prefix}/") if slash else None
        if seen is not None and _is_outcome(entry, failed=True) and _is_leaf(past.plan, entry.address):
            found[first_attempt(entry.address)] = _answer(past, entry, seen, is_item=True)
    return found


def _sights(past: Past, prefixes: set[str]) -> dict[str, str]:
    """Of each of these turns, the digest of its item, as the nodes that are directly in it had it."""
    found: dict[str, str] = {}
    for visit in past.visits:
        prefix, slash, rest = visit.address.partition("/")
        if slash and "/" not in rest and f"{prefix}/" in prefixes and f"{prefix}/" not in found:
            found[f"{prefix}/"] = sight_of_item(visit.roots)
    return found


def kept_turns(past: Past, plan: Plan, name: str) -> list[str]:
    """The prefixes of the turns of a `foreach` that ended well and were not undone; none where its body differs."""
    loop = past.loops.get(name)
    if loop is None or name in past.undone or not _same_body(past.plan, plan, name):
        return []
    prefixes = [f"{loop.attempt}[{turn}]/" for turn in sorted(loop.turns)]
    touched = {f"{address.partition('/')[0]}/" for address in past.undone}
    return [prefix for prefix in prefixes if prefix not in touched]


def of_unchanged(past: Past, plan: Plan, *, without: Iterable[str]) -> dict[str, Answer]:
    """What nodes came to that succeeded and are defined as they were, but for those of some nodes of the graph."""
    found: dict[str, Answer] = {}
    visits, left_out, newest = past.last_visits(), frozenset(without), _newest_attempts(past.entries)
    gone = past.undone | past.given_up
    for entry in past.entries:
        address = entry.address
        if not _is_outcome(entry, failed=False) or root_of(address) in left_out or not _is_of(newest, address):
            continue
        if (visit := visits.get(address)) is None or any(inside(address, each) for each in gone):
            continue
        if _is_leaf(past.plan, address) and is_same(past.plan, plan, address):
            seen = sight(visit.given, visit.roots)
            found[first_attempt(address)] = _answer(past, entry, seen, is_item=False)
    return found


def is_same(before: Plan, now: Plan, address: str) -> bool:
    """Whether both plans define the node at an address alike."""
    old, new = node_at(before, address), node_at(now, address)
    return old is not None and new is not None and old.node == new.node


def node_at(plan: Plan, address: str) -> PlanNode | None:
    """The node at an address, in whatever attempt; None where the plan has none."""
    *bodies, name = map(node_id, address.split("/"))
    for body in bodies:
        if (owner := plan.nodes.get(body)) is None or not has_body(owner.node):
            return None
        plan = plan.body(body)
    return plan.nodes.get(name)


def same_inside(before: Plan, now: Plan, name: str) -> bool:
    """Whether both plans have the same nodes and edges in the body of a node, as deep as it goes."""
    old, new = before.body(name), now.body(name)
    if old.graph.nodes != new.graph.nodes or old.graph.edges != new.graph.edges:
        return False
    return all(same_inside(old, new, each) for each, planned in old.nodes.items() if has_body(planned.node))


def _same_body(before: Plan, now: Plan, name: str) -> bool:
    planned = now.nodes.get(name)
    return planned is not None and isinstance(planned.node, ForeachNode) and same_inside(before, now, name)


def _answer(past: Past, entry: Entry, seen: str, *, is_item: bool) -> Answer:
    key = past.keys.get(entry.address) or f"{past.effects}/{entry.address}"
    return Answer(entry, seen, is_item, key)


def _is_outcome(entry: Entry, *, failed: bool) -> bool:
    events = ("succeeded", "failed") if failed else ("succeeded",)
    return entry.event in events and not entry.address.startswith(COMPENSATION)


def _is_leaf(plan: Plan, address: str) -> bool:
    planned = node_at(plan, address)
    return planned is not None and not has_body(planned.node)


def _newest_attempts(entries: Iterable[Entry]) -> dict[str, str]:
    """Of each node with a body, its last attempt, by its address in first attempts."""
    return {first_attempt(attempt): attempt for entry in entries for attempt in _attempts(entry.address)}


def _is_of(newest: Mapping[str, str], address: str) -> bool:
    """Whether all around an address is of the last attempt."""
    return all(newest.get(first_attempt(attempt), attempt) == attempt for attempt in _attempts(address))


def _attempts(address: str) -> Iterator[str]:
    """The attempts of the nodes around an address."""
    *outer, _ = address.split("/")
    for count in range(1, len(outer) + 1):
        *before, last = outer[:count]
        yield "/".join((*before, last.partition("[")[0]))
