"""A `RerunPlan` says what a rerun would do, for people: what runs, what is kept, what stays of the run before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from anabranch.context.values import Json


class Items(NamedTuple):
    """Of a `foreach` that runs again, how many turns are kept, and how many had been begun."""

    kept: int
    begun: int


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """What a rerun would do. Nodes are named by their addresses."""

    workflow_id: str
    run_id: str
    """Of the run before."""
    ended: str
    """How that had ended, in one word."""
    graph: str
    version: str
    digest: str
    is_other_graph: bool
    """Whether the definition is not the one of the run before."""
    named: tuple[str, ...]
    """The nodes from which it runs."""
    kept: tuple[str, ...]
    """Nodes that keep what they came to."""
    first: tuple[str, ...]
    """Nodes that run at once."""
    behind: tuple[str, ...]
    """Nodes behind them, which run where the conditions lead to them."""
    if_unchanged: tuple[str, ...]
    """Those of them that keep what they came to, if they read the same again."""
    items: Mapping[str, Items]
    """Of each `foreach` that runs at once and keeps items."""
    changed: tuple[str, ...]
    """Nodes that are kept though the graph defines them otherwise now."""
    again: tuple[str, ...]
    """Nodes that may run and have an effect: it happens again, under a key of the new run."""
    undone: tuple[str, ...]
    """Steps that the run before has undone, or has tried to: they run again."""
    taken_over: tuple[str, ...]
    """Steps of the run before that the new run undoes, should it fail or be cancelled."""
    stays: tuple[str, ...]
    """What the run before may have left behind, and nobody undoes."""
    set: Mapping[str, Json]
    removed: tuple[str, ...]

    def described(self) -> dict[str, Any]:
        """As JSON for people."""
        graph = {"name": self.graph, "version": self.version, "digest": self.digest, "is_other": self.is_other_graph}
        return {
            "rerun_of": {"workflow_id": self.workflow_id, "run_id": self.run_id, "ended": self.ended},
            "graph": graph,
            "from": list(self.named),
            "first": list(self.first),
            "behind": list(self.behind),
            "kept": list(self.kept),
            "kept_if_unchanged": list(self.if_unchanged),
            "items": {name: each._asdict() for name, each in self.items.items()},
            "changed": list(self.changed),
            "effects_again": list(self.again),
            "undone_before": list(self.undone),
            "taken_over": list(self.taken_over),
            "stays": list(self.stays),
            "set": dict(self.set),
            "removed": list(self.removed),
        }
