"""What a run spends at language models: in its trail, its status and its result; and what it costs."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest

from anabranch.cli.versions import versions_table
from anabranch.context.changes import ChangeSet, Usage
from anabranch.context.values import Json
from anabranch.errors import ConfigurationError, WireFormatError
from anabranch.prices import Price, prices_of
from anabranch.settings import settings_from_environment
from anabranch.transport.wire_json import to_array, to_named
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, changes, edge, machine_of, python

A, B = Usage("openai:a", 1, 1000, 100, 0.5), Usage("ollama:b", 2, 10, 5)
GRAPH = {
    "nodes": {"one": python(), "two": python(), "three": python()},
    "edges": [edge("one", "two"), edge("two", "three")],
}


@pytest.fixture
def spent() -> Machine:
    """A run whose nodes spent at two models; the second one wrote nothing."""
    machine = machine_of(GRAPH)
    machine.start(1)
    machine.succeeded("one", replace(changes(x=1), usage=(A,)), 2)
    machine.succeeded("two", replace(changes(), usage=(A, B)), 3)
    machine.succeeded("three", changes(y=1), 4)
    return machine


def told(state: RunState) -> list[Any]:
    return cast("list[Any]", views.status(state)["usage"])


def test_each_version_says_what_its_node_spent(spent: Machine) -> None:
    history = cast("list[dict[str, Any]]", views.history(spent.state))
    assert [entry.get("usage") for entry in history] == [None, [A.described()], [A.described(), B.described()], None]
    assert (history[2]["set"], history[2]["by"]) == ({}, "two")
    cells = "".join(str(cell) for cell in versions_table(history).columns[2].cells)
    assert "openai:a: 1000 + 100 tokens, cost 0.5" in cells
    assert "ollama:b: 10 + 5 tokens" in cells


def test_status_and_result_say_what_the_run_spent_by_model(spent: Machine) -> None:
    total = {"model": "openai:a", "requests": 2, "input_tokens": 2000, "output_tokens": 200, "cost": 1.0}
    assert told(spent.state) == [total, B.described()]
    assert spent.state.finished is not None
    assert views.result(spent.state, spent.state.finished, "s")["usage"] == told(spent.state)
    assert "cost" not in told(spent.state)[1]


def test_a_run_that_spent_nothing_says_nothing_of_it() -> None:
    machine = machine_of({"nodes": {"one": python()}})
    machine.start(1)
    machine.succeeded("one", changes(x=1), 2)
    assert "usage" not in views.status(machine.state)
    assert "spent" not in snapshot.dump(machine.state)["trail"]


def test_what_was_spent_travels_when_the_run_continues_as_new(spent: Machine) -> None:
    fresh = RunState(spent.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(spent.state))))
    assert fresh.trail.spent == spent.state.trail.spent
    assert views.history(fresh) == views.history(spent.state)


@pytest.mark.parametrize("more", [{}, {"warnings": ("look",)}, {"appended": {("log",): [1]}}])
def test_a_change_set_with_usage_crosses_the_wire_in_both_forms(more: dict[str, Any]) -> None:
    given = ChangeSet(1, {("a",): 2}, (), "n", 3, usage=(A, B), **more)
    assert ChangeSet.from_wire(given.to_wire()) == given
    assert ChangeSet.from_wire(json.loads(json.dumps(given.to_wire()))) == given
    assert ChangeSet.from_wire(to_array("ChangeSet", to_named(given))) == given


@pytest.mark.parametrize(
    "usage", [7, ["a"], ["a", 1, 2, -3, None], ["a", 1, True, 3, None], ["a", 1, 2, 3, -1.0], [1, 1, 2, 3, None]]
)
def test_usage_that_is_none_is_refused(usage: Json) -> None:
    with pytest.raises(WireFormatError, match="a name, three counts and a cost"):
        ChangeSet.from_wire([1, [], [], "n", 3, [], [], [usage]])


def test_prices_are_read_for_a_million_tokens() -> None:
    prices = prices_of("openai:gpt-4o=2.50/10, ollama:llama3:8b=0/0,")
    assert list(prices) == ["openai:gpt-4o", "ollama:llama3:8b"]
    assert prices["openai:gpt-4o"].of(1_000_000, 200_000) == 4.5
    assert prices["ollama:llama3:8b"].of(5, 5) == 0


@pytest.mark.parametrize("text", ["gpt=1/2", "openai:a=1", "openai:a=1/x", "openai:a=1/-2", "openai:a=1/nan", "a:b"])
def test_a_table_that_is_none_stops_the_worker(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ANABRANCH_AI_PRICES", "openai:b=1/2")
    assert settings_from_environment().ai_prices == {"openai:b": Price(Decimal(1), Decimal(2))}
    monkeypatch.setenv("ANABRANCH_AI_PRICES", text)
    with pytest.raises(ConfigurationError, match="is no price of a model"):
        settings_from_environment()
