"""What the machine and its driver exchange: commands out, results and failures in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from anabranch import errors
from anabranch.context.changes import diff
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json
from anabranch.graph.plan_node import PlanNode

FailureOutcome: TypeAlias = Literal["failure", "timeout", "cancelled"]

NOT_STARTED: Final = "NOT_STARTED"
"""The code of work that was cancelled before it started."""
QUEUE_TIMEOUT: Final = "QUEUE_TIMEOUT"
"""The code of work that no worker took from its task queue in time."""
NO_TURN: Final = "NO_TURN"
"""The code of work whose turn did not come in time: a limit of rate or concurrency did not let it begin."""
YIELD: Final = "(yield)"
"""The address of a yield. Node ids have no parentheses."""
DEADLINE: Final = "timeout of "
"""What the addresses of the timers that end a node with a body start with. Node ids have no spaces."""

NO_EVENT: Final = "NO_EVENT"
"""The code of a node for which no event came in time."""
TERMINATED: Final = "TERMINATED"
"""The code of a child workflow that was terminated."""
_FINAL: Final = frozenset(
    each.code
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.AnabranchError) and not each.retryable
) | {NOT_STARTED, NO_TURN, QUEUE_TIMEOUT, TERMINATED}
"""Codes that are not worth a retry, by themselves."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a node did not succeed.

    `failure` is definite: the node had no effect. After `timeout` and `cancelled` the outcome is unknown, unless the
    node was cancelled before it started.
    """

    outcome: FailureOutcome
    code: str
    message: str
    node: str = ""
    details: tuple[Json, ...] = ()
    happened: bool | None = None
    """What the activity or the child workflow reports: that there is an effect which is not undone, or that there is
    none. None where nobody reports."""
    is_final: bool = False
    """Whether the error said itself that it is not worth a retry."""

    @property
    def is_retryable(self) -> bool:
        """Whether the same work, done again, may succeed. What was cancelled or terminated is not to be done again."""
        return not self.is_final and self.outcome != "cancelled" and self.code not in _FINAL

    @property
    def unknown(self) -> bool:
        """Whether the node may have had its effect.

        A service that stopped answering may have done its work. So may an earlier attempt than the one that failed.
        """
        if self.happened is not None:
            return self.happened
        return (
            self.code == errors.Unavailable.code
            or self._attempt > 1
            or (self.outcome != "failure" and self.code != NOT_STARTED)
        )

    @property
    def _attempt(self) -> int:
        found = self.details[0].get("attempt") if self.details and isinstance(self.details[0], dict) else None
        return found if isinstance(found, int) else 1

    def root(self) -> dict[str, Json]:
        """The value of the root `error` in expressions."""
        told: dict[str, Json] = {"node": self.node, "code": self.code, "type": self.code, "message": self.message}
        return {**told, "outcome": self.outcome}


@dataclass(frozen=True, slots=True)
class RunNode:
    """Run a node's activity on the context of `line`. `key` identifies its effect; `undo` marks a compensation."""

    address: str
    planned: PlanNode
    line: Line
    roots: Mapping[str, Json]
    key: str
    undo: bool = False
    is_beside: bool = False
    """Whether it only tells people of a question: it writes nothing, and nothing waits for it."""
    deadline: float | None = None
    """For a compensation, the seconds until the saga's deadline. After it (0) there is one attempt and no retry."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Wait for `seconds`; `attempt` is that of the node which starts then, where it is not the first."""

    address: str
    seconds: float
    attempt: int | None = None
    is_beside: bool = False
    """Whether it is that of a reminder, or an escalation: no node waits for it."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """Whom a question is for: people, and groups of people. Nobody is named where anybody may answer."""

    assignee: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def described(self) -> dict[str, Json]:
        """As JSON for people, with both lists."""
        return {"assignee": list(self.assignee), "groups": list(self.groups)}


@dataclass(frozen=True, slots=True)
class Reminders:
    """When a question is asked again: seconds after the question, then after each reminder, so many times."""

    after: float
    every: float
    times: int


@dataclass(frozen=True, slots=True)
class Escalation:
    """So many seconds after the question it is for others."""

    after: float
    to: Assigned


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Wait for a person's answer (update `complete_task`), or for those of several, at most `timeout` seconds."""

    address: str
    prompt: str
    schema: Mapping[str, Json] | None
    timeout: float | None
    assigned: Assigned = Assigned()
    answers: int = 1
    reminders: Reminders | None = None
    escalation: Escalation | None = None
    form: Mapping[str, Json] | None = None

    @property
    def is_watched(self) -> bool:
        """Whether there is more to keep of it than the question: answers that came, times to come."""
        return self.answers > 1 or self.reminders is not None or self.escalation is not None


