"""What one worker can send when a run continues as new."""

from __future__ import annotations

import pytest

from anabranch.activities.carrying import MAX_BYTES, Carrying
from anabranch.settings import Settings

STORED = Settings(payload_store_url="redis://127.0.0.1:1", payload_store_threshold_bytes=MAX_BYTES + 1000)


@pytest.mark.parametrize(
    ("settings", "size", "may"),
    [
        (Settings(), MAX_BYTES, True),
        (Settings(), MAX_BYTES + 1, False),
        (STORED, MAX_BYTES, True),
        (STORED, MAX_BYTES + 999, False),
        (STORED, MAX_BYTES + 1000, True),
    ],
)
async def test_a_state_may_be_carried_if_the_server_takes_it_or_the_store_does(
    settings: Settings, size: int, may: bool
) -> None:
    assert await Carrying(settings).may_be_carried(size) is may


@pytest.mark.parametrize(
    ("sizes", "may"), [([MAX_BYTES], True), ([MAX_BYTES, 1], False), ([MAX_BYTES // 2] * 2, True), ([], True)]
)
async def test_an_input_may_be_sent_if_its_payloads_are_small_enough_together(sizes: list[int], may: bool) -> None:
    assert await Carrying(Settings()).may_be_sent(sizes) is may


async def test_payloads_that_the_store_keeps_do_not_count() -> None:
    settings = Settings(payload_store_url="file:///tmp/payloads", payload_store_threshold_bytes=1000)
    assert await Carrying(settings).may_be_sent([MAX_BYTES * 3, 1000, 999]) is True
    assert await Carrying(settings).may_be_sent([999] * 3000) is False
