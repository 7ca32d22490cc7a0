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
    assert played.failure is None
    assert {key: played.data.get(key) for key in case["contains"]} == case["contains"]
    assert [key for key in case.get("absent", ()) if key in played.data] == []
