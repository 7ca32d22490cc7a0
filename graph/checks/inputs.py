"""`inputs` of a graph: defaults that do not fit, what is said twice, and what other graphs are not given."""

from __future__ import annotations

from collections.abc import Iterator

from anabranch.context.values import Json
from anabranch.errors import Problem
from anabranch.graph.dataflow.dataflow import Library
from anabranch.graph.dataflow.walk import levels
from anabranch.graph.expressions.expressions import ROOTS
from anabranch.graph.model import Graph, GraphNode
from anabranch.graph.source.problems import described, did_you_mean, nearest
from anabranch.graph.source.yaml_source import Pointer, Source

_LONGEST = 300


def check_inputs(graph: Graph, source: Source) -> Iterator[Problem]:
    """Problems of the inputs that a graph declares, where their schemas are schemas."""
    if graph.inputs is None:
        return
    for name, schema in graph.inputs.items():
        path = ("inputs", name)
        if name in ROOTS:
            message = f"the input `{name}` has a reserved name, which the context cannot have as a key"
            yield Problem("NAME_RESERVED", message, source.place(path, key=True), "give it another name")
        if "default" in schema and (wrong := misfit(schema["default"], schema)) is not None:
            message = f"the default of the input `{name}` does not fit its own schema: {wrong}"
            yield Problem("INPUT_DEFAULT", message, source.place((*path, "default")))
    yield from _said_twice(graph, graph.inputs, source)


def check_given(graph: Graph, library: Library, source: Source) -> Iterator[Problem]:
    """Problems of what nodes give to other graphs by `input`."""
    for level in levels(graph):
        for path, _, node in level.nodes():
            if isinstance(node, GraphNode) and node.input is not None:
                for name in [each for each in node.named if each in library]:
                    yield from _lacking(path, name, node.input, library, source)
                    yield from _unfit(path, node.input, library[name], source)


def _said_twice(graph: Graph, inputs: dict[str, dict[str, Json]], source: Source) -> Iterator[Problem]:
    schema = graph.context.schema_ or {}
    if "required" in schema:
        place = source.place(("context", "schema", "required"), key=True)
        message = "`inputs` say what a run is started with, and `context.schema.required` says it again"
        suggestion = "remove `required`: an input without a `default` is required"
        yield Problem("INPUTS_TWICE", message, place, suggestion)
    properties = schema.get("properties")
    for name in inputs:
        if isinstance(properties, dict) and name in properties:
            place = source.place(("context", "schema", "properties", name), key=True)
            message = f"the input `{name}` is declared under `context.schema.properties` too"
            suggestion = f"move what it says to `inputs.{name}`; the schema is for the keys that nodes write"
            yield Problem("INPUTS_TWICE", message, place, suggestion)


def _lacking(path: Pointer, graph: str, given: dict[str, Json], library: Library, source: Source) -> Iterator[Problem]:
    for name in sorted(library.inputs(graph) - given.keys()):
        message = f"{described(path)} does not give the graph {graph!r} its input `{name}`"
        near = nearest(name, [other for other in given if other not in library.inputs(graph)])
        advice = f"rename `{near}` to it" if near else f'add `{name}: "{{{{ {name} }}}}"`, or a value'
        yield Problem("INPUT_LACKING", message, source.place((*path, "input"), key=True), advice)


def _unfit(path: Pointer, given: dict[str, Json], inner: Graph, source: Source) -> Iterator[Problem]:
    """Names near those of inputs that may be left out, and values without holes that do not fit."""
    inputs = inner.inputs or {}
    for name, value in given.items():
        where = (*path, "input", name)
        if name in inputs:
            if "{{" not in str(value) and (wrong := misfit(value, inputs[name])) is not None:
                message = f"{described(where)} does not fit the input of the graph {inner.name!r}: {wrong}"
                yield Problem("INPUT_UNFIT", message, source.place(where))
        elif (near := did_you_mean(name, [other for other in inputs if other not in given])) is not None:
            message = f"{described(path)} gives the graph {inner.name!r} the key `{name}`, which is none of its inputs"
            yield Problem("INPUT_SIMILAR", message, source.place(where, key=True), near, warning=True)


def misfit(value: Json, schema: dict[str, Json]) -> str | None:
    """What of a value does not fit a schema; the schema is a valid one."""
    from anabranch.graph.json_schema import first_error, validator_of  # graphs without inputs do not need it

    error = first_error(validator_of(schema), value)
    return None if error is None else error.message[:_LONGEST]
