"""Whom an approval asks, who has answered, and when it asks again: what is known of one while it waits."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.errors import OptionInvalid
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.fields import parse_duration
from anabranch.graph.kinds.approval import ANSWERS, APPROVED
from anabranch.graph.model import ApprovalNode
from anabranch.graph.people import MAX_NAMES, Names, is_refusal, verdict_of
from anabranch.graph.plan_node import PlanNode
from anabranch.transport.node_protocol import iso_time
from anabranch.workflows.interpreter.commands import AskPerson, Assigned, Escalation, Reminders
from anabranch.workflows.interpreter.scope import Started

Notice: TypeAlias = Literal["remind", "escalate"]
"""What tells people of a question, by the field of the `approval` that says so."""
_NOTICE: Final = re.compile(r"(?:(?P<remind>reminder(?: \d+)?)|escalation) of (?P<owner>[^ ].*)", re.DOTALL)
_LONGEST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What one of several people answered, and when (Unix milliseconds). The run has no proof of the name."""

    by: str
    at: int
    answer: Json

    def described(self) -> dict[str, Json]:
        """As JSON for people, and for the node's `output`."""
        return {"by": self.by, "at": iso_time(self.at), "answer": self.answer}


@dataclass(slots=True, eq=False)
class OpenApproval:
    """An approval that waits, since `asked` (Unix milliseconds), and who has answered so far."""

    node: Started
    ask: AskPerson
    asked: int
    given: list[GivenAnswer] = field(default_factory=list)
    reminded: int = 0
    """How many reminders' time has come."""
    unsent: int = 0
    """How many of them could not be sent."""
    escalated: int | None = None
    """When it was handed to others, in Unix milliseconds."""

    @property
    def next_reminder(self) -> int | None:
        """When the next one is due, in Unix milliseconds."""
        remind = self.ask.reminders
        if remind is None or self.reminded >= remind.times:
            return None
        return self.asked + round((remind.after + self.reminded * remind.every) * 1000)

    @property
    def escalates(self) -> int | None:
        """When it will be handed to others, in Unix milliseconds."""
        plan = self.ask.escalation
        return None if plan is None or self.escalated is not None else self.asked + round(plan.after * 1000)

    def hand_over(self, at: int) -> None:
        """From now on it is for others."""
        self.escalated = at
        if (plan := self.ask.escalation) is not None:
            self.ask = replace(self.ask, assigned=plan.to)

    def has_answered(self, by: str) -> bool:
        """Whether somebody of this name has answered."""
        return any(each.by == by for each in self.given)

    def result(self) -> dict[str, Json] | None:
        """What its answers come to; None while more are needed. One that says no decides."""
        where, told = verdict_of(self.ask.schema), dict[str, Json]()
        is_refused = any(is_refusal(self.ask.schema, each.answer) for each in self.given)
        if not is_refused and len(self.given) < self.ask.answers:
            return None
        if where is not None:
            told[where[0] if where else APPROVED] = not is_refused
        listed: list[Json] = [each.described() for each in self.given]
        return {**told, ANSWERS: listed}

    def reminders(self) -> dict[str, int] | None:
        """How many were sent and failed, of how many, and when the next is due; None where none is wanted."""
        if (remind := self.ask.reminders) is None:
            return None
        after = {} if (due := self.next_reminder) is None else {"next": due}
        failed = {"failed": self.unsent} if self.unsent else {}
        return {"sent": self.reminded - self.unsent, "times": remind.times, **failed, **after}

    def described(self) -> dict[str, Json]:
        """What people see of it beside its question, as JSON. Times are Unix milliseconds."""
        told: dict[str, Json] = {"asked": self.asked}
        if self.ask.answers > 1:
            given: list[Json] = [{"by": each.by, "at": each.at, "answer": each.answer} for each in self.given]
            told[ANSWERS] = {"needed": self.ask.answers, "given": given}
        if (reminders := self.reminders()) is not None:
            told["reminders"] = dict(reminders)
        if (plan := self.ask.escalation) is not None:
            when = {"at": self.escalates} if self.escalated is None else {"escalated": self.escalated}
            told["escalation"] = {**when, **plan.to.described()}
        return told

    def dump(self) -> list[Any]:
        """For continue-as-new."""
        given = [[each.by, each.at, each.answer] for each in self.given]
        return [self.asked, given, self.reminded, self.escalated, *([self.unsent] if self.unsent else [])]


def reminders_told(reminders: Mapping[str, int]) -> str:
    """What `OpenApproval.reminders` counts, in a clause."""
    failed = reminders.get("failed", 0)
    return f"{reminders['sent']} of {reminders['times']} reminders were sent" + (f", {failed} failed" if failed else "")


