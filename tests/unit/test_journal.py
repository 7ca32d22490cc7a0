"""What a run was told is noted, and nothing else."""

from __future__ import annotations

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.errors import InputError, VersionMismatch
from anabranch.workflows.interpreter.commands import YIELD, Command
from anabranch.workflows.interpreter.journal import Journal
from anabranch.workflows.interpreter.machine import Machine
from tests.unit.machine_kit import edge, machine_of, python

GRAPH = {"nodes": {"a": python(), "b": python()}, "edges": [edge("a", "b")]}


def test_what_is_refused_is_not_noted_and_takes_no_other_entry_with_it() -> None:
    machine, journal = machine_of(GRAPH), Journal()
    journal.follow(machine)
    machine.start(1)
    machine.succeeded("a", {}, 2)
    with pytest.raises(VersionMismatch):
        machine.write(ChangeSet(base_version=9, set={("x",): 1}, by="", at=0), 3)
    assert [(each.event, each.address) for each in journal.entries] == [("succeeded", "a")]


def test_a_yield_that_fails_takes_no_entry_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, journal = machine_of(GRAPH), Journal()

    def fails(address: str, result: object, at: int) -> list[Command]:
        if address == YIELD:
            raise InputError("it cannot go on")
        return Machine.succeeded(machine, address, {}, at)

    monkeypatch.setattr(machine, "succeeded", fails)
    journal.follow(machine)
    machine.start(1)
    machine.succeeded("a", {}, 2)
    with pytest.raises(InputError, match="it cannot go on"):
        machine.succeeded(YIELD, None, 3)
    assert [(each.event, each.address) for each in journal.entries] == [("succeeded", "a")]
