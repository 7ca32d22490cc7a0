"""`ai` nodes: one question to a language model, at least once, with an `Idempotency-Key` where the provider takes it.

What `output` sees as `result`: the properties of the answer where there is an `output_schema`, else `text`; and
`usage` (`requests`, `input_tokens`, `output_tokens`). Without `output` the properties become keys, or the text is
written under the node's id. Properties that the schema does not declare are dropped. An answer that does not fit the
schema is sent back to the model with what is wrong, `NodeLimits.reasks` times. One that was cut off is a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.protocols import Validator
from pydantic_ai import Agent, ModelRetry, ModelSettings, RunContext, StructuredDict
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
    UserError,
)
from pydantic_ai.messages import ModelResponse
from pydantic_ai.usage import RunUsage
from referencing.exceptions import Unresolvable

from anabranch import spans
from anabranch.activities.ai.declared import Declared
from anabranch.activities.ai.models import ModelAccess, Models
from anabranch.activities.idempotency_key import header_key
from anabranch.activities.node_result import NodeResult, own_key
from anabranch.activities.rendering import render
from anabranch.context.values import Json
from anabranch.errors import AnabranchError, ConfigurationError, NodeError, Unavailable
from anabranch.graph.expressions.json_text import text_of
from anabranch.graph.json_schema import SchemaUnbounded, validator_of
from anabranch.graph.model import AiNode
from anabranch.limits import NODE_LIMITS, NodeLimits
from anabranch.masking import Mask, mask_of
from anabranch.transport.node_protocol import NodeTask

_RETRYABLE = (ModelRateLimitError, ModelUnavailableError, ModelServerError, ModelConnectionError)
_CUT_OFF: Final = frozenset(
    {"length", "max_tokens", "model_context_window_exceeded", "content_filter", "refusal", "error"}
)
"""Reasons for which models stop before the end, ours and those of providers."""
_LONGEST_PAUSE_SECONDS = 3600.0
_MAX_SAID = 500
"""Characters of a model's or checker's message that are kept; it may repeat a whole answer."""


class AiActivity:
    """Runs `ai` nodes."""

    def __init__(self, models: Models | None = None, *, limits: NodeLimits = NODE_LIMITS) -> None:
        self._models = models or Models()
        self._reasks = limits.reasks

    async def aclose(self) -> None:
        """Close the connections to the providers."""
        await self._models.aclose()

    async def __call__(self, task: NodeTask, node: AiNode) -> NodeResult:
        """Ask the model, have the answer checked, and report the usage."""
        prompt, system = text_of(await render(node.prompt, task)), text_of(await render(node.system, task))
        if not prompt.strip():
            raise NodeError("the prompt is empty", suggestion="the values of its holes are null or empty: see `prompt`")
        access = await self._models.get(node.model)
        mask, schema = mask_of(*access.secrets), _Answers.of(node.output_schema)
        failure: AnabranchError
        try:
            with _model_span(node) as around:
                answer = await _agent(schema, self._reasks).run(
                    prompt, model=access.model, instructions=system or None, model_settings=_settings(node, task.key)
                )
                around.note(_usage(answer.usage))
        except UserError as error:
            failure = NodeError(
                f"the request for the model is not valid: {_said(error, mask)}", suggestion="see the node's settings"
            )
        except AgentRunError as error:
            failure = _typed(error, node.model, access, self._reasks)
        except AnabranchError:
            raise
        except Exception as error:
            # The library takes an answer apart, and a proxy's may lack anything.
            failure = Unavailable(f"the answer of the model {node.model!r} cannot be read ({type(error).__name__})")
        else:
            if (reason := _cut_off(answer.response)) is None:
                return _outcome(schema, mask.value(answer.output), answer.usage, own_key(task))
            failure = _incomplete(node.model, reason)
        # Out of the except block: the cause holds the request, and Temporal serialises contexts too.
        raise failure


def _model_span(node: AiNode) -> AbstractContextManager[spans.Span]:
    """A span by OpenTelemetry's names for models, without what is asked and answered."""
    provider, _, model = node.model.partition(":")
    names: dict[str, spans.Attribute] = {"gen_ai.provider.name": provider, "gen_ai.request.model": model}
    return spans.span(f"chat {model}", {"gen_ai.operation.name": "chat", **names}, kind="client")


def _usage(usage: RunUsage) -> dict[str, spans.Attribute]:
    return {"gen_ai.usage.input_tokens": usage.input_tokens, "gen_ai.usage.output_tokens": usage.output_tokens}


