"""The graph test kit: test files run against graphs, through the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from anabranch.cli.main import app

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDER = """
name: order
saga: {}
nodes:
  reserve:
    type: db
    connection: SHOP_URL
    query: update stock set free = free - :n returning free
    params: {n: "{{ n }}"}
    output: {free: result.row.free, low: result.row.free < 3}
    compensate: {type: db, connection: SHOP_URL, query: "update stock set free = free + :n", params: {n: "{{ n }}"}}
  charge:
    type: python
    handler: charge
    reads: [n]
    compensate: {type: python, handler: refund, reads: [n]}
  call_a_person: {type: rule, rules: [{then: {told: "{{ error.type }}: {{ error.message }}"}}]}
  ship: {type: python, handler: ship, reads: [n]}
edges:
  - {from: reserve, to: charge}
  - {from: charge, to: ship}
  - {from: charge, to: call_a_person, outcome: timeout}
"""
LEAF = "{type: python, handler: h, reads: []}"
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs tests of a graph; gives the result of the one test, or the command's result with `args`."""

    def run_tests(graph: str, tests: str, *args: str, head: str = "") -> Any:
        (tmp_path / "graph.yaml").write_text(graph, encoding="utf-8")
        text = f"graph: graph.yaml\n{head}\ntests:\n{indent(tests.strip(), '  ')}\n"
        (tmp_path / "a.test.yaml").write_text(text, encoding="utf-8")
        if args:
            return anabranch("test", tmp_path / "a.test.yaml", *(each for each in args if each))
        result = anabranch("test", tmp_path / "a.test.yaml", "--json")
        assert result.stderr == ""
        (only,) = json.loads(result.stdout)["files"][0]["tests"]
        assert result.exit_code == (0 if only["status"] == "passed" else 1)
        return only

    return run_tests


def anabranch(*args: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in args])


def passed(result: Any) -> bool:
    assert result["mismatches"] == []
    assert "error" not in result, result["error"]
    return bool(result["status"] == "passed")


def reported(result: Any) -> list[tuple[str, Any, Any]]:
    """What came out otherwise: what, expected, actual."""
    return [(each["what"], each.get("expected"), each.get("actual")) for each in result["mismatches"]]


def graph(nodes: str, edges: str = "[]", **fields: str) -> str:
    more = "".join(f"{name}: {value}\n" for name, value in fields.items())
    return f"name: g\n{more}nodes:\n{indent(nodes.strip(), '  ')}\nedges: {edges}\n"


# the examples


def test_the_tests_of_the_examples_pass_and_cover_them_whole() -> None:
    result = anabranch("test", EXAMPLES / "tests", "--min-coverage", "100")
    assert (result.exit_code, result.stderr) == (0, ""), result.output


# outcomes


def test_a_run_that_comes_out_as_expected_passes(run: Run) -> None:
    test = """
- name: shipped
  input: {n: 2}
  outcomes:
    reserve: {result: {row: {free: 2}}}
    charge: {set: {receipt: R1}}
    ship: {}
  expect:
    path: [reserve, charge, ship]
    skipped: [call_a_person]
    whole_context: {n: 2, free: 2, low: true, receipt: R1}
    compensated: []
"""
    assert passed(run(ORDER, test))


def test_a_node_without_an_outcome_is_an_error_that_names_it(run: Run) -> None:
    result = run(ORDER, "- {name: t, input: {n: 2}, expect: {}}")
    assert result["status"] == "error"
    assert result["error"]["code"] == "INPUT_INVALID"
    assert result["error"]["message"].startswith(
        "node 'reserve': a 'db' node ran, and the test gives no outcome for it"
    )


def test_assumed_outcomes_are_example_values_of_what_the_node_writes(run: Run) -> None:
    test = "- {name: t, input: {n: 2}, expect: {path: [reserve, charge, ship], context: {free: 1, low: 1}}}"
    assert passed(run(ORDER, test, head="assume: true"))


def test_outcomes_of_the_file_hold_for_all_tests_and_the_test_s_own_win(run: Run) -> None:
    test = """
- name: t
  input: {n: 2}
  outcomes: {charge: {set: {receipt: own}}}
  expect: {context: {free: 9, receipt: own}}
"""
    shared = "outcomes: {reserve: {result: {row: {free: 9}}}, charge: {set: {receipt: shared}}, ship: {}}"
    assert passed(run(ORDER, test, head=shared))


def test_an_outcome_that_nobody_asks_for_is_a_mistake(run: Run) -> None:
    test = """
- name: t
  input: {n: 2}
  outcomes: {reserve: {fail: SOLD_OUT}, charge: {}}
  expect: {status: failed}
"""
    assert reported(run(ORDER, test)) == [("node 'charge'", "asked for its outcome", "never asked")]


