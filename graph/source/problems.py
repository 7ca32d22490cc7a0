"""What pydantic found wrong with a file's shape, as sentences that name the node, the place and a suggestion.

Pydantic's `loc` mixes the keys of the value with the labels of unions. `_walk` follows it through the model's
annotations, so that each problem gets the path that the author wrote.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from anabranch.context.values import Json
from anabranch.errors import ConfigurationError, Problem
from anabranch.graph import node_types
from anabranch.graph.fields import Model
from anabranch.graph.model import BaseNode, ForeachNode, Graph
from anabranch.graph.source.elsewhere import field_advice, type_advice, value_advice
from anabranch.graph.source.shapes import duration_advice, pattern_advice, shape_advice
from anabranch.graph.source.yaml_source import Pointer, Source, value_at

_LONGEST = 300
_SECRET = "connection"  # noqa: S105 - the field whose value may be a mistaken secret: never shown
_MESSAGES = {
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping (`key: value`)",
    "model_type": "must be a mapping (`key: value`)",
    "model_attributes_type": "must be a mapping (`key: value`)",
    "tuple_type": "must be a list",
}
_TYPE_PROBLEMS = frozenset({"node_type_missing", "node_type_unknown", "node_type_unusable"})
"""What `node_types.ByType` raises."""


def did_you_mean(word: str, words: Iterable[str]) -> str | None:
    """A suggestion of the name that was likely meant; None if there is none near it."""
    near = nearest(word, words)
    return None if near is None else f"did you mean `{near}`?"


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The name that was likely meant, in small letters or capitals; None if there is none near it."""
    known = list(words)
    near = get_close_matches(word[:64], known, n=1)
    same = (each for each in known if each.casefold() == word.casefold())
    return next(same, None) or next(iter(near), None)


def shape_problems(
    error: ValidationError, source: Source, *, model: type[Model] = Graph, whole: str = "the graph"
) -> tuple[Problem, ...]:
    """One problem for each field that pydantic refused. `whole` is what the file holds, a `model`."""
    found: dict[tuple[Pointer, str], Problem] = {}
    for details in error.errors(include_url=False):
        path, owner = _walk(details["loc"], model, source.value)
        problem = _problem(details, path, owner, source, whole)
        earlier = found.get((path, problem.code))
        if earlier is None:
            found[path, problem.code] = problem
        elif earlier.code == "VALUE_INVALID":
            message = f"{earlier.message}, or it {details_message(details)}"
            found[path, problem.code] = Problem(earlier.code, message, earlier.place, earlier.suggestion)
    parents = {path[:length] for path, _ in found for length in range(len(path))}
    # Of a union (`priority: 1` or a mapping) pydantic reports each member: the one that matched deeper was meant.
    return tuple(one for (path, code), one in found.items() if code != "VALUE_INVALID" or path not in parents)


def details_message(details: ErrorDetails) -> str:
    """What a value must be, without the value."""
    kind = details["type"]
    if kind in _MESSAGES:
        return _MESSAGES[kind]
    if kind == "literal_error":
        return f"must be one of {_listed(details)}"
    if kind == "string_pattern_mismatch":
        return f"must match {_context(details, 'pattern')}"
    if kind == "value_error":
        return f"is wrong: {_context(details, 'error')}"[:_LONGEST]
    if kind == "too_short" and details.get("ctx", {}).get("actual_length") == 0:
        return "must not be empty"
    text = details["msg"].removeprefix("Input ").removeprefix("String ")
    return f"{text[:1].lower()}{text[1:_LONGEST]}".replace("should ", "must ", 1)


def as_written(path: Pointer, source: Source) -> Pointer:
    """The path of a field, or that of the text that stands for the part of the language whose field it is."""
    return path[:-1] if isinstance(value_at(source.value, path[:-1]), str) else path


def described(path: Pointer) -> str:
    """The node, edge or section at `path`, in words: `node 'pack/weigh'`, `edge 3`, `` `retry` ``."""
    ids, rest = _nodes_of(path)
    where = f"node {'/'.join(ids)[:128]!r}" if ids else ""
    body = f"the body of {where}" if where else ""
    if rest[:2] == ["finally", "edges"]:
        body, rest = f"`finally` of {where}" if where else "`finally`", rest[1:]
    if rest[:1] == ["edges"] and len(rest) > 1:
        where = f"edge {int(rest[1]) + 1}" + (f" in {body}" if body else "")
        rest = rest[2:]
    field = ".".join(map(str, rest))[:128]
    return " ".join(
        part for part in (f"`{field}` of" if field and where else f"`{field}`" if field else "", where) if part
    )


def _nodes_of(path: Pointer) -> tuple[list[str], list[str | int]]:
    """The nodes that a path leads through, and what is left of it below the last one, or below that one's body."""
    is_last = path[:2] == ("finally", "nodes")
    ids, rest = (["finally"], list(path[1:])) if is_last else ([], list(path))
    while rest[:1] == ["nodes"] and len(rest) > 1:
        ids.append(str(rest[1]))
        rest = rest[2:]
        if rest[:1] == ["body"] and len(rest) > 1:
            rest = rest[1:]
        elif rest[:2] == ["finally", "nodes"]:
            ids.append("finally")
            rest = rest[1:]
    return ids, rest


