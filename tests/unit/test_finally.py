"""`finally` as a user meets it: checked, drawn, completed by an editor, rehearsed, tested and pinned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from anabranch.cli.main import app
from anabranch.cli.run_tree import RunTree
from anabranch.errors import GraphError, Problem
from anabranch.graph.checks.schemas import graph_json_schema
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.drawing.boxes import boxes
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.graph.drawing.tree import tree
from anabranch.graph.load import load_graph, load_text, written_out

RULE = "{type: rule, rules: [{then: {paid: 1}}]}"
ORDER = """
name: order
saga: {}
nodes:
  reserve: {type: python, handler: reserve, reads: [], compensate: {type: python, handler: release, reads: []}}
  pay: {type: python, handler: pay, reads: [amount]}
edges: [{from: reserve, to: pay}]
finally:
  timeout: 5m
  nodes:
    tell: {type: python, handler: tell, reads: [order_id], args: {about: "{{ outcome.status }}"}}
    blame:
      type: rule
      rules: [{when: "outcome.error != null", then: {why: "{{ outcome.error.code }}"}}]
    log: {type: foreach, items: outcome.compensated, as: step, body: {nodes: {line: {type: wait, for: 1s}}}}
  edges:
    - {from: tell, to: blame}
    - {from: blame, to: log, when: "outcome.status == 'failed'"}
