"""How approvals ask: whom, how many, again after a time, and others after another time.

A reminder is a piece of work beside the graph: it writes nothing, nothing waits for it, and where it fails the run goes
on. Once the question is answered it is cancelled.
"""

from __future__ import annotations

from anabranch.context.values import Json
from anabranch.errors import AnabranchError, InputError
from anabranch.transport.node_protocol import iso_time
from anabranch.workflows.interpreter.commands import AskPerson, EventCame, Failure, RunNode, StartTimer
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.people import GivenAnswer, Notice, OpenApproval
from anabranch.workflows.interpreter.routes import routed
from anabranch.workflows.interpreter.scope import Started
from anabranch.workflows.interpreter.state import RunState

_ESCALATION = "escalation"


class Approvals:
    """The approvals of one run."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._known = state.approvals

    def ask(self, node: Started, command: AskPerson) -> None:
        """Have a node wait for people; from now on, or since before the run continued as new."""
        state = self._state
        state.expect(node, command, Status.WAITING)
        if not command.is_watched:
            return
        address = command.address
        known = OpenApproval(node, command, state.at)
        if (kept := self._known.kept.pop(address, None)) is not None:
            known.asked, given, known.reminded, known.escalated, *unsent, due = kept
            known.unsent = sum(unsent)
            known.given = [GivenAnswer(*each) for each in given]
            self._known.due.extend((address, name) for name in due)
            if known.escalated is not None:
                known.hand_over(known.escalated)
                self._renew(known)
        self._known.open[address] = known
        self._start_timer(known, "remind", known.next_reminder)
        self._start_timer(known, "escalate", known.escalates)

    def answer(self, address: str, answer: Json, by: str) -> None:
        """One of several people answers. Raises InputError where nobody is asked there."""
        known = self._known.open.get(address)
        if known is None or address not in self._state.questions:
            raise InputError(f"no approval {address!r} waits for an answer")
        known.given.append(GivenAnswer(by, self._state.at, answer))
        self._state.decisions.note(address, "answered", ", ".join(each.by for each in known.given))
        self._renew(known)
        self._state.watcher.answer_given(address, by, len(known.given), known.ask.answers)
        if (result := known.result()) is not None:
            self._state.questions.pop(address)  # nobody is waited for any more; its work ends with the answer
            self._state.emit(EventCame(address, result))

    def ended(self, address: str, failure: Failure | None) -> None:
        """The timer of a notice, or a notice, at an address is over."""
        if (due := self._known.timers.pop(address, None)) is not None:
            if failure is None and due[0] in self._state.questions:
                self._come_due(self._known.open[due[0]], due[1])
            return
        owner = self._known.telling.pop(address)
        if failure is not None and owner in self._known.open:
            self._warn(owner, address, failure.code, failure.message)

    def start_due(self) -> None:
        """Tell people what is due, if the run may start something."""
        state, known = self._state, self._known
        for owner, name in list(known.due):
            address = f"{name} of {owner}"
            if not self._may_start(owner) or address in known.telling:
                continue
            if not state.budget.allows():
                return
            state.budget.spend()
            known.due.remove((owner, name))
            try:
                self._tell(known.open[owner], name, address)
            except AnabranchError as error:
                self._warn(owner, address, error.code, str(error))

    def _come_due(self, known: OpenApproval, notice: Notice) -> None:
        address, state = known.ask.address, self._state
        if notice == "remind":
            known.reminded += 1
            self._renew(known)
            self._known.forget_reminders(address)  # of those that a paused run has not sent, one is enough
            self._known.due.append((address, f"reminder {known.reminded}"))
            self._start_timer(known, "remind", known.next_reminder)
            return
        known.hand_over(state.at)
        self._renew(known)
        state.watcher.approval_escalated(address)
        if notice in known.node.run.planned.notices:
            self._known.due.append((address, _ESCALATION))

    def _renew(self, known: OpenApproval) -> None:
        """What people see of the question is another one now."""
        questions, ask = self._state.questions, known.ask
        questions[ask.address] = questions[ask.address].asking(ask)

    def _start_timer(self, known: OpenApproval, notice: Notice, due: int | None) -> None:
        if due is None:
            return
        name = f"reminder {known.reminded + 1}" if notice == "remind" else _ESCALATION
        timer = f"{name} of {known.ask.address} since {iso_time(self._state.at)}"
        self._known.timers[timer] = (known.ask.address, notice)
        self._state.emit(StartTimer(timer, max(0.0, (due - self._state.at) / 1000), is_beside=True))

    def _may_start(self, owner: str) -> bool:
        state = self._state
        if state.may_start:
            return not state.is_aborting(owner)
        return bool(state.lasts) and state.is_shielded(owner) and (state.failure is not None or not state.is_paused)

    def _tell(self, known: OpenApproval, name: str, address: str) -> None:
        node, state = known.node, self._state
        scope, run = node.scope, node.run
        planned = run.planned.notices["escalate" if name == _ESCALATION else "remind"]
        roots = state.roots(scope, run) | {"question": self._question(known, name)}
        if planned.is_routed:
            with state.budget.evaluating() as cost:
                planned = routed(planned, node.line.data, roots, cost)
        key = f"{state.run['id']}/{scope.attempt_address(run)}/{name} since {known.asked}"
        self._known.telling[address] = known.ask.address
        state.watcher.people_told(known.ask.address, name)
        state.emit(RunNode(address, planned, node.line, roots, key, is_beside=True))

    def _question(self, known: OpenApproval, name: str) -> dict[str, Json]:
        """The value of the root `question`: what is asked, of whom, and how it is answered."""
        ask, answering, deadline = known.ask, self._state.answering, self._deadline(known)
        given: list[Json] = [each.described() for each in known.given]
        return {
            "node": ask.address,
            "prompt": ask.prompt,
            **ask.assigned.described(),
            "asked": iso_time(known.asked),
            "deadline": None if deadline is None else iso_time(deadline),
            "reminder": 0 if name == _ESCALATION else int(name.rpartition(" ")[2]),
            "escalated": known.escalated is not None,
            "answers": given,
            "needed": ask.answers,
            "link": answering.link,
            "command": answering.answer(ask.address, ask.schema),
        }

    def _deadline(self, known: OpenApproval) -> int | None:
        question = self._state.questions.get(known.ask.address)
        return None if question is None else question.deadline

    def _warn(self, owner: str, address: str, code: str, message: str) -> None:
        known = self._known.open[owner]
        if not address.startswith(_ESCALATION):
            known.unsent += 1
        if owner in self._state.questions:  # nobody has decided meanwhile
            self._renew(known)
        self._state.trail.warn(owner, f"{address} was not sent: {code}: {message}")
