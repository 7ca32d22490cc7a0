"""Histories become inspections: replayed in a few threads, each history at most once while its value is kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from temporalio.converter import DataConverter

from anabranch.errors import HistoryInvalid
from anabranch.inspection.closing import closing_of
from anabranch.inspection.events import by_address, node_events
from anabranch.inspection.growing import Growing, replay_on
from anabranch.inspection.history import History, time_of
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.lineage import Lineage
from anabranch.inspection.replay import Replayed, replay
from anabranch.transport.workflow_threads import WorkflowThreads
from anabranch.workflows.temporal.driver import Driver

AT_ONCE: Final = 2
"""Histories that are replayed at the same time: each keeps a processor busy."""
KEPT: Final = 64
"""Inspections that are kept, those that were asked for last."""


class Inspector:
    """Makes inspections of histories. One serves a process; `close` ends its threads.

    `converter` is that of the workers, with their keys and their payload store. Raises what `replay` raises.
    """

    def __init__(self, converter: DataConverter, *, namespace: str = "default", strict: bool = False) -> None:
        self._converter = converter
        self._namespace = namespace
        self._strict = strict
        self._threads: ThreadPoolExecutor = WorkflowThreads(AT_ONCE)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._kept: OrderedDict[tuple[str, int], Inspection] = OrderedDict()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def inspect(self, history: History, growing: Growing | None = None) -> Inspection:
        """What a history tells. `growing` is the same run at the look before: only what is new is worked out.

        Raises HistoryInvalid, EncryptionKeyMissing, PayloadMissing, Unavailable.
        """
        if (known := self.known(history.run_id, history.last.event_id)) is not None:
            return known
        async with self._turns:
            made = await self._inspected(history, growing)
        self._kept[history.run_id, history.last.event_id] = made
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made

    async def ask(self, history: History, question: Callable[[Driver], object]) -> None:
        """Ask the run as it is at the end of a history, and raise what it refuses. Nobody answers before it has begun.

        `question` changes nothing. Raises what `inspect` raises too.
        """
        async with self._turns:
            replayed = await self._replayed(history, question)
        if replayed.refusal is not None:
            raise replayed.refusal

    def known(self, run_id: str, last_event: int) -> Inspection | None:
        """The inspection of a history as far as this event, if it is kept."""
        if (found := self._kept.get((run_id, last_event))) is not None:
            self._kept.move_to_end((run_id, last_event))
        return found

    def forget(self, inspection: Inspection) -> None:
        """Keep an inspection no longer: of a run that is followed a newer one is there."""
        self._kept.pop((inspection.run_id, inspection.last_event), None)

    async def _replayed(self, history: History, ask: Callable[[Driver], object] | None = None) -> Replayed:
        return await replay(
            history, self._converter, self._threads, namespace=self._namespace, strict=self._strict, ask=ask
        )

    async def _replayed_on(self, growing: Growing, history: History) -> Replayed:
        return await replay_on(
            growing, history, self._converter, self._threads, namespace=self._namespace, strict=self._strict
        )

    async def _inspected(self, history: History, growing: Growing | None) -> Inspection:
        converter = self._converter
        replayed = await (self._replayed(history) if growing is None else self._replayed_on(growing, history))
        events, driver = await node_events(history, converter), replayed.driver
        if driver is None and history.closed == "completed":
            raise HistoryInvalid(
                "the history is not that of a graph's run", suggestion="inspect runs of graphs; others have no nodes"
            )
        return Inspection(
            history.workflow_id,
            history.run_id,
            history.started.first_execution_run_id,
            history.started.workflow_type.name,
            time_of(history.events[0]),
            history.last.event_id,
            time_of(history.last),
            None if driver is None else driver.identity.pinned,
            None if driver is None else driver.identity.plan,
            tuple(replayed.film.frames),
            Lineage(replayed.versions),
            replayed.visits,
            by_address(events.activities),
            events.children,
            {address: tuple(ids) for address, ids in events.event_ids.items()},
            replayed.skipped,
            replayed.line,
            replayed.undo_plan,
            await closing_of(history, converter),
            history.previous_run_id,
            history.next_run_id,
            history.started.task_queue.name,
            replayed.told,
            replayed.kept,
        )
