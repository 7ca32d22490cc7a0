"""Why a model did not answer as it should, as an error of ours that repeats no key."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic_ai import ModelRetry
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelRateLimitError,
    ModelServerError,
    ModelUnavailableError,
    OutputTokenLimitExceeded,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import ModelResponse

from anabranch.activities.ai.models import ModelAccess
from anabranch.errors import BY_ITS_RETRY, AnabranchError, ConfigurationError, NodeError, Unavailable
from anabranch.masking import Mask, mask_of

_RETRYABLE = (ModelRateLimitError, ModelUnavailableError, ModelServerError, ModelConnectionError)
_CUT_OFF: Final = frozenset(
    {"length", "max_tokens", "model_context_window_exceeded", "content_filter", "refusal", "error"}
)
"""Reasons for which models stop before the end, ours and those of providers."""
_LONGEST_PAUSE_SECONDS = 3600.0
MAX_SAID: Final = 500
"""Characters of a model's or checker's message that are kept; it may repeat a whole answer."""


def said(error: Exception, mask: Mask) -> str:
    """What an exception says, without keys."""
    return " ".join(mask.text(str(error)).split())[:MAX_SAID]


def cut_off(response: ModelResponse) -> str | None:
    """Why a model stopped before the end of its answer; None if it did not."""
    told = str((response.provider_details or {}).get("finish_reason", "")).lower()
    reason = response.finish_reason or told
    return told or reason if {reason, told} & _CUT_OFF else None


def incomplete(model: str, reason: str) -> NodeError:
    """The error for an answer that was cut off."""
    return NodeError(
        f"the answer of the model {model!r} was cut off ({reason})",
        suggestion="raise `max_tokens`, or ask for less in the prompt",
    )


def typed(error: AgentRunError, model: str, access: ModelAccess, attempts: int) -> AnabranchError:
    """The error for what the library raised."""
    if isinstance(error, ModelAuthenticationError):
        return ConfigurationError(
            f"the provider of {model!r} refused the worker's key",
            suggestion=f"correct {access.key_variable} in the worker's environment",
        )
    if isinstance(error, OutputTokenLimitExceeded):
        return incomplete(model, "length")
    mask = mask_of(*access.secrets)
    message = said(error, mask)
    if isinstance(error, ModelAPIError) and (isinstance(error, _RETRYABLE) or _is_retryable_status(error)):
        return Unavailable(
            f"the model {model!r} did not answer: {message}",
            suggestion=BY_ITS_RETRY,
            retry_after=_pause(error.retry_after),
        )
    if isinstance(error, UnexpectedModelBehavior):
        tried = f"{attempts} attempt{'s' * (attempts != 1)}"
        return NodeError(
            f"the model {model!r} gave no valid answer in {tried}: {_reason(error, message, mask)}",
            suggestion="say in the prompt what is wanted, simplify `output_schema`, or take another model",
        )
    return NodeError(
        f"the model {model!r} refused the request: {message}", suggestion="see `model`, `prompt`, `max_tokens`"
    )


def _is_retryable_status(error: ModelAPIError) -> bool:
    return isinstance(error, ModelHTTPError) and error.status_code in (408, 409, 425)


def _reason(error: UnexpectedModelBehavior, message: str, mask: Mask) -> str:
    return mask.text(error.__cause__.message) if isinstance(error.__cause__, ModelRetry) else message


def _pause(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=max(0.0, min(seconds, _LONGEST_PAUSE_SECONDS)))
