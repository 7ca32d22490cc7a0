"""What `validate` finds in a graph whose shape is right: one wrong graph for each code, at its line and column."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from anabranch.errors import GraphError, Problem
from anabranch.graph.checks.similar import is_slip, similar_names
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import LoadedGraph, load_graph, load_text
from tests.work import lines_run

EACH = "type: foreach, items: a, body: {graph: g}, on_item_failure:"
CLIENT = "client_id: c, client_secret: 'env:HTTP_SECRET_A'"
TELL = "{type: python, handler: h}"
ANSWER = "type: object, properties: {a: {type: boolean}, t: {type: string}, e: {enum: [x, z]}}"
NO_EFFECT, INVALID = "FIELD_HAS_NO_EFFECT", "EXPRESSION_INVALID"
RULE = "{type: rule, rules: [{then: {k: 1}}]}"


def found(text: str) -> tuple[Problem, ...]:
    """All problems of a graph, or its warnings."""
    try:
        return load_text(text, "g").warnings
    except GraphError as error:
        return error.problems


def codes(text: str) -> list[str]:
    return [f"{str(problem.place).removeprefix('g:')} {problem.code}" for problem in found(text)]


def node(text: str) -> list[str]:
    """Codes of a graph that has one node; its fields are in line 2."""
    return codes(f"name: x\nnodes: {{n: {{{text}}}}}\n")


def load(text: str) -> LoadedGraph:
    return load_text(text, "g")


def rules(*words: str) -> str:
    """Rule nodes: the first letter of a word is a node's id, the others are the keys that it writes."""
    return "".join(
        f"  {name[0]}: {{type: rule, rules: [{{then: {{{', '.join(f'{key}: 1' for key in name[1:])}}}}}]}}\n"
        for name in words
    )


def test_an_edge_to_an_unknown_node_is_an_error_with_the_near_name() -> None:
    (problem,) = found(f"name: x\nnodes: {{start: {RULE}, stop: {RULE}}}\nedges: [{{from: start, to: stopp}}]")
    assert (problem.code, str(problem.place), problem.suggestion) == (
        "EDGE_UNKNOWN_NODE",
        "g:3:27",
        "did you mean `stop`?",
    )


def test_an_edge_out_of_a_body_is_unknown_there() -> None:
    body = f"{{type: while, while: w, body: {{nodes: {{b: {RULE}}}, edges: [{{from: b, to: a}}]}}}}"
    assert [one.code for one in found(f"name: x\nnodes: {{a: {RULE}, w: {body}}}") if not one.warning] == [
        "EDGE_UNKNOWN_NODE"
    ]


def test_a_cycle_is_shown_from_its_first_node_at_the_edge_that_closes_it() -> None:
    text = (
        "name: x\nnodes:\n"
        + rules("ax", "by", "cz", "du")
        + ("edges:\n  - {from: d, to: b}\n  - {from: a, to: b}\n  - {from: b, to: c}\n  - {from: c, to: d}\n")
    )
    (problem,) = found(text)
    assert (problem.code, str(problem.place)) == ("CYCLE", "g:8:5")
    assert "b → c → d → b" in problem.message


def test_each_separate_cycle_is_reported() -> None:
    text = (
        "name: x\nnodes:\n"
        + rules("ax", "by", "cz")
        + ("edges:\n  - {from: a, to: a}\n  - {from: b, to: c}\n  - {from: c, to: b}\n")
    )
    assert codes(text) == ["7:5 CYCLE", "9:5 CYCLE"]


def test_a_cycle_in_a_body_is_found() -> None:
    text = f"""\
name: x
nodes:
  w:
    type: while
    while: go
    body:
      nodes: {{a: {RULE}}}
      edges: [{{from: a, to: a}}]
"""
    assert codes(text) == ["8:15 CYCLE"]


@pytest.mark.parametrize(
    ("head", "edges", "reason"),
    [
        ("", "{from: a, to: b, when: 'false'}", "the edge from 'a' is never taken"),
        ("when: 'false', ", "{from: a, to: b}", "its `when` is always false"),
        ("join: all, ", "{from: a, to: b}, {from: a, to: b, outcome: failure}", "waits for two outcomes of 'a'"),
        (
            "join: 2, ",
            "{from: a, to: b}, {from: a, to: b, outcome: failure}",
            "`join: 2` waits for two outcomes of 'a'",
        ),
        ("join: 2, ", "{from: a, to: b}, {from: a, to: b, when: 'false'}", "the edge from 'a' is never taken"),
        ("join: all, ", "{from: a, to: b}, {from: a, to: b, outcome: [timeout, failure]}", "two outcomes of 'a'"),
        (
            "join: all, ",
            "{from: a, to: b, when: k > 1}, {from: a, to: b, otherwise: true}",
            "for `otherwise` and another",
        ),
    ],
)
def test_a_node_that_can_never_run_is_a_warning(head: str, edges: str, reason: str) -> None:
    nodes = f"  a: {RULE}\n  b: {{{head}type: wait, for: 1s}}\n  c: {RULE}\n"
    text = f"name: x\nnodes:\n{nodes}edges: [{edges}, {{from: b, to: c}}]"
    (problem,) = found(text)
    assert (problem.code, str(problem.place), problem.warning) == ("NODE_UNREACHABLE", "g:4:3", True)
    assert reason in problem.message


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        *[(join, []) for join in ("1", "2", "3, losers: cancel")],
        ("4", [("JOIN_COUNT", "the node 'won' has `join: 4`, and 3 edges lead to it")]),
        ("0", [("VALUE_INVALID", "`join` of node 'won' must be one of any, all, first, or it must be greater")]),
        (
            "1.5",
            [("VALUE_INVALID", "`join` of node 'won' must be one of any, all, first, or it must be a whole number")],
        ),
    ],
)
def test_a_join_of_so_many_edges_is_of_one_to_all_of_them(join: str, expected: list[tuple[str, str]]) -> None:
    nodes = "\n".join(f"  {name}: {{type: wait, for: 1s}}" for name in "abc")
    edges = ", ".join(f"{{from: {name}, to: won}}" for name in "abc")
    text = f"name: x\nnodes:\n{nodes}\n  won: {{type: wait, for: 1s, join: {join}}}\nedges: [{edges}]\n"
    problems = found(text)
    assert [
        (each.code, each.message[: len(start)]) for each, (_, start) in zip(problems, expected, strict=True)
    ] == expected
    assert all(str(each.place) == "g:6:36" for each in problems)


def test_what_fewer_branches_write_than_a_join_of_two_may_do_without_may_be_missing() -> None:
    writes = {"a": "x: 1, y: 1, z: 1", "b": "x: 2, y: 2", "c": "x: 3"}
    nodes = "\n".join(f"  {name}: {{type: rule, rules: [{{then: {{{each}}}}}]}}" for name, each in writes.items())
    won = "{type: rule, join: 2, rules: [{then: {n: '{{ x + y + z }}'}}]}"
    edges = ", ".join(f"{{from: {name}, to: won}}" for name in "abc")
    head = "name: x\ncontext: {conflict_resolution: last_write_wins}\nnodes:\n"
    text = f"{head}{nodes}\n  won: {won}\nedges: [{edges}]\n"
    assert [(each.code, each.message.split("`")[1]) for each in found(text)] == [("KEY_MAYBE_MISSING", "z")]


def test_lists_of_the_same_outcomes_are_the_same_edge() -> None:
    edges = "{from: a, to: b, outcome: [failure, timeout]}, {from: a, to: b, outcome: [timeout, failure]}"
    text = f"name: x\nnodes: {{a: {RULE}, b: {{type: wait, for: 1s}}}}\nedges: [{edges}]\n"
    assert codes(text) == ["3:56 EDGE_DUPLICATE"]


