"""`fail` and `stop` as a user meets them: checked, drawn, completed by an editor, rehearsed and tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from anabranch.cli.main import app
from anabranch.errors import GraphError, Problem
from anabranch.graph.checks.schemas import graph_json_schema
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.graph.drawing.tree import tree
from anabranch.graph.load import load_text

STOCK = """
name: stock
nodes:
  check: {type: rule, rules: [{then: {missing: "{{ pieces - stock }}"}}]}
  nothing_to_do: {type: stop}
  sold_out: {type: fail, code: OUT_OF_STOCK, message: "{{ missing }} of {{ pieces }} pieces are missing"}
  ship: {type: python, handler: ship, reads: [pieces]}
edges:
  - {from: check, to: nothing_to_do, when: pieces == 0}
  - {from: check, to: sold_out, when: missing > 0}
  - {from: check, to: ship, otherwise: true}
"""
TESTS = """
graph: stock.yaml
tests:
  - {name: none, input: {pieces: 0, stock: 1}, expect: {path: [check, nothing_to_do], ran: [nothing_to_do], result:
      {pieces: 0, stock: 1, missing: -1}}}
  - name: too many
    input: {pieces: 3, stock: 1}
    expect:
      path: [check, sold_out]
      error: {node: sold_out, code: OUT_OF_STOCK, message: 2 of 3 pieces are missing}
      skipped: [ship]
  - {name: enough, input: {pieces: 1, stock: 1}, outcomes: {ship: {}}, order: [check, ship], expect: {skipped:
      [nothing_to_do, sold_out]}}