"""


def problems(text: str, **named: str) -> list[Problem]:
    def resolve(name: str) -> Any:
        return load_text(named[name], name)

    try:
        return list(load_text(text, "g", resolve=resolve).warnings)
    except GraphError as error:
        return list(error.problems)


def codes(text: str, **named: str) -> list[str]:
    return [f"{str(each.place).removeprefix('g:')} {each.code}" for each in problems(text, **named)]


def anabranch(*args: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in args], env={"COLUMNS": "200"})


@pytest.fixture
def order(tmp_path: Path) -> Path:
    path = tmp_path / "order.yaml"
    path.write_text(ORDER, encoding="utf-8")
    return path


# checks


@pytest.mark.parametrize(
    ("last", "code"),
    [
        ("¦nodes: {}", "VALUE_INVALID"),
        ("timeout: ¦0, nodes: {t: {type: wait, for: 1s}}", "DURATION_NOT_POSITIVE"),
        ("nodes: {t: {type: python, handler: h, reads: [], ¦pivot: true}}", "FINALLY_UNDO"),
        ("nodes: {t: {type: wait, for: 1s, ¦compensate: {type: python, handler: h}}}", "FINALLY_UNDO"),
        (
            "nodes: {t: {type: while, while: go, body: {nodes: {p: {type: wait, for: 1s, ¦pivot: true}}}}}",
            "FINALLY_UNDO",
        ),
        ("nodes: {t: {type: wait, for: ¦nothing}}", "VALUE_INVALID"),
        ("nodes: {t: {type: wait, for: 1s}}, edges: [{from: t, to: ¦u}]", "EDGE_UNKNOWN_NODE"),
        ("nodes: {t: {type: http, url: 'https://x/{{ outcome.¦ }}'}}", "EXPRESSION_INVALID"),
        ("nodes: {t: {type: rule, rules: [{then: {¦outcome: 1}}]}}", "NAME_RESERVED"),
    ],
)
def test_what_may_not_stand_in_it_is_an_error_at_its_place(last: str, code: str) -> None:
    line = f"finally: {{{last}}}"
    found = codes(f"name: x\nnodes: {{a: {RULE}}}\n{line.replace('¦', '')}\n")
    assert found == [f"3:{line.index('¦') + 1} {code}"]


def test_problems_name_the_node_as_its_address_does() -> None:
    nodes = "{t: {type: wait, for: 1s, pivot: true}, u: {type: wait, for: 1s}}"
    last = f"{{nodes: {nodes}, edges: [{{from: t, to: u, when: 'a ='}}]}}"
    found = problems(f"name: x\nnodes: {{a: {RULE}}}\nfinally: {last}")
    assert [each.message.partition(" does not")[0] for each in found] == [
        "node 'finally/t' has a `pivot`, and in `finally` nothing is undone",
        "`when` of edge 1 in `finally`",
    ]


def test_the_id_finally_is_reserved_where_there_is_one() -> None:
    text = f"name: x\nnodes: {{finally: {RULE}}}\n"
    assert codes(text) == []
    assert codes(f"{text}finally: {{nodes: {{t: {RULE}}}}}") == ["2:9 NAME_RESERVED"]


INNER = f"name: inner\nnodes: {{a: {RULE}}}\nfinally: {{nodes: {{t: {{type: wait, for: 1s}}}}}}\n"
UNDOING = "name: undoing\nnodes: {w: {type: while, while: go, body: {graph: deep}}}\n"
DEEP = "name: deep\nnodes: {a: {type: python, handler: h, reads: [], compensate: {type: python, handler: u}}}\n"


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("type: graph, graph: ¦inner", ["FINALLY_INLINE"]),
        ("type: foreach, items: xs, body: {graph: ¦inner}", ["FINALLY_INLINE"]),
        ("type: while, while: go, body: {nodes: {p: {type: graph, graph: ¦inner}}}", ["FINALLY_INLINE"]),
        ("type: graph, graph: inner, mode: ¦child_workflow", []),
    ],
)
def test_a_graph_that_has_one_runs_as_a_child_workflow_alone(node: str, expected: list[str]) -> None:
    line = f"nodes: {{n: {{{node}}}}}"
    found = codes(f"name: x\n{line.replace('¦', '')}", inner=INNER)
    assert found == [f"2:{line.index('¦') + 1} {code}" for code in expected]


def test_a_graph_that_undoes_its_steps_runs_in_it_as_a_child_workflow_alone() -> None:
    head = f"name: x\nnodes: {{a: {RULE}}}\nfinally: {{nodes: {{t: {{type: graph, graph: undoing"
    (problem,) = [each for each in problems(f"{head}}}}}}}", undoing=UNDOING, deep=DEEP) if not each.warning]
    assert (problem.code, str(problem.place)) == ("FINALLY_UNDO", "g:3:43")
    assert "runs 'deep/a', which has a `compensate` or `pivot`" in problem.message
    assert codes(f"{head}, mode: child_workflow}}}}}}", undoing=UNDOING, deep=DEEP) == []


def test_keys_that_only_a_run_that_comes_so_far_has_are_a_warning() -> None:
    last = "finally: {nodes: {t: {type: http, url: 'https://x/{{ paid }}', output: {}}}}"
    (problem,) = problems(f"name: x\nnodes: {{a: {RULE}}}\n{last}")
    assert (str(problem.place), problem.code) == ("g:3:54", "KEY_MAYBE_MISSING")
    assert problem.message == "node 'finally/t' needs `paid`, which 'a' writes only in a run that comes so far"


@pytest.mark.parametrize(
    "url",
    ["{{ has(context.paid) ? paid : 0 }}", "{{ outcome.status }}", "{{ context.paid }}"],
)
def test_keys_that_are_asked_for_are_none(url: str) -> None:
    last = f"finally: {{nodes: {{t: {{type: http, url: 'https://x/{url}', output: {{}}}}}}}}"
    assert problems(f"name: x\nnodes: {{a: {RULE}}}\n{last}") == []


def test_keys_with_which_the_run_is_started_are_none_and_are_its_inputs() -> None:
    nodes = "nodes: {a: {type: rule, rules: [{then: {paid: '{{ paid + order }}'}}]}}"
    last = "finally: {nodes: {t: {type: http, url: 'https://x/{{ paid }}/{{ id }}', output: {}}}}"
    loaded = load_text(f"name: x\n{nodes}\n{last}")
    assert [each.code for each in loaded.warnings] == []
    assert graph_inputs(loaded.graph) == {
        "order": ("nodes", "a"),
        "paid": ("nodes", "a"),
        "id": ("finally", "nodes", "t"),
    }


def test_outcome_is_a_name_like_any_other_outside_of_it() -> None:
    node = "nodes: {a: {type: rule, rules: [{then: {outcome: '{{ outcome + 1 }}'}}]}}"
    assert problems(f"name: x\n{node}") == []
    last = "finally: {nodes: {t: {type: wait, for: 1s}}}"
    (problem,) = problems(f"name: x\n{node}\n{last}")
    assert (problem.code, problem.suggestion) == (
        "NAME_NOT_VISIBLE",
        "the name has another meaning only in `finally`",
    )


def test_files_that_its_nodes_name_are_read(tmp_path: Path) -> None:
    (tmp_path / "rules.grl").write_text("rule R { when n > 1 then big = true; }", encoding="utf-8")
    path = tmp_path / "g.yaml"
    path.write_text(f"name: g\nnodes: {{a: {RULE}}}\nfinally: {{nodes: {{r: {{type: rule, grl: rules.grl}}}}}}")
    assert "rule R" in json.dumps(load_graph(path).graph.model_dump(by_alias=True)["finally"])


def test_what_a_run_is_held_to_has_the_judgement_of_its_nodes_written_out() -> None:
    pinned = json.loads(written_out(load_text(ORDER).graph))["finally"]
    assert {name: node["effect"] for name, node in pinned["nodes"].items()} == {
        "tell": True,
        "blame": False,
        "log": None,
    }
    assert pinned["nodes"]["log"]["body"]["nodes"]["line"]["effect"] is False
    assert pinned["timeout"] == 300


# drawings


def test_drawings_have_it_in_a_box_of_its_own() -> None:
    graph = load_text(ORDER).graph
    lines = mermaid(graph, {"reserve": "succeeded", "finally/tell": "running"}).splitlines()
    assert lines[4:9] == [
        '  subgraph n2 ["finally"]',
        '    n3["tell"]',
        '    n4{{"blame"}}',
        '    subgraph n5 ["log: for each step of outcome.compensated"]',
        '      n6(("line"))',
    ]
    assert "  class n3 running" in lines
    assert "finally\n└─ tell (python)\n   ↓  blame (rule)\n" in tree(graph)
    assert "tell" in boxes(graph)


def test_an_editor_knows_its_fields() -> None:
    validator = Draft202012Validator(graph_json_schema())

    def fits(last: dict[str, Any]) -> bool:
        return validator.is_valid({"name": "g", "nodes": {"n": {"type": "stop"}}, "finally": last})

    assert fits({"nodes": {"t": {"type": "wait", "for": "1s"}}, "edges": [], "timeout": "5m"})
    assert [fits({}), fits({"nodes": {}}), fits({"nodes": {"t": {"type": "no"}}})] == [False] * 3


def test_the_live_tree_has_its_nodes_below_the_others() -> None:
    drawn = RunTree(load_text(ORDER).graph, "order-1")
    assert [row.node for row in drawn._rows] == [
        "reserve",
        "pay",
        *("finally/tell", "finally/blame", "finally/log"),
    ]
    assert drawn._types["finally/blame"] == "rule"


# dry runs and tests


def outcomes(path: Path, text: str) -> Path:
    file = path.with_name("outcomes.yaml")
    file.write_text(text, encoding="utf-8")
    return file


def test_a_dry_run_shows_its_nodes_and_why_it_failed(order: Path) -> None:
    given = outcomes(order, "pay: {fail: NO_MONEY, message: none}\nfinally/tell: {fail: NO_ROUTE, message: away}\n")
    result = anabranch("dry-run", order, "-v", "--set", "amount=1", "--set", "order_id=7", "--outcomes", given)
    assert result.exit_code == 1
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "0 s finally/tell failure given NO_ROUTE: away" in rows
    assert {"finally", "node tell (python) tell", "cancelled: finally/blame, finally/log"} <= {*rows}
    assert result.stderr.splitlines() == [
        "error[NO_MONEY]: node 'pay': none",
        "  compensated: reserve",
        "  the finally failed at 'finally/tell': NO_ROUTE: away",
    ]


def test_a_dry_run_assumes_what_its_nodes_come_to(order: Path) -> None:
    result = anabranch("dry-run", order, "--set", "amount=1", "--set", "order_id=7")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split()[2] for line in result.stdout.splitlines()[2:6]] == [
        "reserve",
        "pay",
        "finally/tell",
        "finally/blame",
    ]


def test_an_outcome_of_a_node_that_is_not_in_it_is_refused(order: Path) -> None:
    given = outcomes(order, "finally/tel: {fail: NO_ROUTE}\nfinally/tell: {}\n")
    result = anabranch("dry-run", order, "--set", "amount=1", "--set", "order_id=7", "--outcomes", given)
    assert result.exit_code == 0  # as of a node of any body, only a test file tells that nothing has this name


Run = Callable[[str], Any]


@pytest.fixture
def run(order: Path) -> Run:
    """The result of the one test that a text holds."""

    def run_test(test: str) -> Any:
        file = order.with_name("order.test.yaml")
        file.write_text(
            f"graph: order.yaml\noutcomes: {{finally/tell: {{}}, reserve: {{}}, pay: {{}}}}\ntests:\n{test}\n"
        )
        result = anabranch("test", file, "--json", "--fail-each-node")
        assert result.stderr == ""
        told = json.loads(result.stdout)
        return {**told["files"][0]["tests"][0], "coverage": next(iter(told["coverage"].values()))}

    return run_test


GIVEN = "input: {amount: 1, order_id: 7}"


def test_a_test_has_its_nodes_on_the_path_and_covers_them(run: Run) -> None:
    path = "[reserve, pay, finally/tell, finally/blame, 'finally/log[0]/line']"
    expect = f"{{error: {{code: NO}}, path: {path}, compensated: [reserve], context: {{why: NO}}}}"
    outcomes = "outcomes: {pay: {fail: NO}, undo reserve: {}}"
    result = run(f"  - {{name: t, {GIVEN}, {outcomes}, expect: {expect}}}")
    assert (result["status"], result["mismatches"]) == ("passed", [])
    assert result["coverage"]["nodes"] == {"covered": 6, "total": 6, "missing": []}
    assert result["coverage"]["edges"] == {"covered": 3, "total": 3, "missing": []}


def test_a_finally_that_fails_fails_a_test_that_does_not_expect_it(run: Run) -> None:
    given = f"name: t, {GIVEN}, outcomes: {{finally/tell: {{fail: NO_ROUTE, message: away}}}}"
    (found,) = run(f"  - {{{given}, expect: {{}}}}")["mismatches"]
    assert (found["what"], found["actual"]) == ("finally_failed", "NO_ROUTE at 'finally/tell': away")
    expected = "finally_failed: {code: NO_ROUTE, node: finally/tell, message: away}"
    assert run(f"  - {{{given}, expect: {{{expected}}}}}")["status"] == "passed"
    (found,) = run(f"  - {{name: t, {GIVEN}, expect: {{finally_failed: {{code: NO_ROUTE}}}}}}")["mismatches"]
    assert (found["what"], found["expected"]) == ("finally_failed.code", "NO_ROUTE")


def test_the_time_of_a_finally_passes_in_a_test(run: Run) -> None:
    outcomes = "outcomes: {finally/tell: {after: 6m}}"
    expected = "finally_failed: {code: TIMEOUT, node: finally}"
    assert run(f"  - {{name: t, {GIVEN}, {outcomes}, expect: {{{expected}}}}}")["status"] == "passed"


def test_a_cancelled_run_has_its_finally_in_a_test_and_what_that_did_is_not_left_behind(run: Run) -> None:
    expect = "{status: cancelled, compensated: [reserve], path: [reserve, pay, finally/tell, finally/blame]}"
    result = run(f"  - {{name: t, {GIVEN}, cancel_after: reserve, outcomes: {{undo reserve: {{}}}}, expect: {expect}}}")
    assert (result["status"], result["mismatches"]) == ("passed", [])
    rows = {(each["node"], each["outcome"]): each for each in result["fail_each_node"]}
    assert rows["pay", "failure"]["left"] == []
    assert rows["finally/tell", "failure"]["status"] == "completed"


def test_a_name_that_is_not_in_it_is_an_error_of_the_test(order: Path) -> None:
    file = order.with_name("order.test.yaml")
    file.write_text(f"graph: order.yaml\ntests: [{{name: t, {GIVEN}, expect: {{ran: [finally/tel]}}}}]\n")
    told = anabranch("test", file).stderr
    assert "error[NODE_UNKNOWN]" in told
    assert "did you mean `finally/tell`?" in told
