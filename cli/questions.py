"""What a run that is watched asks, with the commands that answer: the lines below the live tree."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from anabranch.cli.people import people
from anabranch.display import one_line, plain
from anabranch.steering.waiting import approvals_of

_PROMPT = 200
_SHOWN = 3


class Asking:
    """Words the questions of the query `status`. `server` is the address that the commands must name, if any."""

    def __init__(self, server: str | None = None) -> None:
        self._where = f"TEMPORAL_ADDRESS={shlex.quote(server)} " if server else ""

    def lines(self, status: Mapping[str, Any]) -> list[Text]:
        """The first questions, each above the command that answers it."""
        asked = [*self._approvals(status), *self._conflicts(status), *self._events(status), *self._paused(status)]
        shown = [line for lines in asked[:_SHOWN] for line in lines]
        more = len(asked) - _SHOWN
        return [*shown, Text(f"{more} more wait for somebody", "yellow")] if more > 0 else shown

    def _approvals(self, status: Mapping[str, Any]) -> Iterator[list[Text]]:
        for address, asked in status.get("approvals", {}).items():
            until = f" until {_clock(asked['deadline'])}" if "deadline" in asked else ""
            prompt = one_line(asked.get("prompt", ""), _PROMPT)
            head = Text.assemble((plain(address), "bold yellow"), f" asks{until}: {prompt}")
            yield [head, *_people(address, asked), *self._command(asked.get("answer"))]

    def _conflicts(self, status: Mapping[str, Any]) -> Iterator[list[Text]]:
        for address, conflicts in status.get("conflicts", {}).items():
            for conflict in conflicts:
                sides = [
                    f"{each['by']}: {one_line(repr(each['value']), _PROMPT) if 'value' in each else '…'}"
                    for each in conflict["candidates"]
                ]
                said = plain(f" must know what {conflict['path']} is: {' | '.join(sides)}")
                yield [Text.assemble((plain(address), "bold magenta"), said), *self._command(conflict.get("resolve"))]

    def _paused(self, status: Mapping[str, Any]) -> Iterator[list[Text]]:
        for address, each in status.get("paused", {}).items():
            error = status.get("nodes", {}).get(address, {}).get("error")
            why = "" if error is None else f": {one_line(error['type'] + ': ' + error['message'], _PROMPT)}"
            yield [Text.assemble((plain(address), "bold yellow"), f" is paused{why}"), *self._command(each["retry"])]

    def _events(self, status: Mapping[str, Any]) -> Iterator[list[Text]]:
        for address, wait in status.get("events", {}).items():
            until = f" until {_clock(wait['deadline'])}" if "deadline" in wait else ""
            names = (" and " if wait.get("mode") == "all" else " or ").join(wait.get("names", ()))
            said = f" waits{until} for the event {one_line(names, _PROMPT)}"
            yield [Text.assemble((plain(address), "bold cyan"), said), *self._command(wait.get("send"))]

    def _command(self, command: str | None) -> Iterator[Text]:
        if command is not None:
            yield Text(f"  {self._where}{plain(command)}", "green", overflow="fold")


def _people(address: str, asked: Mapping[str, Any]) -> Iterator[Text]:
    """Whom a question is for, and who has answered: one line."""
    (approval,) = approvals_of({address: asked})
    if told := "; ".join(people(approval, _clock)):
        yield Text(f"  {one_line(told, _PROMPT)}")


def _clock(at: int) -> str:
    return datetime.fromtimestamp(at / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