def _problem(details: ErrorDetails, path: Pointer, owner: type[Model] | None, source: Source, whole: str) -> Problem:
    kind, given = details["type"], details["input"]
    last = str(path[-1]) if path else ""
    if kind == "missing":
        message = f"{described(path[:-1]) or whole} needs the field `{last}`"
        return Problem("FIELD_MISSING", message, source.place(path[:-1], key=True), f"add `{last}:`")
    if kind == "extra_forbidden":
        message = f"{described(path[:-1]) or whole} has no field `{last[:128]}`"
        return Problem("FIELD_UNKNOWN", message, source.place(path, key=True), _field_advice(last, given, owner))
    if kind in _TYPE_PROBLEMS:
        return _type_problem(details, path, source)
    if details["loc"][-1:] == ("[key]",):
        message = f"the key {last[:128]!r} {details_message(details)}"
        advice = pattern_advice(str(path[-2]), last) if len(path) > 1 and kind == "string_pattern_mismatch" else None
        return Problem("KEY_INVALID", message, source.place(path, key=True), advice)
    return _value_problem(details, path, owner, source, whole)


def _value_problem(
    details: ErrorDetails, path: Pointer, owner: type[Model] | None, source: Source, whole: str
) -> Problem:
    kind, given, last = details["type"], details["input"], str(path[-1]) if path else ""
    message = f"{described(path) or whole} {details_message(details)}"
    advice = shape_advice(path, given, kind, source) if kind in _MESSAGES else None
    if kind == "literal_error" and isinstance(given, str):
        message += f", not {given[:64]!r}"
        advice = value_advice(last, given) or did_you_mean(given, _listed(details).split(", "))
    elif kind == "string_pattern_mismatch" and isinstance(given, str):
        advice = pattern_advice(last, given)
    elif kind == "value_error" and "not a duration" in message:
        advice = duration_advice(given)
    if last == "concurrency" and owner is ForeachNode:
        advice = "write `max_concurrency:`"
    if last == _SECRET:
        advice = "write the NAME of an environment variable of the worker, such as POSTGRES_URL, not its value"
    return Problem("VALUE_INVALID", message, source.place(path), advice)


def _field_advice(name: str, given: object, owner: type[Model] | None) -> str:
    """What to write for a field that is not there: what it is called here, a near name, or else all there are."""
    names = _names(owner)
    if {"nodes", "edges"} <= set(names) and isinstance(given, dict):
        if "type" in given:
            return f"write it under `nodes:`, as {name[:64]}: {{type: …}}"
        if "nodes" in given:
            return f"write what it holds here, without `{name[:64]}:` around it"
    models = [] if owner is None else [model.__name__ for model in owner.__mro__]
    return field_advice(name, models, names) or did_you_mean(name, names) or f"its fields are {', '.join(names)}"


def _type_problem(details: ErrorDetails, path: Pointer, source: Source) -> Problem:
    where, known = source.place((*path, "type")), f"the types are {', '.join(node_types.names())}"
    if details["type"] == "node_type_missing":
        message = f"{described(path)} has no `type`"
        return Problem("NODE_TYPE_MISSING", message, source.place(path, key=True), known)
    if details["type"] == "node_type_unusable":
        message = f"{described(path)} cannot be read: {_context(details, 'reason')}"
        return Problem("NODE_TYPE_UNUSABLE", message, where, _context(details, "suggestion") or None)
    name = _context(details, "name")
    suggestion = type_advice(name) or did_you_mean(name, node_types.names()) or known
    return Problem("NODE_TYPE_UNKNOWN", f"{described(path)} has the unknown type {name!r}", where, suggestion)


def _listed(details: ErrorDetails) -> str:
    return _context(details, "expected").replace("'", "").replace(" or ", ", ")


def _context(details: ErrorDetails, name: str) -> str:
    return str(details.get("ctx", {}).get(name, ""))


def _names(model: type[Model] | None) -> list[str]:
    return [] if model is None else [info.alias or name for name, info in model.model_fields.items()]


def _walk(loc: tuple[str | int, ...], model: type[Model], value: Json) -> tuple[Pointer, type[Model] | None]:
    """The path in the value that a `loc` names, and the model that has its last step as a field."""
    path: list[str | int] = []
    current: list[Any] = [model]
    owner: type[Model] | None = None
    for step in loc:
        if len(current) > 1:
            current = [one for one in current if step in _labels(one)]
            continue
        if step == "[key]":
            break
        owner, current = step_into(_own_type(current[0], value_at(value, tuple(path))) if current else None, step)
        path.append(step)
    return tuple(path), owner


def _own_type(annotation: Any, value: Json) -> Any:
    """The model of a node's own type, at a place for any node."""
    name = value.get("type") if annotation is BaseNode and isinstance(value, dict) else None
    try:
        return (node_types.model_of(name) if isinstance(name, str) else None) or annotation
    except ConfigurationError:
        return annotation


def step_into(annotation: Any, step: str | int) -> tuple[type[Model] | None, list[Any]]:
    """What may stand at one step below a value of this type; first the model that has the step as a field, if one."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        for name, info in annotation.model_fields.items():
            if step in (name, info.alias):
                return annotation, _alternatives(info.annotation)
        return annotation, []
    arguments = get_args(annotation)
    return None, _alternatives(arguments[-1 if get_origin(annotation) is dict else 0]) if arguments else []


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union, `None` apart; one thing otherwise."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [one for part in get_args(annotation) if part is not type(None) for one in _alternatives(part)]
    return [annotation]


def _labels(alternative: Any) -> tuple[str, ...]:
    """How pydantic names this member of a union in a `loc`."""
    return (alternative.__name__,) if isinstance(alternative, type) and issubclass(alternative, Model) else ()