class OpenApprovals:
    """The approvals of one run of which there is more to know than their question, by address."""

    def __init__(self) -> None:
        self.open: dict[str, OpenApproval] = {}
        self.timers: dict[str, tuple[str, Notice]] = {}
        """Those that wait for the time of a reminder, or an escalation: the approval, and what is due then."""
        self.due: deque[tuple[str, str]] = deque()
        """What is to be told people as soon as the run starts something: the approval, and the notice's name."""
        self.telling: dict[str, str] = {}
        """What is being told them, by its address: the approval."""
        self.kept: dict[str, list[Any]] = {}
        """What the workflow run before knew of them, until they ask again."""

    def close(self, address: str) -> Iterator[str]:
        """The approval at an address waits no more; returns the addresses of the work that nobody needs any more."""
        if self.open.pop(address, None) is None:
            return
        self.due = deque(each for each in self.due if each[0] != address)
        for timer in [timer for timer, (owner, _) in self.timers.items() if owner == address]:
            del self.timers[timer]
            yield timer
        yield from [notice for notice, owner in self.telling.items() if owner == address]

    def forget_reminders(self, address: str) -> None:
        """Reminders of the approval at an address that are due and not sent are not sent any more."""
        self.due = deque(each for each in self.due if each[0] != address or not each[1].startswith("reminder "))

    def owns(self, address: str) -> bool:
        """Whether an address is that of a notice's timer, or of a notice."""
        return address in self.timers or address in self.telling

    def dump(self) -> dict[str, Any]:
        """For continue-as-new."""
        due: dict[str, list[str]] = {}
        for address, name in self.due:
            due.setdefault(address, []).append(name)
        return {address: [*each.dump(), due.get(address, [])] for address, each in self.open.items()}


def notice_at(address: str) -> tuple[Notice, str] | None:
    """Which notice of which approval an address is, or that of its timer; None for that of a node.

    Notices are at `reminder 2 of sign_off`, and `escalation of sign_off`. Node ids have no spaces.
    """
    if " of " not in address or (found := _NOTICE.fullmatch(address)) is None:
        return None
    owner = found["owner"].partition(" since ")[0]
    return ("escalate" if found["remind"] is None else "remind"), owner


def question_of(
    node: ApprovalNode, planned: PlanNode, line: Line, roots: Mapping[str, Json], *, address: str, cost: Cost
) -> AskPerson:
    """What an approval asks, and of whom. Raises EvaluationError, OptionInvalid."""
    data = planned.seen(line.data, roots, cost)
    making = _Making(planned, data, roots, cost)
    prompt = compile_template(node.prompt, planned.roots).text(data, roots, cost)
    patience = node.timeout.total_seconds() if isinstance(node.timeout, timedelta) else None
    reminders = escalation = None
    if (remind := node.remind) is not None:
        after = making.seconds(remind.after, "remind.after")
        every = None if remind.every is None else making.seconds(remind.every, "remind.every")
        reminders = Reminders(after, every or 0.0, 1 if every is None else remind.times)
    if (plan := node.escalate) is not None:
        to = making.assigned(plan.to.assignee, plan.to.groups, "escalate.to.")
        escalation = Escalation(making.seconds(plan.after, "escalate.after"), to)
    return AskPerson(
        address,
        prompt,
        node.schema_,
        patience,
        assigned=making.assigned(node.assignee, node.groups),
        answers=node.answers,
        reminders=reminders,
        escalation=escalation,
        form=None if node.form is None else node.form.model_dump(mode="json", exclude_defaults=True),
    )


@dataclass(frozen=True, slots=True)
class _Making:
    """Makes the values of an approval's templates."""

    planned: PlanNode
    data: Mapping[str, Json]
    roots: Mapping[str, Json]
    cost: Cost

    def assigned(self, assignee: Names | None, groups: Names | None, at: str = "") -> Assigned:
        """The names that a run makes. Raises EvaluationError, OptionInvalid."""
        return Assigned(self._names(assignee, f"{at}assignee"), self._names(groups, f"{at}groups"))

    def seconds(self, given: timedelta | str, field: str) -> float:
        """The time that a run makes. Raises EvaluationError, OptionInvalid."""
        if isinstance(given, timedelta):
            return given.total_seconds()
        value = compile_template(given, self.planned.roots).render(self.data, self.roots, self.cost)
        try:
            if (found := parse_duration(value)) > timedelta(0):
                return found.total_seconds()
        except ValueError:
            pass
        message = f"`{field}` is not a duration above zero, of at most ten years: {str(value)[:80]!r}"
        raise self._refused(message, "let its template yield one, such as 4h or 2d")

    def _names(self, given: Names | None, field: str) -> tuple[str, ...]:
        if given is None:
            return ()
        made: list[Json] = []
        for each in (given,) if isinstance(given, str) else given:
            value = compile_template(each, self.planned.roots).render(self.data, self.roots, self.cost)
            made += value if isinstance(value, list) else [value]
        names = tuple(each for each in made if isinstance(each, str) and each.strip() and len(each) <= _LONGEST_NAME)
        if len(names) < len(made) or not 1 <= len(names) <= MAX_NAMES:
            message = f"`{field}` is not 1 to {MAX_NAMES} names of at most {_LONGEST_NAME} characters: {str(made)[:80]}"
            raise self._refused(message, "let its template yield a name, or a list of names")
        return tuple(dict.fromkeys(names))

    def _refused(self, message: str, suggestion: str) -> OptionInvalid:
        return OptionInvalid(message, place=f"node {self.planned.id!r}", suggestion=suggestion)
