"""Metrics of workers on a real server: exact after a known load, counted once, few series; and the probes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from pytest_httpserver import HTTPServer

from anabranch.dev.devserver import FAST, DevServer
from anabranch.errors import ConfigurationError
from anabranch.loopback import LOOPBACK, free_port
from anabranch.observe import metrics
from anabranch.observe.metrics_registry import OTHER, Registry
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.worker import serve
from tests import servers
from tests.integration.graph_kit import (
    EVERY_RUN_REPLAYED,
    MODES,
    PATIENCE,
    Handle,
    Served,
    chain,
    diamond,
    error_of,
    leaf,
    put,
    worker_for,
)
from tests.metrics_kit import SDK, Shown

EVENTS = 24
"""From how many events on the server suggests to continue as new."""
SUCCEEDED = "succeeded"
ELSEWHERE = {
    "anabranch_ai_cost_total",
    "anabranch_ai_tokens_total",
    "anabranch_breaker_refusals_total",
    "anabranch_limit_leases_lost_total",
    "anabranch_limit_waits_total",
    "anabranch_write_behind_pending",
    "anabranch_events_consumed_total",
    "anabranch_events_received_total",
    "anabranch_events_published_total",
}
"""What the load does not lead to: test_metrics.py, test_turns.py, test_ai_fallbacks.py,
test_events_nats.py and test_received_events.py have these."""


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    """Long runs continue as new on it."""
    config = {**FAST, "limit.historyCount.suggestContinueAsNew": str(EVENTS)}
    with servers.temporal(dynamic_config=config) as running:
        yield running


@dataclass(frozen=True)
class Measured:
    """A worker whose metrics are kept, and what they are."""

    served: Served
    registry: Registry

    async def run(self, graph: str, data: Mapping[str, Any] | None = None) -> Handle:
        handle = await self.served.start_type(graph, dict(data or {}))
        await asyncio.wait_for(handle.result(), PATIENCE)
        return handle

    async def shown(self) -> Shown:
        return Shown(await self.registry.text())


@pytest.fixture(params=MODES)
async def measured(
    request: pytest.FixtureRequest, server: DevServer, task_queue: str, tmp_path: Path
) -> AsyncIterator[Measured]:
    """In both modes: a worker that keeps no run replays each one at every task."""
    registry = Registry.start()
    client = await connect(
        Settings(), target_host=server.address, namespace="default", api_key=None, tls=False, runtime=registry.runtime
    )
    for name, graph in GRAPHS.items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"name": name, **graph}))
    try:
        async with worker_for(client, task_queue, tmp_path, mode=request.param) as served:
            yield Measured(served, registry)
    finally:
        metrics.record_to(None)


AGAIN: dict[str, Any] = {"retry": {"max_attempts": 3, "initial_interval": "1ms"}}
RULE: dict[str, Any] = {"type": "rule", "local": True, "rules": [{"then": {"weight": "{{ item * 2 }}"}}]}
GRAPHS: dict[str, dict[str, Any]] = {
    "deal": diamond(put(price=1), put(price=2)),
    "flaky": chain(ask=leaf("break", args={"name": "flaky", "how": "unavailable", "until": 3}, **AGAIN)),
    "bill": chain(
        charge={**put(charged=True), "compensate": put(refunded=True)}, ship=leaf("break", args={"name": "ship"})
    ),
    "pack": {
        "nodes": {
            "pack": {
                "type": "foreach",
                "items": "items",
                "body": {"nodes": {"weigh": RULE}},
                "collect": {"into": "weights", "value": "weight"},
            }
        }
    },
    "count": {"nodes": {"loop": {"type": "while", "while": "n < 20", "body": chain(add=put(n="{{ n + 1 }}"))}}},
    "guarded": chain(
        rate={
            **put(rate=1),
            "effect": False,
            "cache": {"key": "eur", "ttl": "1h"},
            "circuit_breaker": {"failures": 3, "window": "1m", "reset": "1h"},
        }
    ),
}


async def test_after_a_known_load_names_and_values_are_exact_and_a_replay_counts_nothing_twice(
    measured: Measured,
) -> None:
    for _ in range(3):
        await measured.run("deal")
    await measured.run("flaky")
    await error_of(await measured.served.start_type("bill", {}))
    await measured.run("pack", {"items": [1, 2, 3, 4]})
    for _ in range(2):
        await measured.run("guarded")
    shown = await measured.shown()

    runs = shown.by("anabranch_node_runs_total", "graph", "node", "type", "outcome")
    assert runs == {
        **{("deal", node, "python", SUCCEEDED): 3 for node in ("start", "left", "right", "join")},
        ("flaky", "ask", "python", SUCCEEDED): 1,
        ("bill", "charge", "python", SUCCEEDED): 1,
        ("bill", "ship", "python", "failed"): 1,
        ("pack", "pack", "foreach", SUCCEEDED): 1,
        ("pack", "pack/weigh", "rule", SUCCEEDED): 4,
        ("guarded", "rate", "python", SUCCEEDED): 2,
    }
    assert shown.by("anabranch_node_seconds_count", "graph", "node", "type", "outcome") == runs
    assert shown.by("anabranch_conflicts_total", "graph", "strategy") == {("deal", "last_write_wins"): 3}
    retries = shown.by("anabranch_node_retries_total", "graph", "node", "type")
    assert retries == {("flaky", "ask", "python"): 2}
    undone = shown.by("anabranch_compensations_total", "graph", "node", "result")
    assert undone == {("bill", "charge", "compensated"): 1}
    # Of `deal`: the input is empty, left and right write, and their conflict is settled.
    assert shown.value("anabranch_version_history_depth_sum", graph="deal") == 3 * 4
    ended = {("deal",): 3.0, ("flaky",): 1, ("bill",): 1, ("pack",): 1, ("guarded",): 2}
    for name in ("version_history_depth", "history_events", "history_bytes"):
        assert shown.by(f"anabranch_{name}_count", "graph") == ended
    assert shown.by("anabranch_cache_hits_total", "tier", "strategy") == {("node", "ttl"): 1}
    assert shown.by("anabranch_cache_misses_total", "tier", "strategy") == {("node", "ttl"): 1}
    assert shown.value("anabranch_breaker_state", graph="guarded", breaker="guarded/rate") == 0
    # Every node's task is encoded once (not those of the replays) and decoded by each attempt.
    nodes = 12 + 1 + 3 + 4 + 2  # the one that fails and the compensation are tasks too
    assert shown.value("anabranch_context_serialize_seconds_count", of="node") == nodes
    assert shown.value("anabranch_context_bytes_count", of="node") == nodes
    assert shown.value("anabranch_context_deserialize_seconds_count", of="node") == nodes + 2
    assert shown.by("anabranch_interpreter_seconds_count", "graph").keys() == ended.keys()
    named = {line.split()[2] for line in (await measured.registry.text()).decode().splitlines() if " TYPE " in line}
    assert named >= SDK
    assert metrics.CATALOGUE.keys() - named == ELSEWHERE


async def test_a_run_that_continues_as_new_is_counted_once(measured: Measured) -> None:
    handle = await measured.run("count", {"n": 0})
    shown = await measured.shown()
    assert shown.by("anabranch_node_runs_total", "node", "outcome") == {
        ("loop", SUCCEEDED): 1,
        ("loop/add", SUCCEEDED): 20,
    }
    assert shown.value("anabranch_version_history_depth_count", graph="count") == 1
    histories = await workflow_runs(measured.served, handle)
    assert len(histories) > 1
    assert shown.value("anabranch_history_events_count", graph="count") == len(histories)


async def workflow_runs(served: Served, handle: Handle) -> list[str]:
    """The ids of the workflow runs of one run of a graph."""
    found = [(await handle.describe()).run_id]
    while True:
        events = served.client.get_workflow_handle(handle.id, run_id=found[-1]).fetch_history_events()
        first = await anext(aiter(events))
        before = first.workflow_execution_started_event_attributes.continued_execution_run_id
        if not before:
            return found
        found.append(before)


@pytest.mark.skipif(EVERY_RUN_REPLAYED, reason="it counts series of a worker that keeps its runs")
@pytest.mark.parametrize("measured", MODES[:1], indirect=True)
async def test_ids_items_and_graphs_that_starts_bring_make_no_series(measured: Measured) -> None:
    async def load(numbers: Iterable[int], items: int) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        for n in numbers:
            brought = chain(**{f"node{n}": put(a=n)}) | {"name": f"brought{n}"}
            data = {"items": list(range(items if n % 10 == 0 else 1)), "id": f"order-{n}"}
            await asyncio.gather(measured.run("pack", data), measured.served.run(brought))
        return set((await measured.shown()).values)

    before = await load(range(2), 20)
    after = await load(range(2, 27), 20)
    assert after - before == set()
    runs = (await measured.shown()).by("anabranch_node_runs_total", "graph", "node")
    assert runs[OTHER, OTHER] == 27
    assert runs["pack", "pack/weigh"] == (20 + 1) + (2 * 20 + 23)
    assert {key for _, labels in after for key, _ in labels} & {"workflow_id", "run_id", "session_id"} == set()
    assert b"order-" not in await measured.registry.text()


@dataclass(frozen=True)
class Answer:
    status: int
    text: str


async def ask(port: int, path: str) -> Answer:
    async with httpx2.AsyncClient() as http:
        answered = await http.get(f"http://{LOOPBACK}:{port}{path}")
        return Answer(answered.status_code, answered.text)


async def test_a_worker_answers_probes_from_its_start_to_its_end_and_tells_a_collector(
    server: DevServer, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/v1/metrics", method="POST").respond_with_data(b"")
    graphs = tmp_path / "graphs"
    graphs.mkdir()
    (graphs / "deal.yaml").write_text(json.dumps({"name": "deal", **GRAPHS["deal"]}))
    port, temporal = free_port(), free_port()
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"{LOOPBACK}:{temporal}")
    settings = Settings(
        task_queue=task_queue,
        graphs=graphs,
        metrics_address=f"{LOOPBACK}:{port}",
        otlp_endpoint=httpserver.url_for("/"),
    )
    stop = asyncio.Event()
    working = asyncio.create_task(serve(settings, stop=stop))
    try:
        await until_answered(port)
        assert await ask(port, "/livez") == Answer(200, "ok\n")
        assert not_ready(await ask(port, "/readyz")) == {"temporal": "the worker waits for Temporal"}
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        ready = await until_ready(port)
        assert json.loads(ready.text) == {"ready": True, "checks": {"temporal": "ok", "graphs": "ok"}}
        client = await connect(Settings(), target_host=server.address)
        handle = await client.start_workflow("deal", {}, id=task_queue, task_queue=task_queue)
        await asyncio.wait_for(handle.result(), PATIENCE)
        shown = Shown((await ask(port, "/metrics")).text.encode())
        assert shown.value("anabranch_conflicts_total", graph="deal", strategy="last_write_wins") == 1
        graphs.rename(tmp_path / "away")
        assert not_ready(await ask(port, "/readyz")).keys() == {"graphs"}
    finally:
        stop.set()
        await working
        metrics.record_to(None)
    assert last_sent(httpserver)["anabranch_conflicts_total"] == [({"graph": "deal", "strategy": "last_write_wins"}, 1)]


async def until_answered(port: int) -> None:
    for _ in range(400):
        try:
            await ask(port, "/livez")
        except httpx2.ConnectError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("the worker does not answer in time")


async def until_ready(port: int) -> Answer:
    answer = await ask(port, "/readyz")
    for _ in range(2000):
        if answer.status == 200:
            return answer
        await asyncio.sleep(0.05)
        answer = await ask(port, "/readyz")
    raise AssertionError(f"the worker is not ready in time: {answer.text}")


def not_ready(answer: Answer) -> dict[str, str]:
    """What is not ready, with the reason."""
    told = json.loads(answer.text)
    assert (answer.status, told["ready"]) == (503, False)
    return {name: reason for name, reason in told["checks"].items() if reason != "ok"}


def last_sent(httpserver: HTTPServer) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The counters of the last message to the collector."""
    request, _ = httpserver.log[-1]
    sent = ExportMetricsServiceRequest.FromString(request.data)
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for metric in sent.resource_metrics[0].scope_metrics[0].metrics:
        points = metric.sum.data_points
        found[metric.name] = [
            ({each.key: each.value.string_value for each in point.attributes}, point.as_double or point.as_int)
            for point in points
        ]
    return found


@pytest.mark.parametrize("address", ["9464", "localhost:http", "127.0.0.1:99999", "192.0.2.1:9464"])
async def test_an_address_that_cannot_be_had_is_refused_by_name(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await serve(Settings(graphs=tmp_path, metrics_address=address))
    assert refused.value.place == "ANABRANCH_METRICS_ADDRESS"
