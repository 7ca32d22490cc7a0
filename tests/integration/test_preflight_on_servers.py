"""What a worker finds out of real servers before it serves, and that it serves while some of them are down."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client

from anabranch.activities.standard import node_activities
from anabranch.dev.devserver import DevServer
from anabranch.imports import NOTHING
from anabranch.preflight.preflight import Report, preflight
from anabranch.settings import Settings
from anabranch.worker import serve
from tests import servers
from tests.integration.graph_kit import PATIENCE

GRAPHS = """
name: shop
share: {}
nodes:
  greet: {type: rule, rules: [{then: {said: hello}}]}
  stock: {type: db, when: "false", connection: DB_STOCK, query: select 1}
"""


@pytest.fixture(scope="module")
def stopped() -> dict[str, str]:
    """The URLs of a PostgreSQL and a Valkey that have run, and do not any more."""
    with servers.postgres() as postgres, servers.valkey() as valkey:
        return {"postgres": postgres, "valkey": valkey}


@pytest.fixture
def answering(valkey_url: str, postgres_url: str, memcached_url: str, mysql_url: str) -> dict[str, str]:
    return {
        "redis_url": valkey_url,
        "store_url": postgres_url,
        "cache_url": memcached_url,
        "payload_store_url": mysql_url,
    }


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(GRAPHS)
    return tmp_path


async def looked_at(settings: Settings, *, temporal: bool = False) -> Report:
    activities = node_activities(settings)
    try:
        return await preflight(settings, NOTHING, activities, temporal=temporal)
    finally:
        await activities.aclose()


async def test_servers_that_answer_are_listed_by_the_variables_that_name_them(
    graphs: Path, answering: dict[str, str], dev_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_STOCK", answering["store_url"])
    monkeypatch.setenv("TEMPORAL_ADDRESS", dev_server.address)
    report = await looked_at(Settings(graphs=graphs).model_copy(update=answering), temporal=True)
    assert report.findings == ()
    assert report.served["connections"] == ["DB_STOCK"]
    assert report.served["services"] == ["REDIS_URL", "STORE_URL", "CACHE_URL", "PAYLOAD_STORE_URL", "Temporal"]


async def test_search_attributes_that_the_namespace_lacks_are_named(
    tmp_path: Path, dev_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", dev_server.address)
    said = "{Lacking: x, LackingToo: {type: int, value: '1'}}"
    (tmp_path / "g.yaml").write_text(f"{{name: g, search_attributes: {said}, nodes: {{a: {{type: stop}}}}}}")
    (found,) = (await looked_at(Settings(graphs=tmp_path), temporal=True)).findings
    assert found.message == "the namespace lacks search attributes of graphs: Lacking (KEYWORD), LackingToo (INT)"
    assert (found.code, str(found.place), found.may_pass) == ("CONFIGURATION_INVALID", "Temporal", True)


async def test_servers_that_are_down_may_come_back_and_a_database_that_is_not_there_is_told_apart(
    graphs: Path, stopped: dict[str, str], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_STOCK", stopped["postgres"])
    settings = Settings(
        graphs=graphs, redis_url=stopped["valkey"], payload_store_url=postgres_url.replace("/postgres?", "/nowhere?")
    )
    found = {str(each.place): each for each in (await looked_at(settings)).findings}
    assert {place: each.code for place, each in found.items()} == {
        f"{graphs}/shop.yaml:6:48": "UNAVAILABLE",
        "REDIS_URL": "UNAVAILABLE",
        "PAYLOAD_STORE_URL": "CONFIGURATION_INVALID",
    }
    assert found[f"{graphs}/shop.yaml:6:48"].message.startswith("the database of DB_STOCK is not available now (")
    assert found["PAYLOAD_STORE_URL"].message == "the database refused the credentials (3D000)"
    assert "nowhere" not in str(found)


async def test_a_file_of_sqlite_that_is_not_there_yet_is_not_made(
    graphs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_STOCK", f"sqlite:///{tmp_path}/stock.sqlite")
    settings = Settings(graphs=graphs, store_url=f"sqlite:///{tmp_path}/store.sqlite")
    assert (await looked_at(settings)).findings == ()
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("*.sqlite")))
    monkeypatch.setenv("DB_STOCK", f"sqlite:///{tmp_path}/nowhere/stock.sqlite")
    assert [each.code for each in (await looked_at(settings)).findings] == ["CONFIGURATION_INVALID"]


async def test_a_worker_serves_though_its_database_and_its_redis_are_down_and_a_graph_is_broken(
    graphs: Path, stopped: dict[str, str], client: Client, task_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_STOCK", stopped["postgres"])
    monkeypatch.setenv("TEMPORAL_ADDRESS", client.service_client.config.target_host)
    (graphs / "greet.yaml").write_text("name: greet\nnodes: {a: {type: rule, rules: [{then: {said: hello}}]}}\n")
    (graphs / "torn.yaml").write_text("name: torn\nnodes: {a: {type: roule}}\n")
    settings = Settings(graphs=graphs, task_queue=task_queue, redis_url=stopped["valkey"])
    stop = asyncio.Event()
    with capture_logs() as logged, ExitStack() as stack:
        working = asyncio.create_task(serve(settings, stop=stop))
        stack.callback(stop.set)
        running = client.execute_workflow("greet", {}, id=f"greet-{uuid.uuid4().hex}", task_queue=task_queue)
        assert (await asyncio.wait_for(running, PATIENCE))["data"] == {"said": "hello"}
        stop.set()
        await working
    told = [entry for entry in logged if entry["event"] in ("preflight finding", "worker started")]
    assert [(entry["log_level"], entry.get("code"), entry.get("place")) for entry in told] == [
        ("error", "NODE_TYPE_UNKNOWN", f"{graphs}/torn.yaml:2:19"),
        ("warning", "UNAVAILABLE", f"{graphs}/shop.yaml:6:48"),
        ("warning", "UNAVAILABLE", "REDIS_URL"),
        ("info", None, None),
    ]
    assert (told[-1]["graphs"], told[-1]["findings"]) == ("greet, shop", 3)
    assert (told[-1]["address"], told[-1]["namespace"]) == (client.service_client.config.target_host, "default")
