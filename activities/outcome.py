"""What a node's handler is and gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.transport.node_protocol import NodeTask


@dataclass(frozen=True, slots=True)
class Outcome:
    """A handler's findings. `result` is the root of that name in `output`; `writes` and `removed` hold without one."""

    result: Json
    writes: dict[str, Json] = field(default_factory=dict)
    removed: tuple[str, ...] = ()


Handler = Callable[[NodeTask, Any], Awaitable[Outcome]]
"""Does once what a node of one type does; the node is of the type's own class in `graph.model`.

Raises AnabranchError, of which only `Unavailable` is tried again; and so is anything unforeseen.
"""


@runtime_checkable
class Closing(Protocol):
    """A handler that holds connections."""

    async def aclose(self) -> None:
        """Close them."""


@contextmanager
def after_effect() -> Iterator[None]:
    """Note on what is raised here that the node's effect has happened all the same."""
    try:
        yield
    except AnabranchError as error:
        error.happened = True
        raise


def own_key(task: NodeTask) -> str:
    """The context key for a result that is one value: the node's id, the last segment of its address."""
    return task.address.rsplit("/", 1)[-1].rsplit(" ", 1)[-1]
