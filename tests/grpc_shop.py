"""A shop that speaks gRPC: its descriptors in code, and servers of it in the test's process."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection

from anabranch.activities.grpc.library import grpc

SERVICE: Final = "shop.Prices"
METHOD: Final = f"{SERVICE}/PriceOf"
Field = FieldDescriptorProto


def _field(
    name: str, number: int, kind: FieldDescriptorProto.Type.ValueType, type_name: str = "", **more: Any
) -> FieldDescriptorProto:
    return Field(name=name, number=number, type=kind, type_name=type_name or None, **more)


def _repeated(
    name: str, number: int, kind: FieldDescriptorProto.Type.ValueType, type_name: str = ""
) -> FieldDescriptorProto:
    return _field(name, number, kind, type_name, label=Field.LABEL_REPEATED)


def _item() -> DescriptorProto:
    kinds = (
        _field("sku", 1, Field.TYPE_STRING),
        _field("count", 2, Field.TYPE_INT32),
        _field("size", 3, Field.TYPE_ENUM, ".shop.Size"),
    )
    return DescriptorProto(name="Item", field=kinds)


def _question() -> DescriptorProto:
    entry = DescriptorProto(
        name="CountsEntry", field=[_field("key", 1, Field.TYPE_STRING), _field("value", 2, Field.TYPE_INT64)]
    )
    entry.options.map_entry = True
    message = DescriptorProto(name="Question", nested_type=[entry])
    message.oneof_decl.add(name="by")
    message.field.extend(
        (
            _field("order_id", 1, Field.TYPE_INT64),
            _repeated("items", 2, Field.TYPE_MESSAGE, ".shop.Item"),
            _repeated("counts", 3, Field.TYPE_MESSAGE, ".shop.Question.CountsEntry"),
            _field("at", 4, Field.TYPE_MESSAGE, ".google.protobuf.Timestamp"),
            _field("code", 5, Field.TYPE_BYTES),
            _field("mail", 6, Field.TYPE_STRING, oneof_index=0),
            _field("phone", 7, Field.TYPE_STRING, oneof_index=0),
            _field("how", 8, Field.TYPE_STRING),
        )
    )
    return message


def _price() -> DescriptorProto:
    message = DescriptorProto(name="Price")
    message.field.extend(
        (
            _field("total", 1, Field.TYPE_DOUBLE),
            _field("cents", 2, Field.TYPE_INT64),
            _field("serial", 3, Field.TYPE_UINT64),
            _field("note", 4, Field.TYPE_STRING),
            _field("seal", 5, Field.TYPE_BYTES),
            _repeated("items", 6, Field.TYPE_MESSAGE, ".shop.Item"),
            _field("asked", 7, Field.TYPE_MESSAGE, ".shop.Question"),
            _field("size", 8, Field.TYPE_ENUM, ".shop.Size"),
        )
    )
    return message


def shop_file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    file.message_type.extend((_item(), _question(), _price()))
    sizes = file.enum_type.add(name="Size")
    for number, name in enumerate(("SIZE_UNKNOWN", "SMALL", "LARGE")):
        sizes.value.add(name=name, number=number)
    service = file.service.add(name="Prices")
    for name, streams in (("PriceOf", False), ("Watch", True), ("Undo", False)):
        service.method.add(name=name, input_type=".shop.Question", output_type=".shop.Price", server_streaming=streams)
    return file


def descriptor_set() -> bytes:
    """What `protoc --include_imports` writes."""
    imported = FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb)
    return FileDescriptorSet(file=[imported, shop_file()]).SerializeToString()


def descriptor_text() -> str:
    return base64.b64encode(descriptor_set()).decode()


POOL: Final = DescriptorPool()
POOL.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
POOL.AddSerializedFile(shop_file().SerializeToString())
Question: Final = GetMessageClass(POOL.FindMessageTypeByName("shop.Question"))
Price: Final = GetMessageClass(POOL.FindMessageTypeByName("shop.Price"))

Context = grpc.aio.ServicerContext[Any, Any]
Serve = Callable[[Message, Context], Awaitable[Message | bytes]]


@dataclass
class Shop:
    """A running server, what it was asked, and how it answers."""

    serve: Serve
    port: int = 0
    asked: list[tuple[str, Message, dict[str, str | bytes]]] = field(default_factory=list)
    reflected: int = 0
    called: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def keys(self) -> list[str | bytes]:
        return [metadata["idempotency-key"] for _, _, metadata in self.asked]


class _Methods(grpc.GenericRpcHandler):
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        if "ServerReflection/" in path:
            self._shop.reflected += 1
        if not path.startswith(f"/{SERVICE}/"):
            return None

        async def answer(content: bytes, context: Context) -> bytes:
            question = Question.FromString(content)
            pairs = context.invocation_metadata() or ()
            self._shop.asked.append((path, question, dict(pairs)))
            self._shop.called.set()
            try:
                found = await self._shop.serve(question, context)
            except asyncio.CancelledError:
                self._shop.cancelled.set()
                raise
            return found if isinstance(found, bytes) else found.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


async def echo(question: Message, _context: Context) -> Message:
    return Price(total=1.5, asked=question)


@asynccontextmanager
async def shop(
    serve: Serve = echo, *, reflects: bool = True, credentials: grpc.ServerCredentials | None = None, **options: Any
) -> AsyncGenerator[Shop]:
    """A shop on this machine that answers so."""
    opened = Shop(serve)
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)], **options)
    server.add_generic_rpc_handlers((_Methods(opened),))
    if reflects:
        reflection.enable_server_reflection((SERVICE,), server, pool=POOL)
    if credentials is None:
        opened.port = server.add_insecure_port("127.0.0.1:0")
    else:
        opened.port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield opened
    finally:
        await server.stop(None)
