"""What a run must know of its worker and its history, and workflow code cannot.

`may_be_carried`: whether this worker can send the run's state; that depends on whether it keeps large payloads in a
store (`PAYLOAD_STORE_URL`). `may_be_sent`: the same of what an activity or a child is given.
`record_history`: how far the history has come, which a replay sees at other places.
`record_reason`: why a payload was not in the store, where a replay may find it, or the other way round.
"""

from __future__ import annotations

from typing import Final

from temporalio import activity

from anabranch.limits import PAYLOAD_BYTES, PAYLOAD_HEADROOM_BYTES
from anabranch.settings import Settings
from anabranch.transport.node_protocol import HistoryState

MAX_BYTES: Final = PAYLOAD_BYTES - PAYLOAD_HEADROOM_BYTES
"""Of a state, beside which the input of the next run holds little."""


class Carrying:
    """Which payloads one worker can send."""

    def __init__(self, settings: Settings) -> None:
        self._stored_from = None if settings.payload_store_url is None else settings.payload_store_threshold_bytes

    @activity.defn
    async def may_be_carried(self, size: int) -> bool:
        """Whether a payload of `size` bytes, as it is encoded, is small enough, or goes to the payload store."""
        return size <= MAX_BYTES or self._is_stored(size)

    @activity.defn
    async def may_be_sent(self, sizes: list[int]) -> bool:
        """Whether payloads of these sizes, as they are encoded, are small enough together, those stored apart."""
        return sum(size for size in sizes if not self._is_stored(size)) <= MAX_BYTES

    def _is_stored(self, size: int) -> bool:
        return self._stored_from is not None and size >= self._stored_from


@activity.defn
async def record_history(seen: HistoryState) -> HistoryState:
    """Say back what the workflow saw of its history, so that a replay sees the same."""
    return seen


@activity.defn
async def record_reason(found: str | None) -> str | None:
    """Say back why a payload cannot be read, or None where it can, so that a replay goes by it."""
    return found
