"""What a run asks people, and the commands that answer."""

from __future__ import annotations

import os
import subprocess
from itertools import islice
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from anabranch.context.values import Json
from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.questions import Answering, example
from tests.markup import CORPUS
from tests.unit.machine_kit import Play, edge, failure, machine_of, python

PRICE: dict[str, Json] = {"type": "object", "properties": {"agreed": {"type": "boolean"}}}
ASK: dict[str, Any] = {"type": "approval", "prompt": "Price {{ price }}?", "schema": PRICE, "timeout": "1h"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (None, {}),
        ({}, {}),
        ({"type": "boolean"}, True),
        ({"type": ["integer", "null"]}, 0),
        ({"const": 7}, 7),
        ({"enum": ["yes", "no"]}, "yes"),
        ({"type": "string", "default": "d"}, "d"),
        ({"type": "number", "examples": [2.5]}, 2.5),
        ({"type": "null"}, None),
        (
            {"type": "object", "properties": {"a": {"type": "string"}, "b": {"properties": {"c": {}}}}},
            {"a": "…", "b": {"c": {}}},
        ),
    ],
)
def test_an_example_of_an_answer_fits_its_schema(schema: Any, value: Any) -> None:
    assert example(schema) == value
    Draft202012Validator(schema or {}).validate(value)


def test_an_approval_is_shown_with_its_text_schema_deadline_and_command() -> None:
    play = Play(machine_of({"nodes": {"ask": ASK}}, {"price": 80})).start()
    command = """anabranch answer order-1 ask --input '{"agreed": true}'"""
    assert views.status(play.state)["approvals"] == {
        "ask": {"prompt": "Price 80?", "asked": 1000, "deadline": 3_601_000, "schema": PRICE, "answer": command}
    }
    assert views.details(play.state).splitlines()[5:] == [
        "",
        "Node `ask` waits for the update `complete_task` until 1970-01-01T01:00:01.000Z:",
        "",
        "- `Price 80?`",
        '- the answer fits `{"type": "object", "properties": {"agreed": {"type": "boolean"}}}`',
        "",
        "~~~",
        command,
        "~~~",
    ]
    play.take(play.machine.succeeded("ask", {"agreed": True}, 5))
    assert "approvals" not in views.status(play.state)


def test_a_conflict_is_shown_with_its_candidates_and_the_context_says_that_it_is_open() -> None:
    graph = {
        "nodes": {name: python() for name in "abj"},
        "edges": [edge("a", "j"), edge("b", "j")],
        "context": {"conflict_resolution": "fail_on_conflict"},
    }
    play = Play(machine_of(graph, {"x": 0}), {"a": {"x": 1, "y": 1}, "b": {"x": 2}}).start()
    shown: list[Any] = [views.context(play.state, play.machine.context(), "s", play.machine.unsettled())]
    for name in "ab":
        play.answer(name)
        shown.append(views.context(play.state, play.machine.context(), "s", play.machine.unsettled()))
    assert [each.get("in_conflict") for each in shown] == [None, None, ["x"]]
    status: Any = views.status(play.state)
    (conflict,) = status["conflicts"]["j"]
    assert [(each["by"], each["value"]) for each in conflict["candidates"]] == [("a", 1), ("b", 2)]
    assert conflict["resolve"] == "anabranch resolve order-1 j x --choose a"
    assert conflict["resolve"] in views.details(play.state).splitlines()
    play.take(play.machine.choose("j", {("x",): 7}, play.now))
    assert "in_conflict" not in views.context(play.state, play.machine.context(), "s", play.machine.unsettled())


def test_what_is_asked_in_a_body_is_shown_under_its_address() -> None:
    body = {"nodes": {"ask": {"type": "approval", "prompt": "{{ item }}?"}}}
    play = Play(machine_of({"nodes": {"each": {"type": "foreach", "items": "[1, 2]", "body": body}}})).start()
    approvals: Any = views.status(play.state)["approvals"]
    assert {address: each["prompt"] for address, each in approvals.items()} == {
        "each[0]/ask": "1?",
        "each[1]/ask": "2?",
    }


def test_a_question_that_is_too_large_is_shown_without_its_text_and_more_of_them_are_counted() -> None:
    body = {"nodes": {"ask": {"type": "approval", "prompt": "{{ text }}"}}}
    graph = {"nodes": {"each": {"type": "foreach", "items": "[1, 2, 3]", "body": body}}}
    play = Play(machine_of(graph, {"text": "x" * 900_000})).start()
    approvals: Any = views.status(play.state)["approvals"]
    assert [len(each.get("prompt", "")) for each in approvals.values()] == [900_000, 900_000, 0]
    assert len(views.details(play.state)) < 10_000


def test_a_command_is_one_visible_line_and_says_to_a_shell_exactly_what_it_should() -> None:
    texts = [text for text in CORPUS if "\x00" not in text]
    commands = [Answering(text, "default").answer(text, None) for text in texts]
    assert all(command.isprintable() for command in commands)
    script = "\n".join(["anabranch() { printf '%s\\0' $# \"$@\"; }", *commands])
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True, env=environment)
    words = iter(done.stdout.decode().split("\0")[:-1])
    for text in texts:
        verb, *said = islice(words, int(next(words)))
        is_dashed = text.startswith("-")
        assert (verb, said) == (
            "answer",
            ["--input", "{}", "--", text, text] if is_dashed else [text, text, "--input", "{}"],
        )
    assert next(words, None) is None


def test_a_namespace_that_is_not_the_default_is_named() -> None:
    command = Answering("w", "my space").answer("a", None)
    assert command == "TEMPORAL_NAMESPACE='my space' anabranch answer w a --input '{}'"


def test_what_begins_with_a_dash_is_no_option() -> None:
    assert Answering("-w", "default").resolve("j", "x", ["a", "a"]) == "anabranch resolve --choose 0 -- -w j x"


def test_the_details_link_to_the_console_where_there_is_one() -> None:
    machine = machine_of({"nodes": {"ask": ASK}}, {"price": 80})
    assert "](http" not in views.details(machine.state)
    machine.state.answering = Answering("a/b) [x", "default", "https://ops/console")
    assert views.details(machine.state).splitlines()[2] == (
        "[Open in the console](https://ops/console/runs/a%2Fb%29%20%5Bx)"
    )


def test_a_paused_node_is_shown_with_why_and_the_command_that_tries_it_again() -> None:
    graph = {"nodes": {"pay": python(on_failure="pause")}}
    play = Play(machine_of(graph), {"pay": failure("NO_STOCK")}).start()
    play.answer("pay")
    command = "anabranch retry order-1 pay"
    assert views.status(play.state)["paused"] == {"pay": {"retry": command}}
    assert views.details(play.state).splitlines()[5:] == [
        "",
        "Node `pay` is paused, and waits for an operator:",
        "",
        "- `NO_STOCK`: `it broke`",
        "",
        "~~~",
        command,
        "~~~",
    ]
    play.take(play.machine.retry("pay", None, 5))
    assert "paused" not in views.status(play.state)
