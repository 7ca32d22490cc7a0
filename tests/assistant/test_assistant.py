"""What the assistant's tools answer and refuse; the client is the SDK's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent

from anabranch.assistant import server as assistant
from anabranch.assistant.explaining import explained
from anabranch.assistant.server import assistant_server
from anabranch.errors import InputError
from anabranch.settings import settings_from_environment
from tests.docs.pages import pages

ORDER = """\
name: order
inputs: {quantity: {type: integer}}
nodes:
  check: {type: rule, rules: [{when: quantity > 0, then: {accepted: true}}]}
  pay: {type: http, url: "https://shop.example/pay", method: POST}
edges:
  - {from: check, to: pay}
"""


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "order.yaml").write_text(ORDER, encoding="utf-8")
    (folder / "broken.yaml").write_text("name: broken\nnodes: {a: {type: rul}}\n", encoding="utf-8")
    (tmp_path / "outside.yaml").write_text("name: outside\nnodes: {a: {type: stop}}\n", encoding="utf-8")
    (folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    return folder


def told(result: object) -> Any:
    """The answer of a tool, or its error."""
    assert isinstance(result, CallToolResult)
    (content,) = result.content
    assert isinstance(content, TextContent)
    found = json.loads(content.text)
    assert result.structured_content == {"error" if result.is_error else "result": found}
    return found


async def asked(folder: Path, tool: str, **arguments: Any) -> Any:
    """What one call comes to."""
    async with Client(assistant_server(settings_from_environment(graphs=folder), allow_writes=False)) as client:
        return told(await client.call_tool(tool, arguments))


@pytest.mark.parametrize("writes", [False, True])
async def test_what_changes_something_is_there_only_if_it_was_asked_for(graphs: Path, writes: bool) -> None:
    async with Client(assistant_server(settings_from_environment(graphs=graphs), allow_writes=writes)) as client:
        tools = {each.name: each.annotations for each in (await client.list_tools()).tools}
        refused = await client.call_tool("start_run", {"graph": "order", "data": {}})
    changing = [name for name, hints in tools.items() if hints is None or not hints.read_only_hint]
    assert changing == (["start_run", "answer"] if writes else [])
    assert isinstance(refused, CallToolResult)
    assert refused.is_error
    assert (refused.structured_content is None) is not writes  # else it is the input that is refused


async def test_graphs_are_listed_with_what_they_need_and_broken_ones_with_what_is_wrong(graphs: Path) -> None:
    (graphs / "link.yaml").unlink()
    broken, order = await asked(graphs, "list_graphs")
    assert (order["name"], order["file"], order["inputs"]) == ("order", "order.yaml", ["quantity"])
    assert [(each["code"], each["file"], each["line"]) for each in broken["problems"]] == [
        ("NODE_TYPE_UNKNOWN", "broken.yaml", 2)
    ]


async def test_a_graph_is_validated_by_its_name_by_its_file_and_by_a_text(graphs: Path) -> None:
    assert (await asked(graphs, "validate", graph="order"))["valid"] is True
    wrong = await asked(graphs, "validate", graph="broken.yaml")
    assert (wrong["valid"], wrong["problems"][0]["suggestion"]) == (False, "did you mean `rule`?")
    text = ORDER.replace("when:", "whne:")
    found = await asked(graphs, "validate", graph="order.yaml", text=text)
    assert [(each["code"], each["line"]) for each in found["problems"]] == [("FIELD_UNKNOWN", 4)]
    assert (graphs / "order.yaml").read_text() == ORDER


@pytest.mark.parametrize("graph", ["../outside.yaml", "/etc/hosts.yaml", "link.yaml", "a\0b.yaml"])
async def test_nothing_outside_of_the_folder_is_read(graphs: Path, graph: str) -> None:
    for tool, more in (("validate", {}), ("draw", {}), ("dry_run", {"data": {}}), ("validate", {"text": ORDER})):
        assert (await asked(graphs, tool, graph=graph, **more))["code"] == "INPUT_INVALID"


async def test_an_error_has_its_code_its_place_and_what_to_do(graphs: Path) -> None:
    found = await asked(graphs, "dry_run", graph="order", data={})
    assert (found["code"], found["may_be_retried"]) == ("INPUT_MISSING", False)
    assert "'quantity'" in found["message"]
    found = await asked(graphs, "draw", graph="ordre")
    assert (found["code"], "did you mean `order`?" in found["message"]) == ("GRAPH_UNKNOWN", True)
    assert (await asked(graphs, "draw", graph="broken.yaml"))["code"] == "NODE_TYPE_UNKNOWN"


async def test_a_dry_run_tells_what_happens_and_ends_as_it_is_told(graphs: Path) -> None:
    found = await asked(graphs, "dry_run", graph="order", data={"quantity": 1})
    assert [(each["node"], each["by"]) for each in found["steps"]] == [("check", "evaluated"), ("pay", "assumed")]
    assert found["result"]["data"]["accepted"] is True
    failed = await asked(graphs, "dry_run", graph="order", data={"quantity": 1}, outcomes={"pay": {"fail": "BROKE"}})
    assert (failed["completed"], failed["failure"]["code"]) == (False, "BROKE")


async def test_a_drawing_is_text(graphs: Path) -> None:
    assert (await asked(graphs, "draw", graph="order")).startswith("flowchart")
    assert "└─ check (rule)" in await asked(graphs, "draw", graph="order", form="tree")


async def test_answers_and_inputs_are_bounded(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await asked(graphs, "dry_run", graph="order", data={"quantity": "x" * assistant.MAX_GIVEN})
    assert (found["code"], found["place"]) == ("SIZE_LIMIT_EXCEEDED", "data")
    body = "{nodes: {b: {type: rule, rules: [{then: {x: 1}}]}}}"
    loop = f"name: loop\nnodes: {{a: {{type: while, while: 'true', max_iterations: 9999, body: {body}}}}}\n"
    (graphs / "loop.yaml").write_text(loop, encoding="utf-8")
    found = await asked(graphs, "dry_run", graph="loop", data={})
    assert (found["code"], "5,000 steps" in found["message"]) == ("SIZE_LIMIT_EXCEEDED", True)
    monkeypatch.setattr(assistant, "MAX_ANSWER", 10)
    assert (await asked(graphs, "draw", graph="order"))["code"] == "SIZE_LIMIT_EXCEEDED"


async def test_without_a_server_a_run_is_unavailable(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    found = await asked(graphs, "show_run", run="order-1")
    assert (found["code"], found["may_be_retried"]) == ("UNAVAILABLE", True)


def test_every_code_of_the_page_of_problems_is_explained() -> None:
    rows = [line for line in pages()["docs/problems.md"].splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    for row in rows:
        code = row.split("`")[1]
        assert explained(code)["means"], code
    assert explained("FIELD_MISSING") == {
        "code": "FIELD_MISSING",
        "level": "error",
        "means": "a field that must be there",
        "fix": "add it",
    }


def test_an_error_of_runs_is_explained_and_an_unknown_code_is_not() -> None:
    assert explained("UNAVAILABLE")["may_be_retried"] is True
    with pytest.raises(InputError, match="KEY_SIMILR") as raised:
        explained("KEY_SIMILR")
    assert raised.value.suggestion == "did you mean `KEY_SIMILAR`?"
