"""What a run that is watched asks, with the commands that answer: the lines below the live tree."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from anabranch.display import one_line, plain

_PROMPT = 200
_SHOWN = 3


def temporal_program() -> str:
    """How a shell finds the `temporal` command: by its name, or at the path of the one that is brought along."""
    if shutil.which("temporal"):
        return "temporal"
    from anabranch.dev.devserver import temporal_command

    return shlex.quote(os.path.relpath(temporal_command()))


class Asking:
    """Words the questions of the query `status`. `server` is the address that the commands must name, if any."""

    def __init__(self, server: str | None = None) -> None:
        self._server = server
        self._program: str | None = None

    def lines(self, status: Mapping[str, Any]) -> list[Text]:
        """The first questions, each above the command that answers it."""
        asked = [*self._approvals(status), *self._conflicts(status)]
        shown = [line for lines in asked[:_SHOWN] for line in lines]
        more = len(asked) - _SHOWN
        return [*shown, Text(f"{more} more wait for somebody", "yellow")] if more > 0 else shown

    def _approvals(self, status: Mapping[str, Any]) -> Iterator[list[Text]]:
        for address, asked in status.get("approvals", {}).items():
            until = f" until {_clock(asked['deadline'])}" if "deadline" in asked else ""
            prompt = one_line(asked.get("prompt", ""), _PROMPT)
            head = Text.assemble((plain(address), "bold yellow"), f" asks{until}: {prompt}")
            yield [head, *self._command(asked.get("answer"))]

    def _conflicts(self, status: Mapping[str, Any]) -> Iterator[list[Text]]:
        for address, conflicts in status.get("conflicts", {}).items():
            for conflict in conflicts:
                sides = [
                    f"{each['by']}: {one_line(repr(each['value']), _PROMPT) if 'value' in each else '…'}"
                    for each in conflict["candidates"]
                ]
                said = plain(f" must know what {conflict['path']} is: {' | '.join(sides)}")
                yield [Text.assemble((plain(address), "bold magenta"), said), *self._command(conflict.get("resolve"))]

    def _command(self, command: str | None) -> Iterator[Text]:
        if command is None:
            return
        self._program = self._program or temporal_program()
        server = f" --address {self._server}" if self._server else ""
        yield Text(f"  {self._program}{plain(command).removeprefix('temporal')}{server}", "green", overflow="fold")


def _clock(at: int) -> str:
    return datetime.fromtimestamp(at / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