@pytest.mark.parametrize("pair", ["failure", "[failure, timeout]", "[timeout, failure]"])
def test_success_and_a_list_without_it_exclude_each_other(pair: str) -> None:
    nodes = f"  s: {{type: python, handler: h, output: {{z: '1'}}}}\n  good: {RULE}\n  bad: {RULE}\n"
    edges = f"  - {{from: s, to: good}}\n  - {{from: s, to: bad, outcome: {pair}}}\n"
    assert codes(f"name: x\nnodes:\n{nodes}edges:\n{edges}") == []


@pytest.mark.parametrize(("one", "other"), [("failure", "[failure, timeout]"), ("[success, failure]", "success")])
def test_outcomes_that_overlap_do_not_exclude_each_other(one: str, other: str) -> None:
    nodes = f"  s: {{type: python, handler: h, output: {{z: '1'}}}}\n  good: {RULE}\n  bad: {RULE}\n"
    edges = f"  - {{from: s, to: good, outcome: {one}}}\n  - {{from: s, to: bad, outcome: {other}}}\n"
    assert codes(f"name: x\nnodes:\n{nodes}edges:\n{edges}") == ["5:37 PARALLEL_WRITES"]


def otherwise(*edges: str) -> list[tuple[str, str, str]]:
    """Code, place and message of each problem of these edges."""
    nodes = f"  a: {RULE}\n  b: {{type: wait, for: 1s}}\n  c: {{type: wait, for: 1s}}\n"
    text = f"name: x\nnodes:\n{nodes}edges:\n" + "".join(f"  - {{from: a, {edge}}}\n" for edge in edges)
    return [(each.code, str(each.place).removeprefix("g:"), each.message) for each in found(text)]


@pytest.mark.parametrize(
    ("edges", "code", "place", "message"),
    [
        (
            ("to: b, when: k > 1", "to: c, otherwise: true, when: k > 2"),
            *("EDGE_OTHERWISE", "8:22", "edge 2 has `otherwise` beside `when`"),
        ),
        (
            ("to: b, when: k > 1", "to: c, otherwise: true, outcome: failure"),
            *("EDGE_OTHERWISE", "8:22", "edge 2 has `otherwise` beside `outcome: failure`"),
        ),
        (
            ("to: b, when: k > 1", "to: c, otherwise: true, outcome: [timeout, success]"),
            *("EDGE_OTHERWISE", "8:22", "edge 2 has `otherwise` beside `outcome: [success, timeout]`"),
        ),
        (
            ("to: b, otherwise: true", "to: c, when: k > 1", "to: c, otherwise: true"),
            *("EDGE_OTHERWISE", "9:22", "edge 3 is the second `otherwise` of 'a'"),
        ),
        (
            ("to: b, otherwise: true", "to: c"),
            *("EDGE_OTHERWISE", "7:22", "edge 1 is never taken: the edge 'a' → 'c' always is"),
        ),
        (
            ("to: b, outcome: [success, failure]", "to: c, otherwise: true"),
            *("EDGE_OTHERWISE", "8:22", "edge 2 is never taken: the edge 'a' → 'b' always is"),
        ),
        (
            ("to: b, outcome: always", "to: c, otherwise: true"),
            *("FIELD_HAS_NO_EFFECT", "8:22", "edge 2 has `otherwise`, and no other success edge leaves 'a'"),
        ),
    ],
)
def test_an_otherwise_that_chooses_nothing_is_an_error(
    edges: tuple[str, ...], code: str, place: str, message: str
) -> None:
    (problem,) = otherwise(*edges)
    assert problem[:2] == (code, place)
    assert problem[2].startswith(message)


def test_an_otherwise_beside_edges_that_have_a_condition_each_is_right() -> None:
    assert otherwise("to: b, when: k > 1", "to: c, otherwise: true", "to: b, outcome: failure") == []


def test_isolated_nodes_and_double_edges_are_warnings() -> None:
    text = "name: x\nnodes:\n" + rules("ax", "by", "cz") + "edges:\n  - {from: a, to: b}\n  - {from: a, to: b}\n"
    assert codes(text) == ["5:3 NODE_ISOLATED", "8:5 EDGE_DUPLICATE"]


def test_nodes_without_any_edges_run_side_by_side_without_a_warning() -> None:
    assert codes("name: x\nnodes:\n" + rules("ax", "by")) == []


def test_nodes_are_counted_with_those_of_bodies() -> None:
    inner = ", ".join(f"n{index}: {{type: wait, for: 1}}" for index in range(1500))
    outer = ", ".join(f"n{index}: {{type: wait, for: 1}}" for index in range(600))
    text = f"name: x\nnodes:\n  w: {{type: while, while: go, body: {{nodes: {{{inner}}}}}}}\n  " + outer.replace(
        ", n", "\n  n"
    )
    assert codes(text) == ["2:1 GRAPH_TOO_LARGE"]


def marked(field: str) -> str:
    """The field with a mark where problems of its value are placed: an object's are at its key."""
    return f"¦{field}" if "{" in field else field.replace(": ", ": ¦", 1)


