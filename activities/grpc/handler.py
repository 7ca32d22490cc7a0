"""`grpc` nodes: one unary call, at least once, with an `idempotency-key` that is the same for every attempt.

What `output` sees as `result`: `status`, `metadata` (what came before and behind the answer) and `body` (the answer as
JSON, null where a failure's status is expected). Without `output` the body is written under the node's id.

What the messages are is said by the node's `descriptor`, else by the server's reflection. Secrets of the worker are
sent as metadata only, as `http` nodes send them as headers, to the same hosts.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from anabranch.activities.grpc.channels import Channels
from anabranch.activities.grpc.library import aio
from anabranch.activities.grpc.messages import decoded, encoded
from anabranch.activities.grpc.metadata import Metadata, Pairs, metadata_of, told
from anabranch.activities.grpc.reflection import Reflection
from anabranch.activities.grpc.target import Target
from anabranch.activities.guards.guards import seconds_of_work
from anabranch.activities.http.names import HostNames
from anabranch.activities.http.network import allowed_addresses
from anabranch.activities.http.secrets import HttpSecrets
from anabranch.activities.idempotency_key import header_key
from anabranch.activities.node_result import NodeResult, after_effect, own_key
from anabranch.activities.rendering import render
from anabranch.activities.secrets import masked_json
from anabranch.context.values import Json
from anabranch.errors import (
    BY_ITS_RETRY,
    AnabranchError,
    InputError,
    NodeError,
    SizeLimitExceeded,
    TimedOut,
    Unavailable,
)
from anabranch.graph.kinds.descriptors import encoded_files, pool_in, services_of, split, unary_method
from anabranch.graph.model import GrpcNode
from anabranch.limits import NODE_LIMITS, NodeLimits
from anabranch.transport.node_protocol import NodeTask

_DEFAULT_SECONDS: Final = 30.0
_EARLY_SECONDS: Final = 0.1
"""How much earlier than the event loop gRPC's own clock may say that the time is over."""
_EXCERPT: Final = 300
_TOO_LARGE: Final = "message larger than max"
"""What gRPC says, by a status that servers use too, of an answer that it did not take."""
_LOST: Final = ("INTERNAL", "Internal error from Core")
"""What gRPC says where it has lost the status that a server sent, which it does when the two cross."""
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call, with all that the node says of it."""

    task: NodeTask
    node: GrpcNode
    target: Target
    metadata: Metadata
    deadline: float
    """A time of the event loop's clock."""

    @property
    def place(self) -> str:
        return f"{self.node.method} at {self.target}"

    @property
    def seconds(self) -> float:
        return max(self.deadline - asyncio.get_running_loop().time(), 0.0)


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a server answered: its status, what it said of it, its metadata, and the message."""

    status: str
    details: str
    metadata: Pairs
    content: bytes | None = None

    @property
    def is_lost(self) -> bool:
        """Whether there was an answer, and gRPC cannot say which."""
        return (self.status, self.details) == _LOST


class GrpcActivity:
    """Runs `grpc` nodes over shared channels."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        environ: Mapping[str, str] | None = None,
        limits: NodeLimits = NODE_LIMITS,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._public_only = not allow_private
        self._max_bytes = limits.response_bytes
        self._names = HostNames()
        self._secrets = HttpSecrets(environ)
        self._channels = Channels(environ, limits.response_bytes)
        self._reflection = Reflection()

    async def __call__(self, task: NodeTask, node: GrpcNode) -> NodeResult:
        """Make the call and judge its status by the node's `expect`."""
        seconds = seconds_of_work(node)
        seconds = _DEFAULT_SECONDS if seconds == math.inf else seconds
        target = Target.of(await render(node.target, task), node.tls)
        metadata = await metadata_of(task, node, target, self._secrets)
        values = await render(node.request, task)
        call = _Call(task, node, target, metadata, asyncio.get_running_loop().time() + seconds)
        try:
            async with asyncio.timeout_at(call.deadline):
                return await self._answered(call, values)
        except TimeoutError:
            raise _timed_out(call, seconds) from None

    async def aclose(self) -> None:
        """Close the channels."""
        await self._channels.aclose()
        self._names.close()

    async def _answered(self, call: _Call, values: Json) -> NodeResult:
        async with self._channel(call) as channel:
            pool, method, request = await self._prepared(channel, call, values)
            answer = await _asked(channel, call, method, request)
            _check_status(call, answer)
        with after_effect():
            return await asyncio.to_thread(self._outcome, call, pool, method, answer)

    @asynccontextmanager
    async def _channel(self, call: _Call) -> AsyncGenerator[aio.Channel]:
        """A channel to the target. What gRPC raises inside becomes an error of ours."""
        target = call.target
        try:
            found = await self._names.addresses(target.host, target.port)
        except (OSError, UnicodeError):
            message = f"{call.place} got no answer: the host's name does not resolve"
            raise Unavailable(message, suggestion=BY_ITS_RETRY) from None
        addresses = allowed_addresses(target.host, found, public_only=self._public_only, node_type="grpc")
        async with self._channels.to(target, addresses) as channel:
            try:
                yield channel
            except (AnabranchError, TimeoutError):
                raise
            except aio.AioRpcError as error:
                raise _failure(call, _answer_of(error)) from None
            except (aio.BaseError, OSError, asyncio.InvalidStateError) as error:
                message = f"{call.place} got no answer ({type(error).__name__})"
                raise Unavailable(message, suggestion=BY_ITS_RETRY) from None

    async def _prepared(
        self, channel: aio.Channel, call: _Call, values: Json
    ) -> tuple[DescriptorPool, MethodDescriptor, bytes]:
        """The method, and the request as its message."""
        if (descriptor := call.node.descriptor) is not None:
            services = services_of(await asyncio.to_thread(encoded_files, descriptor))
            return await _request(await asyncio.to_thread(pool_in, descriptor), services, call, values)
        service, _ = split(call.node.method)
        if (known := self._reflection.kept(call.target, service)) is not None:
            try:
                return await _request(known.pool, known.services, call, values)
            except NodeError:
                pass  # the server may have changed since
        asked = await self._reflection.ask(channel, call.target, service, call.metadata.pairs, call.seconds)
        return await _request(asked.pool, asked.services, call, values)

    def _outcome(self, call: _Call, pool: DescriptorPool, method: MethodDescriptor, answer: _Answer) -> NodeResult:
        """What a node is told of an answer, without the secrets that it repeats."""
        mask = call.metadata.mask
        content, body = answer.content, None
        if content is not None:
            body = masked_json(decoded(pool, method.output_type, content, self._max_bytes), mask)
        metadata: Json = told(answer.metadata, mask)
        result: Json = {"status": answer.status, "metadata": metadata, "body": body}
        return NodeResult(result, {own_key(call.task): body})


