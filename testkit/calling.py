"""What a model calls in a dry run or in a test, before it ends as its outcome says."""

from __future__ import annotations

from typing import cast

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.graph.kinds.tools import TALK, Question, arguments
from anabranch.testkit.given import GivenOutcome
from anabranch.workflows.interpreter.commands import RunNode


def given_calls(work: RunNode, given: GivenOutcome) -> ChangeSet | None:
    """What a question comes to where the model calls something; None where it answers.

    Raises InputError for a tool that the node does not have. Arguments that do not fit are refused, as in a run.
    """
    if not isinstance(work.planned.node, Question):
        return None
    turn = cast("int", cast("dict[str, Json]", work.roots[TALK])["turn"])
    if turn >= len(given.calls):
        return None
    tools, calls, refused = work.planned.node.tools or {}, list[Json](), list[Json]()
    for name, args in given.calls[turn].items():
        if name not in tools:
            raise InputError(f"there is no tool {name!r}", place=f"node {work.address!r}")
        call_id = f"call-{turn}-{name}"
        try:
            calls.append([call_id, name, arguments(tools[name], args)])
        except InputError as error:
            refused.append({"tool": name, "id": call_id, "refused": error.message})
    said: dict[str, Json] = {"calls": calls, "refused": refused, "messages": [], "spent": [], "model": 0}
    return ChangeSet(base_version=0, set={(TALK,): said}, by=work.address)
