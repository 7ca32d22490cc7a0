"""Messages of a call: the request out of JSON, the answer as JSON, by protobuf's own mapping (`json_format`).

Fields of an answer have the names of the proto file. Those without presence are always there, with their defaults.
64-bit integers are numbers, as exact as in the context, where protobuf's mapping writes texts; bytes are Base64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.message_factory import GetMessageClass

from anabranch.context.values import Json
from anabranch.errors import NodeError, SizeLimitExceeded
from anabranch.graph.kinds.descriptors import field_named, unknown_field

_REFUSED: Final = (
    *(json_format.Error, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError),
    *(DecodeError, EncodeError),
)
"""What protobuf raises for JSON and bytes that are not of a message; the texts of some hold values."""
_WIDE: Final = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})
_WIDE_WRAPPERS: Final = frozenset({"google.protobuf.Int64Value", "google.protobuf.UInt64Value"})
_PROTOBUF: Final = "google.protobuf."
_UNFOLDS: Final = 8
"""How many times larger an answer may be as JSON: names and defaults are not on the wire."""
_KINDS: Final = {
    FieldDescriptor.TYPE_BOOL: "a boolean",
    FieldDescriptor.TYPE_STRING: "a text",
    FieldDescriptor.TYPE_BYTES: "bytes in Base64",
    FieldDescriptor.TYPE_DOUBLE: "a number",
    FieldDescriptor.TYPE_FLOAT: "a number",
}


def encoded(pool: DescriptorPool, kind: Descriptor, values: Json) -> bytes:
    """The message of this kind that an object of JSON describes. Raises NodeError naming the path that does not fit."""
    if not isinstance(values, dict):
        raise NodeError("the `request` is not an object", suggestion=f"give the fields of {kind.full_name}")
    message = GetMessageClass(kind)()
    try:
        json_format.ParseDict(values, message, descriptor_pool=pool)
    except _REFUSED:
        raise _misfit(pool, kind, values, "request") from None
    try:
        return message.SerializeToString()
    except EncodeError as error:  # its text has the names of fields alone
        missing = str(error).rpartition(":")[2].strip()
        raise NodeError(f"the `request` lacks {missing}, which {kind.full_name} requires") from None


def decoded(pool: DescriptorPool, kind: Descriptor, content: bytes, max_bytes: int) -> Json:
    """A message of this kind as JSON. Raises NodeError where it is none, SizeLimitExceeded where it unfolds too far."""
    try:
        message = GetMessageClass(kind).FromString(content)
        value = json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool)
        return _Completion(max_bytes * _UNFOLDS).of_message(kind, value)
    except SizeLimitExceeded:
        raise
    except _REFUSED:
        raise NodeError(f"the answer is not a {kind.full_name}, which the method returns") from None


@dataclass(slots=True)
class _Completion:
    """What JSON of protobuf lacks for expressions. It is weighed: a small message may unfold to a large object."""

    left: int

    def of_message(self, kind: Descriptor, value: Any) -> Json:
        if kind.full_name.startswith(_PROTOBUF) or not isinstance(value, dict):
            return self._plain(int(value) if kind.full_name in _WIDE_WRAPPERS else value)
        found: dict[str, Json] = {}
        for field in kind.fields:
            self._weigh(len(field.name))
            if field.name in value:
                found[field.name] = self._of_field(field, value[field.name])
            elif not field.has_presence:
                found[field.name] = self._default(field)
        for name in value.keys() - found.keys():  # extensions
            found[name] = self._plain(value[name])
        return found

    def _of_field(self, field: FieldDescriptor, value: Any) -> Json:
        kind = field.message_type
        if kind is not None and _is_map(field):
            inner = kind.fields_by_name["value"]
            self._weigh(sum(map(len, value)))
            return {key: self._of_item(inner, item) for key, item in value.items()}
        if isinstance(value, list) and field.is_repeated:
            return [self._of_item(field, item) for item in value]
        return self._of_item(field, value)

    def _of_item(self, field: FieldDescriptor, value: Any) -> Json:
        if field.message_type is not None:
            self._weigh(1)
            return self.of_message(field.message_type, value)
        return self._plain(int(value) if field.cpp_type in _WIDE else value)

    def _default(self, field: FieldDescriptor) -> Json:
        if field.is_repeated:
            return {} if _is_map(field) else []
        if field.enum_type is not None:
            return self._plain(field.enum_type.values_by_number[field.default_value].name)
        return "" if field.type == FieldDescriptor.TYPE_BYTES else cast("Json", field.default_value)

    def _plain(self, value: Any) -> Json:
        if isinstance(value, dict):
            return {key: self._plain(item) for key, item in value.items() if self._weigh(len(key))}
        if isinstance(value, list):
            return [self._plain(item) for item in value]
        self._weigh(len(value) if isinstance(value, str) else 1)
        return cast("Json", value)

    def _weigh(self, size: int) -> bool:
        self.left -= size + 1
        if self.left < 0:
            raise SizeLimitExceeded("the answer is too large as JSON", suggestion="ask for less: a page, fewer fields")
        return True


def _misfit(pool: DescriptorPool, kind: Descriptor, value: Json, path: str) -> NodeError:
    """The error for an object that is not a message: the innermost part that does not fit."""
    if not isinstance(value, dict):
        return NodeError(f"`{path}` is not a {kind.full_name}, which is an object")
    for name, inner in value.items():
        if (field := field_named(kind, name)) is None:
            message = f"`{path}.{name}` is not a field of {kind.full_name}"
            return NodeError(message, suggestion=unknown_field(kind, name))
        if not _fits(pool, kind, {name: inner}):
            return _misfit_of_field(pool, field, kind, inner, f"{path}.{name}")
    return NodeError(f"`{path}` sets fields of {kind.full_name} that exclude each other (`oneof`)")


def _misfit_of_field(
    pool: DescriptorPool, field: FieldDescriptor, kind: Descriptor, value: Json, path: str
) -> NodeError:
    inner = field.message_type
    if inner is not None and not inner.full_name.startswith(_PROTOBUF) and not _is_map(field):
        for where, item in _items(field, value, path):
            if not _fits(pool, inner, item):
                return _misfit(pool, inner, item, where)
    elif field.is_repeated:
        for where, item in _items(field, value, path):
            if not _fits(pool, kind, {field.name: _only(item, where, path)}):
                return NodeError(f"`{where}` is not {_kind(field)}")
    if field.is_repeated and not isinstance(value, dict if _is_map(field) else list):
        return NodeError(f"`{path}` is not {'an object' if _is_map(field) else 'a list'}")
    return NodeError(f"`{path}` is not {_kind(field)}")


def _items(field: FieldDescriptor, value: Json, path: str) -> Iterator[tuple[str, Json]]:
    """The items of a field, each with its path."""
    if isinstance(value, list) and not _is_map(field):
        yield from ((f"{path}[{index}]", item) for index, item in enumerate(value) if field.is_repeated)
    elif isinstance(value, dict) and _is_map(field):
        yield from ((f"{path}.{key}", item) for key, item in value.items())
    elif not field.is_repeated:
        yield path, value


def _only(item: Json, where: str, path: str) -> Json:
    """A field's value with one item alone."""
    return [item] if where.startswith(f"{path}[") else {where.removeprefix(f"{path}."): item}


def _fits(pool: DescriptorPool, kind: Descriptor, value: Json) -> bool:
    message: Message = GetMessageClass(kind)()
    try:
        json_format.ParseDict(cast("dict[str, Any]", value), message, descriptor_pool=pool)
    except _REFUSED:
        return False
    return True


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def _kind(field: FieldDescriptor) -> str:
    message = field.message_type
    if message is not None:
        return _kind(message.fields_by_name["value"]) if _is_map(field) else f"a {message.full_name}"
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        return f"one of {', '.join(names[:10])}" + (" …" if len(names) > 10 else "")  # noqa: PLR2004 - as many as are read
    bits = "64" if field.cpp_type in _WIDE else "32"
    unsigned = field.cpp_type in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return _KINDS.get(field.type, f"{'an unsigned' if unsigned else 'an'} integer of {bits} bits")
