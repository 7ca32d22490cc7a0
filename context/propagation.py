"""A context in the headers of a request between services, beside the trace (W3C Trace Context).

The context is MessagePack in base64, in one header. Headers are not trusted: an invalid context is refused, an
invalid trace is left out, as the standard says.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

from anabranch.context.distributed import DistributedContext
from anabranch.errors import SizeLimitExceeded, WireFormatError

CONTEXT_HEADER: Final = "Anabranch-Context"
MAX_HEADER_BYTES: Final = 6144
"""The default limit of the header's value; most HTTP servers refuse more than 8 KiB of headers."""

_TRACE_PARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACE_STATE: Final = re.compile(r"[\x20-\x7e]{1,512}")


@dataclass(frozen=True, slots=True)
class Carried:
    """What the headers held: a context or None, and the trace's headers (`traceparent`, `tracestate`)."""

    context: DistributedContext | None
    trace: Mapping[str, str]


def inject(
    context: DistributedContext,
    headers: MutableMapping[str, str],
    *,
    trace: Mapping[str, str] | None = None,
    max_bytes: int = MAX_HEADER_BYTES,
) -> None:
    """Write a context, and the trace among `trace`'s headers, into headers; earlier values are replaced.

    Raises WireFormatError, and SizeLimitExceeded if the header's value would be longer than `max_bytes`.
    """
    value = _encoded(context, max_bytes)
    for name in [name for name in headers if name.lower() == CONTEXT_HEADER.lower()]:
        del headers[name]
    headers[CONTEXT_HEADER] = value
    found = trace_of(trace or {})
    for name in [name for name in headers if found and name.lower() in ("traceparent", "tracestate")]:
        del headers[name]
    headers.update(found)


def extract(headers: Mapping[str, str], *, max_bytes: int = MAX_HEADER_BYTES) -> Carried:
    """Read the headers; their names may be in any case. Raises WireFormatError and SizeLimitExceeded."""
    values = [value for name, value in headers.items() if name.lower() == CONTEXT_HEADER.lower()]
    if len(values) > 1:
        raise WireFormatError("there are two headers with a context", place=CONTEXT_HEADER, suggestion="send one")
    return Carried(_decoded(values[0], max_bytes) if values else None, trace_of(headers))


def trace_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The valid headers of the trace: `tracestate` only beside a `traceparent`."""
    found = {name.lower(): value.strip() for name, value in headers.items()}
    parent, state = found.get("traceparent", ""), found.get("tracestate", "")
    if not _TRACE_PARENT.fullmatch(parent):
        return {}
    return {"traceparent": parent, **({"tracestate": state} if _TRACE_STATE.fullmatch(state) else {})}


def _encoded(context: DistributedContext, max_bytes: int) -> str:
    value = base64.b64encode(context.serialize()).decode()
    if len(value) > max_bytes:
        raise _too_large(len(value), max_bytes)
    return value


def _decoded(value: str, max_bytes: int) -> DistributedContext:
    if len(value) > max_bytes:
        raise _too_large(len(value), max_bytes)
    try:
        packed = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise WireFormatError("the value is not base64", place=CONTEXT_HEADER) from None
    return DistributedContext.deserialize(packed)


def _too_large(size: int, limit: int) -> SizeLimitExceeded:
    return SizeLimitExceeded(
        f"the context takes {size} bytes, over the limit of {limit} for one header",
        place=CONTEXT_HEADER,
        suggestion="share large contexts through a store, and send the session id",
    )
