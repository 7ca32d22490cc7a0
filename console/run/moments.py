"""A run at one moment, for what is asked about it: from the history that its viewers share, or else from the server."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from anabranch.console.run.live import LiveRuns
from anabranch.errors import InputError
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.lineage import Lineage
from anabranch.inspection.runs import Runs

_KEPT: Final = 8
"""Histories of closed runs that are kept, those that were asked for last."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A run as all of its history tells it, and the frame that is asked about."""

    inspection: Inspection
    history: History
    index: int

    @property
    def is_newest(self) -> bool:
        """Whether the frame is the newest one."""
        return self.index == len(self.inspection.frames) - 1

    @property
    def known(self) -> int:
        """The newest event that the run had heard of; at the newest frame the newest of all."""
        return self.inspection.last_event if self.is_newest else self.inspection.frames[self.index].event_id

    @property
    def last(self) -> int:
        """The last event of the moment: what the workflow task of its frame asked for is behind that."""
        if self.is_newest:
            return self.inspection.last_event
        return self.inspection.frames[self.index + 1].event_id - 1


@dataclass(slots=True)
class Moments:
    """The runs of a server at any moment."""

    runs: Runs
    inspector: Inspector
    live: LiveRuns
    _closed: OrderedDict[str, History] = field(default_factory=OrderedDict)

    async def at(self, workflow_id: str, run_id: str, event: int | None) -> Moment:
        """A run, and its frame as of an event, by default the newest one.

        Raises InputError for a run that is not there or has not begun, and what `Inspector.inspect` raises.
        """
        inspection, history = await self._whole(workflow_id, run_id)
        if not inspection.frames:
            raise InputError("the run has not begun: no worker has loaded its graph", place=workflow_id)
        index = len(inspection.frames) - 1 if event is None else inspection.at(event)
        if index is None:
            raise InputError(f"the run had not begun at event {event}", place="at")
        return Moment(inspection, history, index)

    async def replayed(self, moment: Moment) -> tuple[Inspection, Lineage]:
        """The run as it was at the moment, and the versions of its whole chain until then."""
        frame = moment.inspection.frames[moment.index]
        inspection = moment.inspection
        if not moment.is_newest:
            inspection = await self.inspector.inspect(moment.history.until(frame.event_id))
        lineage = await self.runs.whole(moment.inspection)
        return inspection, Lineage(version for version in lineage if version.number <= frame.versions)

    async def _whole(self, workflow_id: str, run_id: str) -> tuple[Inspection, History]:
        if (state := self.live.known(workflow_id, run_id)) is not None:
            return state.inspection, state.history
        if (history := self._closed.get(run_id)) is None or history.workflow_id != workflow_id:
            history = await self.runs.history(workflow_id, run_id)
            if history.closed is not None:
                self._closed[run_id] = history
                if len(self._closed) > _KEPT:
                    self._closed.popitem(last=False)
        return await self.inspector.inspect(history), history
