"""What a run reads of the payloads that reach it: its input, and the results of activities and children.

One that cannot be decoded fails only what reads it. Whether inline bytes can be decoded is the same in every replay.
What the payload store has may change, so a local activity says back what was found, and that is recorded: a replay
goes by the record.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from anabranch.cipher import refused_plaintext
from anabranch.errors import InputError, WireFormatError
from anabranch.transport.undecodable import is_encrypted, is_stored, reason_of

_TIMEOUT = timedelta(seconds=10)


class StoreDiffers(Exception):
    """Not one of our errors, which would end the run: this fails the workflow task, which is tried again."""


async def received(payload: Payload, hint: type | None = None, *, encrypted_only: bool = False) -> Any:
    """The value of a payload. Raises InputError where it cannot be decoded, StoreDiffers where it once could.

    PlaintextRefused where it is `encrypted_only` and did not come so: that is in its bytes, the same in every replay.
    """
    if encrypted_only and not is_encrypted(payload):
        raise refused_plaintext("result")
    if is_stored(payload):
        await check_record(payload)
    return decoded(payload, hint)


def decoded(payload: Payload, hint: type | None = None) -> Any:
    """The value of an inline payload. Raises InputError."""
    try:
        (value,) = workflow.payload_converter().from_payloads([payload], [hint] if hint else None)
    except InputError:
        raise
    except Exception as error:
        raise WireFormatError(f"the payload cannot be decoded: {error!s:.200}") from None
    if hint is not None and not isinstance(value, hint):
        raise WireFormatError(f"expected a {hint.__name__}, got a value of type {type(value).__name__}")
    return value


async def check_record(payload: Payload) -> None:
    """What a store or a key opens may change: a replay goes by what was found first.

    Raises WireFormatError where it could not be read then, StoreDiffers where it could, and cannot now.
    """
    reason = reason_of(payload)
    found = None if reason is None else str(reason)
    recorded: str | None = await workflow.execute_local_activity(
        "record_reason", found, result_type=str, start_to_close_timeout=_TIMEOUT
    )
    if recorded is not None:
        raise WireFormatError(recorded)
    if reason is not None:
        raise StoreDiffers(f"{reason}; when this run first read it, it could be read: restore it, and the run goes on")
