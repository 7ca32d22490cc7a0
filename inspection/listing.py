"""The runs of a namespace, page by page, and how many there are in each state.

What a run says of itself in search attributes is enough. Where it says nothing, since its namespace has not got them or
it began before that had, the history of an open run is read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from anabranch.errors import AnabranchError, InputError, Unavailable
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.runs import Runs
from anabranch.inspection.selection import CLOSED_STATES, OPEN_STATES, Selection
from anabranch.observe.metrics import node_label
from anabranch.transport.search_attributes import GRAPH, STATE, WAITING_FOR, are_among, registered

_FRESH_SECONDS: Final = 60.0
_READ_AT_ONCE: Final = 4
"""Histories."""
_CLOSED: Final = {"canceled": "cancelled", "continued_as_new": "continued"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One run. Times are Unix milliseconds."""

    workflow_id: str
    run_id: str
    graph: str
    """The graph's name; of a closed run without search attributes its workflow's type."""
    state: str
    waits_for: tuple[str, ...]
    """What people are to do, as `AnabranchWaitingFor` has it: `approval:ask`, `conflict:join`, `paused:pay`."""
    started: int
    ended: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some runs, the open ones first, and of each kind the newest first. `next` gives the page behind it."""

    runs: tuple[Listed, ...]
    next: str | None


class Listing:
    """Lists the runs of a client's namespace. It may be kept: what the namespace has is asked once a minute."""

    def __init__(self, client: Client, runs: Runs) -> None:
        self._client = client
        self._runs = runs
        self._has_attributes = False
        self._asked: float | None = None
        self._reading = asyncio.Semaphore(_READ_AT_ONCE)

    async def page(self, selection: Selection, *, size: int, after: str | None = None) -> Page:
        """At most `size` runs, one or more unless there are no more.

        Raises InputError for what the server rejects, Unavailable.
        """
        has_attributes = await self._has()
        found: list[Listed] = []
        token = _token(after)
        try:
            pages = self._client.list_workflows(
                selection.query(has_attributes=has_attributes), page_size=size, next_page_token=token
            )
            while not found:
                await pages.fetch_next_page()
                listed = await asyncio.gather(*(self._listed(each, selection) for each in pages.current_page or ()))
                found = [each for each in listed if each is not None and selection.holds(each.state, each.waits_for)]
                if not pages.next_page_token:
                    break
        except RPCError as error:
            raise _refused(error) from error
        following = pages.next_page_token
        return Page(tuple(found), base64.urlsafe_b64encode(following).decode() if following else None)

    async def newest(self, selection: Selection, limit: int) -> list[Listed]:
        """The first runs, `limit` at most. Raises what `page` raises."""
        found: list[Listed] = []
        after: str | None = None
        while len(found) < limit:
            page = await self.page(selection, size=min(limit, 1000), after=after)
            found += page.runs
            if (after := page.next) is None:
                break
        return found[:limit]

    async def counts(self, selection: Selection) -> dict[str, int]:
        """How many runs are in each state, none left out. Without search attributes all open ones are `running`.

        Raises InputError for what the server rejects, Unavailable.
        """
        if await self._has():
            states: Sequence[str] = (*OPEN_STATES, *CLOSED_STATES)
            queries = [replace(selection, states=(state,)).query(has_attributes=True, exactly=True) for state in states]
        else:
            states = ("running", *CLOSED_STATES)
            queries = [replace(selection, states=(state,)).query(has_attributes=False) for state in states]
        try:
            counted = await asyncio.gather(*map(self._client.count_workflows, queries))
        except RPCError as error:
            raise _refused(error) from error
        return {state: each.count for state, each in zip(states, counted, strict=True)}

    async def count(self, selection: Selection) -> int:
        """How many runs are meant, as far as they say so of themselves. Raises what `counts` raises."""
        query = selection.query(has_attributes=await self._has(), exactly=True)
        try:
            return (await self._client.count_workflows(query)).count
        except RPCError as error:
            raise _refused(error) from error

    async def _has(self) -> bool:
        if self._asked is None or time.monotonic() - self._asked >= _FRESH_SECONDS:
            try:
                self._has_attributes = are_among(await registered(self._client))
            except RPCError:
                self._has_attributes = False
            self._asked = time.monotonic()
        return self._has_attributes

    async def _listed(self, execution: WorkflowExecution, selection: Selection) -> Listed | None:
        """One run; None where it is no graph's, or asks nobody who is named."""
        status = "" if execution.status is None else execution.status.name.lower()
        attributes = execution.typed_search_attributes
        state = attributes.get(STATE)
        listed = Listed(
            execution.id,
            execution.run_id,
            attributes.get(GRAPH) or execution.workflow_type,
            _CLOSED.get(status, status) if status != "running" or state is None else state,
            () if status != "running" else tuple(_nodes(attributes.get(WAITING_FOR) or ())),
            round(execution.start_time.timestamp() * 1000),
            None if execution.close_time is None else round(execution.close_time.timestamp() * 1000),
        )
        is_told = status != "running" or state is not None
        return listed if is_told and not selection.asks else await self._read(listed, selection)

    async def _read(self, listed: Listed, selection: Selection) -> Listed | None:
        async with self._reading:
            try:
                inspection = await self._runs.inspect(listed.workflow_id, listed.run_id)
            except AnabranchError:
                return None
        if selection.asks and not (inspection.frames and selection.is_asked(inspection.last.approvals)):
            return None
        waits = waits_for(inspection)
        asks = any(not each.startswith("paused:") for each in waits)
        state = "waiting" if asks and inspection.status == "running" else inspection.status
        graph = listed.graph if inspection.graph is None else inspection.graph.name
        return replace(listed, graph=graph, state=state, waits_for=waits)


def waits_for(inspection: Inspection) -> tuple[str, ...]:
    """What a run waits for people to do, as the search attribute would say it."""
    if not inspection.frames:
        return ()
    last = inspection.last
    asked = [("approval", each) for each in last.approvals]
    asked += [("conflict", each) for each in last.conflicts]
    asked += [("paused", each) for each in last.paused]
    return tuple(sorted({f"{kind}:{node_label(address)}" for kind, address in asked}))


def _nodes(words: Sequence[str]) -> Iterator[str]:
    """The words that name a node, and those of a kind none of whose nodes is named."""
    kinds = {word.partition(":")[0] for word in words if ":" in word}
    yield from (word for word in words if word not in kinds)


def _token(after: str | None) -> bytes | None:
    """Raises InputError for what is no token of a page."""
    if after is None:
        return None
    try:
        return base64.b64decode(after, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InputError("this is no token of a page", suggestion="begin at the first page") from None


def _refused(error: RPCError) -> AnabranchError:
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return InputError(f"the server rejects the query: {error.message}", place="--query")
    return Unavailable(f"the Temporal server refuses: {error.message}")
