"""A graph as an indented tree of text, for terminals and logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from anabranch.display import one_line
from anabranch.graph.drawing.summary import edge_label, of_runs, summary
from anabranch.graph.kinds.kinds import fallback_of, loop_of, notices_of, own_names
from anabranch.graph.model import ApprovalNode, Body, Finally, Graph, Node
from anabranch.graph.parts import Edge
from anabranch.graph.people import Names

MAX_DEPTH = 40
_LONGEST = 100
_NOTICES = {"remind": "reminded", "escalate": "told of the escalation"}


def tree(graph: Graph, *, details: bool = False) -> str:
    """The graph as a tree: a node is under the first one that leads to it; the others refer to it.

    A node that is the only one to follow is below its predecessor with `↓`, without more indentation.
    """
    head = f"{graph.name} {one_line(graph.version, _LONGEST)}"
    title = f"{head}: {one_line(graph.description, _LONGEST)}" if graph.description else head
    about = (one_line(line, _LONGEST) for line in of_runs(graph)) if details else ()
    lines = [title, *(f"   {line}" for line in about), *_Level(graph, details=details).lines("")]
    if graph.finally_ is not None:
        lines += ["finally", *_Level(graph.finally_, details=details).lines("")]
    return "\n".join(lines) + "\n"


@dataclass(slots=True)
class _Level:
    """The tree of one level."""

    body: Graph | Body | Finally
    details: bool
    shown: set[str] = field(default_factory=set)

    def lines(self, prefix: str) -> Iterator[str]:
        """All lines, each behind `prefix`."""
        led_to = {edge.target for edge in self.body.edges}
        roots = [key for key in self.body.nodes if key not in led_to]
        leaving: dict[str, list[Edge]] = {key: [] for key in self.body.nodes}
        for edge in self.body.edges:
            leaving[edge.source].append(edge)
        # A stack instead of recursion: a chain of 2,000 nodes is a tree of that depth.
        stack = [_Entry(key, "", prefix, last=key == roots[-1], depth=0) for key in reversed(roots)]
        while stack:
            entry = stack.pop()
            yield from self._entry(entry)
            if entry.key in self.shown:
                continue
            self.shown.add(entry.key)
            yield from self._inside(entry)
            stack.extend(reversed(list(_followers(entry, leaving[entry.key]))))

    def _entry(self, entry: _Entry) -> Iterator[str]:
        node = self.body.nodes[entry.key]
        label = f"[{one_line(entry.label, _LONGEST)}] " if entry.label else ""
        if entry.key in self.shown:
            yield f"{entry.prefix}{entry.branch}{label}{entry.key} (above)"
            return
        yield f"{entry.prefix}{entry.branch}{label}{entry.key} ({node.type})"
        if self.details:
            for line in _details(node):
                yield f"{entry.inner}   {one_line(line, _LONGEST)}"

    def _inside(self, entry: _Entry) -> Iterator[str]:
        node = self.body.nodes[entry.key]
        if (loop := loop_of(node)) is not None and loop.body.nodes:
            yield f"{entry.inner} {'⟳' if loop.names and not loop.keeps_writes else '▢'} {summary(node)}"
            yield from _Level(loop.body, self.details).lines(f"{entry.inner}   ")
            if loop.last is not None:
                yield f"{entry.inner} ▢ finally"
                yield from _Level(loop.last, self.details).lines(f"{entry.inner}   ")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A node at one place in the tree."""

    key: str
    label: str
    prefix: str
    last: bool
    depth: int
    follows: bool = False

    @property
    def branch(self) -> str:
        return "↓  " if self.follows else "└─ " if self.last else "├─ "

    @property
    def inner(self) -> str:
        """The prefix of the lines below this node."""
        return self.prefix if self.follows else self.prefix + ("   " if self.last else "│  ")


def _followers(entry: _Entry, edges: list[Edge]) -> Iterator[_Entry]:
    if len(edges) == 1 or entry.depth >= MAX_DEPTH:
        for edge in edges:
            yield _Entry(edge.target, edge_label(edge), entry.inner, last=True, depth=entry.depth, follows=True)
        return
    for edge in edges:
        last = edge is edges[-1]
        yield _Entry(edge.target, edge_label(edge), entry.inner, last=last, depth=entry.depth + 1)


def _asked(node: Node) -> Iterator[str]:
    """Whom an approval asks, and what asks again."""
    if not isinstance(node, ApprovalNode):
        return
    if names := ", ".join(each for given in (node.assignee, node.groups) for each in _names(given)):
        yield f"asks {names}"
    for (name, _), notice in notices_of(node):
        yield f"{_NOTICES[name]} by {notice.type}: {summary(notice)}"
    if node.escalate is not None:
        to = node.escalate.to
        yield f"escalates to {', '.join(each for given in (to.assignee, to.groups) for each in _names(given))}"


def _names(given: Names | None) -> tuple[str, ...]:
    return () if given is None else (given,) if isinstance(given, str) else given


def _details(node: Node) -> Iterator[str]:
    yield summary(node)
    if node.description:
        yield node.description
    if node.when is not None:
        yield f"when {node.when}"
    if names := own_names(node):
        yield f"input {', '.join(names)}"
    if node.join != "any":
        yield f"join {node.join}"
    if values := fallback_of(node):
        yield f"on failure goes on with {', '.join(values)}"
    yield from _asked(node)
    if node.compensate is not None:
        yield f"undone by {node.compensate.type}: {summary(node.compensate)}"
