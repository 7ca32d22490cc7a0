"""Everything that `validate` finds in a graph whose shape is right."""

from __future__ import annotations

from errors import Problem
from graph.model import Graph
from graph.structure import check_structure
from graph.walk import scopes
from graph.yaml_source import Source


def check_graph(graph: Graph, source: Source) -> list[Problem]:
    """All problems and warnings of a graph, in the order of the file."""
    found: list[Problem] = []
    for scope in scopes(graph):
        found += check_structure(scope, source)
    return found
