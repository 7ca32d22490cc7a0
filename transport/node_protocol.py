"""What crosses between the workflow and a node's activity: a `NodeTask` out, a `ChangeSet` back.

Both travel as MessagePack positional arrays (`transport/converter.py`). `to_wire` and `from_wire` are the arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Self

from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import DistributedContext
from anabranch.context.values import Json
from anabranch.graph.revision import REVISION
from anabranch.limits import RUN_LIMITS, RunLimits

__all__ = ["ChangeSet", "GraphRequest", "HistoryState", "NodeTask", "PinnedGraph", "RunInfo", "iso_time"]

WAITING_FACTOR: Final = 2
"""What an attempt of a node with a `cache` may take, in `timeout`s: one is for waiting for another run's result."""


GRAPH_DIGESTS = "anabranch_graph_digests"
"""The memo by which a starter says which definition of a graph it means: digests by name."""


SPENT: Final = "spent_at_models"
"""The root that holds, for an `ai` node with a budget, the tokens that its run has spent by model."""


ENCRYPTED_ONLY: Final = "encrypted_only"
"""The capability of a run that takes no result in plain text: nobody without a key can have written it."""


@lru_cache(maxsize=256)  # expressions of one event see one time
def iso_time(at: int) -> str:
    """Unix milliseconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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

    `address` is the node's id, with the scopes around it (`pack[3]/weigh`). `node` is the node with its defaults.
    `context` holds only the keys in `reads` (all, where `reads` is None). `roots` are the other names that its
    expressions may use (`item`, `index`, `error`). `key` is the same for every attempt: `(run, node, iteration)`.
    `revision` is that of the interpreter, by which expressions are evaluated.
    """

    address: str
    node: dict[str, Json]
    context: DistributedContext
    run: RunInfo
    key: str
    reads: tuple[str, ...] | None = None
    roots: dict[str, Json] = field(default_factory=dict)
    revision: int = REVISION

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        run = [self.run.id, self.run.session_id, self.run.graph, self.run.time, self.run.attempt]
        reads = None if self.reads is None else list(self.reads)
        return [self.address, self.node, self.context.to_wire(), run, self.key, reads, self.roots, self.revision]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        address, node, context, run, key, reads, roots, revision = wire
        return cls(
            address=address,
            node=node,
            context=DistributedContext.from_wire(context),
            run=RunInfo(*run),
            key=key,
            reads=None if reads is None else tuple(reads),
            roots=roots,
            revision=revision,
        )


@dataclass(frozen=True, slots=True)
class GraphRequest:
    """Which graph a run wants: by `name`, or `inline` (a YAML text or an object).

    `digests` are those that the starter knows of the named graph and of the graphs that it names, if it says them.
    `is_plain` is whether the run's input came without encryption, or there was none.
    """

    name: str | None = None
    inline: Json = None
    digests: dict[str, str] = field(default_factory=dict)
    is_plain: bool = False

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        return [self.name, self.inline, self.digests, self.is_plain]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        return cls(*wire)


@dataclass(frozen=True, slots=True)
class HistoryState:
    """How far a workflow's history has come, as the workflow saw it. Travels as plain JSON."""

    events: int
    size: int
    """Bytes."""
    is_suggested: bool
    """Whether the server suggests to continue as new."""


@dataclass(frozen=True, slots=True)
class PinnedGraph:
    """What a run is held to, whatever the workers that it comes to make of the graph later.

    `definition` is the graph as JSON with its defaults, `digest` the SHA-256 (hex) of this text, `graphs` those that it
    names. `revision` is the interpreter's. `inputs` are the keys that each of the graphs must be started with.
    `capabilities` are what holds of this run alone; `ENCRYPTED_ONLY` is one.
    `limits` are how much the run sends at once, and when it continues as new.
    `console` is the address of the console that shows the run, if one does.
    """

    name: str
    digest: str
    definition: str
    graphs: dict[str, str] = field(default_factory=dict)
    revision: int = REVISION
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    limits: RunLimits = RUN_LIMITS
    console: str | None = None

    @classmethod
    def of(
        cls,
        name: str,
        definition: str,
        graphs: dict[str, str],
        *,
        revision: int,
        inputs: Mapping[str, tuple[str, ...]],
        capabilities: tuple[str, ...] = (),
        limits: RunLimits = RUN_LIMITS,
        console: str | None = None,
    ) -> Self:
        """A definition with its digest, and of the `inputs` those of the graphs that are pinned."""
        digest = hashlib.sha256(definition.encode()).hexdigest()
        known = {each: inputs[each] for each in (name, *graphs)}
        return cls(name, digest, definition, graphs, revision, known, capabilities, limits, console)

    def child(self, name: str, reached: Collection[str]) -> Self:
        """One of the graphs that it names, with those of them that are `reached` from there."""
        graphs = {other: text for other, text in self.graphs.items() if other in reached}
        return self.of(
            name,
            self.graphs[name],
            graphs,
            revision=self.revision,
            inputs=self.inputs,
            capabilities=self.capabilities,
            limits=self.limits,
            console=self.console,
        )

    def to_wire(self) -> list[Any]:
        """As a positional array. The address of a console is at its end, if there is one."""
        inputs = {name: list(keys) for name, keys in self.inputs.items()}
        held = [self.revision, inputs, list(self.capabilities), self.limits.to_wire()]
        console = [] if self.console is None else [self.console]
        return [self.name, self.digest, self.definition, self.graphs, *held, *console]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        name, digest, definition, graphs, revision, inputs, capabilities, limits, *console = wire
        keys, held = {graph: tuple(each) for graph, each in inputs.items()}, RunLimits.from_wire(limits)
        return cls(name, digest, definition, graphs, revision, keys, tuple(capabilities), held, *console)
