"""Handlers of `python` nodes that the modules at hand do not register. Only a process with these modules knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from anabranch.errors import Problem
from anabranch.graph.dataflow.walk import levels, with_compensations
from anabranch.graph.model import Graph, PythonNode
from anabranch.graph.source.problems import did_you_mean
from anabranch.graph.source.yaml_source import Source


def unknown_handlers(graph: Graph, source: Source, handlers: Collection[str]) -> Iterator[Problem]:
    """A warning for each `python` node whose handler is not among `handlers`."""
    for level in levels(graph):
        for path, _, outer in level.nodes():
            for where, node in with_compensations(path, outer):
                if isinstance(node, PythonNode) and node.handler not in handlers:
                    message = f"no imported module has the handler {node.handler!r}"
                    suggestion = did_you_mean(node.handler, handlers) or f"there are {', '.join(sorted(handlers)[:20])}"
                    place = source.place((*where, "handler"))
                    yield Problem("HANDLER_UNKNOWN", message, place, suggestion, warning=True)
