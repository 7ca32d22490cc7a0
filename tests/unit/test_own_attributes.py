"""`search_attributes` of a graph: what each type takes, when they are looked at, and what `validate` finds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from temporalio.api.enums.v1 import IndexedValueType
from typer.testing import CliRunner

from anabranch.activities.load_graph import GraphLoader
from anabranch.cli.main import app
from anabranch.context.merge.lineage import Line
from anabranch.errors import ConfigurationError
from anabranch.graph.checks.schemas import graph_json_schema
from anabranch.graph.load import canonical, load_text
from anabranch.graph.model import Graph
from anabranch.graph.policies import AttributeType, SearchAttribute
from anabranch.transport.node_protocol import GraphRequest
from anabranch.transport.search_attributes import granted, own_capability, own_keys, wishes
from anabranch.workflows.interpreter.attributes import Misfit, OwnAttributes, fitting
from tests.unit.machine_kit import Play, edge, machine_of, python
from tests.unit.test_finally import codes

TWO = {"nodes": {"a": python(), "b": python()}, "edges": [edge("a", "b")]}


def watching(play: Play, *named: str) -> OwnAttributes:
    return OwnAttributes(play.state, named or play.state.plan.graph.search_attributes, play.machine.context, {})


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("keyword", "paid", "paid"),
        ("keyword", 12.0, "12"),
        ("keyword", True, "true"),
        ("keyword", "ä" * 150, "ä" * 100),
        ("text", "two words", "two words"),
        ("text", "x" * 2_000, "x" * 1_500),
        ("int", 7, 7),
        ("int", 7.0, 7),
        ("float", 7, 7.0),
        ("float", 0.5, 0.5),
        ("bool", False, False),
        ("datetime", "2026-11-29T13:00:00+01:00", datetime(2026, 11, 29, 12, tzinfo=UTC)),
        ("datetime", 1_764_331_200_000, datetime(2025, 11, 28, 12, tzinfo=UTC)),
        ("keyword_list", ["a", 1, "a"], ("a", "1")),
        ("keyword_list", [], None),
    ],
)
def test_a_value_is_made_what_its_type_takes(kind: AttributeType, value: Any, wanted: Any) -> None:
    found = fitting(value, SearchAttribute(value="", type=kind))
    assert (found, type(found)) == (wanted, type(wanted))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("keyword", each) for each in ([1], {"a": 1})),
        *(("int", each) for each in ("7", 7.5, True, 2**63)),
        *(("float", each) for each in ("0.5", False)),
        *(("bool", each) for each in ("true", 1)),
        *(("datetime", each) for each in ("soon", "2026-11-29T13:00:00", 12, True)),
        *(("keyword_list", each) for each in ("a", {"a": 1}, [["a"]])),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused(kind: AttributeType, value: Any) -> None:
    with pytest.raises(Misfit, match="takes"):
        fitting(value, SearchAttribute(value="", type=kind))


def test_a_list_of_words_is_no_longer_than_the_server_takes() -> None:
    words = fitting([f"{index:05}" for index in range(1_000)], SearchAttribute(value="", type="keyword_list"))
    assert isinstance(words, tuple)
    assert (len(words), words[-1]) == (187, "00186")


def test_they_are_told_when_they_change_and_only_then() -> None:
    said = {"Status": "{{ status }}", "Total": {"type": "float", "value": "{{ total * 2 }}"}}
    script: dict[str, Any] = {"a": {"status": "paid", "other": 1}, "b": {"total": 7}}
    play = Play(machine_of({**TWO, "search_attributes": said}, {"total": 5}), script).start()
    watched = watching(play)
    assert watched.changed() == {"Total": 10.0}  # the status is not there yet
    assert watched.changed() == {}
    play.answer("a")
    assert watched.changed() == {"Status": "paid"}
    play.answer("b")
    assert (watched.changed(), watched.changed()) == ({"Total": 14.0}, {})


def test_they_are_looked_at_where_a_key_has_changed_that_they_read() -> None:
    play = Play(machine_of({**TWO, "search_attributes": {"S": "{{ status }}"}}, {"status": 1}), {"a": {"x": 1}})
    looks: list[int] = []

    def now() -> Line:
        looks.append(1)
        return play.machine.context()

    play.start()
    watched = OwnAttributes(play.state, ["S"], now, {})
    watched.changed()
    play.answer("a")
    assert (watched.changed(), looks) == ({}, [1])


def test_what_is_taken_away_and_what_does_not_fit_is_no_value_and_the_second_warns_once() -> None:
    said = {"N": {"type": "int", "value": "{{ n }}"}}
    play = Play(machine_of({**TWO, "search_attributes": said}, {"n": 1}), {"a": {"n": "one"}, "b": {"n": "two"}})
    play.start()
    watched = watching(play)
    assert watched.changed() == {"N": 1}
    play.answer("a")
    assert watched.changed() == {"N": None}
    play.answer("b")
    assert watched.changed() == {}
    assert play.state.trail.warnings == [("search_attributes", "N is not set: an int takes a whole number of 64 bits")]


def test_what_the_run_before_has_set_is_not_set_again() -> None:
    play = Play(
        machine_of({**TWO, "search_attributes": {"A": "{{ a }}", "B": "{{ b }}"}}, {"a": "x", "b": "y"})
    ).start()
    assert OwnAttributes(play.state, ["A", "B"], play.machine.context, {"A": "x"}).changed() == {"B": "y"}


def test_an_expression_that_costs_too_much_is_no_value() -> None:
    costly = "{{ lists.range(5000).map(x, x * 2).size() }}"
    play = Play(machine_of({**TWO, "search_attributes": {"S": costly}})).start()
    assert watching(play).changed() == {}


GRAPH = "name: g\nsearch_attributes:\n  {}\nnodes:\n  a: {{type: rule, rules: [{{then: {{x: 1}}}}]}}\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("AnabranchMine: x", "3:3 NAME_RESERVED"),
        ("WorkflowId: x", "3:3 NAME_RESERVED"),
        ('S: "{{ 1 + }}"', "3:13 EXPRESSION_INVALID"),
        ("no-name: x", "3:3 KEY_INVALID"),
        ("S: {type: keywords, value: x}", "3:13 VALUE_INVALID"),
        ("S: {type: int}", "3:3 FIELD_MISSING"),
    ],
)
def test_validate_finds_what_is_wrong_with_one_in_its_place(line: str, found: str) -> None:
    assert codes(GRAPH.format(line)) == [found]


def test_both_spellings_are_one_graph_and_the_json_schema_takes_both() -> None:
    short, long = (GRAPH.format(each) for each in ('S: "{{ x }}"', 'S: {value: "{{ x }}", type: keyword}'))
    assert canonical(load_text(short).graph) == canonical(load_text(long).graph)
    schema = Draft202012Validator(graph_json_schema())
    assert schema.is_valid({"name": "g", "nodes": {"a": {"type": "stop"}}, "search_attributes": {"S": "{{ x }}"}})
    assert not schema.is_valid({"name": "g", "nodes": {"a": {"type": "stop"}}, "search_attributes": {"S": 1}})


def test_a_graph_run_inline_warns_that_its_own_count_for_nothing() -> None:
    inner = GRAPH.format("S: x").replace("name: g", "name: inner")
    outer = "name: g\nnodes:\n  call: {type: graph, graph: inner}\n"
    assert codes(outer, inner=inner) == ["3:30 SETTINGS_IGNORED"]


def graph(name: str, **said: Any) -> Graph:
    return Graph.model_validate({"name": name, "search_attributes": said, "nodes": {"a": {"type": "stop"}}})


def test_two_graphs_with_one_attribute_have_to_give_it_one_type() -> None:
    keys = own_keys([graph("a", S="x"), graph("b", S="y", N={"type": "int", "value": "1"})])
    assert [(key.name, key.indexed_value_type.name) for key in keys] == [("N", "INT"), ("S", "KEYWORD")]
    with pytest.raises(ConfigurationError, match="S is a keyword in 'a' and a int in 'b'"):
        own_keys([graph("a", S="x"), graph("b", S={"type": "int", "value": "1"})])


def test_a_run_may_set_those_alone_that_its_namespace_has() -> None:
    wished = wishes([graph("a", S="x", N={"type": "int", "value": "1"})])
    keyword, text = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD, IndexedValueType.INDEXED_VALUE_TYPE_TEXT
    assert granted(("encrypted_only", *wished), {}) == ("encrypted_only",)
    assert granted(("encrypted_only", *wished), {"S": keyword, "N": text}) == (
        "encrypted_only",
        own_capability("S", "keyword"),
    )


def test_a_run_of_which_nobody_has_asked_the_namespace_sets_none(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(GRAPH.format("S: x"), encoding="utf-8")
    held = GraphLoader(tmp_path).load(GraphRequest(name="g"))
    assert own_capability("S", "keyword") not in held.capabilities


def test_validate_and_a_drawing_with_details_tell_of_a_graph_s_runs(tmp_path: Path) -> None:
    path, schedule = tmp_path / "g.yaml", "schedule: {cron: '0 6 * * *', paused: true}\nid: nightly\ntimeout: 90s\n"
    path.write_text(schedule + GRAPH.format('S: "{{ x }}"'), encoding="utf-8")
    lines = ["schedule: 0 6 * * * (UTC), paused", "id: nightly", "search attributes: S", "timeout: 90 s"]
    run = CliRunner().invoke
    assert run(app, ["validate", str(path)]).output.splitlines()[-4:] == [f"  {line}" for line in lines]
    drawn = run(app, ["visualize", "--details", str(path)]).output.splitlines()
    assert drawn[1:5] == [f"   {line}" for line in lines]


def test_a_test_and_a_dry_run_show_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(GRAPH.format('S: "{{ x }}"'), encoding="utf-8")
    head = "graph: g.yaml\ntests:\n  - {name: t, expect: {search_attributes: "
    (tmp_path / "g.test.yaml").write_text(f'{head}{{S: "1"}}}}}}\n', encoding="utf-8")
    (tmp_path / "wrong.test.yaml").write_text(f'{head}{{S: "2"}}}}}}\n', encoding="utf-8")
    run = CliRunner().invoke
    assert run(app, ["test", str(tmp_path / "g.test.yaml")]).exit_code == 0
    wrong = run(app, ["test", str(tmp_path / "wrong.test.yaml")])
    assert (wrong.exit_code, "search_attributes.S" in wrong.output) == (1, True)
    assert 'search attributes: S = "1"' in run(app, ["dry-run", str(tmp_path / "g.yaml")]).output


@pytest.mark.parametrize("said", ['"{{ statsu }}"', '{value: "{{ statsu }}", type: keyword}'])
def test_a_key_that_is_nowhere_declared_is_found_in_its_place(said: str) -> None:
    text = GRAPH.format(f"S: {said}").replace("nodes:", "inputs: {status: {type: string}}\nnodes:")
    assert codes(text) == [f"3:{3 + f'S: {said}'.index('statsu')} KEY_UNKNOWN"]
