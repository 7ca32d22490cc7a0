"""The checker of `make faults` accepts what is right, and finds each way in which a record may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.checker import violations
from tests.faults.record import Closed, Event, Record, Row

BEHIND = {"a": frozenset[str](), "b": frozenset("a"), "c": frozenset("ab")}
GIVEN = {"n": 0}


def ran(address: str, kind: Closed = "completed", *, unknown: bool = False) -> tuple[Event, Event]:
    return Event("scheduled", address), Event(kind, address, unknown)


def rows(*reported: str) -> tuple[Row, ...]:
    """`+a` was done, `-a` was undone."""
    return tuple(Row(each[1:], "do" if each[0] == "+" else "undo") for each in reported)


COMPLETED = Record(
    run="r",
    ends="completed",
    events=(*ran("a"), *ran("b"), *ran("c")),
    rows=rows("+a", "+b", "+c"),
    given=GIVEN,
    data={**GIVEN, "a": 1, "b": 1, "c": 1},
    behind=BEHIND,
    wrote={"a": 1, "b": 1, "c": 1},
    sequential=True,
)
FAILED = replace(
    COMPLETED,
    ends="failed",
    events=(*ran("a"), *ran("b"), *ran("c", "timed_out", unknown=True), *ran("undo c"), *ran("undo b"), *ran("undo a")),
    rows=rows("+a", "+b", "+c", "-c", "-b", "-a"),
    data=GIVEN,
)
"""The outcome of `c` was unknown, and it had happened."""
NEVER_HAPPENED = replace(FAILED, rows=rows("+a", "+b", "-b", "-a"))
DEFINITE = replace(
    FAILED,
    events=(*ran("a"), *ran("b"), *ran("c", "failed"), *ran("undo b"), *ran("undo a")),
    rows=rows("+a", "+b", "-b", "-a"),
)
CANCELLED = replace(FAILED, ends="cancelled")
FORK = {"a": frozenset[str](), "b": frozenset("a"), "c": frozenset("a")}
PARALLEL = replace(
    FAILED,
    behind=FORK,
    sequential=False,
    events=(
        *ran("a"),
        *ran("b"),
        *ran("c", "timed_out", unknown=True),
        *(Event("scheduled", "undo b"), Event("scheduled", "undo c")),
        *(Event("completed", "undo c"), Event("completed", "undo b")),
        *ran("undo a"),
    ),
    rows=rows("+a", "+c", "+b", "-b", "-c", "-a"),
)

WITH_LAST = replace(
    FAILED, last=frozenset("z"), events=(*FAILED.events, *ran("z")), rows=(*FAILED.rows, Row("z", "do"))
)
WITH_BLOCK = replace(
    CANCELLED,
    behind={"a": frozenset[str](), "k/b": frozenset("a")},
    of_blocks={"k/finally/y": "k"},
    events=(*ran("a"), *ran("k/b"), *ran("k/finally/y"), *ran("undo k/b"), *ran("undo a")),
    rows=rows("+a", "+k/b", "+k/finally/y", "-k/b", "-a"),
)
BEFORE_BLOCK = replace(WITH_BLOCK, events=(*ran("a"), *ran("undo a")), rows=rows("+a", "-a"))
NEVER_BEGAN = replace(CANCELLED, last=frozenset("z"), events=(), rows=())


@pytest.mark.parametrize(
    "record",
    [
        COMPLETED,
        FAILED,
        NEVER_HAPPENED,
        DEFINITE,
        CANCELLED,
        PARALLEL,
        WITH_LAST,
        NEVER_BEGAN,
        WITH_BLOCK,
        BEFORE_BLOCK,
    ],
    ids=[
        *("completed", "failed", "never happened", "definite", "cancelled", "parallel", "with a last", "never began"),
        *("with a last of a block", "before the block"),
    ],
)
def test_what_is_right_is_accepted(record: Record) -> None:
    assert violations(record) == []


def without(record: Record, address: str) -> Record:
    return replace(record, events=tuple(event for event in record.events if event.address != address))


def swapped(record: Record, one: str, other: str) -> Record:
    """The events of two addresses in each other's place."""
    names = {one: other, other: one}
    return replace(
        record, events=tuple(replace(each, address=names.get(each.address, each.address)) for each in record.events)
    )


