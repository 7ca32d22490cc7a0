"""Words in JSON Schemas that are none of them: `type: int`, `required: false`, `minLenght`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

from anabranch.context.values import Json
from anabranch.errors import Problem
from anabranch.graph.source.yaml_source import Pointer, Source

_TYPES: Final = ("string", "number", "integer", "boolean", "array", "object", "null")
_OPTIONAL: Final = "an input may be left out where it has a `default`; of an object, `required` lists the names"
_OTHER_TYPES: Final = {
    **dict.fromkeys(("int", "long", "int32", "int64", "bigint"), "write integer"),
    **dict.fromkeys(("str", "text", "char", "varchar"), "write string"),
    **dict.fromkeys(("float", "double", "decimal", "numeric"), "write number"),
    **dict.fromkeys(("bool",), "write boolean"),
    **dict.fromkeys(("list", "tuple", "set"), "write array"),
    **dict.fromkeys(("map", "dict", "json", "struct", "record"), "write object"),
    **dict.fromkeys(("none", "nil"), "write null"),
    **dict.fromkeys(("any", "mixed"), "leave `type` out: {} is any value"),
    **dict.fromkeys(("date", "time", "email", "uuid", "uri"), "write {type: string, format: …}"),
    "datetime": "write {type: string, format: date-time}",
    "secret": "a secret is no input: it is named where it is used, by env:HTTP_SECRET_NAME",
}
_KEYWORDS: Final = frozenset(
    {"$schema", "$id", "$ref", "$defs", "$anchor", "$comment", "$dynamicRef", "$dynamicAnchor", "$vocabulary"}
    | {"type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"}
    | {"maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains"}
    | {"maxProperties", "minProperties", "required", "dependentRequired", "allOf", "anyOf", "oneOf", "not", "if"}
    | {"then", "else", "dependentSchemas", "prefixItems", "items", "contains", "properties", "patternProperties"}
    | {"additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "title", "description"}
    | {"default", "deprecated", "readOnly", "writeOnly", "examples", "format", "contentEncoding", "contentMediaType"}
    | {"contentSchema", "definitions", "dependencies", "additionalItems"}
)
_OTHER_WORDS: Final = {
    "optional": _OPTIONAL,
    "nullable": "write `type: [string, 'null']`",
    "min": "write `minimum`, `minLength` or `minItems`",
    "max": "write `maximum`, `maxLength` or `maxItems`",
    "values": "write `enum`",
    "choices": "write `enum`",
    "regex": "write `pattern`",
    "help": "write `description`",
}
_OF_SCHEMAS: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""What holds schemas by names."""
_SCHEMAS: Final = frozenset(
    {"items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"}
    | {"allOf", "anyOf", "oneOf", "prefixItems", "unevaluatedItems", "unevaluatedProperties"}
)
_AS_NEAR: Final = 0.8
_SHORTEST: Final = 4


def schema_advice(path: Sequence[str | int], given: object) -> str | None:
    """What to write for a part of a schema that is refused; None where nobody can tell."""
    if "required" in path and isinstance(given, bool):
        return _OPTIONAL
    word = given[0] if isinstance(given, list) and given else given
    if "type" not in path or not isinstance(word, str):
        return None
    near = get_close_matches(word[:32].lower(), _TYPES, n=1)
    return (
        _OTHER_TYPES.get(word.lower()) or f"write {near[0]}"
        if near or word.lower() in _OTHER_TYPES
        else (f"the types are {', '.join(_TYPES)}")
    )


def unknown_keywords(schema: Json, path: Pointer, source: Source) -> Iterator[Problem]:
    """A warning for each word of a schema that looks like a keyword and is none: it says nothing."""
    if isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from unknown_keywords(inner, (*path, index), source)
    if not isinstance(schema, dict):
        return
    for word, inner in schema.items():
        where = (*path, word)
        if word in _OF_SCHEMAS and isinstance(inner, dict):
            for name, each in inner.items():
                yield from unknown_keywords(each, (*where, name), source)
        elif word in _SCHEMAS:
            yield from unknown_keywords(inner, where, source)
        elif word not in _KEYWORDS and (advice := _meant(word)) is not None:
            message = f"`{word[:64]}` is no keyword of JSON Schema, and says nothing"
            yield Problem("SCHEMA_KEYWORD", message, source.place(where, key=True), advice, warning=True)


def _meant(word: str) -> str | None:
    if (advice := _OTHER_WORDS.get(word)) is not None:
        return advice
    near = get_close_matches(word[:32], _KEYWORDS, n=1, cutoff=_AS_NEAR) if len(word) >= _SHORTEST else []
    return f"did you mean `{near[0]}`?" if near else None
