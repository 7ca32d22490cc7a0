"""Change sets: diff, apply, refine and their wire format."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.context.changes import ChangeSet, apply, diff, refine
from anabranch.context.values import Json, same
from anabranch.errors import WireFormatError
from tests.json_values import at
from tests.unit.lineage_kit import Edit, edited, edits, objects, paths, values

change_sets = st.builds(
    ChangeSet, st.integers(0, 9), st.dictionaries(paths, values, max_size=4), st.lists(paths, max_size=3).map(tuple)
)
pairs = objects.flatmap(lambda old: st.tuples(st.just(old), objects | st.lists(edits, max_size=3).map(_on(old))))


def _on(old: dict[str, Any]) -> Any:
    return lambda changes: edited(old, changes)


def reported(changes: ChangeSet) -> tuple[Any, ...]:
    return changes.base_version, changes.set, sorted(changes.removed), changes.by, changes.at


@given(pairs)
def test_apply_is_the_inverse_of_diff(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    old, new = pair
    assert same(apply(old, diff(old, new)), new)


@given(pairs)
def test_a_diff_is_empty_exactly_where_nothing_changed(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    old, new = pair
    assert bool(diff(old, new)) is not same(old, new)


@given(pairs)
def test_diff_and_apply_mutate_nothing(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    before = copy.deepcopy(pair)
    result = apply(pair[0], diff(*pair))
    apply(result, diff(result, pair[0]))
    assert pair == before


@given(pairs)
def test_no_path_of_a_diff_leads_through_another(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    changes = diff(*pair)
    found = [*changes.set, *changes.removed]
    assert len(set(found)) == len(found)
    assert not any(path[:length] in found for path in found for length in range(1, len(path)))


@given(objects, change_sets)
def test_refined_changes_are_the_diff_that_they_make(data: dict[str, Any], changes: ChangeSet) -> None:
    exact = diff(data, apply(data, changes), base_version=changes.base_version)
    assert reported(refine(data, changes)) == reported(exact)


def test_a_new_object_is_set_leaf_by_leaf_and_an_empty_one_is_a_leaf() -> None:
    changes = diff({}, {"order": {"id": 1, "items": [{"sku": "x"}], "notes": {}}})
    assert changes.set == {("order", "id"): 1, ("order", "items"): [{"sku": "x"}], ("order", "notes"): {}}
    assert changes.removed == ()


def test_an_object_that_replaces_a_value_is_one_change_and_so_is_the_way_back() -> None:
    assert diff({"a": 1}, {"a": {"b": 2}}).set == {("a",): {"b": 2}}
    assert diff({"a": {"b": 2}}, {"a": 1}).set == {("a",): 1}
    assert diff({"a": [1]}, {"a": {}}).set == {("a",): {}}


def test_the_last_key_that_is_removed_leaves_an_empty_object() -> None:
    changes = diff({"a": {"b": 2}}, {"a": {}})
    assert (changes.set, changes.removed) == ({}, (("a", "b"),))
    assert apply({"a": {"b": 2}}, changes) == {"a": {}}


def test_a_list_is_one_value() -> None:
    assert diff({"l": [1, {"a": 2}]}, {"l": [1, {"a": 3}]}).set == {("l",): [1, {"a": 3}]}


def test_a_key_with_a_dot_is_one_segment_of_a_path() -> None:
    assert diff({"a": {"b": 1}}, {"a": {"b": 1}, "a.b": 2}).set == {("a.b",): 2}


def test_a_number_that_is_written_otherwise_is_no_change_and_true_is_not_one() -> None:
    assert not diff({"n": 1}, {"n": 1.0})
    assert diff({"n": 1}, {"n": True}).set == {("n",): True}


def test_a_diff_does_not_look_into_what_is_the_same_object() -> None:
    class Watched(dict[str, Any]):
        def items(self) -> Any:
            raise AssertionError("looked into")

    large = Watched(key=1)
    assert diff({"large": large, "n": 1}, {"large": large, "n": 2}).set == {("n",): 2}


def test_apply_shares_what_it_does_not_change() -> None:
    data: dict[str, Any] = {"kept": {"k": 1}, "order": {"items": [1], "status": "new"}}
    result = apply(data, ChangeSet(1, {("order", "status"): "paid"}))
    assert result == {"kept": {"k": 1}, "order": {"items": [1], "status": "paid"}}
    assert result["kept"] is data["kept"]
    assert at(result, "order", "items") is data["order"]["items"]


def test_removing_what_is_not_there_changes_nothing() -> None:
    data: dict[str, Json] = {"a": 1}
    changes = ChangeSet(1, {}, (("b",), ("a", "x"), ("c", "d")))
    assert apply(data, changes) == data
    assert not refine(data, changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (ChangeSet(1, {("a", "b"): 1}, (("a",),)), {"a": {"b": 1}}),
        (ChangeSet(1, {("a", "b"): 9, ("a",): 5}), {"a": 5}),
        (ChangeSet(1, {("a",): 5, ("a", "b"): 9}), {"a": {"b": 9}}),
        (ChangeSet(1, {("a", "b"): 9}, (("a", "b"),)), {"a": {"b": 9, "c": 2}}),
        (ChangeSet(1, {("a", "b", "x"): 9}), {"a": {"b": {"x": 9}, "c": 2}}),
    ],
)
def test_changes_that_lead_through_each_other_are_refined_to_what_they_make(
    changes: ChangeSet, expected: dict[str, Any]
) -> None:
    data: dict[str, Json] = {"a": {"b": 1, "c": 2}}
    assert apply(data, changes) == expected
    assert apply(data, refine(data, changes)) == expected


@given(change_sets, st.text(max_size=3), st.integers(0, 2**40))
def test_a_change_set_comes_back_from_the_wire(changes: ChangeSet, by: str, at: int) -> None:
    changes = ChangeSet(changes.base_version, changes.set, changes.removed, by, at)
    assert ChangeSet.from_wire(changes.to_wire()) == changes


@pytest.mark.parametrize(
    "wire",
    [
        None,
        {},
        [],
        [1, [], [], "w"],
        ["1", [], [], "w", 0],
        [1, [], [], None, 0],
        [1, [], [], "w", "0"],
        [1, [["a"]], [], "w", 0],
        [1, {}, [], "w", 0],
        [1, [], None, "w", 0],
        [1, [[], 5], [], "w", 0],
        [1, [["a", 1], 5], [], "w", 0],
        [1, ["a", 5], [], "w", 0],
        [1, [], [[]], "w", 0],
        [1, [], ["a"], "w", 0],
        [1, [], [], "w", 0, "text"],
        [1, [], [], "w", 0, [5]],
        [1, [], [], "w", 0, [], []],
        [1, [], [], "w", 0, [], [["a"], 5]],
        [1, [], [], "w", 0, [], [["a"], [5]], []],
        [1, [], [], "w", 0, [], [], 7],
        [1, [], [], "w", 0, [], [], [["m", 1, 2, 3, None]], []],
    ],
)
def test_a_wire_that_is_no_change_set_is_refused(wire: object) -> None:
    with pytest.raises(WireFormatError):
        ChangeSet.from_wire(wire)


def test_a_change_set_is_shown_with_paths_as_text() -> None:
    changes = ChangeSet(3, {("order", "v.2"): 1}, (("old",),), "pay", 17)
    assert changes.to_json_object() == {
        "base_version": 3,
        "set": {r"order.v\.2": 1},
        "removed": ["old"],
        "by": "pay",
        "at": 17,
    }


def test_a_change_set_is_true_where_it_changes_something() -> None:
    assert not ChangeSet(1, {})
    assert ChangeSet(1, {("a",): None})
    assert ChangeSet(1, {}, (("a",),))


@given(objects, st.lists(edits, max_size=4))
def test_edits_one_after_the_other_come_to_one_diff(data: dict[str, Any], changes: list[Edit]) -> None:
    result = data
    for change in changes:
        result = apply(result, diff(result, edited(result, [change])))
    assert same(result, edited(data, changes))
