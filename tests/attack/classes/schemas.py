"""Hostile JSON Schemas, and values against them, the way of a graph's `context.schema`.

A schema is refused with its place, or it judges a value in bounded time and memory: a typed error says why it does not
fit.
Where nothing of it could take long, the verdict is that of the library alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from jsonschema import Draft202012Validator

from anabranch.errors import GraphError, SchemaViolation, WireFormatError
from anabranch.graph.load import load_text
from anabranch.graph.plan import plan_graph
from anabranch.workflows.interpreter.input import check_input
from tests.attack.attack import Attack, Tally
from tests.attack.forked import Outcome, forked
from tests.cost import Cost, Limit

_LIMIT: Final = Limit(seconds=3.0)
_LONGEST_MESSAGE: Final = 20_000
_SLOW: Final = "^(a+)+$"
_TEXT: Final = "a" * 60 + "!"
_CANARY: Final = "canary-behind-a-reference"
_PATTERNS: Final = [
    *(_SLOW, "(a|a)*$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*)*x", "(x+x+)+y", "(?:a?){50}a{50}"),
    *("(.{1000}){900}", "a{1,1000}{1,1000}", "(" * 500 + "a" + ")" * 500, "[" + "a-z" * 5000 + "]", "(?=a)b"),
    *(r"(a)\1", "(?P<a>x)", "(", "[z-a]", "\\", r"\p{L}+", r"\x{110000}", "", "^$", "a", "\ud800", "(?i)\u017f"),
]
_VALUES: Final[list[Any]] = [
    *(None, True, 0, -1, 0.1, 1e308, -1e-308, 5e-324, 2**63, -(2**63), "", "a", _TEXT, "a" * 200_000, "🦀" * 999),
    *([], {}, [1, 1.0, True], [[]] * 3000, [{"a": n} for n in range(3000)], {_TEXT: 1}, {"a": {"a": {"a": 1}}}),
    *({f"k{n}": n for n in range(5000)}, [0.1] * 20_000, ["a" * 50 + str(n) for n in range(5000)]),
]
_NUMBERS: Final[list[Any]] = [0, 1, -1, 0.1, 1e-308, 5e-324, 1e308, 2**62, 3, 1e-9]
_REFERENCES: Final = [
    *(
        "#",
        "#/$defs/a",
        "#/$defs/b",
        "#/$defs",
        "#/properties/a",
        "#a",
        "#/absent",
        "file:///etc/passwd",
        "http://127.0.0.1:9/x",
    ),
    *("https://json-schema.org/draft/2020-12/schema", "../x", "#/%24defs/a", "#/$defs/a/", "#/allOf/0", "urn:x", ""),
]


def _deep(wrap: Callable[[Any], Any], depth: int) -> Any:
    schema: Any = {"type": "integer"}
    for _ in range(depth):
        schema = wrap(schema)
    return schema


def _doubling(keyword: str, depth: int) -> dict[str, Any]:
    """References that lead to twice as many each time."""
    defs = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(depth)}
    return {"$defs": {**defs, f"d{depth}": {"type": "null"}}, "$ref": "#/$defs/d0"}


_CASES: Final[list[tuple[str, Any, Any]]] = [
    *((f"pattern {each[:30]!r}", {"pattern": each}, _TEXT) for each in _PATTERNS),
    *((f"patternProperties {each[:30]!r}", {"patternProperties": {each: {}}}, {_TEXT: 1}) for each in _PATTERNS),
    *((f"propertyNames {each[:30]!r}", {"propertyNames": {"pattern": each}}, {_TEXT: 1}) for each in _PATTERNS),
    *(
        (f"$ref {each}", {"$ref": each, "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, [1])
        for each in _REFERENCES
    ),
    *((f"$dynamicRef {each}", {"$dynamicRef": each, "$defs": {"a": {}}}, [1]) for each in _REFERENCES),
    *((f"twice as many {word}", _doubling(word, 60), 1) for word in ("anyOf", "allOf", "oneOf")),
    ("itself in each item", {"items": {"$ref": "#"}, "not": {"type": "integer"}}, [[[[[]]]]] * 2000),
    ("nested not", _deep(lambda inner: {"not": inner}, 25), 1),
    ("nested items", _deep(lambda inner: {"items": inner}, 25), [[[[]]]]),
    ("nested anyOf", _deep(lambda inner: {"anyOf": [inner, inner]}, 12), "x"),
    ("unique objects", {"uniqueItems": True}, [{"a": {"b": n}} for n in range(5000)]),
    ("unique lists", {"uniqueItems": True}, [[n, [n]] for n in range(5000)]),
    ("unique of each kind", {"uniqueItems": True}, [n if n % 2 else str(n) for n in range(5000)]),
    ("a large enum", {"enum": [{"a": n} for n in range(3000)]}, {"a": 2999}),
    ("a large enum for each item", {"items": {"enum": list(range(3000))}}, list(range(3000))),
    ("contains", {"contains": {"contains": {"const": 1}}, "minContains": 2}, [[n] * 50 for n in range(2000)]),
    ("unevaluated", {"unevaluatedProperties": False, "anyOf": [{"properties": {"a": {}}}] * 50}, _VALUES[-3]),
    ("unevaluated items", {"unevaluatedItems": False, "prefixItems": [{}] * 100}, [1] * 5000),
    *(
        (f"multipleOf {each}", {"multipleOf": abs(each) or 1}, value)
        for each in _NUMBERS
        for value in (1e308, 0.1, 2**62)
    ),
    ("another dialect", {"$schema": "http://json-schema.org/draft-04/schema#", "pattern": _SLOW}, _TEXT),
    ("a dialect below", {"properties": {"a": {"$schema": "x"}}}, {"a": 1}),
    ("an identity elsewhere", {"$id": "file:///etc/", "$ref": "passwd"}, 1),
    ("an anchor", {"$defs": {"x": {"$anchor": "a", "$ref": "#a"}}, "$ref": "#a"}, 1),
]
_BRANCHES: Final = ("anyOf", "allOf", "oneOf", "prefixItems")
_WORDS: Final = (
    *(*_BRANCHES, "not", "items", "contains", "additionalProperties", "propertyNames", "if", "then", "else"),
    *("properties", "patternProperties", "dependentSchemas", "pattern", "$ref", "type", "enum", "const", "required"),
    *(
        "minimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxItems",
        "uniqueItems",
        "format",
        "unevaluatedItems",
    ),
)
_HARD: Final = {
    "pattern",
    "patternProperties",
    "$ref",
    "$dynamicRef",
    "$id",
    "$schema",
    "multipleOf",
    "unevaluatedItems",
}
"""What the library alone is not asked to judge: it may take for ever, or raises what is not its own."""


async def run(tally: Tally, numbers: range) -> None:
    """Judge by the schemas with these numbers."""
    for number in numbers:
        name, schema, value = _CASES[number] if number < len(_CASES) else _generated(tally.rng)
        outcome = forked(partial(said, schema, value), _LIMIT)
        tally.judge(f"{number} {name}", wrong(outcome, schema, value), refused=outcome.said.startswith("refused"))
    _controls(tally)


def said(schema: Any, value: Any) -> str:
    """What came of it: the schema was refused, or the value, or it fits."""
    nodes = {"a": {"type": "rule", "rules": [{"then": {"x": 1}}]}}
    try:
        graph = load_text(json.dumps({"name": "x", "inputs": {"v": schema}, "nodes": nodes}), "hostile.yaml").graph
    except GraphError as error:
        return f"refused schema {error}" if all(each.code for each in error.problems) else "untyped refusal"
    try:
        check_input(plan_graph(graph), {"v": value})
    except SchemaViolation as error:
        return f"refused value {error}"
    except WireFormatError as error:
        return f"refused no JSON {error}"
    return "fits"


def wrong(outcome: Outcome, schema: Any, value: Any) -> str | None:
    """What the schema did that it must not."""
    if outcome.wrong is not None:
        return outcome.wrong
    if _CANARY in outcome.said:
        return "a file was read"
    if not outcome.said.startswith(("fits", "refused ")):
        return outcome.said
    if len(outcome.said) > _LONGEST_MESSAGE:
        return f"the refusal has {len(outcome.said)} characters"
    judged = outcome.said == "fits" or outcome.said.startswith("refused value")
    if judged and not _words(schema) & _HARD and (outcome.said == "fits") != _fits_the_library(schema, value):
        return f"the library alone says otherwise: {outcome.said[:200]}"
    return None


def _words(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(_words, schema)) if len(schema) < 50 else _HARD | set()
    if not isinstance(schema, dict):
        return set()
    return set(schema).union(*map(_words, schema.values())) if len(schema) < 50 else _HARD | set()


def _fits_the_library(schema: Any, value: Any) -> bool:
    return bool(Draft202012Validator(schema).is_valid(value))


def _generated(rng: random.Random) -> tuple[str, Any, Any]:
    schema = _schema(rng, 5)
    value = rng.choice(_VALUES) if rng.random() < 0.6 else _value(rng, 4)
    return repr(schema)[:160], schema, value


def _schema(rng: random.Random, depth: int) -> dict[str, Any]:
    words = rng.sample(_WORDS, rng.randint(1, 4))
    made = {word: _under(word, rng, depth) for word in words}
    if depth == 5:
        made["$defs"] = {"a": _schema(rng, 2), "b": {"$ref": rng.choice(_REFERENCES[:3])}}
    return {word: each for word, each in made.items() if each is not None}


def _under(word: str, rng: random.Random, depth: int) -> Any:
    """What a keyword holds; None where it would be too deep."""
    simple: dict[str, Callable[[], Any]] = {
        "pattern": lambda: rng.choice(_PATTERNS[:9]),
        "$ref": lambda: rng.choice(_REFERENCES[:3]),
        "type": lambda: rng.choice(["string", "number", "integer", "object", "array", "null", ["string", "array"]]),
        "enum": lambda: [rng.choice(_VALUES[:11]) for _ in range(3)],
        "const": lambda: rng.choice(_VALUES[:13]),
        "required": lambda: rng.sample(["a", "b", _TEXT, "k1"], 2),
        "uniqueItems": lambda: True,
        "format": lambda: rng.choice(["date-time", "regex", "ipv6", "uri", "x"]),
        "minLength": lambda: rng.choice([0, 1, 2**62]),
        "maxItems": lambda: rng.choice([0, 1, 2**62]),
        "multipleOf": lambda: abs(rng.choice(_NUMBERS)) or 1,
        "minimum": lambda: rng.choice(_NUMBERS),
        "exclusiveMaximum": lambda: rng.choice(_NUMBERS),
    }
    if word in simple:
        return simple[word]()
    if depth == 0:
        return None
    if word in _BRANCHES:
        return [_schema(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    if word in ("properties", "dependentSchemas"):
        return {rng.choice(["a", "b", "k1", _TEXT]): _schema(rng, depth - 1) for _ in range(2)}
    if word == "patternProperties":
        return {rng.choice(_PATTERNS[:9]): _schema(rng, depth - 1)}
    return _schema(rng, depth - 1) if rng.random() < 0.8 else rng.random() < 0.5


def _value(rng: random.Random, depth: int) -> Any:
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(_VALUES[:18])
    if rng.random() < 0.5:
        return [_value(rng, depth - 1) for _ in range(rng.randint(0, 5))]
    return {rng.choice(["a", "b", "k1", _TEXT]): _value(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def _controls(tally: Tally) -> None:
    """What jsonschema does alone, by Python's regular expressions and without bounds."""
    slow, short = {"pattern": "(a|a)*$"}, "a" * 26 + "!"
    searched = forked(lambda: f"fits {_fits_the_library(slow, short)}", Limit(seconds=0.5))
    tally.control("a pattern that Python searches", seen=wrong(searched, slow, short) is not None)
    endless = {"$ref": "#"}
    followed = forked(lambda: _without_bounds(endless), _LIMIT)
    tally.control("a reference without end", seen=wrong(followed, endless, 1) is not None)
    let_in = Outcome("fits", None, Cost(), _LIMIT)
    tally.control("a value that does not fit", seen=wrong(let_in, {"type": "string"}, 1) is not None)


def _without_bounds(schema: Any) -> str:
    try:
        return f"fits {_fits_the_library(schema, 1)}"
    except RecursionError:
        return "the stack is used up"


SCHEMAS = Attack("schemas", run, small=400, release=12_000, chunk=100)
