"""What crosses for a rerun: which run, from where, with what changed; and back what the new run takes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, Path, parse_path
from anabranch.errors import InputError
from anabranch.transport.node_protocol import PinnedGraph

RERUN: Final = "rerun"
"""The key of a start's input that asks for one."""
RERUN_OF: Final = "anabranch_rerun_of"
"""The memo of a rerun that names the run before it."""
_FIELDS: Final = (
    "workflow_id",
    "run_id",
    "from",
    "failed",
    "set",
    "remove",
    "unchanged",
    "graph",
    "namespace",
    "by",
)
_EXPECTED: Final = (
    '{"rerun": {"workflow_id": …, "run_id": …, "from": [node], "failed": true, "set": {path: value}, "remove": [path],'
    ' "unchanged": "keep", "graph": name or definition, "namespace": …, "by": name}}'
)


@dataclass(frozen=True, slots=True)
class RerunRequest:
    """Which run is run again, and how."""

    workflow_id: str
    run_id: str | None = None
    """Of a workflow run of it; the newest by default."""
    nodes: tuple[str, ...] = ()
    """They run again, and what is behind them."""
    failed: bool = False
    """Whether those that failed do too."""
    changes: dict[str, Json] = field(default_factory=dict)
    """Paths of the context with their new values."""
    removed: tuple[str, ...] = ()
    keep_unchanged: bool = False
    """Whether a node behind them that reads the same again keeps its result."""
    graph: Json = None
    """The name of a graph, or its definition; None is the graph that the run was held to."""
    namespace: str | None = None
    by: str = ""
    """Who asked for it."""
    digests: dict[str, str] = field(default_factory=dict)
    """Those of the graph, as the starter has it."""
    is_plain: bool = False
    """Whether the start's input came without encryption."""

    @classmethod
    def of_input(cls, given: Json) -> Self:
        """The value of the key `rerun` of a start's input. Raises InputError."""
        if not isinstance(given, dict) or (workflow_id := _text(given, "workflow_id")) is None:
            raise InputError(f"a rerun names a run: {_EXPECTED}", place=RERUN)
        if unknown := [name for name in given if name not in _FIELDS]:
            raise InputError(f"a rerun has no {', '.join(map(repr, unknown))}: {_EXPECTED}", place=RERUN)
        if given.get("unchanged", "run") not in ("keep", "run"):
            raise InputError("`unchanged` is 'keep' or 'run'", place=RERUN)
        request = cls(
            workflow_id,
            _text(given, "run_id"),
            _texts(given, "from"),
            _flag(given, "failed"),
            _object(given, "set"),
            _texts(given, "remove"),
            given.get("unchanged") == "keep",
            given.get("graph"),
            _text(given, "namespace"),
            _text(given, "by") or "",
        )
        if not (request.nodes or request.failed):
            raise InputError("a rerun says from where: `from` names nodes, `failed` those that failed", place=RERUN)
        request.edits()
        return request

    def input(self) -> dict[str, Json]:
        """The input of a start that asks for it."""
        said: dict[str, Json] = {
            "workflow_id": self.workflow_id,
            "run_id": self.run_id,
            "from": list[Json](self.nodes),
            "failed": self.failed,
            "set": dict(self.changes),
            "remove": list[Json](self.removed),
            "unchanged": "keep" if self.keep_unchanged else None,
            "graph": self.graph,
            "namespace": self.namespace,
            "by": self.by,
        }
        return {RERUN: {name: value for name, value in said.items() if value}}

    def edits(self) -> ChangeSet | None:
        """What of the context is edited. Raises InputError for what is no path."""
        values: dict[Path, Json] = {parse_path(text): value for text, value in self.changes.items()}
        removed = tuple(map(parse_path, self.removed))
        return ChangeSet(0, values, removed) if values or removed else None

    def sent(self, digests: Mapping[str, str], *, is_plain: bool) -> Self:
        """The same, with what the start says beside its input."""
        return replace(self, digests=dict(digests), is_plain=is_plain)

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        which = [self.workflow_id, self.run_id, list(self.nodes), self.failed]
        edits = [self.changes, list(self.removed), self.keep_unchanged]
        return [*which, *edits, self.graph, self.namespace, self.by, self.digests, self.is_plain]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        workflow_id, run_id, nodes, failed, changes, removed, *more = wire
        return cls(workflow_id, run_id, tuple(nodes), failed, changes, tuple(removed), *more)


@dataclass(frozen=True, slots=True)
class RerunStart:
    """What a rerun begins with: the graph that it is held to, and what it takes over, as an array."""

    pinned: PinnedGraph
    taken: list[Any]

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        return [self.pinned.to_wire(), self.taken]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        pinned, taken = wire
        return cls(PinnedGraph.from_wire(pinned), taken)


def _text(given: Mapping[str, Json], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(f"`{name}` is a text", place=RERUN)
    return value or None


def _texts(given: Mapping[str, Json], name: str) -> tuple[str, ...]:
    value = given.get(name) or []
    found = [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []
    if not isinstance(value, list) or len(found) != len(value):
        raise InputError(f"`{name}` is a list of texts", place=RERUN)
    return tuple(dict.fromkeys(found))


def _flag(given: Mapping[str, Json], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"`{name}` is true or false", place=RERUN)
    return value


def _object(given: Mapping[str, Json], name: str) -> dict[str, Json]:
    value = given.get(name) or {}
    if not isinstance(value, dict):
        raise InputError(f"`{name}` is an object of paths with values", place=RERUN)
    return value
