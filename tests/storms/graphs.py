"""The sagas of a storm: every step writes a row of a ledger and can be undone; the input says how the run ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults.graphs import BRAID, CHAIN, Shape

VERDICT = "verdict"
_UNTIL_IT_WORKS = {"max_attempts": 0, "initial_interval": "100ms", "backoff": 1.5, "max_interval": "1s"}
_TIMES = {"timeout": "20s", "heartbeat": "2s", "retry": _UNTIL_IT_WORKS}


def _stormy(shape: Shape, name: str) -> Shape:
    """The same graph with steps that are tried until they succeed, and a last node that fails where `ok` is 0."""
    nodes = {step: _tried_again(node) for step, node in shape.definition["nodes"].items()}
    targets = {edge["from"] for edge in shape.definition["edges"]}
    nodes[VERDICT] = {"type": "rule", "rules": [{"then": {VERDICT: "{{ 1 / ok }}"}}]}
    ends = [{"from": step, "to": VERDICT} for step in shape.behind if step not in targets]
    edges = [*shape.definition["edges"], *ends]
    return replace(shape, definition={**shape.definition, "name": name, "nodes": nodes, "edges": edges})


def _tried_again(node: Mapping[str, Any]) -> dict[str, Any]:
    return {**node, **_TIMES, "compensate": {**node["compensate"], **_TIMES}}


SHAPES = {name: _stormy(shape, name) for name, shape in (("stormy_chain", CHAIN), ("stormy_braid", BRAID))}


def write_graphs(folder: Path) -> None:
    """A file for each graph, for workers to serve."""
    for name, shape in SHAPES.items():
        (folder / f"{name}.yaml").write_text(json.dumps(shape.definition))
