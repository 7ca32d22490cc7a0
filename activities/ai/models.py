"""Language models by `provider:model`, their addresses and keys from the worker's environment alone."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx2
from pydantic_ai.models import Model

from anabranch.activities.http.network import tls_context
from anabranch.errors import ConfigurationError
from anabranch.graph.kinds.ai import FROM_VARIABLE, MODEL_VARIABLE
from anabranch.masking import url_secrets

_OLLAMA = "http://127.0.0.1:11434/v1"
_NO_KEY = "none"
_TIMEOUT = httpx2.Timeout(600, connect=5)
"""Seconds without a byte; the node's `timeout` ends it earlier."""
_Build = Callable[[str, str, str | None, httpx2.AsyncClient], Model]


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """A model to call, the variable that holds its key, and the secrets to mask: the key, and those of its address."""

    model: Model
    key_variable: str
    secrets: tuple[str, ...]


class Models:
    """Builds models over one HTTP client.

    `OPENAI_API_KEY`, `OPENAI_BASE_URL`; `ANTHROPIC_API_KEY`, `ANTHROPIC_BASE_URL`; `OLLAMA_BASE_URL` (default: this
    machine), `OLLAMA_API_KEY` (none is needed).
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._client = httpx2.AsyncClient(timeout=_TIMEOUT, verify=tls_context())
        self._environ = os.environ if environ is None else environ

    async def get(self, name: str) -> ModelAccess:
        """The model of that name; ConfigurationError if its provider is unknown or its key missing."""
        name = self._named(name)
        provider, _, model = name.partition(":")
        if not model or (build := _PROVIDERS.get(provider)) is None:
            raise _unknown(name)
        key_variable = f"{provider.upper()}_API_KEY"
        key = self._environ.get(key_variable) or (_NO_KEY if provider == "ollama" else "")
        if not key:
            raise ConfigurationError(
                f"the environment variable {key_variable} is not set, and the model {name!r} needs it",
                suggestion="set it in the worker's environment, or use a local model, e.g. ollama:llama3.2",
            )
        if not key.isascii() or not key.isprintable():
            raise ConfigurationError(
                f"the environment variable {key_variable} has a line break or another character that keys do not have",
                suggestion="correct it in the worker's environment",
            )
        base_url = self._environ.get(f"{provider.upper()}_BASE_URL") or None
        # A provider's library takes seconds to import at its first use.
        built = await asyncio.to_thread(build, model, key, base_url, self._client)
        secrets = () if key == _NO_KEY else (key,)
        return ModelAccess(built, key_variable, (*secrets, *url_secrets(base_url or "")))

    def _named(self, name: str) -> str:
        """The name, or that which the variable holds that `env:NAME` names."""
        source, _, variable = name.partition(":")
        if source != FROM_VARIABLE:
            return name
        if not MODEL_VARIABLE.fullmatch(variable):
            raise ConfigurationError(f"{name!r} is no variable that holds the name of a model")
        if not (found := self._environ.get(variable)):
            raise ConfigurationError(
                f"the environment variable {variable}, which says what model to call, is not set",
                suggestion=f"set it in the worker's environment, as in {variable}=openai:gpt-4",
            )
        return found

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()


def _openai(model: str, key: str, base_url: str | None, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel(model, provider=OpenAIProvider(base_url, key, http_client=client))


def _anthropic(model: str, key: str, base_url: str | None, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    return AnthropicModel(model, provider=AnthropicProvider(api_key=key, base_url=base_url, http_client=client))


def _ollama(model: str, key: str, base_url: str | None, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.ollama import OllamaModel
    from pydantic_ai.providers.ollama import OllamaProvider

    return OllamaModel(model, provider=OllamaProvider(base_url or _OLLAMA, key, http_client=client))


_PROVIDERS: dict[str, _Build] = {"openai": _openai, "anthropic": _anthropic, "ollama": _ollama}


def _unknown(name: str) -> ConfigurationError:
    near = difflib.get_close_matches(name.partition(":")[0], _PROVIDERS, n=1) if ":" in name else []
    return ConfigurationError(
        f"{name!r} is not a model that this worker knows how to call",
        suggestion=f"did you mean {near[0]}:…?" if near else f"write provider:model, with {', '.join(_PROVIDERS)}",
    )
