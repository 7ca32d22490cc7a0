"""The graph language of rust-logic-graph, rewritten into ours on the raw value, before anything is validated.

A file does not declare the dialect: each spelling has one meaning, and our own language has none of them.
Every rewritten path is recorded, so that a problem found later still points to the line that the author wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from anabranch.context.values import Json
from anabranch.errors import Problem, SourceLocation
from anabranch.graph import node_types
from anabranch.graph.model import NODE_TYPES
from anabranch.graph.source.yaml_source import Pointer, Source

_HOLE = re.compile(r"\{\{\s*([A-Z][A-Z0-9_]*)\s*\}\}", re.ASCII)
_KEY = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_NOT_NAME = re.compile(r"[^A-Za-z0-9_]+")
_QUOTED_CEL = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_WORDS = re.compile(rf"({_QUOTED_CEL})|(?<![\w.])(?:(and|or)(?!\w)|(not)(?!\w)\s*)", re.DOTALL)
_OPERATORS = {"and": "&&", "or": "||", "not": "!"}
_QUOTED_SQL = r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$"
_SQL_TYPE = r"[A-Za-z_]\w*(?:\s*\(\s*\d+(?:\s*,\s*\d+)?\s*\))?(?:\[\])*"
_POSITIONAL = re.compile(rf"({_QUOTED_SQL})|\$(?P<number>\d{{1,4}})(?:::(?P<type>{_SQL_TYPE}))?", re.DOTALL)


@dataclass(slots=True)
class _Rewrite:
    """The state of a rewriting: where moved paths came from, and problems."""

    source: Source
    moved: dict[Pointer, Pointer] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: Pointer) -> Pointer:
        for length in range(len(path), -1, -1):
            if (old := self.moved.get(path[:length])) is not None:
                return old + path[length:]
        return path

    def move(self, new: Pointer, old: Pointer) -> None:
        if new != (origin := self.origin(old)):
            self.moved[new] = origin

    def place(self, path: Pointer) -> SourceLocation:
        return self.source.place(self.origin(path), key=True)


def normalise(source: Source) -> tuple[Source, tuple[Problem, ...]]:
    """The same graph in our own language, and the problems (and warnings on what was assumed) of the rewriting."""
    if not isinstance(source.value, dict):
        return source, ()
    rewrite = _Rewrite(source)
    graph = _head(dict(source.value), rewrite)
    _nodes_and_edges(graph, (), rewrite)
    return source.rebased(graph, rewrite.moved), tuple(rewrite.problems)


def _head(graph: dict[str, Json], rewrite: _Rewrite) -> dict[str, Json]:
    """`name`, `description` and `version` may be under `metadata`; a graph without a name gets the name of its file."""
    metadata = graph.get("metadata")
    for field_name in ("name", "description", "version"):
        value = metadata.get(field_name) if isinstance(metadata, dict) else None
        if field_name in graph or not isinstance(value, str) or "nodes" not in graph:
            continue
        if field_name != "name" or _NOT_NAME.search(value) is None:
            graph[field_name] = value
            rewrite.move((field_name,), ("metadata", field_name))
    stem = _NOT_NAME.sub("_", PurePath(rewrite.source.file).name.partition(".")[0])
    if "name" not in graph and "nodes" in graph and stem.strip("_") and not rewrite.source.file.startswith("<"):
        graph["name"] = stem if not stem[0].isdigit() else f"_{stem}"
    return graph


def _nodes_and_edges(body: dict[str, Json], path: Pointer, rewrite: _Rewrite) -> None:
    nodes = body.get("nodes")
    if isinstance(nodes, list):
        nodes = body["nodes"] = _by_id(nodes, (*path, "nodes"), rewrite)
    edges = body.get("edges")
    if isinstance(edges, list):
        body["edges"] = [_edge(edge, (*path, "edges", index), rewrite) for index, edge in enumerate(edges)]
    if isinstance(nodes, dict):
        body["nodes"] = {key: _node(node, (*path, "nodes", key), rewrite) for key, node in nodes.items()}
        _dependencies(body, path, rewrite)


def _by_id(nodes: list[Json], path: Pointer, rewrite: _Rewrite) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for index, node in enumerate(nodes):
        identity = node.get("id") if isinstance(node, dict) else None
        where = rewrite.place((*path, index, "id"))
        if not isinstance(node, dict) or not isinstance(identity, str):
            message = f"node {index + 1} of the list has no `id`"
            rewrite.problems.append(Problem("NODE_WITHOUT_ID", message, where, "give it an `id:`"))
        elif identity in found:
            first = rewrite.place((*path, identity, "id"))
            message = f"the id {identity!r} is given twice; it is already in line {first.line}"
            rewrite.problems.append(Problem("NODE_DUPLICATE", message, where, "ids are unique in a graph"))
        else:
            rewrite.move((*path, identity), (*path, index))
            found[identity] = {key: value for key, value in node.items() if key != "id"}
    return found


def _edge(edge: Json, path: Pointer, rewrite: _Rewrite) -> Json:
    if not isinstance(edge, dict):
        return edge
    edge = dict(edge)
    for name in ("rule", "condition"):
        if name in edge and "when" not in edge:
            condition = edge.pop(name)
            if condition is not None:
                edge["when"] = cel_condition(condition)
                rewrite.move((*path, "when"), (*path, name))
    return edge


def _dependencies(body: dict[str, Json], path: Pointer, rewrite: _Rewrite) -> None:
    """`dependencies: [a]` of a node is an edge from `a`, unless that edge is drawn."""
    edges = body.get("edges") or []
    nodes = body["nodes"]
    if not isinstance(edges, list) or not isinstance(nodes, dict):
        return
    drawn = {(edge.get("from"), edge.get("to")) for edge in edges if isinstance(edge, dict) and _strings(edge)}
    added = list(edges)
    for identity, node in nodes.items():
        if not isinstance(node, dict) or not isinstance(sources := node.get("dependencies"), list):
            continue
        del node["dependencies"]
        for index, source in enumerate(sources):
            if not isinstance(source, str) or (source, identity) not in drawn:
                rewrite.move((*path, "edges", len(added)), (*path, "nodes", identity, "dependencies", index))
                added.append({"from": source, "to": identity})
    if added:
        body["edges"] = added


def _strings(edge: dict[str, Json]) -> bool:
    return isinstance(edge.get("from"), str) and isinstance(edge.get("to"), str)


def _node(node: Json, path: Pointer, rewrite: _Rewrite) -> Json:
    if isinstance(node, str):
        rewrite.move((*path, "type"), path)
        node = {"type": node, **({"condition": "true"} if node_type(node) == "rule" else {})}
    if not isinstance(node, dict):
        return node
    node = _without_config(node, path, rewrite)
    if "node_type" in node and "type" not in node:
        _rename(node, "node_type", "type", path, rewrite)
        node = {"type": node.pop("type"), **node}
    if isinstance(written := node.get("type"), str):
        kind = node_type(written)
        if kind in _REWRITES:
            _REWRITES[kind](node, path, rewrite)
        node["type"] = kind
    if "condition" in node and "when" not in node:
        node["condition"] = cel_condition(node["condition"])
        _rename(node, "condition", "when", path, rewrite)
    if isinstance(node.get("compensate"), dict | str):
        node["compensate"] = _node(node["compensate"], (*path, "compensate"), rewrite)
    if isinstance(body := node.get("body"), dict):
        node["body"] = body = dict(body)
        _nodes_and_edges(body, (*path, "body"), rewrite)
    return node


def node_type(name: str) -> str:
    """Our name of a node type: `RuleNode`, `Rule` and `rule` are `rule`; what is not known stays as it is."""
    return node_types.built_in_type(name) or name


def cel_condition(value: Json) -> Json:
    """A condition in CEL: `and`, `or`, `not` outside of quotes become `&&`, `||`, `!`; booleans become text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    return _WORDS.sub(lambda match: match[1] or _OPERATORS[match[2] or match[3]], value)


