"""Nodes that run in a segment do what they would do one by one: they are given the same, and the run ends the same."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from temporalio.exceptions import (
    ApplicationError,
    ApplicationErrorCategory,
    TimeoutError,  # noqa: A004 - Temporal's own name
    TimeoutType,
)
from temporalio.testing import ActivityEnvironment

from anabranch.activities import segments
from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.values import Json
from anabranch.transport.failures import failure_told, told_failure
from anabranch.transport.node_protocol import NodeTask, RunInfo, iso_time
from anabranch.transport.segment import SegmentResult
from anabranch.workflows.interpreter.commands import YIELD, AskConflict, CancelWork, Command, Failure, Finish, RunNode
from anabranch.workflows.interpreter.followers import followers
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.temporal.segment_tasks import segment_of
from tests.examples import examples
from tests.unit.machine_kit import cancelled, edge, machine_of, python
from tests.unit.test_machine_properties import Case, cases

LONGEST = 20
KEYS: list[tuple[str, ...] | None] = [(), ("n",), ("n", "o"), ("l", "o", "t", "new"), None]
TIMES = [30.0] * LONGEST


def task_of(machine: Machine, command: RunNode, now: int) -> NodeTask:
    """What crosses to an activity, as the driver has it."""
    line, reads = command.line, command.planned.reads
    data = line.data if reads is None else {key: line.data[key] for key in reads if key in line.data}
    return NodeTask(
        address=command.address,
        node=command.planned.wire,
        context=DistributedContext("order-1", dict(data), ContextMetadata(1, now, line.version)),
        run=RunInfo("run-1", "order-1", "g", iso_time(now)),
        key=command.key,
        reads=reads,
        roots={name: value for name, value in command.roots.items() if name != "run"},
    )


def timeless(task: NodeTask) -> NodeTask:
    """A task without the time at which it was made."""
    metadata = task.context.metadata._replace(updated_at=0)
    context = DistributedContext("order-1", task.context.data, metadata)
    return replace(task, context=context, run=replace(task.run, time=""))


Work = Callable[[NodeTask], ChangeSet | Failure]


@dataclass
class Player:
    """Plays a run whose nodes do `work`, by segments of at most `longest` nodes, or in a given order."""

    machine: Machine
    work: Work
    longest: int = 1
    order: list[str] = field(default_factory=list)
    """The addresses in the order in which they end."""
    given: list[NodeTask] = field(default_factory=list)
    pending: dict[str, RunNode] = field(default_factory=dict)
    now: int = 1_000
    together: int = 0
    """How many nodes ran behind another one."""

    def run(self) -> Finish:
        self.take(self.machine.start(self.now))
        following = deque(self.order)
        while (finish := self.machine.state.finished) is None:
            if following:
                self.one(self.pending[following.popleft()])
            else:
                self.segment(next(iter(self.pending.values())))
        return finish

    def one(self, command: RunNode) -> None:
        task = task_of(self.machine, command, self.now)
        self.given.append(task)
        self.tell(command.address, self.work(task))

    def segment(self, first: RunNode) -> None:
        """Run what follows one behind the other first, and hear of it then, as the driver does."""
        ahead = followers(
            self.machine.state, first.address, lambda planned: planned.node.type == "python" and not first.undo
        )
        if not (behind := list(islice(ahead, self.longest - 1))):
            self.order.append(first.address)
            self.one(first)
            return
        task = task_of(self.machine, first, self.now)
        segment = segment_of(task, first.line.data, behind, TIMES[: len(behind) + 1])
        told: list[ChangeSet | Failure] = []

        async def run(given: NodeTask) -> ChangeSet:
            self.given.append(given)
            told.append(outcome := self.work(given))
            if isinstance(outcome, Failure):
                raise ApplicationError("broken")
            return outcome

        played = asyncio.run(ActivityEnvironment().run(segments.play, [(task, segment)], run))
        self.together += len(played.ran) - 1
        for ran, own, outcome in zip(played.ran, self.given[-len(played.ran) :], told, strict=True):
            asked = self.pending[ran.address]
            assert timeless(own) == timeless(task_of(self.machine, asked, 0))
            assert ran.version == asked.line.version
            self.order.append(ran.address)
            self.tell(ran.address, outcome)

    def tell(self, address: str, outcome: ChangeSet | Failure) -> None:
        del self.pending[address]
        self.now += 1
        if isinstance(outcome, Failure):
            self.take(self.machine.failed(address, outcome, self.now))
        else:
            self.take(self.machine.succeeded(address, outcome, self.now))

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, CancelWork):
                if self.pending.pop(command.address, None) is not None:
                    self.take(self.machine.failed(command.address, cancelled(), self.now))
            elif isinstance(command, RunNode):
                self.pending[command.address] = command
            elif isinstance(command, AskConflict):
                choices = {each.path: each.candidates[0].value for each in command.conflicts}
                self.take(self.machine.choose(command.address, choices, self.now))
            elif not isinstance(command, Finish):
                assert command.address == YIELD
                self.take(self.machine.succeeded(YIELD, None, self.now))


def in_chains(case: Case) -> Case:
    """The case with more edges from each node to the next, fewer conditions, and nodes that read some keys or all."""

    def chance(what: str) -> int:
        return zlib.crc32(f"{case.salt} {what}".encode())

    def straight(name: str, node: Mapping[str, Any]) -> dict[str, Any]:
        keys = KEYS[chance(name) % len(KEYS)]
        leaf = {
            **python(),
            "on_failure": node["on_failure"],
            "compensate": node.get("compensate"),
            "join": node["join"],
        }
        return {**leaf, "reads": None if keys is None else list(keys)} if chance(name) % 6 else dict(node)

    names = list(case.graph["nodes"])
    kept = [each for each in case.graph["edges"] if chance(str(each)) % 8 == 0]
    known = {(each["from"], each["to"]) for each in kept}
    added = [edge(*pair) for pair in pairwise(names) if pair not in known and chance(str(pair)) % 6]
    nodes = {name: straight(name, node) for name, node in case.graph["nodes"].items()}
    return replace(case, graph={**case.graph, "nodes": nodes, "edges": [*kept, *added]})


@given(cases(joins=("any", "all"), fragile=True))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_a_run_with_segments_is_the_run_without(case: Case) -> None:
    case = in_chains(case)

    def work(task: NodeTask) -> ChangeSet | Failure:
        chosen = case.work_at(task.address)
        if isinstance(chosen, Failure):
            return chosen
        written: dict[Any, Json] = {}
        removed: dict[Any, None] = {}
        for each in chosen:
            changes = each.on(task.context.data)
            written |= changes.set
            removed |= dict.fromkeys(changes.removed)
        return ChangeSet(0, written, tuple(path for path in removed if path not in written))

    together = Player(case.machine(), work, longest=LONGEST)
    finish = together.run()
    alone = Player(case.machine(), work, order=list(together.order))
    ended = alone.run()
    assert ended == replace(finish, line=ended.line)
    assert alone.machine.context().data == finish.line.data
    assert alone.machine.state.trail.versions == together.machine.state.trail.versions
    assert [timeless(each) for each in alone.given] == [timeless(each) for each in together.given]
    event(f"{min(together.together, 3)} and more nodes behind another")


def put(*nodes: str) -> dict[str, Any]:
    """A chain of nodes."""
    return {"nodes": {name: python() for name in nodes}, "edges": [edge(*pair) for pair in pairwise(nodes)]}


async def played(
    graph: Mapping[str, Any], work: Callable[[NodeTask], Any], data: Mapping[str, Any] | None = None, **first: Any
) -> tuple[SegmentResult, list[str]]:
    """What the nodes behind the first one came to with it, and how far the machine says that it is sure of them."""
    machine = machine_of(graph, data or {})
    (command, *_) = machine.start(1)
    assert isinstance(command, RunNode)
    behind = list(followers(machine.state, command.address, lambda _: True))
    task = task_of(machine, command, 1)
    segment = replace(segment_of(task, command.line.data, behind, [30.0] * (len(behind) + 1)), **first)

    async def run(given: NodeTask) -> ChangeSet:
        found = work(given)
        changed: ChangeSet = await found if asyncio.iscoroutine(found) else found
        return changed

    result = await ActivityEnvironment().run(segments.play, [(task, segment)], run)
    return result, [command.address, *(each.address for each in behind)]


def changes(*paths: tuple[str, ...]) -> ChangeSet:
    return ChangeSet(0, dict.fromkeys(paths, 1))


def addresses(result: SegmentResult) -> list[str]:
    return [each.address for each in result.ran]


NOT_SURE: dict[str, dict[str, Any]] = {
    "a condition of the node": {"nodes": {"a": python(), "b": python(when="true")}, "edges": [edge("a", "b")]},
    "a condition of the edge": {**put("a", "b"), "edges": [edge("a", "b", when="true")]},
    "a failure edge": {**put("a", "b"), "edges": [edge("a", "b", outcome="failure")]},
    "two ways on": {**put("a", "b", "c"), "edges": [edge("a", "b"), edge("a", "c")]},
    "a join": {**put("a", "b", "c"), "edges": [edge("a", "b"), edge("c", "b")]},
    "a race": {**put("a", "b"), "nodes": {"a": python(), "b": python(join="first")}},
    "a schema of the context": {**put("a", "b"), "context": {"schema": {"type": "object"}}},
    "what handles an error": {**put("a", "b"), "edges": [edge("a", "b", outcome=["success", "failure"])]},
}


@pytest.mark.parametrize("graph", NOT_SURE.values(), ids=NOT_SURE)
async def test_nothing_follows_for_sure_what_the_run_has_to_judge(graph: dict[str, Any]) -> None:
    assert (await played(graph, lambda task: changes()))[1] == ["a"]


def test_nothing_follows_for_sure_in_a_run_that_starts_nothing_new_or_into_which_others_write() -> None:
    machine = machine_of(put("a", "b"))
    machine.start(1)
    assert [each.address for each in followers(machine.state, "a", lambda _: True)] == ["b"]
    machine.state.is_paused = True
    assert not list(followers(machine.state, "a", lambda _: True))
    machine.state.is_paused = False
    machine.write(ChangeSet(1, {("w",): 1}, by="service"), 2)
    assert not list(followers(machine.state, "a", lambda _: True))


WRITTEN: dict[str, tuple[ChangeSet, list[str]]] = {
    "new keys": (changes(("x",), ("y",)), ["a", "b"]),
    "nothing": (changes(), ["a", "b"]),
    "a key that did not cross": (changes(("far",)), ["a"]),
    "a part of an object": (changes(("o", "p")), ["a"]),
    "a name that is reserved": (changes(("run",)), ["a"]),
    "what is appended": (ChangeSet(0, {}, appended={("l",): [1]}), ["a"]),
    "much": (ChangeSet(0, {("x",): "x" * 40_000}), ["a"]),
}


@pytest.mark.parametrize(("written", "expected"), WRITTEN.values(), ids=WRITTEN)
async def test_a_segment_goes_on_while_it_is_clear_what_the_next_node_sees(
    written: ChangeSet, expected: list[str]
) -> None:
    result, sure = await played(put("a", "b"), lambda task: written, {"far": 0})
    assert sure == ["a", "b"]
    assert addresses(result) == expected


async def test_a_segment_starts_no_node_once_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_SECONDS", 0.0)
    assert addresses((await played(put("a", "b"), lambda task: changes()))[0]) == ["a"]


async def test_a_node_that_takes_too_long_fails_and_ends_its_segment() -> None:
    result, _ = await played(put("a", "b"), lambda task: asyncio.sleep(60), seconds=0.01)
    assert addresses(result) == ["a"]
    failed = failure_told(result.ran[0].failure or {})
    assert isinstance(failed, TimeoutError)
    assert failed.type is TimeoutType.START_TO_CLOSE


async def test_an_error_that_nobody_foresaw_is_told_with_where_it_was_raised() -> None:
    def broken(task: NodeTask) -> ChangeSet:
        raise KeyError("secret")

    result, _ = await played(put("a", "b"), broken)
    failed = failure_told(result.ran[0].failure or {})
    assert isinstance(failed, ApplicationError)
    assert (failed.type, failed.message, failed.non_retryable) == ("KeyError", "'secret'", False)
    assert "in broken" in str(failed.__cause__)


def test_an_error_is_the_same_when_it_is_made_of_data_again() -> None:
    error = ApplicationError(
        "no stock",
        {"left": 0},
        type="NO_STOCK",
        non_retryable=True,
        next_retry_delay=timedelta(seconds=3),
        category=ApplicationErrorCategory.BENIGN,
    )
    again = failure_told(told_failure(error))
    for name in ("message", "details", "type", "non_retryable", "next_retry_delay", "category"):
        assert getattr(again, name) == getattr(error, name)


def test_details_that_are_no_data_are_told_as_text() -> None:
    failed = failure_told(told_failure(ApplicationError("no", {1, 2})))
    assert isinstance(failed, ApplicationError)
    (detail,) = failed.details
    assert detail == "{1, 2}"
