"""A dry run as JSON: what happened, in virtual time, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, Missing, format_path
from anabranch.errors import SizeLimitExceeded
from anabranch.graph.load import LoadedGraph
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.addresses import of
from anabranch.testkit.dry_run import Rehearsal, play_through
from anabranch.testkit.given import outcomes_of
from anabranch.testkit.rules import rule_evaluator
from anabranch.workflows.interpreter.input import check_input
from anabranch.workflows.interpreter.simulation import Chosen, Failed, TimelineEntry, Work
from anabranch.workflows.interpreter.views import result

MOST_STEPS: Final = 5_000
"""Steps of a dry run that an assistant may ask for."""


def rehearsed(
    loaded: LoadedGraph, data: dict[str, Json], outcomes: Mapping[str, Json], settings: Settings
) -> dict[str, Any]:
    """Play a graph and tell of it. It blocks: call it in a thread. Raises AnabranchError."""
    plan = plan_graph(loaded.graph, loaded.graphs)
    check_input(plan, data)
    given = outcomes_of(outcomes, plan, "outcomes")
    steps = 0

    def counted(_work: Work) -> None:
        nonlocal steps
        steps += 1
        if steps > MOST_STEPS:
            raise SizeLimitExceeded(
                f"the dry run has over {MOST_STEPS:,} steps", suggestion="give an input with fewer items or turns"
            )

    with rule_evaluator(settings) as evaluate:
        played = play_through(plan, data, given, evaluate, looking=counted)
    return {"steps": [_step(each, played) for each in played.done.timeline], **_end(played, loaded.graph.name)}


def _step(step: TimelineEntry, played: Rehearsal) -> dict[str, Any]:
    started = played.done.timeline[0].started
    told: dict[str, Any] = {
        "node": of(step.work),
        "after_seconds": (step.ended - started) / 1000,
        "by": played.answers.origin(step.work),
    }
    answer = step.answer
    if isinstance(answer, Failed):
        return told | {
            "outcome": answer.failure.outcome,
            "code": answer.failure.code,
            "message": answer.failure.message,
        }
    if isinstance(answer, Chosen):
        return told | {"outcome": "settled", "chose": _values(answer.choices)}
    if isinstance(answer.result, ChangeSet):
        return told | {"outcome": "success", "wrote": _values(answer.result.set)}
    return told | {"outcome": "success"}


def _values(changed: Mapping[Any, Any]) -> dict[str, Any]:
    return {format_path(path): None if isinstance(value, Missing) else value for path, value in changed.items()}


def _end(played: Rehearsal, name: str) -> dict[str, Any]:
    finish = played.done.finish
    if finish is None:
        return {"completed": False, "waits_for_operator_at": list(played.state.paused_nodes)}
    if finish.failure is not None:
        undone = {"compensated": list(finish.compensated), "not_compensated": list(finish.not_compensated)}
        return {"completed": False, "failure": dict(finish.failure.root()), **undone}
    return {"completed": True, "result": result(played.state, finish, f"{name}-dry-run")}
