"""Effects that another attempt of a composite has again: nothing undoes them before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from anabranch.errors import Problem
from anabranch.graph.dataflow.walk import levels
from anabranch.graph.kinds.kinds import body_retry, has_effect, loop_of
from anabranch.graph.model import Body, Graph, GraphNode, Node
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Source

_NAMED = 3


def repeated_effects(graph: Graph, graphs: Mapping[str, Graph], source: Source) -> Iterator[Problem]:
    """A warning for each composite with `retry` whose steps cannot all be undone."""
    for level in levels(graph):
        for path, _, node in level.nodes():
            if body_retry(node) is None:
                continue
            if found := list(_Search(graphs).left_behind(node)):
                names = ", ".join(map(repr, found[:_NAMED])) + (", …" if len(found) > _NAMED else "")
                message = f"{described(path)} has a `retry`, and nothing undoes {names}: each attempt does it again"
                advice = "give them a `compensate`, or say `effect: false` where doing it again does no harm"
                place = source.place((*path, "retry"), key=True)
                yield Problem("EFFECT_REPEATED", message, place, advice, warning=True)


class _Search:
    """Looks into a composite, and into each graph that it names once."""

    def __init__(self, graphs: Mapping[str, Graph]) -> None:
        self._graphs = graphs
        self._seen: set[tuple[str, bool | None]] = set()

    def left_behind(self, node: Node, effect: bool | None = None, name: str = "") -> Iterator[str]:
        """The nodes whose effects nothing undoes, by their place in the composite. A pivot ends the attempts."""
        if node.compensate is not None or node.pivot:
            return
        effect = node.effect if effect is None else effect
        loop = loop_of(node)
        if loop is None and not isinstance(node, GraphNode):
            if has_effect(node) if effect is None else effect:
                yield name
            return
        named = node.named if isinstance(node, GraphNode) else ()
        for body in [Body(graph=each) for each in named] if loop is None else [loop.body]:
            for inner, each in self._inside(body, effect).items():
                yield from self.left_behind(each, effect, f"{name}/{inner}".lstrip("/"))

    def _inside(self, body: Body, effect: bool | None) -> Mapping[str, Node]:
        if (graph := body.graph) is None:
            return body.nodes
        if graph not in self._graphs or (graph, effect) in self._seen:
            return {}
        self._seen.add((graph, effect))
        return self._graphs[graph].nodes
