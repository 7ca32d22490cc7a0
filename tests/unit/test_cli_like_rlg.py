"""The options of rust-logic-graph's `rlg`: `-f`, `-c`, `-v`, `-d`, `-i`; and `profile`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anabranch.cli.main import app

runner = CliRunner()
GRAPH = """
nodes:
  price:
    type: rule
    description: What it costs
    rules: [{then: {total: "{{ pieces * 3 }}"}}]
  tell: {type: python, handler: tell, args: {text: "{{ total }}"}, output: {told: result.ok}}
  undone: {type: python, handler: bad, args: {x: "{{ context.missing }}"}, output: {done: result.ok}}
edges: [{from: price, to: tell, when: total > 5}, {from: tell, to: undone}]
"""


@pytest.fixture
def graph(tmp_path: Path) -> str:
    path = tmp_path / "priced.yaml"
    path.write_text(GRAPH)
    return str(path)


@pytest.fixture
def context(tmp_path: Path) -> str:
    path = tmp_path / "context.yaml"
    path.write_text("pieces: 2\n")
    return str(path)


def run(*arguments: str) -> str:
    told = runner.invoke(app, arguments)
    assert told.exit_code == 0, told.output
    return told.stdout


def test_validate_takes_the_file_by_f_and_tells_all_by_v(graph: str) -> None:
    assert "node price (rule)" not in run("validate", "-f", graph)
    lines = run("validate", "-f", graph, "-v").splitlines()
    assert "  node price (rule)  1 rule" in lines
    assert "  edge price → tell  when total > 5" in lines


def test_visualize_takes_the_file_by_f_and_details_by_d(graph: str) -> None:
    assert "What it costs" not in run("visualize", "-f", graph)
    assert "What it costs" in run("visualize", "-f", graph, "-d")


def test_dry_run_takes_the_context_by_c_and_tells_all_by_v(graph: str, context: str) -> None:
    shown = run("dry-run", "-f", graph, "-c", context)
    assert "total = 6" in shown
    assert "edge price → tell" not in shown
    assert "  edge price → tell  when total > 5" in run("dry-run", "-f", graph, "-c", context, "-v").splitlines()


def test_set_wins_over_the_context(graph: str, context: str) -> None:
    assert json.loads(run("dry-run", graph, "-c", context, "--set", "pieces=9", "--json"))["data"]["total"] == 27


def test_two_files_of_data_are_refused(graph: str, context: str) -> None:
    told = runner.invoke(app, ["dry-run", graph, "-c", context, "--input", context])
    assert told.exit_code == 1


def test_profile_measures_each_node_so_often(graph: str, context: str) -> None:
    told = json.loads(run("profile", "-f", graph, "-c", context, "-i", "7", "--json"))
    assert [(node["address"], node["by"], node["evaluations"]) for node in told["nodes"]] == [
        ("price", "evaluated", 7),
        ("tell", "assumed", 7),
        ("undone", "assumed", 7),
    ]
    assert told["nodes"][0]["written_bytes"] == 1
    assert told["iterations"] == 7
    assert told["fastest_ms"] <= told["average_ms"] <= told["slowest_ms"]


def test_profile_of_a_graph_that_fails_is_a_failure(graph: str, context: str, tmp_path: Path) -> None:
    outcomes = tmp_path / "outcomes.yaml"
    outcomes.write_text("tell: {fail: NO}\n")
    told = runner.invoke(app, ["profile", graph, "-c", context, "-i", "1", "--outcomes", str(outcomes)])
    assert told.exit_code == 1
    assert "price" in told.stdout
