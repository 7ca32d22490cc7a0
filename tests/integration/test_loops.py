"""Loops on a real server: conditions, limits, collected values, and items that fail."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import WorkflowFailureError

from tests.integration.graph_kit import (
    MODES,
    PATIENCE,
    Served,
    chain,
    halves,
    leaf,
    put,
    scheduled,
    until_status,
)

pytestmark = pytest.mark.parametrize("mode", [MODES[1]], indirect=False)


async def test_a_loop_until_a_condition_holds_collects_what_its_turns_came_to_and_warns_at_its_limit(
    served: Served,
) -> None:
    body = chain(grow=put(n="{{ n * 2 }}", said="turn {{ turn }}"))
    found = {"type": "while", "until": "n > 20", "body": body, "collect": {"into": "told", "value": "[said, n]"}}
    stopped = {"type": "while", "until": "false", "body": body, "max_iterations": 2, "on_limit": "continue"}
    result = await served.run(chain(found=found, stopped=stopped), {"n": 3})
    told = [["turn 1", 6], ["turn 2", 12], ["turn 3", 24]]
    assert result["data"] == {"n": 12, "said": "turn 2", "told": told}
    assert result["warnings"] == [
        {"by": "stopped", "warning": "`until` does not hold after max_iterations = 2 turns"},
    ]


async def test_items_that_fail_are_undone_listed_and_told_of_and_the_others_go_on(served: Served) -> None:
    body = chain(
        reserve={**put(reserved="{{ item }}"), "compensate": put()},
        check={"type": "wait", "for": "{{ item == 2 ? 'never' : '0s' }}"},
        ship={**put(shipped="{{ index }}"), "when": "item != 3"},
    )
    each = {
        "type": "foreach",
        "items": "[1, 2, 3]",
        "body": body,
        "on_item_failure": "collect",
        "tolerate": "50%",
        "failed": "bad",
        "collect": {"into": "shipped", "value": "shipped", "when": "has(context.shipped)"},
    }
    nothing = {"nodes": {"never": {**put(x=1), "when": "false"}}}
    idle = {"type": "foreach", "items": "[1, 2]", "body": nothing, "collect": {"into": "none", "value": "context.x"}}
    handle = await served.start(chain(each=each, idle=idle))
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    (bad,) = result["data"]["bad"]
    assert (bad["index"], bad["item"], bad["error"]["node"], bad["error"]["type"]) == (
        1,
        2,
        "each[1]/check",
        "EXPRESSION_FAILED",
    )
    assert (result["data"]["shipped"], result["data"]["none"]) == ([0], [])
    assert result["warnings"] == [
        {"by": "each", "warning": "1 of 3 items failed: each[1] (EXPRESSION_FAILED)"},
    ]
    status = await handle.query("status")
    assert status["nodes"]["each"]["items"] == {"all": 3, "done": 2, "failed": 1, "running": 0}
    assert status["nodes"]["idle"]["items"] == {"all": 2, "done": 2, "failed": 0, "running": 0, "skipped": 2}
    assert status["compensated"] == ["each[1]/reserve"]


async def test_batches_are_one_activity_each_and_list_the_items_that_failed(served: Served) -> None:
    handle = await served.start({"nodes": {"each": halves(7, 3)}})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"]["halves"] == [0, 1, 2, 3]
    assert [(each["index"], each["item"], each["error"]["message"]) for each in result["data"]["odd"]] == [
        (1, 1, "1 is odd"),
        (3, 3, "3 is odd"),
        (5, 5, "5 is odd"),
    ]
    assert list(await scheduled(served.client, handle)) == [f"each[{turn}]/halve" for turn in range(3)]
    status = await handle.query("status")
    assert status["nodes"]["each"]["items"] == {"all": 7, "done": 4, "failed": 3, "running": 0}


async def test_a_run_that_is_cancelled_undoes_its_batches_those_with_failed_items_too(served: Served) -> None:
    undone = {**leaf("halve", args={"numbers": "{{ items }}"}), "compensate": put()}
    body = chain(halve=undone, nap={"type": "wait", "for": "{{ index == 0 ? '0s' : '1h' }}"})
    handle = await served.start({"nodes": {"each": halves(4, 2, body=body, max_concurrency=1)}})
    status = await until_status(handle, "each[1]/nap", "waiting")
    assert status["nodes"]["each"]["items"] == {"all": 4, "done": 1, "failed": 1, "running": 2}
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert (await handle.query("status"))["compensated"] == ["each[1]/halve", "each[0]/halve"]
