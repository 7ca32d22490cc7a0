"""What people and services still have to say to a run: answers of approvals, events, choices at joins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from temporalio import workflow

from anabranch.context.values import Json, Missing, Path
from anabranch.graph.fields import MAX_SECONDS
from anabranch.workflows.interpreter.commands import AskConflict, AskPerson, AwaitEvent
from anabranch.workflows.temporal.outbox import Outbox, Ticket
from anabranch.workflows.temporal.question import Question

_SHORTEST = 0.001
"""Seconds."""


class Inbox:
    """The pending answers of one run, by the address of the node that waits for them."""

    def __init__(self, outbox: Outbox, dumped: Mapping[str, list[Any]] | None = None) -> None:
        self._outbox = outbox
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._approvals: dict[str, AskPerson] = {}
        self._questions = {node: Question.load(each) for node, each in (dumped or {}).items()}
        """What joins ask."""

    @property
    def approvals(self) -> Iterable[str]:
        """The approvals that wait."""
        return [address for address in self._approvals if self.waits(address)]

    @property
    def has_unread(self) -> bool:
        """Whether there is an answer that the machine was not told yet."""
        return any(answer.done() for answer in self._answers.values())

    def ask(self, command: AskPerson | AskConflict | AwaitEvent) -> None:
        """From now on, in this very workflow task, an answer may come.

        A join that waits already asks anew: an answer to the question before, of which the machine was not told yet, is
        void where that question was another one.
        """
        address = command.address
        if address not in self._answers or self._answers[address].done():
            self._answers[address] = asyncio.get_event_loop().create_future()
        if isinstance(command, AskPerson):
            self._approvals[address] = command
            return
        if isinstance(command, AwaitEvent):
            return
        question = self._questions.setdefault(address, Question())
        question.ask(command.conflicts)
        self._answer_if_settled(address, question)

    def waits(self, address: str) -> bool:
        """Whether an answer is awaited there, and none has come."""
        answer = self._answers.get(address)
        return answer is not None and not answer.done()

    def approval(self, address: str) -> AskPerson | None:
        """What is asked there, if an approval waits for its answer."""
        return self._approvals.get(address) if self.waits(address) else None

    def answer(self, address: str, value: Json) -> None:
        """The answer of an approval, or the events of a node, that waits."""
        self._answers[address].set_result(value)

    def choose(self, address: str, path: Path, value: Json | Missing, by: str | None = None) -> list[Path]:
        """Settle one of the conflicts of a join that waits; returns the paths that are open still."""
        question = self._questions[address]
        question.choose(path, value, by)
        self._answer_if_settled(address, question)
        return question.open

    def _answer_if_settled(self, address: str, question: Question) -> None:
        if not question.open:
            self._answers[address].set_result(question.settled)

    async def wait(self, command: AskPerson | AskConflict | AwaitEvent, ticket: Ticket) -> Any:
        """The answer; of a join it is `Settled`. Raises TimeoutError."""
        address = command.address
        self._outbox.send(ticket)
        # Always a timer: the timeline shows what is waited for, and the task that asks sends something. One that sends
        # nothing is replayed together with the update that follows it, which would then find nothing to answer.
        left = float(MAX_SECONDS) if command.timeout is None else command.timeout
        until = workflow.time() + left
        try:
            while self.waits(address):
                limit = timedelta(seconds=left)
                await workflow.wait_condition(lambda: not self.waits(address), timeout=limit, timeout_summary=address)
                left = max(_SHORTEST, until - workflow.time())  # for an answer that became void before it was heard
            return self._answers[address].result()
        except TimeoutError:
            self._outbox.answered(ticket)
            if self.waits(address):  # else, in the very task in which the time was up, an answer was accepted
                raise
            return self._answers[address].result()
        finally:
            del self._answers[address]
            self._approvals.pop(address, None)
            self._questions.pop(address, None)

    def dump(self) -> dict[str, list[Any]]:
        """What is settled at joins where other paths still wait, for continue-as-new."""
        return {node: question.dump() for node, question in self._questions.items()}
