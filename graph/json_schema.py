"""Values against JSON Schemas (2020-12), in bounded time.

jsonschema searches with Python's regular expressions, for which one short text may take years. Here patterns are RE2's,
as those of expressions are, and beyond a bound the text does not fit. And jsonschema follows references until Python's
stack is used up, which is elsewhere in every replay; here they are counted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

from anabranch.graph.expressions.cel_values import EvaluationFailed
from anabranch.graph.expressions.cost import Cost, OverCost
from anabranch.graph.expressions.functions.conversions import matches

_DEEPEST: Final = 100
"""References that are followed inside of each other: a hundred levels take most of Python's stack."""
_MOST: Final = 20_000
"""References that are followed for one that no other is around of."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def validator_of(schema: Mapping[str, Any]) -> Validator:
    """A validator of a schema that `check_schemas` has passed. References lead nowhere outside of it."""
    # jsonschema takes the class of the dialect that a schema names, in place of this one.
    own = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
    validator: Validator = _Validator(own, registry=Registry())
    return validator


def first_error(validator: Validator, value: Any) -> ValidationError | None:
    """What of a value does not fit first; None if it fits."""
    try:
        return next(iter(validator.iter_errors(value)), None)
    except SchemaUnbounded as error:
        return ValidationError(str(error))


class SchemaUnbounded(Exception):
    """To judge a value takes more references of its schema than are followed."""


@dataclass(slots=True)
class _Trail:
    """The references that are being followed, each with the identity of its value."""

    open: set[tuple[str, int]] = field(default_factory=set)
    left: int = _MOST


_trail: Final[ContextVar[_Trail | None]] = ContextVar("anabranch_schema_references", default=None)


def _reference(validator: Any, reference: str, value: Any, _schema: object) -> list[ValidationError]:
    if (trail := _trail.get()) is not None:
        return _follow(trail, validator, reference, value)
    token = _trail.set(trail := _Trail())
    try:
        return _follow(trail, validator, reference, value)
    finally:
        _trail.reset(token)


def _follow(trail: _Trail, validator: Any, reference: str, value: Any) -> list[ValidationError]:
    step = (reference, id(value))
    trail.left -= 1
    if step in trail.open or len(trail.open) >= _DEEPEST or trail.left < 0:
        raise SchemaUnbounded(f"the schema's reference {reference[:100]!r} is followed without end, or too often")
    trail.open.add(step)
    try:
        resolved = validator._resolver.lookup(reference)  # noqa: SLF001 - the library's own keyword does the same
        return list(validator.descend(value, resolved.contents, resolver=resolved.resolver))
    finally:
        trail.open.discard(step)


def is_found(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text. Raises OverCost; EvaluationFailed for what is no pattern of RE2."""
    return matches(Cost(), text, pattern)


def is_pattern(pattern: str) -> bool:
    """Whether this is a pattern of RE2, and not too large."""
    try:
        is_found(pattern, "")
    except (EvaluationFailed, OverCost):
        return False
    return True


def _pattern(validator: Validator, pattern: str, value: Any, _schema: object) -> Iterator[ValidationError]:
    if not validator.is_type(value, "string"):
        return
    try:
        fits = is_found(pattern, value)
    except OverCost:
        yield ValidationError(f"a text of {len(value)} characters is too long for the pattern {pattern!r}")
        return
    if not fits:
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, _schema: object
) -> Iterator[ValidationError]:
    if not validator.is_type(value, "object"):
        return
    for pattern, schema in patterns.items():
        for name, inner in value.items():
            try:
                fits = is_found(pattern, name)
            except OverCost:
                yield ValidationError(f"a name of {len(name)} characters is too long for the pattern {pattern!r}")
                continue
            if fits:
                yield from validator.descend(inner, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, additional: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not validator.is_type(value, "object"):
        return
    patterns = schema.get("patternProperties", {})
    known = schema.get("properties", {})
    extras = [name for name in value if name not in known and not any(_names(each, name) for each in patterns)]
    if validator.is_type(additional, "object"):
        for name in extras:
            yield from validator.descend(value[name], additional, path=name)
    elif not additional and extras:
        names = ", ".join(map(repr, sorted(extras)))
        yield ValidationError(f"additional properties are not allowed: {names}")


def _names(pattern: str, name: str) -> bool:
    try:
        return is_found(pattern, name)
    except OverCost:  # `patternProperties` says so
        return True


def _unique_items(validator: Validator, unique: bool, value: Any, _schema: object) -> Iterator[ValidationError]:
    """Each item is looked up among those before it. The library compares each with each."""
    if unique and validator.is_type(value, "array") and len({_comparable(each) for each in value}) < len(value):
        yield ValidationError(f"two items are equal, of {len(value)} that must all differ")


def _comparable(value: Any) -> Hashable:
    """What is equal for equal JSON, of which `true` is no number."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, dict):
        return "object", frozenset((name, _comparable(each)) for name, each in value.items())
    return ("array", *map(_comparable, value)) if isinstance(value, list) else value


_Validator: Final[Any] = extend(  # type: ignore[no-untyped-call]  # its stub has no types
    Draft202012Validator,
    {
        "$ref": _reference,
        "$dynamicRef": _reference,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    },
)
