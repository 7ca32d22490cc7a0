"""The paths at which a graph writes, and keys that look like paths or templates where they are neither."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from anabranch.context.nested import path_above
from anabranch.context.values import MAX_DEPTH, Json, Path, format_path, parse_path
from anabranch.errors import InputError, Problem
from anabranch.graph.dataflow.fields import node_fields
from anabranch.graph.kinds.kinds import fallback_of
from anabranch.graph.model import BaseNode, ForeachNode, Graph, RuleNode, WhileNode
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Pointer, Source

_SHOWN = 64
_COMPUTED = 'an object may have computed keys: `prices: "{{ {sku: price} }}"`'


def check_paths(path: Pointer, node: BaseNode, source: Source) -> Iterator[Problem]:
    """Problems of the paths that one node writes, and of the keys in its templates."""
    for group in written_keys(node):
        yield from _check([(text, (*path, *pointer)) for text, pointer in group], source)
    for field in node_fields(node):
        if field.is_template:
            yield from _templates(field.value, (*path, *field.path), source)
    for name in node.input or ():
        yield from _dotted(name, (*path, "input", name), source)


def check_graph_paths(graph: Graph, source: Source) -> Iterator[Problem]:
    """Problems of the keys of a graph's `result` and `inputs`."""
    yield from _check([(text, ("result", text)) for text in graph.result or ()], source)
    for name in graph.inputs or ():
        yield from _dotted(name, ("inputs", name), source)


def written_keys(node: BaseNode) -> Iterator[list[tuple[str, Pointer]]]:
    """The paths that are written at once, as texts, each with its place under the node."""
    yield [(text, ("output", text)) for text in node.output or ()]
    yield [(text, ("on_failure", "use", text)) for text in fallback_of(node) or ()]
    if isinstance(node, RuleNode):
        for index, rule in enumerate(node.rules or ()):
            held = [(text, ("rules", index, "then", text)) for text in rule.then or ()]
            yield [*held, *((text, ("rules", index, "append", text)) for text in rule.append or ())]
            yield [(text, ("rules", index, "otherwise", text)) for text in rule.otherwise or ()]
    if isinstance(node, ForeachNode | WhileNode) and node.collect is not None:
        yield [(node.collect.into, ("collect", "into"))]
    if isinstance(node, ForeachNode) and node.failed is not None:
        yield [(node.failed, ("failed",))]


def _check(group: Iterable[tuple[str, Pointer]], source: Source) -> Iterator[Problem]:
    known: dict[Path, Pointer] = {}
    for text, pointer in group:
        what = described(pointer)
        if "{{" in text:
            place = source.place(pointer, key=True)
            yield Problem("KEY_TEMPLATE", f"{what} is a template, and keys are none", place, _COMPUTED)
        elif (wrong := _wrong(text)) is not None:
            yield Problem("KEY_PATH_INVALID", f"{what} {wrong[0]}", source.place(pointer, key=True), wrong[1])
        elif known.setdefault(parse_path(text), pointer) is not pointer:
            place = source.place(pointer, key=True)
            yield Problem("KEY_OVERLAP", f"{what} is written twice by this rule", place, "keep one of them")
    for path, pointer in known.items():
        if (above := path_above(path, known)) is not None:
            message = f"{described(pointer)} is written inside of `{format_path(above)}`, which is written too"
            suggestion = "write the whole, or its parts"
            yield Problem("KEY_OVERLAP", message, source.place(pointer, key=True), suggestion)


def _wrong(text: str) -> tuple[str, str | None] | None:
    """Why a text is no path, and what to do; None where it is one."""
    try:
        path = parse_path(text)
    except InputError as error:
        return f"is no path: {error.message}", error.suggestion
    if "" in path:
        return "is a path with an empty key", "keys are joined by one dot; a dot inside a key is written as `\\.`"
    if len(path) > MAX_DEPTH:
        return f"is a path of {len(path)} keys, over the limit of {MAX_DEPTH}", "write an object"
    if (canonical := format_path(path)) != text:
        suggestion = f"write `{canonical[:_SHOWN]}`, or `\\\\` for a backslash in a key"
        return "has a backslash before what is no dot", suggestion
    return None


def _templates(value: Json, path: Pointer, source: Source) -> Iterator[Problem]:
    """Keys of objects in a template that hold `{{`: they would be taken as they are."""
    if isinstance(value, dict):
        for key, inner in value.items():
            where = (*path, key)
            if "{{" in key and path[-1] not in ("then", "append", "otherwise", "use"):  # which `_wrong` has seen
                message = f"{described(where)} is a template, and keys are none"
                yield Problem("KEY_TEMPLATE", message, source.place(where, key=True), _COMPUTED)
            yield from _templates(inner, where, source)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _templates(inner, (*path, index), source)


def _dotted(name: str, pointer: Pointer, source: Source) -> Iterator[Problem]:
    if "." in name:
        first, rest = name.split(".", 1)
        message = f"{described(pointer)} is a name with a dot in it: in expressions `{name[:_SHOWN]}` is a field"
        suggestion = f"give the object `{first[:_SHOWN]}`, with `{rest[:_SHOWN]}` in it"
        yield Problem(
            "KEY_DOTTED", f"{message} of `{first[:_SHOWN]}`", source.place(pointer, key=True), suggestion, warning=True
        )
