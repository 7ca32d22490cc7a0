"""Which model a node's `model` means to this worker: its provider, and the key and address from the environment."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from anabranch.errors import ConfigurationError
from anabranch.graph.kinds.ai import FROM_VARIABLE, MODEL_VARIABLE, PROVIDERS

NO_KEY: Final = "none"
"""Stands for the key of a server that asks for none."""


@dataclass(frozen=True, slots=True)
class ModelKey:
    """A model by its provider, the variable that holds its key, the key, and the provider's address, if not its own."""

    provider: str
    model: str
    variable: str
    key: str
    base_url: str | None


def model_key(environ: Mapping[str, str], name: str) -> ModelKey:
    """What `provider:model` or `env:VARIABLE` means.

    Raises ConfigurationError if the provider is unknown, or the variable or the key is missing.
    """
    name = _named(environ, name)
    provider, _, model = name.partition(":")
    if not model or provider not in PROVIDERS:
        raise _unknown(name)
    variable = f"{provider.upper()}_API_KEY"
    key = environ.get(variable) or (NO_KEY if provider == "ollama" else "")
    if not key:
        raise ConfigurationError(
            f"the environment variable {variable} is not set, and the model {name!r} needs it",
            suggestion="set it in the worker's environment, or use a local model, e.g. ollama:llama3.2",
        )
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError(
            f"the environment variable {variable} has a line break or another character that keys do not have",
            suggestion="correct it in the worker's environment",
        )
    return ModelKey(provider, model, variable, key, environ.get(f"{provider.upper()}_BASE_URL") or None)


def _named(environ: Mapping[str, str], name: str) -> str:
    """The name, or that which the variable holds that `env:NAME` names."""
    source, _, variable = name.partition(":")
    if source != FROM_VARIABLE:
        return name
    if not MODEL_VARIABLE.fullmatch(variable):
        raise ConfigurationError(f"{name!r} is no variable that holds the name of a model")
    if not (found := environ.get(variable)):
        raise ConfigurationError(
            f"the environment variable {variable}, which says what model to call, is not set",
            suggestion=f"set it in the worker's environment, as in {variable}=openai:gpt-4",
        )
    return found


def _unknown(name: str) -> ConfigurationError:
    near = difflib.get_close_matches(name.partition(":")[0], PROVIDERS, n=1) if ":" in name else []
    return ConfigurationError(
        f"{name!r} is not a model that this worker knows how to call",
        suggestion=f"did you mean {near[0]}:…?" if near else f"write provider:model, with {', '.join(PROVIDERS)}",
    )