@dataclass(frozen=True, slots=True)
class AwaitEvent:
    """Wait for an event of one of these names (signal `event`), or for one of each, at most `timeout` seconds."""

    address: str
    names: tuple[str, ...]
    needs_all: bool
    timeout: float | None


@dataclass(frozen=True, slots=True)
class EventCame:
    """What a node at `address` waits for has come: its `AwaitEvent` is answered with this result."""

    address: str
    result: Json


@dataclass(frozen=True, slots=True)
class AskConflict:
    """Wait until every conflict at a join is settled (update `resolve_conflict`), at most `timeout` seconds.

    A question at an address that waits already takes the place of the one before, and the same answer is awaited. What
    was chosen among the same candidates stands. Without conflicts, nothing is left to choose.
    """

    address: str
    conflicts: tuple[Conflict, ...]
    timeout: float | None


@dataclass(frozen=True, slots=True)
class StartChild:
    """Run a graph as a child workflow on `data`."""

    address: str
    planned: PlanNode
    graph: str
    data: Mapping[str, Json]
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Yield:
    """End the workflow task and answer in the next one: the machine has done enough for one.

    Nothing starts until then but what an operator retries. Once the run is over it need not be answered.
    """

    address: str = YIELD


@dataclass(frozen=True, slots=True)
class CancelWork:
    """Cancel the work at `address`. Its outcome still arrives as an event."""

    address: str


@dataclass(frozen=True, slots=True)
class Afterwards:
    """What the `finally` of a graph came to."""

    written: dict[str, Json]
    """The keys that it changed, with their values."""
    failure: Failure | None = None
    """Why it failed. That changes nothing of how the run ended."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over. `failure` is None when it completed."""

    line: Line
    failure: Failure | None = None
    compensated: tuple[str, ...] = ()
    not_compensated: tuple[str, ...] = ()
    reasons: Mapping[str, Failure] = field(default_factory=dict)
    """Why, for each of `not_compensated`."""
    effects_left: bool = False
    """Whether a node without a compensation did something, or a pivot has succeeded."""
    pivoted: bool = False
    """Whether a pivot has succeeded, or may have."""
    given: dict[str, Json] | None = None
    """What the graph's `result` came to; None where it has none."""
    afterwards: Afterwards | None = None
    """None where the graph has no `finally`."""

    @property
    def data(self) -> dict[str, Json]:
        """What the run comes to: the graph's `result`, else the whole context."""
        return self.line.data if self.given is None else self.given

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled as a whole. A cancelled node is a failure like others."""
        return self.failure is not None and self.failure.outcome == "cancelled" and self.failure.node == ""

    @property
    def status(self) -> Literal["completed", "failed", "cancelled"]:
        """How the run ended, in one word. A run that was cancelled and could not undo all of its steps has failed."""
        if self.failure is None:
            return "completed"
        return "cancelled" if self.cancelled and not self.not_compensated else "failed"

    def followed_by(self, last: Finish) -> Finish:
        """How the run ended, as before its `finally`, with what that came to."""
        changed = {path[0] for path in diff(self.line.data, last.line.data).set}
        written = {key: value for key, value in last.line.data.items() if key in changed}
        return replace(self, line=last.line, afterwards=Afterwards(written, last.failure))


Work: TypeAlias = RunNode | StartTimer | AskPerson | AwaitEvent | AskConflict | StartChild
"""Commands that are answered by a result, a choice or a failure."""
Command: TypeAlias = Work | Yield | CancelWork | EventCame | Finish
