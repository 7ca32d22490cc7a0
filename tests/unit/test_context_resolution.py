"""Policies: their names, the paths that they cover, and what the strategies choose."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.context.merge.resolution import (
    Candidate,
    ConflictResolution,
    Policies,
    Policy,
    Reducer,
    merge_all,
    parse_policy,
    winner,
    without_duplicates,
)
from anabranch.context.values import MISSING, Json, Missing, same
from anabranch.errors import InputError
from tests.unit.lineage_kit import values

LWW = ConflictResolution.LAST_WRITE_WINS
HVW = ConflictResolution.HIGHER_VERSION_WINS
uniform = st.one_of(
    st.lists(st.integers(0, 3) | st.just(MISSING), min_size=1, max_size=5),
    st.lists(st.lists(st.integers(0, 3), max_size=3) | st.just(MISSING), min_size=1, max_size=5),
    st.lists(st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2), min_size=1, max_size=5),
)


@pytest.mark.parametrize("name", ["LastWriteWins", "last_write_wins", "LAST_WRITE_WINS", "lastwritewins", LWW])
def test_a_strategy_is_known_by_either_spelling(name: str) -> None:
    assert ConflictResolution.parse(name) is LWW


def test_a_policy_is_a_strategy_or_a_reducer() -> None:
    assert parse_policy("Sum") is Reducer.SUM
    assert parse_policy(Reducer.UNION) is Reducer.UNION
    assert parse_policy("MergeAll") is ConflictResolution.MERGE_ALL


def test_an_unknown_policy_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"'newest' is not a conflict resolution .*last_write_wins.*merge_all"):
        ConflictResolution.parse("newest")
    with pytest.raises(InputError, match=r"'product' is not a merge policy .*merge_all, sum, min"):
        parse_policy("product")


def test_a_policy_covers_what_is_below_its_path_until_a_longer_one_does() -> None:
    policies = Policies.of("fail_on_conflict", {"order": "MergeAll", ("order", "total"): "sum", r"a\.b": "max"})
    expected: dict[tuple[str, ...], Policy] = {
        ("order",): ConflictResolution.MERGE_ALL,
        ("order", "items", "x"): ConflictResolution.MERGE_ALL,
        ("order", "total"): Reducer.SUM,
        ("a.b",): Reducer.MAX,
        ("a", "b"): ConflictResolution.FAIL_ON_CONFLICT,
    }
    assert {path: policies.at(path) for path in expected} == expected


def candidate(value: Json | Missing, version: int, at: int) -> Candidate:
    return Candidate(value, version, at, "w")


@pytest.mark.parametrize(
    ("policy", "pairs", "expected"),
    [
        (LWW, [(1, 20), (9, 10)], 0),
        (LWW, [(1, 10), (2, 10)], 1),
        (LWW, [(2, 10), (1, 10)], 0),
        (LWW, [(1, 10), (1, 10)], 1),
        (HVW, [(1, 20), (9, 10)], 1),
        (HVW, [(3, 20), (3, 10)], 1),
        (HVW, [(3, 10), (3, 10)], 1),
        (LWW, [(1, 10), (1, 10), (1, 9)], 1),
    ],
)
def test_ties_go_to_the_one_declared_last_after_the_version_where_time_decides(
    policy: ConflictResolution, pairs: list[tuple[int, int]], expected: int
) -> None:
    candidates = [candidate(index, version, at) for index, (version, at) in enumerate(pairs)]
    chosen = winner(candidates, policy)
    assert chosen is candidates[expected]


@pytest.mark.parametrize("policy", [ConflictResolution.FAIL_ON_CONFLICT, ConflictResolution.MERGE_ALL, *Reducer])
def test_other_policies_choose_no_candidate(policy: Policy) -> None:
    assert winner([candidate(1, 1, 1), candidate(2, 2, 2)], policy) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([1, 2], [1, 2]),
        ([1, 2, 1], [1, 2]),
        ([1, True], [1, True]),
        ([[1, 2], [2, 3]], [1, 2, 3]),
        ([[1], 2], [1, 2]),
        ([1, [1]], [1]),
        ([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ([{"a": {"x": 1}}, {"a": {"x": 2, "y": 3}}], {"a": {"x": [1, 2], "y": 3}}),
        ([{"l": [1, 1], "n": 1}, {"l": [1, 1], "n": 2}], {"l": [1, 1], "n": [1, 2]}),
        ([{"a": 1}, 5], [{"a": 1}, 5]),
        ([None, 5], [None, 5]),
        ([MISSING, 5], 5),
        ([[1, 1], MISSING], [1, 1]),
        ([{"a": 1}, MISSING, {"b": 1}], {"a": 1, "b": 1}),
        ([MISSING, MISSING], MISSING),
        ([{}, {}], {}),
    ],
)
def test_merge_all_keeps_everything_once(found: list[Any], expected: Any) -> None:
    assert same(merge_all(found), expected)


@given(uniform)
def test_merge_all_is_associative_for_values_of_one_kind(found: list[Any]) -> None:
    flat = merge_all(found)
    assert same(reduce(lambda left, right: merge_all([left, right]), found), flat)
    assert same(reduce(lambda right, left: merge_all([left, right]), reversed(found)), flat)


@given(st.lists(values, min_size=1, max_size=4))
def test_merge_all_changes_nothing_where_all_agree(found: list[Any]) -> None:
    assert same(merge_all([found[0]] * len(found)), found[0])


@given(st.lists(st.lists(values, max_size=3), max_size=3))
def test_lists_without_duplicates_hold_each_item_once_in_the_order_of_its_first_place(lists: list[list[Any]]) -> None:
    items = [item for each in lists for item in each]
    expected = [item for index, item in enumerate(items) if not any(same(item, other) for other in items[:index])]
    assert same(without_duplicates(lists), expected)
