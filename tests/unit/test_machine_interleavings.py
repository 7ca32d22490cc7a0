"""Whatever happens to a run, and whenever: it ends, leaves nothing behind, and undoes exactly what has happened.

Here nothing is polite: what is cancelled may succeed all the same, the run is paused, drained, carried, written to and
cancelled between any two answers, and operators decide as they like.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.address import attempt_address, inside, inside_attempt
from anabranch.workflows.interpreter.commands import (
    DEADLINE,
    YIELD,
    AskConflict,
    CancelWork,
    Command,
    EventCame,
    Failure,
    Finish,
    RunNode,
    Work,
    Yield,
)
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.saga import StepState
from anabranch.workflows.interpreter.state import RunState
from tests.examples import examples
from tests.unit.machine_kit import NODES, RUN, cancelled, edge, python
from tests.unit.test_machine_properties import WORK, Case, cases, perform

MANY = settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
WEIGHTS = {"hold": 2, "resume": 3, "drain": 3, "write": 2, "cancel": 1}
PAUSES = st.sampled_from(["fail", "continue", "pause"])
STEP = python(compensate=python())
"""Body nodes have compensations of their own, or none."""


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    nodes = {name: {**draw(st.sampled_from([python(), STEP])), "on_failure": draw(PAUSES)} for name in "pq"}
    edges = [edge("p", "q")] if draw(st.booleans()) else []
    return {"nodes": nodes, "edges": edges}


def body_of(node: dict[str, Any]) -> dict[str, Any]:
    """Where the nodes of a composite are."""
    if node["type"] == "block":
        return node
    node["body"] = dict(node["body"])
    body: dict[str, Any] = node["body"]
    return body


@st.composite
def rough_cases(draw: st.DrawFn) -> Case:
    case = draw(cases(joins=["any", "any", "all", "first", 2], fragile=True))
    for name, node in case.graph["nodes"].items():
        kept = {key: node[key] for key in ("on_failure", "join", "when", "compensate") if key in node}
        if node["type"] in {"block", "foreach", "while"}:
            body_of(node).update(draw(bodies()))
            if draw(st.booleans()):
                node["timeout"] = "1s"
            if draw(st.booleans()):
                node["retry"] = {"max_attempts": draw(st.integers(1, 3)), "initial_interval": "1s"}
        elif node["type"] == "python" and draw(st.integers(0, 5)) == 0:
            kept.pop("compensate", None)
            waits = [{"type": "wait", "for": "1s"}, {"type": "approval", "prompt": "Yes?"}]
            case.graph["nodes"][name] = {**draw(st.sampled_from(waits)), **kept}
        if draw(st.booleans()):
            case.graph["nodes"][name]["on_failure"] = "pause"
    parallel, pauses = draw(st.booleans()), draw(st.booleans())
    case.graph["saga"] = {
        "compensation": "parallel" if parallel else "sequential",
        "on_compensation_failure": "pause" if pauses else "report",
    }
    return case


@dataclass
class Rough:
    """Plays a case with everything that can happen to it. `chances` bounds how often something unasked for happens."""

    case: Case
    seed: int
    chances: int
    budget: int
    machine: Machine = field(init=False)
    pending: dict[str, Work | Yield] = field(default_factory=dict)
    cancelling: set[str] = field(default_factory=set)
    happened: list[str] = field(default_factory=list)
    """Addresses of activities that did something, or may have, in the order of their answers."""
    undone: list[str] = field(default_factory=list)
    undone_with: dict[str, list[str]] = field(default_factory=dict)
    """What was undone, by the attempt with which it was; `""` is the run itself."""
    before_attempt: dict[tuple[str, int], tuple[set[str], set[str]]] = field(default_factory=dict)
    """What was undone, and what could not be, when an attempt of a node of the graph started."""
    retried: set[str] = field(default_factory=set)
    operating: bool = False
    """An operator has a node tried again, now."""
    carried: int = 0
    begun: list[str] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    now: int = 1_000

    @property
    def state(self) -> RunState:
        return self.machine.state

    def run(self) -> Rough:
        self.random = random.Random(self.seed)
        self.machine = self.case.machine(self.budget)
        self.take(self.machine.start(self.now))
        while not self.finishes:
            self.now += 1
            if self.chances and self.random.random() < 0.4:
                self.chances -= 1
                getattr(self, self.random.choices([*WEIGHTS], [*WEIGHTS.values()])[0])()
            elif self.pending:
                self.answer(self.random.choice(list(self.pending)))
            elif (stopped := self.state.waiting_for_operator) and self.random.random() < 0.8:
                self.operate(self.random.choice(stopped))
            else:
                assert stopped or self.state.is_paused or self.state.is_draining, "the machine waits for nothing"
                self.resume()
            if not self.finishes:
                self.carry_on()
        return self

    # what happens

    def hold(self) -> None:
        self.state.is_paused = True
        self.take(self.machine.resume(self.now))

    def resume(self) -> None:
        self.state.is_paused = self.state.is_draining = False
        self.take(self.machine.resume(self.now))

    def drain(self) -> None:
        self.state.is_draining = self.state.failure is None and self.state.ending is None

    def cancel(self) -> None:
        self.take(self.machine.cancel("enough", self.now))

    def write(self) -> None:
        if self.state.ending is not None:  # it is refused then
            return
        writes: list[tuple[str, Json]] = [("n", 7), ("l", [9]), ("o", {"a": 5}), ("t", "y")]
        path, value = self.random.choice(writes)
        base = self.random.randint(1, self.state.trail.count)
        changes = ChangeSet(base, {(path,): value}, by="crm")
        try:
            self.machine.check_write(changes)
        except AnabranchError:
            return
        self.machine.write(changes, self.now)
        self.take(self.machine.resume(self.now))

    def operate(self, address: str) -> None:
        machine, what = self.machine, self.random.choice(["retry", "skip", "give_up"])
        self.retried.add(address)
        edits = self.random.choice([None, ChangeSet(0, {("n",): self.now}, by="ada")])
        if what == "retry":
            self.operating = True
            self.take(machine.retry(address, edits, self.now))
            self.operating = False
        elif what == "skip":
            if address in self.happened:  # or may have; now it counts as done
                self.happened.append(address)
            self.take(machine.skip(address, edits, self.now))
        else:
            self.take(machine.give_up(address, self.now))

    def carry_on(self) -> None:
        """Continue as new, where the workflow would."""
        state = self.state
        if state.is_draining and state.failure is None and not state.under_way:
            self.carried += 1
            fresh = RunState(state.plan, {}, run=RUN, task_nodes=self.budget)
            snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(state))))
            self.machine = Machine(fresh)
            self.pending.clear()
            self.take(self.machine.resume_from_snapshot(self.now))

    def answer(self, address: str) -> None:
        command = self.pending.pop(address)
        late = address in self.cancelling
        self.cancelling.discard(address)
        if isinstance(command, AskConflict) and not late:
            chosen = {each.path: each.candidates[0].value for each in command.conflicts if not each.settled}
            self.take(self.machine.choose(address, chosen, self.now))
        elif isinstance(command, AskConflict) or (late and self.random.random() < 0.5):
            self.fail(address, command, cancelled())
        elif isinstance(command, RunNode):
            self.work(address, command)
        else:
            self.take(self.machine.succeeded(address, None, self.now))

    def work(self, address: str, command: RunNode) -> None:
        work = self.case.work_at(address)
        if isinstance(work, Failure) and "~" in address and self.random.random() < 0.5:
            work = ()
        if isinstance(work, Failure):
            self.fail(address, command, replace(work, code=work.code.replace("NODE_FAILED", "BROKEN")))
            return
        self.note(address)
        self.take(self.machine.succeeded(address, perform(work, command), self.now))

    def fail(self, address: str, command: Work | Yield, failure: Failure) -> None:
        if isinstance(command, RunNode) and failure.unknown:
            self.note(address)
        self.take(self.machine.failed(address, failure, self.now))

    def note(self, address: str) -> None:
        if not address.startswith("undo "):
            self.happened.append(address)

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            assert not self.finishes, "the run was over"
            if isinstance(command, Finish):
                self.finishes.append(command)
            elif isinstance(command, CancelWork):
                assert command.address in self.pending
                self.cancelling.add(command.address)
            elif not isinstance(command, EventCame):
                self.begin(command)
        if self.state.failure is not None and YIELD not in self.pending:
            assert all(each.startswith("undo ") or each in self.cancelling for each in self.pending)
        for rollback in self.state.rollbacks.values():
            around = tuple(f"{rollback.attempt}{mark}" for mark in "/[")
            assert not any(each.startswith(around) for each in self.pending), "the attempt is over"

    def begin(self, work: Work | Yield) -> None:
        if isinstance(work, AskConflict) and isinstance(self.pending.get(work.address), AskConflict):
            self.pending[work.address] = work  # a write from outside changed the question
            return
        assert work.address not in self.pending, "it runs already"
        assert YIELD not in self.pending or self.operating, "nothing new starts"
        if work.address.startswith("undo "):
            assert self.state.failure is not None or self.state.rollbacks
            assert work.address not in self.undone or work.address in self.retried
            self.undone.append(work.address)
            address = work.address.removeprefix("undo ")
            attempts = (each.attempt for each in self.state.rollbacks.values())
            attempt = next((each for each in attempts if inside_attempt(address, each)), "")
            self.undone_with.setdefault(attempt, []).append(address)
        elif isinstance(work, RunNode):
            held_back = self.state.is_paused or self.state.is_draining
            assert self.operating or not held_back, "nothing new starts"
        if "~" in work.address and not work.address.startswith("undo "):
            self.note_attempt(work.address)
        self.begun.append(work.address)
        self.pending[work.address] = work

    def note_attempt(self, address: str) -> None:
        name, _, rest = address.partition("~")
        attempt = int(rest.partition("[")[0].partition("/")[0])
        saga = self.state.saga
        failed = {each for each in saga.in_state(StepState.FAILED) if inside(each, name)}
        self.before_attempt.setdefault((name, attempt), ({*saga.undone}, failed))

    @property
    def attempts(self) -> int:
        return max((attempt for _, attempt in self.before_attempt), default=1)


BUDGETS = st.sampled_from([NODES, NODES, 1, 2, 3, 5])
ROUGH = st.builds(Rough, rough_cases(), st.integers(0, 100_000), st.integers(0, 8), BUDGETS)


@MANY
@given(ROUGH)
def test_a_run_ends_whatever_happens_to_it_and_leaves_nothing_behind(run: Rough) -> None:
    run.run()
    machine = run.machine
    event(f"failed: {machine.state.failure is not None}, carried: {run.carried > 0}, undone: {bool(run.undone)}")
    run.pending.pop(YIELD, None)
    (finish,) = run.finishes
    assert (machine.state.paused_nodes, machine.state.bodies, machine.state.scopes) == ({}, {}, {})
    assert machine.state.rollbacks == {}
    left = [each for each in run.pending if not each.startswith(DEADLINE)]
    assert list(machine.state.work) == left
    assert finish.failure is None or left == []
    assert run.cancelling == {*run.pending}, "only what lost a race, and timers, are left, and they are cancelled"
    assert all(each.status.final for each in machine.state.root.nodes.values())
    assert left_of_failed_blocks(run) == set()
    if finish.failure is not None:
        states = {step.state for step in machine.state.saga.steps.values()}
        assert states <= {StepState.COMPENSATED, StepState.FAILED}


def left_of_failed_blocks(run: Rough) -> set[str]:
    """Steps of blocks that failed in a run that completed, which were not undone, and whose undoing did not fail."""
    saga, root = run.machine.state.saga, run.machine.state.root
    over = {Status.FAILED, Status.TIMED_OUT}
    failed = [
        name
        for name, node in root.nodes.items()
        if node.planned.node.type == "block" and node.status in over and name not in root.lost
    ]
    event(f"blocks that failed: {len(failed)}")
    if run.finishes[0].failure is not None:
        return set()
    of_them = tuple(f"{name}{mark}" for name in failed for mark in "/~")
    return {each for each in saga.steps if each.startswith(of_them)} - {*saga.in_state(StepState.FAILED)}


@MANY
@given(ROUGH)
def test_exactly_what_has_happened_is_undone(run: Rough) -> None:
    run.run()
    (finish,) = run.finishes
    reported = {*finish.compensated, *finish.not_compensated}
    if finish.failure is None:
        assert reported == set()
        return
    for name, node in run.case.graph["nodes"].items():
        if node["type"] == "python":
            assert (name in reported) == (name in run.happened and "compensate" in node)
        elif node["type"] in {"block", "foreach", "while"} and "compensate" not in node:
            of_it = (f"{name}[", f"{name}~", f"{name}/")  # in any attempt
            inner = {each for each in run.happened if each.startswith(of_it)}
            steps = {each for each in inner if "compensate" in body_of(node)["nodes"][each.rpartition("/")[2]]}
            assert {each for each in reported if each.startswith(of_it)} == steps


@MANY
@given(ROUGH)
def test_steps_are_undone_in_reverse_of_the_order_in_which_they_happened(run: Rough) -> None:
    run.case.graph["saga"]["compensation"] = "sequential"
    run.run()
    latest = {address: index for index, address in enumerate(run.happened)}
    for undone in run.undone_with.values():
        order = [latest[address] for address in dict.fromkeys(undone) if address in latest]
        assert order == sorted(order, reverse=True)


@MANY
@given(ROUGH)
def test_no_attempt_starts_before_all_of_the_one_before_is_undone(run: Rough) -> None:
    run.run()
    event(f"attempts: {run.attempts}")
    for (name, attempt), (undone, failed) in run.before_attempt.items():
        node, before = run.case.graph["nodes"][name], attempt_address(name, attempt - 1)
        body = body_of(node)["nodes"]
        steps = {each for each in run.happened if each.startswith((f"{before}[", f"{before}/"))}
        if before not in undone | failed:  # by its own compensation
            assert {each for each in steps if "compensate" in body[each.rpartition("/")[2]]} <= undone | failed
        assert failed == set() or name in run.retried


@st.composite
def last_cases(draw: st.DrawFn) -> Case:
    """A case with a `finally`, in which nothing has a compensation."""
    case = draw(rough_cases())
    body = {"nodes": {name: python(on_failure=draw(PAUSES)) for name in "pq"}, "edges": [edge("p", "q")]}
    block, loop = {"type": "block", **body}, {"type": "foreach", "items": "[1, 2]", "body": body}
    between = {**draw(st.sampled_from([python(), block, loop])), "on_failure": draw(PAUSES)}
    if between["type"] != "python" and draw(st.booleans()):
        between["retry"] = {"max_attempts": 2, "initial_interval": "1s"}
    nodes = {"p": python(on_failure=draw(PAUSES)), "x": between, "q": python(when="outcome.status == 'failed'")}
    pairs = [("p", "x"), ("p", "q"), ("x", "q")]
    edges = [edge(*pair, outcome=draw(st.sampled_from(["success", "always"]))) for pair in pairs if draw(st.booleans())]
    case.graph["finally"] = {"nodes": nodes, "edges": edges}
    if draw(st.booleans()):
        case.graph["finally"]["timeout"] = "5s"
    case.work["x"] = draw(WORK)
    return case


@MANY
@given(st.builds(Rough, last_cases(), st.integers(0, 100_000), st.integers(0, 8), BUDGETS))
def test_a_finally_runs_once_and_last_whatever_happens_and_leaves_nothing_behind(run: Rough) -> None:
    run.run()
    (finish,) = run.finishes
    state = run.machine.state
    assert finish.afterwards is not None
    event(f"{finish.status}, the finally failed: {finish.afterwards.failure is not None}")
    under_way = (state.work, state.paused_nodes, state.bodies, state.scopes, state.rollbacks, state.aborts)
    assert under_way == ({}, {}, {}, {}, {}, {})
    run.pending.pop(YIELD, None)
    assert {*run.pending} <= run.cancelling
    assert all(each.status.final for scope in (state.main, state.root) for each in scope.nodes.values())
    begun = [each for each in run.begun if each != YIELD and not each.startswith(DEADLINE)]
    last = [each for each in begun if each.startswith("finally/")]
    assert begun[len(begun) - len(last) :] == last
    assert state.root.roots["outcome"] == {
        "status": finish.status,
        "error": None if finish.failure is None else finish.failure.root(),
        "compensated": [*finish.compensated],
        "not_compensated": [*finish.not_compensated],
    }
    assert views.run_status(state) == finish.status
