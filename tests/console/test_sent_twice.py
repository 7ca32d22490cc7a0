"""What a form sends twice is carried out once, and answered alike; another form means something else."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect
from temporalio.client import WorkflowHandle

from tests.console.house import House, house

START = "/api/graphs/start/pricing"
TELL = "/api/inbox/tell"


pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def console(chromium: str) -> AsyncIterator[House]:
    async with house(chromium) as found:
        yield found
        assert found.wrongs == []


def place(handle: WorkflowHandle[Any, Any], node: str) -> dict[str, str]:
    return {"workflow_id": handle.id, "run_id": handle.result_run_id or "", "node": node}


async def updates(handle: WorkflowHandle[Any, Any]) -> Counter[str]:
    """The updates that a run has taken, by name."""
    events = (await handle.fetch_history()).events
    taken = [
        each.workflow_execution_update_accepted_event_attributes.accepted_request.input.name
        for each in events
        if each.HasField("workflow_execution_update_accepted_event_attributes")
    ]
    return Counter(taken)


@pytest.mark.parametrize("given", [{}, {"workflow_id": "twice/given"}])
async def test_a_start_that_is_sent_twice_is_one_run(console: House, given: dict[str, str]) -> None:
    body = {"input": "{}", "request_id": f"form-{given}", **given}
    begun = await asyncio.gather(*(console.tell(START, body) for _ in range(3)))
    assert begun == [begun[0]] * 3
    handle = console.client.get_workflow_handle(begun[0]["workflow_id"])
    await handle.terminate()
    assert await console.tell(START, body) == begun[0]
    another = await console.tell(START, {**body, "request_id": "another"})
    assert another["run_id"] != begun[0]["run_id"]
    assert (another["workflow_id"] == begun[0]["workflow_id"]) == bool(given)


async def test_another_input_of_the_same_form_is_another_run(console: House) -> None:
    orders = [json.dumps({"order": {"id": each, "amount": 3}}) for each in ("A-1", "A-2", "A-1")]
    begun = [
        await console.tell("/api/graphs/start/refund", {"input": order, "request_id": "orders"}) for order in orders
    ]
    assert begun[0] == begun[2] != begun[1]


async def test_a_start_under_the_id_of_another_run_is_refused(console: House) -> None:
    body = {"input": "{}", "workflow_id": "taken", "request_id": "one"}
    await console.tell(START, body)
    for other in ({"request_id": "two"}, {"request_id": ""}):
        refused = await console.http.post(START, json={**body, **other})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "RUN_EXISTS")
    wrongs: list[dict[str, Any]] = [{"request_id": "x" * 101}, {"request_id": 1}, {"workflow_id": {}}]
    for wrong in wrongs:
        refused = await console.http.post(START, json={**body, **wrong})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INPUT_INVALID")


async def test_a_start_whose_answer_is_lost_is_sent_again_and_shows_the_run(console: House) -> None:
    begun: list[dict[str, str]] = []

    async def lose(route: Route) -> None:
        begun.append(await (await route.fetch()).json())
        await route.abort()

    async with console.page("/graphs/pricing") as page:
        await page.route("**/api/graphs/start/**", lose, times=1)
        await page.get_by_role("button", name="Start a run").click()
        dialog = page.get_by_role("dialog", name="Start pricing")
        await dialog.get_by_role("button", name="Start", exact=True).click()
        await expect(dialog.get_by_text("The console does not answer")).to_be_visible()
        await dialog.get_by_role("button", name="Start", exact=True).click()
        await page.wait_for_url(f"**/runs/{begun[0]['workflow_id']}?run_id={begun[0]['run_id']}")


async def test_an_answer_that_is_sent_twice_is_told_once_even_where_it_ended_the_run(console: House) -> None:
    handles = await console.refunds("twice", 2)
    await console.until_waiting("twice", 2)
    items = [place(each, "approve") for each in handles]
    body = {"verb": "answer", "value": '{"approved": true}', "items": items, "request_id": "answers"}
    assert await console.tell(TELL, body) == {"done": 2, "refused": []}
    for handle in handles:
        await asyncio.wait_for(handle.result(), 60)
    assert await console.tell(TELL, body) == {"done": 2, "refused": []}
    other = await console.tell(TELL, {**body, "value": '{"approved": false}'})
    assert (other["done"], len(other["refused"])) == (0, 2)
    assert [await updates(each) for each in handles] == [{"complete_task": 1}] * 2


async def until_paused(console: House, since: int) -> int:
    """When the node paused that is not that of an earlier time."""
    for _ in range(600):
        if (asked := int((await console.until_waiting("paused-twice", 1))[0]["asked"])) != since:
            return asked
        await asyncio.sleep(0.1)
    raise AssertionError("the node does not pause again")


async def test_a_node_that_pauses_again_is_tried_again_once_by_one_form(console: House) -> None:
    run = await console.start("shipping", name="paused-twice")
    asked = await until_paused(console, since=0)
    body = {"verb": "retry", "items": [place(run, "book")]}
    for form in ("first", "second"):
        for _ in range(2):
            assert await console.tell(TELL, {**body, "request_id": form}) == {"done": 1, "refused": []}
        asked = await until_paused(console, since=asked)
    assert await updates(run) == {"retry_node": 2}


async def test_an_event_without_an_id_is_given_one_that_is_that_of_the_form(console: House) -> None:
    run = await console.start("pickup", name="sent-twice")
    event = {"verb": "deliver", "value": '{"name": "lost"}', "items": [place(run, "parcel")], "request_id": "events"}
    await console.tell(TELL, event)
    await asyncio.wait_for(run.result(), 60)
    signals = [
        json.loads(each.workflow_execution_signaled_event_attributes.input.payloads[0].data)
        for each in (await run.fetch_history()).events
        if each.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert [(each["name"], len(each["id"])) for each in signals] == [("lost", 32)]
