"""Failures that a node with a body goes on after: of its items, and of nodes inside that it passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from anabranch.graph.model import ForeachNode
from anabranch.workflows.interpreter.batches import item_name, items_of
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.scope import BodyRun, Scope

_NAMED = 5
"""How many failures a warning names."""


def one_too_many(body: BodyRun, failures: Mapping[int, Failure]) -> Failure | None:
    """Of the turns or items that fail now, the one without which the node does not go on; None where it goes on."""
    left = _tolerated(body) - len(body.failures)
    return None if len(failures) <= left else list(failures.values())[max(0, left)]


def note_failed(body: BodyRun, failures: Mapping[int, Failure]) -> None:
    """Items have failed, or a turn has."""
    body.failures.update(failures)
    if (progress := body.node.run.progress) is not None:
        progress.failed += len(failures)


def failure_with(body: BodyRun, failure: Failure) -> Failure:
    """Why a node with a body fails, one of whose turns or items was one too many."""
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
                progress.passed_over += len(items_of(body, scope.turn))
        scope = body.node.scope


def warnings_of(body: BodyRun) -> tuple[str, ...]:
    """What the node says of the failures that it went on after. Of nodes inside only the outermost body tells."""
    said: list[str] = []
    if body.failures:
        named = {index: f"{item_name(body, index)} ({each.code})" for index, each in body.failures.items()}
        said.append(f"{len(named)} of {len(body.items)} items failed: {_named(named)}")
    if body.passed_over and body.node.scope.body is None:
        inside = f"in {len(body.passed_over)} of {body.entered} {_turns(body)} " if body.entered else ""
        said.append(f"{inside}a node failed and was passed over: {_named(body.passed_over)}")
    return tuple(said)


def _named(told: Mapping[int, str]) -> str:
    first = [told[turn] for turn in sorted(told)[:_NAMED]]
    return ", ".join(first) + (", …" if len(told) > _NAMED else "")


def _turns(body: BodyRun) -> str:
    definition = body.node.run.planned.node
    if not isinstance(definition, ForeachNode):
        return "turns"
    return "items" if definition.batch is None else "batches"


def _tolerated(body: BodyRun) -> int:
    """How many items may fail."""
    definition, count = body.node.run.planned.node, len(body.items)
    if not isinstance(definition, ForeachNode) or definition.on_item_failure == "fail":
        return 0
    match definition.tolerate:
        case None:
            return count
        case int(number):
            return number
        case str(share):
            return int(count * Decimal(share.removesuffix("%")) / 100)
