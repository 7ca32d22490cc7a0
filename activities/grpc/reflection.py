"""What a server says of its services (gRPC server reflection): asked once in a while, bounded, and not trusted.

A server may lie in its reflection as in its answers. Its files go into a pool of their own, with protobuf's files as
they are here, and no file is asked for twice. What it sends is bounded in count and size, and the node's `timeout` ends
the rest.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from anabranch.activities.grpc.library import aio, grpc, reflection_pb2
from anabranch.activities.grpc.metadata import Pairs
from anabranch.activities.grpc.target import Target
from anabranch.errors import InputError, NodeError
from anabranch.graph.kinds.descriptors import WELL_KNOWN, pool_of, services_of, unknown_service

_VERSIONS: Final = ("v1", "v1alpha")
"""Both have the same messages; the second is what servers had before 2023."""
_KEPT: Final = 32
_KEPT_SECONDS: Final = 300.0
_MAX_FILES: Final = 200
_MAX_BYTES: Final = 2 * 1024 * 1024
_Question = reflection_pb2.ServerReflectionRequest
_ANOTHER_WAY: Final = "write its descriptors to a file and name that as the node's `descriptor`"
_Stream: TypeAlias = "aio.StreamStreamCall[Any, Any]"
_Key: TypeAlias = "tuple[Target, str]"


@dataclass(frozen=True, slots=True)
class Described:
    """The descriptors of a service, as a server gave them at a time of the event loop's clock."""

    pool: DescriptorPool
    services: tuple[str, ...]
    at: float


class Reflection:
    """The services of servers, kept for five minutes."""

    def __init__(self, seconds: float = _KEPT_SECONDS) -> None:
        self._seconds = seconds
        self._kept: OrderedDict[_Key, Described] = OrderedDict()

    def kept(self, target: Target, service: str) -> Described | None:
        """What is known of a service and not too old."""
        found = self._kept.get((target, service))
        if found is None or asyncio.get_running_loop().time() - found.at > self._seconds:
            return None
        self._kept.move_to_end((target, service))
        return found

    async def ask(
        self, channel: aio.Channel, target: Target, service: str, metadata: Pairs, seconds: float
    ) -> Described:
        """Ask the server itself, with the metadata of the call; of all its services where `service` is empty.

        Raises AioRpcError; NodeError for what is no answer.
        """
        try:
            found = await _asked(channel, service, metadata, seconds)
        except InputError as error:
            message = f"the server's reflection cannot be used: {error.message}"
            raise NodeError(message, suggestion=error.suggestion or _ANOTHER_WAY) from None
        self._kept[target, service] = found
        self._kept.move_to_end((target, service))
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


async def _asked(channel: aio.Channel, service: str, metadata: Pairs, seconds: float) -> Described:
    for version in _VERSIONS:
        try:
            async with _conversation(channel, version, metadata, seconds) as stream:
                files, services = await _files(stream, service)
                pool = await asyncio.to_thread(pool_of, files)
                return Described(pool, tuple(services), asyncio.get_running_loop().time())
        except aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
    raise NodeError("the server has no reflection, which would say what the method takes", suggestion=_ANOTHER_WAY)


@asynccontextmanager
async def _conversation(channel: aio.Channel, version: str, metadata: Pairs, seconds: float) -> AsyncGenerator[_Stream]:
    # Raw answers: what raises in a deserializer of the library is logged with its traceback, and told as nothing.
    ask: aio.StreamStreamMultiCallable[Any, Any] = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=_Question.SerializeToString,
    )
    stream = ask(metadata=metadata, timeout=seconds)
    try:
        yield stream
    finally:
        stream.cancel()  # it is not read to its end: who knows whether it has one


class _Files:
    """The files by which a server describes services, bounded in count and size."""

    def __init__(self, of: str) -> None:
        self.found: dict[str, FileDescriptorProto] = {}
        self._of = of
        self._size = 0

    def add(self, answer: Any) -> None:
        """Keep the files of an answer. Raises InputError."""
        for content in answer.file_descriptor_response.file_descriptor_proto:
            file = _file(content)
            self.found.setdefault(file.name, file)
            self._size += len(content)
            if len(self.found) > _MAX_FILES or self._size > _MAX_BYTES:
                raise InputError(f"it describes {self._of} by more than {_MAX_FILES} files or {_MAX_BYTES >> 20} MiB")

    @property
    def missing(self) -> set[str]:
        """The files that are imported and not there."""
        imported = {name for file in self.found.values() for name in file.dependency}
        return imported - self.found.keys() - WELL_KNOWN.keys()


async def _files(stream: _Stream, service: str) -> tuple[list[FileDescriptorProto], list[str]]:
    """The files of a service, or of all, with those that they import; and the services that the server has in them."""
    files = _Files(service or "its services")
    asked_for = [service] if service else await _own_services(stream)
    for name in asked_for:
        answer = await _answer(stream, _Question(file_containing_symbol=name))
        if service and answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]:
            raise unknown_service(service, await _services(stream))
        files.add(answer)
    asked: set[str] = set()
    while (missing := files.missing - asked) and len(asked) <= _MAX_FILES:
        asked.add(name := min(missing))
        files.add(await _answer(stream, _Question(file_by_filename=name)))
    found = list(files.found.values())  # what it does not give is missed when the files are put together
    described = services_of(found)
    return found, described if service else [name for name in described if name in asked_for]


async def _own_services(stream: _Stream) -> list[str]:
    """The services of a server without those that gRPC brings."""
    found = [name for name in await _services(stream) if not name.startswith("grpc.")]
    if not found:
        raise InputError("it names no service")
    return found[:_MAX_FILES]


async def _services(stream: _Stream) -> list[str]:
    answer = await _answer(stream, _Question(list_services="*"))
    return [each.name[:200] for each in answer.list_services_response.service[:1000]]


async def _answer(stream: _Stream, question: Any) -> Any:
    await stream.write(question)
    content = await stream.read()
    if not isinstance(content, bytes):
        # Its end, before an answer; waiting for its status raises that.
        code = await stream.code()
        raise InputError(f"it ended without an answer ({code.name})")
    try:
        return reflection_pb2.ServerReflectionResponse.FromString(content)
    except DecodeError:
        raise InputError("its answer is not one of reflection") from None


def _file(content: bytes) -> FileDescriptorProto:
    try:
        return FileDescriptorProto.FromString(content)
    except DecodeError:
        raise InputError("a file of it is not a FileDescriptorProto") from None
