"""What people and services still have to say to a run: the answers of approvals, the choices at joins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias

from temporalio import workflow

from anabranch.context.values import Json, Missing, Path
from anabranch.graph.model import MAX_SECONDS
from anabranch.workflows.interpreter.commands import AskConflict, AskPerson
from anabranch.workflows.interpreter.snapshot import dump_choices, load_choices
from anabranch.workflows.temporal.outbox import Outbox, Ticket

Choices: TypeAlias = "dict[Path, Json | Missing]"


class Inbox:
    """The pending answers of one run, by the address of the node that waits for them."""

    def __init__(self, outbox: Outbox, dumped: Mapping[str, list[Any]] | None = None) -> None:
        self._outbox = outbox
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._approvals: dict[str, AskPerson] = {}
        self._choices: dict[str, Choices] = {node: load_choices(each) for node, each in (dumped or {}).items()}
        """What is settled at joins where other paths still wait."""

    @property
    def approvals(self) -> Iterable[str]:
        """The approvals that wait."""
        return [address for address in self._approvals if self.waits(address)]

    @property
    def has_unread(self) -> bool:
        """Whether there is an answer that the machine was not told yet."""
        return any(answer.done() for answer in self._answers.values())

    def ask(self, command: AskPerson | AskConflict) -> None:
        """From now on, in this very workflow task, an answer may come."""
        self._answers[command.address] = asyncio.get_event_loop().create_future()
        if isinstance(command, AskPerson):
            self._approvals[command.address] = command

    def waits(self, address: str) -> bool:
        """Whether an answer is awaited there, and none has come."""
        answer = self._answers.get(address)
        return answer is not None and not answer.done()

    def approval(self, address: str) -> AskPerson | None:
        """What is asked there, if an approval waits for its answer."""
        return self._approvals.get(address) if self.waits(address) else None

    def answer(self, address: str, value: Json) -> None:
        """The answer of an approval that waits."""
        self._answers[address].set_result(value)

    def choose(self, address: str, path: Path, value: Json | Missing, open_paths: Iterable[Path]) -> list[Path]:
        """Settle one of the `open_paths` of a join that waits; returns those that are open still."""
        chosen = self._choices.setdefault(address, {})
        chosen[path] = value
        still_open = [each for each in open_paths if each not in chosen]
        if not still_open:
            self._answers[address].set_result(self._choices.pop(address))
        return still_open

    def keep(self, address: str, choices: Choices) -> None:
        """The join waits anew, for a conflict that came meanwhile; what was chosen stands."""
        self._choices[address] = choices

    async def wait(self, command: AskPerson | AskConflict, ticket: Ticket) -> Any:
        """The answer. Raises TimeoutError."""
        answer = self._answers[command.address]
        self._outbox.send(ticket)
        # Always a timer: the timeline shows what is waited for, and the task that asks sends something. One that sends
        # nothing is replayed together with the update that follows it, which would then find nothing to answer.
        timeout = timedelta(seconds=MAX_SECONDS if command.timeout is None else command.timeout)
        try:
            await workflow.wait_condition(answer.done, timeout=timeout, timeout_summary=command.address)
        except TimeoutError:
            self._outbox.answered(ticket)
            if not answer.done():  # in the very task in which the time was up, an answer was accepted
                raise
        finally:
            del self._answers[command.address]
            self._approvals.pop(command.address, None)
            self._choices.pop(command.address, None)
        return answer.result()

    def dump(self) -> dict[str, list[Any]]:
        """What is settled at joins where other paths still wait, for continue-as-new."""
        return {node: dump_choices(each) for node, each in self._choices.items()}
