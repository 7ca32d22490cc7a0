"""Outcomes of nodes for a dry run: given in a file, evaluated (`rule` nodes), or assumed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from pydantic import Field, JsonValue, ValidationError, model_validator

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, Missing, check_value, parse_path
from anabranch.context.values import Path as ContextPath
from anabranch.errors import AnabranchError, InputError
from anabranch.graph.model import Duration, Model, RuleNode
from anabranch.graph.plan import Plan
from anabranch.graph.source.files import mapping
from anabranch.graph.source.problems import did_you_mean
from anabranch.testkit.assume import assumed_writes
from anabranch.workflows.interpreter.commands import AskConflict, AskPerson, Failure, RunNode, StartChild, StartTimer
from anabranch.workflows.interpreter.input import check_value_against
from anabranch.workflows.interpreter.simulation import Answer, Chosen, Done, Failed, Work

Origin: TypeAlias = Literal["given", "evaluated", "assumed", "timer"]
_INDEX = re.compile(r"\[\d+\]")


class Outcome(Model):
    """How one node ends: at most one field beside `message` and `after`; without one it succeeds and writes nothing."""

    set: dict[str, JsonValue] | None = None
    result: JsonValue = Field(default=None, description="What the node's `output` sees under this name")
    fail: str | None = Field(default=None, description="The code of the failure")
    message: str = "as the outcomes say"
    timeout: bool = False
    answer: JsonValue = None
    choose: dict[str, JsonValue] | None = None
    after: Duration | None = None

    @model_validator(mode="after")
    def _one_outcome(self) -> Self:
        if len(named := self.model_fields_set - {"message", "after"}) > 1:
            raise ValueError(f"a node has one outcome, not {' and '.join(sorted(named))}")
        return self


class Outcomes:
    """Answers a machine's work. `origins` says for each address where its answer came from."""

    def __init__(self, plan: Plan, given: Mapping[str, Outcome], evaluate: Callable[[RunNode], ChangeSet]) -> None:
        self._plan = plan
        self._given = given
        self._evaluate = evaluate
        self.origins: dict[str, Origin] = {}

    def __call__(self, work: Work) -> Answer:
        """How the work ends."""
        given = self._given.get(work.address) or self._given.get(_INDEX.sub("", work.address))
        if given is not None:
            self.origins[work.address] = "given"
            return _given_answer(work, given)
        if isinstance(work, RunNode) and isinstance(work.planned.node, RuleNode):
            self.origins[work.address] = "evaluated"
            return self._evaluated(work)
        self.origins[work.address] = "timer" if isinstance(work, StartTimer) else "assumed"
        return self._assumed(work)

    def _evaluated(self, work: RunNode) -> Answer:
        try:
            return Done(self._evaluate(work))
        except AnabranchError as error:
            return Failed(Failure("failure", error.code, str(error), work.address))

    def _assumed(self, work: Work) -> Answer:
        if isinstance(work, StartTimer):
            return Done(seconds=work.seconds)
        if isinstance(work, AskConflict):
            return Chosen({each.path: each.candidates[-1].value for each in work.conflicts})
        if isinstance(work, AskPerson):
            return Done(assumed_writes(self._plan, work.address, None))
        if isinstance(work, StartChild):
            return Done(dict(work.data))
        if work.undo:
            return Done(_changes(work.address, {}))
        return Done(_changes(work.address, assumed_writes(self._plan, work.planned.id, work)))


def read_outcomes(path: Path, plan: Plan) -> dict[str, Outcome]:
    """The outcomes of a YAML or JSON file, by address: `reserve`, `pack/weigh`, `pack[3]/weigh`, `undo reserve`.

    Raises InputError naming the entry.
    """
    known = set(plan.graph.nodes)
    outcomes: dict[str, Outcome] = {}
    for address, value in mapping(path).items():
        root = re.split(r"[/\[]", address.removeprefix("undo "))[0]
        if root not in known:
            raise InputError(f"the graph has no node {root!r}", place=str(path), suggestion=did_you_mean(root, known))
        outcomes[address] = _outcome(path, address, value)
    return outcomes


def _outcome(path: Path, address: str, value: Json) -> Outcome:
    place, advice = f"{path}, node {address!r}", "write one of set, result, fail, timeout, answer, choose"
    try:
        outcome = Outcome.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the outcome"
        raise InputError(f"{field}: {first['msg']}", place=place, suggestion=advice) from None
    check_value(dict(outcome.set or {}))
    return outcome


def _given_answer(work: Work, given: Outcome) -> Answer:
    seconds = given.after.total_seconds() if given.after is not None else 0.0
    if given.timeout:
        return Failed(_timeout(work), seconds)
    if given.fail is not None:
        return Failed(Failure("failure", given.fail, given.message, work.address), seconds)
    if isinstance(work, AskConflict):
        return Chosen(_choices(work, given.choose or {}), seconds)
    if isinstance(work, StartTimer):
        return Done(seconds=work.seconds if given.after is None else seconds)
    for field in ("answer", "result"):
        if field in given.model_fields_set:
            return Done(_checked(work, getattr(given, field)), seconds)
    return Done(_changes(work.address, given.set or {}), seconds)


def _timeout(work: Work) -> Failure:
    if isinstance(work, AskPerson | AskConflict):
        return Failure("timeout", "NO_ANSWER", f"nobody answered node {work.address!r} in time", work.address)
    return Failure("timeout", "TIMEOUT", f"node {work.address!r} timed out", work.address)


def _checked(work: Work, answer: Json) -> Json:
    """The answer, checked as a run checks it. Raises SchemaViolation."""
    if isinstance(work, AskPerson) and work.schema is not None:
        check_value_against(work.schema, answer, what="the answer", by=work.address)
    return answer


def _choices(work: AskConflict, chosen: Mapping[str, Any]) -> dict[ContextPath, Json | Missing]:
    settled: dict[ContextPath, Json | Missing] = {each.path: each.candidates[-1].value for each in work.conflicts}
    settled.update({parse_path(path): value for path, value in chosen.items()})
    return settled


def _changes(address: str, values: Mapping[str, Any]) -> ChangeSet:
    return ChangeSet(base_version=0, set={(key,): value for key, value in values.items()}, by=address)