_BODY = "body: {nodes: {p: {type: wait, for: 1s}}}"
_ELSEWHERE = (
    "heartbeat: 5s",
    "priority: 1",
    "local: true",
    "circuit_breaker: {failures: 3}",
    "rate_limit: {limit: 3}",
    "concurrency: {limit: 3}",
    "queue_timeout: 1s",
    "total_timeout: 1s",
)
_ENDS_DO_NOTHING = (
    *_ELSEWHERE,
    "task_queue: q",
    "timeout: 5s",
    "retry: {}",
    "output: {a: '1'}",
    "cache: {key: a}",
    "effect: true",
    "pivot: true",
    "compensate: {type: rule, rules: [{then: {a: 1}}]}",
)
MISPLACED = {
    "type: wait, for: 1s": (*_ELSEWHERE, "task_queue: q", "timeout: 5s", "retry: {}", "output: {a: '1'}"),
    "type: approval": (*_ELSEWHERE, "task_queue: q", "retry: {}", "losers: cancel"),
    "type: receive, event: a": (*_ELSEWHERE, "task_queue: q", "retry: {}", "mode: all"),
    f"type: foreach, items: '[1]', {_BODY}": (
        *_ELSEWHERE,
        "task_queue: q",
        "output: {a: '1'}",
        "losers: cancel",
    ),
    f"type: while, while: 'false', {_BODY}": (*_ELSEWHERE, "task_queue: q", "output: {a: '1'}"),
    "type: graph, graph: g": (*_ELSEWHERE, "task_queue: q"),
    "type: graph, graph: g, mode: child_workflow": _ELSEWHERE,
    "type: ai, model: 'openai:b', prompt: a": ("losers: cancel", "join: all", "join: first", "join: 1"),
    "type: fail, code: A": (*_ENDS_DO_NOTHING, "on_failure: continue"),
    "type: stop": (*_ENDS_DO_NOTHING, "on_failure: continue", "on_failure: pause"),
}
"""Fields that would do nothing, by the node."""


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("type: rule", ["RULE_SOURCE of the node"]),
        ("type: rule, ¦rules: []", ["RULE_SOURCE"]),
        ("type: rule, rules: [{then: {a: 1}}], grl: ¦¦x", ["RULE_SOURCE", "EXPRESSION_INVALID"]),
        ("type: rule, rules: [¦{when: a}]", ["RULE_EMPTY"]),
        ("type: rule, rules: [{then: {a: 1}, ¦otherwise: {a: 2}}]", ["RULE_OTHERWISE"]),
        ("type: rule, decision_table: ¦some text", ["DECISION_TABLE"]),
        ("type: rule, ¦decision_table: {nodes: []}", ["DECISION_TABLE"]),
        ("type: db, connection: X", ["DB_SOURCE of the node"]),
        ("type: db, connection: X, ¦statements: []", ["DB_SOURCE"]),
        ("type: db, connection: X, query: ¦' '", ["DB_SOURCE"]),
        ("type: db, connection: X, query: select 1, ¦statements: [{query: select 1}]", ["DB_SOURCE"]),
        ("type: db, connection: X, query: ¦'select :a', params: {}", ["SQL_BIND_MISSING"]),
        ("type: db, connection: X, query: select 1, params: {a: ¦1}", ["SQL_BIND_EXTRA"]),
        ("type: db, connection: X, query: ¦'select :a::int', params: {a: 1}", ["SQL_BIND_CAST"]),
        ("type: db, connection: X, query: ¦'select {{ a }}'", ["SQL_TEMPLATE"]),
        ("type: db, connection: X, query: ¦commit", ["SQL_CONTROL"]),
        ("type: db, connection: X, statements: [{query: select 1}, {query: ¦\"attach 'a' as b\"}]", ["SQL_CONTROL"]),
        (
            "type: db, connection: X, ¦params: {a: 1}, statements: [{query: ¦'select :b'}]",
            ["SQL_BIND_EXTRA", "SQL_BIND_MISSING"],
        ),
        ("type: ai, model: ¦gpt-4, prompt: x", ["AI_MODEL"]),
        ("type: ai, model: 'openai:x', prompt: ¦' '", ["AI_PROMPT"]),
        ("type: ai, model: 'openai:x', prompt: x, ¦output_schema: {type: array}", ["AI_SCHEMA"]),
        ("type: ai, model: 'openai:x', prompt: x, ¦output_schema: {type: [object, 'null']}", ["AI_SCHEMA"]),
        ("type: ai, model: 'openai:x', prompt: x, ¦output_schema: {properties: {a: {}}}", ["AI_SCHEMA"]),
        (
            "type: ai, model: 'openai:x', prompt: x, ¦output_schema: {$ref: '#/$defs/a', $defs: {a: {type: string}}}",
            ["AI_SCHEMA"],
        ),
        ("type: ai, model: 'openai:x', prompt: x, ¦output_schema: {type: object}", ["AI_SCHEMA"]),
        ("type: ai, model: 'openai:x', prompt: x, output_schema: {type: object}, output: {a: result.a}", []),
        ("type: ai, model: 'openai:x', prompt: x, output_schema: {type: object, additionalProperties: true}", []),
        ("type: ai, model: ['openai:x', ¦'y'], prompt: x", ["AI_MODEL"]),
        ("type: ai, model: ['openai:x', 'ollama:y', ¦'openai:x'], prompt: x", ["AI_MODEL"]),
        ("type: ai, model: ['openai:x', 'env:ANABRANCH_MODEL'], prompt: x, budget: {tokens: 9}, attempts: 1", []),
        ("type: http, url: ¦'ftp://x'", ["HTTP_URL"]),
        ("type: http, url: ¦'https://x/?key=env:HTTP_SECRET_A'", ["HTTP_SECRET"]),
        ("type: http, url: 'https://x', headers: {A: ¦'Bearer env:HTTP_SECRET_A'}", ["HTTP_SECRET"]),
        ("type: http, url: 'https://x', headers: {A: ¦'env:HTTP_KEY'}", ["HTTP_SECRET"]),
        ("type: http, url: 'https://x', query: {a: {b: ¦'env:HTTP_SECRET_A'}}", ["HTTP_SECRET"]),
        ("type: http, url: 'https://x', method: POST, body: {a: [¦'x env:HTTP_SECRET_A']}", ["HTTP_SECRET"]),
        ("type: http, url: 'https://x', method: POST, body: {a: [¦'env:HOME']}", ["HTTP_SECRET"]),
        ("type: http, url: 'https://x', method: POST, body: {a: ['env:HTTP_SECRET_A']}", []),
        ("type: http, url: 'https://x', auth: {bearer: 'env:HTTP_SECRET_A'}", []),
        ("type: http, url: 'https://x', auth: {bearer: ¦'k3y'}", ["HTTP_SECRET"]),
        ("type: http, url: 'https://x', auth: {bearer: ¦'{{ k }}'}", ["HTTP_SECRET"]),
        ("type: http, url: 'https://x', auth: {bearer: ¦¦'Bearer env:HTTP_SECRET_A'}", ["HTTP_SECRET", "HTTP_SECRET"]),
        ("type: http, url: 'https://x', auth: {basic: {user: a, password: ¦b}}", ["HTTP_SECRET"]),
        (
            "type: http, url: 'https://x', auth: {basic: {user: ¦'env:HOME', password: 'env:HTTP_SECRET_A'}}",
            ["HTTP_SECRET"],
        ),
        (f"type: http, url: 'https://x', auth: {{oauth2: {{{CLIENT}, token_url: 'https://x'}}}}", []),
        (f"type: http, url: 'https://x', auth: {{oauth2: {{{CLIENT}, token_url: ¦x}}}}", ["HTTP_URL"]),
        (
            f"type: http, url: 'https://x', auth: {{oauth2: {{{CLIENT}, token_url: 'http://x', scope: ¦'env:A1'}}}}",
            ["HTTP_SECRET"],
        ),
        ("type: http, url: 'https://x', ¦auth: {}", ["HTTP_AUTH"]),
        ("type: http, url: 'https://x', poll: {until: result.status == 200, every: 1s, timeout: 2s}", []),
        ("type: http, url: 'https://x', poll: {until: a.b, every: ¦0}", ["DURATION_NOT_POSITIVE"]),
        ("type: http, url: 'https://x', poll: {until: a.b, every: 5s, timeout: ¦5s}", ["HTTP_POLL"]),
        ("type: http, url: 'https://x', ¦retry: {max_attempts: 2}, poll: {until: a.b}", ["HTTP_POLL"]),
        ("type: http, url: 'https://x', local: ¦true, poll: {until: a.b}", ["HTTP_POLL"]),
        ("type: http, url: 'https://x', poll: {until: a.b}, ¦pages: {}", ["HTTP_POLL"]),
        ("type: http, url: 'https://x', pages: {next: 'result.body.next + page'}", []),
        ("type: http, url: 'https://x', pages: {items: 'result.¦'}", ["EXPRESSION_INVALID"]),
        ("type: http, url: 'https://x', method: POST, ¦pages: {}", ["HTTP_PAGES"]),
        (
            "type: http, url: 'https://x', ¦auth: {bearer: 'env:HTTP_SECRET_A', basic: {user: a, password: ¦b}}",
            ["HTTP_AUTH", "HTTP_SECRET"],
        ),
        (
            "type: http, url: 'https://x', headers: {Authorization: a}, ¦auth: {bearer: 'env:HTTP_SECRET_A'}",
            ["HTTP_AUTH"],
        ),
        ("type: http, url: 'https://x', headers: {A: env:HTTP_SECRET_A}, query: {b: [env:HTTP_SECRET_B]}", []),
        ("type: http, url: 'https://x/env:prod', body: 'env: A'", []),
        ("type: while, while: a, ¦body: {}", ["BODY_SOURCE"]),
        ("type: while, while: a, body: {graph: ¦g, nodes: {b: {type: wait, for: 1}}}", ["BODY_SOURCE"]),
        (f"{EACH} ¦collect", ["FAILED_KEY"]),
        (f"{EACH} collect, failed: ¦k, collect: {{into: k, value: a}}", ["FAILED_KEY"]),
        (f"{EACH} collect, failed: k, tolerate: 2, collect: {{into: n, value: a, when: a}}", []),
        (f"{EACH} skip, failed: ¦k", ["FIELD_HAS_NO_EFFECT"]),
        (f"{EACH} fail, tolerate: ¦5%", ["FIELD_HAS_NO_EFFECT"]),
        *[(f"{EACH} skip, tolerate: ¦{wrong}", ["VALUE_INVALID"]) for wrong in ("-1", "101%", "half", "true")],
        *[(f"{EACH} skip, batch: ¦{wrong}", ["VALUE_INVALID"]) for wrong in ("0", "10001", "2.5", "true", "'2'")],
        (f"{EACH} skip, item_errors: ¦a", ["FIELD_HAS_NO_EFFECT"]),
        (f"{EACH} skip, batch: 2, as: ¦index", ["NAME_RESERVED"]),
        (f"{EACH} skip, batch: 2, item_errors: 'items.map(each, null)'", []),
        ("type: while, body: {graph: g}", ["WHILE_CONDITION of the node"]),
        ("type: while, while: a, until: ¦b, body: {graph: g}", ["WHILE_CONDITION"]),
        ("type: wait", ["WAIT_SOURCE of the node"]),
        ("type: wait, for: 1s, until: ¦a", ["WAIT_SOURCE"]),
        ("type: wait, for: ¦soon", ["VALUE_INVALID"]),
        ("type: approval, timeout: ¦0", ["DURATION_NOT_POSITIVE"]),
        ("type: approval, answers: ¦2, assignee: ann", ["ANSWERS_TOO_MANY"]),
        ("type: approval, answers: 2, assignee: '{{ a }}'", []),
        ("type: approval, answers: 2, assignee: ann, groups: [g]", []),
        ("type: approval, answers: ¦0", ["VALUE_INVALID"]),
        ("type: approval, groups: [g, ¦g]", ["NAME_TWICE"]),
        ("type: approval, ¦assignee: []", ["VALUE_INVALID"]),
        (f"type: approval, remind: {{after: ¦0, node: {TELL}}}", ["DURATION_NOT_POSITIVE"]),
        (f"type: approval, remind: {{after: 1h, times: ¦3, node: {TELL}}}", ["FIELD_HAS_NO_EFFECT"]),
        (f"type: approval, timeout: 1h, remind: {{after: ¦1h, node: {TELL}}}", ["FIELD_HAS_NO_EFFECT"]),
        ("type: approval, remind: {after: 1h, node: {type: ¦wait, for: 1s}}", ["NOTICE_TYPE"]),
        ("type: approval, remind: {after: 1h, node: {type: ¦rule, rules: [{then: {a: 1}}]}}", ["NOTICE_TYPE"]),
        ("type: approval, remind: {after: 1h, node: {type: python, handler: h, ¦output: {a: result}}}", [NO_EFFECT]),
        ("type: approval, remind: {after: 1h, node: {type: python, handler: h, args: {a: '{{ a +¦ }}'}}}", [INVALID]),
        ("type: approval, escalate: {after: 1h, ¦to: {}}", ["ESCALATE_TO"]),
        ("type: approval, ¦form: {order: [a]}", ["FORM_FIELD"]),
        (f"type: approval, schema: {{{ANSWER}}}, form: {{order: [a, ¦b]}}", ["FORM_FIELD"]),
        (f"type: approval, schema: {{{ANSWER}}}, form: {{order: [a, ¦a]}}", ["FORM_FIELD"]),
        (f"type: approval, schema: {{{ANSWER}}}, form: {{fields: {{t: {{widget: ¦select}}}}}}", ["FORM_WIDGET"]),
        (f"type: approval, schema: {{{ANSWER}}}, form: {{fields: {{e: {{widget: ¦date}}}}}}", ["FORM_WIDGET"]),
        (f"type: approval, schema: {{{ANSWER}}}, form: {{fields: {{t: {{widget: ¦slider}}}}}}", ["VALUE_INVALID"]),
        (f"type: approval, schema: {{{ANSWER}}}, form: {{fields: {{t: {{¦colour: red}}}}}}", ["FIELD_UNKNOWN"]),
        (f"type: approval, schema: {{{ANSWER}}}, form: {{fields: {{e: {{widget: radio}}, a: {{widget: radio}}}}}}", []),
        ("type: emit, to: run", ["EMIT_TARGET of the node", "EMIT_TARGET of the node"]),
        ("type: emit, to: nats, connection: A", ["EMIT_TARGET of the node"]),
        ("type: emit, to: nats, connection: A, topic: a, key: ¦k", ["FIELD_HAS_NO_EFFECT"]),
        ("type: emit, to: kafka, connection: A, topic: a, event: ¦e", ["FIELD_HAS_NO_EFFECT"]),
        ("type: emit, to: kafka, connection: A, topic: a, key: k, format: ¦cloudevents", ["EMIT_TARGET"]),
        ("type: emit, to: kafka, connection: A, topic: a, headers: {B: ¦'env:HTTP_SECRET_A'}", ["EMIT_SECRET"]),
        ("type: emit, to: run, run: r, event: e, topic: ¦a", ["FIELD_HAS_NO_EFFECT"]),
        ("type: receive, event: [a, ¦a]", ["EVENT_TWICE"]),
        ("type: receive, event: [a, b], mode: all, accept: event.n > 1", []),
        ("type: receive, event: a, correlate: {'a b': ¦event.n}", ["CORRELATE_KEY"]),
        ("type: receive, event: ¦'a b'", ["VALUE_INVALID"]),
        ("type: ai, model: 'openai:b', prompt: a, retry: {max_interval: ¦0s}", ["DURATION_NOT_POSITIVE"]),
        (
            "type: ai, model: 'openai:b', prompt: a, retry: {initial_interval: 5s, max_interval: ¦1s}",
            ["RETRY_INTERVALS"],
        ),
        ("type: ai, model: 'openai:b', prompt: a, timeout: 5s, heartbeat: ¦5s", ["HEARTBEAT_TOO_LONG"]),
        ("type: ai, model: 'openai:b', prompt: a, timeout: ¦5s, total_timeout: 4s", ["TIMEOUT_TOO_LONG"]),
        ("type: ai, model: 'openai:b', prompt: a, queue_timeout: ¦5s, total_timeout: 4s", ["TIMEOUT_TOO_LONG"]),
        ("type: ai, model: 'openai:b', prompt: a, queue_timeout: ¦0s", ["DURATION_NOT_POSITIVE"]),
        ("type: rule, rules: [{then: {a: 1}}], local: true, queue_timeout: ¦1s", ["FIELD_HAS_NO_EFFECT"]),
        ("type: python, handler: h, rate_limit: {limit: 3, key: '{{ run.id }}'}, concurrency: {limit: 1}", []),
        ("type: python, handler: h, rate_limit: {limit: 3, per: ¦0s}", ["DURATION_NOT_POSITIVE"]),
        ("type: python, handler: h, rate_limit: {limit: ¦0}", ["VALUE_INVALID"]),
        ("type: python, handler: h, rate_limit: {limit: ¦1.5}", ["VALUE_INVALID"]),
        ("type: python, handler: h, rate_limit: {limit: ¦true}", ["VALUE_INVALID"]),
        ("type: python, handler: h, ¦rate_limit: {per: 1s}", ["FIELD_MISSING"]),
        ("type: python, handler: h, concurrency: {limit: ¦100000}", ["VALUE_INVALID"]),
        ("type: python, handler: h, concurrency: {limit: 1, name: ¦'a b'}", ["VALUE_INVALID"]),
        ("type: python, handler: h, concurrency: {limit: 1, ¦per: 1s}", ["FIELD_UNKNOWN"]),
        ("type: python, handler: h, concurrency: {limit: 1, key: '{{ a.¦ }}'}", ["EXPRESSION_INVALID"]),
        *[
            (f"{fields}, {marked(misplaced)}", ["FIELD_HAS_NO_EFFECT"])
            for fields, others in MISPLACED.items()
            for misplaced in others
        ],
        ("type: fail, code: A, message: '{{ a.¦ }}'", ["EXPRESSION_INVALID"]),
        ("type: fail, code: A, on_failure: pause, input: {a: '1'}, message: '{{ a }}', when: b", []),
        *[(f"type: fail, code: ¦{code}", ["FAIL_CODE"]) for code in ("CANCELLED", "TIMEOUT", "NODE_FAILED")],
        *[(f"type: fail, code: ¦{code}", ["VALUE_INVALID"]) for code in ("1A", "'A B'", "''", "A" * 65)],
        ("type: wait, for: 1s, ¦cache: {key: a}", ["FIELD_HAS_NO_EFFECT"]),
        ("type: python, handler: a, reads: [], ¦cache: {key: a}", ["CACHE_OF_EFFECT"]),
        ("type: http, url: 'https://a', method: POST, ¦cache: {key: a}", ["CACHE_OF_EFFECT"]),
        ("type: http, url: 'https://a', effect: true, ¦cache: {key: a}", ["CACHE_OF_EFFECT"]),
        ("type: http, url: 'https://a', cache: {key: a}", []),
        ("type: python, handler: a, reads: [], effect: false, cache: {key: a}", []),
        (
            "type: http, url: 'https://a', ¦cache: {key: a}, compensate: {type: http, url: 'https://a', method: PUT}",
            ["CACHE_COMPENSATED"],
        ),
        (
            "type: python, handler: a, reads: [], compensate: {type: python, handler: b, reads: [], ¦cache: {key: a}}",
            ["CACHE_OF_EFFECT"],
        ),
        (
            "type: python, handler: a, reads: [], local: ¦true, compensate: {type: python, handler: b, reads: []}",
            ["LOCAL_COMPENSATED"],
        ),
        ("type: http, url: 'https://a', local: true, compensate: {type: http, url: 'https://a', method: PUT}", []),
        ("type: python, handler: a, reads: [], local: true", []),
        ("type: activity, activity: a, ¦circuit_breaker: {failures: 3}", ["FIELD_HAS_NO_EFFECT"]),
        ("type: wait, for: 1s, compensate: {type: ¦wait, for: 1s}", ["COMPENSATION_TYPE"]),
        ("type: approval, schema: {type: ¦5}", ["SCHEMA_INVALID"]),
        ("type: approval, schema: {pattern: ¦'('}", ["SCHEMA_INVALID"]),
        ("type: approval, schema: {$ref: ¦'https://x/y'}", ["SCHEMA_REFERENCE"]),
        ("type: approval, schema: {$ref: ¦'#/$defs/none'}", ["SCHEMA_REFERENCE"]),
        ("type: approval, schema: {$ref: '#/$defs/a', $defs: {a: {type: string}}}", []),
        ("type: wait, for: '{{ pause }}'", []),
        ("type: db, connection: X, query: \"select a::int, '12:30' from t where b = :b\", params: {b: 1}", []),
    ],
)
def test_what_a_node_of_a_type_needs(fields: str, expected: list[str]) -> None:
    """A `¦` marks where a problem is placed."""
    before = "nodes: {n: {"
    places, line = [], before + fields
    for one in expected:
        if one.endswith(" of the node"):
            places.append(f"2:9 {one.removesuffix(' of the node')}")
            continue
        column = line.index("¦")
        line = line.replace("¦", "", 1)
        places.append(f"2:{column + 1} {one}")
    assert codes(f"name: x\n{line}}}}}\n") == places


