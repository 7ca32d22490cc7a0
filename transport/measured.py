"""How long contexts take to be encoded and decoded on their way, and how large they are: for the metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from temporalio.api.common.v1 import Payload

from anabranch.observe import metrics

_OF: Final = {"NodeTask": "node", "DistributedContext": "context"}
"""What the metrics call the wire types that hold a context."""
T = TypeVar("T")


def encoded(name: str, encode: Callable[[], Payload]) -> Payload:
    """What `encode` makes of a value of the wire type `name`."""
    of = _OF.get(name)
    if of is None or not metrics.is_on():
        return encode()
    began = time.perf_counter()
    payload = encode()
    metrics.note(metrics.SERIALIZE, time.perf_counter() - began, of)
    metrics.note(metrics.CONTEXT_BYTES, len(payload.data), of)
    return payload


def decoded(name: str, decode: Callable[[], T]) -> T:
    """What `decode` makes of a payload of the wire type `name`."""
    of = _OF.get(name)
    if of is None or not metrics.is_on():
        return decode()
    began = time.perf_counter()
    value = decode()
    metrics.note(metrics.DESERIALIZE, time.perf_counter() - began, of)
    return value
