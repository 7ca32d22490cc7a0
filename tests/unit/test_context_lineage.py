"""Lines of descent: what a step keeps, supersedes and shares, and their wire format."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.context.changes import ChangeSet, apply, diff
from anabranch.context.merge.line_wire import dump_lines, load_lines
from anabranch.context.merge.lineage import Line, Write, oldest_first, past, replay
from anabranch.context.merge.resolution import Policies
from anabranch.context.merge.union import line_as_known, merge_heads
from anabranch.context.values import MISSING, Path, same
from anabranch.errors import WireFormatError
from tests.json_values import packed
from tests.unit.lineage_kit import Edit, edited, edits, objects


def step(line: Line, writer: int, changes: dict[Path, Any], *removed: Path) -> Line:
    """A step in which each writer is also the time and has its own name."""
    advanced, _ = line.advance(ChangeSet(0, changes, removed), writer=writer, by=f"w{writer}", at=writer)
    return advanced


def held(line: Line) -> dict[Path, list[Any]]:
    return {path: [write.value for write in writes] for path, writes in line.writes.items()}


def test_a_step_keeps_the_newest_write_of_each_path() -> None:
    line = step(step(Line.start({"x": 0}), 1, {("x",): 1, ("y",): 2}), 2, {("x",): 3})
    assert line.data == {"x": 3, "y": 2}
    assert held(line) == {("x",): [3], ("y",): [2]}
    (write,) = line.writes["x",]
    assert (write.writer, write.by, write.version, write.at) == (2, "w2", 3, 2)
    assert [each.value for each in past(write)] == [1]


def test_a_step_that_changes_nothing_is_seen_but_makes_no_version() -> None:
    start = Line.start({"x": 1}, version=4)
    line, refined = start.advance(ChangeSet(0, {("x",): 1.0}), writer=3, by="idle", at=9)
    assert not refined
    assert (line.version, line.seen, line.made) == (4, 1 << 3, 0)
    assert line.data is start.data


def test_each_writer_that_changes_something_makes_one_version() -> None:
    line = step(step(Line.start({}, version=4), 0, {("x",): 1}), 5, {("y",): 1, ("z",): 1})
    assert (line.version, line.seen, line.made) == (6, 0b100001, 0b100001)


def test_the_changes_of_a_step_are_told_as_the_diff_that_they_came_to() -> None:
    line = Line.start({"order": {"id": 1, "status": "new"}}, version=2)
    _, refined = line.advance(ChangeSet(0, {("order",): {"id": 1, "status": "paid"}}), writer=0, by="pay", at=7)
    assert refined == ChangeSet(2, {("order", "status"): "paid"}, (), "pay", 7)


def test_writes_can_carry_the_version_that_their_writer_counted() -> None:
    line, _ = Line.start({}).advance(ChangeSet(0, {("x",): 1}), writer=0, by="w", at=1, version=0)
    assert line.writes["x",][0].version == 0
    assert line.version == 2


def test_a_write_supersedes_those_at_its_path_and_below_but_not_above() -> None:
    line = step(Line.start({"a": 1}), 0, {("a",): {"b": {"c": 1}}})
    line = step(line, 1, {("a", "b", "c"): 2})
    assert held(line) == {("a",): [{"b": {"c": 1}}], ("a", "b", "c"): [2]}
    line = step(line, 2, {("a", "b"): 3})
    assert held(line) == {("a",): [{"b": {"c": 1}}], ("a", "b"): [3]}
    assert {each.writer for each in past(line.writes["a", "b"][0])} == {0, 1}
    line = step(line, 3, {}, ("a",))
    assert held(line) == {("a",): [MISSING]}
    assert {each.writer for each in past(line.writes["a",][0])} == {0, 1, 2}


def test_a_step_mutates_nothing_that_was_there_before() -> None:
    start = Line.start({"a": {"b": 1}, "l": [1]})
    first = step(start, 0, {("a", "b"): 2})
    step(first, 1, {("a", "c"): 3}, ("l",))
    assert start.data == {"a": {"b": 1}, "l": [1]}
    assert (first.data, held(first)) == ({"a": {"b": 2}, "l": [1]}, {("a", "b"): [2]})


@given(objects, st.lists(st.lists(edits, max_size=3), max_size=5))
def test_the_data_of_a_line_is_its_root_with_its_writes_on_top(root: dict[str, Any], steps: list[list[Edit]]) -> None:
    line = Line.start(root)
    for writer, changes in enumerate(steps):
        expected = edited(line.data, changes)
        line, refined = line.advance(diff(line.data, expected), writer=writer, by="w", at=writer)
        assert same(line.data, expected)
        assert same(replay(line.root, (found[0] for found in line.writes.values())), expected)
        assert line.version == 1 + line.made.bit_count()
        assert bool(refined) == bool(line.made >> writer & 1)


@given(objects, st.lists(st.lists(edits, max_size=3), max_size=5), st.integers(0, 5))
def test_a_line_can_be_seen_as_it_once_was(root: dict[str, Any], steps: list[list[Edit]], number: int) -> None:
    lines = [Line.start(root)]
    for writer, changes in enumerate(steps):
        changed = diff(lines[-1].data, edited(lines[-1].data, changes))
        lines.append(lines[-1].advance(changed, writer=writer, by="w", at=writer)[0])
    once = lines[min(number, len(steps))]
    known = line_as_known(lines[-1], (1 << number) - 1)
    assert same(known.data, once.data)
    assert (known.version, known.seen) == (once.version, once.seen)
    assert dict(known.writes) == dict(once.writes)


def test_the_past_of_a_write_holds_each_write_once() -> None:
    root = Write(("x",), 0, 0, "", 1, 1)
    left, right = (Write(("x",), value, value, "", 2, 2, (root,)) for value in (1, 2))
    top = Write(("x",), 3, 3, "", 3, 3, (left, right))
    assert list(past(top)) == [left, right, root]
    assert oldest_first([right, top]) == [root, right, left, top]


def test_what_is_removed_from_an_object_leaves_the_object() -> None:
    line = step(step(Line.start({}), 0, {("a", "b"): 1}), 1, {}, ("a", "b"))
    assert line.data == {"a": {}}
    assert replay({}, (found[0] for found in line.writes.values())) == {"a": {}}


def test_lines_come_back_from_the_wire_with_the_writes_that_they_share() -> None:
    start = Line.start({"n": 10})
    shared = step(start, 0, {("o", "a"): 1})
    left, right = step(shared, 1, {("n",): 11}), step(shared, 70, {("n",): 12}, ("o", "a"))
    merged = merge_heads([left, right], Policies.of("fail_on_conflict", {"n": "sum"}), writer=3, by="join", at=99).line
    assert merged is not None
    lines = {"left": left, "right": right, "merged": merged, "start": start}
    wire = dump_lines(lines)
    loaded = load_lines(json.loads(json.dumps(msgpack.unpackb(packed(wire)))))
    assert wire[0] == [{"n": 10}]
    assert len(wire[1]) == 5
    for name, line in lines.items():
        again = loaded[name]
        assert (again.data, again.version, again.seen, again.made) == (line.data, line.version, line.seen, line.made)
        assert held(again) == held(line)
    assert loaded["left"].root is loaded["merged"].root
    (settled,) = loaded["merged"].writes["n",]
    assert settled.facts == (loaded["left"].writes["n",][0], loaded["right"].writes["n",][0])
    assert dump_lines(loaded) == wire


def test_a_chain_of_many_thousand_writes_crosses_the_wire() -> None:
    line = Line.start({"n": 0})
    for writer in range(20_000):
        line = Line(line.root, 1, line.data, 1, 1, {("n",): (_next(line, writer),)})
    again = load_lines(dump_lines({"": line}))[""]
    assert again.data == {"n": 19_999}
    assert len(list(past(again.writes["n",][0]))) == 19_999


def _next(line: Line, value: int) -> Write:
    return Write(("n",), value, 0, "", 1, 1, tuple(line.writes.get(("n",), ())))


@pytest.mark.parametrize(
    "wire",
    [
        None,
        7,
        [],
        [[], [], []][:2],
        [[], [[]], []],
        [[{}], [], [["a", 1, 1, "0", "0", []]]],
        [[{}], [], [["a", 0, 1, "zz", "0", []]]],
        [[{}], [], [["a", 0, 1, "0", "0", [0]]]],
        [[{}], [[["x"], [1], 0, "", 1, 1, [0], False]], []],
        [[{}], [[["x"], 1, 0, "", 1, 1, [], False]], []],
        [{}, [], [["a", 0, 1, "0", "0", []]]],
        [[5], [[["x"], [1], 0, "", 1, 1, [], False]], [["a", 0, 1, "1", "1", [0]]]],
    ],
)
def test_a_wire_that_is_no_lines_is_refused(wire: object) -> None:
    with pytest.raises(WireFormatError):
        load_lines(wire)


def test_a_raw_change_set_may_lead_through_itself() -> None:
    line = Line.start({"a": {"b": 1}})
    changes = ChangeSet(0, {("a", "c"): 2, ("a",): {"d": 3}})
    advanced, _ = line.advance(changes, writer=0, by="w", at=1)
    assert advanced.data == apply(line.data, changes) == {"a": {"d": 3}}
    assert same(replay(line.root, (found[0] for found in advanced.writes.values())), advanced.data)