async def _request(
    pool: DescriptorPool, services: list[str] | tuple[str, ...], call: _Call, values: Json
) -> tuple[DescriptorPool, MethodDescriptor, bytes]:
    try:
        method = unary_method(pool, call.node.method, services)
    except InputError as error:
        raise NodeError(error.message, suggestion=error.suggestion) from None
    return pool, method, await asyncio.to_thread(encoded, pool, method.input_type, values)


async def _asked(channel: aio.Channel, call: _Call, method: MethodDescriptor, request: bytes) -> _Answer:
    """The answer, a failure that the node expects included. Raises AioRpcError for every other one."""
    metadata = (("idempotency-key", header_key(call.task.key)), *call.metadata.pairs)
    path = f"/{method.containing_service.full_name}/{method.name}"
    ask: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    try:
        running = ask(request, timeout=call.seconds, metadata=metadata)
        content = await running
        pairs = (*await running.initial_metadata(), *await running.trailing_metadata())
    except aio.AioRpcError as error:
        answer = _answer_of(error)
        if answer.status in call.node.expect.status and not answer.is_lost:
            return answer
        raise
    return _Answer("OK", "", pairs, bytes(content))


def _answer_of(error: aio.AioRpcError) -> _Answer:
    pairs = (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
    return _Answer(error.code().name, error.details() or "", pairs)


def _check_status(call: _Call, answer: _Answer) -> None:
    if answer.status not in call.node.expect.status:
        raise _failure(call, answer)


def _failure(call: _Call, answer: _Answer) -> AnabranchError:
    """The error for a status that is not expected."""
    if answer.status == "DEADLINE_EXCEEDED" and call.seconds <= _EARLY_SECONDS:
        return _timed_out(call, None)
    if answer.status == "RESOURCE_EXHAUSTED" and _TOO_LARGE in answer.details:
        too_large = SizeLimitExceeded(
            f"the answer of {call.place} is larger than a node may receive",
            suggestion="ask for less: a page, fewer fields",
        )
        too_large.happened = True
        return too_large
    if answer.is_lost:
        return Unavailable(f"{call.place} answered, and gRPC has lost its status", suggestion=BY_ITS_RETRY)
    mask = call.metadata.mask
    said = f"{call.place} answered {answer.status}"
    excerpt = " ".join(mask.text(answer.details).split())[:_EXCERPT]
    pause, may_retry = _pushback(answer.metadata)
    if answer.status in call.node.expect.retry and may_retry:
        message = f"{said}: {excerpt}" if excerpt else said
        return Unavailable(message, suggestion=BY_ITS_RETRY, retry_after=pause)
    return NodeError(
        f"{said}: {excerpt}" if excerpt else said,
        suggestion="name the statuses that are a success in `expect.status`, those worth another try in `expect.retry`",
    )


def _pushback(metadata: Pairs) -> tuple[timedelta | None, bool]:
    """The pause that a server asks for, at most an hour, and whether it may be asked again (gRFC A6)."""
    value = dict(metadata).get("grpc-retry-pushback-ms")
    if not isinstance(value, str) or not value.isascii():
        return None, True
    if not value.isdecimal():
        return None, False
    return min(timedelta(milliseconds=int(value[:9])), _HOUR), True


def _timed_out(call: _Call, seconds: float | None) -> TimedOut:
    limit = "" if seconds is None else f" of {seconds:g} s"
    return TimedOut(f"{call.place} took longer than its `timeout`{limit}", suggestion=BY_ITS_RETRY)