CORRUPTED: dict[str, tuple[Callable[[], Record], str]] = {
    "an effect twice": (lambda: replace(COMPLETED, rows=rows("+a", "+b", "+b", "+c")), "step 'b' has 2 rows 'do'"),
    "an effect that is missing": (
        lambda: replace(COMPLETED, rows=rows("+a", "+c")),
        "step 'b' completed and has no effect",
    ),
    "an undo in a successful run": (
        lambda: replace(COMPLETED, rows=rows("+a", "+b", "+c", "-c")),
        "the run completed, and step 'c' was undone",
    ),
    "an undo scheduled in a successful run": (
        lambda: replace(COMPLETED, events=(*COMPLETED.events, *ran("undo b"))),
        "the run completed, and step 'b' was undone",
    ),
    "an undo that is missing": (
        lambda: replace(FAILED, rows=rows("+a", "+b", "+c", "-c", "-a")),
        "step 'b' has an effect that was not undone",
    ),
    "an undo that was never scheduled": (
        lambda: without(FAILED, "undo b"),
        "step 'b' happened, or may have, and no compensation was scheduled",
    ),
    "an undo twice": (
        lambda: replace(FAILED, rows=rows("+a", "+b", "+c", "-c", "-b", "-b", "-a")),
        "step 'b' has 2 rows 'undo'",
    ),
    "an undo scheduled twice": (
        lambda: replace(FAILED, events=(*FAILED.events, *ran("undo a"))),
        "'undo a' was scheduled 2 times",
    ),
    "an undo of what was never done": (
        lambda: replace(NEVER_HAPPENED, rows=rows("+a", "+b", "-c", "-b", "-a")),
        "step 'c' was undone and never done",
    ),
    "an undo of a definite failure": (
        lambda: replace(DEFINITE, events=(*DEFINITE.events, *ran("undo c"))),
        "step 'c' did nothing, and its compensation was scheduled",
    ),
    "an effect of a definite failure": (
        lambda: replace(DEFINITE, rows=rows("+a", "+b", "+c", "-c", "-b", "-a")),
        "step 'c' failed for certain and has an effect",
    ),
    "an undo before what it undoes": (
        lambda: replace(FAILED, rows=rows("+a", "+b", "-c", "+c", "-b", "-a")),
        "in the ledger, step 'c' was undone before it was done",
    ),
    "undone in the wrong order by the ledger": (
        lambda: replace(FAILED, rows=rows("+a", "+b", "+c", "-c", "-a", "-b")),
        "in the ledger, step 'a' was undone before 'b', which depends on it",
    ),
    "undone in the wrong order by the history": (
        lambda: swapped(FAILED, "undo a", "undo b"),
        "step 'a' was undone before 'b', which depends on it",
    ),
    "not strictly in reverse": (
        lambda: replace(
            swapped(FAILED, "undo b", "undo c"), behind=FORK, rows=rows("+a", "+b", "+c", "-b", "-c", "-a")
        ),
        "the compensations were scheduled as ['b', 'c', 'a'], and the steps ended as ['a', 'b', 'c']",
    ),
    "in parallel, undone together with what depends on it": (
        lambda: replace(
            PARALLEL,
            events=(
                *PARALLEL.events[:8],
                Event("scheduled", "undo a"),
                *PARALLEL.events[8:10],
                Event("completed", "undo a"),
            ),
        ),
        "step 'a' was undone before 'b', which depends on it",
    ),
    "undone while something runs": (
        lambda: replace(FAILED, events=(*FAILED.events[:5], *FAILED.events[6:8], FAILED.events[5], *FAILED.events[8:])),
        "step 'c' was still running when the first compensation was scheduled",
    ),
    "an undo that failed": (
        lambda: replace(
            FAILED,
            events=tuple(replace(e, kind="failed") if e == Event("completed", "undo a") else e for e in FAILED.events),
        ),
        "the compensation 'undo a' failed",
    ),
    "an effect of what was never scheduled": (
        lambda: without(COMPLETED, "b"),
        "step 'b' has an effect and was never scheduled",
    ),
    "an activity that never ended": (
        lambda: replace(COMPLETED, events=COMPLETED.events[:-1]),
        "'c' was scheduled and never ended",
    ),
    "a row that nobody writes": (
        lambda: replace(COMPLETED, rows=(*COMPLETED.rows, Row("d", "do"))),
        "the ledger has a row that no step writes: Row(step='d', kind='do')",
    ),
    "a last step that did not happen": (
        lambda: replace(WITH_LAST, rows=FAILED.rows),
        "step 'z' runs last, and has no effect",
    ),
    "a last step that was undone": (
        lambda: replace(WITH_LAST, rows=(*WITH_LAST.rows, Row("z", "undo"))),
        "step 'z' runs last, and was undone",
    ),
    "a last step that was not last": (
        lambda: replace(WITH_LAST, events=(*FAILED.events[:-1], *ran("z"), FAILED.events[-1])),
        "something happened behind 'z', which runs last",
    ),
    "a last step of a block that did not happen": (
        lambda: replace(without(WITH_BLOCK, "k/finally/y"), rows=rows("+a", "+k/b", "-k/b", "-a")),
        "step 'k/finally/y' runs last in 'k', and has no effect",
    ),
    "a last step of a block that was undone": (
        lambda: replace(WITH_BLOCK, rows=(*WITH_BLOCK.rows, Row("k/finally/y", "undo"))),
        "step 'k/finally/y' runs last in 'k', and was undone",
    ),
    "a last step of a block that was not last": (
        lambda: swapped(WITH_BLOCK, "k/b", "k/finally/y"),
        "something happened in 'k' behind 'k/finally/y', which runs last in it",
    ),
    "a run that is not over": (lambda: replace(COMPLETED, ends="open"), "the run is not over"),
    "a context that was not rolled back": (
        lambda: replace(FAILED, data={**GIVEN, "a": 1}),
        "the context was not rolled back: {'n': 0, 'a': 1}",
    ),
    "a context that lost a write": (
        lambda: replace(COMPLETED, data={**GIVEN, "a": 1, "c": 1}),
        "the context does not hold 'b': 1, but None",
    ),
}


@pytest.mark.parametrize("name", CORRUPTED)
def test_what_is_wrong_is_found(name: str) -> None:
    corrupted, finding = CORRUPTED[name]
    assert f"r: {finding}" in violations(corrupted())
