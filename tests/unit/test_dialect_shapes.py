"""Each shape of rust-logic-graph's files: what it comes to, and converted too, or one refusal with what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from anabranch.cli.main import app
from anabranch.errors import GraphError
from anabranch.graph.load import LoadedGraph, load_graph, load_text
from anabranch.graph.model import GrpcNode
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.play import Evaluate, Script, play
from anabranch.testkit.rules import rule_evaluator
from tests.fixtures.dialect.cases import CASES

FILES = Path(__file__).parents[1] / "fixtures" / "dialect"
runner = CliRunner()


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Evaluate]:
    with rule_evaluator(Settings()) as evaluator:
        yield evaluator


def played(loaded: LoadedGraph, case: dict[str, Any], evaluate: Evaluate) -> dict[str, Any]:
    outcomes = {key: GivenOutcome.model_validate(each) for key, each in case.get("outcomes", {}).items()}
    run = play(plan_graph(loaded.graph, loaded.graphs), Script(case["input"], outcomes), evaluate)
    assert run.failure is None
    return dict(run.data)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_file_comes_to_what_its_author_meant(name: str, case: dict[str, Any], evaluate: Evaluate) -> None:
    data = played(load_graph(FILES / name), case, evaluate)
    assert {key: data.get(key) for key in case["contains"]} == case["contains"]
    assert [key for key in case.get("absent", ()) if key in data] == []


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in CASES))
def test_a_converted_file_has_no_warnings_and_runs_alike(name: str, evaluate: Evaluate, tmp_path: Path) -> None:
    for part in FILES.glob("part_*.yaml"):
        shutil.copy(part, tmp_path)
    to = tmp_path / "converted.yaml"
    told = runner.invoke(app, ["convert", str(FILES / name), "--to", str(to)])
    assert told.exit_code == 0, told.output
    converted = load_graph(to)
    assert converted.warnings == ()
    for other, case in CASES:
        if other == name:
            assert played(converted, case, evaluate) == played(load_graph(FILES / name), case, evaluate)
    once_more = runner.invoke(app, ["convert", str(to)])
    assert once_more.stdout == to.read_text()


def warnings(text: str) -> list[tuple[str, str]]:
    return [(one.code, one.suggestion or "") for one in load_text(text, "flow.yaml").warnings]


def test_each_default_of_a_bare_node_is_told() -> None:
    assert warnings((FILES / "bare_types.yaml").read_text()) == [
        ("DIALECT_ASSUMED", "write its `rules`, or remove it"),
        ("DIALECT_ASSUMED", "write `connection: DATABASE_URL`"),
        ("DIALECT_ASSUMED", "write `query: select * from customers`"),
        ("DIALECT_ASSUMED", "write `model: env:ANABRANCH_DEFAULT_MODEL`, or the model itself"),
        ("DIALECT_ASSUMED", "write the `prompt`"),
        ("DIALECT_ASSUMED", "write `may_read` in a rule, or remove the condition"),
        ("DIALECT_ASSUMED", "write `customer_found` in a rule, or remove the condition"),
    ]


def test_a_method_of_a_service_that_is_not_named_is_that_of_the_one_which_has_it() -> None:
    loaded = load_graph(FILES / "grpc_service.yaml")
    node = loaded.graph.nodes["price_of"]
    assert isinstance(node, GrpcNode)
    assert (node.target, node.method, node.tls) == ("127.0.0.1:50071", "PriceOf", False)
    assert [(each.code, each.suggestion) for each in loaded.warnings if "without its service" in each.message] == [
        ("DIALECT_ASSUMED", "write `http://127.0.0.1:50071#package.Service/PriceOf`: the proto file says it")
    ]


def test_mappings_that_nothing_reads_are_told_and_left_out() -> None:
    loaded = load_graph(FILES / "mappings.yaml")
    assert [one.message for one in loaded.warnings if one.code == "DIALECT_UNUSED"] == [
        "node 'decide' maps `demand_row`, `stock_row`, which nothing of it reads: left out"
    ]
    assert loaded.graph.nodes["decide"].input == {
        "daily": "{{ demand.per_day }}",
        "available": "{{ stock.on_hand }}",
    }


def refusal(node: str) -> tuple[str, str]:
    with pytest.raises(GraphError) as caught:
        load_text(f"nodes:\n  a: {node}\n  b: {{type: RuleNode, condition: 'true', dependencies: [a]}}", "flow.yaml")
    (problem,) = [one for one in caught.value.problems if not one.warning]
    assert str(problem.place) == "flow.yaml:2:3"
    return problem.code, problem.suggestion or ""


@pytest.mark.parametrize(
    ("node", "suggestion"),
    [
        (
            "{type: LoopNode, collection_key: lines, body_node_id: b}",
            "write `type: foreach`, `items: lines`, `as: item`, and what is done with each item as its `body`",
        ),
        (
            "{type: LoopNode, condition: x and y, max_iterations: 5}",
            "write `type: while`, `while: x && y`, `max_iterations: 5`, and what is repeated as its `body`",
        ),
        (
            "{type: TryCatchNode, try_node_id: pay, catch_node_id: tell, finally_node_id: end}",
            (
                "remove it, and draw the edges {from: pay, to: tell, outcome: failure} "
                "and {from: pay, to: end, outcome: always}"
            ),
        ),
        (
            "{type: RetryNode, target_node_id: pay, max_retries: 4, initial_delay_ms: 50, backoff_multiplier: 3.0}",
            "remove it, and write `retry: {max_attempts: 5, initial_interval: 50ms, backoff: 3.0}` on the node pay",
        ),
        (
            "{type: CircuitBreakerNode, target_node_id: pay, failure_threshold: 3}",
            "remove it, and write `circuit_breaker: {failures: 3, reset: 30000ms}` on the node pay",
        ),
        ("{type: MongoNode, collection: x}", "call it in a `python` node of yours, or behind an `http` service"),
        (
            "{type: DBNode, query: 'select * from t where product_id = $1 and x = $2::int'}",
            "write `params: [product_id, x]`: the keys of the context, in this order",
        ),
        (
            "{type: DBNode, query: 'INSERT INTO orders (customer_id, total) VALUES ($2, $1)'}",
            "write `params: [total, customer_id]`: the keys of the context, in this order",
        ),
        ("SubgraphNode", "write `graph:` with the name of a graph of this folder"),
        (
            '{type: GrpcNode, query: "http://127.0.0.1:50071"}',
            "write `query: http://host:port#package.Service/Method`",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused_once_with_what_to_write(node: str, suggestion: str) -> None:
    assert refusal(node) == ("DIALECT_UNSUPPORTED", suggestion)


@pytest.mark.parametrize("written", ["redis", "RedisNode", "Mongo", "mongodb", "MongoDBNode"])
def test_databases_that_are_no_sql_ones_are_refused_once(written: str) -> None:
    assert refusal(f"{{type: {written}}}")[0] == "DIALECT_UNSUPPORTED"


@pytest.mark.parametrize("written", ["ConditionalNode", "LoopNode", "TryCatchNode", "RetryNode", "CircuitBreakerNode"])
def test_a_bare_node_that_steers_nothing_is_a_rule_that_holds(written: str, evaluate: Evaluate) -> None:
    loaded = load_text(f"nodes: {{a: {written}}}", "flow.yaml")
    assert [one.code for one in loaded.warnings] == ["DIALECT_ASSUMED"]
    assert played(loaded, {"input": {}}, evaluate) == {"a_result": True}


def test_a_mapping_without_a_meaning_is_refused_once() -> None:
    text = "nodes: {a: {type: RuleNode, condition: x > 1, field_mappings: {x: 'a b c'}}}"
    with pytest.raises(GraphError) as caught:
        load_text(text, "flow.yaml")
    assert [one.code for one in caught.value.problems if not one.warning] == ["DIALECT_UNSUPPORTED"]


def test_our_own_nodes_are_not_completed() -> None:
    with pytest.raises(GraphError) as caught:
        load_text("name: x\nnodes: {a: {type: rule}, b: {type: ai, prompt: x}, c: {type: db}}")
    assert {one.code for one in caught.value.problems} == {"FIELD_MISSING"}


def test_a_model_is_taken_from_no_other_variable_than_one_for_models() -> None:
    text = "name: x\nnodes: {{a: {{type: ai, prompt: x, model: 'env:{}'}}}}"
    assert load_text(text.format("ANABRANCH_DEFAULT_MODEL")).warnings == ()
    with pytest.raises(GraphError) as caught:
        load_text(text.format("OPENAI_API_KEY"))
    assert [one.code for one in caught.value.problems] == ["AI_MODEL"]


def test_comments_stand_at_the_parts_that_they_were_for() -> None:
    text = runner.invoke(app, ["convert", str(FILES / "parts.yaml")]).stdout
    lines = text.splitlines()
    assert lines[0] == "# A main graph: parameters by position, a sub-graph by its file, a branch."
    assert lines[lines.index("  discount:") - 1] == "  # the other file"
    assert "  # who it is for" in lines[lines.index("  discount:") : lines.index("  letter:")]
    assert lines[-1] == "# the end"
    assert "# which one?" not in lines


def test_texts_that_yaml_would_read_as_something_else_stay_texts(tmp_path: Path) -> None:
    values = ["1e5", "0o17", "yes", "null", "01234", "2026-01-01", "~", "", " x ", "a\n  b\n", "a: b", "x #y", "1e999"]
    path = tmp_path / "graph.json"
    path.write_text(
        json.dumps({"name": "g", "nodes": {"a": {"type": "python", "handler": "h", "args": {"v": values}}}})
    )
    converted = load_text(runner.invoke(app, ["convert", str(path)]).stdout)
    assert converted.graph == load_graph(path).graph


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    to = tmp_path / "mine.yaml"
    to.write_text("precious")
    told = runner.invoke(app, ["convert", str(FILES / "bare_types.yaml"), "--to", str(to)])
    assert (told.exit_code, to.read_text()) == (1, "precious")


def test_a_file_with_a_refusal_is_not_converted(tmp_path: Path) -> None:
    path = tmp_path / "refused.yaml"
    path.write_text("nodes: {a: {type: MongoNode}}")
    told = runner.invoke(app, ["convert", str(path)])
    assert told.exit_code == 1
    assert told.stdout == ""
