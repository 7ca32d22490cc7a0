"""Three branches that write one key: the same result under every policy, in whatever order they complete."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from anabranch.context.merge.resolution import ConflictResolution, Reducer
from anabranch.workflows.interpreter import views
from tests.unit.machine_kit import Play, edge, machine_of, python

BRANCHES = ("a", "b", "c")
ORDERS = tuple(permutations(BRANCHES))
BASE: dict[str, Any] = {"n": 10, "tags": ["x"]}
WRITES: dict[str, dict[str, Any]] = {
    "a": {"n": 12, "tags": ["x", "a"]},
    "b": {"n": 15, "tags": ["x", "b"]},
    "c": {"n": 9, "tags": ["x", "a", "c"]},
}
TIMES = {"start": 1_010, "a": 1_400, "b": 1_300, "c": 1_200, "before": 1_020, "join": 1_500}
"""When each completion was recorded, whatever the order in which it is reported."""
LISTS = {"append", "union"}
EXPECTED: dict[str, Any] = {
    "last_write_wins": 12,
    "higher_version_wins": 15,
    "merge_all": [12, 15, 9],
    "sum": 10 + 2 + 5 - 1,
    "min": 9,
    "max": 15,
    "append": ["x", "a", "b", "a", "c"],
    "union": ["x", "a", "b", "c"],
    "fail_on_conflict": 15,
}


def graph_of(policy: str) -> dict[str, Any]:
    """`b` is on a longer line than the others; `last_write_wins` is the clock's, `higher_version_wins` the line's."""
    ahead = [("start", "a"), ("start", "before"), ("before", "b"), ("start", "c")]
    pairs = [*ahead, *((branch, "join") for branch in BRANCHES)]
    return {
        "context": {"merge": {"n": policy, "tags": policy}},
        "nodes": {name: python() for name in ("start", "before", *BRANCHES, "join")},
        "edges": [edge(*pair) for pair in pairs],
    }


def played(policy: str, order: tuple[str, ...]) -> Play:
    key = "tags" if policy in LISTS else "n"
    script: dict[str, Any] = {branch: {key: WRITES[branch][key]} for branch in BRANCHES}
    script["before"] = {"step": 1}
    play = Play(machine_of(graph_of(policy), BASE), script, TIMES).start()
    for name in ("start", "before", *order):
        play.answer(name)
    if policy == "fail_on_conflict":
        play.pending.pop("join")
        play.take(play.machine.choose("join", {("n",): 15}, TIMES["join"]))
    play.finish()
    return play


def shown(play: Play) -> dict[str, Any]:
    """All that people see of the run, without what shows the order of arrival."""
    state = play.state
    assert state.finished is not None
    entries = [entry for entry in views.history(state) if isinstance(entry, dict)]
    (merge,) = [entry for entry in entries if entry["kind"] == "merge"]
    return {
        "result": views.result(state, state.finished, "order-1"),
        "merge": {name: value for name, value in merge.items() if name not in {"number", "parents", "at"}},
        "details": views.details(state),
    }


@pytest.mark.parametrize("policy", [*ConflictResolution, *Reducer])
def test_the_result_does_not_depend_on_the_order_of_completion(policy: str) -> None:
    reported = [json.dumps(shown(played(policy, order))) for order in ORDERS]
    assert reported == [reported[0]] * 6


@pytest.mark.parametrize("policy", [*ConflictResolution, *Reducer])
def test_each_policy_has_its_own_result(policy: str) -> None:
    finish = played(policy, BRANCHES).machine.state.finished
    assert finish is not None
    assert finish.line.data["tags" if policy in LISTS else "n"] == EXPECTED[policy]


@pytest.mark.parametrize("policy", [*ConflictResolution, *Reducer])
def test_history_result_and_details_tell_base_candidates_policy_and_choice(policy: str) -> None:
    key = "tags" if policy in LISTS else "n"
    reported = shown(played(policy, BRANCHES))
    (conflict,) = reported["result"]["conflicts"]
    assert reported["merge"]["conflicts"] == [conflict]
    assert reported["merge"]["set"] == {key: EXPECTED[policy]}
    assert (conflict["path"], conflict["base"], conflict["strategy"]) == (key, BASE[key], policy)
    assert [(each["by"], each["value"]) for each in conflict["candidates"]] == [
        (branch, WRITES[branch][key]) for branch in BRANCHES
    ]
    assert (conflict["settled"], conflict["choice"]) == (True, EXPECTED[policy])
    (line,) = [line for line in reported["details"].splitlines() if line.startswith(f"- `{key}`")]
    assert line.endswith(f"({policy})")


def test_the_details_show_what_waits_for_somebody_and_then_what_was_chosen() -> None:
    script = {branch: {"n": WRITES[branch]["n"]} for branch in BRANCHES}
    play = Play(machine_of(graph_of("fail_on_conflict"), BASE), script, TIMES).start()
    for name in ("start", "before", *BRANCHES):
        play.answer(name)
    assert views.details(play.state).splitlines()[-7:] == [
        "Node `join` waits for the update `resolve_conflict`:",
        "",
        "- `n`: `12` by `a`, `15` by `b`, `9` by `c`",
        "",
        "~~~",
        "anabranch resolve order-1 join n --choose a",
        "~~~",
    ]
    play.pending.pop("join")
    play.take(play.machine.choose("join", {("n",): 9}, TIMES["join"]))
    assert views.details(play.state).splitlines()[-1] == (
        "- `n`: `12` by `a`, `15` by `b`, `9` by `c` → `9` (fail_on_conflict)"
    )


def test_large_values_and_markup_do_not_spill_into_the_details() -> None:
    writes: dict[str, Any] = {"a": "`" * 1_000, "b": {"big": ["x"] * 1_000}, "c": ["x"] * 1_000}
    script = {branch: {"n": value} for branch, value in writes.items()}
    play = Play(machine_of(graph_of("last_write_wins"), BASE), script, TIMES)
    play.run()
    fence = "`" * 61
    long = f'{fence}"{"`" * 60}"{fence}'
    assert views.details(play.state).splitlines()[-1] == (
        f"- `n`: {long} by `a`, object of 1 by `b`, list of 1000 by `c` → {long} (last_write_wins)"
    )
