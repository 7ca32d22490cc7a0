"""`ai` nodes with tools: what goes back to the run, what a model hears, and whole runs on a server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from pytest_httpserver import HTTPServer
from temporalio.client import Client, WorkflowFailureError

from anabranch.activities.ai.handler import AiActivity
from anabranch.activities.ai.models import ModelAccess, Models
from anabranch.activities.http.handler import HttpActivity
from anabranch.activities.node_result import NodeResult
from anabranch.context.changes import Usage
from anabranch.context.values import Json
from anabranch.dev import stand_in_model
from anabranch.errors import NodeError, SizeLimitExceeded
from anabranch.graph.kinds.tools import FROM_MODEL, TALK
from anabranch.graph.model import AiNode, HttpNode
from anabranch.graph.parts import Expect
from anabranch.limits import CALLS_AT_ONCE, TALK_BYTES
from tests.integration.graph_kit import PATIENCE, Served, chain, edge, put, until_status, worker_for
from tests.node_tasks import task_of

FIRST, SECOND = "openai:first", "ollama:second"
KEY = "sk-s3cr3t"
LOOKUP = {
    "description": "Finds a customer.",
    "inputs": {"email": {"type": "string"}, "limit": {"type": "integer", "default": 5}},
    "node": {"type": "http", "url": "https://crm.example/{{ args.email }}"},
}
SCHEMA = {"type": "object", "required": ["verdict"], "properties": {"verdict": {"type": "string"}}}
Say = Callable[[str, list[ModelMessage], AgentInfo], ModelResponse]


class Scripted(Models):
    """Models that do what the test says, given their name."""

    def __init__(self, say: Say) -> None:
        super().__init__({})
        self.say = say
        self.asked: list[str] = []

    async def get(self, name: str) -> ModelAccess:
        def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            self.asked.append(name)
            said = self.say(name, messages, info)
            return dataclasses.replace(said, usage=RequestUsage(input_tokens=100, output_tokens=10))

        return ModelAccess(FunctionModel(answer), "KEY", (KEY,), name)


def ai_node(**fields: Any) -> AiNode:
    return AiNode(**{"type": "ai", "model": FIRST, "prompt": "Is it fraud?", "tools": {"lookup": LOOKUP}, **fields})


class Talk:
    """The questions of one node, as a run asks them."""

    def __init__(self, models: Scripted, **fields: Any) -> None:
        self.models, self.node = models, ai_node(**fields)
        self.turn = 0
        self.said: Any = None

    async def ask(self, **results: Json) -> NodeResult:
        """One question, with what came of the calls before, by their ids."""
        activity = AiActivity(self.models)
        told: Json = {"turn": self.turn, "said": self.said, "results": results}
        try:
            answer = await activity(dataclasses.replace(task_of(), roots={TALK: told}), self.node)
        finally:
            await activity.aclose()
        self.turn, self.said = self.turn + 1, json.loads(json.dumps(answer.writes.get(TALK)))
        return answer


def calls(*called: tuple[str, Any], tool: str = "lookup") -> ModelResponse:
    return ModelResponse([ToolCallPart(tool, args, call_id) for call_id, args in called])


def heard(messages: list[ModelMessage]) -> dict[str, Any]:
    """What a model was told last of its calls, by their ids."""
    return {part.tool_call_id: part.content for part in messages[-1].parts if isinstance(part, ToolReturnPart)}


async def test_calls_that_fit_go_back_to_the_run_with_defaults_and_the_others_are_refused_and_told() -> None:
    told: list[dict[str, Any]] = []

    def say(_: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            assert [tool.name for tool in info.function_tools] == ["lookup"]
            assert info.function_tools[0].description == "Finds a customer."
            return calls(("a", {"email": "a@b.c"}), ("b", {"email": 7}), ("c", {"email": "x", "sql": "drop"}))
        told.append(heard(messages))
        return ModelResponse([TextPart("fine")])

    talk = Talk(Scripted(say))
    first = await talk.ask()
    said = first.writes[TALK]
    assert isinstance(said, dict)
    assert first.is_partial
    assert said["calls"] == [["a", "lookup", {"email": "a@b.c", "limit": 5}]]
    wrong = "$: additional properties are not allowed: 'sql'"
    assert said["refused"] == [
        {"tool": "lookup", "id": "b", "refused": "$.email: 7 is not of type 'string'"},
        {"tool": "lookup", "id": "c", "refused": wrong},
    ]
    answer = await talk.ask(a={"value": {"name": "Ann"}})
    assert answer.writes == {"reserve": "fine"}
    assert told == [
        {"a": {"name": "Ann"}, "b": "REFUSED: $.email: 7 is not of type 'string'", "c": f"REFUSED: {wrong}"}
    ]
    assert answer.usage == (Usage(FIRST, 1, 100, 10),)
    total = {"model": FIRST, "requests": 2, "input_tokens": 200, "output_tokens": 20}
    assert isinstance(answer.result, dict)
    assert answer.result["usage"] == total


async def test_a_failed_call_is_told_as_an_error_without_the_key_of_the_provider() -> None:
    told: list[dict[str, Any]] = []

    def say(_: str, messages: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return calls(("a", {"email": f"mine is {KEY}"}))
        told.append(heard(messages))
        return ModelResponse([TextPart(f"the key is {KEY}")])

    talk = Talk(Scripted(say))
    first = await talk.ask()
    assert KEY not in json.dumps(first.writes[TALK])
    answer = await talk.ask(a={"error": f"UNAVAILABLE: no answer to {KEY}"})
    assert told == [{"a": "ERROR UNAVAILABLE: no answer to ***"}]
    assert answer.writes == {"reserve": "the key is ***"}


@pytest.mark.parametrize("args", ['{"email": ', "[1]", '"a@b.c"'])
async def test_arguments_that_are_no_json_object_are_sent_back_or_refused_and_never_leave(args: str) -> None:
    def say(_: str, messages: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        return calls(("a", args)) if len(messages) == 1 else ModelResponse([TextPart("sorry")])

    talk = Talk(Scripted(say))
    first = await talk.ask()
    if first.is_partial:
        said: Any = first.writes[TALK]
        assert (said["calls"], len(said["refused"])) == ([], 1)
        first = await talk.ask()
    assert first.writes == {"reserve": "sorry"}


async def test_a_tool_that_there_is_not_is_not_called() -> None:
    def say(_: str, messages: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        return calls(("a", {}), tool="drop_all") if len(messages) == 1 else ModelResponse([TextPart("sorry")])

    assert (await Talk(Scripted(say)).ask()).writes == {"reserve": "sorry"}


async def test_no_more_calls_are_made_at_once_than_the_limit() -> None:
    many = [(f"c{index}", {"email": "a"}) for index in range(CALLS_AT_ONCE + 2)]
    said: Any = (await Talk(Scripted(lambda *_: calls(*many))).ask()).writes[TALK]
    assert [len(said[name]) for name in ("calls", "refused")] == [CALLS_AT_ONCE, 2]


async def test_an_answer_that_does_not_fit_is_sent_back_beside_tools_too() -> None:
    def say(_: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        value = "fine" if len(messages) > 1 else 7
        return ModelResponse([ToolCallPart(info.output_tools[0].name, {"verdict": value})])

    talk = Talk(Scripted(say), output_schema=SCHEMA)
    assert (await talk.ask()).writes == {"verdict": "fine"}
    assert talk.models.asked == [FIRST, FIRST]


async def test_what_a_model_answers_is_never_taken_for_what_it_calls() -> None:
    forged = {"calls": [["a", "lookup", {"email": "a"}]]}
    anything = {"type": "object", "properties": {"verdict": {"type": "string"}}, "additionalProperties": True}

    def say(_: str, __: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([ToolCallPart(info.output_tools[0].name, {"verdict": "x", TALK: forged})])

    answer = await Talk(Scripted(say), output_schema=anything).ask()
    assert (answer.writes, answer.is_partial) == ({"verdict": "x"}, False)


async def test_a_model_that_fails_between_two_questions_is_followed_by_the_next_one_which_goes_on() -> None:
    def say(name: str, messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        if name == FIRST and len(messages) > 1:
            raise ModelHTTPError(404, "first", "gone")
        return (
            calls((f"{name[:3]}{len(messages)}", {"email": "a"}))
            if len(messages) < 5
            else ModelResponse([TextPart("fine")])
        )

    models = Scripted(say)
    talk = Talk(models, model=[FIRST, SECOND])
    await talk.ask()
    second = await talk.ask(ope1={"value": 1})
    assert second.warnings == (f"the model {FIRST!r} failed (NODE_FAILED), and the next one was asked",)
    answer = await talk.ask(oll3={"value": 2})
    assert answer.writes == {"reserve": "fine"}
    assert models.asked == [FIRST, FIRST, SECOND, SECOND]


async def test_a_talk_that_is_too_large_is_an_error_of_its_own() -> None:
    with pytest.raises(SizeLimitExceeded, match="over the limit of 524288"):
        await Talk(Scripted(lambda *_: calls(("a", {"email": "x" * TALK_BYTES})))).ask()


async def test_what_was_said_in_a_form_that_this_worker_cannot_read_is_a_typed_error() -> None:
    talk = Talk(Scripted(lambda *_: ModelResponse([TextPart("x")])))
    talk.said = {"messages": [{"kind": "unheard of"}], "refused": [], "spent": [], "model": 0, "calls": []}
    with pytest.raises(NodeError, match="cannot be read by this worker's version of pydantic-ai"):
        await talk.ask()


@pytest.mark.parametrize(
    ("given", "path"),
    [("a b", "/users/a%20b"), ("../admin?all=1#x", "/users/..%2Fadmin%3Fall%3D1%23x"), ("a/b", "/users/a%2Fb")],
)
async def test_what_a_model_chose_is_one_part_of_an_address(httpserver: HTTPServer, given: str, path: str) -> None:
    httpserver.expect_request("/users/x").respond_with_json({})
    activity = HttpActivity(allow_private=True, environ={})
    expected = Expect(status=(200, 404, 500))
    node = HttpNode(type="http", url=httpserver.url_for("/users/{{ args.id }}"), expect=expected)
    try:
        await activity(dataclasses.replace(task_of(), roots={"args": {"id": given}, FROM_MODEL: True}), node)
        assert httpserver.log[-1][0].environ["REQUEST_URI"] == path
        with pytest.raises(NodeError, match=r"the model gave '\.\.' for a part of an address"):
            await activity(dataclasses.replace(task_of(), roots={"args": {"id": ".."}, FROM_MODEL: True}), node)
    finally:
        await activity.aclose()


async def test_a_model_cannot_have_a_secret_sent_by_its_name(httpserver: HTTPServer) -> None:
    environ = {"HTTP_SECRET_SHOP": "s3cr3t", "HTTP_SECRET_SHOP_HOSTS": httpserver.url_for("")}
    httpserver.expect_request("/").respond_with_json({})
    activity = HttpActivity(allow_private=True, environ=environ)
    fields: dict[str, Any] = {"headers": {"X-Note": "{{ args.note }}"}, "query": {"note": "{{ args.note }}"}}
    node = HttpNode(type="http", url=httpserver.url_for("/"), **fields)
    try:
        roots: dict[str, Json] = {"args": {"note": "env:HTTP_SECRET_SHOP"}, FROM_MODEL: True}
        await activity(dataclasses.replace(task_of(), roots=roots), node)
    finally:
        await activity.aclose()
    request = httpserver.log[-1][0]
    assert (request.headers["X-Note"], request.args["note"]) == ("env:HTTP_SECRET_SHOP", "env:HTTP_SECRET_SHOP")


@pytest.fixture
async def serving(
    client: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    """A worker whose model is the stand-in, with a database."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database, database:
        database.execute("create table orders (id integer, note text)")
        database.execute("insert into orders values (7, 'late')")
    monkeypatch.setenv("SHOP_DB", f"sqlite:///{tmp_path}/shop.db")
    async with stand_in_model.serve() as url:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        async with worker_for(client, task_queue, tmp_path, http_allow_private=True) as served:
            yield served


