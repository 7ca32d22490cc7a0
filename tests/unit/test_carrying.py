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
