"""What an `ai` node with tools and its model have said: read from its task, and handed back for the next question.

The model's calls are not carried out here. They go back to the run, which does each as a node of its own, and asks
again with what they came to. Arguments that do not fit never leave: the model is told why instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, cast

from pydantic import ValidationError
from pydantic_ai import DeferredToolRequests, DeferredToolResults, RunContext, ToolDefinition
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ToolCallPart
from pydantic_ai.toolsets import ExternalToolset, ToolsetTool

from anabranch.activities.node_result import NodeResult
from anabranch.context.changes import Usage
from anabranch.context.values import Json
from anabranch.context.wire import measure_plain, plain
from anabranch.errors import InputError, NodeError, SizeLimitExceeded
from anabranch.graph.kinds.tools import TALK, arguments, schema_of
from anabranch.graph.model import AiNode, Tool
from anabranch.limits import CALLS_AT_ONCE, TALK_BYTES
from anabranch.masking import Mask
from anabranch.transport.node_protocol import NodeTask

_LONGEST_REASON: Final = 500
_KINDS: Final = frozenset({"kind", "part_kind"})


@dataclass(frozen=True, slots=True)
class Talking:
    """What was said before this question. The first one has nothing before it."""

    messages: list[ModelMessage] = field(default_factory=list)
    results: Mapping[str, str | Json] | None = None
    """What came of the model's calls, by their ids."""
    spent: tuple[Usage, ...] = ()
    """What the questions before have cost."""
    model: int = 0
    """Which of the node's models answered last: none before it is asked again."""

    @classmethod
    def of(cls, task: NodeTask) -> Self | None:
        """What a task brings; None of a node without tools. Raises NodeError where it cannot be read."""
        if (told := task.roots.get(TALK)) is None:
            return None
        given = cast("dict[str, Any]", told)
        if (said := given["said"]) is None:
            return cls()
        try:
            messages = ModelMessagesTypeAdapter.validate_python(said["messages"])
        except ValidationError:
            raise NodeError(
                "what the model said before cannot be read by this worker's version of pydantic-ai",
                suggestion="finish the run on workers of the version that began it",
            ) from None
        results = {call_id: _told(came) for call_id, came in given["results"].items()}
        results |= {each["id"]: f"REFUSED: {each['refused']}" for each in said["refused"]}
        spent = tuple(Usage(*each) for each in said["spent"])
        return cls(messages, results, spent, said["model"])

    def deferred(self, mask: Mask) -> DeferredToolResults | None:
        """What came of the calls, for the library, without keys."""
        if self.results is None:
            return None
        return DeferredToolResults(calls={call_id: mask.value(came) for call_id, came in self.results.items()})


@dataclass(frozen=True, slots=True)
class Called:
    """What a model calls instead of answering, and all that was said by then."""

    requests: DeferredToolRequests
    messages: list[ModelMessage]

    def result(self, node: AiNode, talking: Talking, usage: Sequence[Usage], model: int, mask: Mask) -> NodeResult:
        """What goes back to the run. Raises SizeLimitExceeded."""
        tools = node.tools or {}
        calls, refused = list[Json](), list[Json]()
        for call in self.requests.calls:
            try:
                given = _arguments(call, tools, len(calls))
            except InputError as error:
                reason = mask.text(error.message)[:_LONGEST_REASON]
                refused.append({"tool": call.tool_name[:64], "id": call.tool_call_id, "refused": reason})
            else:
                calls.append([call.tool_call_id, call.tool_name, mask.value(given)])
        said: dict[str, Json] = {
            "calls": calls,
            "refused": refused,
            "messages": _masked(
                ModelMessagesTypeAdapter.dump_python(self.messages, mode="json", exclude_none=True), mask
            ),
            "spent": [list(each) for each in (*talking.spent, *usage)],
            "model": model,
        }
        if (size := measure_plain(plain(cast("Json", said)))) > TALK_BYTES:
            raise SizeLimitExceeded(
                f"what the model has said and was told comes to {size} bytes, over the limit of {TALK_BYTES}",
                suggestion="let tools write less (`output`), or lower `max_turns`",
            )
        return NodeResult(None, {TALK: said}, is_partial=True)


class Offered(ExternalToolset[None]):
    """The tools of a node. A call that is not JSON is sent back to the model `again` times."""

    def __init__(self, tools: Mapping[str, Tool], again: int) -> None:
        super().__init__(
            [
                ToolDefinition(name=name, description=tool.description, parameters_json_schema=schema_of(tool))
                for name, tool in tools.items()
            ]
        )
        self._again = again

    async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:
        """See ExternalToolset."""
        found = await super().get_tools(ctx)
        return {name: replace(tool, max_retries=self._again) for name, tool in found.items()}


def _arguments(call: ToolCallPart, tools: Mapping[str, Tool], so_far: int) -> dict[str, Json]:
    """What a call gives its tool. Raises InputError."""
    if (tool := tools.get(call.tool_name)) is None:
        raise InputError(f"there is no tool {call.tool_name[:64]!r}")
    if so_far >= CALLS_AT_ONCE:
        raise InputError(f"at most {CALLS_AT_ONCE} tools can be called at once: call the others afterwards")
    try:
        given = call.args_as_dict(raise_if_invalid=True)
    except (ValueError, AssertionError):
        raise InputError("the arguments are not a JSON object") from None
    return arguments(tool, given)


def _masked(messages: Any, mask: Mask) -> Any:
    """Messages without keys, and without the worker's addresses. What says their kind stays."""
    if isinstance(messages, dict):
        return {
            name: value if name in _KINDS else _masked(value, mask)
            for name, value in messages.items()
            if name != "provider_url"
        }
    if isinstance(messages, list):
        return [_masked(each, mask) for each in messages]
    return mask.value(messages)


def _told(came: Mapping[str, Json]) -> Json:
    """What came of a call, as the model hears it."""
    return f"ERROR {came['error']}" if "error" in came else came.get("value")
