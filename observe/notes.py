"""What workflow code has to tell outside: lines of the log, and spans. It is told once, however often it is replayed.

Notes that workflow code makes in a replay are dropped. Others are kept while local activities are under way: if the
worker dies then, the workflow task is done again elsewhere. They are told when the task is given to the server, or is
known to be in the history. A server may refuse a task (something else has arrived), or a store may not answer; then the
same worker does it again, mostly, and what it told the first time is not repeated.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Protocol

log = logging.getLogger("anabranch.run")

_RUNS: Final = 4096
"""Of how many runs it is known what the newest workflow task told."""


class Note(Protocol):
    """Something to tell."""

    @property
    def key(self) -> Hashable:
        """What no other note of the run has."""
        ...

    def tell(self, at: int) -> None:
        """Tell it, outside of the workflow; `at` is when it was noted, in nanoseconds."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log."""

    key: Hashable
    level: int
    event: str
    fields: Mapping[str, Any] = field(hash=False)

    def tell(self, at: int) -> None:
        """Log it, with the time at which it was noted."""
        if not log.isEnabledFor(self.level):
            return
        extra = {name: value for name, value in self.fields.items() if value is not None}
        record = log.makeRecord(log.name, self.level, __file__, 0, self.event, (), None, extra=extra)
        record.created, record.msecs = at / 1_000_000_000, at // 1_000_000 % 1000
        log.handle(record)


def are_logged(level: int) -> bool:
    """Whether lines of this level are written at all."""
    return log.isEnabledFor(level)


class Notes:
    """The notes of one workflow run in the memory of a worker. Activations come one after the other."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._is_live = False
        self._length = 0
        self._pending: list[tuple[Note, int]] = []

    @property
    def are_heard(self) -> bool:
        """Whether a note that is made now is told later: in a replay it is not, and need not be made."""
        return self._is_live

    def add(self, note: Note) -> None:
        """Tell this later, unless it is a replay."""
        if self._is_live:
            self._pending.append((note, time.time_ns()))

    def begin(self, *, is_replaying: bool, history_length: int) -> None:
        """An activation begins. A longer history holds what was noted before."""
        if history_length > self._length:
            self._tell()
        self._is_live, self._length = not is_replaying, history_length

    def end(self, *, failed: bool, closes_task: bool) -> None:
        """The activation has ended, and with it the workflow task, or only a part of it."""
        if failed:
            self._pending.clear()
        elif closes_task:
            self._tell()

    def _tell(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        told = _newest.exchange(self._run_id, frozenset(note.key for note, _ in pending))
        for note, at in pending:
            if note.key not in told:
                note.tell(at)


class _Newest:
    """What the newest workflow task of each run told, by keys."""

    def __init__(self) -> None:
        self._by_run: OrderedDict[str, frozenset[Hashable]] = OrderedDict()
        self._turn = Lock()

    def exchange(self, run_id: str, keys: frozenset[Hashable]) -> frozenset[Hashable]:
        with self._turn:
            before = self._by_run.pop(run_id, frozenset())
            self._by_run[run_id] = keys
            while len(self._by_run) > _RUNS:
                self._by_run.popitem(last=False)
        return before


_newest: Final = _Newest()
_notes: Final[ContextVar[Notes | None]] = ContextVar("anabranch_notes", default=None)


def here() -> Notes | None:
    """The notes of the workflow run whose code asks; None where nobody tells them."""
    return _notes.get()


def take(notes: Notes) -> None:
    """Workflow code of this thread's activation, and the tasks that it starts, make their notes here."""
    _notes.set(notes)
