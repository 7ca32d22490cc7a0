"""`anabranch cost`: what it predicts is what the history of the same run shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.client import WorkflowFailureError
from typer.testing import CliRunner

from anabranch.cli.main import app
from anabranch.dev.devserver import DevServer
from anabranch.graph.load import load_graph
from anabranch.inspection.billing import Usage, assumed, worst
from anabranch.settings import Settings
from anabranch.testkit.attending import History
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.rehearsal import histories_of, rehearsed
from anabranch.transport.client import connect
from anabranch.transport.search_attributes import SEARCH_ATTRIBUTES
from tests import servers
from tests.integration.graph_kit import PATIENCE, Served, chain, diamond, edge, leaf, put, until_status, worker_for


def rule(**values: Any) -> dict[str, Any]:
    return {"type": "rule", "rules": [{"then": values}]}


def local(**values: Any) -> dict[str, Any]:
    return {**rule(**values), "local": True}


ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}
SOON = {"max_attempts": 3, "initial_interval": "1ms", "backoff": 1}
BROKEN = leaf("break", args={"name": "cost"}, **ONCE)
AGAIN = leaf("break", args={"name": "again", "how": "unavailable"}, on_failure="continue", retry=SOON)
ASK = {"type": "approval", "prompt": "Well?"}
EACH = {"type": "foreach", "items": "[1, 2, 3]", "max_concurrency": 1, "body": chain(one=put(x=1), two=rule(y=2))}
BATCHES = {"type": "foreach", "items": "[1, 2, 3, 4, 5]", "batch": 2, "max_concurrency": 1, "body": chain(one=put(x=1))}
LOOP = {"type": "while", "while": "n < 4", "body": chain(up=rule(n="{{ n + 1 }}"))}
BLOCK = {"type": "block", **chain(in_it=put(x=1)), "finally": chain(last=rule(z=1))}
GRAPHS: dict[str, dict[str, Any]] = {
    "activities": chain(a=put(x=1), b=rule(y="{{ x + 1 }}"), c=put(z=3)),
    "local": chain(**{f"n{index}": local(**{f"k{index}": index}) for index in range(6)}),
    "mixed": chain(a=local(x=1), b=put(y=2), c=local(z=3), d=local(w=4), e=put(v=5)),
    "timer": chain(a=put(x=1), nap={"type": "wait", "for": "20ms"}, b=put(y=2)),
    "items": chain(each=EACH),
    "turns": chain(first=rule(n=0), loop=LOOP),
    "block": chain(a=put(x=1), block=BLOCK),
    "people": chain(a=put(x=1), ask=ASK, b=put(y=2)),
    "events": chain(a=put(x=1), pay={"type": "receive", "event": "paid"}, b=put(y=2)),
    "batches": chain(each=BATCHES, end=put(y=2)),
    "retries": chain(a=put(x=1), again=AGAIN, b=put(y=2)),
    "saga": chain(a={**put(x=1), "compensate": put(x=0)}, b=BROKEN),
    "found": {**chain(a=rule(status="open"), b=rule(status="paid")), "search_attributes": {"Status": "{{ status }}"}},
    "long": chain(**{f"n{index}": put(**{f"k{index}": index}) for index in range(20)}),
    "last": {**chain(a=put(x=1)), "finally": chain(b=put(y=2)), "timeout": "1h"},
}
PARALLEL: dict[str, dict[str, Any]] = {
    "branches": diamond(put(x=1), put(y=2)),
    "parent": chain(call={"type": "graph", "graph": "activities", "mode": "child_workflow"}),
}


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with servers.temporal(search_attributes=SEARCH_ATTRIBUTES) as running:
        yield running


@pytest.fixture
async def served(server: DevServer, task_queue: str, tmp_path: Path) -> Any:
    client = await connect(Settings(), target_host=server.address)
    async with worker_for(client, task_queue, tmp_path) as running:
        for name, graph in {**GRAPHS, **PARALLEL}.items():
            running.write(name, yaml.safe_dump({"name": name, **graph}))
        yield running


_BREAKS = {"definite": ("NODE_FAILED", "it is broken (fix it)"), "unavailable": ("UNAVAILABLE", "nobody answers")}


def outcomes(graph: dict[str, Any], prefix: str = "") -> dict[str, GivenOutcome]:
    """How the nodes of a graph really end."""
    found: dict[str, GivenOutcome] = {}
    for name, node in graph["nodes"].items():
        if node.get("handler") == "put":
            found[prefix + name] = GivenOutcome.model_validate({"set": node["args"]})
        elif node.get("handler") == "break":
            code, message = _BREAKS[node["args"].get("how", "definite")]
            found[prefix + name] = GivenOutcome(fail=code, message=message)
        elif node["type"] == "approval":
            found[prefix + name] = GivenOutcome.model_validate({"answer": {}})
        for inner in (node.get("body"), node if "nodes" in node else None):
            found |= {} if inner is None else outcomes(inner, f"{prefix}{name}/")
    return found | (outcomes(graph["finally"], "finally/") if "finally" in graph and not prefix else {})


async def predicted(served: Served, name: str, graph: dict[str, Any]) -> list[History]:
    settings = Settings(task_queue=f"{served.task_queue[:-1]}_", graphs=served.graphs)
    loaded = load_graph(served.graphs / f"{name}.yaml")
    return await rehearsed(served.client, settings, loaded, {}, outcomes(graph), run=f"{served.task_queue}-{name}-p")


async def real(served: Served, name: str) -> list[History]:
    run = f"{served.task_queue}-{name}-r"
    handle: Any = await served.client.start_workflow(name, {}, id=run, task_queue=served.task_queue)
    if name == "people":
        await until_status(handle, "ask", "waiting")
        await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
    if name == "events":
        await until_status(handle, "pay", "waiting")
        await handle.signal("event", {"name": "paid", "id": "pay", "data": {}})
    try:
        await asyncio.wait_for(handle.result(), PATIENCE)
    except WorkflowFailureError:
        assert name == "saga"
    return await histories_of(served.client, run)


def differences(found: Usage, wanted: Usage) -> dict[str, tuple[Any, Any]]:
    """Where the prediction is not what was; bytes may be a tenth more or less."""
    both = {name: (getattr(found, name), getattr(wanted, name)) for name in Usage.__slots__}
    return {
        name: (one, other)
        for name, (one, other) in both.items()
        if (abs(one - other) > other / 10 if name == "bytes" else one != other)
    }


@pytest.mark.parametrize("name", ["mixed", pytest.param("all", marks=pytest.mark.slow)])
async def test_what_is_predicted_is_what_the_same_run_leaves(served: Served, name: str) -> None:
    wrong: dict[str, Any] = {}
    for each, graph in GRAPHS.items() if name == "all" else [(name, GRAPHS[name])]:
        found, was = await predicted(served, each, graph), await real(served, each)
        wrong[each] = differences(assumed(found), assumed(was))
    assert {name: each for name, each in wrong.items() if each} == {}


@pytest.mark.slow
async def test_what_is_heard_at_once_or_not_comes_to_the_same_at_worst(served: Served) -> None:
    for name, graph in PARALLEL.items():
        found, was = worst(await predicted(served, name, graph)), worst(await real(served, name))
        assert (name, differences(found, was)) == (name, {})
        assert assumed(await real(served, name)).events <= found.events


def test_the_command_counts_attempts_and_model_calls_at_worst(tmp_path: Path) -> None:
    model = {"type": "ai", "model": "openai:gpt-4", "prompt": "Well?", "retry": {"max_attempts": 4}}
    endless = {"type": "http", "url": "https://example.org/", "retry": {"max_attempts": 0}}
    nodes: dict[str, Any] = {"check": rule(n="{{ n + 1 }}"), "think": model, "tell": {**put(), **ONCE}}
    edges = [edge("check", "think"), edge("think", "tell")]
    graph: dict[str, Any] = {"name": "g", "nodes": nodes, "edges": edges, "defaults": {"retry": {"max_attempts": 2}}}
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(graph), encoding="utf-8")
    run = CliRunner().invoke
    told = json.loads(run(app, ["cost", str(tmp_path / "g.yaml"), "--set", "n=1", "--json"]).stdout)
    # started, load_graph, two changes of search attributes, three activities
    assert (told["assumed"]["actions"], told["assumed"]["activities"], told["assumed"]["model_calls"]) == (7, 3, 1)
    assert (told["worst"]["actions"], told["worst"]["activities"], told["worst"]["model_calls"]) == (11, 7, 4)
    assert told["worst"]["events"] == told["assumed"]["events"]
    (tmp_path / "g.yaml").write_text(yaml.safe_dump({**graph, "nodes": {**nodes, "tell": endless}}), encoding="utf-8")
    shown = run(app, ["cost", str(tmp_path / "g.yaml"), "--set", "n=1"], env={"COLUMNS": "100"}).stdout.splitlines()
    assert [line.split()[-2:] for line in shown if line.startswith("Actions  ")] == [["no", "limit"]]


def refusal(tmp_path: Path, graph: dict[str, Any], given: dict[str, Any]) -> str:
    """What the command says of a graph with these outcomes."""
    (tmp_path / "g.yaml").write_text(yaml.safe_dump({"name": "g", **graph}), encoding="utf-8")
    (tmp_path / "given.json").write_text(json.dumps(given), encoding="utf-8")
    command = ["cost", str(tmp_path / "g.yaml"), "--outcomes", str(tmp_path / "given.json"), "--set", "n=1"]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "300"})
    assert done.exit_code == 1
    return done.output


def test_a_run_without_an_end_is_refused_at_once_with_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anabranch.testkit.rehearsal.PATIENCE", 100_000.0)  # so it is not the patience that ends it
    receive = {"type": "receive", "event": "paid", "accept": "event.amount > 1"}
    said = refusal(tmp_path, chain(a=rule(n=2), pay=receive), {})
    assert "node 'pay': the run waits for an event: what was sent as 'paid' the node does not accept" in said
    assert "{node: {events: {paid: {…}}}}" in said
    said = refusal(tmp_path, chain(pay=receive), {"pay": {"events": {"paid": {"amount": 1}}}})
    assert "node 'pay': the node does not accept the event 'paid'" in said
    said = refusal(tmp_path, chain(pay=receive), {"pay": {"timeout": True}})
    assert "node 'pay': an event that does not come is not played" in said
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    said = refusal(
        tmp_path, chain(ask={**ASK, "schema": schema, "output": {"x": "result.ok"}}), {"ask": {"answer": {}}}
    )
    assert "node 'ask'" in said
    assert "answer" in said
    broken = {**put(x=1), "on_failure": "pause"}
    said = refusal(tmp_path, chain(broken=broken), {"broken": {"fail": "NO_STOCK"}})
    assert "node 'broken': the run has no end: it is paused, and waits for an operator" in said
    assert "--outcomes" in said
