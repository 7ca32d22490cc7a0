"""What people see of one node at one moment, as a value that does not change any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from anabranch.context.values import Json
from anabranch.graph.kinds.kinds import body_retry
from anabranch.workflows.interpreter.batches import item_count
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.state import RunState


@dataclass(frozen=True, slots=True)
class Items:
    """How far a `foreach` is."""

    all: int
    done: int
    failed: int
    running: int
    skipped: int
    passed_over: int

    def described(self) -> dict[str, Json]:
        """As JSON for people; what is rare only where there is some."""
        told: dict[str, Json] = {"all": self.all, "done": self.done, "failed": self.failed, "running": self.running}
        rare = {"skipped": self.skipped, "passed_over": self.passed_over}
        return told | {name: count for name, count in rare.items() if count}


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node at one moment. Times are Unix milliseconds; `attempt` is that of a composite with `retry`, else None."""

    type: str
    status: Status
    started: int | None = None
    ended: int | None = None
    attempt: int | None = None
    max_attempts: int = 0
    """0 is without limit."""
    next_attempt: int | None = None
    items: Items | None = None
    error: Failure | None = None

    @classmethod
    def of(cls, state: RunState, scope: Scope, run: NodeRun) -> Self:
        """A node as it is now."""
        retry = body_retry(run.planned.node)
        return cls(
            run.planned.node.type,
            run.status,
            run.started,
            run.ended,
            None if retry is None else run.attempt,
            0 if retry is None else retry.max_attempts,
            None if retry is None else run.next_at,
            _items(state, scope, run),
            run.failure,
        )

    def described(self) -> dict[str, Json]:
        """As JSON for people."""
        told: dict[str, Json] = {"type": self.type, "status": self.status.value}
        times = {"started": self.started, "ended": self.ended, "attempt": self.attempt}
        told |= {name: value for name, value in times.items() if value is not None}
        if self.max_attempts:
            told["max_attempts"] = self.max_attempts
        if self.next_attempt is not None:
            told["next_attempt"] = self.next_attempt
        if self.items is not None:
            told["items"] = self.items.described()
        if self.error is not None:
            told["error"] = self.error.root()
        return told


def runs(state: RunState) -> Iterator[tuple[Scope, NodeRun]]:
    """The nodes that people see: those of the graph and of its `finally`, and of bodies those under way."""
    for scope in dict.fromkeys((state.main, state.root)):
        for run in scope.nodes.values():
            yield scope, run
    undone = (rollback.node for rollback in state.rollbacks.values())
    loops = (body.node for body in state.bodies.values() if body.node.run.progress is not None)
    for node in (*state.work.values(), *state.paused_nodes.values(), *undone, *loops):
        if node.scope not in (state.main, state.root):
            yield node.scope, node.run


def items_under_way(state: RunState, scope: Scope, run: NodeRun) -> int:
    """How many items of a `foreach` are under way."""
    body = state.bodies.get(scope.address(run))
    return 0 if body is None else item_count(body)


def _items(state: RunState, scope: Scope, run: NodeRun) -> Items | None:
    if (made := run.progress) is None:
        return None
    running = items_under_way(state, scope, run)
    return Items(made.all, made.done, made.failed, running, made.skipped, made.passed_over)
