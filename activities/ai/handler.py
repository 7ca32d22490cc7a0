"""`ai` nodes: one question to a language model, at least once, with an `Idempotency-Key` where the provider takes it.

What `output` sees as `result`: the properties of the answer where there is an `output_schema`, else `text`; and
`usage` (`model`, `requests`, `input_tokens`, `output_tokens`, and `cost` where the worker knows prices). Without
`output` the properties become keys, or the text is written under the node's id. Properties that the schema does not
declare are dropped. An answer that does not fit the schema is sent back to the model with what is wrong, until it gave
as many as `attempts` says. One that was cut off is a failure. Of several models the next one is asked where one fails.
With `tools` it is one of several questions, and its result may be what the model calls (`talking`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import reduce
from types import MappingProxyType, NoneType
from typing import Any, Final, Self, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.protocols import Validator
from pydantic_ai import Agent, DeferredToolRequests, ModelRetry, ModelSettings, RunContext, StructuredDict
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.toolsets import AgentToolset
from pydantic_ai.usage import RunUsage
from referencing.exceptions import Unresolvable

from anabranch import spans
from anabranch.activities.ai.declared import Declared
from anabranch.activities.ai.failures import MAX_SAID, cut_off, incomplete, said, typed
from anabranch.activities.ai.fallbacks import check_budget, leads_on
from anabranch.activities.ai.models import ModelAccess, Models
from anabranch.activities.ai.talking import Called, Offered, Talking
from anabranch.activities.idempotency_key import header_key
from anabranch.activities.node_result import NodeResult, own_key
from anabranch.activities.rendering import render
from anabranch.context.changes import Usage
from anabranch.context.values import Json
from anabranch.errors import AnabranchError, NodeError, Unavailable
from anabranch.graph.expressions.json_text import text_of
from anabranch.graph.json_schema import SchemaUnbounded, validator_of
from anabranch.graph.kinds.tools import TALK
from anabranch.graph.model import AiNode
from anabranch.masking import mask_of
from anabranch.observe import metrics
from anabranch.prices import Price
from anabranch.transport.node_protocol import NodeTask

NO_PRICES: Final[Mapping[str, Price]] = MappingProxyType({})


class AiActivity:
    """Runs `ai` nodes."""

    def __init__(self, models: Models | None = None, *, prices: Mapping[str, Price] = NO_PRICES) -> None:
        self._models = models or Models()
        self._prices = prices

    async def aclose(self) -> None:
        """Close the connections to the providers."""
        await self._models.aclose()

    async def __call__(self, task: NodeTask, node: AiNode) -> NodeResult:
        """Ask the models until one answers, have the answer checked, and report the usage."""
        prompt, system = text_of(await render(node.prompt, task)), text_of(await render(node.system, task))
        if not prompt.strip():
            raise NodeError("the prompt is empty", suggestion="the values of its holes are null or empty: see `prompt`")
        talking = Talking.of(task)
        question = _Question(task, node, prompt, system, _Answers.of(node.output_schema), talking)
        for left in range(len(node.models) - 1 - (talking.model if talking else 0), -1, -1):
            name = node.models[-1 - left]
            try:
                return await self._answer(question, name)
            except AnabranchError as error:
                if not left or not leads_on(error):
                    raise
                question.warnings.append(f"the model {name!r} failed ({error.code}), and the next one was asked")
        raise AssertionError("a node has a model")

    async def _answer(self, question: _Question, name: str) -> NodeResult:
        """What one model answers. What it spends is told, whatever comes of it."""
        access = await self._models.get(name)
        check_budget(question.task, question.node, access.name)
        spent = RunUsage()
        try:
            output = await self._asked(question, name, access, spent)
        finally:
            question.spend(access.name, spent, self._prices.get(access.name))
        mask = mask_of(*access.secrets)
        if isinstance(output, Called):
            asked = question.node.models.index(name)
            told = output.result(question.node, question.talking or Talking(), question.usage, asked, mask)
            return replace(told, usage=tuple(question.usage), warnings=tuple(question.warnings))
        return _outcome(question, access.name, mask.value(output))

    async def _asked(self, question: _Question, name: str, access: ModelAccess, spent: RunUsage) -> Any:
        node, talking = question.node, question.talking
        failure: AnabranchError
        try:
            with _model_span(access.name) as around:
                answer = await _agent(question.answers, node, talking).run(
                    None if talking and talking.messages else question.prompt,
                    message_history=talking.messages if talking else None,
                    deferred_tool_results=talking.deferred(mask_of(*access.secrets)) if talking else None,
                    model=access.model,
                    instructions=question.system or None,
                    model_settings=_settings(node, question.task.key),
                    usage=spent,
                )
                around.note(_usage(spent))
        except UserError as error:
            failure = NodeError(
                f"the request for the model is not valid: {said(error, mask_of(*access.secrets))}",
                suggestion="see the node's settings",
            )
        except AgentRunError as error:
            failure = typed(error, name, access, node.attempts)
        except AnabranchError:
            raise
        except Exception as error:
            # The library takes an answer apart, and a proxy's may lack anything.
            failure = Unavailable(f"the answer of the model {name!r} cannot be read ({type(error).__name__})")
        else:
            if (reason := cut_off(answer.response)) is None:
                is_call = isinstance(answer.output, DeferredToolRequests)
                return Called(answer.output, answer.all_messages()) if is_call else answer.output
            failure = incomplete(name, reason)
        # Out of the except block: the cause holds the request, and Temporal serialises contexts too.
        raise failure


def _model_span(name: str) -> AbstractContextManager[spans.Span]:
    """A span by OpenTelemetry's names for models, without what is asked and answered."""
    provider, _, model = name.partition(":")
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

    def check(self, answer: dict[str, Json] | DeferredToolRequests) -> dict[str, Json] | DeferredToolRequests:
        """The answer. Raises ModelRetry, with what is wrong with it."""
        if isinstance(answer, DeferredToolRequests):
            return answer
        assert self.validator is not None  # noqa: S101 - text is not checked
        try:
            fault = best_match(self.validator.iter_errors(answer))
        except Unresolvable as error:
            raise NodeError(f"`output_schema` has a reference to nothing: {error.ref}") from None
        except SchemaUnbounded as error:
            raise NodeError(f"`output_schema` cannot be applied: {error}") from None
        if fault is not None:
            raise ModelRetry(f"{fault.json_path}: {fault.message}"[:MAX_SAID])
        return answer


