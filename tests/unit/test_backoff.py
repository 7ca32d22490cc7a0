"""The pauses between attempts."""

from __future__ import annotations

from itertools import islice

from anabranch.backoff import Backoff


def test_the_ceiling_doubles_up_to_the_longest_pause() -> None:
    assert list(islice(Backoff(0.5, 3.0, random=lambda: 1.0), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_pause_is_a_random_part_of_its_ceiling() -> None:
    parts = iter([0.0, 0.25, 0.5])
    assert list(islice(Backoff(1.0, 8.0, random=lambda: next(parts)), 3)) == [0.0, 0.5, 2.0]


def test_each_use_begins_anew_and_none_ends() -> None:
    backoff = Backoff(1.0, 2.0, random=lambda: 1.0)
    assert next(islice(iter(backoff), 10_000, None)) == 2.0
    assert next(iter(backoff)) == 1.0


def test_two_callers_do_not_wait_equally_long() -> None:
    backoff = Backoff(1.0, 60.0)
    assert list(islice(backoff, 5)) != list(islice(backoff, 5))
