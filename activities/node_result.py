"""What a node's handler is, and what it returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.transport.node_protocol import NodeTask


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What a handler returns: `result` is for expressions of `output`; without those, `writes` and `removed` apply."""

    result: Json
    writes: dict[str, Json] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    @classmethod
    def under_id(cls, task: NodeTask, value: Json) -> Self:
        """A result that is one value, written under the node's id."""
        return cls(value, {own_key(task): value})


Handler = Callable[[NodeTask, Any], Awaitable[NodeResult]]
"""Does the work of a node of one type once; the node is of the type's own class in `graph.model`.

Raises AnabranchError, of which only `Unavailable` is retried. Other exceptions are retried too.
"""


@runtime_checkable
class Closing(Protocol):
    """A handler that holds connections."""

    async def aclose(self) -> None:
        """Close them."""


@contextmanager
def after_effect() -> Generator[None]:
    """Mark errors that are raised in the block: the node's effect has happened nevertheless."""
    try:
        yield
    except AnabranchError as error:
        error.happened = True
        raise


def own_key(task: NodeTask) -> str:
    """The context key for a result that is one value: the node's id, the last segment of its address."""
    return task.address.rsplit("/", 1)[-1].rsplit(" ", 1)[-1]
