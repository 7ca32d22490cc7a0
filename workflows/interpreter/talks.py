"""`ai` nodes with tools: the model is asked, what it calls is done, and it is asked again, until it answers.

Each question and each call is a turn of its own: `judge[0]/judge`, `judge[1]/lookup`. Calls of one question run beside
each other. What tools write enters no context: the model is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import TurnsSpent, WireFormatError
from anabranch.graph.kinds.tools import ARGS, FROM_MODEL, TALK
from anabranch.graph.model import AiNode
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.scope import BodyRun, Scope
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.talk import Call, Talk
from anabranch.workflows.interpreter.turn_context import fresh, names_around

_NOTHING: Final = ChangeSet(base_version=0, set={})


class Talks:
    """The `ai` nodes with tools of one run."""

    def __init__(self, state: RunState, endings: Endings) -> None:
        self._state = state
        self._endings = endings

    def begin(self, body: BodyRun) -> None:
        """Ask the first question."""
        body.talk = Talk()
        self._ask(body, body.talk)

    def end(self, body: BodyRun, scope: Scope) -> None:
        """A question, or a call, has ended. Raises TurnsSpent, SizeLimitExceeded, WireFormatError."""
        talk = _talk(body)
        self._state.leave_turn(body, scope)
        came = body.results.pop(scope.turn, None)
        changes = came if isinstance(came, ChangeSet) else None
        if scope.turn in talk.calls:
            (name,) = scope.nodes
            talk.note(scope.turn, name, changes)
        elif talk.is_calling:
            talk.is_calling = False
            for call in talk.called():
                self._call(body, talk, call)
        else:  # its usage is told by the question
            given = replace(changes or _NOTHING, usage=(), warnings=tuple(talk.failed))
            self._endings.complete_body(body, given)
            return
        self._ask_when_done(body, talk)

    def failed(self, scope: Scope) -> None:
        """A call has failed, what it did is undone, and the model is told."""
        if (body := scope.body) is None:
            raise AssertionError(f"{scope.prefix!r} is no call")
        talk = _talk(body)
        self._state.leave_turn(body, scope)
        talk.calls.pop(scope.turn)
        self._ask_when_done(body, talk)

    def _ask_when_done(self, body: BodyRun, talk: Talk) -> None:
        if not talk.calls:
            self._ask(body, talk)

    def _ask(self, body: BodyRun, talk: Talk) -> None:
        definition = cast("AiNode", body.node.run.planned.node)
        if talk.asked >= definition.max_turns:
            raise TurnsSpent(
                f"the model has not answered after max_turns = {definition.max_turns} questions, and calls tools again",
                place=f"node {body.address!r}",
                suggestion="raise `max_turns`, or say in `system` when the model has to answer",
            )
        told = talk.told(body.address)
        talk.asked += 1
        self._enter(body, body.node.run.planned.id, {TALK: told})

    def _call(self, body: BodyRun, talk: Talk, call: Call) -> None:
        if call.tool not in (cast("AiNode", body.node.run.planned.node).tools or {}):
            raise WireFormatError(f"what the model called is no tool of its node: {call.tool[:64]!r}")
        talk.calls[body.entered] = call
        self._enter(body, call.tool, {ARGS: call.args, FROM_MODEL: True})

    def _enter(self, body: BodyRun, name: str, names: Mapping[str, Json]) -> None:
        scope, run, line = body.node.scope, body.node.run, body.node.line
        index, body.entered = body.entered, body.entered + 1
        plan, prefix = scope.plan.step(run.planned.id, name), f"{body.attempt}[{index}]/"
        roots = {**names_around(self._state, body), **names}
        turn = Scope(
            plan, prefix, fresh(line), body=body, versions=run.versions, roots=roots, turn=index, name=body.attempt
        )
        self._state.enter_turn(body, turn)


def _talk(body: BodyRun) -> Talk:
    if body.talk is None:
        raise AssertionError(f"{body.address!r} has no tools")
    return body.talk
