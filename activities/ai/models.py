"""Language models by `provider:model`, their addresses and keys from the worker's environment alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx2
from pydantic_ai.models import Model

from anabranch.activities.ai.keys import NO_KEY, model_key
from anabranch.activities.http.network import tls_context
from anabranch.masking import url_secrets

_OLLAMA = "http://127.0.0.1:11434/v1"
_TIMEOUT = httpx2.Timeout(600, connect=5)
"""Seconds without a byte; the node's `timeout` ends it earlier."""
_Build = Callable[[str, str, str | None, httpx2.AsyncClient], Model]


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """A model to call, the variable that holds its key, and the secrets to mask: the key, and those of its address."""

    model: Model
    key_variable: str
    secrets: tuple[str, ...]
    name: str
    """`provider:model`."""


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
        found = model_key(self._environ, name)
        # A provider's library takes seconds to import at its first use.
        build = _PROVIDERS[found.provider]
        built = await asyncio.to_thread(build, found.model, found.key, found.base_url, self._client)
        secrets = () if found.key == NO_KEY else (found.key,)
        secrets = (*secrets, *url_secrets(found.base_url or ""))
        return ModelAccess(built, found.variable, secrets, f"{found.provider}:{found.model}")

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
