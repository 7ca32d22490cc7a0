"""Which runs of a namespace are meant, as a list filter of Temporal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from anabranch.transport.search_attributes import GRAPH, STATE, WAITING_FOR

CLOSED_STATES: Final = ("completed", "failed", "cancelled", "terminated", "timed_out", "continued")
OPEN_STATES: Final = ("running", "waiting", "paused", "compensating", "finishing", "loading")
_ASKS: Final = ("approval",)
_STATUS: Final = {
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Canceled",
    "terminated": "Terminated",
    "timed_out": "TimedOut",
    "continued": "ContinuedAsNew",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """All runs, but for what is asked."""

    graph: str | None = None
    """The graph's name, or the workflow's type."""
    states: Sequence[str] = ()
    waiting_for: Sequence[str] = ()
    """Words of the search attribute `AnabranchWaitingFor`, one of which holds: `approval`, `conflict:join`."""
    id_starts: str = ""
    """What the workflow's id starts with."""
    also: str | None = None
    """A list filter of Temporal."""
    people: Sequence[str] = ()
    """Names of whom an approval of the run asks, and who have not answered it. Its history alone tells."""
    groups: Sequence[str] = ()
    """Likewise of groups; a run that asks one of them, or one of the people, is meant."""

    @property
    def asks(self) -> bool:
        """Whether the runs that are meant ask somebody who is named."""
        return bool(self.people or self.groups)

    def query(self, *, has_attributes: bool, exactly: bool = False) -> str:
        """The list filter. Runs that set no search attributes are found by it too, where they may be meant.

        With `exactly` they are not, but for those that have not begun.
        """
        return " and ".join(f"({part})" for part in self._parts(has_attributes=has_attributes, exactly=exactly))

    def holds(self, state: str, waits_for: Sequence[str]) -> bool:
        """Whether a run that the list filter has found is meant."""
        if self.states and state not in self.states:
            return False
        words = {*waits_for, *(word.partition(":")[0] for word in waits_for)}
        return not self.waiting_for or not words.isdisjoint(self.waiting_for)

    def is_asked(self, approvals: Mapping[str, Any]) -> bool:
        """Whether one of the open approvals, as the query `status` has them, is for whom the selection names."""
        return any(map(self._is_for, approvals.values()))

    def _is_for(self, approval: Mapping[str, Any]) -> bool:
        given = approval.get("answers", {}).get("given", ())
        people = set(self.people) - {each["by"] for each in given}
        return not (
            people.isdisjoint(approval.get("assignee", ())) and set(self.groups).isdisjoint(approval.get("groups", ()))
        )

    def _parts(self, *, has_attributes: bool, exactly: bool) -> Iterator[str]:
        if self.graph is not None:
            same = f"WorkflowType = {_text(self.graph)}"
            yield f"{same} or {GRAPH.name} = {_text(self.graph)}" if has_attributes else same
        if self.states:
            yield " or ".join(self._state_parts(has_attributes=has_attributes, exactly=exactly))
        if waiting_for := self.waiting_for or (_ASKS if self.asks else ()):
            yield "ExecutionStatus = 'Running'"
            if has_attributes:
                asked = f"{WAITING_FOR.name} in ({', '.join(map(_text, waiting_for))})"
                yield asked if exactly else f"{asked} or {STATE.name} is null"
        if self.id_starts:
            yield f"WorkflowId STARTS_WITH {_text(self.id_starts)}"
        if self.also:
            yield self.also

    def _state_parts(self, *, has_attributes: bool, exactly: bool) -> Iterator[str]:
        closed = [_STATUS[state] for state in self.states if state in _STATUS]
        if closed:
            yield f"ExecutionStatus in ({', '.join(map(_text, closed))})"
        said = [state for state in self.states if state in OPEN_STATES]
        if not said:
            return
        if not has_attributes:
            yield "ExecutionStatus = 'Running'"
            return
        words = [state for state in said if state != "loading"]
        parts = [f"{STATE.name} in ({', '.join(map(_text, words))})"] if words else []
        if not exactly or "loading" in said:
            parts.append(f"{STATE.name} is null")
        yield f"(ExecutionStatus = 'Running' and ({' or '.join(parts)}))"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
