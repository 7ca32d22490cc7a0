"""Approvals by several people, reminders and escalation, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import CancelledError

from tests.integration.graph_kit import (
    MODES,
    PATIENCE,
    Handle,
    Served,
    attempts,
    chain,
    events,
    gate,
    leaf,
    put,
    scheduled,
    until,
    until_status,
)

SCHEMA = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}
TWO: dict[str, Any] = {"type": "approval", "prompt": "Pay?", "schema": SCHEMA, "answers": 2}


async def say(handle: Handle, by: str | None, *, approved: bool = True) -> Any:
    name = {} if by is None else {"by": by}
    return await handle.execute_update("complete_task", {"node": "ask", "answer": {"approved": approved}, **name})


async def asked(handle: Handle) -> Any:
    return (await handle.query("status"))["approvals"]["ask"]


async def until_shown(handle: Handle, fits: Callable[[Any], bool]) -> Any:
    """The query `status`, once it is so."""
    status: Any = None
    for _ in range(600):
        if fits(status := await handle.query("status")):
            return status
        await asyncio.sleep(0.05)
    raise AssertionError(status)


async def reminded(served: Served, handle: Handle, *names: str) -> None:
    """Wait until people are told by these notices."""
    for _ in range(600):
        if not {*names} - (await scheduled(served.client, handle)).keys():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(names)


async def refusal(handle: Handle, by: str | None) -> tuple[str, str]:
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await say(handle, by)
    cause: Any = failed.value.cause
    return cause.type, cause.message


@pytest.mark.parametrize("served", MODES, indirect=True)
async def test_two_different_people_have_to_agree(served: Served) -> None:
    handle = await served.start(chain(ask={**TWO, "assignee": ["ann", "bo"]}, after=put(paid=True)))
    await until_status(handle, "ask", "waiting")
    assert await refusal(handle, None) == (
        "INPUT_INVALID",
        "node 'ask': several people answer, and nobody is named (say who answers: `by`)",
    )
    assert await say(handle, "ann") == {"node": "ask", "answers": 1, "needed": 2}
    assert await refusal(handle, "ann") == (
        "ALREADY_ANSWERED",
        "node 'ask': 'ann' has answered, and 2 people have to (let somebody else answer)",
    )
    assert [each["by"] for each in (await asked(handle))["answers"]["given"]] == ["ann"]
    assert await say(handle, "cy") == {"node": "ask", "answers": 2, "needed": 2}
    data = (await asyncio.wait_for(handle.result(), PATIENCE))["data"]
    assert (data["approved"], data["paid"]) == (True, True)
    assert [(each["by"], each["answer"]) for each in data["answers"]] == [
        ("ann", {"approved": True}),
        ("cy", {"approved": True}),
    ]
    assert (await handle.query("status"))["decisions"] == {"ask": {"did": "answered", "by": "ann, cy"}}
    (version,) = (each for each in await handle.query("history") if each["by"] == "ask")
    assert version["answered_by"] == "ann, cy"


async def test_one_who_says_no_ends_the_question(served: Served) -> None:
    handle = await served.start(chain(ask=TWO))
    await until_status(handle, "ask", "waiting")
    await say(handle, "ann", approved=False)
    data = (await asyncio.wait_for(handle.result(), PATIENCE))["data"]
    assert (data["approved"], len(data["answers"])) == (False, 1)


async def test_of_two_who_answer_at_once_by_one_name_one_is_heard(served: Served) -> None:
    handle = await served.start(chain(ask={**TWO, "answers": 3}))
    await until_status(handle, "ask", "waiting")
    told = await asyncio.gather(*(say(handle, "ann") for _ in range(4)), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in told) == 1
    assert (await asked(handle))["answers"]["given"][1:] == []
    await handle.terminate()


@pytest.mark.parametrize("served", MODES, indirect=True)
async def test_people_are_reminded_until_somebody_answers(served: Served) -> None:
    told = put(seen="{{ question.reminder }}")
    remind = {"after": "50ms", "every": "50ms", "times": 2, "node": told}
    escalate = {"after": "150ms", "to": {"groups": ["directors"]}, "node": told}
    handle = await served.start(chain(ask={**TWO, "answers": 1, "remind": remind, "escalate": escalate}))
    names = {"reminder 1 of ask", "reminder 2 of ask", "escalation of ask"}
    await reminded(served, handle, *names)
    found = await asked(handle)
    assert (found["reminders"], found["groups"]) == ({"sent": 2, "times": 2}, ["directors"])
    assert "escalated" in found["escalation"]
    await say(handle, "ann")
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"approved": True}


async def test_an_answer_cancels_what_is_still_to_come(served: Served) -> None:
    remind = {"after": "1h", "node": put()}
    handle = await served.start(chain(ask={**TWO, "answers": 1, "remind": remind}, nap={"type": "wait", "for": "50ms"}))
    await until_status(handle, "ask", "waiting")
    await say(handle, "ann")
    await asyncio.wait_for(handle.result(), PATIENCE)
    kinds = [each.event_type for each in await events(handle)]
    assert kinds.count(EventType.EVENT_TYPE_TIMER_CANCELED) == 2  # of the question, and of its reminder


async def test_a_reminder_that_fails_changes_nothing_of_the_run(served: Served) -> None:
    broken = leaf("break", args={"name": "reminding", "how": "typed"}, retry={"max_attempts": 1})
    remind = {"after": "20ms", "node": broken}
    handle = await served.start(chain(ask={**TWO, "answers": 1, "remind": remind}))
    (warning,) = (await until_shown(handle, lambda status: bool(status.get("warnings"))))["warnings"]
    assert (warning["by"], warning["warning"].startswith("reminder 1 of ask was not sent: ")) == ("ask", True)
    await say(handle, "ann")
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"approved": True}


async def test_a_reminder_under_way_is_cancelled_by_the_answer(served: Served) -> None:
    async with gate("reminded") as opened:
        remind = {"after": "20ms", "node": leaf("pass_gate", args={"name": "reminded"})}
        handle = await served.start(chain(ask={**TWO, "answers": 1, "remind": remind}))
        await until(lambda: attempts["reminded"] > 0)  # what else comes just then may have the run's end refused
        await say(handle, "ann")
        assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"approved": True}
        opened.set()


async def test_a_paused_run_reminds_nobody(served: Served) -> None:
    # A hundred are the most: slow enough for some to be left whenever the machine gets to it.
    remind = {"after": "400ms", "every": "400ms", "times": 100, "node": put()}
    handle = await served.start(chain(ask={**TWO, "remind": remind}))
    await until_status(handle, "ask", "waiting")
    await handle.signal("pause")
    await until_shown(handle, lambda status: status["status"] == "paused")
    told, sent = len(await scheduled(served.client, handle)), (await asked(handle))["reminders"]["sent"]
    await until_shown(handle, lambda status: status["approvals"]["ask"]["reminders"]["sent"] >= sent + 3)
    assert len(await scheduled(served.client, handle)) == told
    await handle.signal("resume")
    for _ in range(600):
        if len(await scheduled(served.client, handle)) > told:
            break
        await asyncio.sleep(0.05)
    assert f"reminder {sent + 1} of ask" not in await scheduled(served.client, handle)  # nor is every one made up for
    await handle.terminate()


async def test_a_cancelled_run_leaves_no_reminder(served: Served) -> None:
    remind = {"after": "1h", "node": put()}
    handle = await served.start(chain(ask={**TWO, "remind": remind}))
    await until_status(handle, "ask", "waiting")
    await say(handle, "ann")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert isinstance(failed.value.cause, CancelledError)
    assert {each.event_type for each in await events(handle)} >= {EventType.EVENT_TYPE_TIMER_CANCELED}
