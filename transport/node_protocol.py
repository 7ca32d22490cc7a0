"""What crosses between the workflow and a node's activity: a `NodeTask` out, a `ChangeSet` back.

Both travel as MessagePack positional arrays (`transport/converter.py`). `to_wire` and `from_wire` are the arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Self

from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import DistributedContext
from anabranch.context.values import Json

__all__ = ["ChangeSet", "GraphRequest", "NodeTask", "PinnedGraph", "RunInfo"]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run as expressions see it under `run`; `time` is ISO 8601 UTC, `attempt` is filled in by the activity."""

    id: str
    session_id: str
    graph: str
    time: str
    attempt: int = 1

    def root(self) -> dict[str, Json]:
        """The value of the root `run`."""
        return {
            "id": self.id,
            "session_id": self.session_id,
            "graph": self.graph,
            "time": self.time,
            "attempt": self.attempt,
        }


@dataclass(frozen=True, slots=True)
class NodeTask:
    """One execution of one node.

    `address` is the node's id, with the scopes around it (`pack[3]/weigh`). `node` is the node in canonical form.
    `context` holds only the keys in `reads` (all, where `reads` is None). `roots` are the other names that its
    expressions may use (`item`, `index`, `error`). `key` is the same for every attempt: `(run, node, iteration)`.
    """

    address: str
    node: dict[str, Json]
    context: DistributedContext
    run: RunInfo
    key: str
    reads: tuple[str, ...] | None = None
    roots: dict[str, Json] = field(default_factory=dict)

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        run = [self.run.id, self.run.session_id, self.run.graph, self.run.time, self.run.attempt]
        reads = None if self.reads is None else list(self.reads)
        return [self.address, self.node, self.context.to_wire(), run, self.key, reads, self.roots]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        address, node, context, run, key, reads, roots = wire
        return cls(
            address=address,
            node=node,
            context=DistributedContext.from_wire(context),
            run=RunInfo(*run),
            key=key,
            reads=None if reads is None else tuple(reads),
            roots=roots,
        )


@dataclass(frozen=True, slots=True)
class GraphRequest:
    """Which graph a run wants: by `name`, or `inline` (a YAML text or an object)."""

    name: str | None = None
    inline: Json = None

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        return [self.name, self.inline]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        return cls(*wire)


@dataclass(frozen=True, slots=True)
class PinnedGraph:
    """The definition that a run keeps: canonical JSON, its SHA-256 (hex), and the graphs that it names."""

    name: str
    digest: str
    definition: str
    graphs: dict[str, str] = field(default_factory=dict)

    def child(self, name: str, reached: Collection[str]) -> PinnedGraph:
        """One of the graphs that it names, with those of them that are `reached` from there."""
        definition = self.graphs[name]
        graphs = {other: text for other, text in self.graphs.items() if other in reached}
        return PinnedGraph(name, hashlib.sha256(definition.encode()).hexdigest(), definition, graphs)

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        return [self.name, self.digest, self.definition, self.graphs]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        return cls(*wire)
