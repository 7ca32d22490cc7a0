"""What holds in every history of lines that leave each other and meet again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anabranch.context.merge.line_wire import dump_lines, load_lines
from anabranch.context.merge.lineage import Line, replay
from anabranch.context.merge.resolution import Policies, Reducer
from anabranch.context.values import MISSING, Path, same, value_at
from tests.examples import examples
from tests.unit.lineage_kit import Editing, History, Node, histories, orders, overlap

SOME = settings(max_examples=examples(120), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def outcome(history: History) -> list[Any]:
    """What must depend on the history alone."""
    return [
        (
            history.joins[index].data,
            history.lines[index].data,
            history.lines[index].version,
            history.changes[index].set,
            sorted(history.changes[index].removed),
            history.conflicts[index],
        )
        for index in range(len(history.nodes))
    ]


def carried(lines: dict[int, Line]) -> dict[int, Line]:
    wire = json.loads(json.dumps(dump_lines({str(index): line for index, line in lines.items()})))
    return {int(index): line for index, line in load_lines(wire).items()}


@SOME
@given(histories(), st.data())
def test_nothing_depends_on_the_order_or_the_time_of_joins_nor_on_a_journey_over_the_wire(
    history: History, data: st.DataObject
) -> None:
    root = copy.deepcopy(history.root)
    first = history.evaluate()
    again = history.evaluate(data.draw(orders(history)), clock=data.draw(st.integers(0, 300)))
    assert outcome(again) == outcome(first)
    travelled = history.evaluate(data.draw(orders(history)), carry=carried)
    assert outcome(travelled) == outcome(first)
    assert history.root == root


@SOME
@given(histories())
def test_the_data_of_every_line_is_its_root_with_any_of_its_agreeing_writes_on_top(history: History) -> None:
    done = history.evaluate()
    for line in (*done.joins.values(), *done.lines.values()):
        for index in (0, -1):
            assert same(replay(line.root, (found[index] for found in line.writes.values())), line.data)
        objects = [path[:length] for path in line.writes for length in range(1, len(path))]
        assert all(isinstance(value_at(line.data, path), dict) for path in objects)


@SOME
@given(histories())
def test_no_write_is_lost_in_silence(history: History) -> None:
    """It is in the data, or a descendant superseded it, or an earlier join has a conflict there."""
    done = history.evaluate()
    for index in range(len(history.nodes)):
        before = history.ancestors(index)
        reported = [conflict.path for join in (*before, index) for conflict in done.conflicts[join]]
        for writer in before:
            for path, value in written(done, writer).items():
                found = value_at(done.joins[index].data, path)
                assert (
                    same(found, value)
                    or (value == {} and isinstance(found, dict))
                    or any(overlap(path, other) for other in reported)
                    or any(
                        overlap(path, later)
                        for each in before
                        if writer in history.ancestors(each)
                        for later in written(done, each)
                    )
                )


def written(history: History, index: int) -> dict[Path, Any]:
    changes = history.changes[index]
    return {**changes.set, **dict.fromkeys(changes.removed, MISSING)}


@SOME
@given(histories())
def test_what_all_lines_agree_on_stays_as_it_is(history: History) -> None:
    done = history.evaluate()
    for index, node in enumerate(history.nodes):
        lines = [done.lines[parent].data for parent in node.parents]
        for key in {key for data in lines for key in data}:
            found = [data.get(key, MISSING) for data in lines]
            adds_up = any(
                isinstance(policy, Reducer) for path, policy in history.policies.by_path.items() if path[0] == key
            )
            if not adds_up and all(same(value, found[0]) for value in found):
                assert same(done.joins[index].data.get(key, MISSING), found[0])


@SOME
@given(histories())
def test_a_conflict_has_candidates_that_differ_and_the_settled_value_is_in_the_data(history: History) -> None:
    done = history.evaluate()
    for index, conflicts in done.conflicts.items():
        for conflict in conflicts:
            first, *others = conflict.candidates
            assert others
            assert isinstance(conflict.policy, Reducer) or any(not same(first.value, each.value) for each in others)
            assert same(value_at(done.joins[index].data, conflict.path), conflict.value)
        paths = [conflict.path for conflict in conflicts]
        assert not any(overlap(one, other) for place, one in enumerate(paths) for other in paths[:place])


# Flat keys, where what must come out can be said in a line: the writes that no later one on their own line superseded.

NAMED = {
    "newest": "last_write_wins",
    "highest": "higher_version_wins",
    "all": "merge_all",
    "sum": "sum",
    "min": "min",
    "max": "max",
    "log": "append",
    "tags": "union",
}
ROOT: dict[str, Any] = {"sum": 10, "min": 50, "log": [0], "tags": [0]}


class FlatWork(Editing):
    """Writes a value of its node's own; `same` one that others write too, `restart` one that forgets what was there."""

    def __init__(self, index: int, kinds: Mapping[str, str]) -> None:
        super().__init__(kinds)
        self.own = 100 + index
        self.kinds = kinds

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, **{key: self._value(key, kind, data.get(key)) for key, kind in self.kinds.items()}}

    def _value(self, key: str, kind: str, found: Any) -> Any:
        if key in ("log", "tags"):
            return [self.own] if kind == "restart" and key == "log" else [*(found or []), self.own]
        if key == "sum":
            return self.own if kind == "restart" else (found or 0) + (5 if kind == "same" else self.own)
        return 7 if kind == "same" else self.own


