"""The nodes and edges of a graph in lines, for `--verbose`."""

from __future__ import annotations

from rich.text import Text

from anabranch.cli.report import out
from anabranch.display import plain
from anabranch.graph.drawing.summary import edge_label, summary
from anabranch.graph.model import Finally, Graph


def show_structure(graph: Graph) -> None:
    """Print each node with its type and what it does, then each edge with what it waits for."""
    _show(graph, "  ")
    if graph.finally_ is not None:
        out().print(Text("  finally"))
        _show(graph.finally_, "    ")


def _show(level: Graph | Finally, indent: str) -> None:
    screen = out()
    for name, node in level.nodes.items():
        screen.print(Text.assemble(f"{indent}node {plain(name)} ({node.type})  ", (plain(summary(node)), "dim")))
    for edge in level.edges:
        label = edge_label(edge)
        waits = f"  {'' if edge.otherwise else 'when '}{plain(label)}" if label else ""
        screen.print(Text.assemble(f"{indent}edge {plain(edge.source)} → {plain(edge.target)}", (waits, "dim")))
