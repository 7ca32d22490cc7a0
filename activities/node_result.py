"""What a node's handler is, and what it returns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from anabranch.context.changes import Usage
from anabranch.context.values import Json, Path
from anabranch.errors import AnabranchError, NodeError
from anabranch.transport.node_protocol import NodeTask


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What a handler returns: `result` is for expressions of `output`; without those, `writes` and `removed` apply.

    `writes` are values by key, `parts` values inside of objects by path, `appended` what is added to lists by path.
    `warnings` are for who reads the audit trail; they name no values. `usage` is what was spent at language models.
    """

    result: Json
    writes: dict[str, Json] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parts: Mapping[Path, Json] = field(default_factory=dict)
    appended: Mapping[Path, list[Json]] = field(default_factory=dict)
    usage: tuple[Usage, ...] = ()
    is_partial: bool = False
    """Whether it is not yet what the node comes to: `output` is not asked."""

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


def after_effect(*, passing: type[Exception] | tuple[type[Exception], ...] = ()) -> AbstractContextManager[None, None]:
    """Mark errors that are raised in the block: the node's effect has happened nevertheless.

    An unforeseen one becomes a NodeError, unless it is one of `passing`, which somebody around the block understands.
    """
    return _AfterEffect(passing)


class _AfterEffect(AbstractContextManager[None, None]):
    # Every node comes through it: a generator would cost three times as much.
    __slots__ = ("_passing",)

    def __init__(self, passing: type[Exception] | tuple[type[Exception], ...]) -> None:
        self._passing = passing

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, AnabranchError):
            error.happened = True
        elif isinstance(error, Exception) and not isinstance(error, self._passing):
            raise _happened(f"its result cannot be used: {type(error).__name__}: {error}") from error


@contextmanager
def not_ending_the_worker() -> Generator[None]:
    """Turn what a handler ends its process or its thread by into an error of its node, which may have had its effect.

    A cancellation, and the end of a coroutine that nobody awaits any more, pass.
    """
    try:
        yield
    except (Exception, asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        raise _happened(f"its handler ended by {type(error).__name__}: {error}") from error


def _happened(message: str) -> NodeError:
    error = NodeError(message, suggestion="the node may have had its effect; correct its handler")
    error.happened = True
    return error


def own_key(task: NodeTask) -> str:
    """The context key for a result that is one value: the node's id, the last segment of its address."""
    return task.address.rsplit("/", 1)[-1].rsplit(" ", 1)[-1]