_RETRIED = "type: foreach, items: '[1]', total_timeout: 1m, ¦retry: {max_attempts: 2}, "


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("body: {nodes: {p: {type: python, handler: a, reads: []}}}", ["EFFECT_REPEATED"]),
        ("body: {nodes: {p: {type: python, handler: a, reads: [], pivot: true}}}", []),
        ("effect: false, body: {nodes: {p: {type: python, handler: a, reads: []}}}", []),
        ("body: {nodes: {p: {type: http, url: 'https://a.example', output: {}}}}", []),
        ("body: {nodes: {p: {type: python, handler: a, reads: [], compensate: {type: python, handler: b}}}}", []),
        ("compensate: {type: python, handler: b}, body: {nodes: {p: {type: python, handler: a, reads: []}}}", []),
    ],
)
def test_effects_that_each_attempt_of_a_composite_has_again_are_a_warning(body: str, expected: list[str]) -> None:
    line = f"nodes: {{n: {{{_RETRIED}{body}}}}}"
    column = line.index("¦") + 1
    assert codes(f"name: x\n{line.replace('¦', '')}\n") == [f"2:{column} {code}" for code in expected]


def test_effects_of_attempts_are_looked_for_in_the_graphs_that_they_name(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("name: inner\nnodes: {p: {type: python, handler: a, reads: []}}\n")
    (tmp_path / "outer.yaml").write_text(
        "name: outer\nnodes:\n"
        "  n: {type: graph, graph: inner, mode: child_workflow, retry: {}}\n"
        "  once: {type: graph, graph: inner, retry: {max_attempts: 1}}\n"
    )
    (problem,) = [each for each in load_graph(tmp_path / "outer.yaml").warnings if each.code == "EFFECT_REPEATED"]
    assert problem.message == "node 'n' has a `retry`, and nothing undoes 'p': each attempt does it again"
    assert problem.warning


@pytest.mark.parametrize("field", ["when: a", "join: all", "on_failure: continue", "pivot: true"])
def test_a_compensation_has_no_place_in_the_graph(field: str) -> None:
    node = "type: python, handler: a, reads: [], compensate: {type: python, handler: b, reads: []"
    line = f"nodes: {{n: {{{node}, "
    assert codes(f"name: x\n{line}{field}}}}}}}\n") == [f"2:{len(line) + field.index(':') + 3} FIELD_HAS_NO_EFFECT"]


def test_a_compensation_is_checked_like_a_node() -> None:
    assert node("type: wait, for: 1s, compensate: {type: db, connection: X}") == ["2:34 DB_SOURCE"]


EXPRESSIONS = """\
name: x
nodes:
  a:
    type: rule
    when: total >
    rules:
      - when: total > 0 &&
              discount >> 5
        then: {a: "{{ total }", b: [x, {c: "text {{ 1 + }} text"}]}
    output: {x: result..y}
  b:
    type: foreach
    items: a b
    body:
      nodes:
        c: {type: http, url: "https://x/{{ item( }}"}
edges:
  - {from: a, to: b, when: "a ! b"}
"""


def test_expressions_that_do_not_compile_are_placed_inside_the_yaml() -> None:
    problems = found(EXPRESSIONS)
    assert {problem.code for problem in problems} == {"EXPRESSION_INVALID"}
    assert [problem.place.line for problem in problems if problem.place] == [5, 8, 9, 9, 10, 13, 16, 18]


def test_the_column_of_an_expression_is_that_of_the_word() -> None:
    (problem,) = found("name: x\nnodes:\n  a:\n    type: wait\n    until: |\n      size(x) > 1 &&\n      nope(y)\n")
    assert str(problem.place) == "g:7:11"
    assert "nope" in problem.message


def test_keys_that_nothing_before_writes_are_the_inputs() -> None:
    text = """
name: x
nodes:
  a: {type: rule, rules: [{when: total > 0, then: {rate: 2}}, {when: rate > 1, then: {b: "{{ has(context.coupon) }}"}}]}
  b: {type: http, url: "https://x/{{ rate }}/{{ customer.id }}", output: {c: result.status == wanted}}
  c: {type: wait, until: later > 0, compensate: {type: http, url: "https://x/{{ error.message }}/{{ undo }}"}}
edges:
  - {from: a, to: b, when: gate && rate > 0}
  - {from: b, to: c, outcome: failure, when: error.type == kind}
"""
    assert graph_inputs(load(text).graph) == {
        "total": ("nodes", "a"),
        "customer": ("nodes", "b"),
        "wanted": ("nodes", "b"),
        "later": ("nodes", "c"),
        "undo": ("nodes", "c", "compensate"),
        "gate": ("edges", 0, "when"),
        "kind": ("edges", 1, "when"),
    }


def test_inputs_of_bodies_count_what_the_graph_around_wrote() -> None:
    text = """
name: x
nodes:
  a: {type: rule, rules: [{then: {rate: 2}}]}
  each:
    type: foreach
    items: parcels
    as: parcel
    collect: {into: kilos, value: kilo}
    body:
      nodes:
        weigh: {type: rule, rules: [{then: {kilo: "{{ parcel.grams / rate / factor }}"}}]}
        label: {type: http, url: "https://x/{{ kilo }}/{{ index }}"}
      edges: [{from: weigh, to: label, when: kilo < limit}]
  sum: {type: wait, until: size(kilos) > 0 && kilo > 0}
edges: [{from: a, to: each}, {from: each, to: sum}]
"""
    assert sorted(graph_inputs(load(text).graph)) == ["factor", "kilo", "limit", "parcels"]


def test_what_may_write_anything_is_trusted() -> None:
    text = (
        "name: x\nnodes: {a: {type: python, handler: h}, b: {type: wait, until: anything}}\nedges: [{from: a, to: b}]"
    )
    assert graph_inputs(load(text).graph) == {}


WITH_SCHEMA = """\
name: x
context:
  schema: {required: [total], properties: {customer: {type: string}}}
nodes:
  a: {type: rule, rules: [{when: total > 0 && custmer != "", then: {rate: 1}}]}
  b: {type: wait, until: ratee > 0}
  c: {type: wait, until: soon}
  d: {type: rule, rules: [{then: {soon: true}}]}
edges: [{from: a, to: b}, {from: b, to: c}, {from: c, to: d, when: "customer == 'x' && nobody"}]
"""


def test_with_a_schema_every_key_is_declared_or_written_before() -> None:
    problems = found(WITH_SCHEMA)
    assert [(str(one.place), one.code, one.suggestion) for one in problems] == [
        ("g:5:47", "KEY_UNKNOWN", "did you mean `customer`?"),
        ("g:6:26", "KEY_UNKNOWN", "did you mean `rate`?"),
        ("g:7:26", "KEY_UNKNOWN", "the node 'd' writes it, and does not run before"),
        ("g:9:88", "KEY_UNKNOWN", "declare it under `context.schema.properties`"),
    ]


@pytest.mark.parametrize("more", ["additionalProperties: true", "patternProperties: {'^x': {}}", "allOf: [{}]"])
def test_a_schema_that_leaves_keys_open_declares_them(more: str) -> None:
    assert codes(f"name: x\ncontext: {{schema: {{{more}}}}}\nnodes: {{a: {{type: wait, until: anything}}}}") == []


def test_names_that_mean_something_elsewhere_only_are_a_warning() -> None:
    (problem,) = found("name: x\nnodes: {a: {type: wait, until: error.type == 'x'}}")
    assert (problem.code, str(problem.place)) == ("NAME_NOT_VISIBLE", "g:2:32")
    assert (
        problem.suggestion
        == "the name has another meaning only on edges of a failure, in the branch behind them, and in compensations"
    )


def test_the_names_of_a_loop_are_not_written_in_its_body_and_reserved_names_not_declared() -> None:
    body = "body: {nodes: {b: {type: rule, rules: [{then: {item: 1, index: 2, error: 3}}]}}}"
    loop = node(f"type: foreach, items: xs, collect: {{into: o, value: '1'}}, {body}")
    assert [code.split()[1] for code in loop] == ["NAME_RESERVED", "NAME_RESERVED"]
    assert node("type: rule, rules: [{then: {item: 1, index: 2, error: 3, result: 4}}]") == []
    schema = "context: {schema: {properties: {run: {}, k: {}}}}\n"
    assert codes(f"name: x\n{schema}nodes:\n  c: {RULE}\n") == ["2:33 NAME_RESERVED"]


def test_reserved_names_are_not_written() -> None:
    assert node("type: rule, rules: [{then: {run: 1}}]") == ["2:41 NAME_RESERVED"]
    assert node("type: approval, output: {context: '1'}") == ["2:38 NAME_RESERVED"]
    assert node("type: foreach, items: x, as: run, collect: {into: o, value: '1'}, body: {graph: g}") == [
        "2:42 NAME_RESERVED"
    ]


def parallel(first: str, second: str, *, head: str = "", join: str = "any") -> list[str]:
    """Codes of a graph in which two nodes that write `k` follow `s` by the given edges' conditions."""
    conditions = [f", when: {one!r}" if one else "" for one in (first, second)]
    return codes(
        f"name: x\n{head}nodes:\n  s: {{type: rule, rules: [{{then: {{a: true, b: 1}}}}]}}\n"
        f"  one: {RULE}\n  two: {RULE}\n  end: {{type: wait, for: 1s, join: {join}}}\nedges:\n"
        f"  - {{from: s, to: one{conditions[0]}}}\n  - {{from: s, to: two{conditions[1]}}}\n"
        "  - {from: one, to: end}\n  - {from: two, to: end}\n"
    )


def test_two_parallel_nodes_that_write_one_key_are_both_named() -> None:
    assert parallel("", "") == ["5:37 PARALLEL_WRITES"]
    problem = found(f"name: x\nnodes: {{one: {RULE}, two: {RULE}}}")[0]
    assert "'one' and 'two' run at the same time and both write `k`" in problem.message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "!a"),
        ("a", "!(a)"),
        ("a == true", "a == false"),
        ("b == 1", "b == 2"),
        ("b == 1", "b != 1.0"),
        ('b == "x"', "b == 'y'"),
        ("b >= 1", "b < 1"),
        ("b > 1 && a", "b <= 1"),
        ("(a && b > 0)", "!a && b > 0"),
        ("size(b) > 0", "!(size(b) > 0)"),
    ],
)
def test_branches_that_exclude_each_other_are_not_parallel(first: str, second: str) -> None:
    assert parallel(first, second) == []


