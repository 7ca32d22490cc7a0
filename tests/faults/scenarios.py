"""Which faults are made where: every fault at every step of a saga of eight, and kills between two writing nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.faults.graphs import BRAID, CHAIN, STEPS, TWO, Shape

FAULTS: Mapping[str, str] = {
    "fail_before": "fails before the effect",
    "lose_after": "fails after the effect: its answer is lost",
    "late": "times out, and comes to work when its compensation is over",
    "kill_before": "worker killed before the effect",
    "kill_after": "worker killed after the commit",
    "cancel_before": "run cancelled before the effect",
    "cancel_after": "run cancelled after the commit",
    "undo_kill_before": "worker killed before the compensation's effect",
    "undo_kill_after": "worker killed after the compensation's commit",
}
ROUNDS = 2
KILLS = 200
_STRIDE = 7
"""Without a common divisor with the number of scenarios of a step."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run: its graph, the faults by address, where it is cancelled, and how it must end."""

    name: str
    shape: Shape
    orders: Mapping[str, str] = field(default_factory=dict)
    cancel_at: str = ""
    ends: Literal["completed", "failed", "cancelled"] = "failed"


def sagas() -> list[Scenario]:
    """Every fault at every step of both graphs of eight steps, and runs without any."""
    return [
        scenario
        for _ in range(ROUNDS)
        for step in STEPS
        for shape in (CHAIN, BRAID)
        for scenario in (*(_saga(fault, step, shape) for fault in FAULTS), Scenario("none", shape, ends="completed"))
    ]


def kills() -> list[Scenario]:
    """Two writing nodes: the worker is killed before the effect of one, or after its commit. Every run completes."""
    places = [(step, when) for step in ("w1", "w2") for when in ("kill_before", "kill_after")]
    chosen = (places[index % len(places)] for index in range(KILLS))
    return [Scenario(f"{when} of two writers", TWO, {step: when}, ends="completed") for step, when in chosen]


def spread(scenarios: Sequence[Scenario], share: int) -> Iterator[Scenario]:
    """One in `share`, each fault, step and graph among them."""
    for index, first in enumerate(range(0, len(scenarios), share)):
        yield scenarios[min(first + index * _STRIDE % share, len(scenarios) - 1)]


def _saga(fault: str, step: str, shape: Shape) -> Scenario:
    what, _, when = fault.partition("_")
    if what == "cancel":
        return Scenario(fault, shape, {step: f"hold_{when}"}, cancel_at=step, ends="cancelled")
    if what == "undo":
        return Scenario(fault, shape, {step: "lose_after", f"undo {step}": when})
    return Scenario(fault, shape, {step: fault})
