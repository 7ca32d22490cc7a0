"""`ai` nodes against an OpenAI-compatible server on this machine, and against models that tests script."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from anabranch.activities.ai.handler import AiActivity
from anabranch.activities.ai.models import ModelAccess, Models
from anabranch.activities.node_result import NodeResult
from anabranch.dev import stand_in_model
from anabranch.errors import AnabranchError, ConfigurationError, NodeError, Unavailable
from anabranch.graph.model import AiNode
from tests.node_tasks import task_of
from tests.secret_forms import FORMS

KEY = "sk-s3cr3t"
SCHEMA = {
    "type": "object",
    "required": ["payment_valid", "fraud_score", "action"],
    "properties": {
        "payment_valid": {"type": "boolean"},
        "fraud_score": {"type": "number", "minimum": 0, "maximum": 100},
        "action": {"enum": ["APPROVE", "REVIEW", "DECLINE"]},
    },
}
ANTHROPIC_MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4",
    "content": [{"type": "text", "text": "fine"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
GOOD = {"payment_valid": True, "fraud_score": 3, "action": "APPROVE"}


def ai_node(**fields: Any) -> AiNode:
    return AiNode(**{"type": "ai", "model": "openai:gpt-4", "prompt": "Is it fraud?", **fields})


class Scripted(Models):
    """Answers every name with one scripted model."""

    def __init__(self, answers: Callable[[list[ModelMessage], AgentInfo], ModelResponse]) -> None:
        super().__init__({})
        self.model = FunctionModel(answers)

    async def get(self, name: str) -> ModelAccess:
        return ModelAccess(self.model, "OPENAI_API_KEY", (KEY,), name)


async def ask_scripted(
    answers: Callable[[list[ModelMessage], AgentInfo], ModelResponse], node: AiNode, data: dict[str, Any] | None = None
) -> NodeResult:
    activity = AiActivity(Scripted(answers))
    try:
        return await activity(task_of(data=data), node)
    finally:
        await activity.aclose()


def completion(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


@pytest.fixture
async def served(httpserver: HTTPServer) -> AsyncIterator[AiActivity]:
    """An `ai` activity whose OpenAI is the test's server."""
    activity = AiActivity(Models({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": httpserver.url_for("/v1")}))
    yield activity
    await activity.aclose()


def tool_call(info: AgentInfo, arguments: dict[str, Any]) -> ModelResponse:
    return ModelResponse([ToolCallPart(info.output_tools[0].name, arguments)])


async def test_an_answer_s_properties_become_keys_and_its_usage_is_in_result() -> None:
    outcome = await ask_scripted(lambda _, info: tool_call(info, GOOD), ai_node(output_schema=SCHEMA))
    assert outcome.writes == GOOD
    assert isinstance(outcome.result, dict)
    assert outcome.result["action"] == "APPROVE"
    assert isinstance(outcome.result["usage"], dict)
    assert outcome.result["usage"]["requests"] == 1


@pytest.mark.parametrize("prompt", ["{{ nothing }}", "{{ nothing }} {{ blank }}", "{{ blank }}"])
async def test_a_prompt_of_which_null_leaves_nothing_asks_no_model(prompt: str) -> None:
    def never(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        raise AssertionError("the model was asked")

    with pytest.raises(NodeError, match="the prompt is empty"):
        await ask_scripted(never, ai_node(prompt=prompt), {"nothing": None, "blank": " "})


async def test_a_prompt_that_is_one_hole_is_the_text_that_the_hole_has_in_a_text() -> None:
    asked: list[str] = []

    def answers(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        asked.extend(str(part.content) for part in messages[-1].parts if isinstance(part, UserPromptPart))
        return ModelResponse([TextPart("fine")])

    for prompt in ("{{ order }}", "{{ total }}", "{{ order }} "):
        await ask_scripted(answers, ai_node(prompt=prompt), {"order": {"b": 1, "a": [True]}, "total": 120.0})
    assert asked == ['{"b":1,"a":[true]}', "120", '{"b":1,"a":[true]} ']


async def test_properties_that_the_schema_does_not_declare_are_dropped() -> None:
    schema = {"type": "object", "properties": {"score": {"type": "number"}, "by": {"properties": {"name": {}}}}}
    answer = {"score": 1, "approved": True, "usage": 5, "by": {"name": "a", "admin": True}}
    outcome = await ask_scripted(lambda _, info: tool_call(info, answer), ai_node(output_schema=schema))
    assert outcome.writes == {"score": 1, "by": {"name": "a"}}
    assert isinstance(outcome.result, dict)
    assert outcome.result.keys() == {"usage", "score", "by"}


@pytest.mark.parametrize("reason", ["length", "content_filter", "error"])
async def test_an_answer_that_was_cut_off_is_a_failure(reason: Any) -> None:
    text = ModelResponse([TextPart("It is f")], finish_reason=reason)
    with pytest.raises(NodeError, match=rf"the answer of the model 'openai:gpt-4' was cut off \({reason}\)") as caught:
        await ask_scripted(lambda *_: text, ai_node())
    assert caught.value.suggestion == "raise `max_tokens`, or ask for less in the prompt"

    def answers(_: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([ToolCallPart(info.output_tools[0].name, GOOD)], finish_reason=reason)

    with pytest.raises(NodeError, match="was cut off"):
        await ask_scripted(answers, ai_node(output_schema=SCHEMA))


async def test_an_answer_that_was_cut_off_in_its_json_is_a_failure() -> None:
    def answers(_: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([ToolCallPart(info.output_tools[0].name, '{"payment_va')], finish_reason="length")

    with pytest.raises(NodeError, match=r"was cut off \(length\)"):
        await ask_scripted(answers, ai_node(output_schema=SCHEMA))


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "content_filter"])
async def test_each_word_of_openai_and_its_likes_for_a_cut_off_answer_is_known(
    served: AiActivity, httpserver: HTTPServer, reason: str
) -> None:
    said = completion({"content": "It is f"})
    said["choices"][0]["finish_reason"] = reason
    httpserver.expect_request("/v1/chat/completions").respond_with_json(said)
    with pytest.raises(NodeError, match="was cut off") as caught:
        await served(task_of(), ai_node())
    assert_silent(caught.value)


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded", "refusal"])
async def test_each_word_of_anthropic_for_a_cut_off_answer_is_known(httpserver: HTTPServer, reason: str) -> None:
    message = {**ANTHROPIC_MESSAGE, "stop_reason": reason}
    httpserver.expect_request("/v1/messages").respond_with_json(message)
    activity = AiActivity(Models({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": httpserver.url_for("")}))
    with pytest.raises(NodeError, match="was cut off"):
        await activity(task_of(), ai_node(model="anthropic:claude-sonnet-4"))
    await activity.aclose()


async def test_a_key_that_a_model_repeats_is_masked_in_its_answer(served: AiActivity, httpserver: HTTPServer) -> None:
    said = completion({"content": f"My key is {KEY}, in hexadecimal {KEY.encode().hex()}."})
    httpserver.expect_request("/v1/chat/completions").respond_with_json(said)
    outcome = await served(task_of(), ai_node())
    assert outcome.writes == {"reserve": "My key is ***, in hexadecimal ***."}


@pytest.mark.parametrize("form", FORMS)
async def test_an_error_of_a_provider_repeats_a_key_in_no_form(httpserver: HTTPServer, form: str) -> None:
    key, url = "sk-s3cr3t/+&<x>", httpserver.url_for("/v1").replace("//", "//shop:p4ss%2Fword@")
    told = f"no {FORMS[form](key)} and no {FORMS[form]('p4ss/word')}"
    httpserver.expect_request("/v1/chat/completions").respond_with_json({"error": {"message": told}}, status=404)
    activity = AiActivity(Models({"OPENAI_API_KEY": key, "OPENAI_BASE_URL": url}))
    with pytest.raises(NodeError, match=r"refused the request: .*\*\*\*.*\*\*\*") as caught:
        await activity(task_of(), ai_node())
    for part in (key, "p4ss/word"):
        assert FORMS[form](part).split()[0] not in str(caught.value)
    await activity.aclose()


async def test_without_a_schema_the_text_is_written_under_the_node_s_id() -> None:
    outcome = await ask_scripted(lambda *_: ModelResponse([TextPart("It is fine.")]), ai_node())
    assert outcome.writes == {"reserve": "It is fine."}
    assert isinstance(outcome.result, dict)
    assert outcome.result["text"] == "It is fine."


async def test_an_answer_that_does_not_fit_is_asked_again_with_what_is_wrong() -> None:
    heard: list[str] = []

    def answers(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        heard.append(str(messages[-1]))
        return tool_call(info, {**GOOD, "fraud_score": 300} if len(heard) == 1 else GOOD)

    outcome = await ask_scripted(answers, ai_node(output_schema=SCHEMA))
    assert outcome.writes == GOOD
    assert "$.fraud_score: 300 is greater than the maximum of 100" in heard[1]


async def test_an_answer_that_never_fits_is_a_definite_error_that_says_why() -> None:
    asked = 0

    def answers(_: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        nonlocal asked
        asked += 1
        return tool_call(info, {**GOOD, "action": "MAYBE"})

    with pytest.raises(NodeError, match=r"no valid answer in 3 attempts: .*'MAYBE' is not one of"):
        await ask_scripted(answers, ai_node(output_schema=SCHEMA))
    assert asked == 3


async def test_a_whole_answer_that_does_not_fit_is_not_told_in_the_error_nor_sent_back() -> None:
    heard = []

    def answers(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        heard.append(len(str(messages[-1])))
        return tool_call(info, {**GOOD, "action": "x" * 100_000})

    with pytest.raises(NodeError, match="xxxxx") as caught:
        await ask_scripted(answers, ai_node(output_schema=SCHEMA))
    assert len(str(caught.value)) < 1000
    assert max(heard) < 2000


async def test_an_answer_that_the_library_cannot_take_apart_is_tried_again(
    served: AiActivity, httpserver: HTTPServer
) -> None:
    empty = {**completion({"content": "x"}), "choices": []}
    httpserver.expect_request("/v1/chat/completions").respond_with_json(empty)
    with pytest.raises(Unavailable, match=r"the answer of the model 'openai:gpt-4' cannot be read \(IndexError\)"):
        await served(task_of(), ai_node())


async def test_context_values_are_data_in_the_prompt() -> None:
    heard: list[str] = []

    def answers(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        heard.append(str(messages))
        return ModelResponse([TextPart("ok")])

    await ask_scripted(
        answers, ai_node(prompt="Say {{ name }} {{ order }}"), {"name": "{{ 1 + 1 }}", "order": {"a": 1}}
    )
    assert 'Say {{ 1 + 1 }} {"a":1}' in heard[0]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "object", "properties": {"a": {"type": "wrong"}}}, "`output_schema` is not a JSON Schema"),
        ({"type": "array"}, "must be of type object|request for the model is not valid"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/s"}}}, "has a reference to nothing"),
    ],
)
async def test_a_schema_that_cannot_be_used_is_a_definite_error(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(NodeError, match=message):
        await ask_scripted(lambda _, info: tool_call(info, {"a": 1}), ai_node(output_schema=schema))


async def test_the_request_carries_settings_instructions_and_an_idempotency_key(
    served: AiActivity, httpserver: HTTPServer
) -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(json.dumps(completion({"content": "ok"})), content_type="application/json")

    httpserver.expect_request("/v1/chat/completions").respond_with_handler(handler)
    outcome = await served(task_of(key="run-1/näh"), ai_node(system="Be brief.", temperature=0.25, max_tokens=9))
    body = seen[0].get_json()
    assert body["model"] == "gpt-4"
    assert body["temperature"] == 0.25
    assert 9 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "Is it fraud?"]
    assert seen[0].headers["Idempotency-Key"] == "run-1/n%C3%A4h#1"
    assert seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert isinstance(outcome.result, dict)
    assert outcome.result["usage"] == {
        "model": "openai:gpt-4",
        "requests": 1,
        "input_tokens": 11,
        "output_tokens": 7,
    }


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
async def test_a_busy_provider_is_tried_again_when_it_says(
    served: AiActivity, httpserver: HTTPServer, status: int
) -> None:
    httpserver.expect_request("/v1/chat/completions").respond_with_json(
        {"error": {"message": "busy"}}, status=status, headers={"Retry-After": "7"}
    )
    with pytest.raises(Unavailable, match="did not answer") as caught:
        await served(task_of(), ai_node())
    assert caught.value.retry_after == timedelta(seconds=7)
    assert len(httpserver.log) == 1


async def test_a_refused_key_names_the_variable_and_is_not_told(
    served: AiActivity, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    httpserver.expect_request("/v1/chat/completions").respond_with_json(
        {"error": {"message": f"Incorrect API key provided: {KEY}"}}, status=401
    )
    with pytest.raises(ConfigurationError, match="correct OPENAI_API_KEY in the worker's environment") as caught:
        await served(task_of(), ai_node())
    assert_silent(caught.value)
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", [KEY + "\n", KEY + "\u00e9"])
async def test_a_key_that_no_header_can_carry_is_a_configuration_error(key: str) -> None:
    activity = AiActivity(Models({"OPENAI_API_KEY": key, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}))
    with pytest.raises(ConfigurationError, match="the environment variable OPENAI_API_KEY has a line break") as caught:
        await activity(task_of(), ai_node())
    assert_silent(caught.value)
    await activity.aclose()


async def test_a_refused_request_is_a_definite_error_in_which_the_key_is_masked(
    served: AiActivity, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/v1/chat/completions").respond_with_json(
        {"error": {"message": f"no such model for {KEY}"}}, status=404
    )
    with pytest.raises(NodeError, match=r"refused the request: .*no such model for \*\*\*") as caught:
        await served(task_of(), ai_node())
    assert_silent(caught.value)


async def test_a_provider_that_is_not_there_is_tried_again() -> None:
    activity = AiActivity(Models({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}))
    with pytest.raises(Unavailable, match="did not answer") as caught:
        await activity(task_of(), ai_node())
    assert_silent(caught.value)
    await activity.aclose()


def assert_silent(error: AnabranchError) -> None:
    assert KEY not in "".join(traceback.format_exception(error))
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("openai:gpt-4", "OPENAI_API_KEY is not set"),
        ("anthropic:claude-sonnet-4", "ANTHROPIC_API_KEY is not set"),
        ("openia:gpt-4", "did you mean openai:…"),
        ("gpt-4", "write provider:model"),
        ("openai:", "write provider:model|did you mean"),
    ],
)
async def test_a_model_that_cannot_be_called_is_a_configuration_error(model: str, message: str) -> None:
    activity = AiActivity(Models({}))
    with pytest.raises(ConfigurationError, match=message):
        await activity(task_of(), ai_node(model=model))
    await activity.aclose()


async def test_anthropic_is_asked_in_its_own_words(httpserver: HTTPServer) -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(json.dumps(ANTHROPIC_MESSAGE), content_type="application/json")

    httpserver.expect_request("/v1/messages").respond_with_handler(handler)
    environ = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": httpserver.url_for("")}
    activity = AiActivity(Models(environ))
    outcome = await activity(task_of(), ai_node(model="anthropic:claude-sonnet-4"))
    assert outcome.writes == {"reserve": "fine"}
    assert seen[0].headers["Idempotency-Key"] == "run-1/reserve#1"
    await activity.aclose()


@pytest.mark.parametrize("model", ["openai:gpt-4", "openai:gpt-4o", "openai:gpt-5", "ollama:llama3.2"])
async def test_the_stand_in_answers_every_provider_that_speaks_like_openai(model: str) -> None:
    prompt = "Order total: ${{ order_total }}, after {{ previous_order_count }} earlier orders."
    async with stand_in_model.serve() as url:
        activity = AiActivity(Models({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url, "OLLAMA_BASE_URL": url}))
        data = {"order_total": 1499.99, "previous_order_count": 0}
        outcome = await activity(task_of(data=data), ai_node(model=model, prompt=prompt, output_schema=SCHEMA))
        text = await activity(task_of(data=data), ai_node(model=model, prompt=prompt))
        await activity.aclose()
    assert outcome.writes == {"payment_valid": False, "fraud_score": 92, "action": "DECLINE"}
    assert str(text.writes["reserve"]).startswith("[stand-in, not a language model] DECLINE: $1,499.99")
