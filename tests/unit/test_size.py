"""A context that grows over the limit fails the node that made it grow; values that are not JSON do not get in."""

from __future__ import annotations

from itertools import pairwise

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import SizeLimitExceeded, WireFormatError
from anabranch.limits import PAYLOAD_BYTES, STORED_CONTEXT_BYTES
from anabranch.workflows.interpreter import snapshot
from anabranch.workflows.interpreter.size import ContextSize, newest_that_fit
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
    size = ContextSize(limit=600)
    size.add(ChangeSet(0, {("x",): "y" * 90}))
    size.check({"x": unchecked(object())}, "a")
    size.add(ChangeSet(0, {("x",): "y" * 20}))
    with pytest.raises(TypeError):
        size.check({"x": unchecked(object())}, "a")


def test_each_value_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Json] = []

    def measure(value: Json) -> int:
        measured.append(value)
        return 1000

    monkeypatch.setattr("anabranch.workflows.interpreter.size.json_size", measure)
    size = ContextSize(limit=2000)
    size.add_packed(2000)
    for data in ({"a": "x"}, {"a": "x", "b": "y"}, {"a": "x", "b": "z"}, {"b": "z"}):
        size.check(data, "n")
    assert measured == ["x", "y", "z"]


def test_where_there_is_a_payload_store_what_counts_is_messagepack() -> None:
    size, half = ContextSize(STORED_CONTEXT_BYTES), "x" * (STORED_CONTEXT_BYTES // 2 - 5)
    size.add_packed(STORED_CONTEXT_BYTES)
    size.check({"a": half, "b": half}, "n")
    with pytest.raises(SizeLimitExceeded, match="16777217 bytes, over the limit of 16777216; the largest key is 'b'"):
        size.check({"a": half, "b": half + "x"}, "n")


def test_a_context_that_nobody_could_unfold_as_json_is_refused_with_a_payload_store_too() -> None:
    size, control = ContextSize(STORED_CONTEXT_BYTES), "\x01" * 6_000_000
    size.add_packed(STORED_CONTEXT_BYTES)
    size.check({"a": control, "b": "é" * 4_000_000}, "n")
    with pytest.raises(SizeLimitExceeded, match="the context is 72000004 bytes, over the limit of 67043328"):
        size.check({"a": control, "b": control + ""}, "n")


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
    size = ContextSize()
    assert newest_that_fit(reported, size.room_beside({"a": 1})) == reported
    assert newest_that_fit(reported, size.room_beside({"a": "x" * (PAYLOAD_BYTES - 64 * 1024 - 2500)})) == reported[-2:]
    assert newest_that_fit(reported, size.room_beside({"a": "x" * PAYLOAD_BYTES})) == []
