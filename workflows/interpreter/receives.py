"""How `receive` nodes come to their events: from the mailbox, or when one is sent while they wait.

An event goes to the first node that waits for it and accepts it, else it stays in the mailbox. Of several events a node
with `mode: all` takes none before all are there: one that times out has taken nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import EvaluationError, InputError
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.expressions import evaluate_condition
from anabranch.graph.model import ReceiveNode
from anabranch.workflows.interpreter.commands import AwaitEvent, EventCame
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.event import Event, received
from anabranch.workflows.interpreter.mailbox import Kept, Mailbox
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.scope import Started
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.work import mapped_output


class Receives:
    """The `receive` nodes of one run."""

    def __init__(self, state: RunState, endings: Endings) -> None:
        self._state = state
        self._endings = endings
        self._refused: dict[str, tuple[AwaitEvent, set[int]]] = {}
        """The numbers of the events that a node has looked at and does not accept, by its address."""

    def start(self, node: Started, command: AwaitEvent) -> None:
        """Have a node wait for its events, unless they are there. Raises EvaluationError for a key that is not."""
        state = self._state
        _check_keys(node, state.roots(node.scope, node.run, at=node.at), state)
        found = None if state.mailbox is None else self._found(state.mailbox, node, command)
        if found is None:
            state.expect(node, command, Status.WAITING)
            return
        self._take(node, found)
        self._endings.succeed(node, received(_definition(node), [each.event for each in found]))

    def hear(self, event: Event) -> None:
        """An event was sent. Raises InputError for one that no node of the graph knows, SizeLimitExceeded."""
        state = self._state
        if event.name not in state.plan.events:
            known = ", ".join(sorted(state.plan.events)) or "none"
            raise InputError(
                f"no node of the graph receives the event {event.name[:64]!r}", suggestion=f"the events are {known}"
            )
        if state.mailbox is None:
            state.mailbox = Mailbox(**state.mailbox_limits)
        if state.mailbox.put(event) is None:
            state.watcher.event_repeated(event)
            return
        for address, node, command in self._waiting(event.name):
            if (found := self._found(state.mailbox, node, command)) is not None:
                self._take(node, found)
                events = [each.event for each in found]
                state.questions.pop(address)  # nobody is waited for any more; its work ends with the answer
                state.emit(EventCame(address, received(_definition(node), events)))
                return

    def received(self, address: str, events: Sequence[Event]) -> ChangeSet:
        """What a node that waits writes of these events. Raises InputError where it does not accept one."""
        node = cast("Started", self._state.work[address])
        for event in events:
            if not self._accepts(event, node):
                raise InputError(
                    f"the node does not accept the event {event.name!r}: it would go on waiting",
                    place=f"node {address!r}",
                    suggestion="give data for which its `accept` and `correlate` hold, or `timeout`",
                )
        with self._state.budget.evaluating() as cost:
            roots, result = self._state.roots(node.scope, node.run), received(_definition(node), events)
            return mapped_output(node.run.planned, result, node.line, roots, cost)

    def _waiting(self, name: str) -> Iterator[tuple[str, Started, AwaitEvent]]:
        """The nodes that wait for an event of this name, that one first which has waited longest."""
        for address, question in list(self._state.questions.items()):
            command, node = question.command, self._state.work.get(address)
            if isinstance(command, AwaitEvent) and name in command.names and isinstance(node, Started):
                yield address, node, command

    def _found(self, mailbox: Mailbox, node: Started, command: AwaitEvent) -> list[Kept] | None:
        """The events that a node takes; None where it has to wait."""
        found: dict[str, Kept] = {}
        for kept in mailbox.named(command.names):
            name = kept.event.name
            if name not in found and self._is_accepted(kept, node, command):
                found[name] = kept
                if not command.needs_all or len(found) == len(command.names):
                    return list(found.values())
        return None

    def _is_accepted(self, kept: Kept, node: Started, command: AwaitEvent) -> bool:
        seen = self._refused.get(command.address)
        if seen is None or seen[0] is not command:
            seen = self._refused[command.address] = (command, set())
        if kept.number in seen[1]:
            return False
        try:
            if self._accepts(kept.event, node):
                return True
        except EvaluationError as error:  # anybody can send anything: it must not fail the run
            self._state.trail.warn(command.address, f"an event {kept.event.name!r} is left: {error}")
        seen[1].add(kept.number)
        return False

    def _accepts(self, event: Event, node: Started) -> bool:
        with self._state.budget.evaluating() as cost:
            return accepts(event, node, self._state.roots(node.scope, node.run, at=node.at), cost)

    def _take(self, node: Started, found: list[Kept]) -> None:
        address = node.scope.address(node.run)
        if self._state.mailbox is not None:
            self._state.mailbox.take(found)
        self._refused.pop(address, None)
        for each in found:
            self._state.watcher.event_taken(address, each.event)
        senders = dict.fromkeys(each.event.by for each in found if each.event.by is not None)
        if senders:
            self._state.decisions.note(address, "delivered", ", ".join(senders))


def accepts(event: Event, node: Started, roots: Mapping[str, Json], cost: Cost) -> bool:
    """Whether an event is for a node. Raises EvaluationError."""
    planned, definition = node.run.planned, _definition(node)
    given: dict[str, Json] = {**roots, "event": event.data, "event_name": event.name}
    data = planned.seen(node.line.data, roots, cost)
    conditions = [f"({key}) == ({value})" for key, value in definition.correlate.items()]
    if definition.accept is not None:
        conditions.append(definition.accept)
    for each in conditions:
        if not evaluate_condition(planned.expression(each, "event", "event_name"), data, given, cost):
            return False
    return True


def _definition(node: Started) -> ReceiveNode:
    return cast("ReceiveNode", node.run.planned.node)


def _check_keys(node: Started, roots: Mapping[str, Json], state: RunState) -> None:
    """Raises EvaluationError for a key of `correlate` that the context does not have: no event could ever fit."""
    planned = node.run.planned
    with state.budget.evaluating() as cost:
        data = planned.seen(node.line.data, roots, cost)
        for key in _definition(node).correlate:
            planned.expression(key).evaluate(data, roots, cost)
