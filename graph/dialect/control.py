"""Nodes that steer others: `ConditionalNode` is a rule with two edges; for the others our language has fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from anabranch.context.values import Json
from anabranch.graph.dialect.conditions import cel_condition
from anabranch.graph.dialect.rewriting import Fields, Rewriting
from anabranch.graph.source.heading import NOT_NAME
from anabranch.graph.source.yaml_source import Pointer

_COMMON: Final = frozenset({"type", "description", "dependencies", "condition"})
_BRANCHES: Final = (("true_branch", ""), ("false_branch", "!"))


def _loop(node: Fields) -> str:
    limit = node.get("max_iterations", 1000)
    if isinstance(key := node.get("collection_key"), str):
        return f"write `type: foreach`, `items: {key}`, `as: item`, and what is done with each item as its `body`"
    condition = cel_condition(node.get("condition", "…"))
    return f"write `type: while`, `while: {condition}`, `max_iterations: {limit}`, and what is repeated as its `body`"


def _try_catch(node: Fields) -> str:
    tried, caught, last = (node.get(f"{each}_node_id", "…") for each in ("try", "catch", "finally"))
    caught_by, followed_by = f"to: {caught}, outcome: failure", f"to: {last}, outcome: always"
    return f"remove it, and draw the edges {{from: {tried}, {caught_by}}} and {{from: {tried}, {followed_by}}}"


def _retry(node: Fields) -> str:
    attempts = node.get("max_retries", 3)
    attempts = attempts + 1 if isinstance(attempts, int) else attempts
    pause, factor = node.get("initial_delay_ms", 100), node.get("backoff_multiplier", 2.0)
    policy = f"retry: {{max_attempts: {attempts}, initial_interval: {pause}ms, backoff: {factor}}}"
    return f"remove it, and write `{policy}` on the node {node.get('target_node_id', 'that it repeats')}"


def _circuit_breaker(node: Fields) -> str:
    failures, reset = node.get("failure_threshold", 5), node.get("half_open_timeout_ms", 30000)
    fields = f"circuit_breaker: {{failures: {failures}, reset: {reset}ms}}"
    return f"remove it, and write `{fields}` on the node {node.get('target_node_id', 'that it guards')}"


_INSTEAD: Final[Mapping[str, Callable[[Fields], str]]] = {
    "loop": _loop,
    "trycatch": _try_catch,
    "retry": _retry,
    "circuitbreaker": _circuit_breaker,
}


def control_type(written: str) -> str | None:
    """`conditional`, `loop`, `trycatch`, `retry` or `circuitbreaker`; None for the name of any other type."""
    short = re.sub(r"[_-]", "", written.casefold().removesuffix("node"))
    return short if short == "conditional" or short in _INSTEAD else None


def control(node: Fields, kind: str, path: Pointer, rewriting: Rewriting) -> Fields:
    """A node that steers others. One that says nothing but its type is a rule that holds, as in the Rust library."""
    if not node.keys() - _COMMON and (kind != "conditional" or "condition" not in node):
        rewriting.assumed(path, f"is a {node['type']} that steers nothing: it is a rule that holds", "remove it")
        node.pop("condition", None)
        return holding(node, path, "true", rewriting)
    if kind == "conditional":
        return holding(node, path, node.pop("condition", "true"), rewriting)
    return rewriting.refuse(path, f"is a {node['type']}, which is no node here", _INSTEAD[kind](node))


def holding(node: Fields, path: Pointer, condition: Json, rewriting: Rewriting) -> Fields:
    """A rule that writes whether a condition holds, to `<id>_result`."""
    key = f"{NOT_NAME.sub('_', str(path[-1]))}_result"
    rules = [{"when": cel_condition(condition), "then": {key: True}}, {"otherwise": {key: False}}]
    if condition == "true":
        rules = [{"then": {key: True}}]
    rewriting.move((*path, "rules"), (*path, "condition"))
    return {**node, "type": "rule", "rules": rules}


def branches(nodes: Mapping[str, Json], edges: list[Json], path: Pointer, rewriting: Rewriting) -> None:
    """`true_branch` and `false_branch` of a node are edges from it with a condition."""
    drawn = {_ends(edge): edge for edge in edges if isinstance(edge, dict) and None not in _ends(edge)}
    for name, node in nodes.items():
        if not isinstance(node, dict):
            continue
        for field, sign in _BRANCHES:
            if isinstance(target := node.pop(field, None), str):
                when = f"{sign}{NOT_NAME.sub('_', name)}_result"
                if (edge := drawn.get((name, target))) is not None:
                    edge.setdefault("when", when)
                    continue
                rewriting.move((*path, "edges", len(edges)), (*path, "nodes", name, field))
                edges.append({"from": name, "to": target, "when": when})


def _ends(edge: Fields) -> tuple[str | None, str | None]:
    source, target = (each if isinstance(each := edge.get(end), str) else None for end in ("from", "to"))
    return source, target
