"""Conditions of rust-logic-graph in CEL, and what becomes of them where a key is absent.

A rule engine takes a missing fact for one that does not hold; a name that nothing ever writes does not stop anything.
In CEL both would be errors, so the conditions of edges ask for the keys first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import TypeAdapter, ValidationError

from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.graph.dataflow.reads import node_writes
from anabranch.graph.dialect.rewriting import Fields, Rewriting
from anabranch.graph.expressions.expressions import compile_expression
from anabranch.graph.kinds.keys import NO_KEYS, tops
from anabranch.graph.kinds.rule import sure_writes
from anabranch.graph.model import BaseNode, Node, RuleNode
from anabranch.graph.source.yaml_source import Pointer

_QUOTED_CEL: Final = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_WORDS: Final = re.compile(rf"({_QUOTED_CEL})|(?<![\w.])(?:(and|or)(?!\w)|(not)(?!\w)\s*)", re.DOTALL)
_OPERATORS: Final = {"and": "&&", "or": "||", "not": "!"}
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_LOOSE: Final = re.compile(r"\|\||\?")
_NODE: Final[TypeAdapter[BaseNode]] = TypeAdapter(Node)


def cel_condition(value: Json) -> Json:
    """A condition in CEL: `and`, `or`, `not` outside of quotes become `&&`, `||`, `!`; booleans become text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    return _WORDS.sub(lambda match: match[1] or _OPERATORS[match[2] or match[3]], value)


def is_name(condition: Json) -> bool:
    """Whether a condition is only a name."""
    return isinstance(condition, str) and _NAME.fullmatch(condition) is not None and condition not in ("true", "false")


def as_node(fields: Json) -> BaseNode | None:
    """The node of rewritten fields; None where it has problems, which are found later."""
    try:
        return _NODE.validate_python(fields)
    except (ValidationError, AnabranchError):
        return None


@dataclass(slots=True)
class Written:
    """The keys that the nodes of one level write, and by node those that are there once it has ended."""

    keys: set[str] = field(default_factory=set)
    surely: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def by(cls, nodes: Mapping[str, Json]) -> Written:
        """What the rewritten nodes of a level write."""
        found = cls()
        for name, fields in nodes.items():
            if (node := as_node(fields)) is not None:
                found._add(name, node)
        return found

    def _add(self, name: str, node: BaseNode) -> None:
        try:
            keys = node_writes(name, node) or frozenset()
            sure = tops(sure_writes(node)) or NO_KEYS if isinstance(node, RuleNode) else keys
        except AnabranchError:  # GRL that does not compile, which is found later
            return
        fires = isinstance(node, RuleNode) and node.grl is not None
        self.surely[name] = frozenset() if fires else sure
        self.keys |= keys


def asking(condition: Json, path: Pointer, written: Written, rewriting: Rewriting, *, source: Json = None) -> Json:
    """A condition that asks for the keys that may be absent; `source` is the node that has ended before it."""
    if not isinstance(condition, str):
        return condition
    if is_name(condition) and condition not in written.keys:
        message = f"waits for `{condition}`, which no node writes: it holds unless that is false"
        rewriting.assumed(path, message, f"write `{condition}` in a rule, or remove the condition")
        return f"!has(context.{condition}) || {condition} != false"
    try:
        needed = compile_expression(condition).required
    except AnabranchError:  # it does not compile, which is found later
        return condition
    there = written.surely.get(source, frozenset()) if isinstance(source, str) else frozenset[str]()
    if not (asked := sorted((needed & written.keys) - there)):
        return condition
    held = f"({condition})" if _LOOSE.search(condition) else condition
    return " && ".join((*(f"has(context.{key})" for key in asked), held))


def ask_for_keys(nodes: Mapping[str, Json], edges: Json, path: Pointer, rewriting: Rewriting) -> None:
    """Have the conditions of edges, and of nodes, that came from the dialect ask for their keys."""
    places: list[tuple[Fields, Pointer]] = []
    if isinstance(edges, list):
        places += [(edge, (*path, "edges", at)) for at, edge in enumerate(edges) if isinstance(edge, dict)]
    places += [(node, (*path, "nodes", name)) for name, node in nodes.items() if isinstance(node, dict)]
    foreign = [(fields, where) for fields, where in places if _has_condition(fields, where, rewriting)]
    written = Written.by(nodes) if foreign else Written()
    for fields, where in foreign:
        if (*where, "when") in rewriting.moved:
            fields["when"] = asking(fields["when"], where, written, rewriting, source=fields.get("from"))
        else:
            first = fields["rules"][0]
            first["when"] = asking(first["when"], where, written, rewriting)


def _has_condition(fields: Fields, where: Pointer, rewriting: Rewriting) -> bool:
    """Whether a node or an edge has a condition that the dialect has spelled."""
    if "when" in fields and (*where, "when") in rewriting.moved:
        return True
    return (*where, "rules") in rewriting.moved and "when" in fields["rules"][0]
