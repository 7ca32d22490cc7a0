"""What a node of each type did, in words: the model and its prompt, the statement, the request, the question."""

from __future__ import annotations

import json
from collections.abc import Iterator

from anabranch.context.values import Json
from anabranch.graph.kinds.kind import Seen
from anabranch.graph.kinds.tools import TALK
from anabranch.graph.model import (
    ActivityNode,
    AiNode,
    ApprovalNode,
    DbNode,
    EmitNode,
    GraphNode,
    GrpcNode,
    HttpNode,
    PythonNode,
)
from anabranch.graph.parts import Statement


def ai_deeds(node: AiNode, seen: Seen) -> Iterator[str]:
    """The model and what it was told, with what came of the tools that it had called."""
    yield f"model {' or '.join(node.models)}"
    if node.system:
        yield f"system {seen.text(node.system)}"
    yield f"prompt {seen.text(node.prompt)}"
    match seen.given.get(TALK):
        case {"said": {"calls": list(calls)}, "results": dict(results)}:
            yield from (_called(call, results) for call in calls)


def _called(call: Json, results: dict[str, Json]) -> str:
    match call:
        case [str(call_id), str(tool), args]:
            came = results.get(call_id)
            told = came.get("error", came.get("value")) if isinstance(came, dict) else None
            return f"the tool {tool} with {_json(args)} came to {_json(told)}"
    return "a call that cannot be read"


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def db_deeds(node: DbNode, seen: Seen) -> Iterator[str]:
    """The statements and their parameters."""
    statements: tuple[DbNode | Statement, ...] = node.statements or (node,)
    for each in statements:
        params: Json = dict(each.params)
        yield f"statement {' '.join((each.query or '').split())}" + (f" with {seen.text(params)}" if params else "")


def http_deeds(node: HttpNode, seen: Seen) -> Iterator[str]:
    """The request."""
    yield f"request {node.method} {seen.text(node.url)}"


def grpc_deeds(node: GrpcNode, seen: Seen) -> Iterator[str]:
    """The call."""
    yield f"call {node.method} of {seen.text(node.target)}"


def python_deeds(node: PythonNode, seen: Seen) -> Iterator[str]:
    """The handler and its arguments."""
    yield f"handler {node.handler}" + (f" with {seen.text(node.args)}" if node.args else "")


def activity_deeds(node: ActivityNode, _seen: Seen) -> Iterator[str]:
    """The activity."""
    yield f"activity {node.activity}"


def approval_deeds(node: ApprovalNode, seen: Seen) -> Iterator[str]:
    """The question."""
    whom = "a person was" if node.answers == 1 else f"{node.answers} people were"
    yield f"{whom} asked: {seen.text(node.prompt)}"


def graph_deeds(node: GraphNode, seen: Seen) -> Iterator[str]:
    """The child workflow, where it is one."""
    if node.mode == "child_workflow":
        yield f"child workflow of the graph {seen.text(node.graph)}"


def emit_deeds(node: EmitNode, seen: Seen) -> Iterator[str]:
    """The event, and where it went."""
    where = f"the run {seen.text(node.run)}" if node.to == "run" else f"{node.to} {seen.text(node.topic)}"
    yield f"event to {where}: {seen.text(node.data)}"
