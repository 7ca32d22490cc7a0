"""The graphs of a folder: what their API tells, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from anabranch.console.access.access import Access
from anabranch.settings import Settings
from tests.console.kit import BO, CY, OWN, TOKENS, asking, bearer

REFUND = """name: refund
version: 2.1.0
description: <script>alert(1)</script>
inputs:
  order: {type: object, required: [id], properties: {id: {type: string}, amount: {maximum: 12345678901234567890}}}
  reason: {type: string, default: late}
nodes:
  approve: {type: approval, prompt: "<img src=x onerror=alert(2)>"}
  pay: {type: rule, rules: [{then: {paid: true}}]}
edges:
  - {from: approve, to: pay}
"""
BROKEN = "name: broken\\nnodes:\\n  a: {type: htpp}\\n".replace("\\n", "\n")
TESTS = """graph: ../refund.yaml
tests:
  - name: the money goes back
    input: {order: {id: A-1}}
    outcomes: {approve: {answer: {approved: true}}}
    expect: {status: completed}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "refund.yaml").write_text(REFUND)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/broken.yaml").write_text(BROKEN)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/refund.test.yaml").write_text(TESTS)
    return tmp_path


@pytest.fixture
async def console(folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with asking(Access(login="ada"), Settings(graphs=folder)) as client:
        yield client


async def test_the_graphs_of_a_folder_are_listed_with_those_that_cannot_run(console: httpx2.AsyncClient) -> None:
    listed = (await console.get("/api/graphs")).json()["graphs"]
    assert [(each["name"], each["nodes"], each["errors"]) for each in listed] == [
        ("refund", 2, 0),
        ("sub/broken.yaml", None, 1),
    ]


async def test_a_problem_names_its_line(console: httpx2.AsyncClient) -> None:
    found = (await console.get("/api/graphs/one/sub/broken.yaml")).json()
    [problem] = found["problems"]
    assert (problem["code"], problem["line"], problem["is_warning"]) == ("NODE_TYPE_UNKNOWN", 3, False)
    assert found["text"] == BROKEN
    assert found["picture"] is None


async def test_its_inputs_are_one_schema_whose_numbers_keep_every_digit(console: httpx2.AsyncClient) -> None:
    text = (await console.get("/api/graphs/one/refund")).json()["inputs"]
    assert "12345678901234567890" in text
    schema = json.loads(text)
    assert list(schema["properties"]) == ["order", "reason"]
    assert schema["required"] == ["order"]


async def test_a_picture_holds_text_of_graphs_as_text(console: httpx2.AsyncClient) -> None:
    picture = (await console.get("/api/graphs/one/refund")).json()["picture"]
    assert "<script" not in picture
    assert "<img" not in picture
    assert "&lt;img src=x" in picture


async def test_what_the_tests_of_a_graph_cover_is_told(console: httpx2.AsyncClient) -> None:
    played = (await console.get("/api/graphs/tests/refund")).json()
    assert (played["tests"], played["failed"]) == (1, [])
    assert played["shares"]["nodes"] == {"covered": 2, "total": 2, "missing": []}


async def test_an_edited_file_shows_as_it_is_now(console: httpx2.AsyncClient, folder: Path) -> None:
    assert (await console.get("/api/graphs")).json()["graphs"][0]["version"] == "2.1.0"
    (folder / "refund.yaml").write_text(REFUND.replace("2.1.0", "2.2.0-rc"))
    (folder / "sub/broken.yaml").unlink()
    [only] = (await console.get("/api/graphs")).json()["graphs"]
    assert (only["name"], only["version"]) == ("refund", "2.2.0-rc")


async def test_without_a_folder_there_are_no_graphs(tmp_path: Path) -> None:
    async with asking(Access(login="ada"), Settings(graphs=tmp_path / "none")) as client:
        assert (await client.get("/api/graphs")).json() == {"graphs": []}
        assert (await client.get("/api/graphs/one/refund")).status_code == 404


@pytest.mark.parametrize("name", ["nowhere", "../refund", "refund.yaml", "%2e%2e/etc/passwd"])
async def test_a_name_that_is_no_graphs_is_not_found(console: httpx2.AsyncClient, name: str) -> None:
    refused = await console.get(f"/api/graphs/one/{name}")
    assert refused.status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "INPUT_INVALID"),
        ({"input": "[1]"}, 400, "INPUT_INVALID"),
        ({"input": "{"}, 400, "INPUT_INVALID"),
        ({"input": "{}"}, 400, "INPUT_MISSING"),
        ({"input": '{"order": {}}'}, 422, "SCHEMA_VIOLATION"),
        ({"input": '{"order": {"id": "A"}, "run": 1}'}, 400, "NAME_RESERVED"),
    ],
)
async def test_an_input_that_the_graph_refuses_starts_nothing(
    console: httpx2.AsyncClient, body: dict[str, str], status: int, code: str
) -> None:
    refused = await console.post("/api/graphs/start/refund", json=body, headers=OWN)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)


async def test_each_write_takes_its_role(folder: Path) -> None:
    item = {"workflow_id": "a", "run_id": "b", "node": "n"}
    async with asking(Access(TOKENS), Settings(graphs=folder)) as client:
        for path, body, token in (
            ("/api/graphs/start/refund", {"input": "{}"}, BO),
            ("/api/runs/cancel", {"runs": [item]}, BO),
            ("/api/inbox/tell", {"verb": "retry", "items": [item]}, BO),
            ("/api/inbox/tell", {"verb": "answer", "items": [item], "value": "1"}, CY),
        ):
            refused = await client.post(path, json=body, headers={**OWN, **bearer(token)})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "ROLE_MISSING"), path


@pytest.mark.parametrize("body", [{}, {"runs": []}, {"runs": [1]}, {"runs": [{"workflow_id": "a"}]}, {"runs": "all"}])
async def test_a_cancel_names_its_runs(console: httpx2.AsyncClient, body: dict[str, object]) -> None:
    assert (await console.post("/api/runs/cancel", json=body, headers=OWN)).status_code == 400
