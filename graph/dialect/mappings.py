"""`inputs` and `field_mappings` of a node, which name other nodes and parts of what they came to, as its `input`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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
    for name, node in nodes.items():
        if isinstance(node, dict) and any(isinstance(node.get(field), dict) for field in _FIELDS):
            _map(name, node, nodes, (*path, "nodes", name), rewriting)


def _map(name: str, node: Fields, nodes: Mapping[str, Json], path: Pointer, rewriting: Rewriting) -> None:
    given: dict[str, Json] = dict(node.pop("input", None) or {})
    mapped = {key: (field, value) for field in _FIELDS for key, value in strings(node.pop(field, None)).items()}
    read = _read_by(node)
    left_out = [key for key in mapped if read is not None and key not in read]
    if left_out:
        rewriting.unused(path, f"maps {', '.join(f'`{key}`' for key in left_out)}, which nothing of it reads: left out")
    for key, (field, value) in mapped.items():
        if key not in left_out:
            rewriting.move((*path, "input", key), (*path, field, key))
            given[key] = f"{{{{ {_expression(value, nodes, (*path, 'input', key), rewriting)} }}}}"
    if given:
        node["input"] = given


def _read_by(node: Fields) -> frozenset[str] | None:
    """The keys that the fields of a node read; None where it is not known."""
    try:
        model = as_node(node)
        return None if model is None else work_reads(model, frozenset()).keys
    except AnabranchError:  # what does not compile is found later
        return None


def _expression(value: str, nodes: Mapping[str, Json], path: Pointer, rewriting: Rewriting) -> str:
    """What a mapping means, in CEL."""
    name, _, rest = value.partition(".")
    if not isinstance(node := nodes.get(name), dict):
        return value if _compiles(value) else _refuse(value, path, rewriting)
    if (match := _AGGREGATE.fullmatch(rest)) is not None:
        return _aggregate(f"{NOT_NAME.sub('_', name)}_rows", *match.groups())
    expression = f"{_result(name, node)}.{rest}" if rest and _is_one_value(name, node) else _of_keys(name, node, rest)
    expression = expression or (_result(name, node) if not rest else "")
    return expression if expression and _compiles(expression) else _refuse(value, path, rewriting)


def _refuse(value: str, path: Pointer, rewriting: Rewriting) -> str:
    suggestion = 'write `input:` with an expression in CEL, such as {demand: "{{ oms.avg_daily_demand }}"}'
    rewriting.refuse(path, f"maps {value!r}, which has no meaning here", suggestion)
    return "null"


def _is_one_value(name: str, node: Fields) -> bool:
    return _result(name, node) != ""


def _result(name: str, node: Fields) -> str:
    """The key under which all that a node came to stands; none where that is several keys."""
    output, key = node.get("output"), NOT_NAME.sub("_", name)
    if isinstance(output, dict):
        return key if key in output else f"{key}_result[0]" if output == {f"{key}_result": "result.rows"} else ""
    return key if node.get("type") in ("http", "grpc") else ""


def _of_keys(name: str, node: Fields, rest: str) -> str:
    """A key that a node writes, or an object of all of them. Rules may not have written them: then it is null."""
    keys = sorted(_written(name, node))
    first, *steps = rest.split(".") if rest else [""]
    if first in keys:
        return f"has(context.{first}) ? {'.'.join((first, *steps))} : null"
    if not rest and keys:
        return keys[0] if len(keys) == 1 else _object(keys)
    return ""


def _object(keys: list[str]) -> str:
    return "{" + ", ".join(f'"{key}": has(context.{key}) ? {key} : null' for key in keys) + "}"


def _written(name: str, node: Fields) -> Iterator[str]:
    model = as_node(node)
    try:
        yield from () if model is None else node_writes(name, model) or ()
    except AnabranchError:  # GRL that does not compile, which is found later
        return


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
