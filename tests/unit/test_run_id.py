"""`id` of a graph: what is made of an input, what is refused, and what `validate` finds."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.context.distributed import DistributedContext
from anabranch.errors import RunIdInvalid
from anabranch.events.consumer import Flow
from anabranch.events.event import Event
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import canonical, load_text
from anabranch.graph.model import Graph
from anabranch.graph.run_id import run_id
from tests.unit.test_finally import codes

NODES = {"a": {"type": "stop"}}


def graph(said: Any, **fields: Any) -> Graph:
    return Graph.model_validate({"name": "g", "id": said, "nodes": NODES, **fields})


@pytest.mark.parametrize(
    ("value", "data", "wanted"),
    [
        ("order-{{ order_id }}", {"order_id": 7}, "order-7"),
        ("{{ order.id }}/{{ order.part }}", {"order": {"id": "A", "part": 2.0}}, "A/2"),
        ("nightly", {}, "nightly"),
        ("{{ flag }}", {"flag": False}, "false"),
        ("ä{{ n }}", {"n": "ö"}, "äö"),
    ],
)
def test_an_id_is_made_of_the_input(value: str, data: dict[str, Any], wanted: str) -> None:
    assert run_id(graph(value), data) == wanted


def test_it_sees_the_defaults_of_inputs_and_a_graph_without_one_has_none() -> None:
    inputs = {"shop": {"type": "string", "default": "main"}}
    assert run_id(graph("{{ shop }}", inputs=inputs), {}) == "main"
    assert run_id(graph("{{ shop }}", inputs=inputs), {"shop": "other"}) == "other"
    assert run_id(Graph.model_validate({"name": "g", "nodes": NODES}), {}) is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "it cannot be made of the input: .*x"),
        ({"x": None}, "one of its holes yields nothing"),
        ({"x": ""}, "one of its holes yields nothing"),
        ({"x": [1]}, "one of its holes yields nothing"),
        ({"x": "n" * 1_000}, "it has 1002 bytes, over the server's limit of 1000"),
        ({"x": "ä" * 500}, "it has 1002 bytes"),
        ({"x": "a\nb"}, "it has characters that are not printed"),
        ({"x": "a "}, "or a space at one of its ends"),
        ({"x": "\u202e"}, "it has characters that are not printed"),
    ],
)
def test_what_is_no_id_is_refused_and_says_why(data: dict[str, Any], said: str) -> None:
    with pytest.raises(RunIdInvalid, match=said) as refused:
        run_id(graph("o-{{ x }}"), data)
    assert refused.value.code == "RUN_ID_INVALID"


def test_what_its_template_reads_the_run_must_be_started_with() -> None:
    assert graph_inputs(graph("o-{{ order_id }}"))["order_id"] == ("id", "value")


def test_a_text_alone_is_its_value() -> None:
    short, long = (f"name: g\nid: {each}\nnodes: {{a: {{type: stop}}}}\n" for each in ("a-1", "{value: a-1}"))
    assert canonical(load_text(short).graph) == canonical(load_text(long).graph)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('""', ["2:5 VALUE_INVALID"]),
        ('" "', ["2:5 RUN_ID_INVALID"]),
        ('"o-{{ run.id }}"', ["2:5 RUN_ID_INVALID"]),
        ('"o-{{ 1 + }}"', ["2:14 EXPRESSION_INVALID"]),
        ("{value: a, reuse: never}", ["2:23 VALUE_INVALID"]),
        ("{value: a, reuse: reject_duplicate, conflict: terminate_existing}", ["2:51 RUN_ID_POLICIES"]),
        ("{value: a, reuse: reject_duplicate, conflict: use_existing}", []),
    ],
)
def test_validate_finds_what_is_wrong_with_it_in_its_place(said: str, found: list[str]) -> None:
    assert codes(f"name: g\nid: {said}\nnodes:\n  a: {{type: stop}}\n") == found


@pytest.mark.parametrize("definition", [None, graph({"value": "o-{{ order }}", "conflict": "use_existing"})])
def test_the_run_of_an_event_has_the_graph_s_id_where_the_process_has_the_graph(definition: Graph | None) -> None:
    flow = Flow("g", None, "dead", "q", "q/events", definition=definition)
    event = Event("e-1", DistributedContext("s", {"order": 7}), "json", {})
    run = flow.run_of(event)
    known = ("g:e-1", "reject_duplicate", "fail") if definition is None else ("o-7", "allow_duplicate", "use_existing")
    assert (run.run, run.reuse, run.conflict, run.context.data) == (*known, {"order": 7})
