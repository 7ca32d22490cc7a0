"""Decision tables (JDM): what is accepted, which inputs fit, what is written."""

import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from anabranch.activities.rules import decision_table
from anabranch.activities.rules.handler import evaluate_rules
from anabranch.context.nested import nested
from anabranch.context.values import Json
from anabranch.errors import EvaluationError, GraphError, InputError
from anabranch.graph.kinds.kinds import kind_of
from anabranch.graph.load import load_text
from anabranch.graph.model import RuleNode
from anabranch.graph.rules.decision_table import read_table
from tests.json_values import unchecked

COLUMNS = [
    {"id": "total", "name": "Total", "field": "order.total"},
    {"id": "country", "name": "Country", "field": "country"},
    {"id": "vip", "name": "VIP", "field": "vip"},
]
OUTPUTS = [{"id": "fee", "name": "Fee", "field": "fee"}, {"id": "mode", "name": "Mode", "field": "ship.mode"}]
ROWS = [
    {"_id": "1", "total": "> 100", "country": '"US", "DE"', "vip": "true", "fee": "0", "mode": '"air"'},
    {"_id": "2", "total": "[10..100]", "country": "", "vip": "", "fee": "order.total * 0.1", "mode": '"road"'},
    {"_id": "3", "total": "", "country": "", "vip": "", "fee": "9", "mode": '"sea"'},
]


def node(node_id: str, kind: str, **content: Any) -> dict[str, Any]:
    return {"id": node_id, "type": kind, "name": node_id, "content": content}


def jdm(*nodes: dict[str, Any]) -> dict[str, Any]:
    """The nodes in a row, between an input and an output."""
    found = [node("in", "inputNode"), *nodes, node("out", "outputNode")]
    edges = [{"id": f"e{i}", "sourceId": a["id"], "targetId": b["id"]} for i, (a, b) in enumerate(pairwise(found))]
    return {"nodes": found, "edges": edges}


def table(rows: list[dict[str, Any]] = ROWS, **content: Any) -> dict[str, Any]:
    fields = {"hitPolicy": "first", "inputs": COLUMNS, "outputs": OUTPUTS, "rules": rows}
    return node("fees", "decisionTableNode", **{**fields, **content})


def data(total: Any = 200, country: Any = "US", vip: Any = True) -> dict[str, Any]:
    return {"order": {"total": total}, "country": country, "vip": vip}


