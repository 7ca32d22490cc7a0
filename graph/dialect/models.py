"""`AINode`: its model, its prompts, and the JSON that a prompt asks for."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Final

from anabranch.context.values import Json
from anabranch.graph.dialect.rewriting import Fields, Rewriting
from anabranch.graph.source.heading import NOT_NAME
from anabranch.graph.source.yaml_source import Pointer

DEFAULT_MODEL: Final = "env:ANABRANCH_DEFAULT_MODEL"
_PROVIDERS: Final = {"claude": "anthropic"}
"""Names of providers that are not ours."""
_BY_NAME: Final = (("gpt", "openai"), ("o1", "openai"), ("o3", "openai"), ("claude", "anthropic"))
_WORD: Final = re.compile(r"\w+")
_OBJECT: Final = re.compile(r"(?<!\{)\{(?!\{)([^{}]*)\}(?!\})")
_PROPERTY: Final = re.compile(r"\"(\w+)\"\s*:\s*(\"[^\"\n]*\"|<[^>\n]*>|[^,\n]+)")


def model_call(node: Fields, path: Pointer, rewriting: Rewriting, *, ours: bool) -> Fields:
    """The fields of an `ai` node. With `ours` it is not of the dialect, and nothing is assumed."""
    rewriting.rename(node, "system_prompt", "system", path)
    rewriting.rename(node, "user_prompt", "prompt", path)
    _model(node, path, rewriting, ours=ours)
    if ours:
        return node
    name = str(path[-1])
    if "prompt" not in node:
        node["prompt"] = f"Process data for {name}"
        message = f"has no prompt: it is `{node['prompt']}`"
        rewriting.assumed(path, message, "write the `prompt`")
    if not {"output", "output_schema"} & node.keys():
        node["output"] = {f"{NOT_NAME.sub('_', name)}_result": "result.text"}
    return node


def words_of(value: Json) -> Counter[str]:
    """How often each word stands in a part of a graph."""
    return Counter(_WORD.findall(json.dumps(value, default=str)))


def answer_in_prompt(node: Fields, everywhere: Counter[str], path: Pointer, rewriting: Rewriting) -> None:
    """Take the JSON that a prompt shows for the form of the answer, where another part of the graph has its names."""
    if node.get("type") != "ai" or "output_schema" in node:
        return
    texts = [
        text for field in ("system", "prompt") if isinstance(text := node.get(field), str) and "json" in text.lower()
    ]
    shown = {
        key: _schema(value)
        for text in texts
        for found in _OBJECT.findall(text)
        for key, value in _PROPERTY.findall(found)
    }
    if not shown:
        return
    own = words_of(node)
    if not any(everywhere[key] > own[key] for key in shown):
        return
    node["output_schema"] = {"type": "object", "required": list(shown), "properties": shown}
    node.pop("output", None)
    message = f"answers with the JSON that its prompt shows: {', '.join(shown)} become keys"
    rewriting.assumed(path, message, "write the `output_schema`")


def _schema(value: str) -> dict[str, Json]:
    text = value.strip().strip('"').lower()
    if text in ("true", "false", "true/false", "false/true", "true|false", "<boolean>", "<bool>", "boolean"):
        return {"type": "boolean"}
    if re.fullmatch(r"<?(number|integer|float|score|[-+]?\d+(\.\d+)?(-\d+)?)>?", text):
        return {"type": "number"}
    return {"type": "array"} if text.startswith("[") else {"type": "string"}


def _model(node: Fields, path: Pointer, rewriting: Rewriting, *, ours: bool) -> None:
    provider, model = node.get("provider"), node.get("model")
    if isinstance(provider, str) and isinstance(model, str):
        del node["provider"]
        known = provider.casefold()
        node["model"] = model if ":" in model else f"{_PROVIDERS.get(known, known)}:{model}"
    elif ours:
        return
    elif isinstance(model, str) and ":" not in model:
        if (of := next((each for start, each in _BY_NAME if model.startswith(start)), None)) is not None:
            node["model"] = f"{of}:{model}"
            rewriting.assumed(path, f"names no provider: `{model}` is one of {of}", f"write `model: {of}:{model}`")
    elif model is None:
        node.pop("provider", None)
        node["model"] = DEFAULT_MODEL
        message = "names no model: the worker's variable ANABRANCH_DEFAULT_MODEL says which"
        rewriting.assumed(path, message, f"write `model: {DEFAULT_MODEL}`, or the model itself")
