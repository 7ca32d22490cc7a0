"""A context's versions: history, rollback, blame, and merges with other copies."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anabranch.context import (
    Blame,
    ConflictError,
    ConflictResolution,
    ContextMetadata,
    DistributedContext,
    VersionedContext,
)
from anabranch.context.values import same, value_at
from anabranch.errors import InputError
from tests.json_values import items
from tests.unit.lineage_kit import edited, edits


def versioned(*writes: dict[str, Any], **options: Any) -> VersionedContext:
    """A version for each dict of keys; the writer and the time are the number of the write."""
    context = VersionedContext("s", at=0, **options)
    for number, keys in enumerate(writes, 1):
        write(context, number, **keys)
    return context


def write(context: VersionedContext, at: int, *removed: str, **keys: Any) -> int:
    copy = context.current
    data = {**{key: value for key, value in copy.data.items() if key not in removed}, **keys}
    metadata = copy.metadata._replace(version=copy.metadata.version + 1, updated_at=at, modified_by=f"w{at}")
    return context.update(DistributedContext("s", data, metadata))


def bare(version: int, at: int, **keys: Any) -> DistributedContext:
    return DistributedContext("s", keys, ContextMetadata(0, at, version, f"w{at}"))


def test_the_later_price_wins() -> None:
    context = VersionedContext("product-123", 10, ConflictResolution.LastWriteWins)
    local, remote = DistributedContext("product-123"), DistributedContext("product-123")
    local.set("price", 100, at=1)
    context.update(local)
    remote.set("price", 120, at=2)
    (conflict,) = context.merge_with_resolution(remote)
    assert context.current.get("price") == 120
    assert [each.value for each in conflict.candidates] == [100, 120]


def test_a_new_one_is_empty_at_version_1() -> None:
    context = VersionedContext("s", at=5)
    assert (context.current.data, context.current.metadata) == ({}, ContextMetadata(5, 5))
    assert [each.version for each in context.history] == [1]


def test_history_holds_the_newest_versions_oldest_first() -> None:
    context = versioned(*({"n": number} for number in range(5)), max_history=3)
    assert [(each.version, each.data, each.timestamp) for each in context.history] == [
        (4, {"n": 2}, 3),
        (5, {"n": 3}, 4),
        (6, {"n": 4}, 5),
    ]
    assert context.get_version(5) is context.history[1]


@pytest.mark.parametrize("version", [1, 3, 7, -1])
def test_a_version_that_is_not_kept_is_refused_with_those_that_are(version: int) -> None:
    context = versioned(*({"n": number} for number in range(5)), max_history=3)
    with pytest.raises(InputError, match=rf"'s' has no version {version} \(it keeps 4, 5, 6\)"):
        context.get_version(version)


def test_current_is_a_copy() -> None:
    context = versioned({"l": [1]})
    items(context.current.data["l"]).append(2)
    context.current.set("x", 1)
    assert context.current.data == {"l": [1]}


def test_update_keeps_the_number_of_a_newer_version_and_gives_an_older_one_the_next() -> None:
    context = versioned({"n": 1})
    assert context.update(bare(9, 2, n=2)) == 9
    assert context.update(bare(2, 3, n=3)) == 10
    assert context.update(bare(10, 4, n=4)) == 11
    assert context.current.metadata == ContextMetadata(0, 4, 11, "w4")
    assert [each.version for each in context.history] == [1, 2, 9, 10, 11]


def test_an_update_with_the_current_version_makes_none() -> None:
    context = versioned({"n": 1})
    assert context.update(context.current) == 2
    assert len(context.history) == 2


def test_an_updated_context_can_still_be_changed() -> None:
    context, mine = VersionedContext("s", at=0), bare(2, 1, l=[1])
    context.update(mine)
    items(mine.data["l"]).append(2)
    assert context.current.data == {"l": [1]}


def test_rollback_makes_a_new_version_with_the_old_data() -> None:
    context = versioned({"n": 1}, {"n": 2}, {"m": 3})
    assert context.rollback_to(2, by="operator", at=9) == 5
    assert context.current.data == {"n": 1}
    assert context.current.metadata == ContextMetadata(0, 9, 5, "operator")
    assert [each.version for each in context.history] == [1, 2, 3, 4, 5]
    assert context.blame("n") == Blame(5, "operator", 9)
    context.rollback_to(4, at=10)
    assert context.current.data == {"n": 2, "m": 3}
    with pytest.raises(InputError, match="no version 8"):
        context.rollback_to(8)


def test_a_diff_leads_from_one_version_to_another_either_way() -> None:
    context = versioned({"o": {"a": 1, "b": 2}}, {"o": {"a": 1}, "x": 5})
    forth = context.diff(2, 3)
    assert (forth.set, forth.removed) == ({("x",): 5}, (("o", "b"),))
    assert (forth.base_version, forth.by, forth.at) == (2, "w2", 2)
    back = context.diff(3, 2)
    assert (back.set, back.removed, back.by) == ({("o", "b"): 2}, (("x",),), "w1")
    assert context.diff(1, 1).by == ""


def test_blame_names_the_last_write_at_above_or_below_a_path() -> None:
    context = versioned({"o": {"a": 1, "b": {"c": 1}}, "l": [1]}, {"o": {"a": 2, "b": {"c": 1}}}, {"l": [1, 2]})
    assert context.blame("o.a") == Blame(3, "w2", 2)
    assert context.blame("o.b") == context.blame("o.b.c") == Blame(2, "w1", 1)
    assert context.blame(("o",)) == Blame(3, "w2", 2)
    assert context.blame("l") == Blame(4, "w3", 3)
    assert context.blame("o.b.c.d") == Blame(2, "w1", 1)
    assert context.blame("nothing") is None


def test_blame_outlives_the_version_but_that_of_a_removal_does_not() -> None:
    context = versioned({"kept": 1, "gone": {"a": 1}}, max_history=2)
    write(context, 2, "gone")
    assert context.blame("gone") == context.blame("gone.a") == Blame(3, "w2", 2)
    write(context, 3, x=1)
    assert context.blame("gone") == Blame(3, "w2", 2)
    write(context, 4, x=2)
    assert context.blame("gone") is None
    assert context.blame("kept") == Blame(2, "w1", 1)
    write(context, 5, "x")
    write(context, 6, x=1)
    write(context, 7, y=1)
    assert context.blame("x") == Blame(7, "w6", 6)


@settings(max_examples=60)
@given(st.lists(st.lists(edits, max_size=2), max_size=5))
def test_blame_is_the_newest_version_that_changed_the_value(steps: list[Any]) -> None:
    context = VersionedContext("s", at=0)
    for at, reported in enumerate(steps, 1):
        data = edited(context.current.data, reported)
        context.update(DistributedContext("s", data, ContextMetadata(0, at, at + 1, None)))
    for path in (("a",), ("b",), ("a", "b"), ("a", "b", "c")):
        changed = [
            new.version
            for old, new in pairwise(context.history)
            if not same(value_at(dict(old.data), path), value_at(dict(new.data), path))
        ]
        blame = context.blame(path)
        found, last = blame.version if blame else 0, max(changed, default=0)
        # Below a key, a write above counts even where it left this value as it was.
        assert found == last if len(path) == 1 else found >= last


def test_a_merge_with_a_copy_starts_from_the_newest_version_that_both_share() -> None:
    left, right = versioned({"n": 1, "gone": 1}, {"n": 2}), versioned({"n": 1, "gone": 1}, {"n": 2})
    write(left, 3, "gone")
    write(right, 4, n=3)
    write(right, 5, m=1)
    assert left.merge_with_resolution(right) == ()
    assert left.current.data == {"n": 3, "m": 1}
    assert left.current.metadata == ContextMetadata(0, 5, 6, "w5")
    assert left.blame("m") == Blame(6, "w5", 5)
    assert left.blame("gone") == Blame(4, "w3", 3)


def test_a_merge_with_a_copy_that_only_went_on_takes_its_version() -> None:
    left, right = versioned({"n": 1}), versioned({"n": 1}, {"n": 2}, {"n": 3})
    left.merge_with_resolution(right)
    assert left.history[-1] == right.history[-1]
    write(left, 4, m=1)
    right.merge_with_resolution(left)
    assert right.history[-1] == left.history[-1]
    assert right.current.data == {"n": 3, "m": 1}


def test_a_merge_with_an_older_copy_or_with_itself_changes_nothing() -> None:
    context, older = versioned({"n": 1}, {"n": 2}), versioned({"n": 1})
    before = context.history
    for other in (older, context, context.current, older.current):
        assert context.merge_with_resolution(other) == ()
    assert context.history == before


def test_what_was_merged_once_is_known_to_both() -> None:
    left, right = versioned({"n": 0}), versioned({"n": 0})
    write(left, 2, a=1)
    write(right, 3, n=5)
    left.merge_with_resolution(right)
    write(left, 4, n=6)
    assert right.merge_with_resolution(left) == ()
    assert right.current.data == {"n": 6, "a": 1}
    assert left.merge_with_resolution(right) == ()


def test_a_bare_context_that_was_merged_is_known() -> None:
    context, other = versioned({"n": 1}), bare(7, 9, n=5)
    assert len(context.merge_with_resolution(other)) == 1
    write(context, 10, n=6)
    assert context.merge_with_resolution(other) == ()
    assert context.current.data == {"n": 6}


def test_without_a_shared_version_what_one_side_lacks_is_kept() -> None:
    context = versioned({"a": 1, "n": 1})
    context.merge_with_resolution(bare(2, 9, b=2, n=1))
    assert context.current.data == {"a": 1, "n": 1, "b": 2}


def test_a_conflict_that_nobody_settles_changes_nothing() -> None:
    context = versioned({"n": 1}, resolution="FailOnConflict")
    with pytest.raises(ConflictError, match=r"'n' was absent, local \(version 2\) set it to 1 and remote"):
        context.merge_with_resolution(bare(5, 9, n=2))
    assert context.current.data == {"n": 1}
    assert len(context.history) == 2


def test_the_resolution_settles_merges() -> None:
    context = versioned({"n": [1]}, resolution=ConflictResolution.MergeAll)
    (conflict,) = context.merge_with_resolution(bare(2, 9, n=[2]))
    assert conflict.value == context.current.get("n") == [1, 2]
    context = versioned({"n": 1}, {"n": 2}, resolution="HigherVersionWins")
    context.merge_with_resolution(bare(2, 9, n=3))
    assert context.current.get("n") == 2


def test_tags_of_both_sides_are_kept() -> None:
    context, other = versioned({"n": 1}), bare(2, 9, m=1)
    ours = context.current
    ours.add_tag("a")
    ours.set("x", 1, at=2)
    context.update(ours)
    other.add_tag("b")
    other.add_tag("a")
    context.merge_with_resolution(other)
    assert context.current.metadata.tags == ("a", "b")


def test_another_session_s_context_is_refused() -> None:
    context = VersionedContext("s", at=0)
    for other in (DistributedContext("t"), VersionedContext("t")):
        with pytest.raises(InputError, match="the session 't', not of 's'"):
            context.merge_with_resolution(other)
    with pytest.raises(InputError, match="the session 't', not of 's'"):
        context.update(DistributedContext("t"))


def test_a_history_of_no_version_is_refused() -> None:
    with pytest.raises(InputError, match="max_history is 0"):
        VersionedContext("s", 0)
