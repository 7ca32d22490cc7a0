"""What is said to a machine that runs in virtual time, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, Missing, Path
from anabranch.graph.plan_node import PlanNode
from anabranch.workflows.interpreter.commands import Failure, Finish, Work
from anabranch.workflows.interpreter.event import Event


@dataclass(frozen=True, slots=True)
class Done:
    """The work succeeds after `seconds`: with a node's changes, a person's answer, a child's data."""

    result: ChangeSet | Json = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The work fails after `seconds`."""

    failure: Failure
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """Every conflict at a join is settled after `seconds`."""

    choices: Mapping[Path, Json | Missing]
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrived:
    """These events come after `seconds`, for a node that waits for them."""

    events: tuple[Event, ...]
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Said:
    """One of several people answers an approval after `seconds`."""

    by: str
    answer: Json
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Heard:
    """These people answer an approval, each at a time; where they are too few it waits until its time is up."""

    answers: tuple[Said, ...]


Answer: TypeAlias = Done | Failed | Chosen


AnswerOf: TypeAlias = Callable[[Work], Answer | Arrived | Heard]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A node that the machine itself carried out, `fail` or `stop`: nobody was asked."""

    address: str
    planned: PlanNode


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One piece of work: when it started and ended (Unix milliseconds), and its answer."""

    work: Work | Evaluated
    started: int
    ended: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class DryRun:
    """What happened, in the order of the answers. `finish` is None if paused nodes wait for an operator."""

    timeline: tuple[TimelineEntry, ...]
    finish: Finish | None
