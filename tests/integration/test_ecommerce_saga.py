"""The example saga against a database: each step fails on demand, and what was done before it is undone."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.integration.graph_kit import PATIENCE, Served, worker_for

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDER = json.loads((EXAMPLES / "ecommerce_order.json").read_text(encoding="utf-8"))
STEPS = ("reserve_inventory", "charge_payment", "create_shipment", "send_confirmation")
LEFT = {
    "reserve_inventory": (0, []),
    "charge_payment": (0, ["released"]),
    "create_shipment": (0, ["released", "refunded create_shipment: NODE_FAILED"]),
    "send_confirmation": (0, ["released", "refunded send_confirmation: NODE_FAILED", "cancelled"]),
}
"""What is reserved, and the states of the tables, after a failure at a step."""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((EXAMPLES / "seed.sql").read_text(encoding="utf-8"))
    monkeypatch.setenv("POSTGRES_URL", f"sqlite:///{file}")
    return file


@pytest.fixture
async def served(client: Client, task_queue: str, database: Path) -> AsyncIterator[Served]:
    async with worker_for(client, task_queue, EXAMPLES) as running:
        yield running


def state(database: Path) -> tuple[int, list[str]]:
    with closing(sqlite3.connect(database)) as connection:
        (reserved,) = connection.execute("select reserved from inventory where product_id = 'PROD-1'").fetchone()
        queries = (
            "select status from reservations",
            "select status || coalesce(' ' || reason, '') from payments",
            "select status from shipments",
            "select status from confirmations",
        )
        return reserved, [row[0] for query in queries for row in connection.execute(query)]


async def test_an_order_that_goes_through_leaves_all_of_it_done(served: Served, database: Path) -> None:
    handle = await served.start_type("ecommerce_saga", ORDER)
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    done = {"reservation": "reserved", "payment": "charged", "shipment": "created", "confirmation": "sent"}
    assert result["data"] == {**ORDER, **done}
    assert state(database) == (2, ["reserved", "charged", "created", "sent"])


@pytest.mark.parametrize("fail_at", STEPS)
async def test_an_order_that_fails_leaves_nothing_done(served: Served, database: Path, fail_at: str) -> None:
    handle = await served.start_type("ecommerce_saga", {**ORDER, "fail_at": fail_at})
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), PATIENCE)
    error = failed.value.cause
    assert isinstance(error, ApplicationError)
    undone = list(STEPS[: STEPS.index(fail_at)][::-1])
    assert (error.details[0]["node"], error.details[0]["compensated"]) == (fail_at, undone)
    assert state(database) == LEFT[fail_at]
    refund: dict[str, Any] = {"refund": ORDER["order_total"]} if "charge_payment" in undone else {}
    assert (await handle.query("context"))["data"] == {**ORDER, "fail_at": fail_at, **refund}