def test_a_timeout_takes_the_edge_of_that_outcome(run: Run) -> None:
    test = """
- name: t
  input: {n: 2}
  outcomes: {reserve: {set: {free: 1}}, charge: timeout}
  expect: {ran: [call_a_person], skipped: [ship], context: {told: "TIMEOUT: node 'charge' timed out (start to close)"}}
"""
    assert passed(run(ORDER, test))


def test_a_rule_is_evaluated_unless_its_outcome_is_given(run: Run) -> None:
    rules = graph('a: {type: rule, rules: [{then: {x: "{{ 20 + 1 }}"}}]}')
    assert passed(run(rules, "- {name: t, expect: {context: {x: 21}}}"))
    assert passed(run(rules, "- {name: t, outcomes: {a: {fail: BAD}}, expect: {error: {node: a, code: BAD}}}"))


def test_an_input_that_the_graph_refuses_fails_the_run(run: Run) -> None:
    assert passed(run(ORDER, "- {name: t, expect: {error: {code: INPUT_MISSING, message: \"'n'\"}, path: []}}"))


def test_timers_fire_in_virtual_time(run: Run) -> None:
    night = graph(
        'night: {type: wait, for: 8h}\nday: {type: rule, rules: [{then: {woke: "{{ run.time }}"}}]}',
        "[{from: night, to: day}]",
    )
    test = """
- name: t
  at: 2026-03-01T22:00:00Z
  expect: {path: [night, day], context: {woke: "2026-03-02T06:00:00.000Z"}}
"""
    assert passed(run(night, test))


# people

ASK = graph(
    """
ask:
  type: approval
  prompt: Pay?
  timeout: 1h
  schema: {type: object, required: [yes], properties: {yes: {type: boolean}}}
give_up: {type: rule, rules: [{then: {late: true}}]}
""",
    "[{from: ask, to: give_up, outcome: timeout}]",
)


def test_a_person_s_answer_becomes_keys(run: Run) -> None:
    test = "- {name: t, outcomes: {ask: {answer: {yes: true}}}, expect: {path: [ask], whole_context: {yes: true}}}"
    assert passed(run(ASK, test))


@pytest.mark.parametrize("outcome", ["timeout", "{answer: {yes: true}, after: 2h}"])
def test_nobody_answers_in_time(run: Run, outcome: str) -> None:
    test = f"- {{name: t, outcomes: {{ask: {outcome}}}, expect: {{path: [ask, give_up], context: {{late: true}}}}}}"
    assert passed(run(ASK, test))


def test_an_answer_that_the_schema_refuses_is_an_error_of_the_test(run: Run) -> None:
    result = run(ASK, "- {name: t, outcomes: {ask: {answer: {yes: perhaps}}}, expect: {}}", "")
    assert problems(result) == [
        ":4:26: node 'ask' cannot have this answer: yes: 'perhaps' is not of type 'boolean'",
        "  help: the answer must fit the schema of the node",
    ]


def test_a_model_answers_by_its_output_schema(run: Run) -> None:
    judge = graph(
        "judge: {type: ai, model: 'openai:m', prompt: p, output_schema: {type: object, required: [score],"
        " properties: {score: {type: number, maximum: 100}}}}"
    )
    assert passed(run(judge, "- {name: t, outcomes: {judge: {set: {score: 100}}}, expect: {context: {score: 100}}}"))
    result = run(judge, "- {name: t, outcomes: {judge: {set: {score: 101}}}, expect: {}}", "")
    said = "node 'judge' cannot have this answer: score: 101 is greater than the maximum of 100"
    assert problems(result)[0].endswith(said)


# conflicts and order

BRANCHES = graph(
    f"left: {LEAF}\nright: {LEAF}\njoin: {LEAF}",
    "[{from: left, to: join}, {from: right, to: join}]",
    context="{merge: {x: fail_on_conflict}, conflict_timeout: 1h}",
)
OUTCOMES = "outcomes: {left: {set: {x: 1, y: 1}}, right: {set: {x: 2, y: 2}}, join: {}}"


@pytest.mark.parametrize(("choice", "value"), [("left", "1"), ("7", "7"), ("{value: left}", "left")])
def test_a_conflict_is_settled_by_a_writer_or_a_value(run: Run, choice: str, value: str) -> None:
    test = f"""
- name: t
  choose: {{join: {{x: {choice}}}}}
  expect:
    context: {{x: {value}}}
    conflicts:
      - {{path: x, at: join, strategy: fail_on_conflict, writers: [left, right], choice: {value}}}
      - y
"""
    assert passed(run(BRANCHES, test, head=OUTCOMES))


