"""What the codec server takes of a request: a bounded body of JSON, and the payloads that it holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from google.protobuf import json_format
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from temporalio.api.common.v1 import Payload, Payloads

from anabranch.errors import SizeLimitExceeded, Unavailable, WireFormatError


@dataclass(frozen=True, slots=True)
class CodecLimits:
    """What one request may cost."""

    request_bytes: int = 16 * 1024 * 1024
    answer_bytes: int = 64 * 1024 * 1024
    held_bytes: int = 64 * 1024 * 1024
    """Of all requests that are under way, with what was fetched for them."""
    payloads: int = 5_000
    metadata: int = 64
    """Entries of one payload's metadata."""
    body_seconds: float = 10.0
    """In which a request's body must have come."""
    work_seconds: float = 10.0
    """For decoding or encoding one request, and as long again for what it needs of a payload store."""


LIMITS = CodecLimits()


class Memory:
    """The bytes that requests under way hold together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @contextmanager
    def share(self) -> Generator[Share]:
        """One request's part of it, given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self._held -= share.size

    def take(self, size: int) -> None:
        """Count bytes as held. Raises Unavailable over the limit."""
        if self._held + size > self._limit:
            raise Unavailable("too many requests are under way", suggestion="send this one again later")
        self._held += size


class Share:
    """The bytes that one request holds."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.size = 0

    def take(self, size: int) -> None:
        """Count bytes as held by this request. Raises Unavailable over the limit of all."""
        self._memory.take(size)
        self.size += size


def check_json(request: Request) -> None:
    """Refuse a body that says it is anything else. Raises HTTPException."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "the body must be JSON: send Content-Type: application/json")


async def body_of(request: Request, share: Share, limits: CodecLimits) -> bytes:
    """The body, counted to a share. Raises HTTPException, SizeLimitExceeded, Unavailable."""
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limits.request_bytes:
                    raise SizeLimitExceeded(f"the request is over the limit of {limits.request_bytes} bytes")
                share.take(len(chunk))
                body += chunk
    except TimeoutError:
        raise HTTPException(408, f"the body has not come within {limits.body_seconds} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body has not come") from None
    return bytes(body)


def payloads_of(body: bytes, limits: CodecLimits) -> Sequence[Payload]:
    """The payloads of a request; how many there are is checked before any of them is built.

    Raises WireFormatError, SizeLimitExceeded.
    """
    try:
        given = json.loads(body)
        found = given["payloads"] if isinstance(given, dict) and "payloads" in given else given
        _check_amount(found if isinstance(found, list) else (), limits)
        return json_format.ParseDict({"payloads": found}, Payloads(), ignore_unknown_fields=True).payloads
    except SizeLimitExceeded:
        raise
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise WireFormatError(
            f"the request is not a JSON list of payloads: {error!s:.200}", suggestion='send {"payloads": [...]}'
        ) from None


def _check_amount(found: Sequence[object], limits: CodecLimits) -> None:
    if len(found) > limits.payloads:
        raise SizeLimitExceeded(f"the request has {len(found)} payloads, over the limit of {limits.payloads}")
    for each in found:
        metadata = each.get("metadata") if isinstance(each, dict) else None
        if isinstance(metadata, dict) and len(metadata) > limits.metadata:
            raise SizeLimitExceeded(f"a payload has {len(metadata)} metadata, over the limit of {limits.metadata}")
