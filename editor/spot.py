"""Whether a text is an expression or a template where it stands, and which names it may use there beside the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from anabranch.context.values import Json
from anabranch.editor.outline import loop_variable
from anabranch.editor.shape import Shape
from anabranch.errors import ConfigurationError
from anabranch.graph.dataflow.handlers import ERROR
from anabranch.graph.kinds.fields import FieldSpec, cel, template
from anabranch.graph.kinds.kinds import kind_named
from anabranch.graph.kinds.tools import ARGS
from anabranch.graph.source.yaml_source import Pointer


@dataclass(frozen=True, slots=True)
class Name:
    """A reserved name: what it is, and its fields, as far as they are always the same."""

    text: str
    fields: tuple[str, ...] = ()


NAMES: Final[Mapping[str, Name]] = {
    "context": Name("The whole context. `has(context.KEY)` asks for a key that may be absent."),
    "run": Name("The run.", ("id", "session_id", "graph", "time", "attempt")),
    "error": Name("The failure that led here.", ("node", "code", "type", "message", "outcome")),
    "errors": Name("The list of all that failed before."),
    "result": Name("What the node brought."),
    "outcome": Name("How the run, or the block, ended.", ("status", "error", "compensated", "not_compensated")),
    "index": Name("The number of the turn, from 0."),
    "turn": Name("The number of the turn, from 1."),
    "item": Name("The item of this turn of a `foreach`."),
    "items": Name("The items of this turn of a `foreach` with `batch`."),
    ARGS: Name("What the model gives the tool, by the names of its `inputs`."),
}
"""The names that expressions have beside the keys of the context."""
_ALWAYS: Final = ("context", "run")
_RESULT: Final = frozenset({"result"})
_OF_EVERY_NODE: Final = (
    cel("when"),
    cel("output.*", roots=_RESULT),
    template("input"),
    template("cache.key"),
    FieldSpec(("on_failure", "use"), is_template=True, roots=ERROR),
    template("timeout"),
    template("task_queue"),
    template("priority.fairness_key"),
    template("graph"),
    template("finally.timeout"),
)
_ELSEWHERE: Final = (
    cel("result.*"),
    template("finally.timeout"),
    template("timeout"),
    template("id"),
    template("search_attributes.*"),
)
_EDGE: Final = ("edges", "*", "when")


@dataclass(frozen=True, slots=True)
class Spot:
    """A text that is evaluated. `names` are what it may use beside the keys of the context."""

    is_template: bool
    names: tuple[str, ...]


def spot_at(
    path: Pointer, shape: Shape, types: Mapping[Pointer, str], value_at: Callable[[Pointer], Json]
) -> Spot | None:
    """What is evaluated at a path; None where the text is taken as it is. `value_at` knows the rest of the graph."""
    names = tuple(_around(path, shape, types, value_at))
    if path[-3:-2] == _EDGE[:1] and isinstance(path[-2], int) and path[-1] == _EDGE[-1]:
        return Spot(False, (*_ALWAYS, *names))
    node = _owner(path, shape.nodes)
    specs = _ELSEWHERE if node is None else (*_of_type(types.get(node, "")), *_OF_EVERY_NODE)
    spec = next((each for each in specs if _matches(each, path[len(node or ()) :])), None)
    if spec is None:
        return None
    return Spot(spec.is_template, tuple(dict.fromkeys((*_ALWAYS, *names, *spec.roots))))


def _owner(path: Pointer, nodes: tuple[Pointer, ...]) -> Pointer | None:
    """The innermost node whose own field the path is."""
    return next((each for each in reversed(nodes) if len(each) < len(path)), None)


def _of_type(name: str) -> tuple[FieldSpec, ...]:
    try:
        return kind_named(name).fields
    except ConfigurationError:
        return ()


def _matches(spec: FieldSpec, rest: Pointer) -> bool:
    steps = spec.steps
    if len(rest) < len(steps) or (len(rest) > len(steps) and not spec.is_template):
        return False
    return all(wanted in ("*", step) for wanted, step in zip(steps, rest, strict=False))


def _around(
    path: Pointer, shape: Shape, types: Mapping[Pointer, str], value_at: Callable[[Pointer], Json]
) -> Iterator[str]:
    """The names that loops, failures and ends around a path give."""
    for node in shape.nodes:
        rest, value = path[len(node) :], value_at(node)
        fields = value if isinstance(value, dict) else {}
        if not rest or rest[0] in ("items", "when", "while"):
            continue
        if types.get(node) == "foreach":
            yield "index"
            yield loop_variable(fields)
        elif types.get(node) == "while":
            yield from ("index", "turn")
        elif types.get(node) == "ai" and rest[0] == "tools":
            yield ARGS
        if rest[0] != "body":
            yield from (str(name) for name in _mapping(fields.get("input")) if types.get(node) != "graph")
    yield from _of_parts(path)
    if _handles(path, shape, value_at):
        yield from ("error", "errors")


def _of_parts(path: Pointer) -> Iterator[str]:
    """The names of compensations, of what reminds of a question, and of what runs last."""
    if "compensate" in path:
        yield "error"
    if "node" in path and not {"remind", "escalate"}.isdisjoint(path):
        yield "question"
    if "finally" in path:
        yield "outcome"


def _handles(path: Pointer, shape: Shape, value_at: Callable[[Pointer], Json]) -> bool:
    """Whether an edge for another outcome than success is what the path is in, or leads to its node."""
    if "edges" in path[:-1]:
        edge = path[: path.index("edges") + 2]
        return _mapping(value_at(edge)).get("outcome", "success") != "success"
    for node in shape.nodes:
        edges = value_at((*node[:-2], "edges"))
        for each in edges if isinstance(edges, list) else ():
            if isinstance(each, dict) and each.get("to") == node[-1] and each.get("outcome", "success") != "success":
                return True
    return False


def _mapping(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
