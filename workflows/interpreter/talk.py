"""A `Talk`: how far an `ai` node with tools and its model have come, between two questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Self, cast

from anabranch.context.changes import ChangeSet
from anabranch.context.nested import nested
from anabranch.context.values import Json
from anabranch.context.wire import measure
from anabranch.errors import AnabranchError, SizeLimitExceeded, WireFormatError
from anabranch.graph.kinds.tools import TALK
from anabranch.graph.model import AiNode, Node
from anabranch.limits import TALK_BYTES, TOOL_RESULT_BYTES
from anabranch.workflows.interpreter.commands import Failure

CALLS: Final = "calls"
"""The key under which the audit trail shows what a model calls."""
_TALK: Final = (TALK,)


class Call(NamedTuple):
    """What a model calls: a tool, with arguments that fit it."""

    id: str
    tool: str
    args: dict[str, Json]


@dataclass(slots=True, eq=False)
class Talk:
    """What was said, and what came of the model's calls so far."""

    asked: int = 0
    """How often the model was asked."""
    said: dict[str, Json] | None = None
    """What it said last, as its activity gave it."""
    is_calling: bool = False
    """Whether what it said last are calls that have not begun."""
    calls: dict[int, Call] = field(default_factory=dict)
    """The calls under way, by the number of their turn."""
    results: dict[str, Json] = field(default_factory=dict)
    """What came of its calls, by their ids."""
    failed: list[str] = field(default_factory=list)
    """The calls that failed, in words."""

    def told(self, address: str) -> dict[str, Json]:
        """What the activity needs for the next question. Raises SizeLimitExceeded."""
        told: dict[str, Json] = {"turn": self.asked, "said": self.said, "results": self.results}
        if (size := measure(told)) > TALK_BYTES:
            raise SizeLimitExceeded(
                f"what the model said and was told comes to {size} bytes, over the limit of {TALK_BYTES}",
                place=f"node {address!r}",
                suggestion="let tools write less (`output`), or lower `max_turns`",
            )
        return told

    def hear(self, changes: ChangeSet) -> ChangeSet:
        """What a question came to, as the audit trail has it. Raises WireFormatError for calls that are none."""
        if _TALK not in changes.set:
            return changes
        said = changes.set[_TALK]
        if not isinstance(said, dict):
            raise WireFormatError("what a model said is not an object")
        self.said, self.is_calling, self.results = said, True, {}
        return shown(changes)

    def called(self) -> Iterator[Call]:
        """What the model calls. Raises WireFormatError."""
        return _called(self.said or {})

    def note(self, turn: int, node_id: str, changes: ChangeSet | None) -> None:
        """A call has ended with what its node writes."""
        call, value = self.calls.pop(turn), _value(node_id, changes)
        try:
            size = measure(value)
        except AnabranchError as error:
            self.results[call.id] = {"error": f"{error.code}: {error.message}"}
            return
        is_small = size <= TOOL_RESULT_BYTES
        too_large = f"{SizeLimitExceeded.code}: the result has {size} bytes, over the limit of {TOOL_RESULT_BYTES}"
        self.results[call.id] = {"value": value} if is_small else {"error": too_large}

    def note_failed(self, turn: int, failure: Failure) -> None:
        """A call has failed, and the model is told."""
        call = self.calls[turn]
        self.results[call.id] = {"error": f"{failure.code}: {failure.message}"[:TOOL_RESULT_BYTES]}
        self.failed.append(f"the tool {call.tool!r} failed ({failure.code}), and the model was told")

    def goes_on(self, node: Node, turn: int, failure: Failure) -> bool:
        """Whether the node goes on after a call that failed: the model is told."""
        call = self.calls.get(turn)
        if call is None or not isinstance(node, AiNode) or node.tools is None:
            return False
        if node.tools[call.tool].on_error == "fail":
            return False
        self.note_failed(turn, failure)
        return True

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        calls = [[turn, *call] for turn, call in self.calls.items()]
        return [self.asked, self.said, self.is_calling, calls, self.results, self.failed]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        asked, said, is_calling, calls, results, failed = wire
        return cls(asked, said, is_calling, {turn: Call(*call) for turn, *call in calls}, results, failed)


def shown(changes: ChangeSet) -> ChangeSet:
    """What a question came to, for people: what the model calls, in place of all that was said."""
    if not isinstance(said := changes.set.get(_TALK), dict):
        return changes
    calls: list[Json] = [{"tool": each.tool, "args": each.args} for each in _called(said)]
    return replace(changes, set={(CALLS,): [*calls, *cast("list[Json]", said.get("refused") or [])]})


def _called(said: dict[str, Json]) -> Iterator[Call]:
    for each in cast("list[Any]", said.get(CALLS) or []):
        match each:
            case [str(call_id), str(tool), dict(args)]:
                yield Call(call_id, tool, args)
            case _:
                raise WireFormatError("what a model called is not an id, a name and arguments")


def _value(node_id: str, changes: ChangeSet | None) -> Json:
    """What a model is told that a tool wrote: under the tool's name alone, the value itself."""
    if changes is None:
        return None
    written: Mapping[str, Json] = nested({**changes.set, **changes.appended})
    return written[node_id] if written.keys() == {node_id} else dict(written)
