"""Settings of graphs that other graphs interpret in their own run: there the outer graph's hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from anabranch.errors import Problem
from anabranch.graph.dataflow.walk import levels
from anabranch.graph.kinds.kinds import loop_of
from anabranch.graph.model import Graph, GraphNode, Node
from anabranch.graph.source.yaml_source import Pointer, Source

_OF_A_RUN = ("saga", "share", "defaults", "search_attributes", "timeout")


def ignored_settings(graph: Graph, graphs: Mapping[str, Graph], source: Source) -> Iterator[Problem]:
    """A warning for each use of a graph whose own settings do nothing there."""
    for level in levels(graph):
        for path, _, node in level.nodes():
            if (use := _use(path, node)) is None or (inner := graphs.get(use[1])) is None:
                continue
            pointer, name, ignored = use
            if found := [f"`{setting}`" for setting in ignored if _says(inner, setting)]:
                message = f"the graph {name!r} has {' and '.join(found)} of its own, which count for nothing here"
                suggestion = "say it in this graph, or run the other one with `mode: child_workflow`"
                yield Problem("SETTINGS_IGNORED", message, source.place(pointer), suggestion, warning=True)


def _use(path: Pointer, node: Node) -> tuple[Pointer, str, tuple[str, ...]] | None:
    """Where a node names a graph that it interprets, its name, and the settings that do nothing there."""
    if isinstance(node, GraphNode):
        return ((*path, "graph"), node.graph, _OF_A_RUN) if node.mode == "inline" else None
    if (loop := loop_of(node)) is not None and loop.body.graph is not None:
        return (*path, "body", "graph"), loop.body.graph, (*_OF_A_RUN, "context")
    return None


def _says(graph: Graph, setting: str) -> bool:
    """Whether a setting is other than where it is left out: a definition with every default in it is the same graph."""
    field = Graph.model_fields[setting]
    return bool(getattr(graph, setting) != field.get_default(call_default_factory=True))