@dataclass(frozen=True, slots=True)
class _Answers:
    """What a model may answer: text where there is no validator."""

    validator: Validator | None

    @classmethod
    def of(cls, schema: dict[str, Any] | None) -> Self:
        """Answers that fit a node's `output_schema`. Raises NodeError."""
        if schema is None:
            return cls(None)
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise NodeError(
                f"`output_schema` is not a JSON Schema: {error.message}", suggestion=f"see {error.json_path} in it"
            ) from None
        # A `$ref` to somewhere else is an error, never a download.
        return cls(validator_of(schema))

    def check(self, answer: dict[str, Json]) -> dict[str, Json]:
        """The answer. Raises ModelRetry, with what is wrong with it."""
        assert self.validator is not None  # noqa: S101 - text is not checked
        try:
            fault = best_match(self.validator.iter_errors(answer))
        except Unresolvable as error:
            raise NodeError(f"`output_schema` has a reference to nothing: {error.ref}") from None
        except SchemaUnbounded as error:
            raise NodeError(f"`output_schema` cannot be applied: {error}") from None
        if fault is not None:
            raise ModelRetry(f"{fault.json_path}: {fault.message}"[:_MAX_SAID])
        return answer


def _agent(answers: _Answers, reasks: int) -> Agent[None, Any]:
    if answers.validator is None:
        return Agent(output_type=str, retries=reasks, name="anabranch")
    schema = dict(cast("dict[str, Any]", answers.validator.schema))
    agent: Agent[None, Any] = Agent(output_type=StructuredDict(schema, name="answer"), retries=reasks, name="anabranch")
    # StructuredDict sends the schema to the model, and checks nothing.
    agent.output_validator(answers.check)
    return agent


def _settings(node: AiNode, key: str) -> Callable[[RunContext[None]], ModelSettings]:
    # Temporal retries, by the node's own policy; two layers of retries would multiply.
    settings = ModelSettings(max_retries=0)
    if node.temperature is not None:
        settings["temperature"] = node.temperature
    if node.max_tokens is not None:
        settings["max_tokens"] = node.max_tokens

    def of_request(run: RunContext[None]) -> ModelSettings:
        # A re-ask is another request: the same key would bring the same bad answer back.
        return {**settings, "extra_headers": {"Idempotency-Key": header_key(f"{key}#{run.run_step}")}}

    return of_request


def _cut_off(response: ModelResponse) -> str | None:
    """Why a model stopped before the end of its answer; None if it did not."""
    told = str((response.provider_details or {}).get("finish_reason", "")).lower()
    reason = response.finish_reason or told
    return told or reason if {reason, told} & _CUT_OFF else None


def _incomplete(model: str, reason: str) -> NodeError:
    return NodeError(
        f"the answer of the model {model!r} was cut off ({reason})",
        suggestion="raise `max_tokens`, or ask for less in the prompt",
    )


def _outcome(answers: _Answers, answer: Any, usage: RunUsage, key: str) -> NodeResult:
    cost: dict[str, Json] = {
        "requests": usage.requests,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
    }
    if answers.validator is None:
        return NodeResult({"text": answer, "usage": cost}, {key: answer})
    properties = Declared(answers.validator).only(cast("dict[str, Json]", answer))
    return NodeResult({"usage": cost, **properties}, properties)


def _said(error: Exception, mask: Mask) -> str:
    """What an exception says, without keys."""
    return " ".join(mask.text(str(error)).split())[:_MAX_SAID]


def _typed(error: AgentRunError, model: str, access: ModelAccess, reasks: int) -> AnabranchError:
    if isinstance(error, ModelAuthenticationError):
        return ConfigurationError(
            f"the provider of {model!r} refused the worker's key",
            suggestion=f"correct {access.key_variable} in the worker's environment",
        )
    if isinstance(error, OutputTokenLimitExceeded):
        return _incomplete(model, "length")
    mask = mask_of(*access.secrets)
    said = _said(error, mask)
    if isinstance(error, ModelAPIError) and (isinstance(error, _RETRYABLE) or _is_retryable_status(error)):
        return Unavailable(
            f"the model {model!r} did not answer: {said}",
            suggestion="it will be retried",
            retry_after=_pause(error.retry_after),
        )
    if isinstance(error, UnexpectedModelBehavior):
        return NodeError(
            f"the model {model!r} gave no valid answer in {reasks + 1} attempts: {_reason(error, said, mask)}",
            suggestion="say in the prompt what is wanted, simplify `output_schema`, or take another model",
        )
    return NodeError(
        f"the model {model!r} refused the request: {said}", suggestion="see `model`, `prompt`, `max_tokens`"
    )


def _is_retryable_status(error: ModelAPIError) -> bool:
    return isinstance(error, ModelHTTPError) and error.status_code in (408, 409, 425)


def _reason(error: UnexpectedModelBehavior, said: str, mask: Mask) -> str:
    return mask.text(error.__cause__.message) if isinstance(error.__cause__, ModelRetry) else said


def _pause(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=max(0.0, min(seconds, _LONGEST_PAUSE_SECONDS)))
