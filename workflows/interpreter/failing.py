"""What is failing: a scope whose work is being cancelled, an attempt or an item that is being undone."""

from __future__ import annotations

from dataclasses import dataclass

from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.scope import Scope, Started


@dataclass(frozen=True, slots=True)
class Abort:
    """A scope that fails: what runs in it is being cancelled. `node` is the node around it, None for the run itself."""

    node: Started | None
    failure: Failure
    item: Scope | None = None
    """The one item of a `foreach` that fails; None where the whole node does."""


@dataclass(slots=True, eq=False)
class Rollback:
    """A failed attempt of a composite, or a failed item, that is being undone before the run goes on."""

    node: Started
    attempt: str
    """The address of the attempt, or of the item."""
    failure: Failure
    item: Scope | None = None
    """The item of a `foreach`, where only that failed."""
    until: float | None = None
    """The deadline of its compensations, in Unix seconds."""
    is_over: bool = False
    is_undone: bool = False
    """Once it is over, whether all could be undone."""
