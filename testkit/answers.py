"""Answers to the work of a machine without a server: given outcomes, evaluated rules, assumed values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypeGuard

from anabranch.context.changes import ChangeSet
from anabranch.context.nested import by_path, nested
from anabranch.context.values import Json, Missing, parse_path
from anabranch.context.values import Path as ContextPath
from anabranch.errors import AnabranchError, InputError
from anabranch.graph.model import AiNode, RuleNode
from anabranch.graph.plan import Plan, plan_graph
from anabranch.graph.policies import Defaults, Retry
from anabranch.testkit.addresses import means, of
from anabranch.testkit.arriving import given_events
from anabranch.testkit.assume import assumed_writes, example_of
from anabranch.testkit.batches import with_entries
from anabranch.testkit.calling import given_calls
from anabranch.testkit.given import GivenOutcome
from anabranch.workflows.interpreter.attempts import pause_after
from anabranch.workflows.interpreter.commands import (
    NO_EVENT,
    QUEUE_TIMEOUT,
    AskConflict,
    AskPerson,
    AwaitEvent,
    Failure,
    RunNode,
    StartChild,
    StartTimer,
)
from anabranch.workflows.interpreter.input import check_value_against
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.simulation import (
    Answer,
    Arrived,
    Chosen,
    Done,
    Evaluated,
    Failed,
    Heard,
    Said,
    Work,
    drive,
)
from anabranch.workflows.interpreter.state import RunState

Origin: TypeAlias = Literal["given", "evaluated", "assumed", "timer"]
_ONCE = Retry(max_attempts=1)
_ATTEMPTS = 1000
"""How many attempts that time out are counted in virtual time. Without a limit there is no end: one is counted."""


class Answers:
    """Answers a machine's work. `origins` says for each address where its answer came from.

    `at` is the time at which child workflows are taken to start, in Unix milliseconds.
    """

    def __init__(
        self,
        plan: Plan,
        given: Mapping[str, GivenOutcome],
        evaluate: Callable[[RunNode], ChangeSet],
        *,
        at: int = 0,
    ) -> None:
        self._plan = plan
        self._at = at
        self._given = given
        self._evaluate = evaluate
        self.origins: dict[str, Origin] = {}

    def __call__(self, work: Work) -> Answer | Arrived | Heard:
        """How the work ends."""
        if isinstance(work, StartTimer) and (work.attempt is not None or work.is_beside):
            return Done(seconds=work.seconds)
        address = of(work)
        given = next((found for each in means(work) if (found := self._given.get(each)) is not None), None)
        if given is not None:
            self.origins[address] = "given"
            return _given_answer(work, given, self._plan)
        if isinstance(work, RunNode) and isinstance(work.planned.node, RuleNode):
            self.origins[address] = "evaluated"
            return self._evaluated(work)
        self.origins[address] = "timer" if isinstance(work, StartTimer) else "assumed"
        return self._assumed(work)

    def origin(self, work: Work | Evaluated) -> Origin:
        """Where the outcome of a piece of work came from. The run itself evaluates what nobody is asked for."""
        return "evaluated" if isinstance(work, Evaluated) else self.origins[of(work)]

    def _evaluated(self, work: RunNode) -> Answer:
        try:
            return Done(self._evaluate(work))
        except AnabranchError as error:
            return Failed(Failure("failure", error.code, str(error), work.address))

    def _assumed(self, work: Work) -> Answer | Heard:
        if isinstance(work, StartTimer):
            return Done(seconds=work.seconds)
        if isinstance(work, AskConflict):
            return Chosen({each.path: each.candidates[-1].value for each in work.conflicts})
        if isinstance(work, AskPerson) and work.answers > 1:
            return _all_say(work, example_of(work.schema or {}) if work.schema else {}, 0.0)
        if isinstance(work, AskPerson):
            return Done(nested(assumed_writes(self._plan, work.address, None)))
        if isinstance(work, AwaitEvent):
            return Done(_changes(work.address, assumed_writes(self._plan, work.address, None)))
        if isinstance(work, StartChild):
            return self._child(work)
        if work.undo or work.is_beside:
            return Done(_changes(work.address, {}))
        assumed = assumed_writes(self._plan, work.address, work)
        return Done(_changes(work.address, with_entries(self._plan, work, assumed)))

    def _child(self, work: StartChild) -> Answer:
        """What a child workflow comes to, with the same assumptions, and how long it takes."""
        library = self._plan.library
        plan = plan_graph(library[work.graph], library)
        run: dict[str, Json] = {"id": work.address, "session_id": work.address, "graph": work.graph, "attempt": 1}
        answers = Answers(plan, {}, self._evaluate, at=self._at)
        try:
            done = drive(Machine(RunState(plan, work.data, run=run)), answers, at=self._at)
        except AnabranchError as error:  # it refuses its input
            return Failed(Failure("failure", error.code, str(error), work.address))
        seconds = (done.timeline[-1].ended - self._at) / 1000 if done.timeline else 0.0
        if done.finish is None:  # it would wait for an operator
            return Done(dict(work.data), seconds)
        if done.finish.failure is not None:
            return Failed(replace(done.finish.failure, node=work.address), seconds)
        return Done(dict(done.finish.data), seconds)


def _given_answer(work: Work, given: GivenOutcome, plan: Plan) -> Answer | Arrived | Heard:
    seconds = given.after.total_seconds() if given.after is not None else 0.0
    if isinstance(work, RunNode) and (called := given_calls(work, given)) is not None:
        return Done(called, seconds)
    if given.timeout:
        return Failed(
            _timeout(work, given), _patience(work, given, plan.graph.defaults) if given.after is None else seconds
        )
    if given.fail is not None:
        return Failed(Failure("failure", given.fail, given.message, work.address), seconds)
    if isinstance(work, AskConflict):
        return Chosen(_choices(work, given.choose or {}), seconds)
    if isinstance(work, StartTimer):
        return Done(seconds=work.seconds if given.after is None else seconds)
    if isinstance(work, AwaitEvent):
        return Arrived(given_events(plan, work, given.events or {}), seconds)
    return _heard(work, given, seconds) if _asks_several(work) else _brings(work, given, seconds)


def _asks_several(work: Work) -> TypeGuard[AskPerson]:
    return isinstance(work, AskPerson) and work.answers > 1


def _brings(work: Work, given: GivenOutcome, seconds: float) -> Answer:
    """What a node, or a person, brings."""
    for field in ("answer", "result"):
        if field in given.model_fields_set:
            return Done(_checked(work, _brought(work, getattr(given, field))), seconds)
    return Done(_changes(work.address, _writable(work, by_path(given.set or {}))), seconds)


def _heard(work: AskPerson, given: GivenOutcome, seconds: float) -> Heard:
    """What several people say. Raises SchemaViolation."""
    if (answers := given.answers) is None:
        return _all_say(work, _checked(work, given.answer), seconds)
    times = [0.0 if each.after is None else each.after.total_seconds() for each in answers]
    said = (Said(each.by, _checked(work, each.answer), after) for each, after in zip(answers, times, strict=True))
    return Heard(tuple(said))


def _all_say(work: AskPerson, answer: Json, seconds: float) -> Heard:
    """As many people as are needed say the same: those who are named, then others."""
    others = (f"person {number}" for number in range(1, work.answers + 1))
    names = dict.fromkeys((*work.assigned.assignee, *others))
    return Heard(tuple(Said(name, answer, seconds) for name in [*names][: work.answers]))


def _timeout(work: Work, given: GivenOutcome) -> Failure:
    if given.timeout == "queue":
        message = f"node {work.address!r}: no worker took it from its task queue in time"
        return Failure("timeout", QUEUE_TIMEOUT, message, work.address, happened=False)
    if isinstance(work, AwaitEvent):
        return Failure("timeout", NO_EVENT, f"no event came for node {work.address!r} in time", work.address)
    if isinstance(work, AskPerson | AskConflict):
        return Failure("timeout", "NO_ANSWER", f"nobody answered node {work.address!r} in time", work.address)
    return Failure("timeout", "TIMEOUT", f"node {work.address!r} timed out (start to close)", work.address)


def _patience(work: Work, given: GivenOutcome, defaults: Defaults) -> float:
    """How many seconds pass until work has timed out, as often as it is tried."""
    if not isinstance(work, RunNode):
        return work.timeout or 0.0 if isinstance(work, AskPerson | AskConflict | AwaitEvent) else 0.0
    node = work.planned.node
    if given.timeout == "queue":
        queue = node.queue_timeout or (None if work.undo else defaults.queue_timeout)
        return 0.0 if queue is None else queue.total_seconds()
    retry = node.retry or (_ONCE if work.undo else defaults.retry)  # a compensation is tried until it is over
    attempts = min(max(1, retry.max_attempts), _ATTEMPTS)
    pauses = sum(pause_after(attempt, retry) for attempt in range(1, attempts))
    timeout = node.timeout if isinstance(node.timeout, timedelta) else defaults.timeout
    return attempts * timeout.total_seconds() + pauses


def _brought(work: Work, value: Json) -> Json:
    """What a node of that type brings in a run: a model's text is `result.text` in its `output`."""
    node = work.planned.node if isinstance(work, RunNode) else None
    is_text = isinstance(node, AiNode) and node.output_schema is None and node.output is not None
    return {"text": value} if is_text and isinstance(value, str) else value


