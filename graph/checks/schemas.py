"""The JSON Schemas that a graph carries, checked as schemas; and the JSON Schema of the graph language itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from pydantic.json_schema import models_json_schema

from anabranch.context.values import Json
from anabranch.errors import ConfigurationError, Problem
from anabranch.graph import node_types
from anabranch.graph.checks.schema_words import schema_advice, unknown_keywords
from anabranch.graph.dataflow.walk import levels, with_compensations
from anabranch.graph.docstrings import field_docstrings
from anabranch.graph.fields import Model
from anabranch.graph.kinds.kinds import answer_schema, kind_named
from anabranch.graph.model import AiNode, BaseNode, Graph
from anabranch.graph.source.yaml_source import Pointer, Source

if TYPE_CHECKING:
    from referencing import Registry

_LONGEST = 300
_REFERENCES = ("$ref", "$dynamicRef")


def graph_json_schema() -> dict[str, Any]:
    """The JSON Schema of the graph language, for editors."""
    models = list(_node_models())
    references, shared = models_json_schema([(model, "validation") for model in models], by_alias=True)
    schema = Graph.model_json_schema(by_alias=True)
    schema["$defs"] |= shared["$defs"]
    for model in _below(Model):
        _describe(schema if model is Graph else schema["$defs"].get(model.__name__, {}), model)
    schema["$defs"]["Node"] = {
        "oneOf": [references[model, "validation"] for model in models],
        "discriminator": {"propertyName": "type"},
    }
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Anabranch graph", **schema}
    return cast("dict[str, Any]", json.loads(json.dumps(whole).replace(node_types.NODE_REFERENCE, "#/$defs/Node")))


def _below(model: type[Model]) -> Iterator[type[Model]]:
    for each in model.__subclasses__():
        yield each
        yield from _below(each)


def _describe(schema: dict[str, Any], model: type[Model]) -> None:
    """Have editors show what each field means."""
    properties = schema.get("properties", {})
    for name, text in field_docstrings(model).items():
        shown = properties.get(model.model_fields[name].alias or name)
        if shown is not None:
            shown["description"] = f"{shown['description']}. {text}" if "description" in shown else text


def _node_models() -> Iterator[type[BaseNode]]:
    for name in node_types.names():
        with suppress(ConfigurationError):  # an editor need not know a type that no graph can have
            yield kind_named(name).model


def check_schemas(graph: Graph, source: Source) -> Iterator[Problem]:
    """Problems of every schema in the graph: of inputs, of the context, of answers of models and people."""
    told: set[tuple[str, object]] = set()
    for path, schema in _schemas(graph):
        for problem in _check(schema, path, source):
            if (where := (problem.code, problem.place)) not in told:  # a definition may stand at several places
                told.add(where)
                yield problem


def _schemas(graph: Graph) -> Iterator[tuple[Pointer, dict[str, Json]]]:
    if graph.definitions is not None:
        defined = graph.definitions.schemas
        yield from ((("definitions", "schemas", name), schema) for name, schema in defined.items())
    yield from ((("inputs", name), schema) for name, schema in (graph.inputs or {}).items())
    if graph.context.schema_ is not None:
        yield ("context", "schema"), graph.context.schema_
    for level in levels(graph):
        for path, _, outer in level.nodes():
            for where, node in with_compensations(path, outer):
                if (found := answer_schema(node)) is not None:
                    yield (*where, found[0]), found[1]
                for name, tool in ((node.tools if isinstance(node, AiNode) else None) or {}).items():
                    yield from (((*where, "tools", name, "inputs", key), each) for key, each in tool.inputs.items())


def _check(schema: dict[str, Json], path: Pointer, source: Source) -> Iterator[Problem]:
    # Imported here: graphs without a schema do not need it.
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    from anabranch.graph.json_schema import is_pattern

    try:
        # Python would compile patterns to see whether they are some, and has not the stack for those that are nested.
        Draft202012Validator.check_schema(schema, FormatChecker(()))
    except SchemaError as error:
        message = f"`{path[-1]}` is not a JSON Schema: {error.message[:_LONGEST]}"
        place = source.place((*path, *error.absolute_path))
        yield Problem("SCHEMA_INVALID", message, place, schema_advice(error.absolute_path, error.instance))
        return
    yield from unknown_keywords(schema, path, source)
    yield from _other_dialects(schema, path, source)
    alone: Registry[Any] = Registry().with_resource("", DRAFT202012.create_resource(schema))
    for where, keyword, text in _keywords(schema, path):
        if keyword == "pattern" and not is_pattern(text):
            message = f"{text[:128]!r} is not a regular expression of RE2"
            yield Problem(
                "SCHEMA_INVALID", message, source.place(where), "RE2 has no look-around and no back-reference"
            )
        elif keyword in _REFERENCES and not _resolves(alone, text):
            message = f"the schema refers to {text[:128]!r}, which is not in it"
            yield Problem("SCHEMA_REFERENCE", message, source.place(where), "define it under $defs")


def _other_dialects(schema: dict[str, Json], path: Pointer, source: Source) -> Iterator[Problem]:
    """What jsonschema would judge by itself, with Python's regular expressions."""
    from anabranch.graph.json_schema import DIALECT

    names_patterns = False
    unevaluated: Pointer | None = None
    for where, inner in _objects(schema, path):
        names_patterns = names_patterns or "patternProperties" in inner
        unevaluated = (*where, "unevaluatedProperties") if "unevaluatedProperties" in inner else unevaluated
        named = inner.get("$schema", DIALECT)
        if not isinstance(named, str) or named.rstrip("#") != DIALECT or ("$schema" in inner and where != path):
            message = "`$schema` names another dialect, or stands below the top: schemas are of 2020-12"
            yield Problem("SCHEMA_INVALID", message, source.place((*where, "$schema")), "remove it")
    if names_patterns and unevaluated is not None:
        message = "`unevaluatedProperties` beside `patternProperties` is not supported"
        yield Problem("SCHEMA_INVALID", message, source.place(unevaluated), "write `additionalProperties`")


def _objects(value: Json, path: Pointer) -> Iterator[tuple[Pointer, dict[str, Json]]]:
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from _objects(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _objects(inner, (*path, index))


def _resolves(registry: Registry[Any], reference: str) -> bool:
    from referencing.exceptions import Unresolvable

    try:
        registry.resolver().lookup(reference)
    except Unresolvable:
        return False
    return True


def _keywords(value: Json, path: Pointer) -> Iterator[tuple[Pointer, str, str]]:
    """The paths of texts with a meaning: references and patterns."""
    if isinstance(value, dict):
        for key, inner in value.items():
            where = (*path, key)
            if isinstance(inner, str):
                yield where, key, inner
            elif key == "patternProperties" and isinstance(inner, dict):
                yield from (((*where, pattern), "pattern", pattern) for pattern in inner)
            yield from _keywords(inner, where)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _keywords(inner, (*path, index))
