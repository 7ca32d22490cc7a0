"""A context that grows over the limit fails the node that made it grow; values that are not JSON do not get in."""

from __future__ import annotations

from itertools import pairwise

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import SizeLimitExceeded, WireFormatError
from anabranch.limits import PAYLOAD_BYTES
from anabranch.workflows.interpreter import snapshot
from anabranch.workflows.interpreter.size import ContextSize, newest_beside
from tests.json_values import unchecked
from tests.unit.machine_kit import Play, edge, machine_of, python

MEGABYTE = "x" * 1_000_000


def test_the_write_that_passes_the_limit_fails_its_node_naming_size_limit_and_largest_key() -> None:
    graph = {"nodes": {name: python() for name in "abc"}, "edges": [edge("a", "b"), edge("b", "c")]}
    finish = Play(machine_of(graph), {"a": {"x": MEGABYTE}, "b": {"y": MEGABYTE + "yy"}, "c": {"z": MEGABYTE}}).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("SIZE_LIMIT_EXCEEDED", "c")
    assert "3000008 bytes, over the limit of 2097152; the largest key is 'y'" in finish.failure.message


def test_branches_that_are_too_large_together_fail_their_join() -> None:
    graph = {"nodes": {name: python() for name in "abc"}}
    finish = Play(machine_of(graph), {name: {name: MEGABYTE} for name in "abc"}).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("SIZE_LIMIT_EXCEEDED", "(end)")


def test_a_large_value_written_again_and_again_is_not_too_large() -> None:
    names = [f"n{index}" for index in range(5)]
    edges = [edge(*pair) for pair in pairwise(names)]
    graph = {"nodes": {name: python() for name in names}, "edges": edges}
    finish = Play(machine_of(graph), {name: {"x": MEGABYTE + name} for name in names}).run()
    assert finish.failure is None
    assert finish.line.data == {"x": MEGABYTE + "n4"}


def test_what_was_written_before_a_run_continued_as_new_counts() -> None:
    graph = {"nodes": {name: python() for name in "abc"}, "edges": [edge("a", "b"), edge("b", "c")]}
    script = {name: {name: MEGABYTE} for name in "abc"}
    before = Play(machine_of(graph), script).start()
    before.answer("a")
    before.state.is_draining = True
    before.answer("b")
    after = Play(machine_of(graph), script)
    snapshot.load(after.state, snapshot.dump(before.state))
    after.take(after.machine.resume_from_snapshot(9))
    failure = after.finish().failure
    assert failure is not None
    assert (failure.code, failure.node) == ("SIZE_LIMIT_EXCEEDED", "c")


def test_an_input_over_the_limit_does_not_start() -> None:
    with pytest.raises(SizeLimitExceeded, match=r"^input: the context is"):
        machine_of({"nodes": {"a": python()}}, {"x": MEGABYTE * 3}).start(0)


def test_below_the_limit_nothing_is_measured() -> None:
    size = ContextSize(limit=100)
    size.add(ChangeSet(0, {("x",): "y" * 90}))
    size.check({"x": unchecked(object())}, "a")
    size.add(ChangeSet(0, {("x",): "y" * 20}))
    with pytest.raises(TypeError):
        size.check({"x": unchecked(object())}, "a")


@pytest.mark.parametrize("value", [2**70, float("inf"), float("nan"), "\ud800", [[{"deep": 2**64}]]])
def test_an_input_that_is_no_json_data_does_not_start(value: object) -> None:
    with pytest.raises(WireFormatError, match="'x"):
        machine_of({"nodes": {"a": python()}}, {"x": value}).start(0)


def test_a_foreign_activity_s_result_that_is_no_json_data_fails_its_node() -> None:
    machine = machine_of({"nodes": {"a": {"type": "activity", "activity": "count"}}})
    machine.start(0)
    machine.succeeded("a", {"n": 2**70}, 1)
    assert machine.state.failure is not None
    assert (machine.state.failure.code, machine.state.failure.node) == ("WIRE_FORMAT_INVALID", "a")


def test_of_a_result_s_conflicts_the_newest_that_fit_beside_the_data_stay() -> None:
    reported: list[Json] = [{"path": f"k{index}", "value": "x" * 1000} for index in range(10)]
    assert newest_beside({"a": 1}, reported) == reported
    assert newest_beside({"a": "x" * (PAYLOAD_BYTES - 64 * 1024 - 2500)}, reported) == reported[-2:]
    assert newest_beside({"a": "x" * PAYLOAD_BYTES}, reported) == []
