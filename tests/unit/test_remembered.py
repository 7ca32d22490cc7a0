"""What is found out of a node is kept with it, for what was asked, and goes with it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from anabranch.errors import Problem
from anabranch.graph.kinds.remembered import remembered, unless_fine
from anabranch.graph.known_nodes import KnownNodes
from anabranch.graph.model import BaseNode, Graph, StopNode


def stop(**fields: Any) -> BaseNode:
    return StopNode.model_validate({"type": "stop", **fields})


def test_a_function_is_asked_once_of_each_node_and_of_what_is_given_beside() -> None:
    asked: list[tuple[str, int]] = []

    @remembered
    def ask(node: BaseNode, number: int = 0) -> int:
        asked.append((node.description or "", number))
        return number

    one, other = stop(description="one"), stop(description="one")
    assert [ask(one), ask(one), ask(one, 2), ask(one, 2), ask(other, 2)] == [0, 0, 2, 2, 2]
    assert asked == [("one", 0), ("one", 2), ("one", 2)]


def test_answers_go_with_their_node() -> None:
    class Answer:
        pass

    answers = list[weakref.ref[Answer]]()

    @remembered
    def ask(node: BaseNode) -> Answer:
        answers.append(weakref.ref(answer := Answer()))
        return answer

    ask(stop())
    gc.collect()
    assert answers[0]() is None


def test_what_is_wrong_is_looked_for_again_and_what_is_fine_is_not() -> None:
    looked = list[str]()

    def look(name: str, *found: Problem) -> list[Problem]:
        looked.append(name)
        return list(found)

    node, problem = stop(), Problem("CODE", "it is wrong")
    for _ in range(2):
        assert unless_fine(node, "bad", lambda: look("bad", problem)) == [problem]
        assert unless_fine(node, "good", lambda: look("good")) == []
    assert looked == ["bad", "good", "bad"]


def test_a_node_that_says_the_same_is_the_same_and_one_of_another_type_of_value_is_not() -> None:
    known = KnownNodes()

    def read(description: Any) -> BaseNode:
        value: dict[str, Any] = {"name": "g", "nodes": {"a": {"type": "stop", "effect": description}}}
        given = known.put_into(value)
        graph = Graph.model_validate(given)
        known.learn(given, graph)
        return graph.nodes["a"]

    first = read(True)
    assert read(True) is first
    assert read(False) is not first
    assert known.put_into({"nodes": {"a": {"type": "stop", "effect": 1}}}) == {
        "nodes": {"a": {"type": "stop", "effect": 1}}
    }
    strange: list[Any] = [None, [], {"nodes": 3}, {"nodes": {"a": None}}]
    assert [known.put_into(each) for each in strange] == strange