def test_a_conflicting_path_can_be_removed(run: Run) -> None:
    assert passed(
        run(BRANCHES, "- {name: t, choose: {join: {x: {remove: true}}}, expect: {absent: [x]}}", head=OUTCOMES)
    )


def test_a_conflict_that_nobody_settles_is_an_error_of_the_test(run: Run) -> None:
    message = run(BRANCHES, "- {name: t, expect: {}}", head=OUTCOMES)["error"]["message"]
    assert message.startswith("node 'join': a conflict at 'x' waits for a choice")
    assert "with left, right or a value" in message


def test_a_conflict_may_find_nobody_in_time(run: Run) -> None:
    shared = OUTCOMES.replace(", join: {}", "")
    test = "- {name: t, choose: {join: timeout}, expect: {error: {node: join, code: CONFLICT}}}"
    assert passed(run(BRANCHES, test, head=shared))


def test_other_conflicts_than_expected_are_told_from_both_sides(run: Run) -> None:
    test = "- {name: t, choose: {join: {x: 1}}, expect: {conflicts: [{path: x, strategy: sum}, z]}}"
    y = {"path": "y", "at": "join", "strategy": "last_write_wins", "choice": 2, "writers": ["left", "right"]}
    assert reported(run(BRANCHES, test, head=OUTCOMES)) == [
        ("conflict at 'x': strategy", "sum", "fail_on_conflict"),
        ("conflict at 'z'", {"path": "z"}, None),
        ("conflict at 'y'", None, y),
    ]


@pytest.mark.parametrize(("order", "wins"), [("[left, right]", 2), ("[right, left]", 1)])
def test_the_last_write_is_that_of_the_branch_that_ends_last(run: Run, order: str, wins: int) -> None:
    test = f"""
- name: t
  order: {order}
  choose: {{join: {{x: 0}}}}
  expect: {{path: [{order[1:-1]}, join], context: {{y: {wins}}}}}
"""
    assert passed(run(BRANCHES, test, head=OUTCOMES))


def test_an_order_that_no_run_can_have_is_an_error_of_the_test(run: Run) -> None:
    result = run(BRANCHES, "- {name: t, order: [join, left], expect: {}}", head=OUTCOMES)
    assert "'left' would have to end after 'join', which cannot start before" in result["error"]["message"]


# sagas


def test_a_failure_undoes_in_reverse_and_rolls_the_context_back(run: Run) -> None:
    test = """
- name: t
  input: {n: 2}
  outcomes: {reserve: {set: {free: 1}}, charge: {set: {receipt: R1}}, ship: {fail: NO_TRUCK, message: none is free}}
  expect:
    error: {node: ship, code: NO_TRUCK, message: none is}
    compensated: [charge, reserve]
    not_compensated: []
    whole_context: {n: 2}
"""
    assert passed(run(ORDER, test))


def test_a_compensation_that_fails_does_not_stop_the_others(run: Run) -> None:
    test = """
- name: t
  input: {n: 2}
  outcomes:
    reserve: {set: {free: 1}}
    charge: {}
    ship: {fail: NO_TRUCK}
    undo charge: {fail: BANK_CLOSED}
  expect: {status: failed, compensated: [reserve], not_compensated: [charge], absent: [free]}
"""
    assert passed(run(ORDER, test))


def undoing(outcome: str, expect: str) -> str:
    return f"""
- name: t
  input: {{n: 2}}
  outcomes:
    reserve: {{set: {{free: 1}}}}
    charge: {{fail: NO_CARD}}
    undo reserve: {outcome}
  expect: {{status: failed, {expect}}}
"""


def test_a_node_that_no_worker_took_did_nothing(run: Run) -> None:
    test = """
- name: t
  input: {n: 2}
  outcomes: {reserve: {set: {free: 1}}, charge: {}, ship: {timeout: queue}}
  expect: {error: {code: QUEUE_TIMEOUT}, compensated: [charge, reserve]}
- name: u
  input: {n: 2}
  outcomes: {reserve: {set: {free: 1}}, charge: {timeout: queue}}
  expect: {context: {told: "QUEUE_TIMEOUT: node 'charge': no worker took it from its task queue in time"}}
"""
    done = run(ORDER, test, "--json")
    assert [each["status"] for each in json.loads(done.stdout)["files"][0]["tests"]] == ["passed", "passed"]


def test_a_compensation_writes_what_its_output_says(run: Run) -> None:
    refunding = ORDER.replace(
        '"update stock set free = free + :n"', '"update stock set free = free + :n", output: {left: result.row.free}'
    )
    assert passed(run(refunding, undoing("{result: {row: {free: 9}}}", "whole_context: {n: 2, left: 9}")))


