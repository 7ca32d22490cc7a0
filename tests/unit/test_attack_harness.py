"""The harness of attacks: what repeats, what counts as through, and where a tier goes on."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

from tests.attack.attack import Attack, Tally
from tests.attack.chunk import tally_of
from tests.attack.forked import forked
from tests.attack.journal import Found, Journal
from tests.attack.processes import read_tally


async def numbered(tally: Tally, numbers: range) -> None:
    """Attacks that are random numbers; the odd ones get through."""
    for _ in numbers:
        drawn = tally.rng.randrange(1000)
        tally.judge(str(drawn), "odd" if drawn % 2 else None, refused=drawn > 500)
    tally.control("an odd one", seen=True)


def killed() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "it lives"


ATTACK = Attack("numbered", numbered, small=25, release=100, chunk=10)


def test_a_tier_is_cut_into_chunks() -> None:
    assert ATTACK.chunks("small") == [range(10), range(10, 20), range(20, 25)]
    assert len(ATTACK.chunks("release")) == 10


async def test_the_same_seed_makes_the_same_attacks_and_another_one_others() -> None:
    first, again, other = [await tally_of(ATTACK, seed, range(10)) for seed in ("a", "a", "b")]
    assert first.through == again.through != other.through
    assert first.tried == 10


def test_what_got_through_is_told_by_the_attack_and_what_it_did() -> None:
    tally = Tally(random.Random(1))
    tally.judge("a payload", None, refused=True)
    tally.judge("another", "it was believed")
    assert (tally.tried, tally.refused, tally.through) == (2, 1, ["another: it was believed"])


def test_a_control_that_the_judge_does_not_see_counts_as_through() -> None:
    fields = {"tried": 5, "refused": 5, "through": [], "controls": {"a hole": False, "another": True}}
    assert read_tally(ATTACK, range(5), fields).through == ["the judge does not see the control 'a hole'"]
    assert read_tally(ATTACK, range(5), {**fields, "controls": {}}).through == ["the class has no control"]


def test_a_journal_knows_the_chunks_that_are_done(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    Journal(path).add(Found("yaml", 10, 5, 5, [], 2))
    again = Journal(path)
    assert again.found == [Found("yaml", 10, 5, 5, [], 2)]
    assert again.has("yaml", 10)
    assert not again.has("yaml", 0)


def test_a_chunk_in_which_something_got_through_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).add(Found("yaml", 10, 5, 5, ["x"], 2))
    assert not Journal(path).has("yaml", 10)
    Journal(path).add(Found("yaml", 10, 5, 5, [], 2))
    assert Journal(path).found == [Found("yaml", 10, 5, 5, [], 2)]


def test_a_forked_attack_tells_what_it_said_and_what_it_cost() -> None:
    outcome = forked(lambda: str(len(b"x" * 300 * 2**20)))
    assert outcome.said == str(300 * 2**20)
    assert outcome.wrong is not None
    assert outcome.wrong.endswith("MiB, more than 256")


def test_a_forked_attack_that_kills_its_process_is_wrong() -> None:
    outcome = forked(killed)
    assert outcome.wrong == "its process died: SIGKILL"
