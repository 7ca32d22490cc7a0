"""Batches of a `foreach`: what the body sees of its items, and what becomes of the items that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.kinds.kinds import kind_of
from anabranch.graph.load import load_text
from anabranch.graph.model import Graph
from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.commands import RunNode
from tests.unit.machine_kit import Outcome, Play, failure, machine_of, python, shuffled
from tests.unit.test_machine_items import BROKEN, STEPS, foreach, items_of, played, resumed, undone

ERRORS = "errors"


def batches(count: int, size: int, **fields: Any) -> dict[str, Any]:
    return foreach(count, batch=size, **fields)


def told(count: int, size: int, errors: Mapping[int, Any], **fields: Any) -> tuple[dict[str, Any], dict[str, Outcome]]:
    """A `foreach` whose batches say which of their items failed, and the script of that."""
    node = batches(count, size, item_errors=ERRORS, **{"collect": {"into": "good", "value": "items"}, **fields})
    script: dict[str, Outcome] = {}
    for turn, first in enumerate(range(0, count, size)):
        said = [errors.get(index) for index in range(first, min(first + size, count))]
        script[f"node[{turn}]/p"] = {ERRORS: said}
    return node, script


def error(message: str, code: str = "ITEM_FAILED") -> dict[str, str]:
    return {"node": "node", "code": code, "type": code, "message": message, "outcome": "failure"}


# what the body sees


def test_a_batch_sees_its_items_and_the_index_of_the_first_one() -> None:
    seen: list[Any] = []

    def note(work: RunNode) -> Outcome:
        seen.append((work.roots["items"], work.roots["index"]))
        return {}

    play = Play(machine_of({"nodes": {"node": batches(5, 2)}}), {f"node[{turn}]/p": note for turn in range(3)})
    assert play.run().failure is None
    assert seen == [([0, 1], 0), ([2, 3], 2), ([4], 4)]
    assert play.ran == ["node[0]/p", "node[1]/p", "node[2]/p"]


def test_the_items_of_a_batch_have_the_name_that_as_says() -> None:
    node = batches(3, 2, as_="orders", collect={"into": "all", "value": "orders.map(each, each + index)"})
    node["as"] = node.pop("as_")
    assert played(node, {}).run().line.data == {"all": [0, 1, 4]}


def test_at_most_max_concurrency_batches_are_under_way() -> None:
    play = played(batches(100, 10, max_concurrency=2), {}).start()
    assert list(play.pending) == ["node[0]/p", "node[1]/p"]
    assert items_of(play) == {"all": 100, "done": 0, "failed": 0, "running": 20}
    play.answer("node[1]/p")
    assert list(play.pending) == ["node[0]/p", "node[2]/p"]
    assert items_of(play) == {"all": 100, "done": 10, "failed": 0, "running": 20}


def test_no_items_are_no_batch() -> None:
    play = played(batches(0, 3, collect={"into": "all", "value": "items"}), {})
    assert play.run().line.data == {"all": []}
    assert play.ran == ["after"]


@pytest.mark.parametrize("seed", range(3))
def test_the_lists_of_all_batches_are_joined_in_the_order_of_the_items(seed: int) -> None:
    play = played(batches(7, 3, collect={"into": "all", "value": "items + [index]", "when": "index != 3"}), {})
    play.pick = shuffled(seed)
    assert play.run().line.data == {"all": [0, 1, 2, 0, 6, 6]}


def test_what_batches_change_without_collect_meets_as_that_of_items_does() -> None:
    context = {"merge": {"n": "sum"}}
    script: dict[str, Outcome] = {f"node[{turn}]/p": {"n": 10 + turn, f"x{turn}": 1} for turn in range(2)}
    play = Play(machine_of({"context": context, "nodes": {"node": batches(4, 2)}}, {"n": 10}), script)
    assert play.run().line.data == {"n": 11, "x0": 1, "x1": 1}


def test_batches_whose_nodes_were_all_skipped_have_no_values_and_no_errors() -> None:
    body = {"nodes": {"p": python(when="index > 1")}}
    node, script = told(5, 2, {4: "no"}, body=body)
    play = played(node, script)
    assert play.run().line.data == {"good": [2, 3]}
    assert items_of(play) == {"all": 5, "done": 4, "failed": 1, "running": 0, "skipped": 2}


# items that failed


def test_items_that_a_batch_tells_of_are_listed_with_their_errors_and_have_no_value() -> None:
    errors = {1: "sold out", 3: {"code": "LATE", "message": "too late", "more": 7}, 4: ""}
    node, script = told(6, 3, errors, how="collect", failed="bad")
    play = played(node, script)
    assert play.run().line.data == {
        "good": [0, 2, 4, 5],
        "bad": [
            {"index": 1, "item": 1, "error": error("sold out")},
            {"index": 3, "item": 3, "error": error("too late", "LATE")},
        ],
    }
    assert items_of(play) == {"all": 6, "done": 4, "failed": 2, "running": 0}
    said = "2 of 6 items failed: item 1 of node[0] (ITEM_FAILED), item 3 of node[1] (LATE)"
    assert play.state.trail.warnings == [("node", said)]


def test_each_item_of_a_batch_that_fails_has_failed() -> None:
    node = batches(5, 2, how="collect", failed="bad", collect={"into": "good", "value": "items"})
    play = played(node, {"node[1]/p": BROKEN})
    found: Any = play.run().line.data
    assert found["good"] == [0, 1, 4]
    assert [(each["index"], each["item"], each["error"]["node"]) for each in found["bad"]] == [
        (2, 2, "node[1]/p"),
        (3, 3, "node[1]/p"),
    ]
    assert items_of(play) == {"all": 5, "done": 3, "failed": 2, "running": 0}


@pytest.mark.parametrize(("tolerate", "told_of"), [(0, 1), (1, 2), (3, 6), ("49%", 6), ("12.5%", 2)])
def test_tolerate_counts_items_and_the_first_that_is_too_many_is_told(tolerate: int | str, told_of: int) -> None:
    node, script = told(8, 4, {index: f"no {index}" for index in (1, 2, 5, 6)}, tolerate=tolerate, max_concurrency=1)
    finish = played(node, script).run()
    assert finish.failure is not None
    count = 2 if told_of < 4 else 4
    assert finish.failure.message == f"no {told_of} ({count} of 8 items failed, and `tolerate` is {tolerate})"


@pytest.mark.parametrize("tolerate", [4, "50%", None])
def test_as_many_items_may_fail_as_tolerate_says(tolerate: int | str | None) -> None:
    node, script = told(8, 4, dict.fromkeys((1, 2, 5, 6), "no"), tolerate=tolerate)
    assert played(node, script).run().line.data == {"good": [0, 3, 4, 7]}


def test_with_fail_the_first_item_that_a_batch_tells_of_fails_the_node() -> None:
    node, script = told(4, 4, {1: {"code": "SOLD_OUT", "message": "none left"}, 2: "later"}, how="fail")
    finish = played(node, script).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.message, finish.failure.node) == ("SOLD_OUT", "none left", "node")


def test_a_batch_that_is_too_large_to_fail_counts_with_each_of_its_items() -> None:
    play = played(batches(10, 5, tolerate=4, max_concurrency=1), {"node[0]/p": BROKEN})
    finish = play.run()
    assert finish.failure is not None
    assert finish.failure.message == "it broke (5 of 10 items failed, and `tolerate` is 4)"
    assert play.ran == ["node[0]/p"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"a": 1}, "`item_errors` gave dict, not a list with an entry for each item"),
        (["no"], "`item_errors` gave 1 entries for 2 items"),
        ([None, 7], "an entry of `item_errors` is neither null nor a text nor an object with a text as `message`"),
        ([None, {"message": "a", "code": 7}], "an entry of `item_errors` is neither null nor a text"),
    ],
)
def test_errors_that_do_not_fit_the_items_fail_the_batch(said: Any, message: str) -> None:
    node, script = told(2, 2, {}, how="fail")
    finish = played(node, {**script, "node[0]/p": {ERRORS: said}}).run()
    assert finish.failure is not None
    assert finish.failure.code == "EXPRESSION_FAILED"
    assert finish.failure.message.startswith(f"node 'node': {message}")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("index", "`collect.value` gave int, not a list: it is that of a batch"),
        ("items + [1]", "`collect.value` gave 3 entries for 2 items"),
    ],
)
def test_values_that_do_not_fit_the_items_fail_the_batch(value: str, message: str) -> None:
    node, script = told(2, 2, {}, how="fail", collect={"into": "good", "value": value})
    finish = played(node, script).run()
    assert finish.failure is not None
    assert finish.failure.message.startswith(f"node 'node': {message}")


def test_an_error_of_an_item_is_kept_up_to_a_length() -> None:
    node, script = told(1, 1, {0: "x" * 5_000}, how="collect", failed="bad")
    found: Any = played(node, script).run().line.data
    assert len(found["bad"][0]["error"]["message"]) == 1_000


# undoing


def test_the_steps_of_a_batch_that_fails_are_undone_once_and_no_others() -> None:
    play = played(batches(4, 2, body=STEPS), {"node[0]/b": BROKEN})
    assert play.run().failure is None
    assert undone(play) == ["undo node[0]/a"]


def test_a_batch_some_of_whose_items_failed_is_undone_with_the_run_as_one() -> None:
    node, script = told(4, 2, {1: "no"}, body={"nodes": {"p": python(compensate=python())}})
    play = played(node, {**script, "after": BROKEN})
    assert play.run().compensated == ("node[1]/p", "node[0]/p")
    assert [each for each in play.ran if each == "node[0]/p"] == ["node[0]/p"]


def test_an_attempt_with_too_many_failed_items_is_undone_and_the_next_one_begins_anew() -> None:
    body = {"nodes": {"p": python(compensate=python())}}
    node, script = told(4, 2, {1: "no"}, body=body, tolerate=0, retry={"max_attempts": 2})
    again = {f"node~2[{turn}]/p": {ERRORS: [None, None]} for turn in range(2)}
    play = played(node, {**script, **again})
    assert play.run().line.data == {"good": [0, 1, 2, 3]}
    assert undone(play) == ["undo node[1]/p", "undo node[0]/p"]
    assert items_of(play) == {"all": 4, "done": 4, "failed": 0, "running": 0}


def test_a_batch_whose_item_is_one_too_many_ends_the_batches_that_run() -> None:
    node, script = told(6, 2, {0: "no"}, tolerate=0)
    play = played(node, script, outcome="failure").start()
    play.answer("node[0]/p")
    assert play.cancelled == ["node[1]/p", "node[2]/p"]
    assert play.finish().failure is None


# snapshots


def test_after_continue_as_new_batches_go_on_where_they_were() -> None:
    body = {"nodes": {"p": python(), "nap": {"type": "wait", "for": "1h"}}, "edges": [{"from": "p", "to": "nap"}]}
    node, script = told(7, 2, {0: "no", 2: "no", 3: "no"}, body=body, how="collect", failed="bad", max_concurrency=2)
    play = played(node, script).start()
    for address in ("node[0]/p", "node[0]/nap", "node[1]/p", "node[2]/p"):
        play.answer(address)
    assert items_of(play) == {"all": 7, "done": 1, "failed": 1, "running": 4}
    again = resumed(play, play.now + 1)
    assert items_of(again) == {"all": 7, "done": 1, "failed": 1, "running": 4}
    found: Any = again.finish().line.data
    assert found["good"] == [1, 4, 5, 6]
    assert [each["index"] for each in found["bad"]] == [0, 2, 3]
    assert "node[0]/p" not in again.ran


def test_nodes_that_were_passed_over_count_with_all_items_of_their_batch() -> None:
    body = {"nodes": {"p": python(on_failure="continue")}}
    play = played(batches(5, 2, how="fail", body=body), {"node[1]/p": failure("LATE")})
    assert play.run().failure is None
    assert items_of(play) == {"all": 5, "done": 5, "failed": 0, "running": 0, "passed_over": 2}
    said = "in 1 of 3 batches a node failed and was passed over: node[1]/p (LATE)"
    assert play.state.trail.warnings == [("node", said)]
    assert "| `node` | succeeded, 5 of 5 items done, 2 passed over |" in views.details(play.state)


# the language


def test_the_names_of_a_batch_are_no_inputs_and_its_lists_are_written() -> None:
    text = """
name: g
nodes:
  each:
    type: foreach
    items: orders
    batch: 2
    on_item_failure: collect
    failed: bad
    item_errors: "answers.map(one, one.error == limit ? null : one.error)"
    collect: {into: good, value: answers}
    body: {nodes: {p: {type: python, handler: h, reads: [], args: {orders: "{{ items }}", first: "{{ index }}"},
      output: {answers: result}}}}
  after: {type: rule, rules: [{then: {n: "{{ size(bad) + size(good) }}"}}]}
edges: [{from: each, to: after}]
"""
    loaded = load_text(text)
    assert loaded.warnings == ()
    assert set(graph_inputs(loaded.graph)) == {"orders", "limit"}
    assert kind_of(loaded.graph.nodes["each"]).summary(loaded.graph.nodes["each"]) == "for each 2 items of orders"
    again = Graph.model_validate_json(loaded.graph.model_dump_json(by_alias=True))
    assert again == loaded.graph
