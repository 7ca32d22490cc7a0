"""Where lines of descent meet: who conflicts with whom, on which base, and what the policies make of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.resolution import Policies
from anabranch.context.merge.union import Conflict, MergeResult, merge_heads
from anabranch.context.values import MISSING, Path, same
from tests.json_values import at, fields, number
from tests.work import lines_run

FAIL = "fail_on_conflict"


class Graph:
    """Lines that leave one root. Each writer is a new bit, and writes a moment after the one before."""

    def __init__(self, root: dict[str, Any] | None = None, default: str = FAIL, **policies: str) -> None:
        self.root = Line.start(root or {})
        self.policies = Policies.of(default, {(key,): name for key, name in policies.items()})
        self.writers = 0
        self.made: list[Line] = []

    def write(self, on: Line | None = None, *removed: str, at: int | None = None, **values: Any) -> Line:
        """A line after writing keys and removing paths (`a.b`)."""
        changes: dict[Path, Any] = {(key,): value for key, value in values.items()}
        return self.change(on, changes, *(tuple(path.split(".")) for path in removed), at=at)

    def change(self, on: Line | None, changes: dict[Path, Any], *removed: Path, at: int | None = None) -> Line:
        self.writers += 1
        at = self.writers if at is None else at
        line = on or self.root
        return line.advance(ChangeSet(0, changes, removed), writer=self.writers, by=f"w{self.writers}", at=at)[0]

    def merge_heads(self, *lines: Line, at: int = 1000, choices: dict[Path, Any] | None = None) -> MergeResult:
        self.writers += 1
        by = f"join{self.writers}"
        return merge_heads(lines, self.policies, writer=self.writers, by=by, at=at, choices=choices)

    def join(self, *lines: Line, at: int = 1000, choices: dict[Path, Any] | None = None) -> Line:
        merged = self.merge_heads(*lines, at=at, choices=choices)
        assert merged.line is not None, merged.conflicts
        return merged.line


def only(merged: MergeResult) -> Conflict:
    (conflict,) = merged.conflicts
    return conflict


def values_of(conflict: Conflict) -> list[Any]:
    return [candidate.value for candidate in conflict.candidates]


# no conflict


def test_what_lines_write_at_different_paths_is_all_there() -> None:
    graph = Graph({"order": {"id": 1}, "kept": True})
    merged = graph.merge_heads(
        graph.change(None, {("order", "a"): 1}), graph.change(None, {("order", "b"): 2}), graph.write(None, "kept")
    )
    assert merged.conflicts == ()
    assert merged.line is not None
    assert merged.line.data == {"order": {"id": 1, "a": 1, "b": 2}}


def test_a_line_that_is_part_of_another_one_s_past_says_nothing() -> None:
    graph = Graph({"x": 0})
    old = graph.write(x=1)
    new = graph.write(graph.write(old, x=2), y=1)
    idle = graph.change(None, {})
    assert graph.merge_heads(old, graph.root, new, old).line is new
    assert graph.merge_heads(graph.root, idle).line is idle


def test_of_lines_that_have_seen_the_same_the_first_one_stands_for_all() -> None:
    graph = Graph()
    left, right = graph.write(x=1), graph.write(y=1)
    first, second = graph.join(left, right), graph.join(right, left)
    assert first.seen == second.seen
    assert graph.merge_heads(second, first).line is second


def test_a_value_that_only_one_side_overwrote_is_the_new_one() -> None:
    graph = Graph({"x": 0})
    common = graph.write(x=1)
    assert graph.join(graph.write(common, y=1), graph.write(common, x=2)).data == {"x": 2, "y": 1}
    assert graph.join(graph.write(common, "x"), graph.write(common, y=1)).data == {"y": 1}


def test_equal_writes_and_equal_removals_agree() -> None:
    graph = Graph({"x": 0, "y": 0, "z": {"k": 0}})
    left = graph.change(None, {("x",): 1, ("z",): 5}, ("y",))
    right = graph.change(None, {("x",): 1.0, ("z",): 5}, ("y",))
    merged = graph.merge_heads(left, right)
    assert merged.conflicts == ()
    assert merged.line is not None
    assert merged.line.data == {"x": 1, "z": 5}


def test_a_value_that_two_lines_reached_on_different_ways_is_agreed() -> None:
    graph = Graph({"order": {"status": "new", "note": "n"}})
    rebuilt = graph.write(graph.write(None, "order"), order={"status": "paid"})
    edited = graph.change(None, {("order", "status"): "paid"}, ("order", "note"))
    for lines in permutations([rebuilt, edited]):
        merged = graph.merge_heads(*lines)
        assert merged.conflicts == ()
        assert merged.line is not None
        assert merged.line.data == {"order": {"status": "paid"}}


@pytest.mark.parametrize("direction", [1, -1])
def test_who_agreed_and_then_diverges_conflicts_with_the_other_who_agreed(direction: int) -> None:
    graph = Graph({"x": 0})
    lines = [graph.write(x=1), graph.write(x=1)]
    joined = graph.join(*lines[::direction])
    for line in lines:
        conflict = only(graph.merge_heads(joined, graph.write(line, x=3)))
        assert (values_of(conflict), conflict.base) == ([1, 3], 1)
    assert graph.join(joined, graph.write(graph.join(*lines), x=4)).data == {"x": 4}


def test_two_lines_that_make_the_same_object_share_it() -> None:
    graph = Graph()
    left, right = graph.write(order={"a": 1}), graph.write(order={"b": 2})
    empty = graph.write(order={})
    assert graph.join(empty, left, right).data == {"order": {"a": 1, "b": 2}}
    assert graph.join(right, graph.write(empty, order={"c": 3})).data == {"order": {"b": 2, "c": 3}}
    gone = graph.change(left, {}, ("order", "a"))
    assert graph.join(empty, gone).data == {"order": {}}
    assert graph.join(empty, graph.change(gone, {("order", "d"): 4})).data == {"order": {"d": 4}}


def test_an_object_that_one_line_emptied_stays() -> None:
    graph = Graph()
    emptied = graph.change(graph.write(order={"a": 1}), {}, ("order", "a"))
    assert graph.join(emptied, graph.write(y=1)).data == {"order": {}, "y": 1}


# what is a conflict


def test_a_removal_against_a_change_is_a_conflict() -> None:
    graph = Graph({"x": 1})
    conflict = only(graph.merge_heads(graph.write(None, "x"), graph.write(x=2)))
    assert (conflict.path, conflict.base, values_of(conflict)) == (("x",), 1, [MISSING, 2])
    assert not conflict.settled


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_removal_conflicts_with_what_others_set_below_it(depth: int) -> None:
    graph = Graph({"a": {"b": {"c": {"d": 0}, "other": 1}}})
    path = ("a", "b", "c")[:depth]
    removed = graph.change(None, {}, path)
    deep = [graph.change(None, {("a", "b", "c", "d"): 1}), graph.change(None, {("a", "b", "c", "e"): 2})]
    conflict = only(graph.merge_heads(removed, *deep))
    assert conflict.path == path
    assert conflict.candidates[0].value is MISSING
    assert len(conflict.candidates) == 3
    kept = graph.join(removed, *deep, choices={path: MISSING}).data
    assert kept == {1: {}, 2: {"a": {}}, 3: {"a": {"b": {"other": 1}}}}[depth]


def test_a_removal_conflicts_with_a_removal_below_it_only_where_something_is_left() -> None:
    graph = Graph({"a": {"b": 1, "c": 2}})
    part = graph.change(None, {}, ("a", "b"))
    conflict = only(graph.merge_heads(graph.write(None, "a"), part))
    assert (conflict.path, values_of(conflict)) == (("a",), [MISSING, {"c": 2}])
    both = graph.write(graph.change(part, {}, ("a", "c")), "a")
    assert graph.merge_heads(graph.write(None, "a"), both).conflicts == ()


def test_an_object_that_was_emptied_by_replacing_it_conflicts_with_changes_in_it() -> None:
    graph = Graph({"a": {"b": 1}})
    replaced = graph.write(graph.write(a=5), a={})
    conflict = only(graph.merge_heads(replaced, graph.change(None, {("a", "b"): 2})))
    assert (conflict.path, conflict.base, values_of(conflict)) == (("a",), {"b": 1}, [{}, {"b": 2}])
    assert graph.join(replaced, graph.write(y=1)).data == {"a": {}, "y": 1}


def test_a_conflict_below_an_object_that_a_common_ancestor_wrote_is_at_its_leaf() -> None:
    graph = Graph({"order": 1})
    common = graph.write(order={"id": 1, "status": {"now": "new"}})
    left = graph.change(common, {("order", "status", "now"): "paid", ("order", "a"): 1})
    right = graph.change(common, {("order", "status", "now"): "void", ("order", "b"): 2})
    conflict = only(graph.merge_heads(left, right))
    assert (conflict.path, conflict.base) == (("order", "status", "now"), "new")
    merged = graph.join(left, right, choices={("order", "status", "now"): "paid"})
    assert merged.data == {"order": {"id": 1, "status": {"now": "paid"}, "a": 1, "b": 2}}


def test_candidates_stand_in_the_order_of_the_lines_each_with_its_writer() -> None:
    graph = Graph()
    lines = [graph.write(x=value) for value in (1, 2, 1)]
    for order in permutations(range(3)):
        conflict = only(graph.merge_heads(*(lines[index] for index in order)))
        assert [each.by for each in conflict.candidates] == [f"w{index + 1}" for index in order]
        assert values_of(conflict) == [[1, 2, 1][index] for index in order]


def test_lines_that_say_the_same_write_are_one_candidate() -> None:
    graph = Graph({"x": 0})
    left = graph.write(x=1)
    copies = [graph.write(left, **{f"copy{index}": 1}) for index in range(3)]
    conflict = only(graph.merge_heads(*copies, graph.write(x=2)))
    assert values_of(conflict) == [1, 2]


def test_every_conflict_is_named_while_any_is_open() -> None:
    graph = Graph(x="merge_all")
    merged = graph.merge_heads(graph.write(x=1, y=1, z=1), graph.write(x=2, y=2, z=2), choices={("y",): 2})
    assert merged.line is None
    assert [(each.path, each.settled) for each in merged.conflicts] == [(("x",), True), (("y",), True), (("z",), False)]


# the base


def test_the_base_is_the_value_in_the_newest_common_ancestor() -> None:
    graph = Graph({"x": 0})
    common = graph.write(graph.write(x=1), x=2)
    left = graph.write(graph.write(common, x=3), x=4)
    right = graph.write(graph.write(common, y=1), x=5)
    assert only(graph.merge_heads(left, right)).base == 2
    assert only(graph.merge_heads(left, graph.write(x=6))).base == 0


def test_the_base_of_a_removed_object_holds_what_the_ancestor_had_written_in_it() -> None:
    graph = Graph({"order": {"id": 1}})
    common = graph.change(None, {("order", "lines"): [1]})
    conflict = only(
        graph.merge_heads(graph.write(common, "order"), graph.change(common, {("order", "status"): "paid"}))
    )
    assert conflict.base == {"id": 1, "lines": [1]}
    assert values_of(conflict) == [MISSING, {"id": 1, "lines": [1], "status": "paid"}]


def test_the_base_of_lines_that_crossed_is_what_the_joins_made() -> None:
    graph = Graph({"x": 0}, default="last_write_wins")
    left, right = graph.write(x=1), graph.write(x=2)
    one, other = graph.join(left, right), graph.join(right, left)
    conflict = only(graph.merge_heads(graph.write(one, x=3), graph.write(other, x=4)))
    assert (conflict.base, values_of(conflict), conflict.value) == (2, [3, 4], 4)


def test_what_did_not_exist_has_no_base() -> None:
    graph = Graph()
    assert only(graph.merge_heads(graph.write(x=1), graph.write(x=2))).base is MISSING


# strategies


def test_the_later_write_wins_wherever_and_whenever_lines_were_joined_before() -> None:
    graph = Graph(default="last_write_wins")
    first, second, third = graph.write(x=1, at=10), graph.write(x=2, at=20), graph.write(x=3, at=15)
    for moment in (1, 1000):
        assert graph.join(first, second, third, at=moment).data == {"x": 2}
        assert graph.join(graph.join(first, third, at=moment), second).data == {"x": 2}
        assert graph.join(second, graph.join(first, third, at=moment)).data == {"x": 2}
    winner = graph.join(first, second).writes["x",][0]
    assert (winner.by, winner.at, winner.version) == ("w2", 20, 2)


def test_the_write_of_the_higher_version_wins() -> None:
    graph = Graph(default="higher_version_wins")
    high = graph.write(graph.write(graph.write(y=1), y=2), x=1, at=1)
    low = graph.write(x=2, at=9)
    assert graph.join(high, low).data["x"] == graph.join(low, high).data["x"] == 1


def test_a_join_s_choice_is_no_new_write() -> None:
    graph = Graph(default="merge_all")
    left, right = graph.write(x=1), graph.write(x=2)
    one, other = graph.join(left, right), graph.join(right, left)
    assert graph.merge_heads(one, other).conflicts == ()
    merged = graph.merge_heads(graph.write(one, x=9), other)
    assert merged.conflicts == ()
    assert merged.line is not None
    assert merged.line.data == {"x": 9}


def test_a_line_that_knows_a_part_of_what_a_join_settled_says_nothing_there() -> None:
    graph = Graph(default="merge_all")
    left, right = graph.write(x=1), graph.write(x=2)
    joined, aside = graph.join(left, right), graph.write(left, y=1)
    for lines in permutations([joined, aside]):
        merged = graph.merge_heads(*lines)
        assert merged.conflicts == ()
        assert merged.line is not None
        assert merged.line.data == {"x": [1, 2], "y": 1}


def test_who_writes_below_what_crossed_joins_settled_does_not_conflict() -> None:
    graph = Graph({"a": 0}, default="merge_all")
    left, right = graph.write(a={"p": 1}), graph.write(a={"q": 1})
    one, other = graph.join(left, right), graph.join(right, left)
    merged = graph.merge_heads(graph.change(one, {("a", "x"): 1}), graph.change(other, {("a", "y"): 2}))
    assert merged.conflicts == ()
    assert merged.line is not None
    assert merged.line.data == {"a": {"p": 1, "q": 1, "x": 1, "y": 2}}


def test_what_a_join_settled_is_gone_with_the_writes_that_it_settled() -> None:
    graph = Graph(default="merge_all")
    left, right = graph.write(x="a"), graph.write(x="b")
    joined = graph.join(left, right)
    after_left, after_right = graph.write(left, x="c"), graph.write(right, x="d")
    assert graph.join(joined, after_left, after_right).data == {"x": ["c", "d"]}
    assert graph.join(joined, after_left).data == {"x": ["b", "c"]}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 1], [1, 2]),
        ([{"a": 1}, 5, {"b": 1}], [{"a": 1}, 5, {"b": 1}]),
        ([[1, 2], [2, 3], [4]], [1, 2, 3, 4]),
    ],
)
def test_merge_all_gives_one_flat_result_however_three_branches_meet(values: list[Any], expected: list[Any]) -> None:
    graph = Graph({"x": 0}, default="merge_all")
    one, two, three = (graph.write(x=value) for value in values)
    assert graph.join(one, two, three).data == {"x": expected}
    assert graph.join(graph.join(one, two), three).data == {"x": expected}
    assert graph.join(one, graph.join(two, three)).data == {"x": expected}


def test_the_policy_of_the_longest_prefix_settles() -> None:
    graph = Graph({"order": {"n": 10}}, order="merge_all")
    graph.policies = Policies.of(FAIL, {"order": "merge_all", "order.n": "sum"})
    left = graph.change(None, {("order", "n"): 12, ("order", "x"): 1})
    right = graph.change(None, {("order", "n"): 15, ("order", "x"): 2})
    assert graph.join(left, right).data == {"order": {"n": 17, "x": [1, 2]}}


# reducers


def test_sum_adds_what_each_branch_added_to_the_base() -> None:
    graph = Graph({"n": 10}, n="sum")
    merged = graph.merge_heads(graph.write(n=12), graph.write(n=15))
    assert merged.line is not None
    assert merged.line.data == {"n": 17}
    assert (only(merged).base, only(merged).value) == (10, 17)


def test_sum_counts_agreeing_writes_each() -> None:
    graph = Graph({"n": 10}, n="sum")
    assert graph.join(graph.write(n=15), graph.write(n=15), graph.write(n=15)).data == {"n": 25}


def test_append_and_sum_also_combine_equal_writes_and_say_that_they_were_a_conflict() -> None:
    graph = Graph({"log": [1], "n": 10, "last": 0}, log="append", n="sum")
    sides = [graph.write(log=[1, 2], n=15, last=7) for _ in range(2)]
    merged = graph.merge_heads(*sides)
    assert merged.line is not None
    assert merged.line.data == {"log": [1, 2, 2], "n": 20, "last": 7}
    assert sorted(each.path for each in merged.conflicts) == [("log",), ("n",)]


def test_sum_over_chains_adds_every_delta() -> None:
    graph = Graph({"n": 10}, n="sum")
    left = graph.write(graph.write(graph.write(n=11), n=13), n=9)
    right = graph.write(graph.write(n=20), n=21)
    assert graph.join(left, right).data == {"n": 20}
    assert graph.join(graph.write(graph.join(left, right), n=25), graph.write(n=11)).data == {"n": 26}


def test_sum_counts_a_write_that_some_branches_share_once() -> None:
    graph = Graph({"n": 10}, n="sum")
    shared = graph.write(n=15)
    one, two, three = graph.write(shared, n=16), graph.write(shared, n=17), graph.write(n=13)
    assert graph.join(one, two, three).data == {"n": 21}
    assert graph.join(graph.join(one, two), three).data == {"n": 21}
    assert graph.join(graph.join(one, three), graph.join(two, three)).data == {"n": 21}


def test_sum_counts_a_write_once_where_joins_crossed() -> None:
    graph = Graph({"n": 10}, n="sum")
    left, right = graph.write(n=12), graph.write(n=15)
    one, other = graph.join(left, right), graph.join(right, left)
    assert graph.join(one, other).data == {"n": 17}
    assert graph.join(graph.write(one, n=18), graph.write(other, n=19)).data == {"n": 20}


def test_sum_starts_from_zero_where_there_was_no_number() -> None:
    graph = Graph({"s": "text"}, n="sum", s="sum")
    assert graph.join(graph.write(n=1, s=2), graph.write(n=2, s=3)).data == {"n": 3, "s": 5}


def test_a_sum_of_fractions_does_not_depend_on_the_order() -> None:
    graph = Graph({"n": 0.1}, n="sum")
    lines = [graph.write(n=value) for value in (0.3, 1e16, 0.7, -1e16)]
    sums = {number(graph.join(*order).data["n"]) for order in permutations(lines)}
    assert len(sums) == 1


@pytest.mark.parametrize(
    ("policy", "values"),
    [
        ("sum", [1, "x"]),
        ("sum", [1, True]),
        ("min", [None, 2]),
        ("max", [[1], 2]),
        ("append", [[1], 2]),
        ("union", [{}, [2]]),
        ("sum", [2**64 - 1, 2**64 - 2]),
        ("sum", [1e308, 1.5e308]),
        ("sum", [-(2**63), -5]),
    ],
)
def test_what_a_reducer_cannot_reduce_is_left_to_somebody(policy: str, values: list[Any]) -> None:
    graph = Graph(n=policy)
    assert not only(graph.merge_heads(*(graph.write(n=value) for value in values))).settled


def test_a_removal_is_left_to_somebody_and_what_was_chosen_counts_from_there() -> None:
    graph = Graph({"n": 10}, n="sum")
    removed, raised, other = graph.write(None, "n"), graph.write(n=12), graph.write(n=13)
    assert values_of(only(graph.merge_heads(removed, raised))) == [MISSING, 12]
    chosen = graph.join(removed, raised, choices={("n",): 7})
    assert chosen.data == {"n": 7}
    assert graph.join(chosen, other).data == {"n": 10}
    assert graph.join(graph.write(chosen, n=8), graph.write(chosen, n=9)).data == {"n": 10}


@pytest.mark.parametrize("policy", ["sum", "append", "min", "union"])
def test_what_agrees_and_does_not_add_up_is_no_conflict(policy: str) -> None:
    graph = Graph({"n": [1]}, n=policy)
    assert graph.merge_heads(graph.write(None, "n"), graph.write(None, "n")).conflicts == ()
    assert graph.merge_heads(graph.write(n="text"), graph.write(n="text")).conflicts == ()


@pytest.mark.parametrize(("policy", "expected"), [("min", 3), ("max", 9)])
def test_min_and_max_look_only_at_writes_that_nobody_superseded(policy: str, expected: int) -> None:
    graph = Graph({"n": 5}, n=policy)
    low, high = graph.write(n=1), graph.write(n=20)
    joined = graph.join(low, high)
    after_low, after_high = graph.write(low, n=3), graph.write(high, n=9)
    assert graph.join(joined, after_low, after_high).data == {"n": expected}


def test_append_keeps_what_was_there_and_adds_what_each_branch_added() -> None:
    graph = Graph({"log": [0]}, log="append")
    shared = graph.write(log=[0, 1])
    one, two, three = graph.write(shared, log=[0, 1, 2]), graph.write(shared, log=[0, 1, 2]), graph.write(log=[0, 3])
    assert graph.join(one, two, three).data == {"log": [0, 1, 2, 2, 3]}
    assert graph.join(three, graph.join(one, two)).data == {"log": [0, 3, 1, 2, 2]}


def test_a_list_that_was_replaced_is_a_new_start() -> None:
    graph = Graph({"log": [0]}, log="append")
    replaced = graph.write(graph.write(log=[0, 1]), log=[9])
    assert graph.join(replaced, graph.write(log=[0, 2])).data == {"log": [9, 2]}
    assert graph.join(replaced, graph.write(log=[8])).data == {"log": [9, 8]}


def test_union_holds_each_item_once() -> None:
    graph = Graph({"tags": ["a"]}, tags="union")
    assert graph.join(graph.write(tags=["a", "b"]), graph.write(tags=["c", "b"])).data == {"tags": ["a", "b", "c"]}


# choices and versions


@pytest.mark.parametrize("value", [7, None, {"k": 1}, {}, MISSING])
def test_what_somebody_chose_is_written_by_the_join(value: Any) -> None:
    graph = Graph({"x": 0})
    left, right = graph.write(x=1), graph.write(x=2)
    merged = graph.merge_heads(left, right, at=50, choices={("x",): value})
    assert (only(merged).value, only(merged).settled) == (value, True)
    assert merged.line is not None
    assert merged.line.data == ({} if value is MISSING else {"x": value})
    (write,) = merged.line.writes["x",]
    assert (write.by, write.at, write.version, write.settled) == ("join3", 50, 4, False)


def test_two_who_chose_differently_conflict() -> None:
    graph = Graph({"x": 0})
    left, right = graph.write(x=1), graph.write(x=2)
    one, other = (graph.join(left, right, choices={("x",): value}) for value in (1, 2))
    conflict = only(graph.merge_heads(one, other))
    assert [(each.by, each.value) for each in conflict.candidates] == [("join3", 1), ("join4", 2)]


def test_a_choice_for_a_path_that_nobody_disputes_does_nothing() -> None:
    graph = Graph()
    assert graph.join(graph.write(x=1), graph.write(y=1), choices={("x",): 9}).data == {"x": 1, "y": 1}


def test_only_a_join_that_had_to_choose_makes_a_version() -> None:
    graph = Graph(default="last_write_wins")
    left, right = graph.write(x=1), graph.write(y=1)
    assert graph.join(left, right).version == 3
    assert graph.join(left, graph.write(right, x=2)).version == 5


def test_merging_changes_none_of_its_inputs() -> None:
    graph = Graph({"a": {"b": 1}, "l": [1]}, l="append")
    left = graph.change(None, {("a", "b"): 2, ("l",): [1, 2]})
    right = graph.change(None, {("l",): [1, 3]}, ("a",))
    before = [(dict(line.writes), line.seen, line.made) for line in (left, right)]
    graph.join(left, right, choices={("a",): {"b": 9}})
    assert graph.root.data == {"a": {"b": 1}, "l": [1]}
    assert left.data == {"a": {"b": 2}, "l": [1, 2]}
    assert right.data == {"l": [1, 3]}
    assert [(dict(line.writes), line.seen, line.made) for line in (left, right)] == before


# cost


def many(changes: Iterator[dict[Path, Any]] | list[dict[Path, Any]], root: dict[str, Any]) -> list[Line]:
    start = Line.start(root)
    return [
        start.advance(ChangeSet(0, each), writer=index, by=str(index), at=index)[0]
        for index, each in enumerate(changes)
    ]


@pytest.mark.parametrize(
    ("policy", "path", "expected"),
    [
        ("last_write_wins", lambda index: ("items", str(index)), None),
        ("last_write_wins", lambda _: ("n",), 9_999),
        ("merge_all", lambda _: ("n",), list(range(10_000))),
    ],
)
def test_ten_thousand_lines_unite(policy: str, path: Any, expected: Any) -> None:
    policies = Policies.of(FAIL, {"n": policy})
    merged = merge_heads(many(({path(index): index} for index in range(10_000)), {}), policies, **WHO)
    assert merged.line is not None
    if expected is None:
        assert len(fields(merged.line.data["items"])) == 10_000
    else:
        assert same(merged.line.data["n"], expected)


WHO: dict[str, Any] = {"writer": 10_000, "by": "join", "at": 0}


@pytest.mark.parametrize("policy", ["last_write_wins", "merge_all"])
@pytest.mark.parametrize("path", [lambda index: ("items", str(index)), lambda _: ("n",)], ids=["apart", "together"])
def test_twice_as_many_lines_take_twice_the_work_to_unite(policy: str, path: Any) -> None:
    def work(count: int) -> int:
        lines = many(({path(index): index} for index in range(count)), {})
        return lines_run(lambda: merge_heads(lines, Policies.of(FAIL, {"n": policy}), **WHO))

    assert work(1000) < 2.2 * work(500)


def deep_conflicts(count: int) -> list[Line]:
    wide: list[dict[Path, Any]] = [{("o", "p", str(index)): side for index in range(count)} for side in (1, 2)]
    return many(wide, {})


def test_twice_as_many_deep_conflicts_take_twice_the_work() -> None:
    once, twice = (deep_conflicts(count) for count in (250, 500))
    assert lines_run(lambda: merge_heads(twice, Policies(), **WHO)) < 2.2 * lines_run(
        lambda: merge_heads(once, Policies(), **WHO)
    )


def test_two_lines_with_many_deep_conflicts_unite() -> None:
    merged = merge_heads(deep_conflicts(5_000), Policies(), **WHO)
    assert len(merged.conflicts) == 5_000
    assert merged.line is not None
    assert set(fields(at(merged.line.data, "o", "p")).values()) == {2}