@dataclass(slots=True)
class _Question:
    """What a node asks, and what came of it so far."""

    task: NodeTask
    node: AiNode
    prompt: str
    system: str
    answers: _Answers
    talking: Talking | None = None
    """What was said before, where the model has tools."""
    usage: list[Usage] = field(default_factory=list)
    """What was spent, at one model after the other."""
    warnings: list[str] = field(default_factory=list)

    def spend(self, model: str, spent: RunUsage, price: Price | None) -> None:
        """Note what was spent at a model."""
        asked, answered = spent.input_tokens, spent.output_tokens
        cost = None if price is None else price.of(asked, answered)
        self.usage.append(Usage(model, spent.requests, asked, answered, cost))
        labels = (self.task.run.graph, metrics.node_label(self.task.address), model)
        metrics.count(metrics.AI_TOKENS, *labels, "input", by=asked)
        metrics.count(metrics.AI_TOKENS, *labels, "output", by=answered)
        if cost:
            metrics.note(metrics.AI_COST, cost, *labels)


def _agent(answers: _Answers, node: AiNode, talking: Talking | None) -> Agent[None, Any]:
    again, more, toolsets = node.attempts - 1, list[Any](), list[AgentToolset[None]]()
    if talking is not None:
        more, toolsets = [DeferredToolRequests], [Offered(node.tools or {}, again)]
    if answers.validator is None:
        return Agent(deps_type=NoneType, output_type=[str, *more], retries=again, name="anabranch", toolsets=toolsets)
    schema = dict(cast("dict[str, Any]", answers.validator.schema))
    output: list[Any] = [StructuredDict(schema, name="answer"), *more]
    agent: Agent[None, Any] = Agent(
        deps_type=NoneType, output_type=output, retries=again, name="anabranch", toolsets=toolsets
    )
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


def _outcome(question: _Question, model: str, answer: Any) -> NodeResult:
    usage, warnings = tuple(question.usage), tuple(question.warnings)
    before = question.talking.spent if question.talking else ()
    told: dict[str, Json] = {**reduce(Usage.plus, (*before, *usage)).described(), "model": model}
    if question.answers.validator is None:
        result: dict[str, Json] = {"text": answer, "usage": told}
        return NodeResult(result, {own_key(question.task): answer}, warnings=warnings, usage=usage)
    properties = Declared(question.answers.validator).only(cast("dict[str, Json]", answer))
    properties.pop(TALK, None)  # what a model answers is never taken for what it calls
    return NodeResult({"usage": told, **properties}, properties, warnings=warnings, usage=usage)
