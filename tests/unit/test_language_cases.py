"""Graphs as they are written elsewhere, played without a server: what they must come to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anabranch.graph.load import load_graph
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.play import Evaluate, Script, play
from anabranch.testkit.rules import rule_evaluator

CASES = Path(__file__).parents[1] / "fixtures" / "language"


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Evaluate]:
    with rule_evaluator(Settings()) as evaluator:
        yield evaluator


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.json")))
def test_a_graph_comes_to_what_its_author_meant(name: str, evaluate: Evaluate) -> None:
    case: dict[str, Any] = json.loads((CASES / f"{name}.json").read_text())
    loaded = load_graph(CASES / f"{case.get('graph', name)}.yaml")
    outcomes = {key: GivenOutcome.model_validate(each) for key, each in case.get("outcomes", {}).items()}
    script = Script(case["input"], outcomes, assume=True)
    played = play(plan_graph(loaded.graph, loaded.graphs), script, evaluate)
    if "error" in case:
        assert played.failure is not None
        assert f"'{case['error']}'" in played.failure.message
        return
    assert played.failure is None
    told: dict[str, Any] = case["data"] if "data" in case else case["contains"]
    assert (played.data if "data" in case else {key: played.data.get(key) for key in told}) == told
    assert [key for key in case.get("absent", ()) if key in played.data] == []


@pytest.mark.parametrize(("divisor", "expected"), [(2, {"x": 5}), (0, {"caught": "EXPRESSION_FAILED"})])
def test_a_child_workflow_is_played_too(
    divisor: int, expected: dict[str, Any], evaluate: Evaluate, tmp_path: Path
) -> None:
    (tmp_path / "child.yaml").write_text(
        'name: child\nnodes: {a: {type: rule, rules: [{then: {x: "{{ 10 / d }}"}}]}}\n'
    )
    (tmp_path / "parent.yaml").write_text(
        "name: parent\nnodes:\n"
        '  c: {type: graph, graph: child, mode: child_workflow, input: {d: "{{ d }}"}, output: {x: result.x}}\n'
        '  e: {type: rule, rules: [{then: {caught: "{{ error.type }}"}}]}\n'
        "edges: [{from: c, to: e, outcome: failure}]\n"
    )
    loaded = load_graph(tmp_path / "parent.yaml")
    played = play(plan_graph(loaded.graph, loaded.graphs), Script({"d": divisor}, assume=True), evaluate)
    assert played.data == {"d": divisor, **expected}
