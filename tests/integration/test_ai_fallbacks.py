"""Several models of one `ai` node: which is asked, what is spent and counted, and what a run may spend."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.exceptions import ModelHTTPError, ModelServerError
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.testing import ActivityEnvironment

from anabranch.activities.ai.handler import AiActivity
from anabranch.activities.ai.models import ModelAccess, Models
from anabranch.activities.node_result import NodeResult
from anabranch.context.changes import Usage
from anabranch.dev import stand_in_model
from anabranch.errors import BudgetSpent, ConfigurationError, NodeError, Unavailable
from anabranch.graph.model import AiNode
from anabranch.observe import metrics
from anabranch.prices import Price
from anabranch.transport.node_protocol import SPENT
from tests.integration.graph_kit import Served, chain, error_of, worker_for
from tests.node_tasks import task_of

FIRST, SECOND = "openai:first", "ollama:second"
SCHEMA = {"type": "object", "required": ["score"], "properties": {"score": {"type": "number"}}}
PRICES = {FIRST: Price(Decimal("2.5"), Decimal(10))}


class Two(Models):
    """Two models: the first does what the test says, the second says what it is asked."""

    def __init__(self, first: Exception | str | dict[str, Any]) -> None:
        super().__init__({})
        self.first = first
        self.asked: list[str] = []

    async def get(self, name: str) -> ModelAccess:
        if isinstance(self.first, ConfigurationError) and name == FIRST:
            raise self.first
        return ModelAccess(FunctionModel(lambda _, info: self._answer(name, info)), "KEY", (), name)

    def _answer(self, name: str, info: AgentInfo) -> ModelResponse:
        self.asked.append(name)
        said: str | dict[str, Any] = {"score": 2} if info.output_tools else "second"
        if name == FIRST:
            if isinstance(self.first, Exception):
                raise self.first
            said = self.first
        part = TextPart(said) if isinstance(said, str) else ToolCallPart(info.output_tools[0].name, said)
        return ModelResponse([part], usage=RequestUsage(input_tokens=1000, output_tokens=100))


def ai_node(**fields: Any) -> AiNode:
    return AiNode(**{"type": "ai", "model": [FIRST, SECOND], "prompt": "Is it fraud?", **fields})


async def ask(models: Two, node: AiNode, *, spent: dict[str, int] | None = None, attempt: int = 0) -> NodeResult:
    """Outside of an activity, or as this attempt of two."""
    activity = AiActivity(models, prices=PRICES)
    task = dataclasses.replace(task_of(), roots={} if spent is None else {SPENT: {**spent}})
    try:
        if not attempt:
            return await activity(task, node)
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, attempt=attempt, retry_policy=RetryPolicy(maximum_attempts=2)
        )
        result: NodeResult = await environment.run(activity, task, node)
        return result
    finally:
        await activity.aclose()


@pytest.mark.parametrize(
    ("first", "fields", "code"),
    [
        (ConfigurationError("no key"), {}, "CONFIGURATION_INVALID"),
        (ModelHTTPError(404, "first", "no such model"), {}, "NODE_FAILED"),
        ({"score": "much"}, {"output_schema": SCHEMA}, "NODE_FAILED"),
        (ModelServerError("first", "busy"), {}, "UNAVAILABLE"),
    ],
)
async def test_the_next_model_is_asked_where_one_fails_for_good(
    first: Exception | dict[str, Any], fields: dict[str, Any], code: str
) -> None:
    outcome = await ask(Two(first), ai_node(**fields))
    assert outcome.writes == ({"score": 2} if fields else {"reserve": "second"})
    assert outcome.warnings == (f"the model {FIRST!r} failed ({code}), and the next one was asked",)
    assert isinstance(outcome.result, dict)
    assert isinstance(outcome.result["usage"], dict)
    assert outcome.result["usage"]["model"] == SECOND


async def test_a_model_that_does_not_answer_is_tried_again_before_the_next_one_is_asked() -> None:
    models = Two(ModelServerError("first", "busy"))
    with pytest.raises(Unavailable, match="'openai:first' did not answer"):
        await ask(models, ai_node(), attempt=1)
    assert models.asked == [FIRST]
    assert (await ask(models, ai_node(), attempt=2)).writes == {"reserve": "second"}


async def test_the_last_model_s_failure_is_the_node_s() -> None:
    with pytest.raises(NodeError, match="'openai:first' refused the request"):
        await ask(
            Two(ModelHTTPError(400, "first", "no")),
            ai_node(model=[SECOND, FIRST], budget={"tokens": 5}),
            spent={SECOND: 5},
        )


@pytest.mark.parametrize(("attempts", "asked"), [(1, 1), (3, 3)])
async def test_attempts_says_how_many_answers_a_model_may_give(attempts: int, asked: int) -> None:
    models = Two({"score": "much"})
    with pytest.raises(NodeError, match=rf"gave no valid answer in {asked} attempt"):
        await ask(models, ai_node(model=FIRST, output_schema=SCHEMA, attempts=attempts))
    assert models.asked == [FIRST] * asked


async def test_a_model_whose_budget_is_spent_is_passed_over_and_without_another_the_node_fails() -> None:
    models = Two("first")
    assert (await ask(models, ai_node(budget={"tokens": 500}), spent={FIRST: 499})).writes == {"reserve": "first"}
    outcome = await ask(models, ai_node(budget={"tokens": 500}), spent={FIRST: 500, SECOND: 499})
    assert outcome.writes == {"reserve": "second"}
    assert "BUDGET_SPENT" in outcome.warnings[0]
    with pytest.raises(BudgetSpent, match="spent 600 tokens at the model 'ollama:second', and the node's budget is 5"):
        await ask(models, ai_node(budget={"tokens": 500}), spent={FIRST: 500, SECOND: 600})


async def test_what_is_spent_is_told_by_model_with_its_cost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[str, float, tuple[str, ...]]] = []

    class Kept:
        def record(self, metric: metrics.Metric, value: float, labels: tuple[str, ...]) -> None:
            counted.append((metric.name, value, labels[2:]))

    monkeypatch.setattr(metrics, "_recorder", Kept())
    outcome = await ask(Two({"score": "much"}), ai_node(output_schema=SCHEMA, attempts=2))
    assert outcome.usage == (Usage(FIRST, 2, 2000, 200, 0.007), Usage(SECOND, 1, 1000, 100))
    assert isinstance(outcome.result, dict)
    total = {"model": SECOND, "requests": 3, "input_tokens": 3000, "output_tokens": 300, "cost": 0.007}
    assert outcome.result["usage"] == total
    assert counted == [
        ("anabranch_ai_tokens_total", 2000, (FIRST, "input")),
        ("anabranch_ai_tokens_total", 200, (FIRST, "output")),
        ("anabranch_ai_cost_total", 0.007, (FIRST,)),
        ("anabranch_ai_tokens_total", 1000, (SECOND, "input")),
        ("anabranch_ai_tokens_total", 100, (SECOND, "output")),
    ]


@pytest.fixture
async def serving(
    client: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    """A worker both of whose providers are the stand-in."""
    async with stand_in_model.serve() as url:
        for name, value in {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": url, "OLLAMA_BASE_URL": url}.items():
            monkeypatch.setenv(name, value)
        async with worker_for(client, task_queue, tmp_path, ai_prices=PRICES) as served:
            yield served


async def test_a_run_keeps_to_its_budget_at_each_model_and_tells_what_it_spent(serving: Served) -> None:
    asking = {"type": "ai", "prompt": "An order of $10.00", "output": {"by": "result.usage.model"}}
    nodes = {
        "one": {**asking, "model": FIRST},
        "two": {**asking, "model": [FIRST, SECOND], "budget": {"tokens": 1}, "output": {"then": "result.usage.model"}},
    }
    handle = await serving.start(chain(**nodes))
    result = await handle.result()
    assert result["data"] == {"by": FIRST, "then": SECOND}
    (first, second) = result["usage"]
    assert (first["model"], first["requests"], second["model"], second["requests"]) == (FIRST, 1, SECOND, 1)
    assert first["cost"] == pytest.approx((2.5 * first["input_tokens"] + 10 * first["output_tokens"]) / 1e6)
    assert "cost" not in second
    versions = await handle.query("history")
    assert [entry.get("usage") for entry in versions if entry["kind"] == "node"] == [[first], [second]]
    assert (await handle.query("status"))["usage"] == result["usage"]
    nodes["two"]["model"] = FIRST
    assert (await error_of(await serving.start(chain(**nodes)))).type == "BUDGET_SPENT"