def test_otherwise_excludes_every_other_success_edge() -> None:
    nodes = f"  s: {{type: python, handler: h, output: {{z: '1'}}}}\n  one: {RULE}\n  two: {RULE}\n"
    text = (
        f"name: x\nnodes:\n{nodes}edges:\n"
        "  - {from: s, to: one, when: z > 1 || z < -1}\n  - {from: s, to: two, otherwise: true}\n"
    )
    assert codes(text) == []
    assert codes(text.replace("when: z > 1 || z < -1", "outcome: always")) == ["8:24 FIELD_HAS_NO_EFFECT"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "b > 1"),
        ("a", "a"),
        ("b > 1", "b < 5"),
        ("a || b > 1", "!a"),
        ("b != 1", "b != 2"),
        ("b == 'x'", 'b == "x"'),
    ],
)
def test_branches_that_may_both_be_taken_are_parallel(first: str, second: str) -> None:
    assert parallel(first, second) == ["5:37 PARALLEL_WRITES"]


def test_success_and_failure_exclude_each_other_and_what_follows_them() -> None:
    text = f"""
name: x
nodes:
  s: {{type: python, handler: h, output: {{z: '1'}}}}
  good: {{type: wait, for: 1s}}
  good2: {RULE}
  bad: {RULE}
edges:
  - {{from: s, to: good}}
  - {{from: good, to: good2}}
  - {{from: s, to: bad, outcome: failure}}
  - {{from: s, to: bad, outcome: timeout}}
"""
    assert codes(text) == []


