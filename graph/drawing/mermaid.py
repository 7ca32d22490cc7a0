"""A graph as Mermaid text, which `boxes.py` sets for a terminal.

Workflow code draws too, so this module imports no renderer. Ids of the drawing are its own (`n0`, `n1`, …) and all text
is escaped: no name or condition can break out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from anabranch.display import one_line
from anabranch.errors import InputError
from anabranch.graph.dataflow.walk import levels
from anabranch.graph.drawing.summary import edge_label, summary
from anabranch.graph.kinds.kinds import kind_of, loop_of
from anabranch.graph.model import Body, Finally, Graph, Node

_LONGEST_LABEL = 60
BREAK = "<br/>"
"""Between the lines of a label."""
_NARROW = 12
"""Letters of a line of a label, in a narrow drawing."""
_COLORS = {
    "pending": "fill:#f1f3f5,stroke:#adb5bd,color:#495057",
    "ready": "fill:#e7f5ff,stroke:#74c0fc,color:#1864ab",
    "running": "fill:#d0ebff,stroke:#1971c2,color:#1864ab,stroke-width:3px",
    "waiting": "fill:#fff3bf,stroke:#f08c00,color:#664d03",
    "paused": "fill:#ffe8cc,stroke:#e8590c,color:#662d0c,stroke-width:3px",
    "conflict": "fill:#f3d9fa,stroke:#9c36b5,color:#5f1473,stroke-width:3px",
    "succeeded": "fill:#d3f9d8,stroke:#2f9e44,color:#1b4d26",
    "failed": "fill:#ffe3e3,stroke:#e03131,color:#7d1a1a,stroke-width:3px",
    "timed_out": "fill:#ffe3e3,stroke:#e03131,color:#7d1a1a,stroke-dasharray:4 3",
    "cancelled": "fill:#e9ecef,stroke:#495057,color:#343a40,stroke-dasharray:4 3",
    "skipped": "fill:#ffffff,stroke:#ced4da,color:#868e96,stroke-dasharray:4 3",
}


def mermaid(graph: Graph, states: Mapping[str, str] | None = None, *, details: bool = False) -> str:
    """Mermaid flowchart of the graph.

    `states` maps node addresses (`pack/weigh` in a body) to states, shown by color. `details` adds what nodes do.
    """
    return _drawn(graph, _Mermaid(states or {}, details=details))


def narrow_mermaid(graph: Graph, states: Mapping[str, str], *, details: bool, rightward: bool) -> tuple[str, list[str]]:
    """As `mermaid`, with short lines in the boxes and numbers on the edges; and what the numbers mean, from 1 on."""
    numbers: dict[str, int] = {}
    source = _drawn(graph, _Mermaid(states, details=details, numbers=numbers), "LR" if rightward else "TD")
    return source, list(numbers)


def _drawn(graph: Graph, drawing: _Mermaid, direction: str = "TD") -> str:
    drawing.level(graph, "", "  ")
    drawing.last(graph.finally_)
    return "\n".join([f"flowchart {direction}", *drawing.lines, *drawing.classes()]) + "\n"


def at_most(limit: int, graph: Graph) -> None:
    """Refuse a graph with more nodes, those of bodies included. Raises InputError."""
    count = _count(graph)
    if count > limit:
        raise InputError(
            f"the graph has {count} nodes; this drawing is made of at most {limit}",
            suggestion="show it as a tree, or take the Mermaid source",
        )


def _count(graph: Graph) -> int:
    return sum(len(level.body.nodes) for level in levels(graph))


@dataclass(slots=True)
class _Mermaid:
    """Writes the lines of a flowchart."""

    states: Mapping[str, str]
    details: bool
    numbers: dict[str, int] | None = None
    """Of the texts of edges, in a narrow drawing."""
    lines: list[str] = field(default_factory=list)
    colored: dict[str, list[str]] = field(default_factory=dict)
    _drawn: int = 0

    def level(self, body: Graph | Body | Finally, address: str, indent: str) -> None:
        """The nodes of one level, then its edges."""
        ids: dict[str, str] = {}
        for key, node in body.nodes.items():
            ids[key] = f"n{self._drawn}"
            self._drawn += 1
            self._node(ids[key], f"{address}{key}", key, node, indent)
        for edge in body.edges:
            arrow = "-->" if edge.outcome == "success" else "-.->"
            text = self._on_edge(edge_label(edge))
            label = f'|"{escaped(text, _LONGEST_LABEL)}"|' if text else ""
            self.lines.append(f"{indent}{ids[edge.source]} {arrow}{label} {ids[edge.target]}")

    def last(self, last: Finally | None, address: str = "", indent: str = "  ") -> None:
        """The nodes of a `finally`, in a box that no edge leads to: whatever happens, they come last."""
        if last is not None:
            self.lines.append(f'{indent}subgraph n{self._drawn} ["finally"]')
            self._drawn += 1
            self.level(last, f"{address}finally/", indent + "  ")
            self.lines.append(f"{indent}end")

    def _node(self, drawn: str, address: str, key: str, node: Node, indent: str) -> None:
        if (state := self.states.get(address)) in _COLORS:
            self.colored.setdefault(str(state), []).append(drawn)
        label = escaped(key, _LONGEST_LABEL) if self.numbers is None else _in_short_lines(key)
        if (loop := loop_of(node)) is not None and loop.body.nodes:
            self.lines.append(f'{indent}subgraph {drawn} ["{label}: {escaped(summary(node), _LONGEST_LABEL)}"]')
            self.level(loop.body, f"{address}/", indent + "  ")
            self.last(loop.last, f"{address}/", indent + "  ")
            self.lines.append(f"{indent}end")
            return
        if self.details:
            lines = [": ".join(filter(None, (node.type, summary(node)))), node.description]
            label = BREAK.join([label, *(escaped(line, _LONGEST_LABEL) for line in lines if line)])
        left, right = kind_of(node).shape
        self.lines.append(f'{indent}{drawn}{left}"{label}"{right}')

    def _on_edge(self, text: str) -> str:
        if self.numbers is None or not text:
            return text
        return str(self.numbers.setdefault(text, len(self.numbers) + 1))

    def classes(self) -> Iterator[str]:
        """The colors of the states that occur."""
        for state, drawn in self.colored.items():
            yield f"  classDef {state} {_COLORS[state]}"
            yield f"  class {','.join(drawn)} {state}"


def escaped(text: str, longest: int) -> str:
    """A text for between quotes in Mermaid: one line, cut, with characters that have a meaning as codes."""
    return "".join(_code(char) for char in one_line(text, longest))


def _in_short_lines(name: str) -> str:
    """A name, broken behind underscores."""
    lines = [""]
    for part in re.findall(r"[^_]*_?", one_line(name, _LONGEST_LABEL)):
        if lines[-1] and len(lines[-1]) + len(part) > _NARROW:
            lines.append("")
        lines[-1] += part
    return BREAK.join(escaped(line, _LONGEST_LABEL) for line in lines)


def _code(char: str) -> str:
    # Letters of any script, digits, and what neither Mermaid nor the Markdown in its labels gives a meaning.
    plain = char.isalnum() or char in " _,:!?=.()/-"
    return char if plain else f"#{ord(char)};"
