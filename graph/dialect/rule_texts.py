"""Drools-like rules of a graph file as the list of `rules` that comes to the same, where there is one."""

from __future__ import annotations

from collections.abc import Mapping

from anabranch.context.values import Json
from anabranch.errors import ExpressionError
from anabranch.graph.rules.conversion import to_rules
from anabranch.graph.rules.rules_text import is_drools
from anabranch.graph.source.yaml_source import Pointer, Source


def with_rule_lists(source: Source) -> tuple[Source, tuple[tuple[Pointer, str], ...]]:
    """The graph with such lists, and for each text that stays one its path and the first reason."""
    if not isinstance(source.value, dict):
        return source, ()
    nodes = source.value.get("nodes")
    if not isinstance(nodes, dict):
        return source, ()
    moved, kept = dict(source.moved), list[tuple[Pointer, str]]()
    found = {name: _node(node, ("nodes", name), moved, kept) for name, node in nodes.items()}
    return source.rebased({**source.value, "nodes": found}, moved), tuple(kept)


def _node(node: Json, path: Pointer, moved: dict[Pointer, Pointer], kept: list[tuple[Pointer, str]]) -> Json:
    if not isinstance(node, dict) or not isinstance(text := node.get("grl"), str) or not is_drools(text):
        return node
    roots = node.get("input")
    try:
        converted = to_rules(text, frozenset(roots if isinstance(roots, Mapping) else ()))
    except ExpressionError:
        return node  # `validate` says what is wrong with it, at its place
    grl = (*path, "grl")
    if converted.reasons:
        kept.append((grl, converted.reasons[0]))
        return node
    moved[(*path, "rules")] = moved.pop(grl, grl)
    return {
        ("rules" if key == "grl" else key): (list(converted.rules) if key == "grl" else value)
        for key, value in node.items()
    }