def evaluate_table(decision: Any, inputs: dict[str, Any]) -> dict[str, Json]:
    """What a table decides, as one object."""
    return nested(decision_table.evaluate_table(decision, inputs))


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (data(), {"fee": 0, "ship": {"mode": "air"}}),
        (data(country="FR"), {"fee": 9, "ship": {"mode": "sea"}}),
        (data(total=50, vip=False), {"fee": 5, "ship": {"mode": "road"}}),
        (data(total=12.5), {"fee": 1.25, "ship": {"mode": "road"}}),
        (data(total=1), {"fee": 9, "ship": {"mode": "sea"}}),
    ],
)
def test_the_first_row_that_fits_decides(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    assert evaluate_table(jdm(table()), inputs) == expected
    assert evaluate_table(json.dumps(jdm(table())), inputs) == expected


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "needs `order.total`, which is not there"),
        ({"order": {}, "country": "US", "vip": True}, "needs `order.total`, which is not there"),
        ({"order": {"total": 5}, "vip": True}, "needs `country`, which is not there"),
        (data(total="200"), "compares `order.total` with a number, this is a text"),
        (data(total=None), "compares `order.total` with a number, this is null"),
        (data(total=True), "compares `order.total` with a number, this is a boolean"),
        (data(country=49), "compares `country` with a text, this is a number"),
        (data(vip="yes"), "compares `vip` with a boolean, this is a text"),
    ],
)
def test_a_missing_or_wrongly_typed_input_is_no_default_row(inputs: dict[str, Any], said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        evaluate_table(jdm(table()), inputs)


@pytest.mark.parametrize("passes", [True, False])
def test_an_output_field_with_a_dot_is_written_inside_of_its_object(passes: bool) -> None:
    decision = jdm(table(passThrough=passes))
    inputs = {**data(), "ship": {"to": "Rome", "mode": "sea"}}
    assert decision_table.evaluate_table(decision, inputs) == {("fee",): 0, ("ship", "mode"): "air"}
    assert read_table(decision).parts == {"ship": (("ship", "mode"),)}
    found = evaluate_rules(RuleNode(type="rule", decision_table=decision), inputs, {})
    assert (found.changes, found.parts) == ({"fee": 0}, {("ship", "mode"): "air"})


def test_null_is_an_input_where_a_cell_says_so() -> None:
    rows = [{"_id": "1", "country": "null", "fee": "1"}, {"_id": "2", "country": '"US"', "fee": "2"}]
    assert evaluate_table(jdm(table(rows)), data(country=None)) == {"fee": 1}


def test_no_row_writes_nothing_and_what_passes_through_is_not_written_again() -> None:
    assert evaluate_table(jdm(table(ROWS[:1])), data(total=1)) == {}
    assert evaluate_table(jdm(table(passThrough=True)), data()) == {"fee": 0, "ship": {"mode": "air"}}


def test_a_list_of_hits_needs_a_path() -> None:
    with pytest.raises(EvaluationError, match="gave a list, not an object"):
        evaluate_table(jdm(table(hitPolicy="collect")), data())


def test_what_an_expression_node_makes_is_no_input() -> None:
    made = node(
        "made",
        "expressionNode",
        expressions=[{"id": "1", "key": "order.total", "value": "lines * 60"}],
        passThrough=True,
    )
    decision = jdm(made, table())
    assert evaluate_table(decision, {"lines": 2, "country": "US", "vip": True})["fee"] == 0
    assert read_table(decision).writes == frozenset({"order", "fee", "ship"})


@pytest.mark.parametrize("kind", ["functionNode", "customNode", "decisionNode"])
def test_what_needs_code_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=f"node 'code' of the decision table is a {kind}; it needs code to run"):
        read_table(jdm(node("code", kind, source="export const handler = () => ({})")))


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[]",
        "[" * 100_000,
        {},
        {"nodes": []},
        {"nodes": [1], "edges": []},
        {"nodes": [{"type": 3}], "edges": []},
        {"nodes": [{"type": "inputNode"}] * 201, "edges": []},
    ],
    ids=["no json", "no object", "too deep", "empty", "no edges", "no node", "no type", "too many"],
)
def test_what_is_no_jdm_is_refused(value: Any) -> None:
    with pytest.raises(InputError):
        read_table(value)


def test_what_the_engine_cannot_read_is_refused_without_its_backtrace() -> None:
    with pytest.raises(InputError, match="not JDM") as caught:
        evaluate_table({"nodes": [{"type": "inputNode"}], "edges": []}, {})
    assert "backtrace" not in str(caught.value).lower()


@pytest.mark.parametrize(
    "row",
    [
        {"_id": "1", "total": "> (", "fee": "1"},
        {"_id": "1", "total": "-", "fee": "1"},
        {"_id": "1", "total": "> 1", "fee": "1 +"},
    ],
)
def test_a_cell_that_cannot_be_read_is_an_error_and_not_a_row_that_never_fits(row: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"row 1, column '(Total|Fee)' of 'fees', which cannot be read"):
        evaluate_table(jdm(table([row])), data())


def test_an_output_cell_that_uses_what_is_not_there_is_an_error() -> None:
    cell = '{rate: rates.us, "a b": len("x y") + order.total}'
    decision = jdm(table([{"_id": "1", "total": "> 1", "fee": cell}]))
    with pytest.raises(EvaluationError, match="needs `rates`, which is not there"):
        evaluate_table(decision, data())
    assert read_table(decision).names == ("rates", "order")


def test_a_failing_expression_is_an_evaluation_error() -> None:
    failing = node("x", "expressionNode", expressions=[{"id": "1", "key": "a", "value": "len(order.total)"}])
    with pytest.raises(EvaluationError, match=r"the decision table failed: .*len") as caught:
        evaluate_table(jdm(failing), data())
    assert "backtrace" not in str(caught.value).lower()