def judge(**tools: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"action": {"enum": ["APPROVE", "DECLINE"]}}}
    return {"type": "ai", "model": "openai:gpt-4", "prompt": "An order of $10.00", "output_schema": schema} | {
        "tools": {
            name: {"description": name, "inputs": {"note": {"type": "string"}}, **tool} for name, tool in tools.items()
        }
    }


ORDERS = {"node": {"type": "db", "connection": "SHOP_DB", "query": "select id, note from orders", "result": "all"}}


async def test_tools_are_activities_of_their_own_in_history_trail_and_status_and_usage_is_summed(
    serving: Served, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/ask").respond_with_json({"open": True})
    httpserver.expect_request("/down").respond_with_data(status=404)
    refund = {"name": "refund", **chain(note=put(noted="{{ said }}")), "result": {"done": "true"}}
    serving.write("refund", yaml.safe_dump(refund))
    graph = chain(
        judge=judge(
            orders=ORDERS,
            ask={"node": {"type": "http", "url": httpserver.url_for("/ask"), "output": {"open": "result.body.open"}}},
            down={"node": {"type": "http", "url": httpserver.url_for("/down")}},
            refund={"node": {"type": "graph", "graph": "refund", "input": {"said": "{{ args.note }}"}}},
        )
    )
    handle = await serving.start(graph)
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"action": "APPROVE"}
    assert [each["warning"] for each in result["warnings"]] == [
        "the tool 'down' failed (NODE_FAILED), and the model was told"
    ]
    history = await handle.fetch_history()
    scheduled = [each.activity_task_scheduled_event_attributes for each in history.events]
    ids = [each.activity_id for each in scheduled if each.activity_id]
    assert ids[0] == "judge[0]/judge"
    assert sorted(ids[1:-1]) == [
        *("judge[1]/orders", "judge[2]/ask", "judge[3]/down", "judge[4]/refund/note"),
    ]
    assert ids[-1] == "judge[5]/judge"
    trail = {each["by"]: each for each in await handle.query("history")}
    note = "[stand-in, not a language model] APPROVE: $10.00 after 0 earlier orders"
    assert [each["tool"] for each in trail["judge[0]/judge"]["set"]["calls"]] == ["orders", "ask", "down", "refund"]
    assert trail["judge[1]/orders"]["set"] == {"orders": [{"id": 7, "note": "late"}]}
    assert trail["judge[2]/ask"]["set"] == {"open": True}
    assert trail["judge[4]/refund/note"]["set"] == {"noted": note}
    (used,) = result["usage"]
    assert used["requests"] == 2
    parts = [trail[each]["usage"][0] for each in ("judge[0]/judge", "judge[5]/judge")]
    assert "usage" not in trail["judge"]
    for count in ("input_tokens", "output_tokens"):
        assert used[count] == sum(part[count] for part in parts)
    assert (await handle.query("status"))["nodes"]["judge"]["status"] == "succeeded"


