"""`finally` of a `block` as a user meets it: checked, drawn, completed by an editor, rehearsed, tested and pinned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.dataflow.reads import node_reads, node_writes
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.graph.drawing.tree import tree
from anabranch.graph.load import load_graph, load_text, written_out
from anabranch.graph.model import Graph
from anabranch.graph.plan import plan_graph
from anabranch.testkit.addresses import known, node_at
from tests.unit.test_finally import anabranch, codes, problems

RULE = "{type: rule, rules: [{then: {x: '1'}}]}"
TELL = "{type: python, handler: h, reads: [], output: {told: result}}"


def block(last: str = f"{{nodes: {{t: {TELL}}}}}", nodes: str = f"{{a: {RULE}}}", **fields: str) -> str:
    more = "".join(f", {name}: {value}" for name, value in fields.items())
    return f"name: g\nnodes: {{trip: {{type: block, nodes: {nodes}, finally: {last}{more}}}}}\n"


def graph(**given: str) -> Graph:
    return load_text(block(**given)).graph


@pytest.mark.parametrize(
    ("last", "code"),
    [
        ("{nodes: {t: {type: python, handler: h, reads: [], pivot: true}}}", "FINALLY_UNDO"),
        ("{nodes: {t: {type: wait, for: 1s, compensate: {type: python, handler: h}}}}", "FINALLY_UNDO"),
        (
            "{nodes: {t: {type: block, nodes: {u: {type: wait, for: 1s, compensate: {type: python, handler: h}}}}}}",
            "FINALLY_UNDO",
        ),
        ("{nodes: {t: {type: wait, for: 1s}}, timeout: 0s}", "DURATION_NOT_POSITIVE"),
        ("{nodes: {t: {type: wait, for: 1s}}, edges: [{from: t, to: u}]}", "EDGE_UNKNOWN_NODE"),
    ],
)
def test_what_may_not_stand_in_it_is_a_problem(last: str, code: str) -> None:
    (found,) = codes(block(last))
    assert found.split()[1] == code


def test_the_id_finally_is_reserved_in_a_block_that_has_one() -> None:
    (found,) = codes(block(nodes=f"{{finally: {RULE}}}"))
    assert found.split()[1] == "NAME_RESERVED"
    assert codes(f"name: g\nnodes: {{trip: {{type: block, nodes: {{finally: {RULE}}}}}}}\n") == []


def test_problems_name_the_block_around() -> None:
    (found,) = problems(block("{nodes: {t: {type: python, handler: h, reads: [], pivot: true}}}"))
    assert found.message == "node 'trip/finally/t' has a `pivot`, and in `finally` nothing is undone"


def test_it_may_read_the_outcome_and_what_the_block_writes_and_a_key_of_the_block_may_be_missing() -> None:
    last = "{nodes: {t: {type: rule, rules: [{when: \"outcome.status == 'failed' && x > n\", then: {y: '1'}}]}}}"
    text = block(last)
    assert list(graph_inputs(load_text(text).graph)) == ["n"]
    (found,) = problems(text)
    assert (found.code, found.warning) == ("KEY_MAYBE_MISSING", True)
    assert found.message.endswith("needs `x`, which 'a' writes only in a block that comes so far")


def test_what_it_writes_is_among_what_the_block_writes_beside_its_output_too() -> None:
    node, other = graph().nodes["trip"], graph(output="{y: 'result.x'}").nodes["trip"]
    assert node_writes("trip", node) == frozenset({"x", "told"})
    assert node_writes("trip", other) == frozenset({"y", "told"})


def test_what_it_reads_is_among_what_the_block_reads() -> None:
    last = "{nodes: {t: {type: rule, rules: [{when: \"outcome.status == 'failed' && x > n\", then: {y: '1'}}]}}}"
    assert node_reads(graph(last=last).nodes["trip"], frozenset()) == frozenset({"n", "x"})


def test_it_is_drawn_as_a_box_in_the_block_and_in_the_tree() -> None:
    lines = [each.strip() for each in mermaid(graph(), {"trip/finally/t": "succeeded"}).splitlines()]
    at = lines.index('subgraph n2 ["finally"]')
    assert lines[at + 1 : at + 4] == ['n3["t"]', "end", "end"]
    assert "class n3 succeeded" in lines
    assert "    ▢ finally\n      └─ t (python)\n" in tree(graph())


def test_it_is_pinned_with_what_its_types_say() -> None:
    pinned = json.loads(written_out(graph()))["nodes"]["trip"]["finally"]
    assert pinned["nodes"]["t"]["effect"] is True
    assert Graph.model_validate(json.loads(written_out(graph()))).nodes["trip"].type == "block"


def test_a_rule_file_in_it_is_read_in(tmp_path: Path) -> None:
    (tmp_path / "rules.grl").write_text('rule "R" { when x > 1 then y = 2; }')
    path = tmp_path / "g.yaml"
    path.write_text(block("{nodes: {r: {type: rule, grl: rules.grl}}}"))
    dumped: dict[str, Any] = load_graph(path).graph.model_dump(by_alias=True)
    assert 'rule "R"' in json.dumps(dumped["nodes"]["trip"]["finally"]).replace("\\", "")


def test_a_test_may_name_its_nodes() -> None:
    plan = plan_graph(graph())
    assert known(plan) == ["trip", "trip/a", "trip/finally/t"]
    assert [getattr(node_at(plan, each), "id", None) for each in known(plan)] == ["trip", "a", "t"]
    assert node_at(plan, "trip/finally/u") is None


def expectations(tmp_path: Path, outcomes: str, expect: str) -> list[dict[str, Any]]:
    """What the one test of a graph with two blocks finds wrong."""
    trip = f"{{type: block, nodes: {{a: {RULE}}}, finally: {{nodes: {{t: {TELL}}}}}}}"
    (tmp_path / "g.yaml").write_text(
        f"name: g\nnodes: {{trip: {trip}, stay: {trip}}}\nedges: [{{from: trip, to: stay}}]\n"
    )
    file = tmp_path / "g.test.yaml"
    file.write_text(f"graph: g.yaml\nassume: true\ntests:\n  - {{name: t, outcomes: {outcomes}, expect: {expect}}}\n")
    result = anabranch("test", file, "--json")
    assert result.stderr == ""
    found: list[dict[str, Any]] = json.loads(result.stdout)["files"][0]["tests"][0]["mismatches"]
    return found


BOTH = "{trip/finally/t: {fail: LOST, message: gone}, stay/finally/t: {fail: LATE}}"


def test_a_test_in_which_it_fails_says_why_of_each_block(tmp_path: Path) -> None:
    lost, late = "{node: trip/finally/t, code: LOST, message: gone}", "{node: stay/finally/t, code: LATE}"
    assert expectations(tmp_path, BOTH, f"{{finally_failed: [{late}, {lost}]}}") == []
    assert expectations(tmp_path, "{trip/finally/t: {fail: LOST, message: gone}}", f"{{finally_failed: {lost}}}") == []


def test_a_test_that_does_not_say_so_fails_and_names_what_failed(tmp_path: Path) -> None:
    told = [each["actual"] for each in expectations(tmp_path, BOTH, "{}")]
    assert told == ["LOST at 'trip/finally/t': gone", "LATE at 'stay/finally/t': as the outcomes say"]
    (left,) = expectations(tmp_path, BOTH, "{finally_failed: {node: stay/finally/t}}")
    assert (left["what"], left["actual"]) == ("finally_failed", "LOST at 'trip/finally/t': gone")
    (missing,) = expectations(tmp_path, "{}", "{finally_failed: [{code: LOST}]}")
    assert (missing["what"], missing["expected"]) == ("finally_failed.code", "LOST")


def test_a_test_may_name_the_block_whose_finally_failed_as_a_whole_but_no_node_that_is_not_there(
    tmp_path: Path,
) -> None:
    (found,) = expectations(tmp_path, "{}", "{finally_failed: {node: trip/finally}}")
    assert (found["what"], found["expected"]) == ("finally_failed.node", "trip/finally")
    (tmp_path / "h.test.yaml").write_text(
        "graph: g.yaml\nassume: true\ntests:\n  - {name: t, expect: {finally_failed: [{node: trip/finally/u}]}}\n"
    )
    assert "NODE_UNKNOWN" in anabranch("test", tmp_path / "h.test.yaml").stderr
