"""What a run asks while it is played on a server: people answer, and events come, as in a dry run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, cast

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError

from anabranch.errors import InputError
from anabranch.testkit.answers import Answers
from anabranch.testkit.stand_ins import StandIns
from anabranch.workflows.interpreter.commands import AskPerson, AwaitEvent
from anabranch.workflows.interpreter.simulation import Arrived, Done, Failed, Heard

History = Sequence[HistoryEvent]
Handle = WorkflowHandle[Any, Any]

_OVER: Final = frozenset({"pending", "succeeded", "failed", "timed_out", "cancelled", "skipped"})
_AROUND: Final = frozenset({"block", "foreach", "while", "graph"})
"""What goes on inside of these is seen there."""
_ANSWER: Final = "give the answer in --outcomes: {node: {answer: …}}"


class Attendant:
    """Answers what one run, and its children, ask."""

    def __init__(self, client: Client, run: Handle, stand_ins: StandIns) -> None:
        self._client, self._run, self._stand_ins = client, run, stand_ins
        self._sent: dict[tuple[str, str], list[str]] = {}
        """The events that were sent, by the run and the address of the node that waited for one."""
        self._stood_still = False

    async def look(self) -> None:
        """Answer what is asked now. Raises InputError where the run waits for what nobody brings."""
        waiting: list[InputError] = []
        is_busy = False
        async for events in histories(self._client, self._run.id, self._run.first_execution_run_id):
            started = events[0].workflow_execution_started_event_attributes
            asking = self._client.get_workflow_handle(started.workflow_id, run_id=started.original_execution_run_id)
            status: dict[str, Any] = await asking.query("status")
            left = await self._answered(asking, status)
            waiting += left.values()
            is_busy = is_busy or _is_busy(status, left)
        if waiting and not is_busy and self._stood_still:  # twice: what had come before the first look has been heard
            raise waiting[0]
        self._stood_still = bool(waiting) and not is_busy

    async def _answered(self, asking: Handle, status: Mapping[str, Any]) -> dict[str, InputError]:
        """Answer what a run asks; returns why nobody answers the rest, by address."""
        answers = self._stand_ins.answers[status["graph"]]
        for address, asked in status.get("approvals", {}).items():
            await _answer(asking, answers, address, asked)
        for address, conflicts in status.get("conflicts", {}).items():
            for conflict in conflicts:
                chosen = {"node": address, "path": conflict["path"], "writer": conflict["candidates"][-1]["by"]}
                await asking.execute_update("resolve_conflict", chosen)
        left: dict[str, InputError] = {}
        for address, wait in status.get("events", {}).items():
            if (asking.id, address) in self._sent:
                left[address] = _not_accepted(address, self._sent[asking.id, address])
            else:
                self._sent[asking.id, address] = await _send(asking, answers, address, wait)
        for address in status.get("paused", {}):
            left[address] = is_paused(address)
        return left


async def histories(client: Client, run: str, run_id: str | None) -> AsyncIterator[History]:
    """The history of a workflow run, of those that it continued as, and of their children."""
    waiting: list[tuple[str, str | None]] = [(run, run_id)]
    while waiting:
        handle = client.get_workflow_handle(waiting[0][0], run_id=waiting.pop(0)[1])
        events = [event async for event in handle.fetch_history_events()]
        yield cast("History", events)
        next_id = events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        waiting += [(handle.id, next_id)] if next_id else []
        for event in events:
            if event.HasField("child_workflow_execution_started_event_attributes"):
                child = event.child_workflow_execution_started_event_attributes.workflow_execution
                waiting.append((child.workflow_id, child.run_id))


async def _answer(asking: Handle, answers: Answers, address: str, asked: Mapping[str, Any]) -> None:
    """Answer an approval, as often as it needs answers."""
    needed = asked.get("answers", {}).get("needed", 1)
    answer = answers(AskPerson(address, "", asked.get("schema") if needed > 1 else None, None, answers=needed))
    if not isinstance(answer, Done | Heard):
        raise InputError("a person who does not answer is not played", place=f"node {address!r}", suggestion=_ANSWER)
    said = answer.answers if isinstance(answer, Heard) else ()
    told: list[dict[str, Any]] = [{"answer": each.answer, "by": each.by} for each in said]
    if isinstance(answer, Done):
        told = [{"answer": answer.result}]
    try:
        for each in told:
            await asking.execute_update("complete_task", {"node": address, **each})
    except WorkflowUpdateFailedError as refused:
        raise InputError(
            f"the question does not take the answer: {refused.cause}", place=f"node {address!r}", suggestion=_ANSWER
        ) from None


async def _send(asking: Handle, answers: Answers, address: str, wait: Mapping[str, Any]) -> list[str]:
    """Send what a `receive` waits for: the events that are given, else ones without data. Returns their names."""
    needs_all = wait.get("mode") == "all"
    names = tuple(wait["names"])
    answer = answers(AwaitEvent(address, names, needs_all, None))
    if isinstance(answer, Failed):
        raise InputError(
            "an event that does not come is not played", place=f"node {address!r}", suggestion=_event(names)
        )
    data = {each.name: each.data for each in answer.events} if isinstance(answer, Arrived) else {}
    sent = [*data] or [*(names if needs_all else names[:1])]
    for name in sent:
        await asking.signal("event", {"name": name, "id": address, "data": data.get(name, {})})
    return sent


def is_paused(address: str) -> InputError:
    """Why a run has no end in which a node, or a compensation, has failed and waits for an operator."""
    return InputError(
        "the run has no end: it is paused, and waits for an operator",
        place=f"node {address!r}",
        suggestion="give --outcomes with which it does not fail",
    )


def _not_accepted(address: str, names: Sequence[str]) -> InputError:
    return InputError(
        f"the run waits for an event: what was sent as {' and '.join(map(repr, names))} the node does not accept",
        place=f"node {address!r}",
        suggestion=_event(names),
    )


def _event(names: Sequence[str]) -> str:
    return (
        "give data in --outcomes for which its `accept` and `correlate` hold: {node: {events: {" + names[0] + ": {…}}}}"
    )


def _is_busy(status: Mapping[str, Any], waiting: Mapping[str, object]) -> bool:
    """Whether something goes on in a run beside what waits for somebody."""
    if (state := str(status["status"])) in {"compensating", "completed", "failed", "cancelled"}:
        return state == "compensating"
    return any(
        not (node["status"] in _OVER or node["type"] in _AROUND or address in waiting)
        for address, node in status["nodes"].items()
    )
