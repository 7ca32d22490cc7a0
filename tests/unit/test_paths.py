"""Paths that nodes write: what is found in the graph, and what a run comes to, played without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anabranch.context.values import Json, format_path
from anabranch.errors import GraphError, Problem
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import load_text
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.play import Evaluate, Played, Script, play
from anabranch.testkit.rules import rule_evaluator


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Evaluate]:
    with rule_evaluator(Settings()) as evaluator:
        yield evaluator


def found(text: str) -> list[Problem]:
    try:
        return list(load_text(text, "g").warnings)
    except GraphError as error:
        return list(error.problems)


def told(text: str) -> list[str]:
    return [f"{str(each.place).removeprefix('g:')} {each.code}" for each in found(text)]


def rule(*sides: str) -> str:
    return f"{{type: rule, rules: [{', '.join(f'{{then: {side}}}' for side in sides)}]}}"


def played(text: str, data: dict[str, Json], evaluate: Evaluate, **outcomes: Any) -> Played:
    loaded = load_text(text, "g")
    given = {name: GivenOutcome.model_validate(each) for name, each in outcomes.items()}
    return play(plan_graph(loaded.graph, loaded.graphs), Script(data, given, assume=True), evaluate)


def trail(run: Played) -> list[tuple[str, dict[str, Json]]]:
    """Who wrote what, by path, behind the input."""
    written = ((each.by, each.changes.set) for each in run.versions if each.number > 1)
    return [(by, {format_path(path): value for path, value in values.items()}) for by, values in written]


FORK = """
name: g
{context}
nodes:
  start: {{type: rule, rules: [{{then: {{started: true}}}}]}}
  a: {a}
  b: {b}
  end: {{type: rule, rules: [{{then: {{total: "{{{{ order.a + order.b }}}}"}}}}]}}
edges: [{{from: start, to: a}}, {{from: start, to: b}}, {{from: a, to: end}}, {{from: b, to: end}}]
"""


def test_two_branches_that_write_two_parts_of_one_object_do_not_conflict(evaluate: Evaluate) -> None:
    text = FORK.format(a=rule("{order.a: 1}"), b=rule("{order.b: 2}"), context="")
    assert told(text) == []
    run = played(text, {"order": {"id": 7}}, evaluate)
    assert (run.failure, run.data) == (None, {"order": {"id": 7, "a": 1, "b": 2}, "started": True, "total": 3})
    assert trail(run) == [
        ("start", {"started": True}),
        ("a", {"order.a": 1}),
        ("b", {"order.b": 2}),
        ("end", {"total": 3}),
    ]


def test_two_branches_that_write_one_part_are_settled_by_its_policy(evaluate: Evaluate) -> None:
    sides = {"a": rule("{order.a: 1, order.b: 5}"), "b": rule("{order.b: 6}")}
    assert told(FORK.format(**sides, context="")) == ["7:35 PARALLEL_WRITES"]
    text = FORK.format(**sides, context="context: {merge: {order.b: sum}}")
    assert told(text) == []
    assert played(text, {"order": {"b": 1}}, evaluate).data["order"] == {"a": 1, "b": 10}


def test_output_collect_failed_and_result_are_written_at_paths(evaluate: Evaluate) -> None:
    text = """
name: g
nodes:
  call: {type: http, url: "https://x.example", output: {order.rate: result.body.rate, order.by.name: "'x'"}}
  ask: {type: approval, output: {order.by.person: result}}
  each:
    type: foreach
    items: lines
    on_item_failure: collect
    failed: order.lines.failed
    collect: {into: order.lines.net, value: net}
    body: {nodes: {n: {type: rule, rules: [{then: {net: "{{ 10 / item }}"}}]}}}
