"""What a drawing of the graph shows of a run, frame by frame: the state of each card, and of each edge.

A body is drawn once, however many turns it has. So a card in a body shows all of its visits together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from anabranch.context.values import Json
from anabranch.display import one_line
from anabranch.inspection.frame import Frame, SagaStep
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.visits import Route, Visit
from anabranch.steering.waiting import Approval, approvals_of
from anabranch.workflows.interpreter.address import node_id
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.node_run import CLOSED, Status
from anabranch.workflows.interpreter.node_state import Items, NodeState
from anabranch.workflows.interpreter.people import notice_at
from anabranch.workflows.interpreter.saga import COMPENSATION, StepState

Edge = tuple[str, int]

_UNDO: Final = "/compensate"
_OPEN: Final = (Status.CONFLICT, Status.PAUSED, Status.WAITING, Status.RUNNING, Status.READY)
"""What is under way, the most urgent first."""
_ENDED: Final = (Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.SUCCEEDED)
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Shown:
    """A card at one moment. Times are Unix milliseconds."""

    state: str
    """As the drawing names it, with an underscore for a hyphen."""
    note: str = ""
    """How far it is, or which attempt it is."""
    started: int | None = None
    ended: int | None = None
    error: str = ""


@dataclass(slots=True)
class _Card:
    """What is known of one card."""

    live: dict[str, NodeState] = field(default_factory=dict)
    """By the addresses that are drawn as this card."""
    tally: Counter[Status] = field(default_factory=Counter)
    """The visits of nodes in bodies, and of compensations, by how they ended; those under way are `running`."""
    visit: int = 0
    """The index of the newest of these visits."""
    steps: Counter[StepState] = field(default_factory=Counter)
    """Its steps of the saga."""

    def copy(self) -> _Card:
        return _Card(dict(self.live), Counter(self.tally), self.visit, Counter(self.steps))


def drawn(address: str) -> str:
    """The address of the card that shows a node, or a compensation (`undo …`)."""
    if (about := notice_at(address)) is not None:
        return drawn(about[1])
    card = "/".join(map(node_id, address.removeprefix(COMPENSATION).split("/")))
    return card + _UNDO if address.startswith(COMPENSATION) else card


@dataclass(slots=True)
class Picture:
    """The cards and edges as they are after the frames that it was given, one after the other."""

    _cards: dict[str, _Card] = field(default_factory=dict)
    _shown: dict[str, Shown] = field(default_factory=dict)
    _edges: dict[Edge, bool] = field(default_factory=dict)
    _begun: int = 0
    _paused: frozenset[str] = frozenset()
    _saga: tuple[SagaStep, ...] = ()
    _approvals: Mapping[str, Json] = field(default_factory=dict)
    _asked: dict[str, str] = field(default_factory=dict)
    """How far questions to people are, by the card."""

    def advance(self, inspection: Inspection, index: int) -> tuple[dict[str, Shown], dict[Edge, bool]]:
        """Go on to a frame; returns the cards and the edges that are not as they were: whether each is taken."""
        frame = inspection.frames[index]
        edges = dict(frame.settled)
        touched = [
            *self._nodes(frame),
            *self._visits(inspection.visits, frame, edges),
            *self._steps(frame.saga),
            *self._holds(frame),
            *self._questions(frame),
        ]
        cards: dict[str, Shown] = {}
        for name in dict.fromkeys(touched):
            shown = self._show(name, inspection)
            if shown is not None and shown != self._shown.get(name):
                self._shown[name] = cards[name] = shown
        fresh = {edge: taken for edge, taken in edges.items() if self._edges.get(edge) is not taken}
        self._edges |= fresh
        return cards, fresh

    def copy(self) -> Picture:
        """Another one, which goes on by itself."""
        cards = {name: card.copy() for name, card in self._cards.items()}
        return replace(self, _cards=cards, _shown=dict(self._shown), _edges=dict(self._edges))

    def _card(self, name: str) -> _Card:
        return self._cards.setdefault(name, _Card())

    def _nodes(self, frame: Frame) -> Iterable[str]:
        for address in frame.gone:
            name = drawn(address)
            self._card(name).live.pop(address, None)
            yield name
        for address, node in frame.changed.items():
            name = drawn(address)
            self._card(name).live[address] = node
            yield name

    def _visits(self, visits: tuple[Visit, ...], frame: Frame, edges: dict[Edge, bool]) -> Iterable[str]:
        for place, visit in enumerate(visits[self._begun : frame.begun], self._begun):
            if _is_tallied(visit.address):
                name = drawn(visit.address)
                card = self._card(name)
                card.tally[Status.RUNNING] += 1
                card.visit = place
                edges |= {_edge(route): True for route in visit.routes if route.is_taken}
                yield name
        self._begun = frame.begun
        for place in frame.over:
            visit = visits[place]
            if _is_tallied(visit.address):
                name = drawn(visit.address)
                tally = self._card(name).tally
                tally[Status.RUNNING] -= 1
                tally[_outcome(visit.failure)] += 1
                yield name

    def _steps(self, saga: tuple[SagaStep, ...]) -> Iterable[str]:
        if saga is self._saga:
            return
        before = {step.address: step.state for step in self._saga}
        for step in saga:
            old = before.pop(step.address, None)
            if old is not step.state:
                yield self._count_step(step.address, old, step.state)
        for address, state in before.items():
            yield self._count_step(address, state, None)
        self._saga = saga

    def _count_step(self, address: str, old: StepState | None, new: StepState | None) -> str:
        name = drawn(address)
        steps = self._card(name).steps
        if old is not None:
            steps[old] -= 1
        if new is not None:
            steps[new] += 1
        return name

    def _holds(self, frame: Frame) -> Iterable[str]:
        """Compensations that wait for an operator, or no longer do."""
        paused = frozenset(drawn(each) for each in frame.paused if each.startswith(COMPENSATION))
        changed = paused ^ self._paused
        self._paused = paused
        return sorted(changed)

    def _questions(self, frame: Frame) -> Iterable[str]:
        """Questions that were answered in part, asked again or handed to others, or no longer wait."""
        if frame.approvals is self._approvals:
            return ()
        self._approvals, before = frame.approvals, self._asked
        told = {drawn(each.address): _asked(each) for each in approvals_of(frame.approvals)}
        self._asked = {name: note for name, note in told.items() if note}
        return [name for name in {**before, **self._asked} if before.get(name) != self._asked.get(name)]

    def _show(self, name: str, inspection: Inspection) -> Shown | None:
        card = self._cards.get(name)
        if name in self._paused:
            return Shown("paused")
        if card is None:
            return None
        if len(card.live) == 1 and card.tally.total() <= 1:
            ((address, node),) = card.live.items()
            shown = _one(node, card.steps, _attempts(inspection, address, node))
            return shown if shown.note or name not in self._asked else replace(shown, note=self._asked[name])
        if not card.live and card.tally.total() == 1:
            return _only(card, inspection.visits[card.visit])
        return _many(card)


def _is_tallied(address: str) -> bool:
    """Whether visits are counted: the nodes of the graph and of its `finally` are always in the frames themselves."""
    return address.startswith(COMPENSATION) or "/" in address


def _edge(route: Route) -> Edge:
    scope, _, _ = drawn(route.source).rpartition("/")
    return f"{scope}/" if scope else "", route.index


def _outcome(failure: Failure | None) -> Status:
    return Status.SUCCEEDED if failure is None else CLOSED.get(failure.outcome, Status.FAILED)


def _attempts(inspection: Inspection, address: str, node: NodeState) -> int:
    """How many attempts an activity took, once it is over."""
    if not node.status.final or not (found := inspection.activities.get(address)):
        return 0
    return found[-1].attempt


def _one(node: NodeState, steps: Mapping[StepState, int], attempts: int) -> Shown:
    return Shown(_undone(node.status, steps), _note(node, attempts), node.started, node.ended, _said(node.error))


def _only(card: _Card, visit: Visit) -> Shown:
    """The only visit of a card, after it."""
    (status,) = +card.tally
    if status is Status.RUNNING:
        return Shown(status.value, "", visit.started)
    return Shown(_undone(status, card.steps), "", visit.started, visit.ended, _said(visit.failure))


def _said(failure: Failure | None) -> str:
    return "" if failure is None else one_line(f"{failure.code}: {failure.message}", _LONGEST)


def _note(node: NodeState, attempts: int) -> str:
    if node.items is not None:
        return _progress(node.items)
    if node.attempt is not None and node.attempt > 1:
        return f"attempt {node.attempt}" + (f" of {node.max_attempts}" if node.max_attempts else "")
    return f"{attempts} attempts" if attempts > 1 else ""


def _asked(each: Approval) -> str:
    """How many of several people have answered, how often they were reminded, and whether others are asked now."""
    words = [f"{len(each.given)} of {each.needed} answered"] if each.needed > 1 else []
    reminders = each.reminders or {}
    failed = reminders.get("failed", 0)
    if reminded := reminders.get("sent", 0) + failed:
        words.append(f"{reminded} reminder{'s' * (reminded > 1)}" + (f", {failed} failed" if failed else ""))
    if "escalated" in (each.escalation or {}):
        words.append("escalated")
    return " · ".join(words)


def _progress(items: Items) -> str:
    failed = f" · {items.failed:,} failed" if items.failed else ""
    return f"{items.done + items.failed:,}/{items.all:,}{failed}"


def _many(card: _Card) -> Shown | None:
    """Several visits of one card: the most urgent state, and how many there are of each."""
    counts = Counter({status: count for status, count in card.tally.items() if count > 0})
    live = Counter(node.status for node in card.live.values() if not node.status.final)
    waiting = {status: live[status] for status in _OPEN if live[status]}
    if under_way := counts.pop(Status.RUNNING, 0):
        waiting.setdefault(Status.RUNNING, 0)
        waiting[Status.RUNNING] += max(0, under_way - sum(waiting.values()))
    waiting = {status: count for status, count in waiting.items() if count}
    states = [status for status in (*_OPEN, *_ENDED) if waiting.get(status) or counts.get(status)]
    if not states:
        return None
    told = [f"{waiting[status]:,} {status}" for status in _OPEN if status in waiting]
    told += [f"{counts[status]:,} {status.value.replace('_', ' ')}" for status in reversed(_ENDED) if counts[status]]
    return Shown(_undone(states[0], card.steps), " · ".join(told))


def _undone(status: Status, steps: Mapping[StepState, int]) -> str:
    if status is Status.SUCCEEDED and steps.get(StepState.FAILED):
        return StepState.FAILED.value
    is_undone = steps.get(StepState.COMPENSATED) and not steps.get(StepState.DONE)
    return StepState.COMPENSATED.value if status is Status.SUCCEEDED and is_undone else status.value
