"""The `tools` of `ai` nodes in a file: what is refused, what a model may give, and how tests and dry runs play them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import GraphError, InputError, Problem
from anabranch.graph.drawing.tree import tree
from anabranch.graph.kinds.pin import pinned
from anabranch.graph.kinds.tools import TALK, arguments, schema_of
from anabranch.graph.load import LoadedGraph, load_text
from anabranch.graph.model import AiNode, DbNode, HttpNode, Tool
from anabranch.graph.plan import plan_graph
from anabranch.inspection.calls import what_it_did
from anabranch.testkit.addresses import known
from anabranch.testkit.checks import outcome_problems
from anabranch.testkit.dry_run import play_through
from anabranch.testkit.given import outcomes_of
from anabranch.workflows.interpreter.commands import RunNode
from anabranch.workflows.interpreter.trail import Version

ORDERS = {
    "description": "All orders of a customer.",
    "inputs": {"email": {"type": "string"}, "limit": {"type": "integer", "minimum": 1, "default": 5}},
    "node": {
        "type": "db",
        "connection": "SHOP_DB",
        "query": "select id from orders where email = :email limit :limit",
        "params": {"email": "{{ args.email }}", "limit": "{{ args.limit }}"},
        "result": "all",
    },
}
PARCEL = {
    "description": "Where a parcel is.",
    "inputs": {"number": {"type": "string"}},
    "node": {"type": "http", "url": "https://parcels.example/{{ args.number }}"},
}


def graph(*, before: dict[str, Any] | None = None, **fields: Any) -> str:
    node = {"type": "ai", "model": "openai:gpt-4", "prompt": "May {{ who }} have it?", **fields}
    return yaml.safe_dump({"name": "g", **(before or {}), "nodes": {"judge": node}}, sort_keys=False)


def with_tools(**tools: Any) -> str:
    return graph(tools=tools or {"orders": ORDERS, "parcel": PARCEL})


def load(text: str) -> LoadedGraph:
    return load_text(text, "g.yaml")


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(GraphError) as refused:
        load(text)
    return refused.value.problems


def tool_of(loaded: LoadedGraph, name: str) -> Tool:
    node = loaded.graph.nodes["judge"]
    assert isinstance(node, AiNode)
    assert node.tools is not None
    return node.tools[name]


def changed(tool: dict[str, Any], **node: Any) -> dict[str, Any]:
    return {**tool, "node": {**tool["node"], **node}}


def test_tools_that_are_right_have_no_warnings_and_what_they_read_of_the_context_is_an_input() -> None:
    url = "https://parcels.example/{{ country }}/{{ args.number }}"
    loaded = load(with_tools(orders=ORDERS, parcel=changed(PARCEL, url=url)))
    assert loaded.warnings == ()
    plan = plan_graph(loaded.graph)
    assert plan.inputs == {"who", "country"}
    assert plan.nodes["judge"].reads == ("country", "who")
    assert plan.body("judge").nodes["judge"].reads == ("who",)
    assert plan.body("judge").nodes["parcel"].reads == ("country",)


@pytest.mark.parametrize(
    ("tools", "code", "message", "at"),
    [
        ({"judge": PARCEL}, "AI_TOOL", "has a tool of its own name", "tools.judge"),
        ({"t": {**PARCEL, "description": " "}}, "AI_TOOL", "without a description", "tools.t.description"),
        ({"t": {**PARCEL, "node": {"type": "python", "handler": "h"}}}, "AI_TOOL", "is a `python` node", "type"),
        ({"t": changed(PARCEL, when="x > 1")}, "FIELD_HAS_NO_EFFECT", "with `when`", "when"),
        ({"t": changed(PARCEL, on_failure="continue")}, "FIELD_HAS_NO_EFFECT", "with `on_failure`", "on_failure"),
        ({"t": changed(PARCEL, url="https://x/{{ args.nummer }}")}, "AI_TOOL", "reads `args.nummer`", "url"),
        ({"t": changed(PARCEL, url="{{ args.number }}")}, "AI_TOOL", "chooses the server", "url"),
        ({"t": changed(PARCEL, url="https://{{ args.number }}.x/")}, "AI_TOOL", "chooses the server", "url"),
        ({"t": changed(PARCEL, url="https://x{{ args.number }}")}, "AI_TOOL", "chooses the server", "url"),
        ({"t": changed(PARCEL, url="{{ base }}{{ args.number }}/x")}, "AI_TOOL", "chooses the server", "url"),
        ({"t": changed(ORDERS, query="delete from orders", params={})}, "SQL_READ_ONLY", "only may read", "query"),
        ({"t": changed(ORDERS, query="call tidy()", params={})}, "SQL_READ_ONLY", "only may read", "query"),
        ({"t": changed(ORDERS, effect=True)}, "SQL_READ_ONLY", "`effect: true`", "effect"),
        ({"t": changed(ORDERS, query="select {{ args.email }}", params={})}, "SQL_TEMPLATE", "named binds", "query"),
        ({"t": {**PARCEL, "node": {"type": "graph", "graph": "g2"}}}, "AI_TOOL", "has no `input`", "tools.t.node"),
        ({"a b": PARCEL}, "KEY_INVALID", "must match", ""),
    ],
)
def test_what_a_model_may_not_have_done_is_refused_at_its_place(
    tools: dict[str, Any], code: str, message: str, at: str
) -> None:
    text = with_tools(**tools)
    found = next(each for each in problems(text) if each.code == code)
    assert message in found.message
    assert found.place is not None
    last = at.rpartition(".")[2]
    assert last in text.splitlines()[found.place.line - 1]


@pytest.mark.parametrize(
    "url", ["https://x/{{ args.number }}", "{{ base }}/{{ args.number }}", "https://{{ host }}/a?n={{ args.number }}"]
)
def test_a_model_may_choose_what_stands_behind_the_server(url: str) -> None:
    assert load(with_tools(t=changed(PARCEL, url=url))).warnings == ()


def test_max_turns_without_tools_and_a_cache_beside_them_do_nothing() -> None:
    (found,) = problems(graph(max_turns=3))
    assert (found.code, found.message) == (
        "FIELD_HAS_NO_EFFECT",
        "node 'judge' has `max_turns`, which is only for a model with `tools`",
    )
    (found,) = problems(graph(tools={"parcel": PARCEL}, cache={"key": "{{ who }}", "ttl": "1h"}))
    assert (found.code, found.place and found.place.line) == ("AI_TOOL", 16)


def test_a_compensation_has_no_tools() -> None:
    undo = {"type": "ai", "model": "openai:gpt-4", "prompt": "Undo it", "output": {}, "tools": {"parcel": PARCEL}}
    (found,) = problems(
        yaml.safe_dump(
            {"name": "g", "nodes": {"a": {"type": "ai", "model": "openai:x", "prompt": "x", "compensate": undo}}}
        )
    )
    assert (found.code, "a model that undoes something" in found.message) == ("AI_TOOL", True)


def test_why_says_what_came_of_the_calls_that_a_question_followed() -> None:
    planned = plan_graph(load(with_tools()).graph).body("judge").nodes["judge"]
    calls: Json = [["a", "orders", {"email": "x"}], ["b", "parcel", {"number": "P"}]]
    told: Json = {"said": {"calls": calls}, "results": {"a": {"value": [{"id": 7}]}, "b": {"error": "LOST: gone"}}}
    changes = ChangeSet(0, {("judge",): "yes"})
    version = Version(2, 2, "node", "judge[2]/judge", 0, (1,), changes)
    assert list(what_it_did(planned, {"who": "Ann"}, {TALK: told}, version)) == [
        "model openai:gpt-4",
        "prompt May Ann have it?",
        'the tool orders with {"email": "x"} came to [{"id": 7}]',
        'the tool parcel with {"number": "P"} came to "LOST: gone"',
    ]


def test_a_schema_of_an_input_that_is_none_is_refused() -> None:
    (found,) = problems(with_tools(t={**PARCEL, "inputs": {"number": {"type": "txt"}}}))
    assert (found.code, found.place and found.place.column) == ("SCHEMA_INVALID", 19)


def test_definitions_may_be_named_in_tools() -> None:
    before = {
        "definitions": {
            "schemas": {"number": {"type": "string", "maxLength": 9}},
            "retries": {"twice": {"max_attempts": 2}},
        }
    }
    tool = {**changed(PARCEL, retry="twice"), "inputs": {"number": "number"}}
    loaded = load(graph(before=before, tools={"t": tool}))
    found = tool_of(loaded, "t")
    assert found.inputs == {"number": {"type": "string", "maxLength": 9}}
    assert found.node.retry is not None
    assert found.node.retry.max_attempts == 2


def test_what_a_model_gives_is_checked_and_what_it_leaves_out_has_its_default() -> None:
    tool = tool_of(load(with_tools()), "orders")
    assert schema_of(tool)["required"] == ["email"]
    assert arguments(tool, {"email": "a@b.c"}) == {"email": "a@b.c", "limit": 5}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "'email' is a required property"),
        ({"email": 1}, "is not of type 'string'"),
        ({"email": "a", "limit": 0}, "less than the minimum"),
        ({"email": "a", "more": 1}, "additional properties"),
        (["a"], "not an object"),
        ({"email": "\ud800"}, "not JSON"),
        ({"email": float("nan")}, "not JSON"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        arguments(tool_of(load(with_tools()), "orders"), given)


def test_a_run_pins_that_database_tools_only_read() -> None:
    node = pinned(load(with_tools()).graph).nodes["judge"]
    assert isinstance(node, AiNode)
    assert node.tools is not None
    found = {name: tool.node for name, tool in node.tools.items()}
    assert isinstance(found["orders"], DbNode)
    assert isinstance(found["parcel"], HttpNode)
    assert (found["orders"].read_only, found["orders"].effect, found["parcel"].effect) == (True, False, False)
    assert node.effect is None


def test_tools_are_drawn_inside_of_their_node() -> None:
    assert tree(load(with_tools()).graph).splitlines()[1:] == [
        "└─ judge (ai)",
        "    ▢ openai:gpt-4 with orders, parcel",
        "      ├─ orders (db)",
        "      └─ parcel (http)",
    ]


def played(outcomes: dict[str, Any]) -> list[tuple[str, Any]]:
    plan = plan_graph(load(with_tools()).graph)
    given = outcomes_of(outcomes, plan, "outcomes")

    def never(work: RunNode) -> Any:
        raise AssertionError(work.address)

    done = play_through(plan, {"who": "Ann"}, given, never)
    return [(step.work.address, getattr(step.answer, "result", None)) for step in done.done.timeline]


def test_a_dry_run_asks_once_unless_calls_are_given() -> None:
    assert [address for address, _ in played({})] == ["judge[0]/judge"]
    assert [address for address, _ in played({"judge": {"set": {"judge": "yes"}}})] == ["judge[0]/judge"]


def test_calls_that_are_given_are_played_question_by_question() -> None:
    called = [{"orders": {"email": "a"}, "parcel": {"number": 7}}, {"parcel": {"number": "P7"}}]
    outcomes = {
        "judge": {"calls": called, "set": {"judge": "no"}},
        "judge/parcel": {"fail": "LOST"},
        "judge[1]/orders": {"set": {"orders": [{"id": 7}]}},
    }
    steps = played(outcomes)
    assert [address for address, _ in steps] == [
        *("judge[0]/judge", "judge[1]/orders", "judge[2]/judge", "judge[3]/parcel", "judge[4]/judge"),
    ]
    assert steps[0][1].set == {
        ("calls",): [
            {"tool": "orders", "args": {"email": "a", "limit": 5}},
            {"tool": "parcel", "id": "call-0-parcel", "refused": "$.number: 7 is not of type 'string'"},
        ]
    }


def test_calls_of_a_tool_that_there_is_not_are_a_problem_of_the_outcomes() -> None:
    loaded = load(with_tools())
    plan = plan_graph(loaded.graph)
    assert known(plan) == ["judge", "judge/judge", "judge/orders", "judge/parcel"]
    given = outcomes_of({"judge": {"calls": [{"parcels": {}}]}}, plan, "outcomes")
    (found,) = outcome_problems(given, ("outcomes",), plan, loaded.source)
    assert (found.message, found.suggestion) == (
        "node 'judge' has no tool 'parcels'",
        "did you mean `parcel`?",
    )