@pytest.mark.parametrize(
    "head",
    [
        "context: {merge: {k: sum}}\n",
        "context: {merge: {k.deep: merge_all}}\n",
        "context: {conflict_resolution: merge_all}\n",
    ],
)
def test_a_policy_that_the_author_chose_silences_the_warning(head: str) -> None:
    assert parallel("", "", head=head) == []


def test_items_of_a_foreach_write_at_once_unless_they_are_collected() -> None:
    body = f"body: {{nodes: {{n: {RULE}}}}}"
    assert codes(f"name: x\nnodes: {{each: {{type: foreach, items: xs, {body}}}}}") == ["2:9 PARALLEL_WRITES"]
    assert (
        codes(f"name: x\nnodes: {{each: {{type: foreach, items: xs, collect: {{into: o, value: k}}, {body}}}}}") == []
    )


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("'a\\': sum", ["2:19 MERGE_PATH_INVALID"]),
        ("'.a': sum", ["2:19 MERGE_PATH_INVALID"]),
        ("kk: sum", ["2:19 MERGE_UNUSED"]),
        ("k: fail_on_conflict", ["2:19 CONFLICT_IMPOSSIBLE"]),
        ("k: sum", []),
    ],
)
def test_merge_policies_are_for_paths_that_are_written(merge: str, expected: list[str]) -> None:
    assert codes(f"name: x\ncontext: {{merge: {{{merge}}}}}\nnodes: {{a: {RULE}}}") == expected


