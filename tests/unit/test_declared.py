"""Of a model's answer only what its schema declares is kept."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from anabranch.activities.ai.declared import Declared

SCORE = {"score": {"type": "number"}}
PERSON = {"type": "object", "properties": {"name": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "value", "kept"),
    [
        pytest.param({"properties": SCORE}, {"score": 1, "approved": True}, {"score": 1}, id="properties"),
        pytest.param(
            {"properties": {"p": PERSON}}, {"p": {"name": "a", "admin": True}}, {"p": {"name": "a"}}, id="nested"
        ),
        pytest.param(
            {"properties": {"l": {"items": PERSON}}},
            {"l": [{"name": "a", "x": 1}, {"x": 2}]},
            {"l": [{"name": "a"}, {}]},
            id="items",
        ),
        pytest.param(
            {"properties": {"l": {"prefixItems": [PERSON], "items": {"properties": SCORE}}}},
            {"l": [{"name": "a", "score": 1}, {"name": "a", "score": 1}]},
            {"l": [{"name": "a"}, {"score": 1}]},
            id="prefixItems",
        ),
        pytest.param({"patternProperties": {"^x_": {}}}, {"x_a": 1, "y": 2}, {"x_a": 1}, id="patternProperties"),
        pytest.param(
            {"properties": SCORE, "additionalProperties": PERSON},
            {"score": 1, "b": {"name": "x", "y": 1}},
            {"score": 1, "b": {"name": "x"}},
            id="additionalProperties",
        ),
        pytest.param({"properties": SCORE, "additionalProperties": True}, {"a": 1}, {"a": 1}, id="declared open"),
        pytest.param(
            {"properties": {"d": {"type": "object"}}}, {"d": {"a": {"b": 1}}}, {"d": {"a": {"b": 1}}}, id="free"
        ),
        pytest.param({"properties": {"d": True}}, {"d": {"a": 1}, "e": 2}, {"d": {"a": 1}}, id="true"),
        pytest.param({"$ref": "#/$defs/p", "$defs": {"p": PERSON}}, {"name": "a", "x": 1}, {"name": "a"}, id="$ref"),
        pytest.param(
            {"properties": {"next": {"$ref": "#"}, "v": {}}},
            {"v": 1, "w": 2, "next": {"v": 3, "w": 4}},
            {"v": 1, "next": {"v": 3}},
            id="$ref to itself",
        ),
        pytest.param(
            {"allOf": [{"$ref": "#"}, {"properties": SCORE}]}, {"score": 1, "a": 2}, {"score": 1}, id="circle"
        ),
        pytest.param(
            {"allOf": [{"properties": SCORE}, PERSON]},
            {"score": 1, "name": "a", "x": 1},
            {"score": 1, "name": "a"},
            id="allOf",
        ),
        pytest.param(
            {"oneOf": [{"properties": {"k": {"const": 1}, "a": {}}}, {"properties": {"k": {"const": 2}, "b": {}}}]},
            {"k": 1, "a": 1, "b": 2},
            {"k": 1, "a": 1},
            id="oneOf keeps what the branch that fits declares",
        ),
        pytest.param(
            {
                "properties": {"k": {}},
                "if": {"properties": {"k": {"const": 1}}},
                "then": {"properties": {"a": {}}},
                "else": {"properties": {"b": {}}},
            },
            {"k": 2, "a": 1, "b": 2},
            {"k": 2, "b": 2},
            id="if",
        ),
        pytest.param(
            {"properties": {"k": {}}, "dependentSchemas": {"k": {"properties": {"a": {}}}}},
            {"k": 2, "a": 1, "b": 2},
            {"k": 2, "a": 1},
            id="dependentSchemas",
        ),
    ],
)
def test_only_declared_properties_are_kept(schema: dict[str, Any], value: dict[str, Any], kept: dict[str, Any]) -> None:
    assert Declared(Draft202012Validator(schema)).only(value) == kept
