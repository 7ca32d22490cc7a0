"""A graph that is played without a server, with all that it was answered, and what it came to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from temporalio.exceptions import ApplicationError

from anabranch.context.values import Json
from anabranch.graph.load import LoadedGraph
from anabranch.graph.model import PythonNode
from anabranch.graph.plan import plan_graph
from anabranch.testkit.addresses import of
from anabranch.testkit.answers import Answers
from anabranch.testkit.play import Evaluate, Played, Script, play
from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.commands import AwaitEvent, RunNode, StartTimer
from anabranch.workflows.interpreter.event import Event
from anabranch.workflows.interpreter.simulation import Answer, Arrived, Done, Heard, Said, Work
from anabranch.workflows.temporal.failures import run_error

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")


@dataclass(frozen=True)
class Trial:
    """A graph, and how a run of it goes."""

    loaded: LoadedGraph
    script: Script
    work: Callable[[RunNode], Answer] | None = None
    """How nodes end for which the script gives nothing."""
    sent: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Events that are sent beside those that its nodes wait for: behind the answer to an address; `""` is the start."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to, without what differs from run to run: ids and times."""

    status: str
    result: dict[str, Any] | None
    error: Json
    versions: Json
    """The audit trail."""


@dataclass(frozen=True)
class Rehearsed:
    """A dry run, and the answers that it was given, by the path of the workflow and the address."""

    trial: Trial
    played: Played
    answers: dict[tuple[str, str], tuple[Answer, str]]
    events: dict[str, tuple[Event, ...]]
    """Those that came, by the address of the node of the run that waited for them."""
    said: dict[str, tuple[Said, ...]]
    """What several people say, by the address of the approval."""
    assumes_events: bool
    """Whether there was one that nobody has given, so that nobody can send it."""

    @property
    def outcome(self) -> Outcome:
        """What it came to."""
        state, failure = self.played.state, self.played.failure
        result = error = None
        if (finish := state.finished) is not None and failure is None:
            result = views.result(state, finish, "")
        elif finish is not None and failure is not None:
            error = None if self.played.status == "cancelled" else told(run_error(finish, failure))
        elif self.played.refused is not None:
            error = told(ApplicationError(str(self.played.refused), type=self.played.refused.code))
        ids = [str(state.run["id"]), str(state.run["session_id"])]
        return outcome_of(self.played.status, result, error, views.history(state), ids)


def rehearse(trial: Trial, evaluate: Evaluate) -> Rehearsed:
    """Play a trial without a server, each answer a millisecond later than the one before it."""
    answers: dict[tuple[str, str], tuple[Answer, str]] = {}
    events: dict[str, tuple[Event, ...]] = {}
    said: dict[str, tuple[Said, ...]] = {}
    assumed: list[AwaitEvent] = []
    path: list[str] = []
    answer_of = Answers.__call__

    def noted(self: Answers, work: Work) -> Answer | Arrived | Heard:
        where = "".join(f"/{each}" for each in path)
        path.append(of(work))
        answer = answer_of(self, work)
        path.pop()
        if isinstance(answer, Heard):
            said[of(work)], late = answer.answers, (len(answers) + 1) / 1000
            answers[where, of(work)] = Done(), self.origins.get(of(work), "")
            return Heard(tuple(replace(each, seconds=each.seconds + late) for each in answer.answers))
        if isinstance(answer, Arrived):
            if not path:
                events[of(work)] = answer.events
            return replace(answer, seconds=answer.seconds + (len(answers) + len(events) + 1) / 1000)
        if isinstance(work, AwaitEvent) and isinstance(answer, Done):
            assumed.append(work)
        if isinstance(work, RunNode) and self.origins[of(work)] == "assumed":
            if trial.work is not None:
                answer = trial.work(work)
            elif _is_real(work):
                self.origins[of(work)], answer = "evaluated", self._evaluated(work)
        if not isinstance(work, StartTimer):
            answer = replace(answer, seconds=answer.seconds + (len(answers) + 1) / 1000)
        answers[where, of(work)] = answer, self.origins.get(of(work), "")
        return answer

    with patch.object(Answers, "__call__", noted):
        played = play(plan_graph(trial.loaded.graph, trial.loaded.graphs), trial.script, evaluate)
    return Rehearsed(trial, played, answers, events, said, bool(assumed))


def _is_real(work: RunNode) -> bool:
    """Whether the node is one of the handlers of tests, which do nothing to the world."""
    node = work.planned.node
    return isinstance(node, PythonNode) and node.handler in {"put", "copy", "fill", "add"}


def told(error: ApplicationError) -> Json:
    details = dict(error.details[0]) if error.details else {}
    return {"type": error.type, "message": error.message, **{each: details[each] for each in sorted(details)}}


def outcome_of(status: str, result: Any, error: Json, versions: Json, ids: Sequence[str]) -> Outcome:
    return Outcome(status, *(_timeless(each, ids) for each in (result, error, versions)))


def _timeless(value: Any, ids: Sequence[str]) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key not in {"at", "session_id", "cause"}}
        return {key: _timeless(each, ids) for key, each in kept.items()}
    if isinstance(value, list):
        return [_timeless(each, ids) for each in value]
    if isinstance(value, str):
        for number, each in enumerate(ids):
            value = value.replace(each, f"(id {number})")
        return _MOMENT.sub("(time)", value)
    return value
