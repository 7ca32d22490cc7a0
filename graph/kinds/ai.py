"""What is particular to `ai` nodes: the name of a model, and the schema of its answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from anabranch.errors import Problem
from anabranch.graph.fields import JsonObject
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.keys import Keys, properties, referred
from anabranch.graph.kinds.tools import check_tools
from anabranch.graph.model import AiNode
from anabranch.graph.source.problems import did_you_mean

PROVIDERS: Final = ("openai", "anthropic", "ollama")
"""Whose models workers can call."""
FROM_VARIABLE: Final = "env"
"""What stands instead of a provider where a variable of the worker holds `provider:model`."""
MODEL_VARIABLE: Final = re.compile(r"ANABRANCH_(?:[A-Z0-9]+_)*MODEL", re.ASCII)
"""The variables that may: a graph must not send any other of the worker's to a provider."""
_DECLARING = ("properties", "patternProperties", "additionalProperties", "allOf", "anyOf", "oneOf", "$ref")
"""Keywords by which a schema declares properties, itself or elsewhere."""


def ai_writes(node_id: str, node: AiNode) -> Keys:
    """The properties of the answer, or one text."""
    return frozenset({node_id}) if node.output_schema is None else properties(node.output_schema)


def ai_summary(node: AiNode) -> str:
    """The models, and the tools that they may call."""
    models = " or ".join(node.models)
    return models if node.tools is None else f"{models} with {', '.join(node.tools)}"


def check_ai(node: AiNode, finder: Finder) -> Iterator[Problem]:
    """A model with its provider, a prompt, and a schema whose properties can be keys."""
    for index, name in enumerate(node.models):
        steps: tuple[str | int, ...] = ("model",) if isinstance(node.model, str) else ("model", index)
        yield from _check_model(name, steps, finder)
        if name in node.models[:index]:
            message = f"names the model {name[:64]!r} twice"
            yield finder.problem("AI_MODEL", message, *steps, suggestion="remove it; `retry` asks a model again")
    if not node.prompt.strip():
        yield finder.problem("AI_PROMPT", "has an empty prompt", "prompt")
    if node.output_schema is not None:
        yield from _check_answer(node, node.output_schema, finder)
    yield from check_tools(node, finder)


def _check_model(name: str, steps: tuple[str | int, ...], finder: Finder) -> Iterator[Problem]:
    provider, colon, model = name.partition(":")
    if provider == FROM_VARIABLE and not MODEL_VARIABLE.fullmatch(model):
        message = f"takes its model from {model[:64]!r}, which is no variable for it"
        suggestion = f"write {FROM_VARIABLE}:ANABRANCH_DEFAULT_MODEL, or another name ANABRANCH_…_MODEL"
        yield finder.problem("AI_MODEL", message, *steps, suggestion=suggestion)
    elif not (provider and colon and model):
        suggestion = f"write provider:model, such as openai:{name.strip(':')[:64] or 'gpt-4'}"
        yield finder.problem(
            "AI_MODEL", f"has the model {name[:64]!r} without a provider", *steps, suggestion=suggestion
        )
    elif provider not in (*PROVIDERS, FROM_VARIABLE):
        near = did_you_mean(provider, PROVIDERS)
        suggestion = near or f"one of {', '.join(PROVIDERS)}; a server that speaks as OpenAI's has an OPENAI_BASE_URL"
        message = f"has the provider {provider[:64]!r}, which workers do not know"
        yield finder.problem("AI_PROVIDER", message, *steps, suggestion=suggestion, warning=True)


def _check_answer(node: AiNode, schema: JsonObject, finder: Finder) -> Iterator[Problem]:
    """A schema of which no keys can be written."""
    meant = referred(schema)
    if meant.get("type") != "object":
        suggestion = "wrap what you want in a property: {type: object, properties: {list: {type: array}}}"
        message = "has an `output_schema` whose `type` is not object, and the answer's properties become keys"
        yield finder.problem("AI_SCHEMA", message, "output_schema", suggestion=suggestion)
    elif node.output is None and not any(meant.get(keyword) for keyword in _DECLARING):
        message = "has an `output_schema` that names no property: the model would choose which keys are written"
        suggestion = "name its `properties`, or say in `output` what is written"
        yield finder.problem("AI_SCHEMA", message, "output_schema", suggestion=suggestion)
