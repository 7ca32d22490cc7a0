"""The three-way merge of snapshots."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anabranch.context import ConflictError, ConflictResolution, ContextSnapshot, DistributedContext, ThreeWayMerge
from anabranch.context.changes import diff
from anabranch.context.merge.resolution import Policies
from anabranch.context.values import MISSING, Path, same, value_at
from anabranch.errors import InputError
from tests.json_values import at, items
from tests.unit.lineage_kit import edited, edits, objects, overlap, policies

SOME = settings(max_examples=60)
sides = objects.flatmap(
    lambda base: st.tuples(
        st.just(base), *[st.lists(edits, max_size=3).map(lambda reported: edited(base, reported))] * 2
    )
)
untied = st.sampled_from([((5, 10), (6, 20)), ((6, 10), (5, 20)), ((6, 20), (5, 10)), ((5, 20), (6, 10))])


def snap(data: Mapping[str, Any], version: int = 5, timestamp: int = 10) -> ContextSnapshot:
    return ContextSnapshot("s", data, version, timestamp)


def merge(base: Any, local: Any, remote: Any, resolution: str = "last_write_wins", **policies: str) -> ThreeWayMerge:
    paths: dict[str | Path, str] = {(key,): name for key, name in policies.items()}
    return ThreeWayMerge(snap(base, 1, 1), snap(local, 5, 10), snap(remote, 6, 20), resolution, paths)


def test_changes_of_both_sides_come_together() -> None:
    base = DistributedContext("product", {"price": 100, "stock": 50}, at=1)
    local, remote = base.copy(), base.copy()
    local.set("price", 120, at=2)
    local.set("description", "New", at=3)
    remote.set("stock", 45, at=4)
    remote.set("category", "Electronics", at=5)
    merger = ThreeWayMerge(base.snapshot(), local.snapshot(), remote.snapshot())
    merged = merger.merge()
    assert merged.data == {"price": 120, "stock": 45, "description": "New", "category": "Electronics"}
    assert merged.session_id == "product"
    assert merger.conflicts == ()
    assert (merged.metadata.version, merged.metadata.created_at, merged.metadata.updated_at) == (4, 1, 5)


def test_conflicts_tell_what_each_side_wanted_and_what_it_came_to() -> None:
    merger = merge({"price": 100}, {"price": 110}, {"price": 120})
    (conflict,) = merger.conflicts
    assert (conflict.path, conflict.base, conflict.value, conflict.settled) == (("price",), 100, 120, True)
    assert [(each.by, each.value, each.version, each.at) for each in conflict.candidates] == [
        ("local", 110, 5, 10),
        ("remote", 120, 6, 20),
    ]
    assert conflict.policy is ConflictResolution.LAST_WRITE_WINS
    assert merger.merge().data == {"price": 120}


def test_an_open_conflict_is_refused_with_path_base_and_candidates() -> None:
    merger = merge({"order": {"status": "new", "x": 1}}, {"order": {"status": "paid"}}, {"order": {}}, "FailOnConflict")
    with pytest.raises(ConflictError) as refused:
        merger.merge()
    assert str(refused.value) == (
        "order.status: 1 unsettled conflict: 'order.status' was 'new', "
        "local (version 5) set it to 'paid' and remote (version 6) set it to absent "
        "(name a policy for each path, or change one side)"
    )
    assert [(each.path, each.settled) for each in merger.conflicts] == [(("order", "status"), False)]


def test_every_open_conflict_is_told_and_long_values_are_cut() -> None:
    with pytest.raises(ConflictError, match=r"^x: 2 unsettled conflicts: 'x' was absent.*'y' was") as refused:
        merge({}, {"x": "a" * 1000, "y": 1}, {"x": "b" * 1000, "y": 2}, "fail_on_conflict").merge()
    assert len(str(refused.value)) < 500


def test_policies_settle_single_paths_by_text_or_keys() -> None:
    merger = ThreeWayMerge(
        snap({"order": {"n": 10, "tags": []}}, 1),
        snap({"order": {"n": 12, "tags": ["a"]}, "v": {"x": 1}}),
        snap({"order": {"n": 15, "tags": ["b"]}, "v": {"x": 2}}),
        ConflictResolution.FailOnConflict,
        {"order.n": "sum", ("order", "tags"): "Append", "v": ConflictResolution.MergeAll},
    )
    assert merger.merge().data == {"order": {"n": 17, "tags": ["a", "b"]}, "v": {"x": [1, 2]}}


def test_unknown_policies_and_foreign_snapshots_are_refused() -> None:
    with pytest.raises(InputError, match="'newest' is not a conflict resolution"):
        merge({}, {}, {}, "newest")
    with pytest.raises(InputError, match="'product' is not a merge policy"):
        merge({}, {}, {}, n="product")
    with pytest.raises(InputError, match="different sessions: 's', 'other'"):
        ThreeWayMerge(snap({}), snap({}), ContextSnapshot("other", {}, 1, 1))


@pytest.mark.parametrize(
    ("resolution", "local", "remote", "expected"),
    [
        ("LastWriteWins", (9, 10), (2, 20), "remote"),
        ("LastWriteWins", (9, 20), (2, 10), "local"),
        ("LastWriteWins", (9, 10), (2, 10), "local"),
        ("LastWriteWins", (2, 10), (2, 10), "remote"),
        ("HigherVersionWins", (9, 10), (2, 20), "local"),
        ("HigherVersionWins", (2, 20), (2, 10), "remote"),
        ("HigherVersionWins", (2, 10), (2, 10), "remote"),
    ],
)
def test_versions_and_times_are_those_of_the_snapshots(
    resolution: str, local: tuple[int, int], remote: tuple[int, int], expected: str
) -> None:
    merger = ThreeWayMerge(snap({}, 1), snap({"x": "local"}, *local), snap({"x": "remote"}, *remote), resolution)
    assert merger.merge().data == {"x": expected}


@pytest.mark.parametrize(
    ("local", "remote", "expected"),
    [
        (({"x": 1}, 3), ({"x": 0}, 2), 3),
        (({"x": 0}, 2), ({"x": 1}, 3), 3),
        (({"x": 1}, 3), ({"x": 0, "y": 1}, 3), 4),
        (({"x": 1}, 3), ({"x": 1}, 3), 3),
        (({"x": 1}, 3), ({"x": 2}, 3), 4),
        (({"x": 1}, 3), ({"x": 2}, 4), 4),
        (({"x": 1}, 5), ({"x": 2}, 4), 6),
    ],
)
def test_the_version_grows_where_the_newest_side_did_not_hold_the_data(
    local: tuple[Any, int], remote: tuple[Any, int], expected: int
) -> None:
    merged = ThreeWayMerge(snap({"x": 0}, 2, 1), snap(*local, 10), snap(*remote, 20)).merge()
    assert (merged.metadata.version, merged.metadata.updated_at) == (expected, 20)


def test_two_writers_who_agree_add_up_but_one_snapshot_twice_does_not() -> None:
    assert merge({"n": 10}, {"n": 15}, {"n": 15}, n="sum").merge().data == {"n": 20}
    side = snap({"n": 15})
    merger = ThreeWayMerge(snap({"n": 10}, 1), side, copy.deepcopy(side), policies={"n": "sum"})
    assert (merger.merge().data, merger.conflicts) == ({"n": 15}, ())


def test_the_merged_context_shares_nothing_with_the_snapshots() -> None:
    base, local = snap({"l": [1], "o": {"k": [2]}}, 1), snap({"l": [1], "o": {"k": [2]}, "n": [3]})
    merged = ThreeWayMerge(base, local, base).merge()
    for path in (["l"], ["o", "k"], ["n"]):
        items(at(merged.data, *path)).append("changed")
    assert local.data == {"l": [1], "o": {"k": [2]}, "n": [3]}
    assert base.data == {"l": [1], "o": {"k": [2]}}


# What holds for every merge.


def by_path(policies: Policies) -> dict[str | Path, str]:
    return {path: policy.value for path, policy in policies.by_path.items()}


@SOME
@given(sides, policies)
def test_merging_a_side_with_itself_or_with_the_base_changes_nothing(triple: Any, policies: Policies) -> None:
    base, local, _ = triple
    for left, right in [(local, local), (local, base), (base, local)]:
        local_snap, remote_snap = (snap(data, *((1, 1) if data is base else (5, 10))) for data in (left, right))
        merger = ThreeWayMerge(snap(base, 1, 1), local_snap, remote_snap, policies.default, by_path(policies))
        assert same(merger.merge().data, local)
        assert merger.conflicts == ()


@SOME
@given(sides, untied, st.sampled_from(["last_write_wins", "higher_version_wins"]))
def test_swapped_sides_give_the_same_data(triple: Any, stamps: Any, resolution: str) -> None:
    base, *both = triple
    local, remote = (snap(data, *stamp) for data, stamp in zip(both, stamps, strict=True))
    merged = ThreeWayMerge(snap(base, 1, 1), local, remote, resolution).merge()
    swapped = ThreeWayMerge(snap(base, 1, 1), remote, local, resolution).merge()
    assert same(merged.data, swapped.data)
    assert merged.metadata == swapped.metadata


@SOME
@given(sides)
def test_swapped_sides_have_the_same_conflicts(triple: Any) -> None:
    base, local, remote = triple
    reported = merge(base, local, remote, "fail_on_conflict").conflicts
    swapped = merge(base, remote, local, "fail_on_conflict").conflicts
    assert sorted((each.path, repr(each.base)) for each in reported) == sorted(
        (each.path, repr(each.base)) for each in swapped
    )
    values = {each.path: [candidate.value for candidate in each.candidates] for each in reported}
    assert values == {each.path: [candidate.value for candidate in reversed(each.candidates)] for each in swapped}


@SOME
@given(sides, policies)
def test_what_one_side_alone_wrote_is_kept(triple: Any, policies: Policies) -> None:
    base, local, remote = triple
    merger = ThreeWayMerge(snap(base, 1, 1), snap(local, 5, 10), snap(remote, 6, 20), "merge_all", by_path(policies))
    if any(not conflict.settled for conflict in merger.conflicts):
        return
    merged, disputed = merger.merge().data, [conflict.path for conflict in merger.conflicts]
    for side in (local, remote):
        changes = diff(base, side)
        written = {**changes.set, **dict.fromkeys(changes.removed, MISSING)}
        for path, value in written.items():
            if not any(overlap(path, other) for other in disputed):
                found = value_at(merged, path)
                assert same(found, value) or (value == {} and isinstance(found, dict))


@SOME
@given(sides, policies)
def test_no_snapshot_is_changed(triple: Any, policies: Policies) -> None:
    before = copy.deepcopy(triple)
    base, local, remote = triple
    merger = ThreeWayMerge(snap(base, 1), snap(local), snap(remote, 6), policies.default, by_path(policies))
    if all(conflict.settled for conflict in merger.conflicts):
        merged = merger.merge()
        for key in list(merged.data):
            merged.set(key, [merged.data[key]], at=1)
    assert triple == before
