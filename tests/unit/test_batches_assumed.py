"""A dry run of batches without given outcomes: their nodes are taken to answer for each item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from anabranch.graph.load import load_text
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.play import Evaluate, Played, Script, play
from anabranch.testkit.rules import rule_evaluator

PAYOUTS = """
name: payouts
nodes:
  pay_all:
    type: foreach
    items: payouts
    batch: 2
    item_errors: {errors}
    collect: {{into: receipts, value: {value}}}
    body: {{nodes: {nodes}}}
"""
HTTP = "{pay: {type: http, method: POST, url: 'https://x.example', output: {answers: result.body}}}"
PYTHON = "{pay: {type: python, handler: pay, output: {answers: result.answers, failed: result.failed}}}"
IN_A_BLOCK = f"{{inside: {{type: block, nodes: {HTTP}}}}}"


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Evaluate]:
    with rule_evaluator(Settings()) as evaluator:
        yield evaluator


def played(errors: str, value: str, nodes: str, evaluate: Evaluate, **given: Any) -> Played:
    loaded = load_text(PAYOUTS.format(errors=errors, value=value, nodes=nodes))
    outcomes = {name: GivenOutcome.model_validate(each) for name, each in given.items()}
    script = Script({"payouts": ["a", "b", "c"]}, outcomes, assume=True)
    return play(plan_graph(loaded.graph, loaded.graphs), script, evaluate)


@pytest.mark.parametrize(
    ("errors", "value", "nodes", "receipts"),
    [
        ('"answers.map(one, one.error)"', '"answers.map(one, one.receipt)"', HTTP, [1, 1, 1]),
        (
            '"answers.map(one, one.?error.orValue(null))"',
            '"answers.filter(one, true).map(one, one.receipt)"',
            IN_A_BLOCK,
            [1, 1, 1],
        ),
        ("failed", "answers", PYTHON, [1, 1, 1]),
        ("answers", "items", HTTP, ["a", "b", "c"]),
        ('"items.map(each, null)"', '"answers.map(one, one.receipt + 1)"', HTTP, [2, 2, 2]),
    ],
)
def test_a_batch_whose_nodes_are_assumed_succeeds_with_an_entry_for_each_item(
    errors: str, value: str, nodes: str, receipts: list[Any], evaluate: Evaluate
) -> None:
    run = played(errors, value, nodes, evaluate)
    assert run.failure is None
    assert run.data["receipts"] == receipts


def test_what_is_given_is_taken_as_it_is(evaluate: Evaluate) -> None:
    given = {"pay_all/pay": {"result": {"body": ["full", "full"]}}}
    run = played("answers", "items", HTTP, evaluate, **given)
    assert run.failure is not None
    assert run.failure.code == "ITEM_FAILED"