def test_a_conflict_that_may_happen_may_be_failed_on() -> None:
    assert parallel("", "", head="context: {merge: {k: fail_on_conflict}}\n") == []


def test_compensations_that_never_run_are_warnings() -> None:
    undo = "{type: activity, activity: undo}"
    text = f"""\
name: x
nodes:
  a: {{type: wait, for: 1s, compensate: {undo}}}
  b: {{type: wait, for: 1s, pivot: true, compensate: {undo}}}
  c: {{type: wait, for: 1s, compensate: {undo}}}
  d: {{type: wait, for: 1s, compensate: {{type: activity, activity: u, compensate: {undo}}}}}
edges: [{{from: a, to: b}}, {{from: b, to: c}}, {{from: a, to: d}}]
"""
    assert codes(text) == ["5:28 COMPENSATION_UNUSED", "6:70 COMPENSATION_UNUSED"]


def a_chain(length: int) -> str:
    numbers = range(length)
    rules = (f"[{{when: a > {each}, then: {{x{each}: 1}}}}]" for each in numbers)
    nodes = "".join(f" n{each}: {{type: rule, rules: {rule}}}\n" for each, rule in enumerate(rules))
    edges = "".join(f" - {{from: n{each}, to: n{each + 1}, when: x{each} == 1}}\n" for each in numbers[:-1])
    return f"name: x\nnodes:\n{nodes}edges:\n{edges}"


def a_fan(branches: int) -> str:
    nodes = "".join(f" n{each}: {{type: rule, rules: [{{then: {{k: 1}}}}]}}\n" for each in range(branches))
    edges = "".join(f" - {{from: s, to: n{each}, when: b == {each}}}\n" for each in range(branches))
    return f"name: x\nnodes:\n s: {{type: rule, rules: [{{then: {{b: 1}}}}]}}\n{nodes}edges:\n{edges}"


def test_a_chain_and_a_fan_may_be_as_long_as_a_graph() -> None:
    assert graph_inputs(load(a_chain(2000)).graph) == {"a": ("nodes", "n0")}
    assert load(a_fan(1999)).warnings == ()


@pytest.mark.parametrize("shape", [a_chain, a_fan])
def test_twice_as_many_nodes_take_twice_the_work_to_check(shape: Callable[[int], str]) -> None:
    load(shape(10))  # what is built once
    once, twice = shape(100), shape(200)
    assert lines_run(lambda: load(twice)) < 2.4 * lines_run(lambda: load(once))


def test_every_code_is_documented_and_none_else() -> None:
    call = re.compile(r"(?:Problem|problem|_report|_stop|exactly_one)\(\s*(?:node, )?\"([A-Z_]+)\"")
    raised = {code for path in Path("graph").rglob("*.py") for code in call.findall(path.read_text(encoding="utf-8"))}
    raised |= {"SUBGRAPH_INVALID", "EXPRESSION_INVALID", "GRAPH_UNKNOWN"}
    table = [
        line for line in Path("docs/problems.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    documented = {code for line in table for code in re.findall(r"`([A-Z_]+)`", line.split("|")[1])}
    assert documented == raised


@pytest.mark.parametrize(
    ("text", "message", "suggestion"),
    [
        ("01234", "01234 is read as the number 1234", 'write "01234" if it is a text, 1234 if it is a number'),
        ("08", "08 is read as the number 8", 'write "08" if it is a text, 8 if it is a number'),
        (
            "+491701",
            "+491701 is read as the number 491701",
            'write "+491701" if it is a text, 491701 if it is a number',
        ),
        ("1.10", "1.10 is read as the number 1.1", 'write "1.10" if it is a text, 1.1 if it is a number'),
        ("1e5", "1e5 is read as the number 100000.0", 'write "1e5" if it is a text, 100000.0 if it is a number'),
        ("0x1F", "0x1F is read as the number 31", 'write "0x1F" if it is a text, 31 if it is a number'),
        ("1_000", "1_000 is a text, not a number", 'write 1000, or "1_000" if it is a text'),
        ("0o17", "0o17 is read as the number 15", 'write "0o17" if it is a text, 15 if it is a number'),
        ("yes", "yes is a text, not a boolean", 'write true, or "yes" if it is a text'),
        ("On", "On is a text, not a boolean", 'write true, or "On" if it is a text'),
        ("NO", "NO is a text, not a boolean", 'write false, or "NO" if it is a text'),
        ("off", "off is a text, not a boolean", 'write false, or "off" if it is a text'),
    ],
)
def test_a_value_whose_text_yaml_does_not_keep_is_a_warning(text: str, message: str, suggestion: str) -> None:
    graph = f"name: x\nnodes:\n  n: {{type: python, handler: h, args: {{a: [1, {text}]}}}}\n"
    (problem,) = found(graph)
    assert (problem.code, str(problem.place), problem.warning) == ("SCALAR_CHANGED", "g:3:47", True)
    assert (problem.message, problem.suggestion) == (message, suggestion)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-3",
        "1.5",
        "1.0",
        ".5",
        "-.5",
        "5.",
        "1e-7",
        "1.5e3",
        '"01234"',
        "'1.10'",
        "a_1",
        "'yes'",
        "y",
        "2026-11-29",
        "12:30:45",
    ],
)
def test_a_value_that_is_what_it_says_is_no_warning(text: str) -> None:
    assert node(f"type: python, handler: h, args: {{a: {text}}}") == []


def test_a_field_that_is_a_number_may_be_spelt_in_any_way() -> None:
    retry = "{backoff: 1.50, max_attempts: 03}"
    assert codes(f"name: x\ndefaults: {{retry: {retry}}}\nnodes: {{n: {RULE}}}") == []
    assert node("type: ai, model: openai:gpt-4, prompt: p, temperature: 0.70") == []


def test_text_of_another_file_is_not_a_value_without_quotes(tmp_path: Path) -> None:
    (tmp_path / "r.grl").write_text('rule "r" { when a > 01 then b = 1.10; }')
    graph = tmp_path / "g.yaml"
    graph.write_text("name: x\nnodes: {n: {type: rule, grl: r.grl}}")
    assert load_graph(graph).warnings == ()


def graph_of(*nodes: str, edges: str) -> str:
    """Nodes from line 3 on, and edges such as `a b, b c when x`."""
    drawn = []
    for edge in edges.split(", "):
        source, target, *rest = edge.split(maxsplit=2)
        when = f", when: {rest[0].removeprefix('when ')}" if rest else ""
        drawn.append(f"  - {{from: {source}, to: {target}{when}}}\n")
    return "name: x\nnodes:\n" + "".join(f"  {node}\n" for node in nodes) + "edges:\n" + "".join(drawn)


def writes(name: str, key: str) -> str:
    return f"{name}: {{type: rule, rules: [{{then: {{{key}: 1}}}}]}}"


def reads(name: str, expression: str) -> str:
    return f'{name}: {{type: rule, rules: [{{then: {{z: "{{{{ {expression} }}}}"}}}}]}}'


FORK = "a b when go, a c"


def test_a_key_that_is_written_under_a_condition_and_always_needed_is_a_warning() -> None:
    graph = graph_of(writes("a", "o"), writes("b", "fee"), reads("c", "fee"), edges=f"{FORK}, b c")
    (problem,) = found(graph)
    assert (problem.code, str(problem.place), problem.warning) == ("KEY_MAYBE_MISSING", "g:5:42", True)
    assert problem.message == "node 'c' needs `fee`, which 'b' writes only under a condition"


def test_what_each_of_two_branches_writes_is_there_where_they_meet() -> None:
    nodes = [writes("a", "o"), writes("b", "fee"), writes("c", "tax"), reads("d", "fee + tax")]
    assert codes(graph_of(*nodes, edges="a b, a c, b d, c d")) == []
    handled = graph_of(*nodes, edges="a b, a c, b d, c d").replace(
        "edges:", "edges:\n  - {from: b, to: e, outcome: failure}"
    )
    handled = handled.replace("edges:", "  " + writes("e", "told") + "\nedges:")
    assert [code.partition(" ")[2] for code in codes(handled)] == ["KEY_MAYBE_MISSING"]  # `b` may have failed


