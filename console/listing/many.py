"""The same done to many runs: each is told by itself, and what one of them refuses stops no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from anabranch.console.refusal import Refused
from anabranch.console.routes import Body
from anabranch.errors import AnabranchError, InputError
from anabranch.inspection.listing import Listed

MOST: Final = 1000
"""Runs of one request."""
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Chosen:
    """One workflow run that somebody chose."""

    workflow_id: str
    run_id: str


C = TypeVar("C", bound=Chosen)


def chosen_runs(body: Body) -> list[Chosen]:
    """The runs that a request names: exactly those that were shown before. Raises InputError."""
    return [Chosen(text(each, "workflow_id"), text(each, "run_id")) for each in listed(body, "runs")]


def named(runs: Sequence[Listed]) -> list[dict[str, str]]:
    """Listed runs, as a request names them again."""
    return [{"workflow_id": each.workflow_id, "run_id": each.run_id} for each in runs]


def listed(body: Body, field: str) -> list[Any]:
    """A list of a request that is not empty, nor too long. Raises InputError."""
    given = body.get(field)
    if not isinstance(given, list) or not 0 < len(given) <= MOST:
        raise InputError(f"`{field}` is a list of 1 to {MOST}", suggestion="give workflow_id and run_id of each")
    return given


def text(given: object, field: str) -> str:
    """A field that must be there, as text. Raises InputError."""
    value = given.get(field) if isinstance(given, dict) else None
    if not isinstance(value, str) or not value:
        raise InputError(f"`{field}` is missing", suggestion=f"give {field} as text")
    return value


async def each_of(chosen: Sequence[C], act: Callable[[C], Awaitable[object]]) -> dict[str, Any]:
    """Act on each: how many it was done for, and what the others refused it with."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(each: C) -> dict[str, Any] | None:
        async with turns:
            try:
                await act(each)
            except (AnabranchError, Refused) as error:
                message = error.detail if isinstance(error, Refused) else error.message
                told = {"code": error.code, "message": message}
                return {"workflow_id": each.workflow_id, "run_id": each.run_id, **told}
        return None

    refused = [each for each in await asyncio.gather(*map(one, chosen)) if each is not None]
    return {"done": len(chosen) - len(refused), "refused": refused}
