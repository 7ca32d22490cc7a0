"""Whatever order completions arrive in, a run ends, ends the same, and loses no write that nobody superseded."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from anabranch.context.changes import ChangeSet, apply
from anabranch.context.values import MISSING, Json, Path, same, value_at
from anabranch.graph.model import Graph
from anabranch.graph.plan import plan_graph
from anabranch.workflows.interpreter.address import node_id
from anabranch.workflows.interpreter.commands import (
    YIELD,
    AskConflict,
    Failure,
    Finish,
    RunNode,
    StartChild,
    StartTimer,
    Yield,
)
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import describe_conflict
from tests.examples import examples
from tests.unit.machine_kit import NODES, RUN, Play, edge, failure, python, shuffled, timeout

FEW = settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
INPUT: dict[str, Json] = {"n": 1, "o": {"a": 1, "b": {"c": 1}}, "l": [1], "t": "x"}

STRATEGIES = ["last_write_wins", "higher_version_wins", "fail_on_conflict", "merge_all"]
POLICIES = [*STRATEGIES, "sum", "min", "max", "append", "union"]
PATHS: list[Path] = [("n",), ("l",), ("o",), ("o", "a"), ("o", "b"), ("o", "b", "c"), ("o", "b", "d"), ("new", "k")]
VALUES: list[Any] = [1, 2, [1], [2, 3], {}, {"a": 2}, {"b": {"d": 1}}, {"a": 1, "b": {"c": 2}}, None]
CONDITIONS = [None] * 12 + ["n == 1", "has(context.new)", "!has(context.new)", "has(context.o) && n > 0", "size(l) > 0"]


@dataclass(frozen=True)
class Edit:
    """A node's work: put a value at a path, or cut what is there, by rewriting the whole key as nodes do."""

    path: Path
    value: Any = None
    cut: bool = False

    def on(self, data: Mapping[str, Any]) -> ChangeSet:
        key = self.path[0]
        leaf = ChangeSet(0, {}, (self.path,)) if self.cut else ChangeSet(0, {self.path: self.value})
        changed = apply({key: data[key]} if key in data else {}, leaf)
        return ChangeSet(0, {(key,): changed[key]}) if key in changed else ChangeSet(0, {}, ((key,),))


Work = tuple[Edit, ...] | Failure
EDITS = st.builds(Edit, st.sampled_from(PATHS), st.sampled_from(VALUES), st.sampled_from([False, False, True]))
WORK = st.one_of(
    *[st.lists(EDITS, min_size=1, max_size=3).map(tuple)] * 5,
    st.sampled_from([(), failure(), timeout()]),
)


@dataclass(frozen=True)
class Case:
    graph: dict[str, Any]
    work: dict[str, Work]
    """By the id of the leaf node: in a `foreach` the items do the same work."""
    salt: int

    def machine(self, budget: int = NODES) -> Machine:
        library = {"sub": Graph.model_validate({"name": "sub", **BODY})}
        return Machine(
            RunState(
                plan_graph(Graph.model_validate({"name": "g", **self.graph}), library),
                INPUT,
                run=RUN,
                task_nodes=budget,
            )
        )

    def time_of(self, address: str) -> int:
        """Fixed for each address. A composite node writes when its last item ends: with one, all is a tie."""
        if any(node["type"] in {"block", "foreach", "graph", "while"} for node in self.graph["nodes"].values()):
            return 1000
        return 1000 + zlib.crc32(f"{self.salt} {address}".encode()) % 40

    def work_at(self, address: str) -> Work:
        return self.work[node_id(address.rpartition("/")[2].removeprefix("undo "))]


BODY = {"nodes": {"p": python(on_failure="continue"), "q": python(on_failure="continue")}}
LINE = {**BODY, "edges": [edge("p", "q", when="n == 1")]}
COMPOSITES: list[dict[str, Any]] = [
    {"type": "graph", "graph": "sub"},
    {"type": "foreach", "items": "[1, 2, 3]", "body": BODY},
    {"type": "foreach", "items": "[1, 2]", "body": LINE, "max_concurrency": 1},
    {"type": "foreach", "items": "[5, 6]", "body": BODY, "collect": {"into": "l", "value": "item"}},
    {"type": "while", "while": "index < 2", "body": LINE},
    {"type": "block", **LINE},
]
FALLBACK = {"use": {"n": 3, "t": "{{ error.type }}"}}


