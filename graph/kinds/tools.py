"""What is particular to the `tools` of `ai` nodes: which nodes they may be, and what a model may give them.

A model's arguments are input of a stranger. They are checked against the tool's `inputs` before anything runs, reach
SQL as binds alone, and never choose the server that is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from anabranch.context.values import Json, check_value
from anabranch.errors import AnabranchError, ExpressionError, InputError, Problem
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.kinds.fields import FieldSpec, template, texts
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.kind import Loop, Toolbox
from anabranch.graph.model import AiNode, BaseNode, DbNode, GraphNode, HttpNode, Tool
from anabranch.graph.source.problems import did_you_mean

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

ARGS: Final = "args"
"""The name by which a tool's node sees what the model gave it."""
TALK: Final = "(talk)"
"""The root that holds what an `ai` node with tools and its model have said, and the key of what the model says next.

In it `turn` counts the questions before, `said` is what the activity gave last, None at first, and `results` what came
of its calls, by their ids: a `value`, or an `error`.
"""
FROM_MODEL: Final = "(from a model)"
"""The root that says that a model chose the arguments of a node."""
_TYPES: Final = ("db", "graph", "http")
_NO_EFFECT: Final = ("when", "join", "losers", "on_failure")
_LONGEST: Final = 300
_SERVER: Final = re.compile(r"\s*https?://[^/?#]*", re.IGNORECASE)
_HOLE: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_ADDRESSES: Final[tuple[FieldSpec, ...]] = (template("url"), template("auth.oauth2.token_url"))


class Question(AiNode):
    """One question of an `ai` node with tools, as the run asks it: a node without a body of its own."""


def question_of(node: AiNode) -> Question:
    """What an `ai` node with tools asks, turn by turn. What becomes of the node is not the question's."""
    given = {name: getattr(node, name) for name in AiNode.model_fields}
    as_it_is = {"when": None, "join": "any", "losers": "drop", "compensate": None, "on_failure": "fail", "pivot": False}
    return Question.model_construct(**{**given, **as_it_is})


def has_tools(node: AiNode) -> bool:
    """Whether the run carries out what the model calls."""
    return node.tools is not None and not isinstance(node, Question)


def tools_loop(node: AiNode) -> Loop | None:
    """The nodes of its tools, as a body; None where it has none."""
    if node.tools is None or isinstance(node, Question):
        return None
    nodes = {name: _as_tool(tool.node) for name, tool in node.tools.items()}
    return Loop(Toolbox.model_construct(nodes=nodes, edges=()), frozenset({ARGS}), path=("tools",))


def schema_of(tool: Tool) -> dict[str, Any]:
    """The JSON Schema of what a model gives a tool."""
    required = [name for name, schema in tool.inputs.items() if "default" not in schema]
    return {"type": "object", "properties": tool.inputs, "required": required, "additionalProperties": False}


def arguments(tool: Tool, given: object) -> dict[str, Json]:
    """What a model gave, with the defaults of what it left out. Raises InputError, which says what does not fit."""
    if not isinstance(given, dict):
        raise InputError(f"the arguments are {type(given).__name__}, not an object")
    try:
        check_value(given)
    except AnabranchError as error:
        raise InputError(f"the arguments are not JSON: {error.message[:_LONGEST]}") from None
    from anabranch.graph.json_schema import first_error  # loads jsonschema

    if (fault := first_error(_validator(_packed(tool)), given)) is not None:
        raise InputError(f"{fault.json_path}: {fault.message[:_LONGEST]}")
    left_out = ((name, schema) for name, schema in tool.inputs.items() if name not in given)
    return {**given, **{name: schema["default"] for name, schema in left_out if "default" in schema}}


def check_tools(node: AiNode, finder: Finder) -> Iterator[Problem]:
    """Tools that are not what a model may have done."""
    if node.tools is None:
        if node.max_turns != AiNode.model_fields["max_turns"].default:
            message = "has `max_turns`, which is only for a model with `tools`"
            yield finder.problem("FIELD_HAS_NO_EFFECT", message, "max_turns", suggestion="remove it")
        return
    if finder.path[-1] == "compensate":
        message = "has `tools`, which a model that undoes something does not have"
        yield finder.problem(
            "AI_TOOL", message, "tools", suggestion="remove them, and look up in `prompt` what it needs"
        )
    if node.cache is not None:
        message = "has a `cache` and `tools`: what they find is not in its key"
        yield finder.problem("AI_TOOL", message, "cache", suggestion="give the `cache` to the nodes of the tools")
    for name, tool in node.tools.items():
        if name == finder.path[-1]:
            message = f"has a tool of its own name, {name!r}"
            yield finder.problem("AI_TOOL", message, "tools", name, suggestion="call the tool something else")
        yield from _check_tool(name, tool, finder)


