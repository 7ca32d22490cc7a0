"""What a node did, in words: the rule that fired, the model and its prompt, the statement, the request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.kinds.kinds import kind_of
from anabranch.graph.plan_node import PlanNode
from anabranch.workflows.interpreter.trail import Version

Data = Mapping[str, Json]


class _Seen:
    """What one node saw, for its fields to be evaluated again."""

    def __init__(self, planned: PlanNode, data: Data, roots: Data) -> None:
        cost = Cost()
        self.given = roots
        self.roots: Data = {name: value for name, value in roots.items() if name in planned.roots or name == "run"}
        self.data: Data = planned.seen(data, self.roots, cost)
        self._names = planned.roots

    def text(self, template: Json) -> str:
        try:
            filled = compile_template(template, self._names).render(self.data, self.roots, Cost())
        except AnabranchError:
            filled = template
        return filled if isinstance(filled, str) else json.dumps(filled, ensure_ascii=False)


def what_it_did(planned: PlanNode, data: Data, roots: Data, version: Version) -> Iterator[str]:
    """What the node that wrote a version did, given the context and the names that it saw."""
    try:
        seen = _Seen(planned, data, roots)
    except AnabranchError as error:
        yield f"its input cannot be evaluated again: {error}"
        return
    yield from kind_of(planned.node).deeds(planned.node, seen)
    yield from version.changes.warnings