def test_a_compensation_without_output_writes_nothing_whatever_it_is_answered(run: Run) -> None:
    assert passed(run(ORDER, undoing("{result: {row: {free: 9}}}", "whole_context: {n: 2}")))
    refused = run(ORDER, undoing("{set: {free: 9}}", "whole_context: {n: 2}"))
    assert refused["error"]["message"].startswith(
        "node 'undo reserve': the compensation has no `output`: it writes nothing"
    )


def test_rules_as_a_compensation_write_what_they_say(run: Run) -> None:
    nodes = """
a: {type: python, handler: h, reads: [], compensate: {type: rule, rules: [{then: {told: "{{ error.type }}"}}]}}
b: {type: python, handler: h, reads: []}"""
    test = """
- name: t
  outcomes: {a: {set: {x: 1}}, b: {fail: NO_CARD}}
  expect: {status: failed, whole_context: {told: NO_CARD}}
"""
    assert passed(run(graph(nodes, "[{from: a, to: b}]"), test))


def test_cancelling_undoes_what_may_have_happened_too(run: Run) -> None:
    test = """
- name: t
  input: {n: 2}
  outcomes: {reserve: {set: {free: 1}}, charge: {}}
  cancel_after: reserve
  expect: {status: cancelled, path: [reserve, charge], compensated: [charge, reserve], skipped: [ship]}
"""
    assert passed(run(ORDER, test))


def test_a_paused_node_leaves_the_run_waiting(run: Run) -> None:
    paused = graph("a: {type: python, handler: h, reads: [], on_failure: pause}")
    assert passed(run(paused, "- {name: t, outcomes: {a: {fail: BAD}}, expect: {status: paused}}"))
    result = run(paused, "- {name: t, outcomes: {a: {fail: BAD}}, expect: {}}")
    assert reported(result) == [("status", "completed", "paused at 'a'")]


def test_a_compensation_may_wait_for_an_operator_too(run: Run) -> None:
    careful = ORDER.replace("saga: {}", "saga: {on_compensation_failure: pause}")
    test = """
- name: t
  input: {n: 2}
  outcomes: {reserve: {set: {free: 1}}, charge: {fail: NO_MONEY}, undo reserve: {fail: BAD}}
  expect: {status: STATUS, error: {node: charge, code: NO_MONEY}, compensated: []}
"""
    assert passed(run(careful, test.replace("STATUS", "paused")))
    assert reported(run(careful, test.replace("STATUS", "failed"))) == [
        ("status", "failed", "paused at 'undo reserve'")
    ]


# bodies

PACK = graph(
    """
pack:
  type: foreach
  items: items
  body:
    nodes:
      weigh: {type: python, handler: h, reads: []}
      seal: {type: rule, when: weight > 1, rules: [{then: {sealed: true}}]}
    edges: [{from: weigh, to: seal}]
  collect: {into: weights, value: weight}
"""
)


def test_the_items_of_a_foreach_end_each_in_its_own_way_or_all_alike(run: Run) -> None:
    test = """
- name: t
  input: {items: [a, b, c]}
  outcomes:
    pack/weigh: {set: {weight: 1}}
    pack[1]/weigh: {set: {weight: 5}, after: 3s}
  expect:
    path: ["pack[0]/weigh", "pack[2]/weigh", "pack[1]/weigh", "pack[1]/seal"]
    ran: [pack, pack/seal]
    skipped: ["pack[0]/seal"]
    context: {weights: [1, 5, 1]}
"""
    assert passed(run(PACK, test))


def test_a_while_turns_until_its_condition_is_false(run: Run) -> None:
    loop = graph(
        """
loop:
  type: while
  while: n < 3
  body: {nodes: {add: {type: rule, rules: [{then: {n: "{{ n + 1 }}"}}]}}}
"""
    )
    test = """
- name: t
  input: {n: 1}
  expect: {path: ["loop[0]/add", "loop[1]/add"], context: {n: 3}}
"""
    assert passed(run(loop, test))