def _checked(work: Work, answer: Json) -> Json:
    """The answer, checked as a run checks it. Raises SchemaViolation."""
    if isinstance(work, AskPerson) and work.schema is not None:
        check_value_against(work.schema, answer, what="the answer", by=work.address)
    return answer


def _writable(work: Work, values: dict[ContextPath, Json]) -> dict[ContextPath, Json]:
    """The values, if the work may write any. Raises InputError for a compensation that writes nothing in a run."""
    if values and isinstance(work, RunNode) and work.is_beside:
        raise InputError("what reminds of a question writes nothing", place=f"node {work.address!r}")
    if values and isinstance(work, RunNode) and work.undo and work.planned.node.output == {}:
        raise InputError(
            "the compensation has no `output`: it writes nothing",
            place=f"node {work.address!r}",
            suggestion="give it an `output` in the graph, and a `result` here",
        )
    return values


def _choices(work: AskConflict, chosen: Mapping[str, Any]) -> dict[ContextPath, Json | Missing]:
    settled: dict[ContextPath, Json | Missing] = {each.path: each.candidates[-1].value for each in work.conflicts}
    settled.update({parse_path(path): value for path, value in chosen.items()})
    return settled


def _changes(address: str, values: dict[ContextPath, Json]) -> ChangeSet:
    return ChangeSet(base_version=0, set=values, by=address)
