"""Decision tables (JDM), evaluated by the ZEN engine on inputs of the right types.

The engine skips a row with a cell that it cannot read or evaluate, and takes the default row for a missing or wrongly
typed input; here these are errors. It runs in a child process (`table_process.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from anabranch.activities.rules.table_process import processes
from anabranch.context.values import MISSING, Json, Missing, Path, same, value_at
from anabranch.errors import EvaluationError, InputError
from anabranch.graph.expressions.expressions import kind_of
from anabranch.graph.fields import JsonObject
from anabranch.graph.rules.decision_table import Column, DecisionTable, read_table
from anabranch.graph.rules.table_cells import problems_of, reason_of

_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def evaluate_table(jdm: JsonObject | str, data: Mapping[str, Json]) -> dict[Path, Json]:
    """What the table decides, by path; nothing if no row matches.

    InputError for a table that cannot be evaluated, EvaluationError for inputs that do not fit it.
    """
    table, inputs = _table(jdm if isinstance(jdm, str) else json.dumps(jdm)), dict(data)
    result = _result(_answered(table, inputs))
    if not isinstance(result, dict):
        raise EvaluationError(
            f"the decision table gave {kind_of(result)}, not an object",
            suggestion="use the hit policy `first`, or an `outputPath` for a list of hits",
        )
    return dict(_decided(table, result, inputs))


def rows_that_decide(jdm: JsonObject | str, data: Mapping[str, Json]) -> list[str]:
    """The rows that decide, in words: `row 2 of 'Discounts': total > 100`. Raises what `evaluate_table` does."""
    table = _table(jdm if isinstance(jdm, str) else json.dumps(jdm))
    answer = _answered(table, dict(data), tells_rows=True)
    _result(answer)
    return [_row(**each) for each in answer["rows"]]


def _row(table: str | None, row: int, when: list[tuple[str, str]]) -> str:
    of = f" of {table!r}" if table else ""
    held = " and ".join(f"{field} {cell}" if field else cell for field, cell in when)
    return f"row {row}{of}: {held or 'whatever the inputs are'}"


def _answered(table: DecisionTable, inputs: dict[str, Json], *, tells_rows: bool = False) -> dict[str, Any]:
    """What the engine answers for inputs that fit the table. Raises EvaluationError for others."""
    for column in table.columns:
        _check_input(column, inputs)
    for name in table.names:
        if name not in inputs:
            raise _absent(name)
    return processes().evaluate(table.content, _mentioned(table.content, inputs), tells_rows=tells_rows)


def _decided(table: DecisionTable, result: dict[str, Json], inputs: dict[str, Json]) -> Iterator[tuple[Path, Json]]:
    """What differs from the inputs: of a key of which the table decides parts alone, these parts."""
    for key, value in result.items():
        for path in table.parts.get(key, ((key,),)):
            decided = value_at(value, path[1:])
            if not isinstance(decided, Missing) and not same(value_at(inputs, path), decided):
                yield path, decided


@lru_cache(maxsize=256)
def _table(text: str) -> DecisionTable:
    table = read_table(text)
    for problem in problems_of(table):
        raise InputError(f"the decision table has {problem.message}", suggestion=problem.suggestion)
    return table


def _mentioned(content: str, inputs: dict[str, Json]) -> dict[str, Json]:
    """The keys that a table has the names of. It may reach others by `$root` alone."""
    if "$root" in content:
        return inputs
    words = _words(content)
    return {key: value for key, value in inputs.items() if key in words}


@lru_cache(maxsize=256)
def _words(content: str) -> frozenset[str]:
    return frozenset(_WORD.findall(content))


def _result(answer: dict[str, Any]) -> Json:
    if (cell := answer.get("cell")) is not None:
        raise EvaluationError(
            f"`{cell['cell']}` has no value here: {reason_of(cell['reason'])}",
            place=f"decision table {cell['table']!r}, row {cell['row']}, column {cell['column']!r}",
            suggestion="compare values of one kind: `date(…)`, `number(…)` and `string(…)` convert",
        )
    if "error" in answer:
        raise EvaluationError(f"the decision table failed: {reason_of(answer['error'])}")
    result: Json = answer["result"]
    return result


def _check_input(column: Column, inputs: dict[str, Json]) -> None:
    name = ".".join(column.path)
    value = value_at(inputs, column.path)
    if value is MISSING:
        raise _absent(name)
    fits = (value is None and column.nullable) or column.kind in (None, kind_of(value))
    if not fits:
        raise EvaluationError(
            f"the decision table compares `{name}` with {column.kind}, this is {kind_of(value)}",
            suggestion="convert it before this node",
        )


def _absent(name: str) -> EvaluationError:
    return EvaluationError(
        f"the decision table needs `{name}`, which is not there",
        suggestion="write it before this node, or give a default",
    )