def test_an_edge_may_need_what_is_not_there_too() -> None:
    nodes = (writes("a", "o"), writes("b", "fee"), writes("c", "p"), writes("d", "q"))
    assert codes(graph_of(*nodes, edges=f"{FORK}, b c, c d when fee > 1")) == ["11:28 KEY_MAYBE_MISSING"]


@pytest.mark.parametrize(
    ("writer", "reader", "edges"),
    [
        (writes("b", "fee"), reads("c", "has(context.fee) ? fee : 0"), f"{FORK}, b c"),
        (writes("b", "fee"), reads("c", "fee"), "a b when go, b c"),
        (writes("b", "fee"), reads("c", "fee"), "a b when go, a c when go, b c"),
        (writes("b", "fee"), reads("c", "fee"), "a b when go, a c when 'go && far', b c"),
        ("b: {type: python, handler: h}", reads("c", "fee"), f"{FORK}, b c"),
    ],
)
def test_a_key_that_is_asked_for_or_sure_to_be_there_is_no_warning(writer: str, reader: str, edges: str) -> None:
    assert codes(graph_of(writes("a", "o"), writer, reader, edges=edges)) == []


def test_a_key_that_both_branches_write_is_sure() -> None:
    nodes = (writes("a", "o"), writes("b", "fee"), writes("c", "fee"), reads("d", "fee"))
    assert codes(graph_of(*nodes, edges="a b when go, a c when '!go', b d, c d")) == []


@pytest.mark.parametrize(
    ("listed", "sure"),
    [
        ("[{when: p, then: {fee: 1}}]", False),
        ("[{when: p, then: {fee: 1}, otherwise: {fee: 2}}]", True),
        ("[{when: p, then: {fee: 1}}, {otherwise: {fee: 2}}]", True),
        ("[{when: p, then: {fee: 1}}, {when: q, then: {o: 1}}, {otherwise: {fee: 2}}]", False),
        ("[{when: p, then: {fee: 1}}, {then: {fee: 2}}]", True),
    ],
)
@pytest.mark.parametrize("hit", ["all", "first"])
def test_rules_write_a_key_surely_when_some_rule_always_applies(listed: str, sure: bool, hit: str) -> None:
    writer = f"a: {{type: rule, hit: {hit}, rules: {listed}}}"
    assert codes(graph_of(writer, reads("b", "fee"), edges="a b")) == ([] if sure else ["4:42 KEY_MAYBE_MISSING"])


def test_what_a_node_writes_that_may_fail_and_go_on_is_not_sure() -> None:
    writer = "a: {type: http, url: 'https://h', on_failure: continue, output: {fee: result.fee}}"
    assert codes(graph_of(writer, reads("b", "fee"), edges="a b")) == ["4:42 KEY_MAYBE_MISSING"]


def test_a_compensation_that_reads_what_only_later_nodes_write_is_a_warning() -> None:
    undo = reads("compensate", "ticket")
    nodes = (f"a: {{type: wait, for: 1s, {undo}}}", writes("b", "ticket"))
    (problem,) = found(graph_of(*nodes, edges="a b"))
    assert (problem.code, problem.suggestion) == (
        "KEY_WRITTEN_LATER",
        "the node 'b' writes it later; a compensation sees what its own node saw and wrote",
    )


def test_of_two_names_that_are_read_once_the_first_in_the_file_is_right() -> None:
    node = "a: {type: rule, when: customer_id != '', rules: [{then: {x: '{{ custmer_id }}'}}]}"
    (problem,) = found(f"name: x\nnodes:\n  {node}\n")
    assert (problem.code, problem.suggestion) == ("KEY_SIMILAR", "did you mean `customer_id`?")
    assert "reads `custmer_id`" in problem.message


def test_a_key_that_may_be_absent_has_another_value_instead_and_no_warning() -> None:
    both = "context.?fee.orValue(0) + context.?taxes.orValue(0)"
    assert codes(graph_of(writes("b", "fee"), reads("c", both), "a: {type: wait, for: 1s}", edges=f"{FORK}, b c")) == []


def test_an_input_that_resembles_a_key_that_is_written_is_a_warning() -> None:
    (problem,) = found(graph_of(writes("a", "amount"), reads("b", "amont * 2"), edges="a b"))
    assert (problem.code, str(problem.place), problem.suggestion) == ("KEY_SIMILAR", "g:4:42", "did you mean `amount`?")


@pytest.mark.parametrize(
    ("first", "second", "slip"),
    [
        ("amount", "amont", True),
        ("amount", "amuont", True),
        ("amount", "amoumt", True),
        ("amount", "amounts", False),
        ("price_a", "price_b", False),
        ("line1", "line12", False),
        ("line1", "line2", False),
        ("rate", "rat", False),
        ("inbound", "outbound", False),
    ],
)
def test_a_name_is_similar_when_one_letter_differs_that_is_not_the_last(first: str, second: str, slip: bool) -> None:
    assert is_slip(second, first) is slip
    assert is_slip(first, second) is slip


def test_of_two_similar_inputs_the_one_that_is_read_less_is_the_slip() -> None:
    assert similar_names(["amont", "amount", "amount"], set()) == {"amont": "amount"}
    assert similar_names(["amount", "amont"], set()) == {"amont": "amount"}


def test_objects_without_a_common_key_are_not_written_in_parallel() -> None:
    def objects(first: str, second: str) -> list[str]:
        nodes = [
            f"{name}: {{type: rule, rules: [{{then: {{m: {value}}}}}]}}"
            for name, value in (("a", first), ("b", second))
        ]
        return [
            code.partition(" ")[2] for code in codes("name: x\nnodes:\n" + "".join(f"  {node}\n" for node in nodes))
        ]

    assert objects("{x: 1}", "{y: 2}") == []
    assert objects("{o: {x: 1}}", "{o: {y: 2}}") == []
    assert objects("{x: 1}", "{x: 2, y: 2}") == ["PARALLEL_WRITES"]
    assert objects("{x: 1}", "{}") == ["PARALLEL_WRITES"]
    assert objects("{x: 1}", "'{{ n }}'") == ["PARALLEL_WRITES"]


def test_what_a_graph_by_name_writes_is_written_in_parallel_too(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(f"name: inner\nnodes: {{deep: {RULE}}}\n")
    (tmp_path / "middle.yaml").write_text("name: middle\nnodes: {m: {type: graph, graph: inner}}\n")
    outer = tmp_path / "outer.yaml"
    outer.write_text(f"name: outer\nnodes:\n  sub: {{type: graph, graph: middle}}\n  own: {RULE}\n")
    assert [(one.code, "'sub' and 'own'" in one.message) for one in load_graph(outer).warnings] == [
        ("PARALLEL_WRITES", True)
    ]


def test_warnings_come_in_the_same_order_in_each_process() -> None:
    both = "{type: rule, rules: [{then: {e: 1, d: 1, c: 1, b: 1, a: 1}}]}"
    graph = f"name: x\nnodes:\n  one: {both}\n  two: {both}\n"
    script = f"from anabranch.graph.load import load_text\nfor w in load_text({graph!r}).warnings: print(w.message)"
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in "0123"
    }
    assert len(printed) == 1


def test_however_many_warnings_there_are_an_error_behind_them_is_found() -> None:
    twice = "  - {from: a, to: b}\n" * 700
    text = f"name: x\nnodes:\n  a: {RULE}\n  b: {RULE}\nedges:\n{twice}  - {{from: b, to: c}}\n"
    found_codes = [problem.code for problem in found(text)]
    assert found_codes.count("EDGE_DUPLICATE") == 500
    assert found_codes[-1] == "EDGE_UNKNOWN_NODE"


def test_an_empty_grl_text_is_refused_at_its_place() -> None:
    assert node('type: rule, grl: ""') == ["2:31 EXPRESSION_INVALID"]