def test_a_child_workflow_ends_with_its_answer_and_an_inline_graph_is_gone_into(run: Run, tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(f"name: inner\nnodes: {{step: {LEAF}}}\n", encoding="utf-8")
    both = graph(
        "here: {type: graph, graph: inner}\n"
        "there: {type: graph, graph: inner, mode: child_workflow, output: {told: result.x}}"
    )
    test = """
- name: t
  outcomes: {here/step: {set: {x: 1}}, there: {answer: {x: 2}}}
  expect: {path: [there, here/step], context: {x: 1, told: 2}}
"""
    assert passed(run(both, test))


# what came out otherwise


def test_differences_are_shown_with_their_places(run: Run) -> None:
    test = """
- name: shipped
  input: {n: 2}
  outcomes: {reserve: {set: {free: {at: {home: 1}}}}, charge: {}, ship: {}}
  expect:
    path: [reserve, ship]
    context:
      free: {at: {home: 2}}
      n: 2
    absent: [n]
"""
    result = run(ORDER, test, "")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    file = lines[0].split()[0]
    assert lines[1:16] == [
        "  ✘ shipped",
        f"      {file}:8:7: path",
        '          "reserve"',
        '        + "charge"',
        '          "ship"',
        f"      {file}:10:27: context.free.at.home",
        "        - 2",
        "        + 1",
        f"      {file}:12:16: context.n",
        "        - (not there)",
        "        + 2",
        "",
        f"coverage of {Path(file).parent / 'graph.yaml'}: 3/4 nodes, 2/3 edges, 0/2 compensations",
        "  no test of node: call_a_person",
        "  no test of edge: charge → call_a_person on timeout",
    ]
    assert lines[-1] == "0 passed, 1 failed"


def test_an_unexpected_failure_says_why_the_run_failed(run: Run) -> None:
    test = "- {name: t, input: {n: 2}, outcomes: {reserve: {fail: SOLD_OUT, message: none left}}, expect: {}}"
    assert reported(run(ORDER, test)) == [("status", "completed", "failed: SOLD_OUT at 'reserve': none left")]


def test_an_expected_failure_that_does_not_come_is_told(run: Run) -> None:
    test = "- {name: t, outcomes: {a: {}}, expect: {error: {code: BAD}, ran: [a], skipped: [a]}}"
    assert reported(run(graph(f"a: {LEAF}"), test)) == [
        ("status", "failed", "completed"),
        ("error.code", "BAD", None),
        ("node 'a'", "did not run", "ran"),
    ]


def test_the_whole_context_holds_nothing_else(run: Run) -> None:
    test = "- {name: t, outcomes: {a: {set: {x: {y: 1}, z: 2}}}, expect: {whole_context: {x: {}}}}"
    assert reported(run(graph(f"a: {LEAF}"), test)) == [("context.x.y", None, 1), ("context.z", None, 2)]


def test_fractions_need_not_agree_in_their_last_binary_digit(run: Run) -> None:
    sum_graph = graph('a: {type: rule, rules: [{then: {x: "{{ 0.1 + 0.2 }}"}}]}')
    assert passed(run(sum_graph, "- {name: t, expect: {context: {x: 0.3}}}"))
    assert run(sum_graph, "- {name: t, expect: {context: {x: 0.3000001}}}")["status"] == "failed"


def test_a_script_that_never_comes_to_its_point_is_told(run: Run) -> None:
    test = """
- name: t
  outcomes: {a: {}}
  order: [a, b]
  choose: {b: {x: 1}}
  cancel_after: b
  expect: {}
"""
    result = run(graph(f"a: {LEAF}\nb: {LEAF}", "[{from: a, to: b, when: has(context.never)}]"), test)
    assert reported(result) == [
        ("node 'b'", "a conflict at its join", "no conflict that waits"),
        ("node 'b'", "ended", "never ended"),
        ("node 'b'", "ended", "never ended"),
    ]


# coverage and the matrix


def test_coverage_below_the_least_fails_the_command(run: Run) -> None:
    test = "- {name: t, input: {n: 2}, outcomes: {reserve: {set: {free: 1}}, charge: {}, ship: {}}, expect: {}}"
    assert run(ORDER, test, "--min-coverage", "0").exit_code == 0
    result = run(ORDER, test, "--min-coverage", "70")
    assert result.exit_code == 1
    assert "the tests cover 67 % of the edges, under 70 %" in result.stderr
    assert "the tests cover 0 % of the compensations, under 70 %" in result.stderr
    assert "of the nodes" not in result.stderr


def test_coverage_goes_into_bodies_and_counts_what_all_tests_did(run: Run) -> None:
    test = """
- {name: light, input: {items: [a]}, outcomes: {pack/weigh: {set: {weight: 1}}}, expect: {}}
- {name: none, input: {items: []}, expect: {}}
"""
    (coverage,) = json.loads(run(PACK, test, "--json").stdout)["coverage"].values()
    assert coverage == {
        "nodes": {"covered": 2, "total": 3, "missing": ["pack/seal"]},
        "edges": {"covered": 1, "total": 1, "missing": []},
        "compensations": {"covered": 0, "total": 0, "missing": []},
    }


BOOKING = """\
name: booking
nodes:
  book:
    type: block
    retry: {max_attempts: 2}
    nodes:
      hotel: {type: python, handler: h, reads: [], output: {room: result}, compensate: {type: python, handler: c}}
      flight: {type: python, handler: f, reads: [], output: {seat: result}}
    edges: [{from: hotel, to: flight}]
  rate: {type: python, handler: r, reads: [], output: {rate: result}, on_failure: {use: {rate: 1.5}}}
  caught: {type: rule, rules: [{then: {why: "{{ error.type }}"}}]}
edges: [{from: book, to: rate}, {from: book, to: caught, outcome: failure}]
"""


@pytest.mark.parametrize(
    ("outcomes", "expect"),
    [
        (
            "book/hotel: {result: 7}, book/flight: {result: 3}, rate: {fail: DOWN}",
            "path: [book/hotel, book/flight, rate], whole_context: {room: 7, seat: 3, rate: 1.5}, compensated: []",
        ),
        (
            "book/hotel: {result: 7}, book/flight: {fail: UNAVAILABLE}",
            "ran: [book~2/flight, caught], whole_context: {why: UNAVAILABLE}, compensated: [book/hotel, book~2/hotel]",
        ),
        (
            "book/hotel: {result: 7}, book/flight: {fail: SOLD_OUT}, undo book/hotel: {fail: STUCK}",
            "context: {why: SOLD_OUT}, compensated: [], not_compensated: [book/hotel]",
        ),
        (
            "book/hotel: {result: 7}, book/flight: {fail: X}, book~2/flight: {result: 4}, rate: {timeout: true}",
            "whole_context: {room: 7, seat: 4, rate: 1.5}, compensated: [book/hotel]",
        ),
    ],
)
def test_blocks_and_fallbacks_are_played_as_in_a_run(run: Run, outcomes: str, expect: str) -> None:
    assert passed(run(BOOKING, f"- {{name: t, outcomes: {{{outcomes}}}, expect: {{{expect}}}}}"))


def test_an_otherwise_that_no_test_takes_is_named(run: Run) -> None:
    rules = "{type: rule, rules: [{then: {x: 1}}]}"
    edges = "[{from: a, to: b, when: n > 1}, {from: a, to: c, otherwise: true}]"
    graph = f"name: g\nnodes: {{a: {rules}, b: {rules}, c: {rules}}}\nedges: {edges}\n"
    tests = "- {name: big, input: {n: 2}, expect: {path: [a, b]}}"
    (coverage,) = json.loads(run(graph, tests, "--json").stdout)["coverage"].values()
    assert coverage["edges"] == {"covered": 1, "total": 2, "missing": ["a → c otherwise"]}
    tests += "\n- {name: small, input: {n: 1}, expect: {path: [a, c]}}"
    (coverage,) = json.loads(run(graph, tests, "--json").stdout)["coverage"].values()
    assert coverage["edges"] == {"covered": 2, "total": 2, "missing": []}


def test_the_matrix_tells_what_each_node_s_failure_would_undo(run: Run) -> None:
    test = """
- name: shipped
  input: {n: 2}
  outcomes: {reserve: {set: {free: 1}}, charge: {}, ship: {}}
  expect: {}
"""
    result = run(ORDER, test, "--fail-each-node", "--json")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)["files"][0]["tests"][0]["fail_each_node"]
    assert [tuple(row.values()) for row in rows] == [
        ("reserve", "failure", "failed", [], []),
        ("reserve", "timeout", "failed", ["reserve"], []),
        ("charge", "failure", "failed", ["reserve"], []),
        ("charge", "timeout", "completed", [], []),
        ("ship", "failure", "failed", ["charge", "reserve"], []),
        ("ship", "timeout", "failed", ["charge", "reserve"], ["ship (unknown)"]),
    ]


