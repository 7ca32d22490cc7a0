"""`inputs` and `field_mappings` of a node, which name other nodes and parts of what they came to, as its `input`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.graph.dataflow.reads import node_writes, work_reads
from anabranch.graph.dialect.conditions import as_node
from anabranch.graph.dialect.rewriting import Fields, Rewriting, strings
from anabranch.graph.expressions.expressions import compile_expression
from anabranch.graph.source.heading import NOT_NAME
from anabranch.graph.source.yaml_source import Pointer

_FIELDS: Final = ("inputs", "field_mappings")
_AGGREGATE: Final = re.compile(r"(sum|count|min_by|max_by)\((\w+)\)(?:\.(.+))?", re.ASCII)


def referred(nodes: Mapping[str, Json]) -> dict[str, set[str]]:
    """The nodes that mappings name, each with what is asked of it: `""` for the whole."""
    found: dict[str, set[str]] = {}
    for node in nodes.values():
        if not isinstance(node, dict):
            continue
        for field in _FIELDS:
            for value in strings(node.get(field)).values():
                name, _, rest = value.partition(".")
                if name in nodes:
                    found.setdefault(name, set()).add(rest)
    return found


def keep_rows(node: Fields, path: Pointer, asked: set[str]) -> None:
    """Have a `db` node that others map keep its row under its id, and all rows where something is made of them."""
    if not asked or "output" in node or node.get("type") != "db":
        return
    key = NOT_NAME.sub("_", str(path[-1]))
    plain = any(not _AGGREGATE.fullmatch(each) for each in asked)
    several = any(_AGGREGATE.fullmatch(each) for each in asked)
    if several:
        node["result"] = "all"  # `first` fetches no more than one
    node["output"] = {**({key: "result.row"} if plain else {}), **({f"{key}_rows": "result.rows"} if several else {})}


def own_input(nodes: dict[str, Json], path: Pointer, rewriting: Rewriting) -> None:
    """Have the nodes of a level read what their mappings name. What nothing of a node reads is left out."""
    meanings = _Meanings(nodes)
    for name, node in nodes.items():
        if isinstance(node, dict) and any(isinstance(node.get(field), dict) for field in _FIELDS):
            _map(node, meanings, (*path, "nodes", name), rewriting)


def _map(node: Fields, meanings: _Meanings, path: Pointer, rewriting: Rewriting) -> None:
    given: dict[str, Json] = dict(node.pop("input", None) or {})
    mapped = {key: (field, value) for field in _FIELDS for key, value in strings(node.pop(field, None)).items()}
    read = _read_by(node)
    left_out = [key for key in mapped if read is not None and key not in read]
    if left_out:
        rewriting.unused(path, f"maps {', '.join(f'`{key}`' for key in left_out)}, which nothing of it reads: left out")
    for key, (field, value) in mapped.items():
        if key not in left_out:
            rewriting.move((*path, "input", key), (*path, field, key))
            given[key] = f"{{{{ {meanings.of(value) or _refused(value, (*path, 'input', key), rewriting)} }}}}"
    if given:
        node["input"] = given


def _read_by(node: Fields) -> frozenset[str] | None:
    """The keys that the fields of a node read; None where it is not known."""
    try:
        model = as_node(node)
        return None if model is None else work_reads(model, frozenset()).keys
    except AnabranchError:  # what does not compile is found later
        return None


def _refused(value: str, path: Pointer, rewriting: Rewriting) -> str:
    suggestion = 'write `input:` with an expression in CEL, such as {demand: "{{ oms.avg_daily_demand }}"}'
    rewriting.refuse(path, f"maps {value!r}, which has no meaning here", suggestion)
    return "null"


class _Meanings:
    """What mappings mean in CEL, each worked out once: a hostile file may map one node a thousand times."""

    def __init__(self, nodes: Mapping[str, Json]) -> None:
        self._nodes = nodes
        self._known: dict[str, str | None] = {}
        self._keys: dict[str, list[str]] = {}

    def of(self, value: str) -> str | None:
        """The expression; None for what means nothing."""
        if value not in self._known:
            expression = self._expression(value)
            self._known[value] = expression if expression and _compiles(expression) else None
        return self._known[value]

    def _expression(self, value: str) -> str:
        name, _, rest = value.partition(".")
        if not isinstance(node := self._nodes.get(name), dict):
            return value
        if (match := _AGGREGATE.fullmatch(rest)) is not None:
            return _aggregate(f"{NOT_NAME.sub('_', name)}_rows", *match.groups())
        if (one := _one_value(name, node, rest)) is not None:
            return f"{one}.{rest}" if rest else one
        keys = self._written(name, node)
        return _key(keys, rest) if rest else _whole(keys)

    def _written(self, name: str, node: Fields) -> list[str]:
        if name not in self._keys:
            self._keys[name] = sorted(_writes(name, node))
        return self._keys[name]


def _one_value(name: str, node: Fields, rest: str) -> str | None:
    """The value that holds all that a node came to; None where that is several keys."""
    output, key = node.get("output"), NOT_NAME.sub("_", name)
    if not isinstance(output, dict):
        return key if node.get("type") in ("http", "grpc") else None
    if rest and output == {f"{key}_result": "result.rows"}:
        return f"{key}_result[0]"
    return key if key in output else None


def _key(keys: list[str], rest: str) -> str:
    """A key that a node writes. Rules may not have written it: then it is null."""
    first, *steps = rest.split(".")
    return f"has(context.{first}) ? {'.'.join((first, *steps))} : null" if first in keys else ""


def _whole(keys: list[str]) -> str:
    """All keys that a node writes: one by itself, several as an object."""
    if len(keys) <= 1:
        return "".join(keys)
    return "{" + ", ".join(f'"{key}": has(context.{key}) ? {key} : null' for key in keys) + "}"


def _writes(name: str, node: Fields) -> frozenset[str]:
    model = as_node(node)
    try:
        return frozenset() if model is None else node_writes(name, model) or frozenset()
    except AnabranchError:  # GRL that does not compile, which is found later
        return frozenset()


def _aggregate(rows: str, function: str, field: str, rest: str | None) -> str:
    values = f"{rows}.map(each, each.{field})"
    if function == "sum":
        return f"{values}.sum()"
    if function == "count":
        return f"size({rows})"
    least = "least" if function == "min_by" else "greatest"
    found = f"{rows}.filter(row, row.{field} == math.{least}({values}))[0]"
    return f"{found}.{rest}" if rest else found


def _compiles(expression: str) -> bool:
    try:
        compile_expression(expression)
    except AnabranchError:
        return False
    return True
