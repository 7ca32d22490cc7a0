"""The example graphs and orders fit together."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import find_graph, load_library
from anabranch.graph.model import DbNode

FOLDER = Path("examples")
ORDERS = sorted([FOLDER / "order.json", *(FOLDER / "orders").glob("*.json")])


def test_all_example_graphs_are_valid_without_warnings() -> None:
    warnings = {name: loaded.warnings for name, loaded in load_library(FOLDER).items()}
    assert {"order_processing", "order_parallel"} <= warnings.keys()
    assert all(found == () for found in warnings.values())


@pytest.mark.parametrize("path", ORDERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", ["order_processing", "order_parallel"])
def test_every_example_order_has_all_inputs_of_both_graphs(name: str, path: Path) -> None:
    graph = find_graph(FOLDER, name).graph
    order = json.loads(path.read_text(encoding="utf-8"))
    assert set(graph_inputs(graph)) <= order.keys()


def test_the_seed_may_run_twice_and_every_statement_fits_its_tables() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        _seed_fits(database)


def _seed_fits(database: sqlite3.Connection) -> None:
    seed = (FOLDER / "seed.sql").read_text(encoding="utf-8")
    database.executescript(seed)
    database.executescript(seed)
    statements = [
        one.query
        for loaded in load_library(FOLDER).values()
        for node in loaded.graph.nodes.values()
        for one in (node, node.compensate)
        if isinstance(one, DbNode) and one.query
    ]
    plans = [database.execute(f"explain {query}", _anything(query)).fetchall() for query in statements]
    assert len(plans) >= 6
    assert database.execute("select available from inventory order by product_id").fetchall() == [
        (100000,),
        (100000,),
        (0,),
    ]


def _anything(query: str) -> dict[str, int]:
    names = ("order_id", "customer_id", "product_id", "quantity", "reserved", "status", "order_total")
    return {name: 1 for name in (*names, "shipping_cost", "fraud_score", "updated_at", "reason") if f":{name}" in query}
