"""`GrpcNode` and the databases that are no SQL ones."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from anabranch.graph import node_types
from anabranch.graph.dialect.rewriting import Fields, Rewriting
from anabranch.graph.source.yaml_source import Pointer

_OTHERS: Final = {
    "redis": "reuse what a node came to with its `cache:`, publish the context with `share:`, or use Redis in a "
    "`python` node of yours",
    "mongo": "call it in a `python` node of yours, or behind an `http` service",
}


def is_grpc(written: str) -> bool:
    """Whether a node type is the dialect's name for calls of gRPC services."""
    return written in ("GrpcNode", "Grpc")


def grpc(node: Fields, path: Pointer, rewriting: Rewriting) -> Fields:
    """A call of a gRPC service, from `query: http://host:port#Method`."""
    query = node.pop("query", None)
    url, _, method = query.partition("#") if isinstance(query, str) else ("", "", "")
    parts = urlsplit(url)
    if not parts.netloc or not method:
        message = "does not say which method of which service it calls"
        return rewriting.refuse(path, message, "write `query: http://host:port#package.Service/Method`")
    form = {"target": parts.netloc, "method": method, "tls": parts.scheme == "https"}
    if "/" not in method:
        message = f"names the method {method} without its service: it is that of the one service which has it"
        rewriting.assumed(path, message, f"write `{url}#package.Service/{method}`: the proto file says it")
    rewriting.move((*path, "method"), (*path, "query"))
    return {**node, "type": "grpc", **form}


def other_database(written: str) -> str | None:
    """What to write instead of a node type that is planned by nobody; None for any other type."""
    short = written.casefold().removesuffix("node").removesuffix("db").rstrip("_-")
    return None if written in node_types.names() else _OTHERS.get(short)