def test_a_circle_of_nodes_is_refused() -> None:
    circle = jdm(node("a", "expressionNode", expressions=[]), node("b", "expressionNode", expressions=[]))
    circle["edges"].append({"id": "back", "sourceId": "b", "targetId": "a"})
    with pytest.raises(InputError, match="cyclic"):
        evaluate_table(circle, {})


def test_a_rule_node_writes_what_its_table_decides() -> None:
    parsed = RuleNode.model_validate({"type": "rule", "decision_table": jdm(table())})
    assert evaluate_rules(parsed, data(), {}).result == {"fee": 0, "ship": {"mode": "air"}}


ABSENT = "the decision table needs `country`, which is not there (write it before this node, or give a default)"
FIRST = 'row 1 of \'fees\': order.total > 100 and country "US", "DE" and vip true'


@pytest.mark.parametrize(
    ("decision", "inputs", "said"),
    [
        (table(), data(), [FIRST]),
        (table(), data(total=1), ["row 3 of 'fees': whatever the inputs are"]),
        (
            table(hitPolicy="collect", outputPath="all"),
            data(total=50),
            ["row 2 of 'fees': order.total [10..100]", "row 3 of 'fees': whatever the inputs are"],
        ),
        (table(ROWS[:1]), data(total=1), ["no row of its decision table"]),
        (
            table(),
            {"order": {"total": 1}, "vip": True},
            [f"its rules, which cannot be evaluated again: {ABSENT}"],
        ),
    ],
)
def test_who_asks_why_is_told_which_rows_decided_and_on_what(
    decision: dict[str, Any], inputs: dict[str, Any], said: list[str]
) -> None:
    parsed = RuleNode.model_validate({"type": "rule", "decision_table": jdm(decision)})
    assert list(kind_of(parsed).deeds(parsed, unchecked(SimpleNamespace(data=inputs, roots={})))) == said


@pytest.mark.parametrize("more", [{"vip": 1e29}, {"fee": "rand(-1)"}])
def test_what_the_engine_gives_up_on_is_a_definite_error(more: dict[str, Any]) -> None:
    """It has no numbers over 7.9e28, and some of its functions panic."""
    rows = [{**ROWS[2], "fee": more.get("fee", "9")}]
    with pytest.raises(EvaluationError, match=r"the decision table failed: (invalid value|empty range)"):
        evaluate_table(jdm(table(rows)), {**data(), **more})


WHEN = {"id": "when", "name": "Order date", "field": "ordered_on"}
DATED = [{"_id": "1", "when": '> date("2026-01-01")', "fee": "1"}, {"_id": "2", "when": "", "fee": "9"}]


def test_a_date_compared_with_a_text_is_an_error_and_not_the_row_after_it() -> None:
    decision = jdm(table(DATED, inputs=[WHEN]))
    with pytest.raises(EvaluationError, match="Compare: Unsupported type") as caught:
        evaluate_table(decision, {"ordered_on": "2026-05-01"})
    assert caught.value.place == "decision table 'fees', row 1, column 'Order date'"
    converted = jdm(table(DATED, inputs=[{**WHEN, "field": "date(ordered_on)"}]))
    assert evaluate_table(converted, {"ordered_on": "2026-05-01"}) == {"fee": 1}
    assert evaluate_table(converted, {"ordered_on": "2025-05-01"}) == {"fee": 9}


@pytest.mark.parametrize(
    ("rows", "inputs", "row", "column"),
    [
        ([{"total": "> 1", "fee": "country * 2"}, ROWS[2]], data(), 1, "Fee"),
        ([{"total": "> 1000", "fee": "country * 2"}, {"fee": "upper(vip)"}], data(), 2, "Fee"),
        ([{"country": "len($.x.y) > 1", "fee": "1"}, ROWS[2]], data(), 1, "Country"),
        ([{"country": "startsWith($, 'a') or $ > 5", "fee": "1"}, ROWS[2]], data(country=7), 1, "Country"),
    ],
)
def test_a_cell_that_has_no_value_is_an_error_naming_row_and_column(
    rows: list[dict[str, Any]], inputs: dict[str, Any], row: int, column: str
) -> None:
    with pytest.raises(EvaluationError, match="has no value here") as caught:
        evaluate_table(jdm(table(rows)), inputs)
    assert caught.value.place == f"decision table 'fees', row {row}, column {column!r}"


