"""Of an answer only what its JSON Schema declares: a model may add keys, and keys decide what a run does next.

A property is declared where a schema that the value meets names it: by `properties`, `patternProperties`,
`additionalProperties`, through `$ref`, `allOf`, `anyOf`, `oneOf`, `if` and `dependentSchemas`. An object of whose
properties no schema says anything is declared as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from jsonschema.protocols import Validator
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from anabranch.context.values import Json
from anabranch.graph.json_schema import is_found

_Schema = dict[str, Any]
_OF_OBJECTS: Final = ("properties", "patternProperties", "additionalProperties", "unevaluatedProperties")
_OF_LISTS: Final = ("prefixItems", "items", "unevaluatedItems")


class Declared:
    """Keeps of values what one schema declares. The values fit the schema."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator
        self._schema: Any = validator.schema
        resource: Resource[Any] = DRAFT202012.create_resource(self._schema)
        registry: Registry[Any] = Registry()
        self._resolver = registry.with_resource("", resource).resolver()

    def only(self, value: dict[str, Json]) -> dict[str, Json]:
        """The declared part of an object."""
        kept = self._only(value, [self._schema])
        return kept if isinstance(kept, dict) else {}

    def _only(self, value: Json, schemas: Sequence[Any]) -> Json:
        if not isinstance(value, dict | list):
            return value
        met = [each for schema in schemas for each in self._met(schema, value, frozenset())]
        keywords = _OF_OBJECTS if isinstance(value, dict) else _OF_LISTS
        if not any(keyword in schema for schema in met for keyword in keywords):
            return value
        if isinstance(value, list):
            return [self._only(item, [_of_item(schema, index) for schema in met]) for index, item in enumerate(value)]
        found = {key: [each for schema in met for each in _of_property(schema, key)] for key in value}
        return {key: self._only(inner, found[key]) for key, inner in value.items() if found[key]}

    def _met(self, schema: Any, value: Json, seen: frozenset[int]) -> Iterator[_Schema]:
        """The schemas that a value meets by meeting this one: it, and what it refers to."""
        if not isinstance(schema, dict) or id(schema) in seen:
            return
        seen |= {id(schema)}
        yield schema
        for inner in self._applied(schema, value):
            yield from self._met(inner, value, seen)

    def _applied(self, schema: _Schema, value: Json) -> Iterator[Any]:
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(reference := schema.get(keyword), str):
                yield self._referred(reference)
        yield from schema.get("allOf", ())
        for keyword in ("anyOf", "oneOf"):
            yield from (each for each in schema.get(keyword, ()) if self._fits(value, each))
        if "if" in schema:
            holds = self._fits(value, schema["if"])
            yield from (schema["if"], schema.get("then")) if holds else (schema.get("else"),)
        for key, inner in schema.get("dependentSchemas", {}).items():
            if isinstance(value, dict) and key in value:
                yield inner

    def _fits(self, value: Json, schema: Any) -> bool:
        return bool(self._validator.evolve(schema=schema).is_valid(value))

    def _referred(self, reference: str) -> Any:
        try:
            return self._resolver.lookup(reference).contents
        except Unresolvable:
            return None


def _of_property(schema: _Schema, key: str) -> list[Any]:
    """What a schema says of one property; nothing where it does not declare it."""
    found = [schema["properties"][key]] if key in schema.get("properties", {}) else []
    found += [inner for pattern, inner in schema.get("patternProperties", {}).items() if is_found(pattern, key)]
    for keyword in ("additionalProperties", "unevaluatedProperties"):
        if not found and schema.get(keyword, False) is not False:
            found = [schema[keyword]]
    return found


def _of_item(schema: _Schema, index: int) -> Any:
    """What a schema says of one item; everything is allowed where it says nothing."""
    first = schema.get("prefixItems", ())
    return first[index] if index < len(first) else schema.get("items", schema.get("unevaluatedItems", True))