"""


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    path = tmp_path / "stock.yaml"
    path.write_text(STOCK, encoding="utf-8")
    return path


def anabranch(*args: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in args], env={"COLUMNS": "200"})


def problems(text: str) -> list[Problem]:
    try:
        return list(load_text(text, "g").warnings)
    except GraphError as error:
        return list(error.problems)


def test_edges_that_no_end_takes_are_errors_in_a_body_too() -> None:
    nodes = "{f: {type: fail, code: A}, s: {type: stop}, a: {type: wait, for: 1s}, b: {type: wait, for: 1s}}"
    edges = "[{from: f, to: a}, {from: s, to: b, outcome: always}, {from: f, to: b, outcome: [timeout, success]}]"
    level = f"nodes: {nodes}\nedges: {edges}\n"
    found = [each for each in problems(f"name: x\n{level}") if not each.warning]
    assert [(str(each.place), each.code) for each in found] == [
        (f"g:3:{column}", "EDGE_NEVER_TAKEN") for column in (9, 27, 62)
    ]
    assert found[0].message == "the edge 'f' → 'a' is never taken: it leaves a `fail` node, which always fails"
    assert found[1].message.endswith("it leaves a `stop` node, where the graph, or the body, ends")
    body = f"body: {{nodes: {nodes}, edges: {edges}}}"
    inside = problems(f"name: x\nnodes: {{w: {{type: while, while: go, {body}}}}}\n")
    assert [each.code for each in inside if not each.warning] == ["EDGE_NEVER_TAKEN"] * 3


@pytest.mark.parametrize("outcome", ["failure", "always", "[failure, success]"])
def test_an_edge_on_the_failure_of_a_fail_node_is_taken(outcome: str) -> None:
    nodes = "{f: {type: fail, code: A}, a: {type: wait, for: 1s}}"
    assert problems(f"name: x\nnodes: {nodes}\nedges: [{{from: f, to: a, outcome: {outcome}}}]") == []


@pytest.mark.parametrize("end", ["fail, code: A", "stop"])
def test_an_end_undoes_nothing(end: str) -> None:
    node = f"{{type: wait, for: 1s, compensate: {{type: {end}}}}}"
    assert [each.code for each in problems(f"name: x\nnodes: {{n: {node}}}")] == ["COMPENSATION_TYPE"]


def test_the_message_of_a_fail_node_says_what_a_run_must_be_started_with() -> None:
    nodes = 'a: {type: rule, rules: [{then: {amount: 1}}]}, f: {type: fail, code: A, message: "{{ amont }}"}'
    (problem,) = problems(f"name: x\nnodes: {{{nodes}}}\nedges: [{{from: a, to: f}}]")
    assert (problem.code, str(problem.place), problem.suggestion) == ("KEY_SIMILAR", "g:2:94", "did you mean `amount`?")


def test_ends_have_shapes_of_their_own_and_the_code_is_what_a_fail_node_does() -> None:
    graph = load_text(STOCK).graph
    assert {'  n1[\\"nothing_to_do"/]', '  n2>"sold_out"]'} <= set(mermaid(graph).splitlines())
    shown = tree(graph, details=True)
    assert "[missing > 0] sold_out (fail)\n   │     OUT_OF_STOCK\n" in shown
    assert "nothing_to_do (stop)\n   │     ends here\n" in shown


def test_an_editor_knows_their_fields() -> None:
    validator = Draft202012Validator(graph_json_schema())

    def fits(**node: str) -> bool:
        return validator.is_valid({"name": "g", "nodes": {"n": node}})

    assert fits(type="stop", when="a")
    assert fits(type="fail", code="SOLD_OUT", message="{{ a }}")
    assert [fits(type="fail"), fits(type="fail", code="a b"), fits(type="stop", code="A")] == [False] * 3


def test_a_dry_run_shows_where_a_run_ends_and_why(stock: Path) -> None:
    shown = anabranch("dry-run", stock, "--set", "pieces=3", "--set", "stock=1")
    assert shown.exit_code == 1
    rows = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "0 s sold_out failure evaluated OUT_OF_STOCK: 2 of 3 pieces are missing" in rows
    assert "error[OUT_OF_STOCK]" in shown.stderr
    completed = anabranch("dry-run", stock, "--set", "pieces=0", "--set", "stock=1")
    assert (completed.exit_code, completed.stderr) == (0, "")
    assert ["0", "s", "nothing_to_do", "success", "evaluated"] in [
        line.split() for line in completed.stdout.splitlines()
    ]


def test_a_profile_has_them_too(stock: Path) -> None:
    told = json.loads(anabranch("profile", stock, "--set", "pieces=0", "--set", "stock=1", "-i", "1", "--json").stdout)
    assert [(each["address"], each["by"]) for each in told["nodes"]] == [
        ("check", "evaluated"),
        ("nothing_to_do", "evaluated"),
    ]


def test_tests_have_them_on_the_path_and_their_edges_covered(stock: Path) -> None:
    file = stock.with_name("stock.test.yaml")
    file.write_text(TESTS, encoding="utf-8")
    result = anabranch("test", file, "--min-coverage", "100", "--fail-each-node", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["files"][0]["tests"][1]["fail_each_node"][0]["node"]) == (0, "check")
    assert [each["status"] for each in told["files"][0]["tests"]] == ["passed"] * 3


def test_a_fail_node_may_stand_in_the_order_of_a_test(stock: Path) -> None:
    text = STOCK.replace("  ship:", "  log: {type: python, handler: log, reads: []}\n  ship:")
    stock.write_text(f"{text}  - {{from: sold_out, to: log, outcome: failure}}\n", encoding="utf-8")
    file = stock.with_name("stock.test.yaml")
    case = "name: t, input: {pieces: 3, stock: 1}, outcomes: {log: {}}, order: [check, sold_out, log]"
    file.write_text(f"graph: stock.yaml\ntests: [{{{case}, expect: {{path: [check, sold_out, log]}}}}]\n")
    assert anabranch("test", file).exit_code == 0


def test_an_outcome_of_a_node_that_ends_by_itself_is_refused(stock: Path) -> None:
    file = stock.with_name("stock.test.yaml")
    given = "outcomes: {sold_out: {fail: OTHER}, nothing_to_do: {set: {a: 1}}}"
    file.write_text(f"graph: stock.yaml\ntests: [{{name: t, input: {{pieces: 0, stock: 1}}, {given}, expect: {{}}}}]\n")
    told = anabranch("test", file).stderr
    assert "error[OUTCOME_INVALID]" in told
    assert "help: it fails by itself, with its `code`" in told
    assert "help: it succeeds by itself" in told
