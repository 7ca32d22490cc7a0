"""The plan of a pinned definition: of the JSON text that a run is held to.

It is shared by every run of the same definition: `plan_of` keeps it by that text, so that the second run of a graph on
a worker costs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from pydantic import ValidationError

from anabranch.graph import node_types
from anabranch.graph.model import Graph
from anabranch.graph.plan import Plan, plan_graph


class UnreadableGraph(Exception):
    """A worker lacks a node type of a pinned definition, or knows it otherwise.

    Not one of our errors, which would end the run: this fails the workflow task, and another worker tries it.
    """


@lru_cache(maxsize=256)
def _graph_of(definition: str) -> Graph:
    problem = ""
    try:
        return Graph.model_validate_json(definition)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    # Outside of `except`: pydantic's own text shows the values, secrets among them.
    raise UnreadableGraph(
        f"this worker cannot read the graph that the run is held to: {problem} (its node types are "
        f"{', '.join(node_types.names())}); a worker goes on that has the types with which the run began"
    )


@lru_cache(maxsize=128)
def _plan_of(definition: str, library: tuple[tuple[str, str], ...], revision: int, inputs: frozenset[str]) -> Plan:
    plan = plan_graph(_graph_of(definition), {name: _graph_of(text) for name, text in library})
    return replace(plan, revision=revision, pinned_inputs=inputs)


def plan_of(definition: str, library: Mapping[str, str], *, revision: int, inputs: Iterable[str]) -> Plan:
    """The plan of a pinned definition (JSON texts). Cached by all that is pinned."""
    return _plan_of(definition, tuple(library.items()), revision, frozenset(inputs))
