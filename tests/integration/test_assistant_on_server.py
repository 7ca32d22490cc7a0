"""`anabranch mcp`: every tool, over stdio, by the client of the protocol's SDK, on a real Temporal server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent

from anabranch.dev.devserver import DevServer
from tests.integration.graph_kit import Served

GRAPH = """\
name: trip
nodes:
  quote: {type: rule, rules: [{then: {price: "{{ nights * 120 }}"}}]}
  agree: {type: approval, prompt: "{{ price }}?", schema: {type: object, properties: {agreed: {type: boolean}}}}
edges:
  - {from: quote, to: agree}
"""


async def test_every_tool_answers_over_stdio(
    served: Served, dev_server: DevServer, task_queue: str, tmp_path: Path
) -> None:
    (tmp_path / "trip.yaml").write_text(GRAPH, encoding="utf-8")
    command = ["-m", "anabranch", "mcp", "--graphs", str(tmp_path), "--task-queue", task_queue, "--allow-writes"]
    environ = dict(os.environ) | {"TEMPORAL_ADDRESS": dev_server.address}
    seen: set[str] = set()
    async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=command, env=environ))) as client:

        async def ask(tool: str, **arguments: Any) -> Any:
            seen.add(tool)
            result = await client.call_tool(tool, arguments)
            assert isinstance(result, CallToolResult)
            (content,) = result.content
            assert isinstance(content, TextContent)
            return json.loads(content.text)

        assert [each["name"] for each in await ask("list_graphs")] == ["trip"]
        assert await ask("validate", graph="trip") == {"valid": True, "count": 0, "problems": []}
        assert (await ask("explain_problem", code="CYCLE"))["fix"] == "repeat work with a `while` node"
        assert "quote" in await ask("draw", graph="trip")
        assert (await ask("dry_run", graph="trip", data={"nights": 2}))["result"]["data"]["price"] == 240
        run = (await ask("start_run", graph="trip", data={"nights": 2}))["workflow_id"]
        while "agree" not in (shown := await ask("show_run", run=run)).get("open_tasks", []):
            assert shown["status"] in {"loading", "running"}, shown
        assert shown["context"] == {"nights": 2, "price": 240}
        refused = await ask("answer", run=run, node="agree", answer={"agreed": "perhaps"})
        assert refused["code"] == "SCHEMA_VIOLATION"
        assert (await ask("answer", run=run, node="agree", answer={"agreed": True}))["node"] == "agree"
        assert (await served.client.get_workflow_handle(run).result())["data"]["agreed"] is True
        why = await ask("why", run=run, path="price")
        assert (why["value"], [each["by"] for each in why["causes"]][:1]) == (240, ["quote"])
        while run not in [each["workflow_id"] for each in await ask("list_runs", graph="trip")]:
            pass
        assert (await ask("show_run", run="nobody"))["code"] == "INPUT_INVALID"
        assert seen == {each.name for each in (await client.list_tools()).tools}
