"""What the page tells a run is checked first: who may, whether it waits for that, and whether the answer fits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from anabranch.console.access.access import Access
from tests.console.kit import ADA, BO, CY, OWN, TOKENS, bearer
from tests.console.recorded import looking, recorded


@pytest.fixture
async def console() -> AsyncIterator[httpx2.AsyncClient]:
    async with looking(recorded("saga", people=24, operated=14), Access(tokens=TOKENS)) as asking:
        yield asking


async def told(console: httpx2.AsyncClient, path: str, body: dict[str, Any], token: str = ADA) -> tuple[int, str]:
    answer = await console.post(f"/api/run/{path}", json=body, headers={**OWN, **bearer(token)})
    return answer.status_code, answer.json()["error"]["message"]


CHOICE = {"node": "join", "path": "x", "choose": "left"}


@pytest.mark.parametrize(
    ("path", "body", "token", "refusal"),
    [
        ("resolve/people", CHOICE, CY, (403, "this needs the role 'answerer', and 'cy' has 'viewer'")),
        ("retry/operated", {"node": "again"}, BO, (403, "this needs the role 'operator', and 'bo' has 'answerer'")),
        ("deliver/people", {"value": '{"name": "x"}'}, BO, (403, "this needs the role 'operator', and 'bo' has")),
        ("deliver/people", {"value": "1"}, ADA, (400, "the signal takes one JSON object with a `name`")),
        ("deliver/people", {"value": '{"name": "x", "by": "eve"}'}, ADA, (400, "an event has no field 'by' here")),
        ("cancel/operated", {"undoes": []}, BO, (403, "this needs the role 'operator', and 'bo' has 'answerer'")),
        ("resolve/nobody", CHOICE, ADA, (404, "the server has no run 'nobody'")),
        ("answer/saga", {"node": "ask", "value": "{}"}, ADA, (409, "the run is over")),
        ("cancel/saga", {"undoes": []}, ADA, (409, "the run is over")),
        ("resolve/people", CHOICE | {"node": "start"}, ADA, (409, "no conflict waits at node 'start'")),
        ("resolve/people", CHOICE | {"choose": "nobody"}, ADA, (422, "'nobody' is none of the candidates")),
        ("resolve/people", CHOICE | {"value": "1"}, ADA, (422, "`choose` and `value` contradict each other")),
        ("resolve/people", {"node": "join", "path": "x", "value": "NaN"}, ADA, (400, "this is not JSON")),
        ("resolve/people", {"node": "join"}, ADA, (400, "`path` is missing")),
        ("answer/people", {"node": "ask", "value": 1}, ADA, (400, "a value is the text of its JSON")),
        ("skip/operated", {"node": "start"}, ADA, (409, "node 'start' is not paused")),
        ("retry/operated", {"node": "again", "set": {"a": "{"}}, ADA, (400, "this is not JSON")),
        ("retry/operated", {"node": "again", "set": []}, ADA, (400, "it is an object of paths")),
        ("retry/operated", {"node": "again", "removed": "x"}, ADA, (422, "`changes` is an object of paths and values")),
        ("cancel/operated", {"undoes": ["again"]}, ADA, (409, "the run has gone on")),
        (
            "retry/operated",
            {"node": "again", "update_id": "x" * 101},
            ADA,
            (400, "it is a text of at most 100 characters"),
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_before_it_is_sent(
    console: httpx2.AsyncClient, path: str, body: dict[str, Any], token: str, refusal: tuple[int, str]
) -> None:
    status, message = await told(console, path, body, token)
    assert (status, message[: len(refusal[1])]) == refusal, message


async def test_a_page_of_another_origin_tells_a_run_nothing(console: httpx2.AsyncClient) -> None:
    headers = {"Origin": "http://evil.example", **bearer(ADA)}
    answer = await console.post("/api/run/pause/people", json={}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "ORIGIN_REFUSED")


async def test_a_rerun_is_planned_before_it_is_started(console: httpx2.AsyncClient) -> None:
    headers = {**OWN, **bearer(ADA)}
    body = {"from": ["ship"], "set": {"n": "9007199254740993"}}
    answer = await console.post("/api/run/rerun-plan/saga", json=body, headers=headers)
    plan = answer.json()
    assert answer.status_code == 200, plan
    assert (plan["from"], plan["undone_before"]) == (["ship"], ["charge", "reserve"])
    assert plan["set"] == [["n", "9007199254740993"]]


@pytest.mark.parametrize(
    ("path", "body", "token", "refusal"),
    [
        ("rerun-plan/saga", {}, ADA, (400, "a rerun says from where")),
        ("rerun-plan/saga", {"from": "ship"}, ADA, (400, "it is a list of texts")),
        ("rerun/saga", {"from": ["nobody"]}, ADA, (400, "")),
        ("rerun/nobody", {"failed": True}, ADA, (404, "the server has no run 'nobody'")),
        ("rerun/people", {"from": ["join"]}, ADA, (409, "")),
        ("rerun/saga", {"from": ["ship"]}, BO, (403, "this needs the role 'operator', and 'bo' has 'answerer'")),
    ],
)
async def test_what_cannot_be_run_again_is_refused(
    console: httpx2.AsyncClient, path: str, body: dict[str, Any], token: str, refusal: tuple[int, str]
) -> None:
    status, message = await told(console, path, body, token)
    assert (status, message[: len(refusal[1])]) == refusal, message
