"""The rust-logic-graph dialect: each spelling, its meaning in our language, and the line that it came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anabranch.errors import GraphError
from anabranch.graph.dialect.conditions import cel_condition
from anabranch.graph.dialect.rust_logic_graph import node_type
from anabranch.graph.load import LoadedGraph, load_graph, load_text
from anabranch.graph.model import AiNode, DbNode, GraphNode, RuleNode

FIXTURES = Path(__file__).parent.parent / "fixtures" / "graphs"


def load(text: str) -> LoadedGraph:
    return load_text(text, "order_flow.yaml")


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(GraphError) as caught:
        load(text)
    return [(problem.code, str(problem.place)) for problem in caught.value.problems if not problem.warning]


def test_a_whole_graph_of_the_dialect_means_what_its_author_meant() -> None:
    graph = load_graph(FIXTURES / "rust_dialect.yaml").graph
    assert graph.name == "rust_dialect"
    assert {key: node.type for key, node in graph.nodes.items()} == {
        "validate": "rule",
        "stock": "db",
        "payment": "ai",
        "notify": "rule",
    }
    stock = graph.nodes["stock"]
    assert isinstance(stock, DbNode)
    assert stock.connection == "POSTGRES_URL"
    assert (
        stock.query == "select available >= :p1 as in_stock from inventory where product_id = any(cast(:p2 as text[]))"
    )
    assert stock.params == {"p1": "{{quantity}}", "p2": "{{ product_ids }}"}
    payment = graph.nodes["payment"]
    assert isinstance(payment, AiNode)
    assert (payment.model, payment.system, payment.prompt) == (
        "openai:gpt-4",
        "Judge the payment.",
        "Total {{order_total}}",
    )
    assert [(edge.source, edge.target, edge.when) for edge in graph.edges] == [
        ("validate", "stock", "has(context.validated) && validated == true"),
        ("stock", "payment", "in_stock"),
        ("payment", "notify", None),
    ]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("RuleNode", "rule"),
        ("Rule", "rule"),
        ("rule", "rule"),
        ("DBNode", "db"),
        ("DB", "db"),
        ("Database", "db"),
        ("AINode", "ai"),
        ("AI", "ai"),
        ("HttpNode", "http"),
        ("SubgraphNode", "graph"),
        ("GrpcNode", "grpc"),
    ],
)
def test_node_types_have_our_names(name: str, ours: str) -> None:
    assert node_type(name) == ours


@pytest.mark.parametrize(
    ("condition", "cel"),
    [
        ("a > 1 && b == true", "a > 1 && b == true"),
        ("a and not b or c", "a && !b || c"),
        ("not(a) and(b)", "!(a) &&(b)"),
        ('s == \'x and y\' or t == "or \\" not"', 's == \'x and y\' || t == "or \\" not"'),
        ("order.and > band", "order.and > band"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_conditions_become_cel_outside_of_quotes(condition: str | bool, cel: str) -> None:
    assert cel_condition(condition) == cel


def test_a_node_that_is_only_a_type_name_is_a_rule_that_holds() -> None:
    node = load("nodes: {start: RuleNode}").graph.nodes["start"]
    assert isinstance(node, RuleNode)
    assert node.rules is not None
    assert [(rule.when, rule.then, rule.otherwise) for rule in node.rules] == [
        (None, {"start_result": True}, None),
    ]


def test_rule_content_is_grl() -> None:
    node = load(
        'nodes: [{id: a, node_type: Rule, config: {rule_content: "rule R { when x > 1 then y = 2; }"}}]'
    ).graph.nodes["a"]
    assert isinstance(node, RuleNode)
    assert node.grl == "rule R { when x > 1 then y = 2; }"


def test_a_condition_of_another_node_says_when_it_runs() -> None:
    node = load("nodes: {a: {type: AINode, model: 'openai:x', prompt: p, condition: x and y}}").graph.nodes["a"]
    assert node.when == "x && y"


def test_dependencies_are_edges_unless_these_are_drawn() -> None:
    text = """
nodes:
  a: RuleNode
  b: {type: RuleNode, condition: "true", dependencies: [a]}
  c: {type: RuleNode, condition: "true", dependencies: [a, b]}
edges:
  - {from: a, to: b, rule: a_result}
