"""Decision tables in JDM, the JSON Decision Model of GoRules (https://docs.gorules.io): what they need and write.

Only what is evaluated without code is accepted: input, output, decision table, expression and switch nodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from anabranch.context.values import Path
from anabranch.errors import InputError
from anabranch.graph.fields import JsonObject

MAX_NODES = 200
NODE_TYPES = frozenset({"inputNode", "outputNode", "decisionTableNode", "expressionNode", "switchNode"})

_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_NUMBER = re.compile(r"\s*(?:[<>]=?\s*-?\d|[\[(]\s*-?[\d.]+\s*\.\.|-?\d)")
_TEXT = re.compile(r"\s*[\"']")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_NAME = re.compile(r"(?<![\w.$#])[A-Za-z_]\w*(?!\w|\s*[(:])", re.ASCII)
_WORDS = frozenset({"true", "false", "null", "and", "or", "not", "in"})
_BOOLEAN = re.compile(r"\s*(?:true|false)\s*$")


@dataclass(frozen=True, slots=True)
class Column:
    """An input of a table that comes from the context: its path, and the kind that its cells compare with, if one."""

    path: Path
    kind: str | None
    nullable: bool


@dataclass(frozen=True, slots=True)
class DecisionTable:
    """A decision that may be evaluated. `content` is its JSON text."""

    content: str
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    """The top-level names of the context that output cells use."""
    tests: tuple[str, ...]
    """ZEN's tests of a column's value, as input cells have them."""
    expressions: tuple[str, ...]
    """All other ZEN expressions: columns, output cells, expression nodes."""
    writes: frozenset[str] | None
    """The top-level keys that it may write; None if its definition does not show them."""
    parts: Mapping[str, tuple[Path, ...]]
    """The keys of which it writes parts alone, with these."""


def read_table(value: JsonObject | str) -> DecisionTable:
    """The table of a JDM object or its JSON text; InputError if it is not JDM or needs code to run."""
    jdm = _object(value)
    nodes = jdm.get("nodes")
    if not isinstance(nodes, list) or not isinstance(jdm.get("edges"), list):
        raise InputError(
            "the decision table has no `nodes` and `edges`", suggestion="use a JDM file, as the editor saves it"
        )
    if len(nodes) > MAX_NODES:
        raise InputError(f"the decision table has {len(nodes)} nodes, over the limit of {MAX_NODES}")
    for index, node in enumerate(nodes):
        _check_node(node, index)
    found = cast("list[dict[str, Any]]", nodes)
    tables = [_content(node) for node in found if node["type"] == "decisionTableNode"]
    outputs = _written(found)
    written = {path[0] for path in outputs}
    is_nested = any(_is_nested(node) for node in found)
    return DecisionTable(
        content=json.dumps(jdm),
        columns=tuple(column for table in tables for column in _columns(table) if column.path[0] not in written),
        names=tuple(dict.fromkeys(name for table in tables for name in _names(table) if name not in written)),
        tests=tuple(text for table in tables for text in _tests(table)),
        expressions=tuple(text for node in found for text in _expressions(_content(node))),
        writes=None if is_nested else frozenset(written),
        parts={} if is_nested else _parts(outputs),
    )


def _object(value: JsonObject | str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InputError(
                "the decision table is not JSON", suggestion="name a .json file, or put the JDM here"
            ) from None
    if not isinstance(value, dict):
        raise InputError("the decision table is not a JSON object", suggestion="use a JDM file, as the editor saves it")
    return value


def _check_node(node: object, index: int) -> None:
    kind = node.get("type") if isinstance(node, dict) else None
    if not isinstance(node, dict) or not isinstance(kind, str):
        raise InputError(f"node {index + 1} of the decision table has no type")
    if kind not in NODE_TYPES:
        raise InputError(
            f"node {str(node.get('name', index + 1))!r} of the decision table is a {kind}; it needs code to run",
            suggestion=f"use {', '.join(sorted(NODE_TYPES))}; code belongs in a `python` node",
        )


def _content(node: dict[str, Any]) -> dict[str, Any]:
    content = node.get("content")
    return content if isinstance(content, dict) else {}


def _items(content: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    items = content.get(name)
    if isinstance(items, list):
        yield from (item for item in items if isinstance(item, dict))


def _is_nested(node: dict[str, Any]) -> bool:
    """Whether the node goes over a part of its input, so that its outputs are not keys."""
    content = _content(node)
    return bool(content.get("inputField")) or content.get("executionMode") == "loop"


def _written(nodes: list[dict[str, Any]]) -> set[Path]:
    written: set[Path] = set()
    for node in nodes:
        content = _content(node)
        names = [item.get("field") for item in _items(content, "outputs")]
        names += [item.get("key") for item in _items(content, "expressions")]
        if content.get("outputPath"):
            names = [content["outputPath"]]
        written |= {tuple(name.split(".")) for name in names if isinstance(name, str) and name}
    return written


def _parts(written: Collection[Path]) -> dict[str, tuple[Path, ...]]:
    """By key the paths inside of it, of those that lead through another one the shorter; none of a whole key."""
    found: dict[str, tuple[Path, ...]] = {}
    for path in sorted(written):
        kept = found.get(path[0], ())
        if not any(path[: len(above)] == above for above in kept):
            found[path[0]] = (*kept, path)
    return {key: paths for key, paths in found.items() if paths != ((key,),)}


def _columns(table: dict[str, Any]) -> Iterator[Column]:
    for column in _items(table, "inputs"):
        field = column.get("field")
        if isinstance(field, str) and _PATH.fullmatch(field.strip()):
            cells = list(_cells(table, column))
            yield Column(tuple(field.strip().split(".")), _kind(cells), any("null" in cell for cell in cells))


def _tests(table: dict[str, Any]) -> Iterator[str]:
    for column in _items(table, "inputs"):
        if column.get("field"):
            yield from _cells(table, column)


def _names(table: dict[str, Any]) -> Iterator[str]:
    for column in _items(table, "outputs"):
        for cell in _cells(table, column):
            yield from (name for name in _NAME.findall(_QUOTED.sub("", cell)) if name not in _WORDS)


def _expressions(content: dict[str, Any]) -> Iterator[str]:
    for column in _items(content, "inputs"):
        if isinstance(field := column.get("field"), str) and field.strip():
            yield field
        else:
            yield from _cells(content, column)
    for column in _items(content, "outputs"):
        yield from _cells(content, column)
    for item in _items(content, "expressions"):
        if isinstance(value := item.get("value"), str) and value.strip():
            yield value


def _cells(table: dict[str, Any], column: dict[str, Any]) -> Iterator[str]:
    yield from (cell for rule in _items(table, "rules") if (cell := _cell(rule, column)))


def _cell(rule: dict[str, Any], column: dict[str, Any]) -> str:
    text = rule.get(column.get("id", ""), "")
    return text.strip() if isinstance(text, str) else ""


def _kind(cells: list[str]) -> str | None:
    tests = [cell for cell in cells if cell != "null"]
    for kind, pattern in (("a number", _NUMBER), ("a text", _TEXT), ("a boolean", _BOOLEAN)):
        if tests and all(pattern.match(cell) for cell in tests):
            return kind
    return None
