"""What editors show of fields, node types, functions, names and keys, as Markdown."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator

from anabranch.context.values import format_path
from anabranch.editor.outline import Key, Outline
from anabranch.editor.shape import Field, Shape, model_of
from anabranch.editor.spot import NAMES
from anabranch.graph.expressions.functions.function import Function
from anabranch.graph.source.problems import described

_MANY = 8
_LONGEST = 400


def of_field(field: Field, shape: Shape) -> str:
    """A field: its meaning, and the values from which one is chosen."""
    lines = [f"**{field.name}**", field.text]
    if field.attribute != "type" and (values := shape.values()):
        lines.append("One of " + ", ".join(f"`{each}`" for each in values) + ".")
    if (group := shape.definitions()) is not None:
        lines.append(f"May be a name of `definitions.{group}`.")
    return _paragraphs(lines)


def of_type(name: str) -> str:
    """A node type."""
    return _paragraphs([f"**{name}**", _first(model_of(name))])


def of_function(function: Function) -> str:
    """A function: how it is called, what it does, and its first example."""
    forms = "\n".join(function.forms)
    source, _, value = function.examples[0].rpartition(" => ")
    return _paragraphs([f"```text\n{forms}\n```", function.text, f"`{source}` is `{value}`"])


def of_name(name: str) -> str:
    """A reserved name of expressions."""
    known = NAMES.get(name)
    if known is None:
        return _paragraphs([f"**{name}**", "A name that the loop, or the node's `input`, gives."])
    fields = ", ".join(f"`{name}.{each}`" for each in known.fields)
    return _paragraphs([f"**{name}**", known.text, f"Its fields are {fields}." if fields else ""])


def of_key(key: Key, outline: Outline) -> str:
    """A key of the context: who writes it, and what is declared of it."""
    lines = [f"**{format_path(key.path)}**"]
    if key.is_input:
        lines.append("An input of the graph: a run is started with it.")
    elif not key.writers and outline.may_write_any:
        nodes = _listed(described(each) for each in outline.may_write_any)
        lines.append(f"No node says that it writes it. Those whose code or graph says what they write: {nodes}.")
    elif not key.writers:
        lines.append("No node writes it: a run is started with it.")
    if key.writers:
        lines.append("Written by " + _listed(f"{described(each)}{_line(outline, each)}" for each in key.writers) + ".")
    if key.schema:
        lines.append(f"```json\n{json.dumps(key.schema, ensure_ascii=False)[:_LONGEST]}\n```")
    return _paragraphs(lines)


def of_node(path: tuple[str | int, ...], outline: Outline) -> str:
    """A node: its type, its description, what it writes and reads."""
    value = outline.at(path)
    node = value if isinstance(value, dict) else {}
    lines = [f"**{path[-1]}** ({node.get('type', 'no type yet')})", str(node.get("description") or "")]
    for verb, paths in zip(("Writes", "Needs"), outline.of_nodes.get(path, ((), ())), strict=True):
        if paths:
            lines.append(f"{verb} {_listed(f'`{format_path(each)}`' for each in paths)}.")
    return _paragraphs(lines)


def _first(model: type[object]) -> str:
    return " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())


def _line(outline: Outline, path: tuple[str | int, ...]) -> str:
    span = outline.span(path)
    return "" if span is None else f" (line {span.line + 1})"


def _listed(words: Iterator[str]) -> str:
    found = list(words)
    return ", ".join(found[:_MANY]) + (f" and {len(found) - _MANY} more" if len(found) > _MANY else "")


def _paragraphs(lines: list[str]) -> str:
    return "\n\n".join(line for line in lines if line)
