"""What a `grpc` node must be: its target and method, its descriptors, and where it may name a secret of the worker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from anabranch.context.values import Json
from anabranch.errors import InputError, Problem
from anabranch.graph.kinds.fields import texts
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.http import SECRET, SECRET_PREFIX, secret_in
from anabranch.graph.model import GrpcNode
from anabranch.graph.source.yaml_source import Pointer

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

TARGET: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+):([0-9]{1,5})", re.ASCII)
"""Host and port. Other forms of gRPC, such as `unix:` and `dns:`, would lead around what is checked of an address."""
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
METHOD: Final = re.compile(rf"({_NAME}(\.{_NAME})*/)?{_NAME}", re.ASCII)
"""A method of a service, or alone that of the one service which has it."""
_RIGHT: Final = (
    f"write the whole value of `metadata` as env:{SECRET_PREFIX}NAME; the variable holds all of it, e.g. `Bearer …`"
)


def check_grpc(node: GrpcNode, finder: Finder) -> Iterator[Problem]:
    """Problems of one `grpc` node."""
    if "{{" not in node.target and not TARGET.fullmatch(node.target):
        message = "has a `target` that is not a host and a port"
        yield finder.problem("GRPC_TARGET", message, "target", suggestion="write it as prices.example:443")
    if isinstance(node.request, str) and "{{" not in node.request:
        message = "has a `request` that is a text, and messages are objects"
        suggestion = 'write its fields, or "{{ key }}" of an object'
        yield finder.problem("GRPC_REQUEST", message, "request", suggestion=suggestion)
    yield from _secrets(node, finder)
    if not METHOD.fullmatch(node.method):
        message = "has a `method` that does not name a method of a service"
        suggestion = "write it as package.Service/Method, or as Method where only one service has it"
        yield finder.problem("GRPC_METHOD", message, "method", suggestion=suggestion)
    elif node.descriptor:
        yield from _by_descriptor(node, node.descriptor, finder)


def _by_descriptor(node: GrpcNode, descriptor: str, finder: Finder) -> Iterator[Problem]:
    from anabranch.graph.kinds.descriptors import encoded_files, pool_in, services_of, unary_method

    try:
        services = services_of(encoded_files(descriptor))
        pool = pool_in(descriptor)
    except InputError as error:
        message = f"has a `descriptor` that cannot be used: {error.message}"
        yield finder.problem("GRPC_DESCRIPTOR", message, "descriptor", suggestion=error.suggestion)
        return
    try:
        method = unary_method(pool, node.method, services)
    except InputError as error:
        message = f"cannot call its method: {error.message}"
        yield finder.problem("GRPC_METHOD", message, "method", suggestion=error.suggestion)
        return
    if isinstance(node.request, dict):
        yield from _unknown_fields(method.input_type, node.request, ("request",), finder)


def _unknown_fields(message: Descriptor, value: Json, path: Pointer, finder: Finder) -> Iterator[Problem]:
    """Fields of the request that its message does not have. What templates yield is known at run time only."""
    from anabranch.graph.kinds.descriptors import field_named, unknown_field

    if not isinstance(value, dict) or message.full_name.startswith("google.protobuf."):
        return
    for name, inner in value.items():
        if (field := field_named(message, name)) is None:
            suggestion = unknown_field(message, name)
            text = f"sends the field {name!r}, which {message.full_name} does not have"
            yield finder.problem("GRPC_REQUEST", text, *path, name, suggestion=suggestion)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for index, item in enumerate(inner if isinstance(inner, list) else [inner]):
                steps = (*path, name, index) if isinstance(inner, list) else (*path, name)
                yield from _unknown_fields(field.message_type, item, steps, finder)


def _secrets(node: GrpcNode, finder: Finder) -> Iterator[Problem]:
    """References to secrets that would be sent as they are written."""
    for name in ("target", "request", "metadata"):
        for steps, text in texts(getattr(node, name), (name,)):
            if (variable := secret_in(text)) is None:
                continue
            if name != "metadata" or not SECRET.fullmatch(text):
                message = f"has `env:{variable}` where it would be sent as it is written"
                yield finder.problem("GRPC_SECRET", message, *steps, suggestion=_RIGHT)
            elif not variable.startswith(SECRET_PREFIX):
                message = f"names the variable {variable}, which a graph may not send"
                suggestion = f"name it {SECRET_PREFIX}{variable.removeprefix('GRPC_')}"
                yield finder.problem("GRPC_SECRET", message, *steps, suggestion=suggestion)