@st.composite
def nodes(draw: st.DrawFn, joins: Sequence[str | int], fragile: bool) -> dict[str, Any]:
    leaf = python()
    body = draw(st.sampled_from([leaf, leaf, leaf, leaf, *COMPOSITES]))
    undo = {"compensate": python()} if fragile and draw(st.booleans()) else {}
    return {
        **body,
        **undo,
        "on_failure": draw(st.sampled_from(["fail", "continue", FALLBACK] if fragile else ["continue", FALLBACK])),
        "join": draw(st.sampled_from(joins)),
        "when": draw(st.sampled_from(CONDITIONS)),
    }


@st.composite
def edges(draw: st.DrawFn, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """At most one `otherwise` for each source, anywhere among its edges."""
    several = [("failure", "timeout"), ("success", "failure"), ("success", "timeout")]
    outcomes = st.sampled_from(["success", "success", "success", "always", "failure", "timeout", *several])
    drawn = [edge(a, b, outcome=draw(outcomes), when=draw(st.sampled_from(CONDITIONS))) for a, b in pairs]
    for source in {a: None for a, _ in pairs}:
        leaving = [index for index, each in enumerate(drawn) if each["from"] == source]
        if len(leaving) > 1 and draw(st.integers(0, 3)) == 0:
            chosen = draw(st.sampled_from(leaving))
            drawn[chosen] = edge(source, drawn[chosen]["to"], otherwise=True)
    return drawn


@st.composite
def cases(draw: st.DrawFn, joins: Sequence[str | int] = ("any", "any", "all"), fragile: bool = False) -> Case:
    """A graph and what its nodes do. `fragile` ones may fail the run, and undo it."""
    names = [f"n{index}" for index in range(draw(st.integers(3, 7)))]
    pairs = [(a, b) for index, a in enumerate(names) for b in names[index + 1 :]]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=10))
    merge = draw(st.dictionaries(st.sampled_from(["n", "l", "o", "o.a", "o.b"]), st.sampled_from(POLICIES), max_size=3))
    graph = {
        "nodes": {name: draw(nodes(joins, fragile)) for name in names},
        "edges": draw(edges(chosen)),
        "context": {"conflict_resolution": draw(st.sampled_from(STRATEGIES)), "merge": merge},
    }
    return Case(graph, {name: draw(WORK) for name in [*names, "p", "q"]}, draw(st.integers(0, 1000)))


def perform(work: Sequence[Edit], command: RunNode) -> ChangeSet:
    """What a node comes to that does this work on its context."""
    data: Mapping[str, Any] = command.line.data
    keys = dict.fromkeys(each.path[0] for each in work)
    for each in work:
        data = apply(data, each.on(data))
    removed = tuple((key,) for key in keys if key not in data)
    return ChangeSet(command.line.version, {(key,): data[key] for key in keys if key in data}, removed)


class Run(Play):
    """Plays a case in the order of `seed`; a question about a conflict is answered alike whichever write was first."""

    def __init__(self, case: Case, seed: int, cancel_after: int | None = None, budget: int = NODES) -> None:
        super().__init__(case.machine(budget), pick=shuffled(seed))
        self.case = case
        self.cancel_after = cancel_after
        self.yields = 0
        self.finished: Finish = self.run()

    def answer(self, address: str) -> None:
        if self.cancel_after is not None:
            if self.cancel_after == 0:
                self.take(self.machine.cancel("enough", self.case.time_of(address)))
            self.cancel_after -= 1
            if address not in self.pending:
                return
        command = self.pending.pop(address)
        at = self.case.time_of(address)
        if isinstance(command, AskConflict):
            choices = {
                each.path: min((candidate.value for candidate in each.candidates), key=repr)
                for each in command.conflicts
                if not each.settled
            }
            self.take(self.machine.choose(address, choices, at))
            return
        if isinstance(command, Yield):
            self.yields += 1
            self.take(self.machine.succeeded(address, None, at))
            return
        if isinstance(command, StartTimer):
            self.take(self.machine.succeeded(address, None, at))
            return
        work = self.case.work_at(address)
        if isinstance(command, StartChild) and not isinstance(work, Failure):
            self.take(self.machine.succeeded(address, dict(command.data), at))
            return
        assert isinstance(command, RunNode | StartChild)
        if isinstance(work, Failure):
            self.take(self.machine.failed(address, work, at))
        elif isinstance(command, RunNode):
            self.take(self.machine.succeeded(address, perform(work, command), at))

    def status_of(self, name: str) -> Status:
        return self.state.root.nodes[name].status

    @property
    def outcome(self) -> dict[str, Any]:
        """What must not depend on the order."""
        if self.finished.failure is not None:
            return {"failed": True}
        found = [(entry.by, describe_conflict(each)) for entry in self.state.trail.versions for each in entry.conflicts]
        return {
            "data": self.finished.line.data,
            "version": self.finished.line.version,
            "nodes": {name: run.status.value for name, run in self.state.root.nodes.items()},
            "conflicts": sorted(json.dumps(each, sort_keys=True) for each in found),
        }


