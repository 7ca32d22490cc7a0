"""What the page of a run reads: everything at once, and at any moment what explains it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.console.recorded import looking, recorded


@pytest.fixture
async def console() -> AsyncIterator[httpx2.AsyncClient]:
    async with looking(
        recorded("saga", "diamond_with_conflicts", "bodies", "node_types", "approval_by_many", "received", people=24)
    ) as asking:
        yield asking


async def read(console: httpx2.AsyncClient, path: str) -> Any:
    answer = await console.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(console: httpx2.AsyncClient, path: str) -> tuple[int, str]:
    answer = await console.get(path)
    return answer.status_code, answer.json()["error"]["message"]


async def test_a_snapshot_has_the_header_the_drawing_the_frames_and_the_versions(console: httpx2.AsyncClient) -> None:
    found = await read(console, "/api/run/snapshot/saga")
    header = found["header"]
    assert (header["workflow_id"], header["status"], header["end"]["kind"]) == ("saga-0", "failed", "failed")
    assert header["end"]["error"]["compensated"] == ["charge", "reserve"]
    assert (len(found["frames"]), len(found["versions"])) == (6, 6)
    assert found["canvas"]["drawing"].count('data-address="') == 5
    assert {card["address"] for card in found["canvas"]["cards"]} >= {"ship", "reserve/compensate"}


async def test_a_node_tells_what_it_read_and_wrote_and_how_its_attempts_went(console: httpx2.AsyncClient) -> None:
    charge = await read(console, "/api/run/node/saga?address=charge")
    assert charge["visit"]["error"] is None
    assert charge["wrote"][0]["changes"] == [{"path": "charged", "before": None, "after": "true"}]
    assert charge["saga"] == "compensated"
    ship = await read(console, "/api/run/node/saga?address=ship")
    assert ship["activities"][0]["failure"] == {"code": "NO_STOCK", "message": "no stock"}
    assert ship["events"] == [18, 19, 20]


async def test_a_node_at_an_earlier_frame_has_not_done_yet_what_it_did_later(console: httpx2.AsyncClient) -> None:
    earlier = await read(console, "/api/run/node/saga?address=charge&at=10")
    assert "ended" not in earlier["visit"]
    assert earlier["wrote"] == []
    assert [sorted(each) for each in earlier["activities"]] == [["event", "queue", "scheduled"]]
    assert (await read(console, "/api/run/node/saga?address=ship&at=10"))["visits"] == []


async def test_an_approval_tells_whom_it_asked_how_often_and_who_has_answered_by_then(
    console: httpx2.AsyncClient,
) -> None:
    found = await read(console, "/api/run/snapshot/approval_by_many")
    notes = [card["note"] for each in found["frames"] if "note" in (card := each.get("cards", {}).get("ask", {}))]
    assert notes == [
        "0 of 2 answered",
        "0 of 2 answered · 1 reminder · escalated",
        "1 of 2 answered · 1 reminder · escalated",
        "1 of 2 answered · 2 reminders · escalated",
        "1 of 2 answered · 2 reminders, 1 failed · escalated",
        "1 of 2 answered · 2 reminders, 2 failed · escalated",
    ]
    begun = (await read(console, "/api/run/node/approval_by_many?address=ask&at=5"))["question"]
    assert (begun["is_open"], begun["given"], begun["reminders"]["sent"]) == (True, [], 0)
    assert "at" in begun["escalation"]
    ended = (await read(console, "/api/run/node/approval_by_many?address=ask"))["question"]
    assert (ended["is_open"], [each["by"] for each in ended["given"]]) == (False, ["ann"])
    assert ended["reminders"] == {"sent": 0, "times": 2, "failed": 2}
    assert ended["groups"] == ["directors"]
    assert (await read(console, "/api/run/node/approval_by_many?address=end"))["question"] is None


async def test_a_node_that_receives_tells_what_it_waits_for_and_what_came(console: httpx2.AsyncClient) -> None:
    asked = await read(console, "/api/run/node/received?address=large&at=48")
    assert (asked["awaits"]["names"], asked["awaits"]["needs_all"]) == (["paid"], False)
    took = await read(console, "/api/run/node/received?address=large")
    assert (took["awaits"], took["visit"]["received"]) == (None, ["event paid with the id q7"])


async def test_a_merge_tells_its_candidates_and_what_was_chosen(console: httpx2.AsyncClient) -> None:
    found = await read(console, "/api/run/snapshot/diamond_with_conflicts")
    conflicts = [each for version in found["versions"] for each in version.get("conflicts", ())]
    assert {each["path"]: each["choice"] for each in conflicts}["total"] == "17"


async def test_the_context_is_that_of_the_moment(console: httpx2.AsyncClient) -> None:
    assert (await read(console, "/api/run/context/saga?at=10&path=reserved"))["value"] == "true"
    assert await refused(console, "/api/run/context/saga?path=reserved") == (404, "there is nothing at 'reserved'")


async def test_blame_names_the_last_writer_of_each_path(console: httpx2.AsyncClient) -> None:
    found = await read(console, "/api/run/blame/saga?at=16")
    assert {each["path"]: each["by"] for each in found["paths"]} == {
        "n": "input",
        "reserved": "reserve",
        "charged": "charge",
    }


async def test_why_goes_back_to_the_input_and_tells_why_a_node_ran(console: httpx2.AsyncClient) -> None:
    found = await read(console, "/api/run/why/saga?at=16&path=charged")
    assert next(cause["by"] for cause in found["causes"]) == "charge"
    assert (await read(console, "/api/run/why/saga?node=ship"))["status"] == "failed"
    assert (await refused(console, "/api/run/why/saga"))[0] == 400


async def test_the_undo_plan_is_that_of_the_moment(console: httpx2.AsyncClient) -> None:
    plan = await read(console, "/api/run/undo-plan/saga?at=16")
    assert [step["address"] for step in plan["steps"]] == ["charge", "reserve"]
    assert (await read(console, "/api/run/undo-plan/saga"))["is_over"] is True


async def test_what_waits_for_people_is_in_the_header(console: httpx2.AsyncClient) -> None:
    header = (await read(console, "/api/run/snapshot/people"))["header"]
    assert [each["kind"] for each in header["todo"]] != []


@pytest.mark.parametrize("what", ["snapshot", "node", "context", "blame", "why", "undo-plan"])
async def test_a_run_that_is_not_there_is_not_found(console: httpx2.AsyncClient, what: str) -> None:
    assert await refused(console, f"/api/run/{what}/nobody") == (404, "the server has no run 'nobody'")


@pytest.mark.parametrize("moment", ["x", "-1", "1e3", "9999999999", "٣"])
async def test_a_moment_that_is_not_a_number_is_refused(console: httpx2.AsyncClient, moment: str) -> None:
    assert (await refused(console, f"/api/run/context/saga?at={moment}"))[0] == 400


async def test_a_workflow_id_may_have_slashes_and_the_name_of_a_route(console: httpx2.AsyncClient) -> None:
    assert await refused(console, "/api/run/snapshot/a%2Fb/live") == (404, "the server has no run 'a/b/live'")
    page = await console.get("/runs/a%2Fb/live")
    assert (page.status_code, "a/b/live · Anabranch" in page.text) == (200, True)
