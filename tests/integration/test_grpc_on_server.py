"""`grpc` nodes of runs on a Temporal server: retried, undone, timed out, each with one key."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from temporalio.client import Client

from anabranch.activities.grpc.library import grpc
from tests.grpc_shop import METHOD, SERVICE, Context, Price, descriptor_set, shop
from tests.integration.graph_kit import PATIENCE, error_of, put, worker_for

FILES = Path(__file__).parents[1] / "fixtures" / "dialect"
GRAPH = """
name: order
nodes:
  ask:
    type: grpc
    target: "{{ shop }}"
    method: shop.Prices/PriceOf
    descriptor: shop.binpb
    request: {order_id: "{{ id }}"}
    retry: {max_attempts: 3, initial_interval: 10ms}
    output: {total: result.body.total, cents: result.body.cents}
    compensate:
      type: grpc
      target: "{{ shop }}"
      method: shop.Prices/Undo
      request: {order_id: "{{ id }}", how: "undo {{ cents }}"}
      output: {undone: result.body.cents}
  check: {type: rule, rules: [{when: total > 5.0, then: {dear: true}}]}
  refuse:
    type: grpc
    target: "{{ shop }}"
    method: shop.Prices/PriceOf
    request: {how: refuse}
edges: [{from: ask, to: check}, {from: check, to: refuse, when: has(context.dear)}]
"""


async def test_a_call_is_retried_by_its_status_with_one_key_and_undone_with_another(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    failures: list[str] = ["UNAVAILABLE", "ABORTED"]

    async def serve(question: Message, context: Context) -> Message:
        asked: Any = question
        if asked.how == "refuse":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no more")
        if failures and not asked.how:
            await context.abort(grpc.StatusCode[failures.pop(0)], "later")
        return Price(total=9.5, cents=950 - asked.order_id)

    (tmp_path / "order.yaml").write_text(GRAPH)
    (tmp_path / "shop.binpb").write_bytes(descriptor_set())
    async with shop(serve) as server, worker_for(client, task_queue, tmp_path, http_allow_private=True) as served:
        handle = await served.start_type("order", {"id": 7, "shop": server.target})
        error = await error_of(handle)
        assert (error.type, error.details[0]["node"]) == ("NODE_FAILED", "refuse")
        assert f"{METHOD} at {server.target} answered FAILED_PRECONDITION: no more" in error.message
        assert error.details[0]["compensated"] == ["ask"]
        assert (await handle.query("context"))["data"] == {"id": 7, "shop": server.target, "undone": 943}
        paths = [path.removeprefix(f"/{SERVICE}/") for path, _, _ in server.asked]
        assert paths == ["PriceOf", "PriceOf", "PriceOf", "PriceOf", "Undo"]
        run = handle.first_execution_run_id
        assert server.keys[:4] == [f"{run}/ask"] * 3 + [f"{run}/refuse"]
        assert server.keys[4] not in server.keys[:4]
        undo: Any = server.asked[4][1]
        assert (undo.order_id, undo.how) == (7, "undo 943")


async def test_a_service_call_of_rust_logic_graph_runs_as_it_is_written(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    text = (FILES / "grpc_service.yaml").read_text()
    async with shop() as server, worker_for(client, task_queue, tmp_path, http_allow_private=True) as served:
        served.write("grpc_service", text.replace("127.0.0.1:50071", server.target))
        data = (await served.run("grpc_service", {}))["data"]
        assert [path for path, _, _ in server.asked] == [f"/{METHOD}"]
    assert data["total_result"] is True
    assert any(isinstance(each, dict) and each.get("total") == 1.5 for each in data.values())


async def test_a_call_without_an_answer_is_the_node_s_time_out_and_cancelled_at_the_server(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    async def never(_question: Message, _context: Context) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    ask = {"type": "grpc", "target": "{{ shop }}", "method": METHOD, "timeout": "1s", "retry": {"max_attempts": 1}}
    late = {"from": "ask", "to": "late", "outcome": "timeout"}
    graph = {"nodes": {"ask": ask, "late": put(late="{{ error.type }}")}, "edges": [late]}
    async with shop(never) as server, worker_for(client, task_queue, tmp_path, http_allow_private=True) as served:
        result = await served.run(graph, {"shop": server.target})
        assert result["data"]["late"] == "TIMEOUT"
        await asyncio.wait_for(server.cancelled.wait(), PATIENCE)
