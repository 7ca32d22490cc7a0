"""Checks of a run's input, and of its context at every write (`context.schema`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.context.wire import measure
from anabranch.errors import InputMissing, ReservedName, SchemaViolation
from anabranch.graph.expressions.expressions import ROOTS
from anabranch.graph.plan import Plan
from anabranch.workflows.interpreter.writers import writer_place


def check_input(plan: Plan, data: Mapping[str, Json]) -> None:
    """Reject an input that lacks keys which the graph reads and never writes, naming all of them.

    Raises WireFormatError if the data is not JSON, ReservedName, InputMissing, SchemaViolation.
    """
    measure(dict(data))
    check_names(ChangeSet(0, {(key,): value for key, value in data.items()}))
    missing = sorted(plan.inputs - data.keys())
    if missing:
        raise InputMissing(
            f"the input of graph {plan.graph.name!r} lacks {', '.join(map(repr, missing))}",
            suggestion="give these keys in the input; `anabranch validate` lists a graph's inputs",
        )
    check_schema(plan, data, "input")


def check_names(changes: ChangeSet, roots: Iterable[str] = ()) -> None:
    """Reject keys whose names mean something else in expressions: `run`, `context`, in a body its `roots`.

    Raises ReservedName.
    """
    if found := {path[0] for path in changes.set} & ROOTS.union(roots):
        name = min(found)
        raise ReservedName(
            f"{name!r} is a reserved name, which the context cannot have as a key",
            suggestion="it means something else in expressions: give the key another name, or map it by `output`",
        )


def check_schema(plan: Plan, data: Mapping[str, Json], by: str) -> None:
    """Reject a context that does not match its graph's schema. Raises SchemaViolation, naming path and writer."""
    schema = plan.graph.context.schema_
    if schema is None:
        return
    check_value_against(schema, data, what="the context", by=by)


def check_value_against(schema: Mapping[str, Any], value: Any, *, what: str, by: str) -> None:
    """Reject a value that does not match a JSON Schema. Raises SchemaViolation."""
    error = next(iter(_validator(_Key(schema)).iter_errors(value)), None)
    if error is not None:
        path = error.json_path.removeprefix("$").lstrip(".") or what
        raise SchemaViolation(
            f"{path}: {error.message[:300]}",
            place=writer_place(by),
            suggestion=f"{what} must match the schema in the graph",
        )


class _Key:
    """The identity of a schema object. Schemas are not hashable, and live as long as their plan."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.schema is self.schema


@lru_cache(maxsize=256)
def _validator(key: _Key) -> Draft202012Validator:
    return Draft202012Validator(key.schema)