@FEW
@given(cases(), st.lists(st.integers(0, 10_000), min_size=2, max_size=3))
def test_data_version_states_and_conflicts_do_not_depend_on_the_order_of_completion(
    case: Case, seeds: list[int]
) -> None:
    first, *others = [Run(case, seed).outcome for seed in seeds]
    event(f"conflicts: {len(first.get('conflicts', []))}, failed: {'failed' in first}")
    for other in others:
        assert other == first


@FEW
@given(cases(), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 1000)), min_size=2, max_size=3))
def test_without_last_write_wins_the_result_does_not_depend_on_when_a_node_completes(
    case: Case, plays: list[tuple[int, int]]
) -> None:
    spec = case.graph["context"]
    clockless = {
        "conflict_resolution": spec["conflict_resolution"].replace("last_write_wins", "higher_version_wins"),
        "merge": {path: policy.replace("last_write_wins", "merge_all") for path, policy in spec["merge"].items()},
    }
    graph = {**case.graph, "context": clockless}
    results = [Run(Case(graph, case.work, salt), seed).outcome for seed, salt in plays]
    for each in results:
        each.pop("conflicts", None)  # they tell when each candidate was written
        assert each == results[0]


@FEW
@given(cases(), st.integers(0, 10_000), st.integers(1, 6))
def test_a_run_that_yields_again_and_again_ends_the_same(case: Case, seed: int, budget: int) -> None:
    plain, yielding = Run(case, seed), Run(case, seed, budget=budget)
    event(f"yields: {yielding.yields}")
    assert yielding.outcome == plain.outcome


@FEW
@given(cases(joins=["any", "any", "all", "first", 2]), st.integers(0, 10_000))
def test_no_write_is_lost_in_silence(case: Case, seed: int) -> None:
    """It is in the data, or a descendant superseded it, or the audit trail has a conflict there."""
    run = Run(case, seed)
    if run.finished.failure is None:
        lost = [(by, path) for by, path, value in writes(run) if not survives(run, by, path, value)]
        assert lost == []


def writes(run: Run) -> Iterator[tuple[str, Path, Any]]:
    """By each node of the graph; where it failed for its edges after it had written, its fallback alone."""
    wrote = {each.by: each for each in run.state.trail.versions if each.kind in {"node", "fallback"}}
    for version in wrote.values():
        if version.by in run.state.root.nodes:
            yield from ((version.by, path, value) for path, value in version.changes.set.items())
            yield from ((version.by, path, MISSING) for path in version.changes.removed)


def survives(run: Run, by: str, path: Path, value: Any) -> bool:
    final = value_at(run.finished.line.data, path)
    if same(final, value) or (value == {} and isinstance(final, dict)):
        return True
    if any(overlap(path, other) and by in ancestors(run, name) for name, other, _ in writes(run)):
        return True
    return any(overlap(path, conflict.path) for conflict in run.state.trail.settled)


def overlap(one: Path, other: Path) -> bool:
    short = min(len(one), len(other))
    return one[:short] == other[:short]


def ancestors(run: Run, name: str) -> set[str]:
    """By the edges that were taken: what the lines of descent must agree with."""
    node = run.state.root.nodes[name]
    taken = node.taken[: node.planned.fires_at]
    parents = {each.edge.source for each in taken}
    return parents.union(*(ancestors(run, parent) for parent in parents))


@FEW
@given(
    cases(joins=["any", "all", "first", 2], fragile=True),
    st.integers(0, 10_000),
    st.none() | st.integers(0, 12),
    st.sampled_from([1, 2, 5, NODES]),
)
def test_every_run_ends_with_nothing_left_behind(case: Case, seed: int, cancel_after: int | None, budget: int) -> None:
    run = Run(case, seed, cancel_after, budget)
    machine = run.machine
    run.pending.pop(YIELD, None)
    assert (run.pending, machine.state.work, machine.state.paused_nodes, machine.state.bodies) == ({}, {}, {}, {})
    if run.finished.failure is None:
        lost = {name for name in machine.state.root.lost if run.status_of(name) is Status.CANCELLED}
        assert {run.status_of(name) for name in machine.state.root.nodes if name not in lost} <= {
            *(Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.SKIPPED),
        }
    else:
        undone = [address.removeprefix("undo ") for address in run.ran if address.startswith("undo ")]
        assert sorted(undone) == sorted({*run.finished.compensated, *run.finished.not_compensated})