edges: [{from: call, to: ask}, {from: ask, to: each}]
result: {sum.rate: order.rate, sum.lines: order.lines.net, "a\\\\.b": order.by}
"""
    assert told(text) == []
    run = played(text, {"lines": [2, 0]}, evaluate, call={"result": {"body": {"rate": 3}}}, ask={"answer": "Ada"})
    order: Any = run.data["order"]
    by, lines = {"name": "x", "person": "Ada"}, order["lines"]
    assert order == {"rate": 3, "by": by, "lines": lines}
    assert (lines["net"], [each["index"] for each in lines["failed"]]) == ([5], [1])
    assert run.result == {"sum": {"rate": 3, "lines": [5]}, "a.b": by}
    assert ("call", {"order.rate": 3, "order.by.name": "x"}) in trail(run)


def test_values_to_go_on_with_are_written_at_paths(evaluate: Evaluate) -> None:
    call = "{type: http, url: 'https://x.example', output: {order.rate: '1'}, on_failure: {use: {order.rate: 3}}}"
    text = f"name: g\nnodes: {{call: {call}, r: {reading('order.rate')}}}\nedges: [{{from: call, to: r}}]"
    assert told(text) == []
    assert list(graph_inputs(load_text(text).graph)) == []
    run = played(text, {"order": {"id": 1}}, evaluate, call={"fail": "DOWN"})
    assert run.data == {"order": {"id": 1, "rate": 3}, "seen": 3}
    assert trail(run)[0] == ("call", {"order.rate": 3})
    refused = played(text, {"order": [1]}, evaluate, call={"fail": "DOWN"}).failure
    assert refused is not None
    assert "`order.rate` cannot be written: `order` is a list" in refused.message


@pytest.mark.parametrize("order", [[1], 5, None])
@pytest.mark.parametrize(
    ("node", "after"),
    [
        (rule("{order.total: 1}"), ""),
        ("{type: http, url: 'https://x.example', output: {order.total: '1'}}", ""),
        ("{type: approval, output: {order.total: '1'}}", ""),
        ("{type: foreach, items: '[1]', body: {nodes: {i: X}}, collect: {into: order.total, value: '1'}}", ""),
        ("{type: foreach, items: '[1]', body: {nodes: {i: {type: rule, rules: [{then: {order.x: 1}}]}}}}", "[0]/i"),
    ],
)
def test_a_path_through_what_is_no_object_fails_the_node_and_an_edge_may_handle_it(
    node: str, after: str, order: Json, evaluate: Evaluate
) -> None:
    node = node.replace("X", rule("{k: 1}"))
    text = f"""
name: g
nodes: {{n: {node}, h: {rule('{caught: "{{ error.type }} {{ error.node }}"}')}}}
edges: [{{from: n, to: h, outcome: failure}}]
"""
    run = played(text, {"order": order}, evaluate)
    assert run.data["caught"] == f"WRITE_REFUSED n{after}"
    assert run.data["order"] == order


def test_a_node_whose_effect_happened_is_undone_where_its_output_has_no_place(evaluate: Evaluate) -> None:
    text = """
name: g
saga: {}
nodes:
  book:
    type: http
    method: POST
    url: "https://x.example"
    output: {order.id: result.body}
    compensate: {type: http, method: DELETE, url: "https://x.example/"}
"""
    run = played(text, {"order": "no object"}, evaluate, book={"result": {"body": 7}})
    assert run.failure is not None
    assert (run.failure.code, run.undone, run.data) == ("WRITE_REFUSED", ["book"], {"order": "no object"})


def test_a_run_that_is_undone_takes_back_the_path_alone_and_a_compensation_writes_one(evaluate: Evaluate) -> None:
    text = """
name: g
saga: {}
nodes:
  book:
    type: http
    method: POST
    url: "https://x.example"
    output: {order.booking.id: result.body}
    compensate: {type: rule, rules: [{then: {order.undone: "{{ order.booking.id }}"}}]}
  charge: {type: python, handler: charge, reads: [order]}
edges: [{from: book, to: charge}]
"""
    run = played(text, {"order": {"a": 1}}, evaluate, book={"result": {"body": 7}}, charge={"fail": "NO_MONEY"})
    assert run.undone == ["book"]
    assert run.data == {"order": {"a": 1, "undone": 7}}
    rollback = run.versions[-1]
    assert (rollback.by, list(rollback.changes.removed)) == ("rollback", [("order", "booking")])


def test_a_compensation_whose_output_has_no_place_in_the_rolled_back_context_is_told_as_failed(
    evaluate: Evaluate,
) -> None:
    text = """
name: g
saga: {}
nodes:
  book:
    type: http
    method: POST
    url: "https://x.example"
    output: {order: "{'id': result.body}"}
    compensate: {type: http, method: DELETE, url: "https://x.example/", output: {order.cancelled: "true"}}
  charge: {type: python, handler: charge, reads: [order]}
