"""An order flow in rust-logic-graph's style, with Drools-like rules, as it is: by dry run, and on a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from anabranch.dev import stand_in_model
from anabranch.graph.dialect.convert import converted
from anabranch.graph.load import load_graph, load_text
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.play import Script, play
from anabranch.testkit.rules import rule_evaluator
from tests.integration.graph_kit import Served

FLOW = Path(__file__).parents[1] / "fixtures" / "graphs" / "order_flow.yaml"
ORDER: dict[str, Any] = {
    "order_id": "order-12345",
    "order_total": 1499.99,
    "total_weight": 12,
    "order_status": "APPROVED",
    "customer_id": "CUST-789",
    "product_ids": ["PROD-1"],
    "required_quantity": 2,
    "previous_order_count": 7,
}
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {},
        {
            "validated": True,
            "shipping_method": "FREE",
            "shipping_cost": 0.0,
            "notification_type": "SUCCESS",
            "notification_message": "Order approved for $1499.99",
        },
    ),
    (
        {"order_total": 40, "total_weight": 4, "order_status": "REVIEW"},
        {
            "validated": True,
            "shipping_method": "STANDARD",
            "shipping_cost": 10.0,
            "notification_type": "PENDING",
            "notification_message": "We look at your order",
        },
    ),
    ({"order_total": 0}, {}),
]
WRITTEN = ("validated", "shipping_method", "shipping_cost", "notification_type", "notification_message")
OUTCOMES: dict[str, Any] = {
    "check_inventory": {"set": {"product_id": "PROD-1", "available_quantity": 9, "in_stock": True}},
    "process_payment": {"set": {"payment_valid": True, "fraud_score": 8, "reason": "known"}},
    "update_order_status": {"set": {"status": "APPROVED"}},
}


def written(data: dict[str, Any]) -> dict[str, Any]:
    """What the rules wrote, times apart."""
    return {key: data[key] for key in WRITTEN if key in data}


@pytest.mark.parametrize("is_converted", [False, True])
@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_without_a_server_each_order_comes_to_what_its_rules_say(
    changes: dict[str, Any], expected: dict[str, Any], *, is_converted: bool
) -> None:
    loaded = load_text(converted(FLOW, lists=True), "ours.yaml") if is_converted else load_graph(FLOW)
    outcomes = {key: GivenOutcome.model_validate(each) for key, each in OUTCOMES.items()}
    with rule_evaluator(Settings()) as evaluate:
        played = play(plan_graph(loaded.graph, loaded.graphs), Script(ORDER | changes, outcomes), evaluate)
    assert (played.status, written(dict(played.data))) == ("completed", expected)
    assert ("validation_time" in played.data) == bool(expected)


@pytest.fixture
async def services(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The database and the model that the file names."""
    engine = create_async_engine(postgres_url)
    async with engine.begin() as connection:
        for statement in (
            "create table flow_inventory (product_id text, available_quantity integer)",
            "insert into flow_inventory values ('PROD-1', 9)",
            "create table flow_orders (order_id text, status text, shipping_cost float, fraud_score float)",
            "insert into flow_orders (order_id) values ('order-12345')",
        ):
            await connection.execute(text(statement))
    monkeypatch.setenv("POSTGRES_URL", postgres_url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    async with stand_in_model.serve() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        yield
    async with engine.begin() as connection:
        await connection.execute(text("drop table flow_inventory, flow_orders"))
    await engine.dispose()


async def test_on_a_server_each_order_comes_to_the_same(served: Served, services: None) -> None:
    served.write("order_flow", FLOW.read_text())
    results = await asyncio.gather(*(served.run("order_flow", ORDER | changes) for changes, _ in CASES))
    for result, (_, expected) in zip(results, CASES, strict=True):
        assert (result["status"], written(result["data"])) == ("completed", expected)