def _without_config(node: dict[str, Json], path: Pointer, rewrite: _Rewrite) -> dict[str, Json]:
    config = node.get("config")
    if not isinstance(config, dict):
        return dict(node)
    for key in config:
        if key not in node:
            rewrite.move((*path, key), (*path, "config", key))
    return {**config, **{key: value for key, value in node.items() if key != "config"}}


def _rename(node: dict[str, Json], old: str, new: str, path: Pointer, rewrite: _Rewrite) -> None:
    if old in node and new not in node:
        node[new] = node.pop(old)
        rewrite.move((*path, new), (*path, old))


def _rule(node: dict[str, Json], path: Pointer, rewrite: _Rewrite) -> None:
    """A rule node that has only a condition writes whether it held, to `<id>_result`."""
    _rename(node, "rule_content", "grl", path, rewrite)
    if not {"rules", "decision_table", "grl"}.isdisjoint(node) or "condition" not in node:
        return
    key = f"{_NOT_NAME.sub('_', str(path[-1]))}_result"
    condition = cel_condition(node.pop("condition"))
    node["rules"] = [{"when": condition, "then": {key: True}}, {"otherwise": {key: False}}]
    rewrite.move((*path, "rules"), (*path, "condition"))


def _db(node: dict[str, Json], path: Pointer, rewrite: _Rewrite) -> None:
    if "connection" not in node:
        _connection(node, path, rewrite)
    node.pop("db_type", None)
    if isinstance(query := node.get("query"), str) and not isinstance(node.get("params"), dict):
        node["query"] = _POSITIONAL.sub(_named, query)
    if isinstance(params := node.get("params"), list):
        node["params"] = {f"p{index}": _parameter(value) for index, value in enumerate(params, 1)}
        for index in range(len(params)):
            rewrite.move((*path, "params", f"p{index + 1}"), (*path, "params", index))


