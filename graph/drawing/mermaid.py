"""Drawings of a graph. Mermaid is the one source: `boxes` sets it for a terminal, `svg` and `png` for everything else.

Workflow code draws too, so this module imports the heavy renderers only in the functions that need them, and `mermaid`
is pure. Ids of the drawing are its own (`n0`, `n1`, …) and all text is escaped: no name or condition can break out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from anabranch.display import one_line
from anabranch.errors import InputError
from anabranch.graph.dataflow.walk import levels
from anabranch.graph.drawing.summary import edge_label, summary
from anabranch.graph.kinds.kinds import kind_of, loop_of
from anabranch.graph.model import Body, Finally, Graph, Node

MAX_BOXES = 500
MAX_IMAGE = 150
"""Mermaid itself lays the image out, in an interpreter of JavaScript: its time grows faster than the graph."""
_LONGEST_SIDE = 16_000
_PIXELS = 60_000_000
_LONGEST_LABEL = 60
_BREAK = "<br/>"
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
    drawing = _Mermaid(states or {}, details=details)
    drawing.level(graph, "", "  ")
    drawing.last(graph)
    return "\n".join(["flowchart TD", *drawing.lines, *drawing.classes()]) + "\n"


def boxes(
    graph: Graph, states: Mapping[str, str] | None = None, *, details: bool = False, ascii_only: bool = False
) -> str:
    """The graph as boxes and arrows of text. InputError above 500 nodes."""
    import termaid

    _at_most(MAX_BOXES, graph)
    source = mermaid(graph, states, details=details).replace(_BREAK, "\\n")
    return termaid.render(source, use_ascii=ascii_only, padding_x=2, padding_y=0, gap=2, max_label_width=40)


def svg(graph: Graph, states: Mapping[str, str] | None = None, *, details: bool = False) -> bytes:
    """The graph as an SVG image, UTF-8. InputError above 150 nodes; 100 take some ten seconds."""
    return str(_image(graph, states, details=details).svg()).encode()


def png(graph: Graph, states: Mapping[str, str] | None = None, *, details: bool = False) -> bytes:
    """The graph as a PNG image on white, twice as large as on a screen where that is not too much. As `svg` else."""
    image = _image(graph, states, details=details)
    return bytes(image.png(scale=_scale(image.svg()), background="#ffffff"))


def _image(graph: Graph, states: Mapping[str, str] | None, *, details: bool) -> Any:
    import mermaidx

    _at_most(MAX_IMAGE, graph)
    source = mermaid(graph, states, details=details)
    return mermaidx.render(source, config={"maxTextSize": len(source) + 1, "maxEdges": len(source)})


def _scale(image: str) -> float:
    """2, or less where the picture would have more pixels than the renderer can hold."""
    box = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', image)
    width, height = (float(box[1]), float(box[2])) if box else (1.0, 1.0)
    return min(2.0, _LONGEST_SIDE / max(width, height, 1.0), math.sqrt(_PIXELS / max(width * height, 1.0)))


def _at_most(limit: int, graph: Graph) -> None:
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
            text = edge_label(edge)
            label = f'|"{escaped(text, _LONGEST_LABEL)}"|' if text else ""
            self.lines.append(f"{indent}{ids[edge.source]} {arrow}{label} {ids[edge.target]}")

    def last(self, graph: Graph) -> None:
        """The nodes of the graph's `finally`, in a box that no edge leads to: whatever happens, they come last."""
        if graph.finally_ is not None:
            self.lines.append(f'  subgraph n{self._drawn} ["finally"]')
            self._drawn += 1
            self.level(graph.finally_, "finally/", "    ")
            self.lines.append("  end")

    def _node(self, drawn: str, address: str, key: str, node: Node, indent: str) -> None:
        if (state := self.states.get(address)) in _COLORS:
            self.colored.setdefault(str(state), []).append(drawn)
        label = escaped(key, _LONGEST_LABEL)
        if (loop := loop_of(node)) is not None and loop.body.nodes:
            self.lines.append(f'{indent}subgraph {drawn} ["{label}: {escaped(summary(node), _LONGEST_LABEL)}"]')
            self.level(loop.body, f"{address}/", indent + "  ")
            self.lines.append(f"{indent}end")
            return
        if self.details:
            lines = [": ".join(filter(None, (node.type, summary(node)))), node.description]
            label = _BREAK.join([label, *(escaped(line, _LONGEST_LABEL) for line in lines if line)])
        left, right = kind_of(node).shape
        self.lines.append(f'{indent}{drawn}{left}"{label}"{right}')

    def classes(self) -> Iterator[str]:
        """The colors of the states that occur."""
        for state, drawn in self.colored.items():
            yield f"  classDef {state} {_COLORS[state]}"
            yield f"  class {','.join(drawn)} {state}"


def escaped(text: str, longest: int) -> str:
    """A text for between quotes in Mermaid: one line, cut, with characters that have a meaning as codes."""
    return "".join(_code(char) for char in one_line(text, longest))


def _code(char: str) -> str:
    # Letters of any script, digits, and what neither Mermaid nor the Markdown in its labels gives a meaning.
    plain = char.isalnum() or char in " _,:!?=.()/-"
    return char if plain else f"#{ord(char)};"
