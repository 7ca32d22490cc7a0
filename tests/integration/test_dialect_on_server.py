"""The files of rust-logic-graph on a real server, with databases and a model: as they are, not converted."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from anabranch.dev import stand_in_model
from tests.integration.graph_kit import Served

FILES = Path(__file__).parents[1] / "fixtures" / "dialect"
TABLES = """
create table customers (name text); insert into customers values ('Ada');
create table demand (sku text); insert into demand values ('A-1');
create table stock (sku text, place text, pieces integer, price real);
insert into stock values ('A-1', 'north', 30, 2.5), ('A-2', 'south', 12, 2.0);
"""
VARIABLES = ("DATABASE_URL", "SALES_DB_URL", "STOCK_DB_URL", "MYSQL_URL")


@pytest.fixture
def databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One database behind each connection that the files name, and the default model."""
    path = tmp_path / "tables.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(TABLES)
        connection.execute("alter table customers add column id integer default 7")
        connection.execute("alter table customers add column months integer default 24")
    connection.close()
    for name in VARIABLES:
        monkeypatch.setenv(name, f"sqlite:///{path}")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    monkeypatch.setenv("ANABRANCH_DEFAULT_MODEL", "openai:stand-in")


async def test_each_file_runs_as_it_is(served: Served, databases: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in FILES.glob("*.yaml"):
        if path.stem != "grpc_service":
            served.write(path.stem, path.read_text())
    async with stand_in_model.serve() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)

        async def data(graph: str | dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
            found: dict[str, Any] = (await served.run(graph, given))["data"]
            return found

        bare = await data("bare_types", {})
        assert (bare["gate_result"], [row["name"] for row in bare["customers_result"]]) == (True, ["Ada"])
        assert "stand-in" in bare["letter_result"]
        assert await data("bare_types", {"may_read": False}) == {"may_read": False, "gate_result": True}
        mapped = await data("mappings", {"sku": "A-1"})
        assert {key: mapped[key] for key in ("reorder", "quantity")} == {"reorder": True, "quantity": 175.0}
        parts = await data("parts", {"customer_id": 7, "blocked": False, "price": 10.0})
        assert {key: parts[key] for key in ("name", "loyal_result", "total")} == {
            "name": "Ada",
            "loyal_result": True,
            "total": 9.0,
        }
        rows = await data("rows", {"limit": 40, "limits": {"max": 5}})
        assert (rows["order_from"], rows["at_most"]) == ("south", 5)
        older = await data(json.loads((FILES / "older.json").read_text()) | {"name": "older"}, {"customer": "Ada"})
        assert (older["start_result"], older["end_result"]) == (True, True)


async def test_without_the_variable_the_run_says_which_model_is_missing(
    served: Served, databases: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANABRANCH_DEFAULT_MODEL")
    error = await served.error({"name": "letter", "nodes": {"letter": "AINode"}})
    assert error.type == "CONFIGURATION_INVALID"
    assert "ANABRANCH_DEFAULT_MODEL, which says what model to call, is not set" in error.message
