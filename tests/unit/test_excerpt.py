"""What is asked about a run fits into what the server takes: the newest comes first, and what is missing is counted."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from anabranch.limits import PAYLOAD_BYTES
from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.excerpt import newest_versions
from anabranch.workflows.interpreter.size import ByteBudget, json_size
from anabranch.workflows.interpreter.trail import MAX_ENTRIES
from tests.json_values import at, items
from tests.unit.machine_kit import Play, edge, failure, machine_of, python

ASK: dict[str, Any] = {"context": {"conflict_resolution": "fail_on_conflict"}}


def chain_of(count: int, size: int) -> Play:
    """A run of `count` nodes that write `size` bytes each to the same key."""
    names = [f"n{index}" for index in range(count)]
    graph = {"nodes": {name: python() for name in names}, "edges": [edge(*pair) for pair in pairwise(names)]}
    play = Play(machine_of(graph), {name: {"x": name[-1] * size} for name in names})
    play.run()
    return play


def two_sides(size: int, keys: int = 1, **fields: Any) -> Play:
    """Two branches that write other values to the same keys."""
    nodes = {name: python() for name in "abj"}
    graph = {"nodes": nodes, "edges": [edge("a", "j"), edge("b", "j")], **fields}
    sides = {name: {f"k{index}": name * size for index in range(keys)} for name in "ab"}
    play = Play(machine_of(graph), sides).start()
    for name in "ab":
        play.answer(name)
    return play


def history(play: Play) -> list[Any]:
    return views.history(play.state)


def test_a_short_history_is_told_whole_without_a_count() -> None:
    reported = history(chain_of(3, 10))
    assert [entry["by"] for entry in reported] == ["input", "n0", "n1", "n2"]
    assert not any("left_out" in entry for entry in reported)


def test_of_a_long_history_the_newest_versions_are_told_and_the_others_counted() -> None:
    reported = history(chain_of(50, 100_000))
    assert json_size(reported) < PAYLOAD_BYTES
    assert [entry["number"] for entry in reported] == list(range(52 - len(reported), 52))
    whole = [entry["set"] for entry in reported if entry["set"]]
    assert whole == [{"x": f"{index % 10}" * 100_000} for index in range(30, 50)]
    assert reported[-21]["left_out"]["set"] == 1  # there was budget for what it is, and not for what it wrote


def test_what_the_oldest_entry_counts_are_the_versions_before_it() -> None:
    play = chain_of(3, 10)
    budget = ByteBudget(500)
    reported: Any = newest_versions(play.state.trail, budget)
    assert [entry["by"] for entry in reported] == ["n1", "n2"]
    assert [entry.get("left_out") for entry in reported] == [{"versions": 2}, None]


def test_versions_that_have_left_the_memory_are_counted_too() -> None:
    play = chain_of(2, 1)
    play.state.trail.count += 7
    assert history(play)[0]["left_out"] == {"versions": 7}
    assert len(history(chain_of(MAX_ENTRIES + 9, 1))) == MAX_ENTRIES


def test_a_merge_that_is_too_large_is_told_with_the_conflicts_that_fit() -> None:
    play = two_sides(5_000, keys=200)
    merge = history(play)[-1]
    assert (merge["kind"], len(merge["set"])) == ("merge", 200)
    values = [conflict for conflict in merge["conflicts"] if "values_left_out" not in conflict]
    assert values[0]["choice"] == "b" * 5_000
    assert len(merge["conflicts"]) + merge["left_out"]["conflicts"] == 200
    assert 0 < len(values) < 200
    assert json_size(history(play)) < PAYLOAD_BYTES


def test_one_conflict_too_large_to_be_told_still_tells_who_wrote_what_for_an_operator_to_choose() -> None:
    (reported,) = items(at(views.status(two_sides(1_500_000, **ASK).state), "conflicts", "j"))
    assert at(reported, "values_left_out") is True
    assert (at(reported, "path"), [at(each, "by") for each in items(at(reported, "candidates"))]) == ("k0", ["a", "b"])


def test_what_of_a_status_does_not_fit_is_counted() -> None:
    graph = {"nodes": {f"n{index}": python(on_failure="continue") for index in range(30)}}
    play = Play(machine_of(graph), {f"n{index}": failure("x" * 50_000) for index in range(30)})
    play.run()
    reported: Any = views.status(play.state)
    assert reported["left_out"] == {"nodes": 30 - len(reported["nodes"])}
    assert 15 < len(reported["nodes"]) < 30
    assert reported["status"] == "completed"


def test_conflicts_without_room_are_counted_and_the_rest_is_told_in_order() -> None:
    reported: Any = views.status(two_sides(1, keys=20_000, **ASK).state)
    assert len(reported["conflicts"]["j"]) + reported["left_out"]["conflicts"] == 20_000
    assert [each["path"] for each in reported["conflicts"]["j"][:2]] == ["k0", "k1"]


def test_a_context_that_is_too_large_until_its_branches_meet_shows_without_its_largest_keys() -> None:
    script = {"a": {"a": "a" * 900_000}, "b": {"b": "b" * 1_000_000}, "c": {"c": "c" * 800_000}}
    play = Play(machine_of({"nodes": {name: python() for name in "abcd"}}), script).start()
    for name in "abc":
        play.answer(name)
    reported: Any = views.context(play.state, play.machine.context(), "s")
    assert reported["left_out"] == {"b": 1_000_002}
    assert list(reported["data"]) == ["a", "c"]


def test_what_has_room_is_taken_and_what_has_none_leaves_it_as_it_was() -> None:
    budget = ByteBudget(10)
    assert [budget.try_take(value) for value in ("123456", "1234", "", "1", "")] == [True, False, True, False, False]
