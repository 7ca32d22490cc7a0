"""What runs wait for, people or events, over all runs: read from their histories as they change, and kept in between.

Which runs wait is known from visibility, and what exactly from their histories. Somebody who looks is answered with
what is known; the histories of runs that are not known yet are read meanwhile, the longest waiting first.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from temporalio.client import Client
from temporalio.service import RPCError

from anabranch.console.run.todo import todo
from anabranch.errors import AnabranchError
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.listing import Listed, Listing
from anabranch.inspection.runs import Runs
from anabranch.inspection.selection import OPEN_STATES, Selection
from anabranch.observe.metrics import node_label

KINDS: Final = ("approval", "conflict", "paused")
FOR_PEOPLE: Final = Selection(waiting_for=KINDS)
IN_FLIGHT: Final = Selection(states=[state for state in OPEN_STATES if state != "loading"])
"""The runs that may wait for events: no search attribute tells which do."""
MOST_RUNS: Final = 1000
"""Runs that are read, the newest ones."""
Asked: TypeAlias = Callable[[Inspection], Sequence[dict[str, Any]]]
_FRESH_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 0.25
"""How long an answer waits for what is being read."""
_KNOWN_A_LOOK: Final = 200
"""Of how many runs that are read a look asks whether they have grown, those that it asked about longest ago.

Of more than so many, a run is asked about every few looks: the server and this process are asked for no more.
"""
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that a run waits for somebody to do. `told` has what is asked, as the page of the run shows it."""

    workflow_id: str
    run_id: str
    graph: str
    address: str
    kind: str
    asked: int
    """Since when it waits, in Unix milliseconds."""
    alike: str
    """The same for what can be answered at once: the kind, the graph, the node, the path and the schema."""
    told: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Questions:
    """What is known now, the oldest first."""

    all: tuple[Question, ...]
    runs: int
    """How many runs wait."""
    unread: int
    """How many of them are not read yet."""
    is_all: bool
    """Whether these are all of them; else they are the newest ones."""


@dataclass(frozen=True, slots=True)
class _Read:
    events: int
    questions: tuple[Question, ...]
    looked: float
    """When it was last asked whether it has grown, on the monotonic clock."""


class WaitingRuns:
    """Knows what runs wait for. One serves all who look.

    `selection` are the runs that may wait; `asked` has what one of them waits for, as its page shows it.
    """

    def __init__(
        self,
        client: Client,
        runs: Runs,
        listing: Listing,
        selection: Selection = FOR_PEOPLE,
        asked: Asked = todo,
    ) -> None:
        self._selection = selection
        self._asked = asked
        self._client = client
        self._runs = runs
        self._listing = listing
        self._waiting: tuple[Listed, ...] = ()
        self._read: dict[str, _Read] = {}
        self._looking: asyncio.Task[None] | None = None
        self._looked = -math.inf
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Stop reading."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    def changed(self, run_ids: Iterable[str]) -> None:
        """Somebody has told these runs something: what is known of them is old."""
        self._looked = -math.inf
        for run_id in run_ids:
            if (known := self._read.get(run_id)) is not None:
                self._read[run_id] = replace(known, looked=-math.inf)

    async def now(self) -> Questions:
        """What is known, which is at most some seconds old. Raises what `Listing` raises, where it does so at once."""
        looking = self._look_again()
        await asyncio.wait({looking}, timeout=_PATIENCE_SECONDS)
        if looking.done():
            looking.result()
        known = [self._read[each.run_id] for each in self._waiting if each.run_id in self._read]
        questions = sorted((each for read in known for each in read.questions), key=lambda each: each.asked)
        count = len(self._waiting)
        return Questions(tuple(questions), count, count - len(known), is_all=count < MOST_RUNS)

    def _look_again(self) -> asyncio.Task[None]:
        """The look that is under way, or was over a moment ago; else a new one."""
        is_old = time.monotonic() - self._looked >= _FRESH_SECONDS
        if self._looking is None or (self._looking.done() and is_old):
            self._looking = asyncio.create_task(self._look())
        return self._looking

    async def _look(self) -> None:
        self._looked = time.monotonic()
        waiting = await self._listing.newest(self._selection, MOST_RUNS)
        self._waiting = tuple(waiting)
        self._read = {each.run_id: self._read[each.run_id] for each in waiting if each.run_id in self._read}
        await asyncio.gather(*map(self._renew, self._due(waiting)))

    def _due(self, waiting: Sequence[Listed]) -> list[Listed]:
        """The runs that a look asks about: those it does not know, the longest waiting first, and then known ones."""
        fresh = sorted((each for each in waiting if each.run_id not in self._read), key=lambda each: each.started)
        known = [each for each in waiting if each.run_id in self._read]
        known.sort(key=lambda each: self._read[each.run_id].looked)
        return [*fresh, *known[:_KNOWN_A_LOOK]]

    async def _renew(self, listed: Listed) -> None:
        """Read a run whose history has grown since it was read."""
        async with self._turns:
            looked = time.monotonic()
            try:
                handle = self._client.get_workflow_handle(listed.workflow_id, run_id=listed.run_id)
                described = await handle.describe()
                events = described.raw_description.workflow_execution_info.history_length
                known = self._read.get(listed.run_id)
                if known is not None and known.events == events:
                    self._read[listed.run_id] = replace(known, looked=looked)
                else:
                    inspection = await self._runs.inspect(listed.workflow_id, listed.run_id)
                    self._read[listed.run_id] = _Read(events, tuple(_questions(inspection, self._asked)), looked)
            except (AnabranchError, RPCError):
                self._read[listed.run_id] = _Read(0, (), looked)  # one that cannot be read hides no other


def _questions(inspection: Inspection, asked: Asked) -> Sequence[Question]:
    graph = inspection.workflow_type if inspection.graph is None else inspection.graph.name
    return [_question(inspection, graph, told) for told in asked(inspection)]


def _question(inspection: Inspection, graph: str, told: dict[str, Any]) -> Question:
    address = told["address"]
    asked = told.get("asked") or _since(inspection, address)
    alike = [told["kind"], graph, node_label(address), told.get("path"), told.get("schema"), _code(told)]
    alike += told.get("names", ())
    digest = hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:16]
    named = (inspection.workflow_id, inspection.run_id, graph, address)
    return Question(*named, told["kind"], asked, digest, told)


def _code(told: dict[str, Any]) -> str | None:
    error = told.get("error")
    return None if error is None else error["code"]


def _since(inspection: Inspection, address: str) -> int:
    """Since when a node has been as it is, as far as its frames tell."""
    since = inspection.last_event_at
    for frame in reversed(inspection.frames):
        if address not in {**frame.conflicts, **frame.approvals} and address not in frame.paused:
            break
        since = frame.at
    return since
