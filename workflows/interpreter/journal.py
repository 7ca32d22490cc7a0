"""The journal of a run: what its machine was told, in order. Told again, a fresh machine comes to the same state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from anabranch.context.changes import ChangeSet
from anabranch.context.values import MISSING, Json, Missing, Path
from anabranch.errors import AnabranchError, ConflictError
from anabranch.workflows.interpreter.commands import YIELD
from anabranch.workflows.interpreter.event import Event as Sent
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.saga import COMPENSATION, StepState
from anabranch.workflows.interpreter.snapshot import dump_failure, load_failure
from anabranch.workflows.interpreter.state import RunState

Event: TypeAlias = Literal[
    "succeeded", "failed", "choose", "write", "hear", "retry", "skip", "give_up", "resume", "hold", "release"
]
_EVENTS: Final[tuple[str, ...]] = get_args(Event)
Wire: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a machine was told once: one of its event methods, with what it was given."""

    event: Event
    address: str
    given: Any
    """The result, the failure, the choices, the changes; of `resume`, whether the run is paused; of `hold`, names."""
    at: int
    """Unix milliseconds."""
    versions: int = 0
    """How many versions the context had."""
    by: str | None = None
    """Who answered, where that was a person with a name."""

    def to_wire(self) -> Wire:
        """As a positional array."""
        by = [] if self.by is None else [self.by]
        return [self.event, self.address, _dump(self.event, self.given), self.at, self.versions, *by]

    @classmethod
    def from_wire(cls, wire: Wire) -> Entry:
        """From the array of `to_wire`."""
        event, address, given, at, versions, *by = wire
        return cls(event, address, _load(event, given), at, versions, *by)


class Journal:
    """Notes what one machine is told."""

    def __init__(self) -> None:
        self.machine: Machine | None = None
        self.data: Mapping[str, Json] = {}
        """What the run was started with."""
        self.began = 0
        """When, in Unix milliseconds."""
        self.is_continued = False
        """Whether another workflow run had begun it."""
        self.entries: list[Entry] = []
        self.late: list[Entry] = []
        """What came once the run had failed, was cancelled, or its own nodes had ended."""
        self.is_ended = False
        """Whether it failed by the last of the entries."""

    def follow(self, machine: Machine, *, is_continued: bool = False) -> None:
        """Note what a machine is told from now on."""
        self.machine, self.is_continued, self.data = machine, is_continued, machine.state.root.base.data
        noting: dict[str, Callable[..., Any]] = {"start": self._beginning(machine.start)}
        for name in _EVENTS:
            if (act := getattr(machine, name, None)) is not None:
                noting[name] = self._noting(machine.state, cast("Event", name), act)
        for name, noted in noting.items():
            setattr(machine, name, noted)

    def copy(self) -> Journal:
        """The same, which notes nothing any more."""
        copied = copy(self)
        copied.entries, copied.late = [*self.entries], [*self.late]
        return copied

    def _beginning(self, start: Callable[[int], Any]) -> Callable[[int], Any]:
        def begun(at: int) -> Any:
            self.began = at
            return start(at)

        return begun

    def _noting(self, state: RunState, event: Event, act: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any) -> Any:
            was_over = _is_over(state)
            entries = self.late if was_over else self.entries
            is_told = given[0] != YIELD
            if is_told:
                entries.append(_noted(event, given, state))
            try:
                answer = act(*given)
            except AnabranchError:  # a write that is refused
                if is_told:
                    entries.pop()
                raise
            self.is_ended = self.is_ended or (not was_over and state.failure is not None)
            return answer

        return noted


def tell(machine: Machine, entry: Entry) -> bool:
    """Tell a machine what is noted, if it waits for that; returns whether it did. Raises what `Machine.write` does."""
    state = machine.state
    if not _is_awaited(state, entry):
        return False
    at, address, given = max(state.at, entry.at), entry.address, entry.given
    match entry.event:
        case "succeeded":
            note_who(state, entry)
            machine.succeeded(address, given, at)
        case "failed":
            machine.failed(address, given, at)
        case "choose":
            choices, *by = given
            machine.choose(address, choices, at, *by)
        case "write" | "hear":
            _from_outside(machine, entry, at)
        case "retry":
            machine.retry(address, given, at)
        case "skip":
            machine.skip(address, given, at)
        case "give_up":
            machine.give_up(address, at)
        case "resume":
            state.is_paused = given
            machine.resume(at)
        case _:
            raise AssertionError(f"only a rerun can {entry.event}")
    return True


