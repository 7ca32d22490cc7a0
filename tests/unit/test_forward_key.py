"""A compensation gets its forward node's key if the effect log has that node, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.workflows.interpreter.commands import RunNode
from tests.unit.machine_kit import Play, edge, failure, machine_of, python

WRITE = {"type": "db", "connection": "DB", "query": "update t set a = 1"}
READ = {"type": "db", "connection": "DB", "query": "select a from t"}


def reported(forward: dict[str, Any], compensation: dict[str, Any]) -> Any:
    """The root `forward_key` of the compensation, and the key of the forward node."""
    graph = {
        "nodes": {"step": {**forward, "compensate": compensation}, "last": python()},
        "edges": [edge("step", "last")],
    }
    seen: dict[str, RunNode] = {}

    def note(command: RunNode) -> dict[str, Any]:
        seen[command.address] = command
        return {}

    Play(machine_of(graph), {"step": note, "last": failure(), "undo step": note}).run()
    return seen["undo step"].roots["forward_key"], seen["step"].key


def test_a_recorded_effect_is_looked_up_by_the_forward_node_s_key() -> None:
    forward_key, key = reported(WRITE, WRITE)
    assert forward_key == key


@pytest.mark.parametrize(
    "forward", [python(), READ, {**WRITE, "idempotent": False}, {**WRITE, "connection": "OTHER"}], ids=str
)
def test_of_any_other_node_the_log_knows_nothing_so_it_is_undone(forward: dict[str, Any]) -> None:
    assert reported(forward, WRITE)[0] is None
