"""The context at each version of a run is the one that the interpreter had there."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.inspection.lineage import Lineage
from anabranch.workflows.interpreter.trail import AuditTrail, Kind, Version
from tests.unit.test_machine_properties import FEW, Case, Run, cases


@contextmanager
def recorded() -> Generator[dict[int, Mapping[str, Json]]]:
    """The data of each version that is made while the block runs, as the interpreter has it."""
    kept: dict[int, Mapping[str, Json]] = {}
    record = AuditTrail.record

    def noting(trail: AuditTrail, kind: Kind, line: Any, changes: ChangeSet, **others: Any) -> int:
        number = record(trail, kind, line, changes, **others)
        kept[number] = line.data
        return number

    with patch.object(AuditTrail, "record", noting):
        yield kept


@settings(FEW, max_examples=80)
@given(cases(joins=["any", "all", "first", 2], fragile=True), st.integers(0, 10_000), st.none() | st.integers(0, 12))
def test_each_version_has_the_data_of_its_line(case: Case, seed: int, cancel_after: int | None) -> None:
    with recorded() as kept:
        run = Run(case, seed, cancel_after)
    lineage = Lineage(run.state.trail.versions)
    assert {number: lineage.after(number).data for number in kept} == kept


def version(number: int, *parents: int, removed: tuple[tuple[str, ...], ...] = (), **keys: Json) -> Version:
    changes = ChangeSet(0, {tuple(key.split("__")): value for key, value in keys.items()}, removed)
    return Version(number, number, "node", f"n{number}", number, parents, changes)


LINEAGE = Lineage(
    [
        version(1, order={"id": 7, "total": 5}),
        version(2, 1, order__total=6),
        version(3, 1, note="hi"),
        version(4, 2, 3, removed=(("note",),)),
        version(5, 4, order=None),
    ]
)


def test_a_branch_does_not_know_what_another_one_wrote() -> None:
    assert LINEAGE.after(3).data == {"order": {"id": 7, "total": 5}, "note": "hi"}
    assert LINEAGE.after(2).data == {"order": {"id": 7, "total": 6}}


def test_the_writers_of_a_value_are_those_of_its_parts_and_of_what_it_is_in() -> None:
    past = LINEAGE.of((2, 3))
    assert past.writers_of(("order", "total")) == {("order", "total"): 2}
    assert past.writers_of(("order", "id")) == {("order",): 1}
    assert past.writers_of(("order",)) == {("order",): 1, ("order", "total"): 2}


def test_a_removal_is_a_write_and_a_whole_value_takes_the_place_of_its_parts() -> None:
    past = LINEAGE.after(5)
    assert (past.data, past.writers) == ({"order": None}, {("order",): 5, ("note",): 4})


def test_versions_that_an_earlier_run_holds_are_named() -> None:
    later = Lineage([version(4, 2, 3, x=1)])
    assert later.after(4).missing == {2, 3}
    assert Lineage.joined(LINEAGE, later).after(4).missing == frozenset()


def test_a_version_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InputError, match="no version 9: the history holds 1 to 5"):
        LINEAGE.after(9)
