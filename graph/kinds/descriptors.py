"""Protobuf descriptors: files of them in a pool of their own, and a method that is found there.

They come from a file beside a graph, or from a server, which may send anything. This module imports protobuf's runtime,
so graphs without such a file never load it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from anabranch.errors import InputError
from anabranch.graph.source.problems import did_you_mean

_MODULES: Final = (
    *(any_pb2, source_context_pb2, type_pb2, api_pb2, descriptor_pb2, duration_pb2, empty_pb2, field_mask_pb2),
    *(struct_pb2, timestamp_pb2, wrappers_pb2),
)
"""Each behind those that it imports."""
WELL_KNOWN: Final[Mapping[str, bytes]] = {
    module.DESCRIPTOR.name: module.DESCRIPTOR.serialized_pb for module in _MODULES
}
"""Protobuf's own files. They are always ours: JSON is read and written by what they say."""
_SHOWN: Final = 10


def encoded_files(text: str) -> tuple[FileDescriptorProto, ...]:
    """The files of a FileDescriptorSet in Base64. Raises InputError for anything else."""
    try:
        files = FileDescriptorSet.FromString(base64.b64decode(text, validate=True)).file
    except (binascii.Error, ValueError, DecodeError):
        files = None
    if not files:
        raise InputError(
            "is not a FileDescriptorSet",
            suggestion="write one by `protoc --include_imports --descriptor_set_out=shop.binpb shop.proto`",
        )
    return tuple(files)


def pool_of(files: Iterable[FileDescriptorProto]) -> DescriptorPool:
    """A pool with these files and protobuf's own. Raises InputError where one is wrong, or imports what is not there.

    The order does not matter. Imports that lead back to their file cannot be resolved.
    """
    pool, waiting = DescriptorPool(), {file.name: file for file in files if file.name not in WELL_KNOWN}
    known: set[str] = set()
    for name, content in WELL_KNOWN.items():
        pool.AddSerializedFile(content)
        known.add(name)
    while waiting:
        ready = [file for file in waiting.values() if known.issuperset(file.dependency)]
        if not ready:
            raise _unresolved(waiting, known)
        for file in ready:
            _add(pool, file)
            known.add(file.name)
            del waiting[file.name]
    return pool


@lru_cache(maxsize=32)
def pool_in(text: str) -> DescriptorPool:
    """The pool of a FileDescriptorSet in Base64; the same text is read once. Raises InputError."""
    return pool_of(encoded_files(text))


def split(method: str) -> tuple[str, str]:
    """The service and the method that `pkg.Service/Method` names; no service where `Method` stands alone."""
    service, _, name = method.rpartition("/")
    return service, name


def unary_method(pool: DescriptorPool, method: str, services: Iterable[str]) -> MethodDescriptor:
    """The method `pkg.Service/Method`. Raises InputError where there is none, or where it streams.

    `Method` alone is that of the one service which has it. `services` are those that there are, by their full names.
    """
    service_name, name = split(method)
    service_name = service_name or _service_with(pool, name, services)
    try:
        service = pool.FindServiceByName(service_name)
    except KeyError:
        raise unknown_service(service_name, services) from None
    found = service.methods_by_name.get(name)
    if found is None:
        known = list(service.methods_by_name)
        suggestion = did_you_mean(name, known) or f"it has {_listed(known)}"
        raise InputError(f"the service {service_name} has no method {name!r}", suggestion=suggestion)
    if found.client_streaming or found.server_streaming:
        raise InputError(
            f"the method {method} is a stream, and a node makes unary calls only: one request, one answer",
            suggestion="call a unary method, or the stream in a `python` node of yours",
        )
    return found


def _service_with(pool: DescriptorPool, method: str, services: Iterable[str]) -> str:
    """The one service that has a method. Raises InputError where none has it, or several have."""
    has = {name: pool.FindServiceByName(name).methods_by_name for name in services}
    found = sorted(name for name, methods in has.items() if method in methods)
    if len(found) == 1:
        return found[0]
    if found:
        suggestion = f"write it as {found[0]}/{method}"
        raise InputError(f"the method {method!r} is one of {_listed(found)}", suggestion=suggestion)
    known = sorted({each for methods in has.values() for each in methods})
    raise InputError(
        f"no service has a method {method!r}", suggestion=did_you_mean(method, known) or f"there are {_listed(known)}"
    )


def unknown_service(name: str, services: Iterable[str]) -> InputError:
    """The error for a service that is not among `services`."""
    known = sorted(services)
    return InputError(
        f"there is no service {name!r}", suggestion=did_you_mean(name, known) or f"there are {_listed(known)}"
    )


def services_of(files: Iterable[FileDescriptorProto]) -> list[str]:
    """The full names of the services in the files."""
    return [f"{file.package}.{each.name}" if file.package else each.name for file in files for each in file.service]


def field_named(message: Descriptor, name: str) -> FieldDescriptor | None:
    """The field of a message by its name in the proto file, or in JSON."""
    found = message.fields_by_name.get(name)
    return found or message.fields_by_camelcase_name.get(name) or _by_json_name(message, name)


def unknown_field(message: Descriptor, name: str) -> str:
    """What to say of a field that a message does not have."""
    known = [field.name for field in message.fields]
    return did_you_mean(name, known) or f"{message.full_name} has {_listed(known)}"


def _by_json_name(message: Descriptor, name: str) -> FieldDescriptor | None:
    return next((field for field in message.fields if field.json_name == name), None)


def _add(pool: DescriptorPool, file: FileDescriptorProto) -> None:
    try:
        pool.AddSerializedFile(_without_comments(file))
    except (TypeError, ValueError, KeyError, RecursionError):  # as protobuf refuses a file, by its version
        raise InputError(f"the descriptors of {file.name[:200]!r} are not valid") from None


def _without_comments(message: Message) -> bytes:
    message.ClearField("source_code_info")
    return message.SerializeToString()


def _unresolved(waiting: Mapping[str, FileDescriptorProto], known: set[str]) -> InputError:
    imported = {name for file in waiting.values() for name in file.dependency} - known - waiting.keys()
    if imported:
        return InputError(
            f"the descriptors lack {_listed(sorted(imported))}, which they import",
            suggestion="write the file with `protoc --include_imports`",
        )
    return InputError(f"the descriptors of {_listed(sorted(waiting))} import each other")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(name[:200] for name in names[:_SHOWN]) or "none") + more
