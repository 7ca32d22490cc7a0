"""Failures that a node with a body goes on after: of its items, and of nodes inside that it passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from anabranch.graph.model import ForeachNode
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.scope import BodyRun, Scope

_NAMED = 5
"""How many failures a warning names."""


def goes_on_without_another(body: BodyRun) -> bool:
    """Whether a node with a body goes on where one more of its turns fails."""
    definition = body.node.run.planned.node
    if not isinstance(definition, ForeachNode) or definition.on_item_failure == "fail":
        return False
    return len(body.failures) < _tolerated(definition, len(body.items))


def note_failed_turn(body: BodyRun, turn: int, failure: Failure) -> None:
    """A turn has failed."""
    body.failures[turn] = failure
    if (progress := body.node.run.progress) is not None:
        progress.failed += 1


def failure_of(body: BodyRun) -> Failure:
    """Why a node with a body fails, whose last failed turn was one too many."""
    failure = list(body.failures.values())[-1]
    definition = body.node.run.planned.node
    if not isinstance(definition, ForeachNode) or definition.on_item_failure == "fail":
        return failure
    count = f"{len(body.failures)} of {len(body.items)} items failed"
    return replace(failure, message=f"{failure.message} ({count}, and `tolerate` is {definition.tolerate})")


def note_passed_over(scope: Scope, address: str, failure: Failure, *, fell_back: bool) -> None:
    """A node in a body failed, and its branch goes on: without it, or with its fallback."""
    told = f"{address} ({failure.code}{', its fallback was used' if fell_back else ''})"
    while (body := scope.body) is not None:
        if scope.turn not in body.passed_over:
            body.passed_over[scope.turn] = told
            if (progress := body.node.run.progress) is not None:
                progress.passed_over += 1
        scope = body.node.scope


def warnings_of(body: BodyRun) -> tuple[str, ...]:
    """What the node says of the failures that it went on after. Of nodes inside only the outermost body tells."""
    said: list[str] = []
    if body.failures:
        named = {turn: f"{body.attempt}[{turn}] ({each.code})" for turn, each in body.failures.items()}
        said.append(f"{len(named)} of {len(body.items)} items failed: {_named(named)}")
    if body.passed_over and body.node.scope.body is None:
        inside = ""
        if body.entered:  # a loop
            of = f"{len(body.passed_over)} of {body.entered}"
            inside = f"in {of} {'items' if body.items else 'turns'} "
        said.append(f"{inside}a node failed and was passed over: {_named(body.passed_over)}")
    return tuple(said)


def _named(told: Mapping[int, str]) -> str:
    first = [told[turn] for turn in sorted(told)[:_NAMED]]
    return ", ".join(first) + (", …" if len(told) > _NAMED else "")


def _tolerated(definition: ForeachNode, count: int) -> int:
    """How many items may fail."""
    match definition.tolerate:
        case None:
            return count
        case int(number):
            return number
        case str(share):
            return int(count * Decimal(share.removesuffix("%")) / 100)
