"""What work costs, and the limits that it is held to: on a slow machine the same work is within the same limit."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests import cost
from tests.attack.forked import forked
from tests.cost import ATTEMPTS, USUAL, Cost, Limit, attempts, slowness, spend

MIB = 2**20


def tried(work: Callable[[], object], limit: Limit) -> list[Cost]:
    """The cost of each attempt."""
    costs: list[Cost] = []
    for attempt in attempts(limit):
        with attempt:
            work()
        costs.append(attempt.cost)
    return costs


def test_work_within_its_limit_is_done_once() -> None:
    (once,) = tried(lambda: sum(range(100_000)), USUAL)
    assert once.cpu > 0
    assert once.slowness == 1.0
    assert USUAL.excess(once) is None


def test_work_that_takes_too_long_is_over_its_limit_at_each_attempt() -> None:
    limit = Limit(seconds=0.01)
    costs = tried(lambda: spend(0.3), limit)
    assert len(costs) == ATTEMPTS
    assert "s of CPU, more than 0.01 (x " in str(limit.excess(costs[-1]))


def test_work_that_takes_long_once_is_within_its_limit() -> None:
    seconds = [0.3, 0.0]
    costs = tried(lambda: spend(seconds.pop(0)), Limit(seconds=0.2))
    assert len(costs) == 2
    assert Limit(seconds=0.2).excess(costs[-1]) is None


def test_a_machine_that_is_slower_is_allowed_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = {work: seconds / 20 for work, seconds in cost._REFERENCE.items()}
    work = sum(reference.values()) * 20
    monkeypatch.setattr(cost, "_REFERENCE", reference)
    assert slowness() > 5
    first, second = tried(lambda: [each() for each in reference], Limit(seconds=work / 5))
    assert Limit(seconds=work / 5).is_slow(first)
    assert second.slowness > 5


def test_memory_beyond_the_limit_is_no_question_of_time() -> None:
    limit = Limit(seconds=0.0, size=100 * MIB)
    (once,) = tried(lambda: len(b"x" * 200 * MIB), limit)
    assert limit.excess(once) == "it took 200 MiB, more than 100"


def test_the_memory_is_counted_from_the_start_of_the_work() -> None:
    assert len(b"x" * 300 * MIB) == 300 * MIB
    (once,) = tried(lambda: len(b"x" * 200 * MIB), USUAL)
    assert 190 * MIB < once.memory < 256 * MIB


def test_a_forked_attack_is_carried_out_again_where_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_REFERENCE", {cost._compute: cost._REFERENCE[cost._compute]})  # the quickest of them
    reading, writing = os.pipe()
    limit = Limit(seconds=0.01)
    outcome = forked(lambda: f"{os.write(writing, b'.')} {spend(0.3)}", limit)
    assert os.read(reading, 10) == b"." * ATTEMPTS
    assert outcome.wrong == limit.excess(outcome.cost) is not None
