"""The machine of a run that takes over what another one knew.

First it is told what that run was told, in the same order and with the same times: nodes that are kept end as they did,
and nothing is asked of anybody. All other nodes wait. Then they start, on the context as it is by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TypeAlias

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.workflows.interpreter.bodies import Bodies
from anabranch.workflows.interpreter.commands import (
    AskPerson,
    AwaitEvent,
    Command,
    Failure,
    RunNode,
    StartChild,
    StartTimer,
)
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.journal import Entry, catch_up, note_who, tell
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.operator import Operator
from anabranch.workflows.interpreter.run_time import bound_run
from anabranch.workflows.interpreter.scope import Scope, Started
from anabranch.workflows.interpreter.starts import Starts
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.taken_over import Answer, TakenOver, first_attempt, given_of, sight, sight_of_item
from anabranch.workflows.interpreter.undo import Undo
from anabranch.workflows.interpreter.watcher import UNWATCHED, Watcher

_Asks: TypeAlias = RunNode | StartTimer | AskPerson | AwaitEvent | StartChild


class Keeping:
    """What is kept of the run before, and what waits meanwhile."""

    def __init__(self, taken: TakenOver, hears: Watcher) -> None:
        self.taken = taken
        self.hears = hears
        """Who hears of what is kept: nobody counts, logs or traces it again."""
        self.keys: dict[str, str] = {}
        """The keys of the effects of what was kept, by address."""
        self.holds: list[frozenset[str]] = []
        """Each has the only nodes of the graph that may start."""
        self.held: list[tuple[Scope, NodeRun]] = []
        self.due: deque[tuple[str, Entry]] = deque()
        """What nodes that have just started came to before."""
        self.used: dict[str, None] = {}
        """The answers that were given, or were of no use."""

    def holds_back(self, scope: Scope, run: NodeRun) -> bool:
        """Whether a node of the graph waits until all is taken over that is kept."""
        return bool(self.holds) and scope.prefix == "" and any(run.planned.id not in names for names in self.holds)

    def answer(self, node: Started) -> Answer | None:
        """What a node that starts came to before, if it sees the same."""
        address = first_attempt(node.scope.address(node.run))
        if address in self.used or (answer := self.taken.answers.get(address)) is None:
            return None
        self.used[address] = None
        seen = sight_of_item(_item_of(node.scope)) if answer.is_item else sight_of_node(node)
        return answer if seen == answer.sight else None


def _item_of(scope: Scope) -> Mapping[str, Json]:
    """The names in the item of a `foreach` of the graph itself that a scope is, or is in."""
    while scope.body is not None and scope.body.node.scope.prefix:
        scope = scope.body.node.scope
    return scope.roots


def sight_of_node(node: Started) -> str:
    """The digest of what a node that starts sees."""
    names, run = node.scope.roots, node.run
    if run.planned.knows_error:
        names = {**names, "error": None if run.handled is None else run.handled.root()}
    return sight(given_of(run.planned, node.line), names)


class RerunStarts(Starts):
    """Starts nodes, but for those that wait, and those whose answer is known."""

    def __init__(
        self, state: RunState, merging: Merging, undo: Undo, endings: Endings, bodies: Bodies, *, keeping: Keeping
    ) -> None:
        super().__init__(state, merging, undo, endings, bodies)
        self._keeping = keeping
        self._answer: Answer | None = None

    def launch(self, node: Started) -> None:
        """See Starts."""
        keeping, address = self._keeping, node.scope.address(node.run)
        if (answer := None if keeping.holds else keeping.answer(node)) is None:
            super().launch(node)
            return
        self._answer, before = answer, self._state.listen(keeping.hears)
        super().launch(node)
        self._answer = None
        self._state.listen(before)
        if address in self._state.work:
            keeping.due.append((address, answer.entry))

    def _start(self, scope: Scope, run: NodeRun) -> None:
        if self._keeping.holds_back(scope, run):
            self._keeping.held.append((scope, run))
        else:
            super()._start(scope, run)

    def _key(self, node: Started) -> str:
        address = node.scope.attempt_address(node.run)
        if self._answer is not None:
            key = self._answer.key
        elif self._keeping.holds:
            key = self._keeping.taken.key(address)
        else:
            return super()._key(node)
        self._keeping.keys[address] = key
        return key


class RerunMachine(Machine):
    """Advances the state of a run that takes over what another one knew."""

    def __init__(self, state: RunState, taken: TakenOver, hears: Watcher = UNWATCHED) -> None:
        self.keeping = Keeping(taken, hears)
        self._others: Watcher | None = None
        """Who hears of the rest, while it is told an answer that is kept."""
        self._entries: Iterator[Entry] = iter(taken.entries)
        self._is_answering = False
        state.has_answers = bool(taken.answers)
        super().__init__(state)

    def _compose(self, state: RunState) -> None:
        super()._compose(state)
        parts = (state, self._merging, self._undo, self._endings)
        self._starts = RerunStarts(*parts, self._bodies, keeping=self.keeping)
        self._operator = Operator(*parts, self._starts)

    def begin(self) -> None:
        """Start with the input, and wait for what is taken over. Raises what `start` does."""
        taken, before = self.keeping.taken, self.state.listen(self.keeping.hears)
        try:
            self.hold(taken.played, taken.at)
            self.start(taken.at)
            catch_up(self)
        finally:
            self.state.listen(before)

    def take(self, count: int) -> bool:
        """Take over so much more; returns whether there may be something left. Raises what `Machine.write` does."""
        before, taken = self.state.listen(self.keeping.hears), 0
        try:
            for entry in islice(self._entries, count):
                taken += 1
                self.tell(entry)
                catch_up(self)
        finally:
            self.state.listen(before)
        return taken == count

    def tell(self, entry: Entry) -> bool:
        """Tell it what was noted of another run; returns whether it waits for that."""
        if entry.event == "hold":
            self.hold(entry.given, max(self.state.at, entry.at))
        elif entry.event == "release":
            self.release(max(self.state.at, entry.at))
        else:
            return tell(self, entry)
        return True

    def go_on(self, at: int) -> list[Command]:
        """All is taken over: note that, with what was edited, and start what waits. Raises what `write` does."""
        state, taken = self.state, self.keeping.taken
        state.at = at
        self._bound_anew()
        if (edits := taken.edits) is not None:
            newest = ChangeSet(state.trail.count, edits.set, edits.removed, taken.name, at)
            self._merging.check_write(newest)
            self.write(newest, at)
        else:
            heads = dict.fromkeys(number for head in state.root.heads() for number in head.versions)
            nothing = ChangeSet(state.trail.count, {}, by=taken.name, at=at)
            state.trail.record("external", self._merging.now(), nothing, by=taken.name, at=at, parents=heads)
        return self.release(at)

    def _bound_anew(self) -> None:
        """The time of the run as a whole begins now: that of the run before is over."""
        state = self.state
        if state.until is not None:
            state.timers.pop(state.deadlines.pop(state.root.address(state.root.end), ""), None)
            bound_run(state)

    def rest(self) -> TakenOver:
        """What the workflow run that continues this one needs of what is taken over."""
        return self.keeping.taken.rest(self.keeping.used)

    def hold(self, names: frozenset[str], at: int) -> None:
        """From now on no other nodes of the graph start than these."""
        self.state.at = at
        self.keeping.holds.append(names)

    def release(self, at: int) -> list[Command]:
        """What waited starts."""
        state, keeping = self.state, self.keeping
        state.at = at
        keeping.holds.pop()
        held, keeping.held = keeping.held, []
        state.ready.extend(each for each in held if not each[1].status.final and not each[0].has_lost(each[1]))
        return self._advance()

    def _advance(self) -> list[Command]:
        if self._others is not None:
            self.state.listen(self._others)
            self._others = None
        commands = super()._advance()
        due = self.keeping.due
        if self._is_answering or not due:
            return commands
        self._is_answering, answered = True, set[str]()
        while due:
            address, entry = due.popleft()
            if address in self.state.work:
                answered.add(address)
                commands += self._answered(address, entry)
        self._is_answering = False
        return [each for each in commands if not (isinstance(each, _Asks) and each.address in answered)]

    def _answered(self, address: str, entry: Entry) -> list[Command]:
        note_who(self.state, entry)
        self._others = self.state.listen(self.keeping.hears)
        if isinstance(failure := entry.given, Failure):
            return self.failed(address, failure, self.state.at)
        return self.succeeded(address, entry.given, self.state.at)