"""
    edges = load(text).graph.edges
    assert [(edge.source, edge.target, edge.when) for edge in edges] == [
        ("a", "b", "a_result"),
        ("a", "c", None),
        ("b", "c", None),
    ]


def test_dollar_parameters_in_quotes_and_comments_stay() -> None:
    query = "select '$1', \"$2\", $3 -- $1\n from t where a = $1 and b = $2::numeric(10, 2) /* $9 */"
    node = {"type": "DBNode", "connection": "X_URL", "query": query, "params": ["a", 5, "{{ c }}"]}
    found = load(json.dumps({"nodes": {"q": node}})).graph.nodes["q"]
    assert isinstance(found, DbNode)
    assert found.query == (
        "select '$1', \"$2\", :p3 -- $1\n from t where a = :p1 and b = cast(:p2 as numeric(10, 2)) /* $9 */"
    )
    assert found.params == {"p1": "{{ a }}", "p2": 5, "p3": "{{ c }}"}


def test_what_is_assumed_is_told() -> None:
    loaded = load("nodes: {q: {type: DBNode, query: select 1}, r: {type: DBNode, database: oms_db, query: select 1}}")
    assert [(one.code, one.suggestion) for one in loaded.warnings] == [
        ("DIALECT_ASSUMED", "write `connection: DATABASE_URL`"),
        ("DIALECT_ASSUMED", "write `connection: OMS_DB_URL`"),
    ]


def test_our_own_db_node_needs_its_connection_named() -> None:
    assert problems("name: x\nnodes: {q: {type: db, query: select 1}}") == [("FIELD_MISSING", "order_flow.yaml:2:9")]


def test_a_connection_string_is_never_shown() -> None:
    with pytest.raises(GraphError) as caught:
        load(
            "nodes: [{id: q, node_type: DB, config: {query: select 1, connection_string: 'postgres://u:hunter2@h/d'}}]"
        )
    assert [problem.code for problem in caught.value.problems] == ["VALUE_INVALID"]
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_subgraph_files_and_mappings_name_graphs_and_expressions() -> None:
    text = """
nodes:
  discount:
    node_type: SubgraphNode
    subgraph_file: examples/discount_subgraph.yaml
    input_mapping: {product_price: base_price}
    output_mapping: {final_price: order_total}
"""
    node = load(text).graph.nodes["discount"]
    assert isinstance(node, GraphNode)
    assert node.graph == "discount_subgraph"
    assert node.input == {"base_price": "{{ product_price }}"}
    assert node.output == {"order_total": "result.final_price"}


def test_a_graph_without_a_name_is_called_as_its_metadata_or_file_say() -> None:
    nodes = "nodes: {a: RuleNode}"
    assert load(nodes).graph.name == "order_flow"
    assert load(f"{nodes}\nmetadata: {{name: order_flow_2, version: 2.1.0}}").graph.name == "order_flow_2"
    assert load(f"{nodes}\nmetadata: {{name: Order Flow (new)}}").graph.name == "order_flow"
    assert load_text(nodes, "7 days.yaml").graph.name == "_7_days"


LISTED = """\
nodes:
  - id: a
    node_type: Rule
    config:
      condition: x >
  - id: a
    node_type: Rule
  - node_type: Rule
"""


def test_problems_point_to_the_lines_that_the_author_wrote() -> None:
    assert problems(LISTED) == [("NODE_DUPLICATE", "order_flow.yaml:6:5"), ("NODE_WITHOUT_ID", "order_flow.yaml:8:5")]
    first = LISTED.split("  - id: a\n    node_type: Rule\n  -", maxsplit=1)[0]
    assert problems(first) == [("EXPRESSION_INVALID", "order_flow.yaml:5:20")]


def test_a_problem_with_a_dependency_points_into_its_list() -> None:
    text = "nodes:\n  a:\n    type: RuleNode\n    condition: 'true'\n    dependencies:\n      - b\n"
    assert problems(text) == [("EDGE_UNKNOWN_NODE", "order_flow.yaml:6:9")]


@pytest.mark.parametrize(
    "text",
    [
        "nodes: 5",
        "nodes: [5, [], null]",
        "nodes: {a: [1]}",
        "nodes: [{id: 5}]",
        "nodes: {a: {type: 5}}",
        "nodes: {a: {type: RuleNode, dependencies: 5}}",
        "nodes: {a: {type: RuleNode, dependencies: [{}, [1]]}}",
        "nodes: {a: {type: DBNode, query: 5, params: 7, connection_string: 5}}",
        "nodes: {a: {type: SubgraphNode, input_mapping: {a: [1]}, output_mapping: 3}}",
        "nodes: {a: {type: AINode, provider: 5, model: []}}",
        "nodes: {a: RuleNode}\nedges: {from: a}",
        "nodes: {a: RuleNode}\nedges: [3, {from: [], to: {}}]",
        "nodes: {a: {type: foreach, items: x, body: {nodes: [{id: b}], edges: 5}}}",
        "metadata: {name: 5}\nnodes: {}",
        "[]",
        "just text",
    ],
)
def test_nonsense_is_refused_with_problems_in_lines(text: str) -> None:
    assert all(place.startswith("order_flow.yaml:") for _, place in problems(text))