@st.composite
def flat_histories(draw: st.DrawFn) -> History:
    count = draw(st.integers(2, 9))
    times = draw(st.permutations(range(count)))
    kinds = st.dictionaries(st.sampled_from(list(NAMED)), st.sampled_from(["own", "restart", "same"]), max_size=4)
    nodes = []
    for index in range(count):
        parents = draw(st.lists(st.integers(0, index - 1), max_size=4, unique=True)) if index else []
        nodes.append(Node(tuple(parents), FlatWork(index, draw(kinds)), 100 + times[index]))
    return History(ROOT, nodes, Policies.of("fail_on_conflict", {(key,): name for key, name in NAMED.items()}))


class Facts:
    """Who wrote a key before a node, from the graph alone; `live` are those that nobody superseded."""

    def __init__(self, done: History, index: int, key: str) -> None:
        self.done = done
        self.key = key
        ancestors = done.ancestors(index)
        self.all = [each for each in sorted(ancestors) if (key,) in done.changes[each].set]
        self.live = [each for each in self.all if not any(each in done.ancestors(later) for later in self.all)]

    def value(self, index: int) -> Any:
        return self.done.changes[index].set[self.key,]

    def found(self, index: int) -> Any:
        return self.done.joins[index].data.get(self.key)

    def newest(self) -> Any:
        return self.value(max(self.live, key=lambda each: self.done.nodes[each].at))

    def highest(self) -> set[Any]:
        """Of the same version each may win: which one is a matter of the order in which edges are declared."""
        version = max(self.done.lines[each].version for each in self.live)
        return {self.value(each) for each in self.live if self.done.lines[each].version == version}

    def values(self) -> list[Any]:
        return [self.value(each) for each in self.live]

    def total(self) -> int:
        return 10 + sum(int(self.value(each)) - (self.found(each) or 0) for each in self.all)

    def log(self) -> list[int]:
        """The own items of all writers, except those that somebody later removed."""
        starts = [each for each in self.all if self.value(each) == [100 + each]]
        gone = {each for start in starts for each in self.done.ancestors(start)}
        return sorted([100 + each for each in self.all if each not in gone] + ([] if starts else [0]))


EXPECTED: dict[str, Callable[[Facts], Any]] = {
    "newest": Facts.newest,
    "highest": Facts.highest,
    "all": lambda facts: sorted(set(facts.values())),
    "sum": Facts.total,
    "min": lambda facts: min(facts.values()),
    "max": lambda facts: max(facts.values()),
    "log": Facts.log,
    "tags": lambda facts: sorted({0}.union(*facts.values())),
}


@SOME
@given(flat_histories())
def test_every_policy_sees_each_write_that_nobody_superseded_once(history: History) -> None:
    done = history.evaluate()
    for index in range(len(history.nodes)):
        for key, expected in EXPECTED.items():
            facts = Facts(done, index, key)
            found: Any = done.joins[index].data.get(key)
            if not facts.live:
                assert found == ROOT.get(key)
            elif key == "all":
                assert sorted(found if isinstance(found, list) else [found]) == expected(facts)
            elif key == "highest":
                assert found in expected(facts)
            else:
                assert (sorted(found) if isinstance(found, list) else found) == expected(facts)
