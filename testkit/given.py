"""How nodes end, as people write it: in test files, and for a dry run in a file of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from anabranch.context.nested import by_path
from anabranch.context.values import Json, check_value
from anabranch.errors import InputError
from anabranch.graph.fields import Duration, Model
from anabranch.graph.plan import Plan
from anabranch.graph.source.files import mapping
from anabranch.graph.source.problems import did_you_mean
from anabranch.workflows.interpreter.people import notice_at


class GivenAnswer(Model):
    """What one of several people answers, and how long after the question."""

    by: str = Field(min_length=1, max_length=100)
    answer: JsonValue = None
    after: Duration | None = None


BESIDE: Final = frozenset({"message", "after", "calls"})
"""What may be said beside how a node ends."""


class GivenOutcome(Model):
    """How one node ends: at most one field, but for those of `BESIDE`; without one it succeeds and writes nothing."""

    set: dict[str, JsonValue] | None = Field(default=None, description="What it writes: path → value")
    result: JsonValue = Field(default=None, description="What the node's `output` sees under this name")
    fail: str | None = Field(default=None, description="The code of the failure")
    message: str = "as the outcomes say"
    timeout: bool | Literal["queue"] = Field(default=False, description="`queue`: no worker took it, it did nothing")
    answer: JsonValue = None
    answers: tuple[GivenAnswer, ...] | None = Field(
        default=None, min_length=1, description="Of an `approval` with `answers`: who answers what, and when"
    )
    choose: dict[str, JsonValue] | None = None
    events: dict[str, JsonValue] | None = Field(default=None, description="Of a `receive`: name → data of what comes")
    calls: tuple[dict[str, dict[str, JsonValue]], ...] = Field(
        default=(), description="Of an `ai` node with tools, before it ends so: tool → arguments, for each question"
    )
    after: Duration | None = None

    @model_validator(mode="after")
    def _one_outcome(self) -> Self:
        if len(named := self.model_fields_set - BESIDE) > 1:
            raise ValueError(f"a node has one outcome, not {' and '.join(sorted(named))}")
        by_path(self.set or {})
        return self


def read_outcomes(path: Path, plan: Plan) -> dict[str, GivenOutcome]:
    """The outcomes of a YAML or JSON file, by address: `reserve`, `pack/weigh`, `pack[3]/weigh`, `undo reserve`.

    Raises InputError naming the entry.
    """
    return outcomes_of(mapping(path), plan, str(path))


def outcomes_of(given: Mapping[str, Json], plan: Plan, place: str) -> dict[str, GivenOutcome]:
    """The same of what is read already. Raises InputError naming `place` and the entry."""
    known = {*plan.graph.nodes, *([] if plan.afterwards is None else ["finally"])}
    outcomes: dict[str, GivenOutcome] = {}
    for address, value in given.items():
        about = notice_at(address)
        root = re.split(r"[/\[~]", address.removeprefix("undo ") if about is None else about[1])[0]
        if root not in known:
            raise InputError(f"the graph has no node {root!r}", place=place, suggestion=did_you_mean(root, known))
        outcomes[address] = _outcome(place, address, value)
    return outcomes


def _outcome(file: str, address: str, value: Json) -> GivenOutcome:
    place, advice = (
        f"{file}, node {address!r}",
        "write one of set, result, fail, timeout, answer, answers, events, choose",
    )
    try:
        outcome = GivenOutcome.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the outcome"
        raise InputError(f"{field}: {first['msg']}", place=place, suggestion=advice) from None
    check_value(dict(outcome.set or {}))
    return outcome
