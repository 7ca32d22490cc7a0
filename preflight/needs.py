"""What the nodes of a graph need of the workers of a task queue, and where the graph's file names it first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from anabranch.errors import SourceLocation
from anabranch.graph.dataflow.walk import levels, with_compensations
from anabranch.graph.kinds.fields import texts
from anabranch.graph.kinds.http import SECRET, secrets_in
from anabranch.graph.kinds.kind import Runs
from anabranch.graph.kinds.kinds import kind_of
from anabranch.graph.load import LoadedGraph
from anabranch.graph.model import (
    ActivityNode,
    AiNode,
    BaseNode,
    DbNode,
    EmitNode,
    Graph,
    GrpcNode,
    HttpNode,
    PythonNode,
)
from anabranch.graph.parts import GrpcTls
from anabranch.graph.source.yaml_source import Pointer


class Sort(Enum):
    """A sort of thing that nodes name; the value is what a list of them is called."""

    CONNECTION = "connections"
    BROKER = "brokers"
    HANDLER = "handlers"
    ACTIVITY = "activities"
    MODEL = "models"
    SECRET = "secrets"  # noqa: S105 - a word
    CERTIFICATES = "certificates"
    NODE_TYPE = "node_types"
    STORE = "stores"
    LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a graph names, by its name in the worker's environment or code."""

    sort: Sort
    name: str


Named: TypeAlias = tuple[Sort, str, Pointer]


def needs_of(loaded: LoadedGraph, task_queue: str) -> Iterator[tuple[Need, SourceLocation]]:
    """What a graph needs of workers of `task_queue`, each with its place. What other queues run is left out."""
    graph, source = loaded.graph, loaded.source
    if graph.share is not None:
        yield Need(Sort.STORE, "STORE_URL"), source.place(("share",))
    for level in levels(graph):
        for path, _, outer in level.nodes():
            for where, node in with_compensations(path, outer):
                if _queue_of(node, graph) in (None, task_queue):
                    for sort, name, steps in (*_limits(node), *_named_by(node)):
                        yield Need(sort, name), source.place((*where, *steps))


def _queue_of(node: BaseNode, graph: Graph) -> str | None:
    """The queue of a node's activity; None is the run's own. Which one a template makes, only a run knows."""
    return None if node.local else node.task_queue or graph.defaults.task_queue


def _limits(node: BaseNode) -> Iterator[Named]:
    for name, limit in (("rate_limit", node.rate_limit), ("concurrency", node.concurrency)):
        if limit is not None:
            yield Sort.LIMITS, "REDIS_URL", (name,)


def _named_by(node: BaseNode) -> Iterator[Named]:
    if kind_of(node).runs is Runs.HANDLER:
        yield Sort.NODE_TYPE, node.type, ("type",)
    match node:
        case DbNode():
            yield Sort.CONNECTION, node.connection, ("connection",)
        case EmitNode() if node.connection is not None:
            yield Sort.BROKER, node.connection, ("connection",)
        case PythonNode():
            yield Sort.HANDLER, node.handler, ("handler",)
        case ActivityNode():
            yield Sort.ACTIVITY, node.activity, ("activity",)
        case AiNode():
            yield from _models(node)
        case HttpNode():
            for path, variable in secrets_in(node):
                yield Sort.SECRET, variable, path
        case GrpcNode():
            yield from _of_grpc(node)


def _of_grpc(node: GrpcNode) -> Iterator[Named]:
    yield from _metadata(node)
    if isinstance(node.tls, GrpcTls):
        yield Sort.CERTIFICATES, node.tls.ca, ("tls", "ca")


def _models(node: AiNode) -> Iterator[Named]:
    for index, name in enumerate(node.models):
        yield Sort.MODEL, name, ("model",) if isinstance(node.model, str) else ("model", index)


def _metadata(node: GrpcNode) -> Iterator[Named]:
    for path, text in texts({**node.metadata}, ("metadata",)):
        if (named := SECRET.fullmatch(text)) is not None:
            yield Sort.SECRET, named[1], path