edges: [{from: book, to: charge}]
"""
    outcomes = {"book": {"result": {"body": 7}}, "charge": {"fail": "NO_MONEY"}, "undo book": {"result": {}}}
    run = played(text, {"order": "a text"}, evaluate, **outcomes)
    finish = run.state.finished
    assert finish is not None
    assert (run.data, finish.compensated, finish.not_compensated) == ({"order": "a text"}, (), ("book",))
    reason = finish.reasons["book"]
    assert reason.code == "WRITE_REFUSED"
    assert reason.message.startswith("`order.cancelled` cannot be written: `order` is a single value, not an object")


def reading(expression: str) -> str:
    """A rule that always reads."""
    quoted = expression.replace('"', '\\"')
    return f'{{type: rule, rules: [{{then: {{seen: "{{{{ {quoted} }}}}"}}}}]}}'


@pytest.mark.parametrize(
    ("writes", "reads", "inputs"),
    [
        ("{order.totals.net: 1}", "order.totals.net", []),
        ("{order.totals.net: 1}", "order.totals", []),
        ("{order.totals.net: 1}", "order", []),
        ("{order.totals: {net: 1}}", "order.totals.net", []),
        ("{order: {id: 1}}", "order.id", []),
        ("{order.totals.net: 1}", "order.id", ["order"]),
        ("{order.totals.net: 1}", "order.totals.gross", ["order"]),
        ("{order.totals.net: 1}", "has(order.id) ? order.id : 0", []),
        ("{order.totals.net: 1}", "order.?id.orValue(0)", []),
        ("{order.totals.net: 1}", "order.?id.hasValue() ? order.id : 0", []),
        ("{order.totals.net: 1}", "has(context.order) ? order.id : 0", []),
        (r'{"order\\.id": 1}', "order.id", ["order"]),
        (r'{"order\\.id": 1}', 'context["order.id"]', []),
    ],
)
def test_what_is_read_must_be_given_unless_it_or_a_part_of_it_is_written_before(
    writes: str, reads: str, inputs: list[str]
) -> None:
    nodes = f"nodes: {{w: {rule(writes)}, r: {reading(reads)}}}, edges: [{{from: w, to: r}}]"
    body = f"nodes: {{n: {{type: while, until: 'true', body: {{{nodes}}}}}}}"
    own = f"nodes: {{n: {{type: rule, rules: [{{then: {writes}}}, {reading(reads)[21:-2]}]}}}}"
    for each in (nodes, body, own):
        assert list(graph_inputs(load_text(f"{{name: g, {each}}}").graph)) == inputs


def test_a_part_that_nothing_writes_before_is_told_with_the_near_name() -> None:
    nodes = f"nodes: {{w: {rule('{order.amount: 1}')}, r: {reading('order.amont')}}}\nedges: [{{from: w, to: r}}]"
    (warned,) = found(f"name: g\n{nodes}")
    assert (warned.code, warned.suggestion) == ("KEY_SIMILAR", "did you mean `order.amount`?")
    (wrong,) = found(f"name: g\n{nodes}\ninputs: {{n: {{}}}}")
    assert (wrong.code, wrong.suggestion) == ("KEY_UNKNOWN", "did you mean `order.amount`?")
    assert "reads `order.amont`, which nothing before it writes" in wrong.message
    assert str(wrong.place) == str(warned.place) == "g:2:104"


@pytest.mark.parametrize(
    ("writer", "warned"),
    [
        ("{type: rule, rules: [{when: x, then: {o.a: 1}}]}", ["KEY_MAYBE_MISSING"]),
        ("{type: rule, rules: [{when: x, then: {o.a: 1}, otherwise: {o.a: 2}}]}", []),
        ("{type: rule, rules: [{when: x, then: {o.b: 1}}, {then: {o.a: 2}}]}", []),
        ("{type: rule, rules: [{when: o.given, then: {o.a: 1}}]}", []),
    ],
)
def test_a_part_that_is_written_under_a_condition_and_read_always_is_a_warning(writer: str, warned: list[str]) -> None:
    text = f"name: g\nnodes: {{w: {writer}, r: {reading('o.a')}}}\nedges: [{{from: w, to: r}}]"
    problems = found(text)
    assert [each.code for each in problems] == warned
    assert all("context.?o.?a.orValue(…)" in (each.suggestion or "") for each in problems)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (r"type: rule, rules: [{then: {§'{{ k }}': 1}}]", "KEY_TEMPLATE"),
        (r"type: rule, rules: [{when: a, then: {b: 1}, otherwise: {§'a.{{ k }}': 1}}]", "KEY_TEMPLATE"),
        (r"type: rule, rules: [{then: {a: {§'{{ k }}': 1}}}]", "KEY_TEMPLATE"),
        (r"type: http, url: 'https://x.example', body: {l: [{§'{{ k }}': 1}]}", "KEY_TEMPLATE"),
        (r"type: approval, output: {§'{{ k }}': '1'}", "KEY_TEMPLATE"),
        (r"type: approval, on_failure: {use: {§'{{ k }}': '1'}}", "KEY_TEMPLATE"),
        (r"type: foreach, items: x, collect: {§into: '{{ k }}', value: '1'}, body: {nodes: {i: R}}", "KEY_TEMPLATE"),
        (r"type: rule, rules: [{then: {§a..b: 1}}]", "KEY_PATH_INVALID"),
        (r"type: rule, rules: [{then: {§.a: 1}}]", "KEY_PATH_INVALID"),
        (r"type: rule, rules: [{then: {§'': 1}}]", "KEY_PATH_INVALID"),
        (r"type: rule, rules: [{then: {§'a\': 1}}]", "KEY_PATH_INVALID"),
        (r"type: rule, rules: [{then: {§'a\b': 1}}]", "KEY_PATH_INVALID"),
        (f"type: rule, rules: [{{then: {{§{'a.' * 64}a: 1}}}}]", "KEY_PATH_INVALID"),
        (r"type: rule, rules: [{then: {a: 1, §a.b: 1}}]", "KEY_OVERLAP"),
        (r"type: approval, output: {§a.b.c: '1', a.b: '1'}", "KEY_OVERLAP"),
        (r"type: rule, input: {§o.x: 1}, rules: [{then: {a: '{{ o.x }}'}}]", "KEY_DOTTED"),
    ],
)
def test_keys_that_are_no_paths_are_told_at_their_place(fields: str, code: str) -> None:
    line = f"nodes: {{n: {{{fields.replace('R', rule('{q: 1}'))}}}}}"
    assert f"2:{line.index('§') + 1} {code}" in told(f"name: g\n{line.replace('§', '')}")


def test_keys_of_the_graph_itself_are_looked_at_too() -> None:
    text = f"name: g\nnodes: {{n: {rule('{a.b: 1}')}}}\n"
    assert told(f"{text}result: {{x: a, x.y: a.b}}") == ["3:16 KEY_OVERLAP"]
    assert told(f"{text}result: {{run.x: a}}") == ["3:10 NAME_RESERVED"]
    assert told(f"{text}inputs: {{o.x: {{}}}}") == ["3:10 KEY_DOTTED"]
    assert told(f"{text}context: {{merge: {{a.c: sum}}}}") == ["3:19 MERGE_UNUSED"]
    assert told(f"{text}context: {{merge: {{a.b.c: sum}}}}") == []


def test_a_reserved_name_is_refused_at_the_head_of_a_path() -> None:
    assert told(f"name: g\nnodes: {{n: {rule('{run.x: 1}')}}}") == ["2:41 NAME_RESERVED"]
    assert told(f"name: g\nnodes: {{n: {rule('{a.run: 1}')}}}") == []


def test_a_dry_run_assumes_values_at_paths_and_outcomes_are_given_at_paths(evaluate: Evaluate, tmp_path: Path) -> None:
    text = """
name: g
context: {schema: {properties: {order: {properties: {rate: {type: integer, minimum: 40}}}}}}
nodes:
  call: {type: http, url: "https://x.example", output: {order.rate: result.body.rate, order.state: result.body.state}}
  python: {type: python, handler: h, reads: []}
edges: [{from: call, to: python, when: 'order.state == "ok"'}]
"""
    run = played(text, {"order": {"id": 1}}, evaluate, python={"set": {"order.by": 1, r"a\.b": 2}})
    assert run.data == {"order": {"id": 1, "rate": 40, "state": "ok", "by": 1}, "a.b": 2}
