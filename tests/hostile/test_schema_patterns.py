"""Patterns and references of JSON Schemas that would take longer than the world stands, or more stack than there is."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.activities.ai.declared import Declared
from anabranch.context.values import Json
from anabranch.errors import GraphError, Problem, SchemaViolation
from anabranch.graph.json_schema import validator_of
from anabranch.graph.load import load_text
from anabranch.graph.plan import Plan, plan_graph
from anabranch.workflows.interpreter.input import check_input, check_value_against

SLOW = "^(a+)+$"
TEXT = "a" * 60 + "!"
NODES = "nodes: {n: {type: rule, rules: [{then: {y: '{{ x }}'}}]}}"


def plan(graph: str) -> Plan:
    return plan_graph(load_text(f"name: g\n{graph}\n{NODES}", "g.yaml").graph)


def problems(graph: str) -> tuple[Problem, ...]:
    with pytest.raises(GraphError) as caught:
        load_text(f"name: g\n{graph}\n{NODES}", "g.yaml")
    return caught.value.problems


@pytest.mark.parametrize(
    "graph",
    [
        f"context: {{schema: {{properties: {{x: {{type: string, pattern: '{SLOW}'}}}}}}}}",
        f"inputs: {{x: {{type: string, pattern: '{SLOW}'}}}}",
    ],
)
def test_a_text_that_does_not_match_is_refused_at_once(graph: str) -> None:
    with pytest.raises(SchemaViolation, match="does not match"):
        check_input(plan(graph), {"x": TEXT})
    assert check_input(plan(graph), {"x": "a" * 60}) == ({"x": "a" * 60}, 65)


@pytest.mark.parametrize(
    ("schema", "value", "wrong"),
    [
        ({"patternProperties": {SLOW: {"type": "integer"}}}, {"aaa": "1"}, "'1' is not of type 'integer'"),
        ({"patternProperties": {SLOW: {"type": "integer"}}}, {TEXT: "1"}, None),
        ({"patternProperties": {SLOW: {}}, "additionalProperties": False}, {TEXT: 1}, "not allowed"),
        ({"patternProperties": {SLOW: {}}, "additionalProperties": False}, {"aaa": 1}, None),
        (
            {"patternProperties": {"^a": {}}, "additionalProperties": {"type": "null"}},
            {"b": 1},
            "is not of type 'null'",
        ),
        ({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"pattern": SLOW}}}, [TEXT], "does not match"),
        ({"pattern": "(.{1000}){900}"}, "x" * 100_000, "is too long for the pattern"),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema", "pattern": SLOW}, TEXT, "does not match"),
        ({"pattern": SLOW}, 5, None),
    ],
)
def test_names_and_values_below_are_judged_alike(schema: dict[str, Any], value: Json, wrong: str | None) -> None:
    if wrong is None:
        check_value_against(schema, value, what="it", by="input")
        return
    with pytest.raises(SchemaViolation, match=wrong):
        check_value_against(schema, value, what="it", by="input")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
        {
            "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)} | {"d60": False},
            "$ref": "#/$defs/d0",
        },
    ],
    ids=["itself", "itself twice", "each other", "twice as many each time"],
)
def test_references_without_end_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaViolation, match="is followed without end, or too often"):
        check_value_against(schema, {"x": 1}, what="it", by="input")


def test_a_recursive_schema_fits_what_is_nested_and_refuses_what_is_nested_too_deep() -> None:
    schema: dict[str, Any] = {"type": "array", "items": {"$ref": "#"}}
    nested: list[Json] = []
    for depth in range(250):
        if depth == 90:
            check_value_against(schema, [nested] * 1000, what="it", by="input")
        nested = [nested]
    with pytest.raises(SchemaViolation, match="too often"):
        check_value_against(schema, nested, what="it", by="input")


def test_groups_that_are_nested_deeper_than_python_reads_them_are_a_pattern() -> None:
    nested = f"{'(' * 500}a{')' * 500}"
    graph = f"name: g\ninputs:\n  x:\n    pattern: |-\n      {nested}\n{NODES}"
    loaded = load_text(graph, "g.yaml")
    with pytest.raises(SchemaViolation, match="does not match"):
        check_input(plan_graph(loaded.graph), {"x": "b"})


def test_items_that_must_differ_are_compared_as_json_has_them_and_in_one_go() -> None:
    schema: dict[str, Any] = {"uniqueItems": True}
    rows: list[Json] = [{"a": {"b": number}, "c": [number, None]} for number in range(20_000)]
    check_value_against(schema, rows, what="it", by="input")
    check_value_against(schema, [1, True, "1", [1], [True], {"a": 1}, {"a": True}, {}, [], None], what="it", by="input")
    pairs: list[Json] = [
        [1, 1.0],
        [{"a": [1]}, {"a": [1.0]}],
        [[], []],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
        [*rows, rows[7]],
    ]
    for pair in pairs:
        with pytest.raises(SchemaViolation, match="two items are equal"):
            check_value_against(schema, pair, what="it", by="input")


def test_of_a_model_s_answer_is_kept_what_a_pattern_names() -> None:
    schema: dict[str, Any] = {"patternProperties": {SLOW: {}}}
    assert Declared(validator_of(schema)).only({"aaa": 1, TEXT: 2}) == {"aaa": 1}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("{pattern: '(?=a)b'}", "is not a regular expression of RE2"),
        (r"{pattern: '(a)\1'}", "is not a regular expression of RE2"),
        ("{pattern: '('}", "is not a regular expression of RE2"),
        ("{patternProperties: {'(?!a)': {}}}", "is not a regular expression of RE2"),
        ("{$schema: 'http://json-schema.org/draft-07/schema#'}", "names another dialect"),
        ("{not: {$schema: 'https://json-schema.org/draft/2020-12/schema'}}", "stands below the top"),
        ("{patternProperties: {a: {}}, unevaluatedProperties: false}", "is not supported"),
    ],
)
def test_what_would_be_judged_by_python_s_expressions_is_refused_at_its_place(schema: str, told: str) -> None:
    (problem,) = problems(f"context: {{schema: {schema}}}")
    assert problem.code == "SCHEMA_INVALID"
    assert told in problem.message
    assert str(problem.place).startswith("g.yaml:2:")


def test_a_default_that_does_not_match_is_refused_at_once() -> None:
    (problem,) = problems(f"inputs: {{x: {{type: string, pattern: '{SLOW}', default: '{TEXT}'}}}}")
    assert problem.code == "INPUT_DEFAULT"
