"""What a run waits for, and the command that does it: what `answer`, `resolve`, `retry`, `skip` and `fail` offer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.text import Text

from anabranch.cli.people import people
from anabranch.cli.show import clock, indented
from anabranch.display import plain
from anabranch.errors import InputError
from anabranch.steering.waiting import Approval, OpenConflict, Waiting
from anabranch.workflows.interpreter.questions import Answering, shell_word

T = TypeVar("T")
_SHOWN = 10


def the_approval(run: str, waiting: Waiting, node: str | None) -> Approval | None:
    """The approval that is named, or the only one. None for one that does not wait. Raises InputError."""
    if node is not None:
        return next((each for each in waiting.approvals if each.address == node), None)
    return _only(waiting.approvals, "approval", [answering(run, each) for each in waiting.approvals], run, waiting)


def the_conflict(run: str, waiting: Waiting, node: str | None, path: str | None) -> OpenConflict | None:
    """The conflict that is named, or the only one there. None for one that does not wait. Raises InputError."""
    found = [each for each in waiting.conflicts if node in (None, each.address) and path in (None, each.path)]
    if node is not None and (path is not None or not found):
        return found[0] if found else None
    return _only(found, "conflict", [resolving(run, each) for each in found], run, waiting)


def the_paused(run: str, waiting: Waiting, node: str | None, verb: str) -> str:
    """The paused node that is named, or the only one. Raises InputError."""
    if node is not None:
        return node
    return _only(waiting.paused, "paused node", [operating(run, each, verb) for each in waiting.paused], run, waiting)


def _only(found: Sequence[T], what: str, commands: Sequence[str], run: str, waiting: Waiting) -> T:
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{len(found)} {what}s wait: say which", place=run, suggestion=_lines(commands))
    raise InputError(f"no {what} waits", place=run, suggestion=_else(run, waiting))


def _lines(commands: Sequence[str]) -> str:
    more = [f"… and {len(commands) - _SHOWN} more"] if len(commands) > _SHOWN else []
    return "\n    ".join(("one of", *commands[:_SHOWN], *more))


def _else(run: str, waiting: Waiting) -> str:
    """What there is instead."""
    if commands := [*_every(run, waiting)]:
        return _lines(commands)
    if waiting.children:
        ids = ", ".join(map(repr, waiting.children[:_SHOWN]))
        return f"a child workflow asks at itself; under way are {ids}"
    return f"nothing waits for anybody; look at the run with `anabranch show {shell_word(run)}`"


def _every(run: str, waiting: Waiting) -> Iterator[str]:
    yield from (answering(run, each) for each in waiting.approvals)
    yield from (resolving(run, each) for each in waiting.conflicts)
    yield from (operating(run, each, "retry") for each in waiting.paused)


def answering(run: str, approval: Approval) -> str:
    """The command that answers an approval, with an answer of the right shape, to be edited."""
    return _commands(run).answer(approval.address, approval.schema)


def resolving(run: str, conflict: OpenConflict) -> str:
    """The command that settles a conflict by its first candidate."""
    return _commands(run).resolve(conflict.address, conflict.path, conflict.writers)


def operating(run: str, node: str, verb: str) -> str:
    """The command for a paused node."""
    return _commands(run).operate(node, verb)


def _commands(run: str) -> Answering:
    """Those for the shell of who gave the command: its environment names the namespace."""
    return Answering(run, "default")


def asked(run: str, approval: Approval) -> Iterator[Text]:
    """A question for people: its text, its schema, its deadline, and the command that answers."""
    until = "" if approval.deadline is None else f" until {clock(approval.deadline)}"
    yield Text.assemble((plain(approval.address), "bold yellow"), f" asks{until}:")
    yield Text(plain(approval.prompt or "(no prompt)"))
    yield from (Text(plain(line)) for line in people(approval, clock))
    if approval.schema is not None:
        yield Text.assemble("\n", ("the answer fits", "bold"))
        yield Text(indented(dict(approval.schema)))
    yield Text.assemble("\n", ("answer it with", "bold"))
    yield Text(f"  {plain(answering(run, approval))}", "green", overflow="fold")


def disputed(run: str, conflict: OpenConflict) -> Iterator[Text]:
    """A conflict for people: its candidates, and the command that settles it."""
    yield Text.assemble((plain(conflict.address), "bold magenta"), f" must know what {plain(conflict.path)} is:")
    for index, side in enumerate(conflict.described["candidates"]):
        value = plain(json.dumps(side["value"], ensure_ascii=False)) if "value" in side else "removed"
        yield Text(f"  {index}  {plain(side['by'])}: {value}")
    yield Text.assemble("\n", ("settle it with", "bold"))
    yield Text(f"  {plain(resolving(run, conflict))}", "green", overflow="fold")
