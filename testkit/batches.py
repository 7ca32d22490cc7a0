"""Assumed answers of nodes in a `batch`: an entry for each item, where the `foreach` reads the answer so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from anabranch.context.values import Json, Path, format_path
from anabranch.graph.model import ForeachNode
from anabranch.graph.plan import Plan
from anabranch.testkit.addresses import node_at
from anabranch.workflows.interpreter.commands import RunNode

_NO_ERROR: Final = None
_VALUE: Final = 1


def with_entries(plan: Plan, work: RunNode, assumed: Mapping[Path, Json]) -> dict[Path, Json]:
    """The assumed writes; what `item_errors` and `collect.value` of the batch around read has an entry for each item.

    No item of it has failed.
    """
    found = _batch_around(plan, work)
    if found is None:
        return dict(assumed)
    node, count = found
    errors, value = node.item_errors or "", "" if node.collect is None else node.collect.value
    return {path: _entries(format_path(path), errors, value, count) or each for path, each in assumed.items()}


def _batch_around(plan: Plan, work: RunNode) -> tuple[ForeachNode, int] | None:
    """The innermost `foreach` with a `batch` around a node, and how many items this batch has."""
    around = work.address.split("/")[:-1]
    for end in range(len(around), 0, -1):
        planned = node_at(plan, "/".join(around[:end]))
        node = None if planned is None else planned.node
        if isinstance(node, ForeachNode) and node.batch is not None:
            items = work.roots.get(node.variable)
            return (node, len(items)) if isinstance(items, list) else None
    return None


def _entries(key: str, errors: str, value: str, count: int) -> list[Json]:
    """The entries of the list under a key; none where neither expression reads the key."""
    name = re.compile(rf"(?<![\w.]){re.escape(key)}(?![\w(])")
    is_error, is_value = bool(name.search(errors)), bool(name.search(value))
    fields: dict[str, Json] = dict.fromkeys(_fields_of_each(key, value), _VALUE)
    fields |= dict.fromkeys(_fields_of_each(key, errors), _NO_ERROR)
    if not (is_error or is_value):
        return []
    return [dict(fields) if fields else _NO_ERROR if is_error else _VALUE for _ in range(count)]


def _fields_of_each(key: str, expression: str) -> list[str]:
    """The fields that a macro over a list reads of its entries: `error` in `answers.map(one, one.error)`."""
    found: list[str] = []
    for variable in re.findall(rf"(?<![\w.]){re.escape(key)}\.\w+\(\s*(\w+)\s*,", expression):
        found += re.findall(rf"(?<![\w.]){variable}\.\??(\w+)(?!\()", expression)
    return found
