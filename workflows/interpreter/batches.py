"""What the turns of a `foreach` have of its items, and what a batch that has ended came to: item by item."""

from __future__ import annotations

from anabranch.context.values import Json
from anabranch.errors import EvaluationError
from anabranch.graph.model import ForeachNode
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.scope import BodyRun

ITEM_FAILED = "ITEM_FAILED"
"""The code of an item's error that says none."""
_LONGEST = 1_000
"""How many characters of an item's error are kept."""


def items_of(body: BodyRun, turn: int) -> range:
    """The indexes of the items that a turn has. A turn of another loop counts as its one item."""
    definition = body.node.run.planned.node
    if not isinstance(definition, ForeachNode) or definition.batch is None:
        return range(turn, turn + 1)
    first = turn * definition.batch
    return range(first, min(first + definition.batch, len(body.items)))


def item_name(body: BodyRun, index: int) -> str:
    """How an item is named to people: by the address of its turn, and in a batch by its index too."""
    definition = body.node.run.planned.node
    if not isinstance(definition, ForeachNode) or definition.batch is None:
        return f"{body.attempt}[{index}]"
    return f"item {index} of {body.attempt}[{index // definition.batch}]"


def item_count(body: BodyRun) -> int:
    """How many items the turns under way have."""
    return sum(len(items_of(body, turn)) for turn in body.turns)


def item_failures(body: BodyRun, turn: int, errors: Json) -> dict[int, Failure]:
    """The items of a batch that failed, by index, as `item_errors` gives them. Raises EvaluationError."""
    items = items_of(body, turn)
    return {
        index: _failure(body, error)
        for index, error in zip(items, _one_each(body, "item_errors", errors, len(items)), strict=True)
        if error is not None and error != ""
    }


def values_of(body: BodyRun, turn: int, value: Json, failed: dict[int, Failure]) -> list[Json]:
    """The values of a batch, without those of the items that failed. Raises EvaluationError."""
    if not isinstance(value, list):
        raise _refusal(body, f"`collect.value` gave {type(value).__name__}, not a list: it is that of a batch")
    definition = body.node.run.planned.node
    if not isinstance(definition, ForeachNode) or definition.item_errors is None:
        return value
    items = items_of(body, turn)
    values = _one_each(body, "collect.value", value, len(items))
    return [each for index, each in zip(items, values, strict=True) if index not in failed]


def _one_each(body: BodyRun, field: str, value: Json, count: int) -> list[Json]:
    if not isinstance(value, list):
        raise _refusal(body, f"`{field}` gave {type(value).__name__}, not a list with an entry for each item")
    if len(value) != count:
        raise _refusal(body, f"`{field}` gave {len(value)} entries for {count} items")
    return value


def _failure(body: BodyRun, error: Json) -> Failure:
    match error:
        case str(message):
            return Failure("failure", ITEM_FAILED, message[:_LONGEST], body.address)
        case {"message": str(message), **more} if isinstance(code := more.get("code", ITEM_FAILED), str):
            return Failure("failure", code[:_LONGEST], message[:_LONGEST], body.address)
    raise _refusal(body, "an entry of `item_errors` is neither null nor a text nor an object with a text as `message`")


def _refusal(body: BodyRun, message: str) -> EvaluationError:
    place = f"node {body.address!r}"
    return EvaluationError(message, place=place, suggestion="write an expression that has one entry for each item")