def test_a_cell_behind_one_that_does_not_hold_is_not_looked_at() -> None:
    rows = [{"total": "> 1000", "country": "len($.x.y) > 1", "fee": "country * 2"}, ROWS[2]]
    assert evaluate_table(jdm(table(rows)), data())["fee"] == 9


def test_the_cells_of_all_hits_count_where_all_are_collected() -> None:
    rows = [{"total": "> 1", "fee": "1"}, {"total": "> 1", "fee": "country * 2"}]
    with pytest.raises(EvaluationError, match="row 2, column 'Fee'"):
        evaluate_table(jdm(table(rows, hitPolicy="collect", outputPath="hits")), data())


VALIDATED = """\
name: shop
nodes:
  fees:
    type: rule
    decision_table:
      nodes:
        - {id: in, type: inputNode, name: in}
        - id: t
          type: decisionTableNode
          name: fees
          content:
            inputs: [{id: a, name: Total, field: total}]
            outputs: [{id: o, name: Fee, field: fee}]
            rules:
              - {_id: "1", a: "> 1", o: "1 +"}
              - {_id: "2", _description: null, a: ">> 2", o: "2"}
              - _id: "3"
                a: null
                o: "3"
        - {id: out, type: outputNode, name: out}
      edges: [{id: x, sourceId: in, targetId: t}, {id: y, sourceId: t, targetId: out}]
"""


def test_each_cell_that_cannot_be_read_is_a_problem_at_its_place_before_anything_runs() -> None:
    with pytest.raises(GraphError) as caught:
        load_text(VALIDATED, "shop.yaml")
    found = [(str(problem.place), problem.message) for problem in caught.value.problems if not problem.warning]
    assert [place for place, _ in found] == [
        "shop.yaml:15:41",
        "shop.yaml:16:42",
        "shop.yaml:16:51",
        "shop.yaml:18:20",
    ]
    assert "`1 +` in row 1, column 'Fee' of 'fees', which cannot be read" in found[0][1]
    assert "null as `_description` of row 2" in found[1][1]
    assert "`>> 2` in row 2, column 'Total' of 'fees'" in found[2][1]
    assert "null in row 3, column 'Total' of 'fees'" in found[3][1]
    assert all(problem.code == "DECISION_TABLE" and problem.suggestion for problem in caught.value.problems)


def test_only_what_a_table_names_crosses_to_its_process() -> None:
    assert evaluate_table(jdm(table()), {**data(), "far": 1e29}) == {"fee": 0, "ship": {"mode": "air"}}
    rows = [{"total": "> 1", "fee": "len($root)"}]
    with pytest.raises(EvaluationError, match="the decision table failed: invalid value"):
        evaluate_table(jdm(table(rows)), {**data(), "far": 1e29})


def test_a_table_that_reads_what_only_the_engine_knows_is_left_to_it() -> None:
    rows = [{"country": "$root.order.total > 1000", "fee": "country * 2"}, ROWS[2]]
    assert evaluate_table(jdm(table(rows)), data()) == {"fee": 9, "ship": {"mode": "sea"}}


@pytest.mark.parametrize("opening", ["(", "[", "`${("])
def test_brackets_that_would_take_the_engine_s_parser_forever_are_refused_unread(opening: str) -> None:
    closing = {"(": ")", "[": "]", "`${(": ")}`"}[opening]
    deep = f"map([1..9], {opening * 30}1{closing * 30})"
    with pytest.raises(InputError, match="which nests brackets deeper than 16"):
        evaluate_table(jdm(table([{"_id": "1", "fee": deep}])), data())
    assert evaluate_table(jdm(table([{"_id": "1", "fee": "'" + "(" * 30 + "'"}])), data()) == {"fee": "(" * 30}
