"""Chunks of attacks as processes of their own."""

from __future__ import annotations

from dataclasses import replace

from tests.attack.known import CLASSES
from tests.attack.processes import try_chunk


async def test_a_chunk_tells_what_it_tried_and_that_its_judge_saw_every_control() -> None:
    found = await try_chunk(CLASSES["urls"], "1", range(5))
    assert (found.tried, found.refused, found.through, found.controls) == (13, 13, [], 2)


async def test_a_chunk_whose_process_dies_counts_as_through() -> None:
    found = await try_chunk(replace(CLASSES["urls"], name="absent"), "1", range(5))
    assert found.tried == 0
    assert len(found.through) == 1
    assert "the process ended with status 1" in found.through[0]
    assert "KeyError: 'absent'" in found.through[0]