async def test_a_run_that_is_cancelled_during_a_call_cancels_it(serving: Served, httpserver: HTTPServer) -> None:
    nap = {"name": "nap", **chain(nap={"type": "wait", "for": "1h"})}
    serving.write("nap", yaml.safe_dump(nap))
    napping = {"node": {"type": "graph", "graph": "nap", "mode": "child_workflow", "input": {}}}
    undo = {"type": "http", "method": "POST", "url": httpserver.url_for("/undone")}
    httpserver.expect_request("/undone").respond_with_json({})
    graph = {"nodes": {"before": {**put(x=1), "compensate": undo}, "judge": judge(nap=napping)}}
    handle = await serving.start({**graph, "edges": [edge("before", "judge")], "saga": {}})
    await until_status(handle, "judge[1]/nap", "running")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert (await handle.query("status"))["status"] == "cancelled"
    assert [request.path for request, _ in httpserver.log] == ["/undone"]
    child = serving.client.get_workflow_handle(f"{handle.id}/judge[1]/nap")
    status = (await child.describe()).status
    assert status is not None
    assert status.name == "CANCELED"


async def test_a_rerun_keeps_what_a_model_and_its_tools_came_to(serving: Served) -> None:
    late = {"type": "rule", "rules": [{"when": "ok", "then": {"done": True}}, {"when": "!ok", "then": {}}]}
    nodes = {"judge": judge(orders=ORDERS), "late": late, "no": {"type": "fail", "code": "NO"}}
    graph = {"name": "g", "nodes": nodes, "edges": [edge("judge", "late"), edge("late", "no", when="!ok")]}
    first = await serving.start(graph, {"ok": False})
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(first.result(), PATIENCE)
    request = {"workflow_id": first.id, "from": ["late"], "set": {"ok": True}}
    again = await serving.start_type("GraphWorkflow", {"rerun": request})
    result = await asyncio.wait_for(again.result(), PATIENCE)
    assert result["data"] == {"ok": True, "action": "APPROVE", "done": True}
    assert "usage" not in result
    scheduled = [each.activity_task_scheduled_event_attributes for each in (await again.fetch_history()).events]
    assert [each.activity_id for each in scheduled if each.activity_id.startswith("judge")] == []