def _connection(node: dict[str, Json], path: Pointer, rewrite: _Rewrite) -> None:
    """Name the environment variable that the dialect means; a guess becomes a warning."""
    if isinstance(text := node.get("connection_string"), str):
        _rename(node, "connection_string", "connection", path, rewrite)
        match = _HOLE.fullmatch(text.strip())
        node["connection"] = match[1] if match else text
        node.pop("database", None)
        return
    if isinstance(database := node.get("database"), str):
        name = f"{_NOT_NAME.sub('_', database).upper()}_URL"
        _rename(node, "database", "connection", path, rewrite)
    elif node["type"] not in NODE_TYPES:
        name = "DATABASE_URL"
    else:
        return
    node["connection"] = name
    message = f"node {path[-1]!r} names no connection: the worker's variable {name} is used"
    suggestion = f"write `connection: {name}`"
    rewrite.problems.append(Problem("DIALECT_ASSUMED", message, rewrite.place(path), suggestion, warning=True))


def _named(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    name = f":p{match['number']}"
    return f"cast({name} as {match['type']})" if match["type"] else name


def _parameter(value: Json) -> Json:
    """A bare name in a list of parameters is a key of the context."""
    return f"{{{{ {value} }}}}" if isinstance(value, str) and _KEY.fullmatch(value) else value


def _ai(node: dict[str, Json], path: Pointer, rewrite: _Rewrite) -> None:
    _rename(node, "system_prompt", "system", path, rewrite)
    _rename(node, "user_prompt", "prompt", path, rewrite)
    provider, model = node.get("provider"), node.get("model")
    if isinstance(provider, str) and isinstance(model, str):
        del node["provider"]
        node["model"] = model if ":" in model else f"{provider.casefold()}:{model}"


def _graph(node: dict[str, Json], path: Pointer, rewrite: _Rewrite) -> None:
    _rename(node, "subgraph_file", "graph", path, rewrite)
    if isinstance(name := node.get("graph"), str) and name.endswith((".yaml", ".yml", ".json")):
        node["graph"] = PurePath(name).name.partition(".")[0]
    given, taken = node.get("input_mapping"), node.get("output_mapping")
    if isinstance(given, dict):
        _rename(node, "input_mapping", "input", path, rewrite)
        node["input"] = {str(inner): f"{{{{ {outer} }}}}" for outer, inner in given.items()}
    if isinstance(taken, dict):
        _rename(node, "output_mapping", "output", path, rewrite)
        node["output"] = {str(outer): f"result.{inner}" for inner, outer in taken.items()}


_REWRITES: dict[str, Callable[[dict[str, Any], Pointer, _Rewrite], None]] = {
    "rule": _rule,
    "db": _db,
    "ai": _ai,
    "graph": _graph,
}
