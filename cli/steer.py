"""`anabranch answer`, `resolve`, `retry`, `skip`, `fail`, `pause` and `resume`: the updates and signals in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

from rich.text import Text

from anabranch.cli.answers import Answer, Choice
from anabranch.cli.inputs import assignment
from anabranch.cli.offers import answering, asked, disputed, resolving, the_approval, the_conflict, the_paused
from anabranch.cli.report import may_ask, out, print_block, print_json
from anabranch.cli.steered import Steered, Steering
from anabranch.context.values import Json
from anabranch.display import plain
from anabranch.errors import InputError

Verb: TypeAlias = Literal["retry", "skip", "fail"]
_DONE: dict[Verb, str] = {"retry": "is tried again", "skip": "is skipped", "fail": "fails"}


async def answer_run(steering: Steering, node: str | None, answer: Answer) -> None:
    """Answer an approval, or show it where nothing is answered and somebody looks."""
    steered = await Steered.open(steering)
    told = await steered.sent_before() or await _answered(steered, node, answer)
    if told is not None:
        needed, count = told.get("needed", 1), told.get("answers", 1)
        _say(steering, told, f"{told['node']} is answered" + (f", {count} of {needed}" if needed > 1 else ""))


async def _answered(steered: Steered, node: str | None, answer: Answer) -> dict[str, Any] | None:
    run = steered.steering.run
    approval = the_approval(run, steered.waiting, node)
    if approval is not None:
        node = approval.address
        if not answer.is_given:
            _show(asked(run, approval), "answer", node, answering(run, approval))
            return None
    else:
        await steered.check("complete_task", {"node": node, "answer": None})
        if not answer.is_given:
            raise _missing("answer", node)
    by = steered.steering.name
    return await steered.update("complete_task", {"node": node, "answer": answer.value(approval), "by": by})


async def resolve_run(steering: Steering, node: str | None, path: str | None, choice: Choice) -> None:
    """Settle a conflict, or show it where nothing is chosen and somebody looks."""
    steered = await Steered.open(steering)
    told = await steered.sent_before() or await _resolved(steered, node, path, choice)
    if told is not None:
        left = f"; still open there: {', '.join(told['open'])}" if told["open"] else ""
        _say(steering, told, f"{told['path']} is settled at {told['node']}{left}")


async def _resolved(steered: Steered, node: str | None, path: str | None, choice: Choice) -> dict[str, Any] | None:
    run = steered.steering.run
    conflict = the_conflict(run, steered.waiting, node, path)
    chosen = choice.request(conflict)
    if conflict is not None:
        node, path = conflict.address, conflict.path
        if not chosen:
            _show(disputed(run, conflict), "choice", node, resolving(run, conflict))
            return None
    request: dict[str, Json] = {"node": node, **({} if path is None else {"path": path}), **chosen}
    if not chosen:
        await steered.check("resolve_conflict", request)
        raise _missing("choice", node)
    return await steered.update("resolve_conflict", {**request, "by": steered.steering.name})


async def operate(
    steering: Steering, verb: Verb, node: str | None, pairs: Iterable[str] = (), removed: Sequence[str] = ()
) -> None:
    """Retry, skip or fail a paused node, the first two on an edited context."""
    edits: dict[str, Json] = {}
    if changes := changes_of(pairs):
        edits["changes"] = changes
    if removed:
        edits["removed"] = list(removed)
    steered = await Steered.open(steering)
    if (told := await steered.sent_before()) is None:
        address = the_paused(steering.run, steered.waiting, node, verb)
        told = await steered.update(f"{verb}_node", {"node": address, "by": steering.name, **edits})
    _say(steering, told, f"{told['node']} {_DONE[verb]}")


def changes_of(pairs: Iterable[str]) -> dict[str, Json]:
    """Paths with the values that are assigned to them. Raises InputError."""
    changes: dict[str, Json] = {}
    for pair in pairs:
        path, value = assignment(pair, place="--set")
        if path in changes:
            raise InputError(f"the path {path!r} is given twice", place="--set")
        changes[path] = value
    return changes


async def hold(steering: Steering, *, is_paused: bool) -> None:
    """Pause a run, or let it go on."""
    steered = await Steered.open(steering)
    if steered.inspection.closing is not None:
        raise InputError("the run is over", place=steering.run)
    await steered.signal("pause" if is_paused else "resume")
    said = "pauses: nothing new starts, and what runs goes on" if is_paused else "goes on"
    _say(steering, {"workflow_id": steering.run, "paused": is_paused}, f"{steering.run} {said}")


def _show(question: Iterable[Text], what: str, node: str, command: str) -> None:
    """Show a question to who looks. Raises InputError where nobody does."""
    if not may_ask():
        raise _missing(what, node, command)
    for line in question:
        print_block(line)


def _missing(what: str, node: str | None, command: str | None = None) -> InputError:
    return InputError(f"the {what} is missing", place=f"node {node!r}", suggestion=command)


def _say(steering: Steering, told: dict[str, Any], text: str) -> None:
    if steering.as_json:
        print_json(told)
    else:
        out().print(plain(text), markup=False)
