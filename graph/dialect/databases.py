"""`DBNode`: its connection, its positional parameters, and the query that one without any has."""

from __future__ import annotations

import re
from typing import Final

from anabranch.context.values import Json
from anabranch.graph.dialect.rewriting import Fields, Rewriting
from anabranch.graph.source.heading import NOT_NAME
from anabranch.graph.source.yaml_source import Pointer

_HOLE: Final = re.compile(r"\{\{\s*([A-Z][A-Z0-9_]*)\s*\}\}", re.ASCII)
_KEY: Final = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_PLAIN: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_QUOTED_SQL: Final = r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$"
_SQL_TYPE: Final = r"[A-Za-z_]\w*(?:\s*\(\s*\d+(?:\s*,\s*\d+)?\s*\))?(?:\[\])*"
_POSITIONAL: Final = re.compile(rf"({_QUOTED_SQL})|\$(?P<number>\d{{1,4}})(?:::(?P<type>{_SQL_TYPE}))?", re.DOTALL)
_MARK: Final = re.compile(rf"({_QUOTED_SQL})|\?", re.DOTALL)
_COMPARED: Final = re.compile(r"\b([A-Za-z_]\w*) ?= ?\$(\d{1,4})\b", re.ASCII)
_INSERTED: Final = re.compile(r"\binto \w+ ?\(([^()]*)\) ?values ?\(([^()]*)\)", re.IGNORECASE)


def database(node: Fields, path: Pointer, rewriting: Rewriting, *, ours: bool) -> Fields:
    """The fields of a `db` node. With `ours` it is not of the dialect, and nothing is assumed."""
    if "connection" not in node:
        _connection(node, path, rewriting, ours=ours)
    node.pop("db_type", None)
    if not ours and not {"query", "statements"} & node.keys():
        return _default(node, path, rewriting)
    params = node.get("params")
    if isinstance(query := node.get("query"), str) and not isinstance(params, dict):
        if not ours and params is None and (numbers := _numbers(query)):
            return _without_params(query, numbers, path, rewriting)
        node["query"] = _named_binds(query, params)
    if isinstance(params, list):
        node["params"] = {f"p{index}": _parameter(value) for index, value in enumerate(params, 1)}
        for index in range(len(params)):
            rewriting.move((*path, "params", f"p{index + 1}"), (*path, "params", index))
    return node


def _connection(node: Fields, path: Pointer, rewriting: Rewriting, *, ours: bool) -> None:
    """Name the environment variable that the dialect means; a guess becomes a warning."""
    if isinstance(text := node.get("connection_string"), str):
        rewriting.rename(node, "connection_string", "connection", path)
        match = _HOLE.fullmatch(text.strip())
        node["connection"] = match[1] if match else text
        node.pop("database", None)
        return
    if isinstance(given := node.get("database"), str):
        name = f"{NOT_NAME.sub('_', given).upper()}_URL"
        rewriting.rename(node, "database", "connection", path)
    elif not ours:
        name = "DATABASE_URL"
    else:
        return
    node["connection"] = name
    message = f"names no connection: the worker's variable {name} is used"
    rewriting.assumed(path, message, f"write `connection: {name}`")


def _default(node: Fields, path: Pointer, rewriting: Rewriting) -> Fields:
    """A node without a query reads the whole table of its name."""
    name = str(path[-1])
    table = name if _PLAIN.fullmatch(name) else f'"{name}"'
    query = f"select * from {table}"  # noqa: S608 - the author's own text, as every query is
    key = f"{NOT_NAME.sub('_', name)}_result"
    rewriting.assumed(path, f"has no query: it is `{query}`, with its rows under `{key}`", f"write `query: {query}`")
    return {**node, "query": query, "result": "all", "output": {key: "result.rows"}}


def _without_params(query: str, numbers: list[str], path: Pointer, rewriting: Rewriting) -> Fields:
    """Which value goes where only the author knows: the code of a Rust program may have given it."""
    listed = ", ".join(f"${number}" for number in numbers)
    columns = _columns(query)
    likely = ", ".join(columns.get(number, "…") for number in numbers)
    suggestion = f"write `params: [{likely}]`: the keys of the context, in this order"
    return rewriting.refuse(path, f"has {listed} in its query, and no `params` that say what they are", suggestion)


def _columns(query: str) -> dict[str, str]:
    """The columns that parameters are compared with, or inserted into: likely the names of the keys."""
    found = {number: column for column, number in _COMPARED.findall(query)}
    for columns, values in _INSERTED.findall(query):
        pairs = zip(columns.split(","), values.split(","), strict=False)
        found |= {value.strip()[1:]: column.strip() for column, value in pairs if value.strip().startswith("$")}
    return found


def _numbers(query: str) -> list[str]:
    found = (match["number"] for match in _POSITIONAL.finditer(query) if not match[1])
    return sorted({number for number in found if number is not None}, key=int)


def _named_binds(query: str, params: Json) -> str:
    if isinstance(params, list) and not _numbers(query):
        marks = sum(not match[1] for match in _MARK.finditer(query))
        if marks == len(params):  # otherwise it is an operator of PostgreSQL
            order = iter(range(1, marks + 1))
            return _MARK.sub(lambda match: match[1] or f":p{next(order)}", query)
    return _POSITIONAL.sub(_named, query)


def _named(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    name = f":p{match['number']}"
    return f"cast({name} as {match['type']})" if match["type"] else name


def _parameter(value: Json) -> Json:
    """A bare name in a list of parameters is a key of the context."""
    return f"{{{{ {value} }}}}" if isinstance(value, str) and _KEY.fullmatch(value) else value