def test_the_matrix_names_effects_that_nothing_undoes(run: Run) -> None:
    nodes = """
call: {type: http, url: "https://example.com", method: POST}
look: {type: http, url: "https://example.com"}
read: {type: db, connection: DB, query: select 1 as one}
once: {type: db, connection: DB, query: "select nextval('one') as two", effect: true}
pure: {type: python, handler: h, effect: false}
ask: {type: approval, prompt: "?"}
end: {type: rule, rules: [{then: {done: true}}]}
"""
    order = ("call", "look", "read", "once", "pure", "ask", "end")
    edges = f"[{', '.join(f'{{from: {one}, to: {next_}}}' for one, next_ in pairwise(order))}]"
    test = "- {name: t, outcomes: {call: {}, look: {}, read: {}, once: {}, pure: {}, ask: {answer: null}}, expect: {}}"
    shown = run(graph(nodes, edges), test, "--fail-each-node").stdout
    rows = [line.split() for line in shown.splitlines() if " failed " in line]
    assert rows == [
        ["call", "failure", "failed"],
        ["call", "timeout", "failed", "call", "(unknown)"],
        ["look", "failure", "failed", "call"],
        ["look", "timeout", "failed", "call"],
        ["read", "failure", "failed", "call"],
        ["read", "timeout", "failed", "call"],
        ["once", "failure", "failed", "call"],
        ["once", "timeout", "failed", "call,", "once", "(unknown)"],
        ["pure", "failure", "failed", "call,", "once"],
        ["pure", "timeout", "failed", "call,", "once"],
        ["ask", "timeout", "failed", "call,", "once"],
        ["end", "failure", "failed", "call,", "once"],
        ["end", "timeout", "failed", "call,", "once"],
    ]


