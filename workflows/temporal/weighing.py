"""Whether the server takes an input. One that it does not take would fail the workflow task, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ActivityError

from anabranch.errors import SizeLimitExceeded
from anabranch.limits import PAYLOAD_BYTES, PAYLOAD_HEADROOM_BYTES
from anabranch.transport.codec import ZstdCodec

_LOCAL: Final = timedelta(seconds=10)
_MOST: Final = PAYLOAD_BYTES - PAYLOAD_HEADROOM_BYTES


async def check_input(payloads: Sequence[Payload], size: int) -> None:
    """Refuse an input of `size` bytes that is too large as it is sent. Raises SizeLimitExceeded.

    How far it is compressed, and whether it goes to a payload store, only a worker knows: what it says is recorded.
    """
    if size <= _MOST:
        return
    encoded = [len(each.data) for each in await ZstdCodec().encode(payloads)]
    try:
        allowed: bool = await workflow.execute_local_activity(
            "may_be_sent", encoded, result_type=bool, start_to_close_timeout=_LOCAL
        )
    except ActivityError:  # a worker that does not know
        allowed = False
    if not allowed:
        raise SizeLimitExceeded(
            f"what it is given is {size} bytes, {sum(encoded)} as sent, over the limit of {_MOST}",
            suggestion="give it less: the keys that it needs, or a reference; or set PAYLOAD_STORE_URL for the workers",
        )
