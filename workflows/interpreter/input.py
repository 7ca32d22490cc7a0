"""Checks of a run's input, and of its context at every write (`context.schema`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from jsonschema.protocols import Validator

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.context.wire import measure, measure_plain
from anabranch.errors import InputMissing, ReservedName, SchemaViolation
from anabranch.graph.dataflow.handlers import ERRORS
from anabranch.graph.expressions.expressions import ROOTS
from anabranch.graph.json_schema import first_error, validator_of
from anabranch.graph.model import Graph
from anabranch.graph.plan import Plan
from anabranch.workflows.interpreter.writers import writer_place


def check_input(plan: Plan, data: Mapping[str, Json]) -> tuple[Mapping[str, Json], int]:
    """The data that a run starts with, which is its input and the defaults of the graph's `inputs`; and its size.

    The size is in bytes of MessagePack, which the check makes of it anyway.

    Reject one that lacks keys which the graph must be given, naming all of them, or that does not fit.

    Raises WireFormatError if the data is not JSON, ReservedName, InputMissing, SchemaViolation.
    """
    size = measure(dict(data))
    check_names(ChangeSet(0, {(key,): value for key, value in data.items()}))
    _check_complete(plan.graph, plan.inputs - data.keys())
    filled = data if plan.graph.inputs is None else with_inputs(plan.graph, plan.graph.inputs, data)
    check_schema(plan, filled, "input")
    return filled, size + sum(measure_plain(value) for key, value in filled.items() if key not in data)


def with_inputs(
    graph: Graph, inputs: Mapping[str, Mapping[str, Json]], data: Mapping[str, Json], around: Mapping[str, Json] = {}
) -> dict[str, Json]:
    """The data with the defaults of what it lacks of a graph's `inputs`; names of a loop `around` count as given.

    Raises InputMissing, SchemaViolation, naming the input.
    """
    given = {**data, **around} if around else data
    _check_complete(graph, [name for name, schema in inputs.items() if "default" not in schema and name not in given])
    for name, schema in inputs.items():
        if name in given:
            _check_one(graph, name, schema, given[name])
    absent = (name for name, schema in inputs.items() if name not in given and "default" in schema)
    return {**data, **{name: inputs[name]["default"] for name in absent}}


def _check_complete(graph: Graph, missing: Collection[str]) -> None:
    if missing:
        raise InputMissing(
            f"the input of graph {graph.name!r} lacks {', '.join(map(repr, sorted(missing)))}",
            suggestion="give these keys in the input; `anabranch validate` lists a graph's inputs",
        )


def _check_one(graph: Graph, name: str, schema: Mapping[str, Json], value: Json) -> None:
    error = first_error(_validator(_Key(schema)), value)
    if error is not None:
        path = error.json_path.removeprefix("$")
        raise SchemaViolation(
            f"the input `{name}{path}` of graph {graph.name!r}: {error.message[:300]}",
            suggestion=f"it must match the schema under `inputs.{name}` of the graph",
        )


def check_names(changes: ChangeSet, roots: Iterable[str] = ()) -> None:
    """Reject keys whose names mean something else in expressions: `run`, `context`, in a body its `roots`.

    What handles an error may write a key of that name: who joins the branch sees it.

    Raises ReservedName.
    """
    if found := {path[0] for path in (*changes.set, *changes.appended)} & (ROOTS.union(roots) - ERRORS):
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
    error = first_error(_validator(_Key(schema)), value)
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
def _validator(key: _Key) -> Validator:
    return validator_of(key.schema)