def _check_tool(name: str, tool: Tool, finder: Finder) -> Iterator[Problem]:
    at, node = ("tools", name), tool.node
    if not tool.description.strip():
        yield finder.problem("AI_TOOL", f"has a tool {name!r} without a description", *at, "description")
    if node.type not in _TYPES:
        message = f"has a tool {name!r} that is a `{node.type}` node"
        suggestion = f"a tool is one of {', '.join(_TYPES)}; a graph may hold nodes of any type"
        yield finder.problem("AI_TOOL", message, *at, "node", "type", suggestion=suggestion)
        return
    for field in _NO_EFFECT:
        if getattr(node, field) != BaseNode.model_fields[field].default:
            message = f"has a tool {name!r} with `{field}`, which a tool does not have: it runs when the model calls it"
            suggestion = "remove it; `on_error` of the tool says what a failure does"
            yield finder.problem("FIELD_HAS_NO_EFFECT", message, *at, "node", field, suggestion=suggestion)
    yield from _check_arguments(name, tool, finder)
    if isinstance(node, HttpNode):
        yield from _check_server(name, node, finder)
    if isinstance(node, GraphNode) and node.input is None:
        message = f"has a tool {name!r} whose graph has no `input`: it would get the whole context, and no `args`"
        suggestion = "say what it is given: `input: {order: '{{ args.order }}'}`"
        yield finder.problem("AI_TOOL", message, *at, "node", suggestion=suggestion)


def _check_arguments(name: str, tool: Tool, finder: Finder) -> Iterator[Problem]:
    """Arguments that are used and that the model does not give."""
    for path, text in texts(tool.node.model_dump(mode="json", by_alias=True, exclude_none=True), ()):
        for unknown in sorted(_used(text) - tool.inputs.keys()):
            message = f"has a tool {name!r} that reads `args.{unknown[:64]}`, which its `inputs` do not have"
            suggestion = did_you_mean(unknown, tool.inputs) or f"its inputs are {', '.join(tool.inputs) or 'none'}"
            yield finder.problem("AI_TOOL", message, "tools", name, "node", *path, suggestion=suggestion)


def _used(text: str) -> frozenset[str]:
    if "{{" not in text or ARGS not in text:
        return frozenset()
    try:
        needs = compile_template(text, frozenset()).needs
    except ExpressionError:  # told where all expressions are checked
        return frozenset()
    return frozenset(path[1] for path in needs if path[0] == ARGS and len(path) > 1)


def _check_server(name: str, node: HttpNode, finder: Finder) -> Iterator[Problem]:
    """A model that chooses the server could have the worker ask any."""
    for spec in _ADDRESSES:
        for field in spec.of(node):
            if isinstance(field.value, str) and _chooses_server(field.value):
                message = f"has a tool {name!r} whose model chooses the server that is asked"
                suggestion = "write the host in the graph, and `args` behind it: https://host/{{ args.path }}"
                yield finder.problem("AI_TOOL", message, "tools", name, "node", *field.path, suggestion=suggestion)


def _chooses_server(url: str) -> bool:
    """Whether `args` stands before the path of an address."""
    plain = _HOLE.sub(lambda hole: "\0" * len(hole[0]), url)
    found = _SERVER.match(plain)  # none where a hole has the scheme and the host
    end = plain.find("/") if found is None else found.end()
    end = len(plain) if end < 0 else end
    return any(re.search(rf"\b{ARGS}\b", hole[0]) for hole in _HOLE.finditer(url) if hole.start() < end)


def _as_tool(node: BaseNode) -> BaseNode:
    return node.model_copy(update={"read_only": True}) if isinstance(node, DbNode) else node


def _packed(tool: Tool) -> str:
    return json.dumps(schema_of(tool), sort_keys=True)


@lru_cache(maxsize=256)
def _validator(packed: str) -> Validator:
    from anabranch.graph.json_schema import validator_of  # loads jsonschema

    schema: Mapping[str, Any] = json.loads(packed)
    return validator_of(schema)
