"""The graph language of rust-logic-graph, rewritten into ours on the raw value, before anything is validated.

A file does not declare the dialect: each spelling has one meaning, and our own language has none of them.
Every rewritten path is recorded, so that a problem found later still points to the line that the author wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Final

from anabranch.context.values import Json
from anabranch.errors import Problem
from anabranch.graph import node_types
from anabranch.graph.dialect.conditions import ask_for_keys, cel_condition
from anabranch.graph.dialect.control import branches, control, control_type, holding
from anabranch.graph.dialect.databases import database
from anabranch.graph.dialect.mappings import keep_rows, own_input, referred
from anabranch.graph.dialect.models import answer_in_prompt, model_call, words_of
from anabranch.graph.dialect.rewriting import Fields, Rewriting
from anabranch.graph.dialect.services import grpc, is_grpc, other_database
from anabranch.graph.model import NODE_TYPES
from anabranch.graph.source.heading import from_metadata, heading_of
from anabranch.graph.source.yaml_source import Pointer, Source


def normalise(source: Source) -> tuple[Source, tuple[Problem, ...]]:
    """The same graph in our own language, and the problems (and warnings on what was assumed) of the rewriting."""
    if not isinstance(source.value, dict):
        return source, ()
    rewriting = Rewriting(source)
    graph = {**source.value, **heading_of(source.value, source.file)}
    for name in from_metadata(source.value) if "nodes" in graph else ():
        rewriting.move((name,), ("metadata", name))
    _nodes_and_edges(graph, (), rewriting)
    return source.rebased(graph, rewriting.moved), tuple(rewriting.problems)


def _nodes_and_edges(body: dict[str, Json], path: Pointer, rewriting: Rewriting) -> None:
    nodes = body.get("nodes")
    if isinstance(nodes, list):
        nodes = body["nodes"] = _by_id(nodes, (*path, "nodes"), rewriting)
    edges = body.get("edges")
    if isinstance(edges, list):
        body["edges"] = [_edge(edge, (*path, "edges", index), rewriting) for index, edge in enumerate(edges)]
    if isinstance(nodes, dict):
        body["nodes"] = {key: _node(node, (*path, "nodes", key), rewriting) for key, node in nodes.items()}
        _level(body, nodes, path, rewriting)


def _level(body: dict[str, Json], written: Mapping[str, Json], path: Pointer, rewriting: Rewriting) -> None:
    """What takes all nodes of a level together."""
    nodes = body["nodes"]
    if not isinstance(nodes, dict):
        return
    asked, words = referred(nodes), Counter[str]()
    for name, node in nodes.items():
        if isinstance(node, dict) and isinstance(written[name], dict | str):
            where = (*path, "nodes", name)
            keep_rows(node, where, asked.get(name, set()))
            if _is_foreign(written[name]) and node.get("type") == "ai":
                words = words or words_of([nodes, body.get("edges")])
                answer_in_prompt(node, words, where, rewriting)
    _dependencies(body, path, rewriting)
    own_input(nodes, path, rewriting)
    ask_for_keys(nodes, body.get("edges"), path, rewriting)


def _by_id(nodes: list[Json], path: Pointer, rewriting: Rewriting) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for index, node in enumerate(nodes):
        identity = node.get("id") if isinstance(node, dict) else None
        where = rewriting.place((*path, index, "id"))
        if not isinstance(node, dict) or not isinstance(identity, str):
            message = f"node {index + 1} of the list has no `id`"
            rewriting.problems.append(Problem("NODE_WITHOUT_ID", message, where, "give it an `id:`"))
        elif identity in found:
            first = rewriting.place((*path, identity, "id"))
            message = f"the id {identity!r} is given twice; it is already in line {first.line}"
            rewriting.problems.append(Problem("NODE_DUPLICATE", message, where, "ids are unique in a graph"))
        else:
            rewriting.move((*path, identity), (*path, index))
            found[identity] = {key: value for key, value in node.items() if key != "id"}
    return found


def _edge(edge: Json, path: Pointer, rewriting: Rewriting) -> Json:
    if not isinstance(edge, dict):
        return edge
    edge = dict(edge)
    for name in ("rule", "condition"):
        if name in edge and "when" not in edge:
            condition = edge.pop(name)
            if condition is not None:
                edge["when"] = cel_condition(condition)
                rewriting.move((*path, "when"), (*path, name))
    return edge


def _dependencies(body: dict[str, Json], path: Pointer, rewriting: Rewriting) -> None:
    """`dependencies: [a]` of a node is an edge from `a`, unless that edge is drawn; so are the branches of one."""
    edges = body.get("edges") or []
    nodes = body["nodes"]
    if not isinstance(edges, list) or not isinstance(nodes, dict):
        return
    added = list(edges)
    branches(nodes, added, path, rewriting)
    drawn = {(edge.get("from"), edge.get("to")) for edge in added if isinstance(edge, dict) and _names_its_ends(edge)}
    for identity, node in nodes.items():
        if not isinstance(node, dict) or not isinstance(sources := node.get("dependencies"), list):
            continue
        del node["dependencies"]
        for index, source in enumerate(sources):
            if not isinstance(source, str) or (source, identity) not in drawn:
                rewriting.move((*path, "edges", len(added)), (*path, "nodes", identity, "dependencies", index))
                added.append({"from": source, "to": identity})
    if added:
        body["edges"] = added


def _names_its_ends(edge: Fields) -> bool:
    return isinstance(edge.get("from"), str) and isinstance(edge.get("to"), str)


def _node(node: Json, path: Pointer, rewriting: Rewriting) -> Json:
    foreign = _is_foreign(node)
    if isinstance(node, str):
        rewriting.move((*path, "type"), path)
        node = {"type": node}
    if not isinstance(node, dict):
        return node
    node = _typed(_without_config(_tagged(node, path, rewriting), path, rewriting), path, rewriting)
    if isinstance(written := node.get("type"), str):
        node = _translated(node, written, path, rewriting, ours=not foreign)
    if "condition" in node and "when" not in node:
        node["condition"] = cel_condition(node["condition"])
        rewriting.rename(node, "condition", "when", path)
    if isinstance(node.get("compensate"), dict | str):
        node["compensate"] = _node(node["compensate"], (*path, "compensate"), rewriting)
    if isinstance(body := node.get("body"), dict):
        node["body"] = body = dict(body)
        _nodes_and_edges(body, (*path, "body"), rewriting)
    if node.get("type") == "block":
        _nodes_and_edges(node, path, rewriting)
    return node


def _is_foreign(node: Json) -> bool:
    """Whether a node is spelled as in rust-logic-graph: what it does not say is assumed, and told."""
    if isinstance(node, dict):
        return "node_type" in node or node.get("type") not in NODE_TYPES
    return isinstance(node, str)


def _tagged(node: Fields, path: Pointer, rewriting: Rewriting) -> Fields:
    """`{Rule: {rule: name}}`, as older files say `{type: Rule, condition: name}`."""
    ((tag, fields),) = node.items() if len(node) == 1 else ((None, None),)
    if not isinstance(tag, str) or not isinstance(fields, dict) or node_types.built_in_type(tag) is None:
        return node
    for key in fields:
        rewriting.move((*path, "condition" if key == "rule" else key), (*path, tag, key))
    return {"type": tag, **{"condition" if key == "rule" else key: value for key, value in fields.items()}}


def _typed(node: Fields, path: Pointer, rewriting: Rewriting) -> Fields:
    if "node_type" not in node or "type" in node:
        return node
    rewriting.rename(node, "node_type", "type", path)
    return {"type": node.pop("type"), **node}


def _without_config(node: Fields, path: Pointer, rewriting: Rewriting) -> Fields:
    config = node.get("config")
    if not isinstance(config, dict):
        return dict(node)
    for key in config:
        if key not in node:
            rewriting.move((*path, key), (*path, "config", key))
    return {**config, **{key: value for key, value in node.items() if key != "config"}}


def _translated(node: Fields, written: str, path: Pointer, rewriting: Rewriting, *, ours: bool) -> Fields:
    """The node in our language, by the type that is written there."""
    if is_grpc(written):
        return grpc(node, path, rewriting)
    if (steering := control_type(written)) is not None and written not in node_types.names():
        return control(node, steering, path, rewriting)
    if (instead := other_database(written)) is not None:
        return rewriting.refuse(path, f"is a {written}, which is no node here", instead)
    kind = node_type(written)
    translate = _TRANSLATIONS.get(kind)
    node = node if translate is None else translate(node, path, rewriting, ours=ours)
    return {**node, "type": node_type(node["type"])}


def node_type(name: str) -> str:
    """Our name of a node type: `RuleNode`, `Rule` and `rule` are `rule`; what is not known stays as it is."""
    return node_types.built_in_type(name) or name


def _rule(node: Fields, path: Pointer, rewriting: Rewriting, *, ours: bool) -> Fields:
    """A rule node that has only a condition writes whether it held, to `<id>_result`."""
    rewriting.rename(node, "rule_content", "grl", path)
    if not {"rules", "decision_table", "grl"}.isdisjoint(node):
        return node
    if "condition" in node:
        return holding(node, path, node.pop("condition"), rewriting)
    if ours:
        return node
    rewriting.assumed(path, "has no rules: it is a rule that holds", "write its `rules`, or remove it")
    return holding(node, path, "true", rewriting)


def _graph(node: Fields, path: Pointer, rewriting: Rewriting, *, ours: bool) -> Fields:
    rewriting.rename(node, "subgraph_file", "graph", path)
    if not ours and "graph" not in node:
        return rewriting.refuse(path, "names no graph", "write `graph:` with the name of a graph of this folder")
    if isinstance(name := node.get("graph"), str) and name.endswith((".yaml", ".yml", ".json")):
        node["graph"] = PurePath(name).name.partition(".")[0]
    given, taken = node.get("input_mapping"), node.get("output_mapping")
    if isinstance(given, dict):
        rewriting.rename(node, "input_mapping", "input", path)
        node["input"] = {str(inner): f"{{{{ {outer} }}}}" for outer, inner in given.items()}
    if isinstance(taken, dict):
        rewriting.rename(node, "output_mapping", "output", path)
        node["output"] = {str(outer): f"result.{inner}" for inner, outer in taken.items()}
    return node


_TRANSLATIONS: Final[Mapping[str, Callable[..., Fields]]] = {
    "rule": _rule,
    "db": database,
    "ai": model_call,
    "graph": _graph,
}
