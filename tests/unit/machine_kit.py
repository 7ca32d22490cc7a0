"""Drives the machine without a server: outcomes by address, in any order of arrival."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.graph.model import Graph
from anabranch.graph.plan import plan_graph
from anabranch.limits import RUN_LIMITS
from anabranch.workflows.interpreter.commands import (
    AskConflict,
    AskPerson,
    CancelWork,
    Command,
    EventCame,
    Failure,
    Finish,
    RunNode,
    StartChild,
    StartTimer,
    Yield,
)
from anabranch.workflows.interpreter.event import Event
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState

Outcome = Mapping[str, Any] | Failure
NODES = RUN_LIMITS.task_nodes
RUN: dict[str, Json] = {"id": "run-1", "session_id": "order-1", "graph": "g", "attempt": 1}


def python(*, reads: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """A leaf node whose outcome the test gives."""
    return {"type": "python", "handler": "h", "reads": reads, **fields}


def edge(source: str, target: str, **fields: Any) -> dict[str, Any]:
    return {"from": source, "to": target, **fields}


def machine_of(
    graph: Mapping[str, Any], data: Mapping[str, Any] | None = None, *, budget: int = NODES, **library: Any
) -> Machine:
    named = {"name": "g", **graph}
    parsed = {name: Graph.model_validate(each) for name, each in library.items()}
    plan = plan_graph(Graph.model_validate(named), parsed)
    return Machine(RunState(plan, data or {}, run=RUN, task_nodes=budget))


@dataclass
class Play:
    """Plays a run to its end. `script` gives a node's outcome: keys that it sets, or a failure; else nothing."""

    machine: Machine
    script: Mapping[str, Outcome | Callable[[RunNode], Outcome]] = field(default_factory=dict)
    times: Mapping[str, int] = field(default_factory=dict)
    pick: Callable[[list[str]], str] = lambda pending: pending[0]
    ran: list[str] = field(default_factory=list)
    seen: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    pending: dict[str, Command] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    now: int = 1_000

    @property
    def state(self) -> RunState:
        return self.machine.state

    def start(self) -> Play:
        self.take(self.machine.start(self.now))
        return self

    def run(self) -> Finish:
        self.start()
        return self.finish()

    def finish(self) -> Finish:
        while self.state.finished is None:
            assert self.pending, "the machine waits for nothing"
            self.answer(self.pick(list(self.pending)))
        return self.state.finished

    def answer(self, address: str) -> None:
        command = self.pending.pop(address)
        outcome = self.script.get(address, {})
        if callable(outcome):
            assert isinstance(command, RunNode)
            outcome = outcome(command)
        self.now += 1
        at = self.times.get(address, self.now)
        if isinstance(outcome, Failure):
            self.take(self.machine.failed(address, outcome, at))
        elif isinstance(command, RunNode):
            self.take(self.machine.succeeded(address, changes(**outcome), at))
        elif isinstance(command, StartTimer | Yield):
            self.take(self.machine.succeeded(address, None, at))
        elif isinstance(command, AskPerson | StartChild):
            self.take(self.machine.succeeded(address, dict(outcome), at))
        else:
            pytest.fail(f"answer {address} with machine.choose")

    def send(
        self,
        name: str,
        data: Json = None,
        *,
        id: str | None = None,  # noqa: A002 - as a signal has it
        by: str | None = None,
    ) -> None:
        self.now += 1
        try:
            self.take(self.machine.hear(Event(name, id, data, by), self.now))
        except AnabranchError as error:
            self.machine.refuse_event(error)

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, CancelWork):
                self.cancelled.append(command.address)
                self.pending.pop(command.address, None)
                self.now += 1
                self.take(self.machine.failed(command.address, cancelled(), self.now))
            elif isinstance(command, EventCame):
                del self.pending[command.address]
                self.now += 1
                self.take(self.machine.succeeded(command.address, command.result, self.now))
            elif not isinstance(command, Finish):
                if not isinstance(command, Yield):
                    self.ran.append(command.address)
                self.pending[command.address] = command
                if isinstance(command, RunNode):
                    self.seen[command.address] = command.line.data


def changes(**keys: Any) -> ChangeSet:
    return ChangeSet(base_version=0, set={(key,): value for key, value in keys.items()})


def failure(code: str = "NODE_FAILED") -> Failure:
    return Failure("failure", code, "it broke")


def timeout() -> Failure:
    return Failure("timeout", "TIMEOUT", "no answer")


def cancelled() -> Failure:
    return Failure("cancelled", "CANCELLED", "cancelled")


def shuffled(seed: int) -> Callable[[list[str]], str]:
    return random.Random(seed).choice


__all__ = [
    "AskConflict",
    "Play",
    "cancelled",
    "changes",
    "edge",
    "failure",
    "machine_of",
    "python",
    "shuffled",
    "timeout",
]
