"""JSON values, equality and paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.context.values import (
    MISSING,
    Json,
    Missing,
    check_value,
    format_path,
    identity,
    parse_path,
    same,
    value_at,
)
from anabranch.errors import InputError, WireFormatError
from tests.unit.lineage_kit import values

keys = st.text(alphabet="ab.\\ é", max_size=5)


@given(st.lists(keys, min_size=1, max_size=4).map(tuple))
def test_a_path_comes_back_from_its_text(path: tuple[str, ...]) -> None:
    assert parse_path(format_path(path)) == path


def test_a_dot_in_a_key_is_no_separator() -> None:
    assert format_path(("order.v2", "status")) == r"order\.v2.status"
    assert parse_path(r"order\.v2.status") == ("order.v2", "status")


def test_a_path_that_ends_in_a_lone_backslash_is_refused() -> None:
    with pytest.raises(InputError, match="ends in a lone backslash"):
        parse_path("order\\")


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        ("1", 1, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([[True]], [[1]], False),
        ({}, [], False),
        (MISSING, None, False),
        (MISSING, MISSING, True),
        (2**63, float(2**63), True),
        (2**63 + 1, float(2**63), False),
    ],
)
def test_equality_is_that_of_json(left: Json | Missing, right: Json | Missing, expected: bool) -> None:
    assert same(left, right) is expected
    assert same(right, left) is expected


@given(values, values)
def test_values_share_an_identity_exactly_where_they_are_the_same(left: Json, right: Json) -> None:
    assert (identity(left) == identity(right)) is same(left, right)
    assert identity(left) != identity([left])


def test_a_path_leads_through_objects_only() -> None:
    data: Json = {"a": {"b": None}, "l": [{"b": 1}]}
    assert value_at(data, ("a", "b")) is None
    assert value_at(data, ("a", "c")) is MISSING
    assert value_at(data, ("a", "b", "c")) is MISSING
    assert value_at(data, ("l", "0")) is MISSING


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {"b": float("nan")}}, "'a.b' is nan"),
        ({"a": [1, float("inf")]}, "'a.1' is inf"),
        ({"a": 2**64}, "'a' is an integer beyond 64 bits"),
        ({"a": -(2**63) - 1}, "'a' is an integer beyond 64 bits"),
        ({"a": "\ud800"}, "'a' holds a lone surrogate"),
        ({"\ud800": 1}, "a key that holds a lone surrogate"),
        ({"a": {1: 2}}, "'a' has the key 1, which is not a string"),
        ({"a": b"x"}, "'a' is of type bytes"),
    ],
)
def test_what_is_not_json_is_refused_with_its_path(value: object, message: str) -> None:
    with pytest.raises(WireFormatError, match=message):
        check_value(value)


def test_values_of_64_bits_and_depth_64_are_data() -> None:
    deep: list[object] = []
    for _ in range(63):
        deep = [deep]
    check_value(deep)
    check_value({"least": -(2**63), "most": 2**64 - 1})
    with pytest.raises(WireFormatError, match="nested deeper than 64"):
        check_value([deep])
