"""What the services have in common: the shared context, written back against the version that a request carried."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from anabranch.context import ContextStore, DistributedContext, Json, Path, RedisStore, ThreeWayMerge, format_path
from anabranch.context.propagation import extract
from anabranch.errors import AnabranchError, InputError, VersionMismatch

POLICIES: Mapping[str | Path, str] = {"delivery_days": "max", "notes": "merge_all"}
"""Two services may promise a day of delivery: the later one holds. Notes of both are kept."""

Answer = dict[str, Json]


def carried(request: Request) -> DistributedContext:
    """The context in the request's headers. Raises InputError."""
    found = extract(request.headers).context
    if found is None:
        raise InputError("the request carries no context", suggestion="send it in the header Anabranch-Context")
    return found


async def write_back(shared: ContextStore, base: DistributedContext, mine: DistributedContext) -> list[str]:
    """Store what was made of `base`; the conflicts with what others stored meanwhile, each with its settlement.

    By compare-and-set: where another service was faster, the three versions are merged, and it is tried again.
    """
    settled: list[str] = []
    expected, merged = base.metadata.version, mine
    while True:
        try:
            await shared.save(merged, ttl=600, expected_version=expected)
        except VersionMismatch:
            theirs = await shared.load(base.session_id)
            if theirs is None:
                raise
            merge = ThreeWayMerge(base.snapshot(), theirs.snapshot(), mine.snapshot(), policies=POLICIES)
            merged, expected = merge.merge(), theirs.metadata.version
            merged.metadata = merged.metadata._replace(version=expected + 1, modified_by=mine.modified_by)
            settled = [
                f"{format_path(each.path)} was {each.base!r}, is {' and '.join(repr(c.value) for c in each.candidates)}"
                f": {each.policy.value} gives {each.value!r}"
                for each in merge.conflicts
            ]
        else:
            return settled


def serve(path: str, answer: Callable[[Request, ContextStore], Awaitable[Answer]]) -> None:
    """Answer POST requests on the port that the command line names, with the contexts at `REDIS_URL`, until SIGTERM."""
    shared = RedisStore.from_url(os.environ["REDIS_URL"])

    async def respond(request: Request) -> JSONResponse:
        try:
            return JSONResponse(await answer(request, shared))
        except AnabranchError as error:
            return JSONResponse(
                {"code": error.code, "message": str(error)}, status_code=503 if error.retryable else 400
            )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        yield
        await shared.aclose()

    app = Starlette(routes=[Route(path, respond, methods=["POST"])], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", ws="none")
