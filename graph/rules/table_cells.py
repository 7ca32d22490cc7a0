"""The cells of a decision table, compiled one by one: the engine passes over a row with one that it cannot read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import zen

from anabranch.graph.rules.decision_table import DecisionTable

MAX_NESTING = 16
"""Brackets within brackets. Within a closure each level doubles the time and memory that the engine's parser takes."""
_SHOWN = 500
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_ENGINE = zen.ZenEngine()


@dataclass(frozen=True, slots=True)
class TableProblem:
    """What is wrong with a table, and `steps` that lead to it inside the JDM."""

    message: str
    suggestion: str
    steps: tuple[str | int, ...] = ()


def problems_of(table: DecisionTable) -> Iterator[TableProblem]:
    """What the engine cannot read: each cell and expression, else the table as a whole."""
    found = False
    for index, node in enumerate(json.loads(table.content)["nodes"]):
        for problem in _of_node(node, index):
            found = True
            yield problem
    if not found:
        yield from _of_whole(table.content)


def reason_of(error: object) -> str:
    """The engine's message without its stack backtrace."""
    text = " ".join(str(error).partition("Stack backtrace")[0].split())
    with suppress(ValueError, TypeError, KeyError):  # a message on the whole table is no JSON
        text = str(json.loads(text)["source"])
    return text[:_SHOWN]


def _of_node(node: dict[str, Any], index: int) -> Iterator[TableProblem]:
    content, steps = node.get("content"), ("nodes", index, "content")
    if not isinstance(content, dict):
        return
    called = str(node.get("name") or node.get("id") or index + 1)
    if node["type"] == "decisionTableNode":
        yield from _of_table(content, called, steps)
    elif node["type"] == "expressionNode":
        for at, item in enumerate(_objects(content.get("expressions"))):
            place = f"the expression {item.get('key')!r} of {called!r}"
            yield from _of_text(item.get("value"), place, zen.compile_expression, (*steps, "expressions", at))


def _of_table(content: dict[str, Any], called: str, steps: tuple[str | int, ...]) -> Iterator[TableProblem]:
    inputs, outputs = _objects(content.get("inputs")), _objects(content.get("outputs"))
    for at, column in enumerate(inputs):
        place = f"the field of column {_name(column)!r} of {called!r}"
        yield from _of_text(column.get("field", ""), place, zen.compile_expression, (*steps, "inputs", at))
    for row, rule in enumerate(_objects(content.get("rules"))):
        for key, value in rule.items():
            if key.startswith("_") and not isinstance(value, str):
                message = f"{json.dumps(value)} as `{key}` of row {row + 1} of {called!r}"
                yield TableProblem(message, "leave it out, or write a text", (*steps, "rules", row, key))
        for column in (*inputs, *outputs):
            is_test = column in inputs and column.get("field")
            place = f"row {row + 1}, column {_name(column)!r} of {called!r}"
            compiler = zen.compile_unary_expression if is_test else zen.compile_expression
            name = str(column.get("id"))
            yield from _of_text(rule.get(name, ""), place, compiler, (*steps, "rules", row, name))


def _of_text(
    text: object, place: str, compiler: Callable[[str], object], steps: tuple[str | int, ...]
) -> Iterator[TableProblem]:
    if not isinstance(text, str):
        yield TableProblem(f"{json.dumps(text)} in {place}", 'a cell is a text; an empty one is ""', steps)
    elif _nesting(text) > MAX_NESTING:
        message = f"`{text[:_SHOWN]}` in {place}, which nests brackets deeper than {MAX_NESTING}"
        yield TableProblem(message, "split it over several expressions", steps)
    elif text.strip():
        try:
            compiler(text)
        except RuntimeError as error:
            message = f"`{text}` in {place}, which cannot be read: {reason_of(error)}"
            yield TableProblem(message, "write it as in the ZEN language: docs.gorules.io", steps)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in _QUOTED.sub("", text):
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _of_whole(content: str) -> Iterator[TableProblem]:
    try:
        _ENGINE.create_decision(content).validate()
    except (RuntimeError, ValueError) as error:
        yield TableProblem(f"what is not JDM: {reason_of(error)}", "use a JDM file, as the editor saves it")


def _objects(items: object) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _name(column: dict[str, Any]) -> str:
    return str(column.get("name") or column.get("field") or column.get("id"))
