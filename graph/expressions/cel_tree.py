"""The wire form of a CEL syntax tree: a serialized `cel.expr.ParsedExpr`, as the runtime's parser hands it out.

The schema is https://github.com/google/cel-spec/blob/master/proto/cel/expr/syntax.proto.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint64": _Field.TYPE_UINT64,
}
# The part of syntax.proto that is looked at: message, field, (number, type); a star repeats. Protobuf keeps the rest.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "ParsedExpr": {"expr": (2, "Expr"), "source_info": (3, "SourceInfo")},
    "SourceInfo": {"positions": (4, "Position*")},
    "Position": {"key": (1, "int64"), "value": (2, "int32")},
    "Expr": {
        "id": (2, "int64"),
        "constant": (3, "Constant"),
        "ident": (4, "Ident"),
        "select": (5, "Select"),
        "call": (6, "Call"),
        "list": (7, "List"),
        "struct": (8, "Struct"),
        "loop": (9, "Comprehension"),
    },
    "Constant": {
        "null_value": (1, "int32"),
        "bool_value": (2, "bool"),
        "int64_value": (3, "int64"),
        "uint64_value": (4, "uint64"),
        "double_value": (5, "double"),
        "string_value": (6, "string"),
        "bytes_value": (7, "bytes"),
    },
    "Ident": {"name": (1, "string")},
    "Select": {"operand": (1, "Expr"), "field": (2, "string"), "test_only": (3, "bool")},
    "Call": {"target": (1, "Expr"), "function": (2, "string"), "args": (3, "Expr*")},
    "List": {"elements": (1, "Expr*"), "optional_indices": (2, "int32*")},
    "Struct": {"name": (1, "string"), "entries": (2, "Entry*")},
    "Entry": {"map_key": (3, "Expr"), "value": (4, "Expr"), "optional_entry": (5, "bool")},
    "Comprehension": {
        "iter_var": (1, "string"),
        "iter_range": (2, "Expr"),
        "accu_var": (3, "string"),
        "accu_init": (4, "Expr"),
        "loop_condition": (5, "Expr"),
        "loop_step": (6, "Expr"),
        "result": (7, "Expr"),
    },
}


def _schema() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="cel_syntax.proto", package="cel", syntax="proto2")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
            added = described.field.add(name=name, number=number, label=label)
            if scalar := _SCALARS.get(kind.rstrip("*")):
                added.type = scalar
            else:
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".cel.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


# Declared as proto2, where a constant `false` or `""` is told apart from none.
_POOL = _schema()
_ParsedExpr: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("cel.ParsedExpr"))
Expr: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("cel.Expr"))


class SyntaxRefused(ValueError):
    """The tree holds what Anabranch does not evaluate. `offset` counts the source's characters."""

    def __init__(self, message: str, offset: int, suggestion: str) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.suggestion = suggestion


class Tree:
    """A parsed expression: its root, and the offsets of its nodes in the source."""

    __slots__ = ("_parsed", "offsets")

    def __init__(self, serialized: bytes) -> None:
        self._parsed = _ParsedExpr.FromString(any_pb2.Any.FromString(serialized).value)
        self.offsets: dict[int, int] = {at.key: at.value for at in self._parsed.source_info.positions}

    @property
    def root(self) -> Any:
        """The outermost `Expr`."""
        return self._parsed.expr