def test_the_matrix_fails_the_last_turn_of_a_body_and_counts_a_body_undone_with_its_node(run: Run) -> None:
    undoable = PACK.replace("  items: items", f"  items: items\n    compensate: {LEAF}")
    nodes = undoable.replace("edges: []\n", f"  end: {LEAF}\nedges: [{{from: pack, to: end}}]\n")
    test = "- {name: t, input: {items: [a, b]}, outcomes: {pack/weigh: {set: {weight: 1}}, end: {}}, expect: {}}"
    rows = json.loads(run(nodes, test, "--fail-each-node", "--json").stdout)["files"][0]["tests"][0]["fail_each_node"]
    assert [tuple(row.values()) for row in rows] == [
        ("pack[1]/weigh", "failure", "failed", ["pack"], []),
        ("pack[1]/weigh", "timeout", "failed", ["pack"], []),
        ("end", "failure", "failed", ["pack"], []),
        ("end", "timeout", "failed", ["pack"], ["end (unknown)"]),
    ]


# test files that are wrong


def problems(result: Result) -> list[str]:
    assert result.exit_code == 1
    return [line.split("a.test.yaml", 1)[-1] for line in result.stderr.splitlines()]


@pytest.mark.parametrize(
    ("test", "found"),
    [
        (
            "- {name: t, expect: {stauts: failed}}",
            [":4:24: `tests.0.expect` has no field `stauts`", "  help: did you mean `status`?"],
        ),
        (
            "- {name: t, expect: {path: [reserv]}}",
            [":4:31: the graph has no node 'reserv'", "  help: did you mean `reserve`?"],
        ),
        ("- {name: t}", [":4:5: `tests.0` needs the field `expect`", "  help: add `expect:`"]),
        (
            "- {name: t, expect: {status: fine}}",
            [":4:32: `tests.0.expect.status` must be one of completed, failed, cancelled, paused, not 'fine'"],
        ),
        (
            "- {name: t, outcomes: {ship: {set: {}, fail: BAD}}, expect: {}}",
            [":4:26: `tests.0.outcomes.ship` is wrong: a node has one outcome, not fail and set"],
        ),
        (
            "- {name: t, outcomes: {ship: failure}, expect: {}}",
            [
                ":4:32: `tests.0.outcomes.ship` is wrong: 'failure' is not an outcome; write {set: {…}}, {fail: CODE}",
            ],
        ),
        ("- {name: t, outcomes: {undo ship: {}}, expect: {}}", [":4:26: node 'ship' has no compensation"]),
        (
            "- {name: t, outcomes: {ship: {result: 1}}, expect: {}}",
            [
                ":4:26: node 'ship' has no `output` that would read a `result`",
                "  help: give what it writes: `set`",
            ],
        ),
        (
            "- {name: t, outcomes: {ship: {answer: 1}}, expect: {}}",
            [
                ":4:26: a 'python' node 'ship' has no outcome `answer`",
                "  help: write `set`, `result`, `fail` or `timeout`",
            ],
        ),
        (
            "- {name: t, outcomes: {ship: {choose: {}}}, expect: {}}",
            [
                ":4:26: `choose` is not an outcome of a node",
                "  help: settle conflicts under the test's own `choose`",
            ],
        ),
        ("- {name: t, at: noon, expect: {}}", [":4:19: `tests.0.at` must be a valid datetime"]),
        (
            "- {name: t, at: 0001-01-01T00:00:00Z, expect: {}}",
            [":4:19: `tests.0.at` must be greater than or equal to 1970-01-01"],
        ),
        ("- {name: t, at: 12, expect: {}}", [":4:19: `tests.0.at` is wrong: not a time such as"]),
        (
            "- {name: t, input: none.json, expect: {}}",
            [":4:22: "],
        ),
        (
            "- {name: t, expect: {}}\n- {name: t, expect: {}}",
            [":5:12: two tests are named 't'; the first one is in line 4"],
        ),
    ],
)
def test_a_wrong_test_is_refused_with_its_place(run: Run, test: str, found: list[str]) -> None:
    lines = problems(run(ORDER, test, ""))
    assert [line.startswith(start) for line, start in zip(lines, found, strict=False)] == [True] * len(found), lines


