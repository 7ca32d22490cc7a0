"""What a run says of itself in search attributes, so that people find it among others: graph, state, what it waits for.

And what its graph has it say, in attributes of the graph's own. A namespace that has them registered has runs that set
them. Each change is a command, which Temporal Cloud bills: so only values that differ from those before are sent, and
none of ours that change with every node.

Commands are sent in the order of the events that change the values, never gathered: which events share an activation
may be another matter on replay (see `outbox`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Self

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate, TypedSearchAttributes

from anabranch.context.merge.lineage import Line
from anabranch.observe.metrics import node_label
from anabranch.transport.search_attributes import CAPABILITY, GRAPH, STATE, WAITING_FOR, key_of, own_capability
from anabranch.workflows.interpreter.attributes import TEXT_BYTES, WORD_BYTES, OwnAttributes, Value
from anabranch.workflows.interpreter.commands import AskPerson, AwaitEvent
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.views import run_status


class Visibility:
    """The search attributes of one workflow run: `ours` where it sets those, and the graph's `own`."""

    def __init__(self, state: RunState, shown: TypedSearchAttributes, *, ours: bool, own: OwnAttributes | None) -> None:
        self._state = state
        self._ours = ours
        self._own = own
        self._graph = shown.get(GRAPH)
        self._word = shown.get(STATE)
        self._waits = tuple(shown.get(WAITING_FOR) or ())

    @classmethod
    def of(cls, state: RunState, capabilities: Collection[str], now: Callable[[], Line]) -> Self | None:
        """Those that the namespace had when the run began; None where it had none. `now` gives the run's context."""
        ours, said = CAPABILITY in capabilities, state.plan.graph.search_attributes
        named = [name for name, each in said.items() if own_capability(name, each.type) in capabilities]
        if not (ours or named):
            return None
        # What the run before set, when this one continues it, or who started it.
        shown = workflow.info().typed_search_attributes
        values = {name: _shown(shown.get(key_of(name, said[name].type))) for name in named}
        return cls(state, shown, ours=ours, own=OwnAttributes(state, named, now, values) if named else None)

    def show(self) -> None:
        """Send what has changed."""
        changed: list[SearchAttributeUpdate[Any]] = []
        if self._ours:
            if (word := self._state_word()) != self._word:
                changed.append(STATE.value_set(word))
                self._word = word
            if (waits := waiting_for(self._state)) != self._waits:
                changed.append(WAITING_FOR.value_set(waits) if waits else WAITING_FOR.value_unset())
                self._waits = waits
            if (graph := self._state.plan.graph.name) != self._graph:
                changed.append(GRAPH.value_set(graph))
                self._graph = graph
        if self._own is not None:
            changed.extend(self._changed_own(self._own))
        if changed:
            workflow.upsert_search_attributes(changed)

    def _changed_own(self, own: OwnAttributes) -> Iterator[SearchAttributeUpdate[Any]]:
        said = self._state.plan.graph.search_attributes
        for name, value in own.changed().items():
            key = key_of(name, said[name].type)
            yield key.value_unset() if value is None else key.value_set(value)

    def _state_word(self) -> str:
        word = run_status(self._state)
        return "waiting" if word == "running" and self._state.questions and asks_people(self._state) else word


def asks_people(state: RunState) -> bool:
    """Whether somebody is asked something: an event is nothing that people owe."""
    return any(not isinstance(each.command, AwaitEvent) for each in state.questions.values())


def waiting_for(state: RunState) -> tuple[str, ...]:
    """What a run waits for people to do, in words of a list: `approval`, `approval:sign_off`. Sorted, and bounded.

    The turns of loops are left out: a `foreach` whose items ask the same says it once.
    """
    if state.finished is not None or not (state.questions or state.waiting_for_operator):
        return ()
    asked = sorted({(kind, node_label(address)) for kind, address in _asked(state)})
    words = sorted({kind for kind, _ in asked})
    left = TEXT_BYTES
    for word in (f"{kind}:{label}" for kind, label in asked):
        size = len(word.encode()) + 3  # with quotes and a comma, in JSON
        if size <= WORD_BYTES and (left := left - size) >= 0:
            words.append(word)
    return tuple(words)


def _shown(value: Any) -> Value | None:
    """A value that the server has, as the graph's own are compared."""
    shown: Value | None = tuple(value) if isinstance(value, list | tuple) else value
    return shown


def _asked(state: RunState) -> Iterator[tuple[str, str]]:
    for address, question in state.questions.items():
        if not isinstance(question.command, AwaitEvent):
            yield "approval" if isinstance(question.command, AskPerson) else "conflict", address
    for address in state.waiting_for_operator:
        yield "paused", address
