"""A whole run without a server: rules are evaluated, other outcomes are given or assumed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.graph.plan import Plan
from anabranch.testkit.answers import Answers
from anabranch.testkit.given import GivenOutcome
from anabranch.workflows.interpreter.commands import RunNode
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.simulation import Answer, Arrived, DryRun, Heard, Work, drive
from anabranch.workflows.interpreter.state import RunState


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A run that was played: its state, what happened, and where each answer came from."""

    state: RunState
    done: DryRun
    answers: Answers

    @property
    def completed(self) -> bool:
        """Whether the run came to its end without a failure."""
        return self.done.finish is not None and self.done.finish.failure is None


def play_through(
    plan: Plan,
    data: dict[str, Json],
    given: Mapping[str, GivenOutcome],
    evaluate: Callable[[RunNode], ChangeSet],
    *,
    looking: Callable[[Work], None] | None = None,
) -> Rehearsal:
    """Play a graph to its end; `looking` sees each piece of work before it is answered. Raises AnabranchError."""
    name = plan.graph.name
    run: dict[str, Json] = {
        "id": str(uuid.uuid4()),
        "session_id": f"{name}-dry-run",
        "graph": name,
        "attempt": 1,
    }
    state = RunState(plan, data, run=run)
    at = int(time.time() * 1000)
    answers = Answers(plan, given, evaluate, at=at)

    def answer(work: Work) -> Answer | Arrived | Heard:
        if looking is not None:
            looking(work)
        return answers(work)

    return Rehearsal(state, drive(Machine(state), answer, at=at), answers)