@pytest.mark.parametrize(
    ("node", "outcome", "message"),
    [
        ("wait", "{a: {set: {x: 1}}}", "a 'wait' node 'a' has no outcome `set`"),
        ("approval", "{a: {set: {x: 1}}}", "a 'approval' node 'a' has no outcome `set`"),
        ("approval", "{a: {after: 1s}}", "node 'a' needs an answer"),
        ("while", "{a: {set: {x: 1}}}", "node 'a' ends as the nodes in its body make it end"),
        ("block", "{a: {fail: X}}", "node 'a' ends as the nodes in its body make it end"),
    ],
)
def test_a_node_has_only_outcomes_of_its_type(run: Run, node: str, outcome: str, message: str) -> None:
    nodes = f"nodes: {{b: {LEAF}}}"
    loop = f"while: 'false', body: {{{nodes}}}"
    fields = {"wait": "for: 1s", "approval": "prompt: p", "while": loop, "block": nodes}
    result = run(graph(f"a: {{type: {node}, {fields[node]}}}"), f"- {{name: t, outcomes: {outcome}, expect: {{}}}}", "")
    assert message in problems(result)[0]


def test_a_body_has_only_its_own_nodes(run: Run) -> None:
    result = run(PACK, '- {name: t, input: {items: []}, expect: {skipped: ["pack[0]/sael", "weigh/x"]}}', "")
    assert problems(result)[:2] == [
        ":4:54: the graph has no node 'pack[0]/sael'",
        "  help: did you mean `pack/seal`?",
    ]
    assert problems(result)[2] == ":4:70: the graph has no node 'weigh/x'"


def test_one_wrong_file_does_not_keep_the_others_from_running(run: Run, tmp_path: Path) -> None:
    run(graph(f"a: {LEAF}"), "- {name: t, outcomes: {a: {}}, expect: {}}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.test.yml").write_text("graph: none.yaml\ntests: [{name: t, expect: {}}]\n", "utf-8")
    (tmp_path / "c.test.yaml").write_text("graph: [\n", "utf-8")
    result = anabranch("test", tmp_path, "--json")
    assert result.exit_code == 1
    reported = json.loads(result.stdout)
    assert [test["status"] for file in reported["files"] for test in file["tests"]] == ["passed"]
    assert [(Path(each["file"]).name, each["code"]) for each in reported["unreadable"]] == [
        ("c.test.yaml", "GRAPH_INVALID"),
        ("b.test.yml", "GRAPH_INVALID"),
    ]
    assert "none.yaml' cannot be read" in result.stderr


def test_a_folder_without_tests_is_an_error(tmp_path: Path) -> None:
    result = anabranch("test", tmp_path)
    assert result.exit_code == 1
    assert "the folder has no `*.test.yaml` file" in result.stderr


def test_a_path_that_cannot_be_read_is_an_error_of_the_test(run: Run) -> None:
    result = run(graph(f"a: {LEAF}"), "- {name: t, outcomes: {a: {}}, expect: {absent: ['x\\']}}")
    assert "ends in a lone backslash" in result["error"]["message"]


def test_names_are_shown_without_what_would_move_the_cursor_or_colour_the_screen(run: Run) -> None:
    result = run(graph(f"a: {LEAF}"), '- {name: "[red]\\u202e", outcomes: {a: {}}, expect: {}}', "")
    assert result.stdout.splitlines()[1] == "  ✔ [red]\\u202e"


TRIP = f"""
name: trip
nodes:
  book:
    type: foreach
    items: "[1]"
    retry: {{max_attempts: 2, initial_interval: 10s}}
    body:
      nodes: {{hotel: {LEAF[:-1]}, compensate: {LEAF}}}, flight: {LEAF}}}
      edges: [{{from: hotel, to: flight}}]
"""


def test_a_test_says_how_each_attempt_of_a_composite_ends(run: Run) -> None:
    test = """
- name: it works the second time
  outcomes:
    book/hotel: {set: {room: 1}}
    book/flight: {fail: SOLD_OUT}
    book~2/flight: {set: {seat: 2}}
  expect:
    path: ["book[0]/hotel", "book[0]/flight", "book~2[0]/hotel", "book~2[0]/flight"]
    compensated: ["book[0]/hotel"]
    context: {room: 1, seat: 2}
"""
    assert run(TRIP, test)["mismatches"] == []


def test_a_test_of_a_composite_whose_every_attempt_fails(run: Run) -> None:
    test = """
- name: it never works
  outcomes: {book/hotel: {}, book/flight: {fail: SOLD_OUT}}
  expect:
    error: {code: SOLD_OUT, node: "book~2[0]/flight"}
    compensated: ["book[0]/hotel", "book~2[0]/hotel"]
"""
    assert run(TRIP, test)["mismatches"] == []
