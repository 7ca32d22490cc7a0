"""The matrix "each node fails once": what the saga would undo, for every node on a test's path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from anabranch.context.values import Json
from anabranch.graph.plan import Plan
from anabranch.testkit.addresses import FINALLY, of, static
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.play import Evaluate, Played, Script, play
from anabranch.workflows.interpreter.address import around
from anabranch.workflows.interpreter.commands import AskPerson, AwaitEvent, RunNode, StartChild
from anabranch.workflows.interpreter.simulation import Done, Failed, TimelineEntry

INJECTED = "INJECTED"


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One node that failed, and what followed. `left` are effects that stay: nothing undoes them, or that failed."""

    node: str
    outcome: Literal["failure", "timeout"]
    status: str
    undone: tuple[str, ...]
    left: tuple[str, ...]

    def to_json_object(self) -> dict[str, Json]:
        """As JSON for other programs."""
        undone: list[Json] = [*self.undone]
        left: list[Json] = [*self.left]
        return {"node": self.node, "outcome": self.outcome, "status": self.status, "undone": undone, "left": left}


def fail_each_node(plan: Plan, script: Script, path: list[TimelineEntry], evaluate: Evaluate) -> Iterator[MatrixRow]:
    """One run for each node of `path` and each way in which it can fail; of a body, the nodes of its last turn.

    Outcomes that the script lacks are assumed: a failure may lead where the test does not. Raises SizeLimitExceeded.
    """
    free = replace(script, assume=True, order=(), cancel_after=None)
    last = {static(step.work.address): step for step in path}
    for step in last.values():
        for outcome, failing in _ways(step):
            address = of(step.work)
            played = play(plan, replace(free, outcomes={**script.outcomes, address: failing}), evaluate)
            yield MatrixRow(address, outcome, played.status, tuple(played.undone), tuple(_left(played)))


def _ways(step: TimelineEntry) -> Iterator[tuple[Literal["failure", "timeout"], GivenOutcome]]:
    if isinstance(step.work, RunNode | StartChild):
        yield "failure", GivenOutcome(fail=INJECTED, message="each node fails once")
    if isinstance(step.work, RunNode | StartChild | AskPerson | AwaitEvent):
        yield "timeout", GivenOutcome(timeout=True)


def _left(played: Played) -> Iterator[str]:
    """Effects of a run that failed which are still there, or may be."""
    if played.status not in ("failed", "cancelled"):
        return
    undone = set(played.undone)
    for step in played.path:
        address = of(step.work)
        if not _has_effect(step) or _undone(address, undone) or _is_last(address):
            continue
        if isinstance(step.answer, Done):
            yield address
        elif isinstance(step.answer, Failed) and step.answer.failure.unknown:
            yield f"{address} (unknown)"


def _is_last(address: str) -> bool:
    """Whether an address is in a `finally`, of the run or of a block: what is done there is there to stay."""
    return f"/{FINALLY}" in f"/{static(address)}"


def _undone(address: str, undone: set[str]) -> bool:
    """Whether the node, or one whose body it is in, was undone.

    `pack[3]/box[0]/tape` is in the bodies of `pack` and `pack[3]/box`.
    """
    return address in undone or any(each in undone for each in around(address))


def _has_effect(step: TimelineEntry) -> bool:
    return isinstance(step.work, RunNode | StartChild) and step.work.planned.has_effect
