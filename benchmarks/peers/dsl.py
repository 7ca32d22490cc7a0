"""A workflow that interprets a definition, in the manner of Temporal's sample `dsl`.

As there, the definition comes with the input: statements that call an activity by its name, one after another or side
by side. Arguments and results are variables of the run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio import activity, workflow

from benchmarks.hand_written import BRANCHES, CHAIN, JOIN, SPLIT, TIMEOUT


@dataclass(frozen=True, slots=True)
class Call:
    """Calls an activity with some variables, and keeps its result as another."""

    activity: str
    arguments: list[str]
    result: str


@dataclass(frozen=True, slots=True)
class InOrder:
    """Statements one after another."""

    sequence: list[Statement]


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Statements side by side."""

    parallel: list[Statement]


Statement = Call | InOrder | AtOnce


@dataclass(frozen=True, slots=True)
class Definition:
    """What a run does, and the variables that it begins with."""

    root: Statement
    variables: dict[str, Any]


@activity.defn
async def increment(value: int) -> int:
    """One variable in, one out."""
    return value + 1


@workflow.defn(name="dsl")
class DslWorkflow:
    """Interprets a definition."""

    @workflow.run
    async def run(self, definition: Definition) -> dict[str, Any]:
        """Return the variables."""
        await _execute(definition.root, definition.variables)
        return definition.variables


async def _execute(statement: Statement, variables: dict[str, Any]) -> None:
    match statement:
        case Call(name, arguments, result):
            values = [variables[argument] for argument in arguments]
            variables[result] = await workflow.execute_activity(name, args=values, start_to_close_timeout=TIMEOUT)
        case InOrder(sequence):
            for each in sequence:
                await _execute(each, variables)
        case AtOnce(parallel):
            await asyncio.gather(*(_execute(each, variables) for each in parallel))


def definition_of(shape: str, state: dict[str, Any]) -> Definition:
    """One of the shapes that are measured."""
    root = InOrder([_call(step) for step in CHAIN])
    if shape == "diamond":
        root = InOrder([_call(SPLIT), AtOnce([_call(step) for step in BRANCHES]), _call(JOIN)])
    return Definition(root, state)


def _call(step: str) -> Call:
    return Call(increment.__name__, ["count"], step)
