"""Random histories: nodes that join the lines of their parents and then edit what they find."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from anabranch.context.changes import ChangeSet, diff, overlay
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.resolution import ConflictResolution, Policies, Policy, Reducer
from anabranch.context.merge.union import Conflict, merge_heads
from anabranch.context.values import MISSING, Json, Path

KEYS = ["a", "b", "c"]
POLICIES: list[Policy] = [*ConflictResolution, *Reducer]

scalars: st.SearchStrategy[Json] = st.sampled_from([None, False, True, 0, 1, 2, -3, 1.5, "", "x"])
lists = st.lists(st.integers(0, 3), max_size=3)
values: st.SearchStrategy[Json] = st.recursive(
    scalars | lists.map(list[Json]),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
objects: st.SearchStrategy[dict[str, Json]] = st.dictionaries(st.sampled_from(KEYS), values, max_size=3)
paths = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(tuple)
policies = st.builds(
    Policies,
    st.sampled_from(ConflictResolution),
    st.dictionaries(paths, st.sampled_from(POLICIES), max_size=4),
)

Edit = tuple[Path, Any]
"""Put a value at a path; MISSING removes it."""
edits = st.tuples(paths, values | st.just(MISSING))


def edited(data: Mapping[str, Json], changes: Sequence[Edit]) -> dict[str, Json]:
    """A deep copy of the data with the edits made on it."""
    result = copy.deepcopy(dict(data))
    for path, value in changes:
        result = overlay(result, [(path, copy.deepcopy(value))])
    return result


class Editing:
    """A node's work: edits on the data that it finds."""

    def __init__(self, reported: Any) -> None:
        self.reported = reported

    def __repr__(self) -> str:
        return repr(self.reported)

    def __call__(self, data: dict[str, Json]) -> dict[str, Json]:
        """The data as the node leaves it."""
        return edited(data, self.reported)


@dataclass(frozen=True)
class Node:
    """One node of a history: what it joins, what it does to the data, and when (no two at the same time)."""

    parents: tuple[int, ...]
    work: Editing
    at: int


@dataclass
class History:
    """A directed graph of nodes, parents before children, evaluated in any order that respects it."""

    root: dict[str, Json]
    nodes: Sequence[Node]
    policies: Policies
    lines: dict[int, Line] = field(default_factory=dict)
    joins: dict[int, Line] = field(default_factory=dict)
    changes: dict[int, ChangeSet] = field(default_factory=dict)
    conflicts: dict[int, tuple[Conflict, ...]] = field(default_factory=dict)

    def start(self) -> Line:
        return Line.start(self.root, 7)

    def evaluate(
        self,
        order: Sequence[int] | None = None,
        *,
        carry: Callable[[dict[int, Line]], dict[int, Line]] = lambda lines: lines,
        clock: int = 10_000,
    ) -> History:
        """Evaluate in an order; `carry` sees the lines after each node, `clock` is when joins happen to be made."""
        done = History(self.root, self.nodes, self.policies)
        start = self.start()
        for index in order or range(len(self.nodes)):
            node = self.nodes[index]
            lines = [done.lines[parent] for parent in node.parents] or [start]
            done.joins[index], done.conflicts[index] = self._join(index, lines, clock)
            done.lines[index], done.changes[index] = self._work(index, done.joins[index])
            done.lines = carry(done.lines)
        return done

    def _join(self, index: int, lines: Sequence[Line], clock: int) -> tuple[Line, tuple[Conflict, ...]]:
        merged = merge_heads(lines, self.policies, writer=2 * index, by=f"join {index}", at=clock)
        if merged.line is None:
            choices = {each.path: each.candidates[0].value for each in merged.conflicts if not each.settled}
            at = self.nodes[index].at
            merged = merge_heads(lines, self.policies, writer=2 * index, by=f"join {index}", at=at, choices=choices)
        assert merged.line is not None
        return merged.line, merged.conflicts

    def _work(self, index: int, line: Line) -> tuple[Line, ChangeSet]:
        changes = diff(line.data, self.nodes[index].work(line.data))
        return line.advance(changes, writer=2 * index + 1, by=str(index), at=self.nodes[index].at)

    def ancestors(self, index: int) -> set[int]:
        """The nodes that lead to a node, itself not among them."""
        found: set[int] = set()
        stack = list(self.nodes[index].parents)
        while stack:
            parent = stack.pop()
            if parent not in found:
                found.add(parent)
                stack.extend(self.nodes[parent].parents)
        return found


@st.composite
def histories(draw: st.DrawFn, max_nodes: int = 8) -> History:
    count = draw(st.integers(2, max_nodes))
    times = draw(st.permutations(range(count)))
    nodes = []
    for index in range(count):
        parents = draw(st.lists(st.integers(0, index - 1), max_size=3, unique=True)) if index else []
        nodes.append(Node(tuple(parents), Editing(draw(st.lists(edits, max_size=2))), 100 + times[index]))
    return History(draw(objects), nodes, draw(policies))


@st.composite
def orders(draw: st.DrawFn, history: History) -> list[int]:
    """An order of evaluation: parents before their children."""
    rank = draw(st.permutations(range(len(history.nodes))))
    order: list[int] = []
    while len(order) < len(history.nodes):
        ready = [
            index
            for index, node in enumerate(history.nodes)
            if index not in order and all(parent in order for parent in node.parents)
        ]
        order.append(min(ready, key=rank.__getitem__))
    return order


def overlap(one: Path, other: Path) -> bool:
    """Whether a path is the other one or leads to it."""
    return all(left == right for left, right in zip(one, other, strict=False))