def note_who(state: RunState, entry: Entry) -> None:
    """Keep the name of who gave an answer."""
    if entry.by is not None:
        state.decisions.note(entry.address, "answered", entry.by)


def catch_up(machine: Machine) -> None:
    """Let everything have its turn that the machine holds back for another workflow task."""
    state = machine.state
    while state.budget.is_short:
        machine.succeeded(YIELD, None, state.at)
    state.budget.refill()


def _from_outside(machine: Machine, entry: Entry, at: int) -> None:
    if entry.event == "hear":
        with suppress(AnabranchError):  # another graph may have no node that receives it
            machine.hear(entry.given, at)
    else:
        _write(machine, entry, at)


def _write(machine: Machine, entry: Entry, at: int) -> None:
    """A write from outside, on the version that it was on, or where there are others now on the newest one.

    Where branches disagree there is no such one: then it is as if it had been made on the input.
    """
    state, changes = machine.state, entry.given
    if state.trail.count != entry.versions:
        changes = replace(changes, base_version=state.trail.count)
    try:
        machine.write(changes, at)
    except ConflictError:
        machine.write(replace(changes, base_version=1), at)


def _noted(event: Event, given: tuple[Any, ...], state: RunState) -> Entry:
    """What an event method is called with, as an entry."""
    count = state.trail.count
    match event:
        case "resume":
            return Entry(event, "", state.is_paused, given[0], count)
        case "release":
            return Entry(event, "", None, given[0], count)
        case "write" | "hear" | "hold":
            told, at = given
            return Entry(event, "", told, at, count)
        case "give_up":
            address, at = given
            return Entry(event, address, None, at, count)
        case "choose":
            address, choices, at, *by = given
            return Entry(event, address, (choices, *by), at, count)
        case _:
            address, told, at = given
            return Entry(event, address, told, at, count, state.decisions.answered_by(address))


def _is_over(state: RunState) -> bool:
    return state.failure is not None or state.ending is not None or state.finished is not None


def _is_awaited(state: RunState, entry: Entry) -> bool:
    address = entry.address
    match entry.event:
        case "succeeded" | "failed":
            if address.startswith(COMPENSATION):
                step = state.saga.steps.get(address.removeprefix(COMPENSATION))
                return step is not None and step.state is StepState.COMPENSATING
            return address in state.timers or address in state.work
        case "choose":
            join = state.open_joins.get(address)
            return join is not None and all(each.path in entry.given[0] for each in join.conflicts)
        case "retry" | "skip" | "give_up":
            return address in state.waiting_for_operator
        case _:
            return True


def _dump(event: Event, given: Any) -> Any:
    match event:
        case "failed":
            return dump_failure(given)
        case "choose":
            choices, by = given[0], given[1] if len(given) > 1 and given[1] else {}
            return [
                [list(path), [] if isinstance(value, Missing) else [value], by.get(path)]
                for path, value in choices.items()
            ]
        case "hold":
            return sorted(given)
        case "hear":
            return given.dump()
        case "succeeded" | "write" | "retry" | "skip" if isinstance(given, ChangeSet):
            return ["changes", given.to_wire()]
        case _:
            return ["value", given]


def _load(event: Event, given: Any) -> Any:
    match event:
        case "failed":
            return load_failure(given)
        case "choose":
            chosen: dict[Path, Json | Missing] = {}
            for path, value, _ in given:
                chosen[tuple(path)] = value[0] if value else MISSING
            return chosen, {tuple(path): name for path, _, name in given if name is not None}
        case "hold":
            return frozenset(given)
        case "hear":
            return Sent(*given)
        case _:
            kind, value = given
            return ChangeSet.from_wire(value) if kind == "changes" else value
